// SPDX-License-Identifier: Apache-2.0
//! The counts of requests: each once, by how it ended, in all children together, and never less
//! than before.

mod ends;
mod numbers;

use server_tests::{
    Backend, Builder, Httpd, Load, Mpm, Request, Step, on_every_mpm, patience, pool, slower, wait_until,
};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

/// The counts of a line, those of a histogram's buckets one by one.
type Counts = BTreeMap<String, u64>;

/// The line of the snapshot whose first word is this and whose second one ends so.
fn counts(httpd: &Httpd, kind: &str, name: &str) -> Counts {
    let text = httpd.snapshot();
    counts_in(&text, kind, name).unwrap_or_else(|| panic!("no {kind} of {name} in:\n{text}"))
}

fn counts_in(text: &str, kind: &str, name: &str) -> Option<Counts> {
    let line = text.lines().find(|line| {
        let mut words = line.split(' ');
        words.next() == Some(kind) && words.next().is_some_and(|word| word.trim_matches('"').ends_with(name))
    })?;
    let mut found = Counts::new();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        for (at, number) in value.split(',').enumerate() {
            let number = number.parse().unwrap_or_else(|_| panic!("{key}= is not a count in {line}"));
            found.insert(if value.contains(',') { format!("{key}.{at}") } else { key.to_owned() }, number);
        }
    }
    Some(found)
}

fn of_pool(httpd: &Httpd, pool: &str) -> Counts {
    counts(httpd, "pool_counts", pool)
}

fn of_member(httpd: &Httpd, member: &str) -> Counts {
    counts(httpd, "member_counts", member)
}

/// The counts that have grown, without durations and bytes.
fn more(before: &Counts, now: &Counts) -> Counts {
    let is_count = |key: &str| !["sum_us", "buckets", "bytes"].iter().any(|part| key.contains(part));
    let grown = now.iter().map(|(key, count)| {
        let before = before.get(key).copied().unwrap_or(0);
        assert!(*count >= before, "{key} was {before} and is {count}");
        (key.clone(), count - before)
    });
    grown.filter(|(key, count)| *count > 0 && is_count(key)).collect()
}

/// Counts as text: `ok=1 2xx=1`.
fn words(counts: &Counts) -> String {
    let words: Vec<String> = counts.iter().map(|(key, count)| format!("{key}={count}")).collect();
    words.join(" ")
}

fn sum(counts: &Counts, of: &str) -> u64 {
    counts.iter().filter(|(key, _)| key.starts_with(of)).map(|(_, count)| count).sum()
}

/// A request is counted when it is over, which may be a moment after its answer.
fn wait_for_more(what: &str, before: &Counts, wanted: &str, now: impl Fn() -> Counts) {
    let last = std::cell::RefCell::new(String::new());
    let is_there = || {
        last.replace(words(&more(before, &now())));
        *last.borrow() == wanted
    };
    let started = std::time::Instant::now();
    while !is_there() {
        assert!(started.elapsed() < patience(SOON), "{what}: expected {wanted:?}, found {:?}", last.borrow());
        thread::sleep(Duration::from_millis(10));
    }
}

/// One member, asked once for each request.
fn alone(mpm: Mpm, a: &Backend) -> Httpd {
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config(&pool("app", &[(a, "timeout=1")], "LuaBalancerOutlier off\nLuaBalancerSet retries=0"))
        .config("ProxyPass /app lb://app")
        .start()
}

fn get(httpd: &Httpd) {
    httpd.client().get("/app/x");
}

/// Begins to read a long answer, and goes.
fn go_away(httpd: &Httpd) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    stream.write_all(b"GET /app/long HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    let mut some = [0; 1000];
    stream.read_exact(&mut some).expect("the beginning of the answer");
}

/// How the backend behaves, what the client does, and what becomes more of the member and the pool.
type Case<'c> = (&'c dyn Fn(&Backend), fn(&Httpd), &'c str, &'c str);

fn waiting(a: &Backend, queue: &str, threads: usize) -> Httpd {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerSet queue={queue}");
    Httpd::builder()
        .children(1)
        .threads(threads)
        .with_member_states()
        .config(&pool("app", &[(a, "max_inflight=1")], &lines))
        .config("ProxyPass /app lb://app")
        .start()
}

/// Sends a request that is answered whenever there is a place.
fn ask(httpd: &Httpd) -> thread::JoinHandle<u16> {
    let mut client = httpd.client().timeout(Duration::from_secs(60));
    thread::spawn(move || client.get("/app/x").status)
}

const CALLS: &str = r#"
function decided(r) return lb.pool("app") end
function declined(r) return nil end
function failed(r) error("no idea") end
function endless(r) while true do end end
function greedy(r)
  local all = {}
  for n = 1, 1e9 do all[n] = ("x"):rep(1000) .. n end
end
function finished(r, result) end
function tick() end
"#;

fn growing(a: &Backend, b: &Backend) -> Builder {
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms";
    Httpd::builder()
        .threads(16)
        .with_member_states()
        .file("calls.lua", CALLS)
        .config("KeepAliveTimeout 1\n<Location /decided>\n  LuaHookTranslate calls.lua decided\n</Location>")
        .config(&pool("app", &[(a, ""), (b, "")], check))
        .config("ProxyPass /app lb://app")
}

/// All counts of a server, each under a name of its own.
fn all(httpd: &Httpd) -> Counts {
    let text = httpd.snapshot();
    let lines = [("pool_counts", "app"), ("member_counts", "app/a"), ("member_counts", "app/b")];
    let lines = lines.into_iter().chain([("script_counts", "calls.lua")]);
    let found = lines.flat_map(|(kind, name)| {
        let counts = counts_in(&text, kind, name).unwrap_or_else(|| panic!("no {kind} of {name}:\n{text}"));
        counts.into_iter().map(move |(key, count)| (format!("{name} {key}"), count))
    });
    found.collect()
}
