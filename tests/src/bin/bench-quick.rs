//! CPU time of httpd per request for the ways to a backend, as ratios to plain `ProxyPass` in the same round.
//!
//! `bench-quick [members=3] [rounds=5] [seconds=2] [connections=16] [threads=25] [only=TEXT]`: needs wrk and nginx; `only` keeps the ways whose name has that text. Every way has an httpd of its own; all of
//! them run at once and take turns under load, each between two turns of plain ProxyPass, so that the machine's moods meet
//! all alike. Medians over the rounds.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};

use server_tests::Httpd;

const PLAIN: &str = "plain ProxyPass";

/// One way from client to backend.
struct Way {
    name: &'static str,
    httpd: Httpd,
}

struct Sample {
    cpu_us: f64,
    per_second: f64,
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
    let backend = Nginx::start();
    let mut ways = ways(members, backend.port);
    let only = std::env::args().find_map(|arg| Some(arg.strip_prefix("only=")?.to_owned()));
    if let Some(only) = only {
        ways.retain(|way| way.name == PLAIN || way.name.contains(&only));
    }
    for way in &ways {
        measure(way, 1, connections);
    }
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let Some(plain_way) = ways.first() else { return };
    for round in 0..rounds {
        for (index, way) in ways.iter().enumerate() {
            // Plain ProxyPass right before and right after: the machine's mood drifts.
            let before = measure(plain_way, seconds, connections).cpu_us;
            let sample = measure(way, seconds, connections);
            let plain = if index == 0 {
                before
            } else {
                (before + measure(plain_way, seconds, connections).cpu_us) / 2.0
            };
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
    for way in &ways {
        let cpu = median(samples[way.name].iter().map(|s| s.cpu_us).collect());
        let rate = median(samples[way.name].iter().map(|s| s.per_second).collect());
        let all = &ratios[way.name];
        let (low, high) = (quantile(all, 1, 4), quantile(all, 3, 4));
        println!("| {} | {cpu:.1} | {:.3} ({low:.3}–{high:.3}) | {rate:.0} |", way.name, median(all.clone()));
    }
}

fn median(values: Vec<f64>) -> f64 {
    quantile(&values, 1, 2)
}

fn quantile(values: &[f64], part: usize, of: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * part / of).copied().unwrap_or(f64::NAN)
}

/// Loopback addresses, so that a thousand members are a thousand workers.
fn address(index: usize) -> String {
    format!("127.0.{}.{}", 1 + index / 250, 1 + index % 250)
}

fn ways(members: usize, port: u16) -> Vec<Way> {
    let stock = |config: String, modules: &[&str]| {
        let mut builder = Httpd::builder().stock();
        for module in modules {
            builder = builder.module(module);
        }
        run(builder.config(&config))
    };
    let lines = |word: &str| {
        (0..members).map(|i| format!("    {word} http://{}:{port}\n", address(i))).collect::<String>()
    };
    let pool = |method: &str| {
        format!(
            "<LuaBalancerPool app>\n{}    LuaBalancerMethod {method}\n</LuaBalancerPool>\n",
            lines("LuaBalancerMember")
        )
    };
    let balancer = format!(
        "<Proxy \"balancer://app\">\n{}</Proxy>\nProxyPass \"/\" \"balancer://app/\"\n",
        lines("BalancerMember")
    );
    let script = "local app = lb.pool(\"app\")\nfunction select(r)\n  if r.uri:find(\"^/static/\") then return nil end\n  \
                  if r.uri:find(\"^/api/\") then return lb.pool(\"api\") end\n  if r:getcookie(\"beta\") then return \
                  app:where{version = \"2\"}:least_connections() end\n  return app:least_connections()\nend\n";
    let own = |method: &str| {
        run(Httpd::builder().config(&format!("{}ProxyPass \"/\" \"lb://app/\"\n", pool(method))))
    };
    vec![
        Way {
            name: PLAIN,
            httpd: stock(format!("ProxyPass \"/\" \"http://{}:{port}/\"\n", address(0)), &[]),
        },
        Way {
            name: "balancer:// byrequests",
            httpd: stock(balancer, &["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]),
        },
        Way {
            name: "plain, module loaded",
            httpd: run(Httpd::builder().config(&format!(
                "{}ProxyPass \"/\" \"http://{}:{port}/\"\n",
                pool("round_robin"),
                address(0)
            ))),
        },
        Way { name: "lb:// round_robin", httpd: own("round_robin") },
        Way { name: "lb:// least_connections", httpd: own("least_connections") },
        Way { name: "lb:// power_of_two", httpd: own("power_of_two") },
        Way {
            name: "LuaHookTranslate",
            httpd: run(Httpd::builder()
                .file("balancer.lua", script)
                .config(&format!("{}LuaHookTranslate balancer.lua select\n", pool("least_connections")))),
        },
    ]
}

fn run(builder: server_tests::Builder) -> Httpd {
    builder.threads(argument("threads", 25)).log_level("warn").start()
}

fn measure(way: &Way, seconds: usize, connections: usize) -> Sample {
    let before = cpu_ticks(&way.httpd);
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")])
        .arg(format!("http://127.0.0.1:{}/x", way.httpd.port()))
        .output()
        .expect("wrk runs (apt-get install wrk)");
    let ticks = cpu_ticks(&way.httpd) - before;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{}: {text}\n{}", way.name, way.httpd.error_log());
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
        .unwrap_or_else(|| panic!("no count of requests in: {text}"));
    Sample { cpu_us: ticks as f64 * 10_000.0 / requests, per_second: requests / seconds as f64 }
}

/// Ticks (10 ms) of user and system time of the server's processes.
fn cpu_ticks(httpd: &Httpd) -> u64 {
    httpd.children().into_iter().chain([httpd.pid()]).map(ticks_of).sum()
}

fn ticks_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
}

/// A fast backend.
struct Nginx {
    process: Child,
    port: u16,
    folder: std::path::PathBuf,
}

impl Nginx {
    fn start() -> Self {
        let port = server_tests::ports::ReservedPort::new().port();
        let folder = std::env::temp_dir().join(format!("lua-balancer-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let config = format!(
            "worker_processes 1; master_process off; pid {dir}/pid; error_log {dir}/error.log; daemon off;\nevents {{ worker_connections 8192; }}\n\
             http {{ access_log off; keepalive_requests 1000000; keepalive_timeout 600s;\n client_body_temp_path {dir}/b; \
             proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
             server {{ listen {port} backlog=4096; location / {{ return 200 \"ok\\n\"; }} }} }}\n",
            dir = folder.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, config).expect("the configuration");
        let process = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs (apt-get install nginx-light)");
        server_tests::wait_until("nginx listens", std::time::Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Nginx { process, port, folder }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
