// SPDX-License-Identifier: Apache-2.0
//! Members by the thousands.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use server_tests::{Httpd, patience, slower, wait_until};
use socket2::{Domain, Socket, Type};

const MEMBERS: usize = 1000;
const HANGING: usize = 100;
const INTERVAL: Duration = Duration::from_secs(2);

/// How many checks of each member are waited for; `CHECKS=150` makes it long.
fn rounds() -> usize {
    std::env::var("CHECKS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// A thousand members: the addresses from 127.1.0.0 on, at one port. The first hundred read a check
/// and say nothing.
struct Crowd {
    port: u16,
    /// When each member was checked.
    checks: Arc<Vec<Mutex<Vec<Instant>>>>,
}

impl Crowd {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
        // All addresses, and nobody but this machine.
        socket.bind_device(Some(b"lo")).expect("bind to the loopback device");
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).expect("bind");
        socket.listen(1024).expect("listen");
        let listener: TcpListener = socket.into();
        let port = listener.local_addr().expect("an address").port();
        let checks: Arc<Vec<_>> = Arc::new((0..MEMBERS).map(|_| Mutex::default()).collect());
        let noted = checks.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = noted.clone();
                thread::spawn(move || serve(&stream, &noted));
            }
        });
        Self { port, checks }
    }

    fn lines(&self) -> String {
        let line = |n: usize| {
            format!("  LuaBalancerMember http://127.1.{}.{}:{} name=m{n}\n", n / 256, n % 256, self.port)
        };
        (0..MEMBERS).map(line).collect()
    }

    fn count(&self, member: usize) -> usize {
        self.checks[member].lock().expect("a lock").len()
    }

    fn wait_for(&self, more: usize) {
        let before: Vec<usize> = (0..MEMBERS).map(|n| self.count(n)).collect();
        wait_until(&format!("{more} checks of everybody"), INTERVAL * (more as u32 + 1) * 4, || {
            (0..MEMBERS).all(|n| self.count(n) >= before[n] + more)
        });
    }

    /// The longest time between two checks of one member since then.
    fn longest_gap(&self, since: Instant) -> Duration {
        let gaps = |times: &Mutex<Vec<Instant>>| {
            let times = times.lock().expect("a lock");
            let recent: Vec<Instant> = times.iter().copied().filter(|time| *time >= since).collect();
            recent.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
        };
        self.checks.iter().map(gaps).max().unwrap_or_default()
    }
}

/// Checks of one connection.
fn serve(mut stream: &TcpStream, checks: &[Mutex<Vec<Instant>>]) {
    let Ok(SocketAddr::V4(address)) = stream.local_addr() else { return };
    let [.., high, low] = address.ip().octets();
    let member = usize::from(high) * 256 + usize::from(low);
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        if !bytes[..length].ends_with(b"\r\n\r\n") {
            continue;
        }
        checks[member].lock().expect("a lock").push(Instant::now());
        if member >= HANGING && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// Processor time of a process so far.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // Fields 14 and 15 of all, in hundredths of a second; the state is field 3.
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// The memory that a process has written to, in KiB.
fn private_kib(pid: u32) -> usize {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("read smaps_rollup");
    let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn a_thousand_members_are_checked_in_time_though_a_hundred_hang() {
    let crowd = Crowd::new();
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&format!(
            "<LuaBalancerPool app>\n{}  LuaBalancerHealthCheck http uri=/health interval=2s timeout=1s\n</LuaBalancerPool>",
            crowd.lines()
        ))
        .config(&format!("LogLevel lua_balancer:notice\nLuaBalancerScriptLimit time={}ms", 50 * slower()))
        .start();
    crowd.wait_for(3);
    wait_until("the verdict", INTERVAL * 10, || {
        httpd.members("app").values().filter(|member| member.state == "down").count() == HANGING
    });
    let leads = httpd.wait_for_log(r"child \d+ leads");
    let leader =
        leads.split("child ").nth(1).and_then(|text| text.split(' ').next()?.parse().ok()).expect("a pid");
    let (start, time, memory) = (Instant::now(), processor_time(leader), private_kib(leader));
    crowd.wait_for(rounds());
    let (took, time) = (start.elapsed(), processor_time(leader) - time);
    let grown = private_kib(leader).saturating_sub(memory);
    let share = time.as_secs_f64() / took.as_secs_f64() * 100.0;
    let gap = crowd.longest_gap(start);
    eprintln!(
        "{} checks of each member in {took:?}: {share:.1} % of a core, longest gap {gap:?}, {memory} KiB + {grown} KiB",
        rounds()
    );
    assert_eq!(httpd.members("app").values().filter(|member| member.state == "down").count(), HANGING);
    assert_eq!(httpd.count_log("checks (cannot|wait)"), 0);
    // Far wider than what a machine with nothing else to do shows: docs/RELIABILITY.md.
    let most = INTERVAL * rounds() as u32 * 3 / 2;
    assert!(took < patience(most), "{} checks of each member took {took:?}", rounds());
    assert!(gap < patience(INTERVAL * 3), "{gap:?} between two checks of one member");
    assert!(slower() > 1 || share < 15.0, "{share:.1} % of a core");
    // Kept connections have a buffer of 8 KiB each, whose pages come into use one after the other.
    assert!(slower() > 1 || grown < 10 * MEMBERS, "{grown} KiB more than {memory} KiB");
}
