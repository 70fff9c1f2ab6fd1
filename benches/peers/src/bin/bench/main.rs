// SPDX-License-Identifier: Apache-2.0
//! The module beside the servers that people use today: `make bench`.
//!
//! Without arguments it runs itself as `bench --run`, in a process group of its own and with a pipe
//! as standard input. When this first process ends in any way (a Ctrl-C, a kill), the pipe ends,
//! and the one that runs the servers ends them and removes their folders. Settings are environment
//! variables (`settings`).

mod cpu;
mod latency;
mod machine;
mod memory;
mod plot;
mod report;
mod scale;
mod servers;
mod settings;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use peers::stop;
use report::{Findings, Place};
use settings::Settings;

fn main() -> ExitCode {
    let outcome = if std::env::args().any(|arg| arg == "--run") { run() } else { supervise() };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets a copy of this program do the work, for so long at most.
fn supervise() -> Result<(), String> {
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(45);
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("--run").stdin(Stdio::piped()).process_group(0);
    let mut worker = command.spawn().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + Duration::from_secs(60 * minutes);
    loop {
        match worker.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("ended: {status}")),
            None if Instant::now() > deadline => break,
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    drop(worker.stdin.take());
    let _ = worker.wait();
    Err(format!("took longer than {minutes} minutes (MINUTES)"))
}

fn run() -> Result<(), String> {
    stop::at_end_of_input();
    let settings = Settings::from_environment()?;
    let place = Place { machine: machine::machine(), versions: machine::versions(), load: machine::load() };
    let begin = Instant::now();
    let findings = Findings {
        cpu: step(&settings, "cpu", || cpu::run(&settings))?,
        latency: step(&settings, "latency", || latency::run(&settings))?,
        memory: step(&settings, "memory", || memory::run(&settings))?,
        scale: step(&settings, "scale", || scale::run(&settings))?,
    };
    let files = report::files(&findings, &settings, &place);
    fs::create_dir_all(&settings.out).map_err(|error| format!("{}: {error}", settings.out.display()))?;
    for (name, text) in &files {
        let path = settings.out.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!(
        "{}\n{} s; written to {}",
        files["README.md"],
        begin.elapsed().as_secs(),
        settings.out.display()
    );
    Ok(())
}

/// The finding of a step, or its failure, which the others survive; only a wish to stop ends the
/// run.
fn step<T>(
    settings: &Settings,
    name: &str,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<Option<Result<T, String>>, String> {
    if !settings.has_step(name) {
        return Ok(None);
    }
    let begin = Instant::now();
    let found = servers::caught(work);
    stop::check()?;
    eprintln!("{name}: {} s", begin.elapsed().as_secs());
    Ok(Some(found))
}
