// SPDX-License-Identifier: Apache-2.0
//! What it costs that members which a source finds come and go: the times of requests while one in
//! a hundred is replaced every second, the processor time of the thread that leads, and memory.
//!
//! `bench-churn [members=10000] [part=100] [rounds=5] [seconds=12] [clients=8] [pause_ms=2]`: needs
//! nginx. The source is a file, which is renamed into place. Each member has an address of its own;
//! `part` of them are replaced each second by ones that nobody has met.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peers::backends::Fast;
use peers::config::{address, proxy_pass};
use peers::given::number;
use peers::requests::{self, Clients};
use peers::turns::{Beside, Turns};
use server_tests::{Httpd, Request, wait_until};

/// At the start of each turn, not counted.
const SKIPPED: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_secs(1);
/// How long a member that is gone drains: its row is taken as long.
const DRAIN_S: usize = 2;

/// The list, and which members stand in it: those from a number on.
struct List {
    file: PathBuf,
    port: u16,
    members: usize,
    part: usize,
    from: AtomicUsize,
    /// Its text as it was written last, so that writing it takes little time beside the server.
    text: Mutex<(usize, String)>,
}

impl List {
    fn write(&self) {
        let from = self.from.load(Ordering::Relaxed);
        let mut text = self.text.lock().expect("its text");
        let (known, lines) = &mut *text;
        let gone = lines.match_indices('\n').map(|(at, _)| at + 1).nth((from - *known).wrapping_sub(1));
        lines.drain(..gone.unwrap_or(0));
        let there = if lines.is_empty() { from } else { *known + self.members };
        for n in there..from + self.members {
            lines.push_str(&format!("http://{}:{} name=m{n}\n", address(n), self.port));
        }
        *known = from;
        let beside = self.file.with_extension("new");
        fs::write(&beside, &*lines).expect("write the list");
        fs::rename(&beside, &self.file).expect("rename the list");
    }

    fn churn(&self, ended: &AtomicBool) {
        let mut due = Instant::now();
        while !ended.load(Ordering::Relaxed) {
            if Instant::now() >= due {
                due += EVERY;
                self.from.fetch_add(self.part, Ordering::Relaxed);
                self.write();
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The thread that leads, by its name and that it has worked.
fn leading_time(httpd: &Httpd) -> Duration {
    let tasks = httpd.children().into_iter().flat_map(|pid| {
        let folder = format!("/proc/{pid}/task");
        fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path())
    });
    let is_ours = |path: &PathBuf| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "lua-balancer")
    };
    tasks.filter(is_ours).map(|path| time_of_thread(&path)).max().unwrap_or_default()
}

/// The first number of schedstat: nanoseconds on a processor.
fn time_of_thread(path: &Path) -> Duration {
    let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

/// KiB that the children have written to.
fn memory(httpd: &Httpd) -> usize {
    let of = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).map(str::to_owned);
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    httpd.children().into_iter().map(of).sum()
}

fn main() {
    let backend = Fast::everywhere().expect("nginx runs (apt-get install nginx-light)");
    let (members, part) = (number("members", 10_000) as usize, number("part", 100) as usize);
    let room = members + part * (DRAIN_S + 10);
    let builder = Httpd::builder().threads(25).log_level("warn");
    let file = builder.open_folder("list").join("app.txt");
    let list =
        List { file, port: backend.port(), members, part, from: AtomicUsize::new(0), text: Mutex::default() };
    list.write();
    let httpd = builder
        .config(&format!(
            "LuaBalancerMaxMembers {room}\n<LuaBalancerPool app>\n    LuaBalancerMethod power_of_two\n    \
             LuaBalancerDiscovery file:{} max={} drain={DRAIN_S}s\n</LuaBalancerPool>\n{}",
            list.file.display(),
            members + 1,
            proxy_pass("lb://app")
        ))
        .start();
    wait_until("all members", Duration::from_secs(60), || {
        let known = httpd.socket().send(&Request::get("/api/v1/pools/app?fields=total")).text();
        known.contains(&format!("\"total\":{members}"))
    });
    let clients = Clients {
        count: number("clients", 8) as usize,
        pause: Duration::from_millis(number("pause_ms", 2)),
        skip: SKIPPED,
    };
    requests::run(httpd.port(), Duration::from_secs(3), &clients);
    let rounds = number("rounds", 5) as usize;
    let length = Duration::from_secs(number("seconds", 12));
    let (spent, grown) = (AtomicUsize::new(0), memory(&httpd));
    let beside = |ended: &AtomicBool| {
        let before = leading_time(&httpd);
        list.churn(ended);
        let spent_us = (leading_time(&httpd) - before).as_micros();
        spent.fetch_add(spent_us as usize, Ordering::Relaxed);
    };
    let name = format!("{members} members");
    let seen = Turns { length, rounds, clients }.compare(httpd.port(), &name, &beside);
    println!("{}\n{}", Beside::head("in change"), seen.row(members));
    let share = spent.load(Ordering::Relaxed) as f64 / 1e4 / (length.as_secs_f64() * rounds as f64);
    println!(
        "\nThe leading thread: {share:.1} % of a core. Memory of all children: {grown} KiB, {} KiB at the end, after {} \
         members.",
        memory(&httpd),
        list.from.load(Ordering::Relaxed) + members
    );
}
