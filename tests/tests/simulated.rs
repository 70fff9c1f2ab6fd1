// SPDX-License-Identifier: Apache-2.0
//! `lbctl simulate` beside a real server: the same arrivals and service times give the same shares
//! and latencies.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use server_tests::ports::ReservedPort;
use server_tests::{Backend, Httpd, ended, lbctl_command, pool, wait_until};

const REQUESTS: usize = 300;
/// Requests a second.
const RATE: f64 = 60.0;
const FORMAT: &str = "%{begin:usec}t \"%r\" %{LB_SECONDS}e %{LB_MEMBER}e %D";

/// When requests come, and how many milliseconds a backend takes for each: of a fixed seed, the
/// gaps exponentially distributed.
fn arrivals() -> Vec<(Duration, u64)> {
    let (mut state, mut at) = (0x2545_f491_4f6c_dd1d_u64, 0.0);
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    };
    let one = |_| {
        at += -uniform().ln() / RATE;
        (Duration::from_secs_f64(at), 60 + (uniform() * 100.0) as u64)
    };
    (0..REQUESTS).map(one).collect()
}

/// Sends a request at each of these moments, whatever became of those before. Returns the seconds
/// that each client waited.
fn send(httpd: &Httpd, path: &str) -> Vec<f64> {
    const CLIENTS: usize = 64;
    let (due, next, begin) = (arrivals(), AtomicUsize::new(0), Instant::now());
    let waits = Mutex::new(vec![0.0; REQUESTS]);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = httpd.client().timeout(Duration::from_secs(60));
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    let Some((due, ms)) = due.get(number) else { break };
                    thread::sleep(due.saturating_sub(begin.elapsed()));
                    assert_eq!(client.get(&format!("{path}?n={number}&ms={ms}")).status, 200);
                    let waited = (begin.elapsed().saturating_sub(*due)).as_secs_f64();
                    waits.lock().expect("the waits")[number] = waited;
                }
            });
        }
    });
    waits.into_inner().expect("the waits")
}

/// The percentiles 50, 95 and 99.
fn percentiles(mut times: Vec<f64>) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [50.0, 95.0, 99.0].map(|percent| times[(times.len() as f64 * percent / 100.0).ceil() as usize - 1])
}

/// The results: the share of each member, and the percentiles 50, 95 and 99.
#[derive(Debug)]
struct Outcome {
    shares: BTreeMap<String, f64>,
    percentiles: [f64; 3],
}

impl Outcome {
    /// The outcome that lines of the log tell.
    fn served(lines: &[String]) -> Self {
        let (mut counts, mut times) = (BTreeMap::<String, f64>::new(), Vec::new());
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [.., member, us] = words.as_slice() else { panic!("{line}") };
            *counts.entry((*member).to_owned()).or_default() += 1.0 / lines.len() as f64;
            times.push(us.parse::<f64>().expect("microseconds") / 1e6);
        }
        Outcome { shares: counts, percentiles: percentiles(times) }
    }

    /// The outcome that a simulation's document tells.
    fn simulated(document: &Value) -> Self {
        let members = document["members"].as_array().expect("members");
        let share = |one: &Value| {
            let name = one["member"].as_str().expect("a name").split('/').next_back();
            (name.unwrap_or_default().to_owned(), one["share"].as_f64().expect("a share"))
        };
        let at = |key: &str| document["latency"][key].as_f64().expect("a time");
        Outcome { shares: members.iter().map(share).collect(), percentiles: ["p50", "p95", "p99"].map(at) }
    }

    /// Shares within 1 %, percentiles within 5 %.
    fn is_near(&self, other: &Outcome) -> bool {
        let share = |outcome: &Outcome, name: &String| outcome.shares.get(name).copied().unwrap_or_default();
        let names = self.shares.keys().chain(other.shares.keys());
        let mut shares = names.map(|name| share(self, name) - share(other, name));
        let mut times = self.percentiles.iter().zip(other.percentiles).map(|(own, other)| own / other - 1.0);
        shares.all(|off| off.abs() <= 0.01) && times.all(|off| off.abs() <= 0.05)
    }
}

fn simulate(httpd: &Httpd, name: &str, lines: &[String]) -> Value {
    let log = format!("{name}.log");
    fs::write(httpd.dir().join(&log), lines.join("\n")).expect("write the log");
    let words = ["simulate", "--config", "pools.conf", "--json", "--log-format", FORMAT, &log];
    let said = ended(lbctl_command(&words).current_dir(httpd.dir())).done();
    serde_json::from_str(&said.out).expect("JSON")
}

#[test]
fn shares_and_latencies_are_those_of_a_real_server() {
    let members = Backend::named(["a", "b", "c"]);
    members.iter().for_each(Backend::slow_as_asked);
    let [a, b, c] = &members;
    let own = [(a, "max_inflight=2"), (b, "max_inflight=3"), (c, "max_inflight=3")];
    let pools = [
        pool("even", &[(a, "weight=5"), (b, "weight=2"), (c, "")], ""),
        pool("least", &[(a, "weight=2"), (b, ""), (c, "")], "LuaBalancerMethod least_connections"),
        pool("line", &own, "LuaBalancerMethod least_connections\nLuaBalancerSet queue=30s"),
    ];
    let passes = ["even", "least", "line"].map(|name| format!("ProxyPass /{name} lb://{name}"));
    let httpd = Httpd::builder()
        .children(1)
        .threads(64)
        .file("pools.conf", &format!("{}\n{}", pools.join("\n"), passes.join("\n")))
        .config("Include pools.conf\nMaxKeepAliveRequests 0")
        .config(&format!("CustomLog sim.log \"{}\"", FORMAT.replace('"', "\\\"")))
        .start();
    let lines = || fs::read_to_string(httpd.dir().join("sim.log")).unwrap_or_default();
    let mut seen = 0;
    for name in ["even", "least", "line"] {
        let mut rounds = Vec::new();
        let begin = seen;
        // Ties are drawn on both sides: the more requests, the less draws matter.
        let is_near = (0..5).any(|_| {
            send(&httpd, &format!("/{name}"));
            let wanted = seen + REQUESTS;
            wait_until("the log has every request", Duration::from_secs(10), || {
                lines().lines().count() >= wanted
            });
            let own: Vec<String> = lines().lines().skip(begin).map(str::to_owned).collect();
            seen = wanted;
            let document = simulate(&httpd, name, &own);
            let (served, told) = (Outcome::served(&own), Outcome::simulated(&document));
            let waited = document["waited"].as_u64().unwrap_or_default();
            assert!(name != "line" || waited > 20, "too few have waited: {document}");
            rounds.push(format!("served {served:?}\ntold {told:?}"));
            told.is_near(&served)
        });
        println!("{name}:\n{}", rounds.join("\n"));
        assert!(is_near, "{name}:\n{}", rounds.join("\n"));
    }
}

/// The log's lines of this round as a log that the clients would have written: when each request
/// was sent, and how long the server had it.
fn as_sent(lines: &[String]) -> Vec<String> {
    let due = arrivals();
    let one = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let [.., us] = words.as_slice() else { panic!("{line}") };
        let number = line.split("?n=").nth(1).and_then(|rest| rest.split('&').next()).expect("its number");
        let number: usize = number.parse().expect("a number");
        let (at, seconds) = (due[number].0.as_secs_f64(), us.parse::<f64>().expect("microseconds") / 1e6);
        // An exact time: whole seconds would be spread.
        format!(r#"{{"time":{:.6},"path":"/few","seconds":{seconds}}}"#, 1_764_500_000.000_001 + at)
    };
    lines.iter().map(one).collect()
}

#[test]
fn requests_wait_for_the_workers_of_a_server_that_has_few_as_long_as_they_are_told_to() {
    const WORKERS: usize = 8;
    let members = Backend::named(["a", "b"]);
    members.iter().for_each(Backend::slow_as_asked);
    let [a, b] = &members;
    let conf = format!("{}\nProxyPass /few lb://few", pool("few", &[(a, "weight=2"), (b, "")], ""));
    let httpd = Httpd::builder()
        .children(1)
        .threads(WORKERS)
        .file("pools.conf", &conf)
        .config("Include pools.conf\nKeepAlive Off")
        .config(&format!("CustomLog sim.log \"{}\"", FORMAT.replace('"', "\\\"")))
        .start();
    let lines = || fs::read_to_string(httpd.dir().join("sim.log")).unwrap_or_default();
    let mut rounds = Vec::new();
    let is_near = (0..5).any(|round| {
        let waits = send(&httpd, "/few");
        let wanted = (round + 1) * REQUESTS;
        wait_until("the log has every request", Duration::from_secs(10), || {
            lines().lines().count() >= wanted
        });
        let own: Vec<String> = lines().lines().skip(round * REQUESTS).map(str::to_owned).collect();
        fs::write(httpd.dir().join("few.log"), as_sent(&own).join("\n")).expect("write the log");
        let workers = WORKERS.to_string();
        let words = ["simulate", "--config", "pools.conf", "--json", "--workers", &workers, "few.log"];
        let said = ended(lbctl_command(&words).current_dir(httpd.dir())).done();
        let document: Value = serde_json::from_str(&said.out).expect("JSON");
        let served = Outcome { percentiles: percentiles(waits), ..Outcome::served(&own) };
        let told = Outcome::simulated(&document);
        let waited = document["waited_for_worker"].as_u64().unwrap_or_default();
        assert!(waited > 20 && document["workers_peak"] == WORKERS, "too few have waited: {document}");
        rounds.push(format!("served {served:?}\ntold {told:?}, {waited} waited"));
        told.is_near(&served)
    });
    println!("{}", rounds.join("\n"));
    assert!(is_near, "{}", rounds.join("\n"));
}

/// How many requests were sent again, and the most that were in flight at each member that
/// answered.
#[derive(Debug, PartialEq)]
struct Strain {
    retries: u64,
    peaks: BTreeMap<String, u64>,
}

/// A line: when it came in microseconds, `"GET /path HTTP/1.1"`, seconds at members, the member,
/// how many attempts, and how long it took in microseconds.
const STRAIN: &str = "%{begin:usec}t \"%r\" %{LB_SECONDS}e %{LB_MEMBER}e %{LB_ATTEMPTS}e %D";

impl Strain {
    fn served(lines: &[String]) -> Self {
        let (mut retries, mut moments) = (0, BTreeMap::<String, Vec<(u64, i64)>>::new());
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [begin, .., member, attempts, us] = words.as_slice() else { panic!("{line}") };
            let number = |word: &str| word.parse::<u64>().expect("a number");
            retries += u64::from(number(attempts) > 1);
            let of = moments.entry((*member).to_owned()).or_default();
            of.extend([(number(begin), 1), (number(begin) + number(us), -1)]);
        }
        let peak = |mut moments: Vec<(u64, i64)>| {
            moments.sort_unstable();
            let steps = moments.iter().scan(0, |now, (_, step)| {
                *now += step;
                Some(*now)
            });
            steps.max().unwrap_or_default().cast_unsigned()
        };
        Strain { retries, peaks: moments.into_iter().map(|(name, of)| (name, peak(of))).collect() }
    }

    fn simulated(document: &Value) -> Self {
        let members = document["members"].as_array().expect("members").iter();
        let peak = |one: &Value| {
            let name = one["member"].as_str().expect("a name").split('/').next_back();
            (name.unwrap_or_default().to_owned(), one["peak"].as_u64().expect("a peak"))
        };
        let peaks = members.map(peak).filter(|(_, peak)| *peak > 0).collect();
        Strain { retries: document["retries"].as_u64().expect("retries"), peaks }
    }

    /// Retries within 1 %; peaks as well, and by one request, which is more than that here.
    fn is_near(&self, other: &Strain) -> bool {
        let off = |own: u64, other: u64| own.abs_diff(other);
        self.peaks.keys().eq(other.peaks.keys())
            && self.peaks.iter().all(|(name, peak)| off(*peak, other.peaks[name]) <= 1)
            && off(self.retries, other.retries) * 100 <= other.retries
    }
}

#[test]
fn peaks_and_retries_are_those_of_a_real_server_with_a_dead_member() {
    let members = Backend::named(["a", "b"]);
    members.iter().for_each(Backend::slow_as_asked);
    let [a, b] = &members;
    let dead = ReservedPort::new();
    let gone = format!("LuaBalancerMember http://127.0.0.1:{} name=gone", dead.port());
    let pools = pool("part", &[(a, "weight=2"), (b, "")], &format!("{gone}\nLuaBalancerOutlier off"));
    let httpd = Httpd::builder()
        .children(1)
        .threads(64)
        .file("pools.conf", &format!("{pools}\nProxyPass /part lb://part"))
        .config("Include pools.conf\nMaxKeepAliveRequests 0")
        .config(&format!("CustomLog sim.log \"{}\"", STRAIN.replace('"', "\\\"")))
        .start();
    let lines = || fs::read_to_string(httpd.dir().join("sim.log")).unwrap_or_default();
    let mut rounds = Vec::new();
    // Requests that come within one another's dispatch may change places.
    let is_near = (1..=5).any(|round| {
        send(&httpd, "/part");
        wait_until("the log has every request", Duration::from_secs(10), || {
            lines().lines().count() >= round * REQUESTS
        });
        let own: Vec<String> = lines().lines().map(str::to_owned).collect();
        fs::write(httpd.dir().join("part.log"), own.join("\n")).expect("write the log");
        let down = ["--down", "gone@2020-01-01T00:00:00Z"];
        let words = ["simulate", "--config", "pools.conf", "--json", "--log-format", STRAIN, "part.log"];
        let words = [&words[..], &down].concat();
        let said = ended(lbctl_command(&words).current_dir(httpd.dir())).done();
        let document: Value = serde_json::from_str(&said.out).expect("JSON");
        let (served, told) = (Strain::served(&own), Strain::simulated(&document));
        assert!(served.retries as usize >= round * REQUESTS / 5, "too few met the dead one: {served:?}");
        rounds.push(format!("served {served:?}\ntold {told:?}"));
        told.is_near(&served)
    });
    println!("{}", rounds.join("\n"));
    assert!(is_near, "{}", rounds.join("\n"));
}
