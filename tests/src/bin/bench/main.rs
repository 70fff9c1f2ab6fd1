//! The module beside the servers that people use today: `make bench`.
//!
//! Without arguments it runs itself as `bench --run`, in a process group of its own and with a pipe as standard
//! input. When this first process ends in any way (a Ctrl-C, a kill), the pipe ends, and the one that runs the
//! servers ends them and removes their folders. Settings are environment variables (`settings`).

mod cpu;
mod latency;
mod memory;
mod scale;
mod servers;
mod settings;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use server_tests::bench::stop;
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
    if settings.has_step("cpu") {
        println!("{:#?}", cpu::run(&settings)?);
    }
    if settings.has_step("latency") {
        println!("{:#?}", latency::run(&settings)?);
    }
    if settings.has_step("memory") {
        println!("{:#?}", memory::run(&settings)?);
    }
    if settings.has_step("scale") {
        println!("{:#?}", scale::run(&settings)?);
    }
    Ok(())
}
