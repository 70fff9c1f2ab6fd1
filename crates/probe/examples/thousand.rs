// SPDX-License-Identifier: Apache-2.0
//! The cost of a thousand HTTP checks every two seconds: `cargo run --release -p probe --example
//! thousand [hanging] [tcp]`. A child process serves the members, so that only the checks are
//! measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::member::{Member, MemberSpec};
use balance::settings::{CheckKind, HealthCheck};
use balance::url::MemberUrl;
use probe::{CheckTarget, Prober};

const MEMBERS: u64 = 1000;
const SECONDS: u64 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == "serve") {
        return serve();
    }
    let hanging = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(100);
    let kind = if args.iter().any(|arg| arg == "tcp") { CheckKind::Tcp } else { CheckKind::Http };
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ports = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut ports)?;
    let ports: Vec<u16> = ports.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    measure(&ports, hanging, kind)?;
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}

fn measure(ports: &[u16], hanging: u64, kind: CheckKind) -> Result<(), Box<dyn std::error::Error>> {
    let check = Arc::new(settings(kind));
    let mut prober = Prober::with_seed(1)?;
    prober.set_targets(
        (0..MEMBERS).map(|key| target(key, ports[usize::from(key >= hanging)], &check)).collect(),
    );
    let (mut ok, mut failed, mut cpu, mut started) = (0, 0, 0.0, Instant::now());
    for second in 0..SECONDS + 5 {
        if second == 5 {
            (ok, failed, cpu, started) = (0, 0, cpu_seconds()?, Instant::now());
        }
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            prober.turn(Duration::from_millis(200), &mut |seen| if seen.ok { ok += 1 } else { failed += 1 });
        }
        if second % 8 == 4 {
            println!(
                "second {second}: {} KiB resident, {} descriptors",
                resident()?,
                std::fs::read_dir("/proc/self/fd")?.count()
            );
        }
    }
    let took = started.elapsed().as_secs_f64();
    let share = (cpu_seconds()? - cpu) / took * 100.0;
    println!(
        "{MEMBERS} members ({hanging} hang), every 2 s, {took:.0} s: {ok} passed, {failed} failed, CPU {share:.1} % of a core"
    );
    Ok(())
}

/// Two ports: the first never answers.
fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let (silent, lively) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    println!("{} {}", silent.local_addr()?.port(), lively.local_addr()?.port());
    for (listener, answers) in [(silent, false), (lively, true)] {
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
                    let mut bytes = [0; 1024];
                    while stream.read(&mut bytes).is_ok_and(|read| read > 0) {
                        if answers
                            && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err()
                        {
                            break;
                        }
                    }
                });
            }
        });
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// User and system time of this process; the clock tick is 10 ms on Linux.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn resident() -> Result<String, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

fn settings(kind: CheckKind) -> HealthCheck {
    HealthCheck { interval_ms: 2000, uri: "/health".into(), ..HealthCheck::new(kind) }
}

fn target(key: u64, port: u16, check: &Arc<HealthCheck>) -> CheckTarget {
    let url = MemberUrl {
        scheme: "http".into(),
        host: "127.0.0.1".into(),
        port,
        path: String::new(),
        socket: None,
    };
    let spec = MemberSpec { name: format!("m{key}"), ..MemberSpec::new(url) };
    CheckTarget {
        key,
        pool: "app".into(),
        member: Arc::new(Member::new((0, 0), 0, spec)),
        check: check.clone(),
    }
}
