// SPDX-License-Identifier: Apache-2.0
//! What it costs to be watched: CPU time of a scrape and of a pool's document, and the times of
//! requests while all members are listed, scraped and written to the state file.
//!
//! `bench-watched [sizes=1000,10000] [asked=20] [rounds=10] [seconds=6] [clients=8] [pause_ms=2]
//! [watch=list,scrape,weigh]`: needs nginx. The CPU time is that of all of httpd's processes, less
//! their idle work in the same time. The times of requests are those of turns without and with a
//! watcher, one after the other at the same server: the ratio of each turn to the ones before and
//! after it, medians over the rounds. The watcher lists all members every two seconds, as the page
//! does, scrapes them every five, and gives one of them another weight every half second, so that
//! the state file is written anew all the time. `limit` gives it another `max_inflight` instead,
//! for which every child reads the whole pool again. Clients pause between requests: a machine at
//! its limit would show its queue instead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use peers::backends::Fast;
use peers::config::{address, proxy_pass};
use peers::cpu;
use peers::given::{number, word};
use peers::requests::{self, Clients};
use peers::turns::{Beside, Turns};
use server_tests::{Httpd, Request, SocketClient};

const POOL: &str = "/api/v1/pools/app";
const LISTED_EVERY: Duration = Duration::from_secs(2);
const SCRAPED_EVERY: Duration = Duration::from_secs(5);
const CHANGED_EVERY: Duration = Duration::from_millis(500);
/// How often the watcher looks whether something is due.
const STEP: Duration = Duration::from_millis(20);
/// At the start of each turn, not counted.
const SKIPPED: Duration = Duration::from_millis(500);

fn main() {
    let backend = Fast::everywhere().expect("nginx runs (apt-get install nginx-light)");
    let sizes = word("sizes").unwrap_or_else(|| "1000,10000".to_owned());
    let sizes: Vec<usize> = sizes.split(',').filter_map(|size| size.parse().ok()).collect();
    println!(
        "| members | scrape: CPU ms | bytes | document of the pool: CPU ms | bytes |\n|---|---|---|---|---|"
    );
    let mut servers: Vec<(usize, Httpd)> = Vec::new();
    for members in sizes {
        let httpd = start(members, backend.port());
        let [(scrape, scraped), (list, listed)] =
            ["/metrics", POOL].map(|target| cost(&httpd, target, number("asked", 20) as u32));
        println!("| {members} | {scrape:.1} | {scraped} | {list:.1} | {listed} |");
        servers.push((members, httpd));
    }
    println!("\n{}", Beside::head("watched"));
    let turns = Turns {
        length: Duration::from_secs(number("seconds", 6)),
        rounds: number("rounds", 10) as usize,
        clients: Clients {
            count: number("clients", 8) as usize,
            pause: Duration::from_millis(number("pause_ms", 2)),
            skip: SKIPPED,
        },
    };
    for (members, httpd) in &servers {
        let beside = turns.compare(httpd.port(), &format!("{members} members"), &|ended| watch(httpd, ended));
        println!("{}", beside.row(*members));
    }
}

/// A server with so many members, each at an address of its own.
fn start(members: usize, port: u16) -> Httpd {
    let lines: String = (0..members)
        .map(|index| format!("    LuaBalancerMember http://{}:{port} name=m{index}\n", address(index)))
        .collect();
    let config = format!(
        "LuaBalancerMaxMembers {}\nLuaBalancerStateFile kept/state.json\n\
         <LuaBalancerPool app>\n{lines}    LuaBalancerMethod power_of_two\n</LuaBalancerPool>\n{}",
        members + 100,
        proxy_pass("lb://app")
    );
    let builder = Httpd::builder().threads(25).log_level("warn").config(&config);
    builder.open_folder("kept");
    let httpd = builder.start();
    // Every member has its worker before anything is measured.
    requests::run(
        httpd.port(),
        Duration::from_secs(3),
        &Clients { count: 8, pause: Duration::ZERO, skip: SKIPPED },
    );
    httpd
}

/// CPU milliseconds of one answer, and its bytes.
fn cost(httpd: &Httpd, target: &str, times: u32) -> (f64, usize) {
    let mut client = httpd.socket();
    let mut bytes = client.get(target).body.len();
    let (before, began) = (cpu::time_of(httpd.pid()), Instant::now());
    for _ in 0..times {
        let response = client.get(target);
        assert_eq!(response.status, 200, "{target}");
        bytes = response.body.len();
    }
    let (taken, length) = (cpu::time_of(httpd.pid()) - before, began.elapsed());
    let before = cpu::time_of(httpd.pid());
    thread::sleep(length);
    let idle = cpu::time_of(httpd.pid()) - before;
    (taken.saturating_sub(idle).as_secs_f64() * 1e3 / f64::from(times), bytes)
}

/// Looks, and orders, until the turn is over.
fn watch(httpd: &Httpd, ended: &AtomicBool) {
    let mut client = httpd.socket();
    let began = Instant::now();
    let wanted = word("watch").unwrap_or_else(|| "list,scrape,weigh".to_owned());
    let mut due = ["list", "scrape", "weigh", "limit"]
        .map(|what| if wanted.contains(what) { Duration::ZERO } else { Duration::MAX });
    let mut changes = 0;
    while !ended.load(Ordering::Relaxed) {
        let [list, scrape, weigh, limit] = due.map(|due| began.elapsed() >= due);
        if list {
            due[0] += LISTED_EVERY;
            expect_ok(&mut client, &Request::get(POOL));
        }
        if scrape {
            due[1] += SCRAPED_EVERY;
            expect_ok(&mut client, &Request::get("/metrics"));
        }
        for (index, is_due, key) in [(2, weigh, "weight"), (3, limit, "max_inflight")] {
            if is_due {
                due[index] += CHANGED_EVERY;
                changes += 1;
                let body = format!("{{\"{key}\":{}}}", 100 + changes);
                let member = format!("{POOL}/members/m{}", changes % 100);
                expect_ok(&mut client, &Request::json("PATCH", &member, body));
            }
        }
        thread::sleep(STEP);
    }
}

fn expect_ok(client: &mut SocketClient, request: &Request) {
    let response = client.send(request);
    assert_eq!(response.status, 200, "{}", response.text());
}
