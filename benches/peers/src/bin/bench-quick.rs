// SPDX-License-Identifier: Apache-2.0
//! CPU time of httpd per request for the ways to a backend, as ratios to plain `ProxyPass` in the
//! same round.
//!
//! `bench-quick [members=3] [rounds=5] [seconds=2] [connections=16] [threads=25] [only=TEXT]`:
//! needs wrk and nginx; `only` keeps the ways whose name has that text. Every way has an httpd of
//! its own; all of them run at once and take turns under load, each between two turns of plain
//! ProxyPass, so that the machine's moods meet all alike. Every three rounds all servers start
//! anew: where a process has its memory costs or saves some hundredths for as long as it lives.
//! Medians over the rounds.

use std::collections::BTreeMap;

use peers::backends::Fast;
use peers::config::{self, SCRIPT, address, proxy_pass};
use peers::stats::{Spread, median};
use peers::wrk::{Load, Turn};
use server_tests::Httpd;

const PLAIN: &str = "plain ProxyPass";

/// Rounds that the same servers run.
const ROUNDS_A_START: usize = 3;

/// One way from client to backend.
struct Way {
    name: &'static str,
    httpd: Httpd,
}

fn argument(name: &str, default: usize) -> usize {
    std::env::args()
        .filter_map(|arg| arg.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .next_back()
        .unwrap_or(default)
}

fn main() {
    let (members, rounds) = (argument("members", 3), argument("rounds", 5));
    let (seconds, connections) = (argument("seconds", 2), argument("connections", 16));
    let backend = Fast::start(members).expect("nginx runs (apt-get install nginx-light)");
    let only = std::env::args().find_map(|arg| Some(arg.strip_prefix("only=")?.to_owned()));
    let wanted = |way: &Way| way.name == PLAIN || only.as_ref().is_none_or(|only| way.name.contains(only));
    let load = Load::one_path(seconds, connections);
    let mut names: Vec<&str> = Vec::new();
    let mut samples: BTreeMap<&str, Vec<Turn>> = BTreeMap::new();
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut ways: Vec<Way> = Vec::new();
    for round in 0..rounds {
        if round % ROUNDS_A_START == 0 {
            ways.clear();
            ways = all_ways(members, backend.port());
            ways.retain(wanted);
            names = ways.iter().map(|way| way.name).collect();
            for way in &ways {
                measure(way, &Load::one_path(1, connections));
            }
        }
        let Some(plain_way) = ways.first() else { return };
        for (index, way) in ways.iter().enumerate() {
            // Plain ProxyPass right before and right after: the machine's mood drifts.
            let before = measure(plain_way, &load).cpu_us;
            let sample = measure(way, &load);
            let plain = if index == 0 { before } else { (before + measure(plain_way, &load).cpu_us) / 2.0 };
            eprintln!(
                "round {} {}: {:.1} us/request, {:.0}/s",
                round + 1,
                way.name,
                sample.cpu_us,
                sample.per_second
            );
            ratios.entry(way.name).or_default().push(sample.cpu_us / plain);
            samples.entry(way.name).or_default().push(sample);
        }
    }
    println!("\n{members} members, {rounds} rounds of {seconds} s, {connections} connections, event MPM\n");
    println!("| way | CPU us/request | ratio to plain ProxyPass (median, quartiles) | requests/s |");
    println!("|---|---|---|---|");
    for name in names {
        let of = |what: fn(&Turn) -> f64| median(&samples[name].iter().map(what).collect::<Vec<_>>());
        let Spread { low, median, high } = Spread::of(&ratios[name]);
        let (cpu, rate) = (of(|turn| turn.cpu_us), of(|turn| turn.per_second));
        println!("| {name} | {cpu:.1} | {median:.3} ({low:.3}–{high:.3}) | {rate:.0} |");
    }
}

fn all_ways(members: usize, port: u16) -> Vec<Way> {
    let stock = |config: String, modules: &[&str]| {
        let mut builder = Httpd::builder().stock();
        for module in modules {
            builder = builder.module(module);
        }
        run(builder.config(&config))
    };
    let pool = |method: &str| config::pool("app", 0..members, port, method);
    let plain = proxy_pass(&format!("http://{}:{port}", address(0)));
    let balancer = config::balancer("app", 0..members, port, "byrequests") + &proxy_pass("balancer://app");
    let own = |method: &str| run(Httpd::builder().config(&(pool(method) + &proxy_pass("lb://app"))));
    vec![
        Way { name: PLAIN, httpd: stock(plain.clone(), &[]) },
        Way {
            name: "balancer:// byrequests",
            httpd: stock(balancer, &["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]),
        },
        Way {
            name: "plain, module loaded",
            httpd: run(Httpd::builder().config(&(pool("round_robin") + &plain))),
        },
        Way { name: "lb:// round_robin", httpd: own("round_robin") },
        Way { name: "lb:// least_connections", httpd: own("least_connections") },
        Way { name: "lb:// power_of_two", httpd: own("power_of_two") },
        Way {
            name: "LuaHookTranslate",
            httpd: run(Httpd::builder()
                .file("balancer.lua", SCRIPT)
                .config(&format!("{}LuaHookTranslate balancer.lua select\n", pool("least_connections")))),
        },
    ]
}

fn run(builder: server_tests::Builder) -> Httpd {
    builder.threads(argument("threads", 25)).log_level("warn").start()
}

fn measure(way: &Way, load: &Load) -> Turn {
    load.turn(way.httpd.pid(), way.httpd.port())
        .unwrap_or_else(|error| panic!("{}: {error}\n{}", way.name, way.httpd.error_log()))
}
