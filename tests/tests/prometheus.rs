// SPDX-License-Identifier: Apache-2.0
//! The files of contrib/ for Prometheus and Grafana, asked of a real Prometheus that has scraped a
//! real httpd under load; and other readers of the metrics. All of them are Debian's: `scripts/deps
//! test` installs them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use server_tests::ports::ReservedPort;
use server_tests::{Backend, Client, Httpd, Load, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(path).canonicalize().expect("the file")
}

fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    assert!(is_there, "{name} is not there: scripts/deps test installs it");
    Command::new(name)
}

/// A program that is ended with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log");
        let again = log.try_clone().expect("the same log");
        Running(command.stdin(Stdio::null()).stdout(log).stderr(again).spawn().expect("it starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Prometheus with the shipped rules that scrapes one address.
struct Prometheus {
    port: ReservedPort,
    log: PathBuf,
    _running: Running,
}

impl Prometheus {
    fn start(folder: &Path, target: u16) -> Self {
        let port = ReservedPort::new();
        let (config, log) = (folder.join("prometheus.yml"), folder.join("prometheus.log"));
        let rules = ["recording.yml", "alerts.yml"].map(|name| contrib(&format!("prometheus/{name}")));
        let text = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{}', '{}']\n\
             scrape_configs:\n- job_name: balancer\n  static_configs:\n  - targets: ['127.0.0.1:{target}']\n",
            rules[0].display(),
            rules[1].display(),
        );
        std::fs::write(&config, text).expect("its configuration");
        let mut command = program("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", port.port()));
        let running = Running::start(&mut command, &log);
        let prometheus = Prometheus { port, log, _running: running };
        wait_until("Prometheus", patience(SOON), || prometheus.try_get("/-/ready").is_some());
        prometheus
    }

    fn try_get(&self, target: &str) -> Option<String> {
        let answer = Client::new(self.port.port()).try_get(target).ok()?;
        (answer.status == 200).then(|| answer.text())
    }

    fn get(&self, target: &str) -> Value {
        let answer = Client::new(self.port.port()).get(target);
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        assert_eq!(answer.status, 200, "{target}: {}\n{}", answer.text(), log());
        serde_json::from_str(&answer.text()).expect("JSON")
    }

    /// Labels and values that an expression gives now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let found = self.get(&format!("/api/v1/query?query={}", encoded(expression)));
        found["data"]["result"].as_array().expect("a result").clone()
    }

    /// Whether it gives any number.
    fn gives_data(&self, expression: &str) -> bool {
        self.query(expression).iter().any(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN"))
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("text takes everything"),
        }
    }
    out
}

/// An alert's condition as a number, 0 or 1: whatever it says now, it has something to say it of.
fn as_number(condition: &str) -> String {
    let bound = Regex::new(r"(==|>|<) ([0-9.]+)").expect("a pattern");
    bound.replace_all(condition, "$1 bool $2").into_owned()
}

/// Prometheus's own reading of the rules: each one's expression.
fn of_rules(prometheus: &Prometheus) -> Vec<String> {
    let all = prometheus.get("/api/v1/rules");
    let groups = all["data"]["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
    let mut found = Vec::new();
    for rule in rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().expect("an expression"));
        assert_ne!(rule["health"], "err", "{name}: {}", rule["lastError"]);
        if rule["type"] == "recording" {
            found.push(name.as_str().expect("a name").to_owned());
            found.push(query.to_owned());
        } else if name != "LuaBalancerGone" {
            found.push(as_number(query));
        }
    }
    assert!(found.len() > 30, "{found:#?}");
    found
}

/// The expressions of the dashboard, with all pools and members chosen.
fn of_dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(contrib("grafana/lua_balancer.json")).expect("the dashboard");
    let board: Value = serde_json::from_str(&text).expect("JSON");
    let expressions = |of: &Value| -> Vec<String> {
        let targets = of["targets"].as_array().into_iter().flatten();
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
    };
    let mut found: Vec<String> =
        board["panels"].as_array().expect("panels").iter().flat_map(expressions).collect();
    for note in board["annotations"]["list"].as_array().expect("annotations") {
        found.push(as_number(note["expr"].as_str().expect("an expression")));
    }
    for variable in board["templating"]["list"].as_array().expect("variables") {
        let Some(query) = variable["query"]["query"].as_str() else { continue };
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect("label_values");
        found.push(format!("count by ({label}) ({series}) > 0"));
    }
    assert!(found.len() > 45, "{found:#?}");
    let variable = Regex::new(r"\$(job|instance|pool|member)\b").expect("a pattern");
    found
        .iter()
        .map(|one| variable.replace_all(&one.replace("$__rate_interval", "1m"), ".*").into_owned())
        .collect()
}

const SCRIPT: &str = "function route(r) lb.dict('seen'):incr(r.uri, 1, 0) return lb.pool('app') end";

/// A server of which every metric has something to tell: one member refuses, another one fails.
fn busy(members: &[Backend; 4], metrics: u16) -> Httpd {
    let [a, b, refusing, slow] = members;
    let lines = "LuaBalancerSticky cookie=LB\nLuaBalancerOutlier on failures=3 ejection=1s\n\
                 LuaBalancerHealthCheck http uri=/health interval=200ms";
    Httpd::builder()
        .threads(16)
        .file("route.lua", SCRIPT)
        .config(&format!("LuaBalancerMetrics listen=127.0.0.1:{metrics}\nLuaBalancerDict seen 1m"))
        .config(&pool("app", &[(a, ""), (b, ""), (refusing, "")], lines))
        .config(&pool("narrow", &[(slow, "max_inflight=1")], "LuaBalancerSet queue=5s"))
        .config("ProxyPass /app lb://app\nProxyPass /narrow lb://narrow")
        .config("<Location /script>\n  LuaHookTranslate route.lua route\n</Location>")
        .config("ExtendedStatus on\n<Location /status>\n  SetHandler server-status\n</Location>")
        .start()
}

fn four() -> [Backend; 4] {
    let members = Backend::named(["a", "b", "c", "d"]);
    members[1].status(500);
    members[2].refuse();
    members[3].slow(Duration::from_millis(20));
    members
}

#[test]
fn every_shipped_expression_gives_data_of_a_server_under_load() {
    let (members, metrics) = (four(), ReservedPort::new());
    let httpd = busy(&members, metrics.port());
    let prometheus = Prometheus::start(httpd.dir(), metrics.port());
    let loads = ["/app/x", "/narrow/x", "/script/x"].map(|target| Load::start(httpd.port(), target, 4));
    wait_until("a rule's result", patience(SOON), || {
        prometheus.gives_data("pool:luabalancer_request_duration_seconds:p99_rate5m")
    });
    let mut missing: Vec<String> = of_rules(&prometheus).into_iter().chain(of_dashboard()).collect();
    let started = std::time::Instant::now();
    while !missing.is_empty() && started.elapsed() < patience(SOON) {
        missing.retain(|expression| !prometheus.gives_data(expression));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(missing.is_empty(), "these give nothing: {missing:#?}");
    assert!(prometheus.query("absent(luabalancer_build_info)").is_empty());
    let ups = prometheus.query("up");
    assert!(ups.len() == 1 && ups[0]["value"][1] == "1", "{ups:?}");
    drop(loads);
    httpd.assert_no_crash();
}

/// Runs promtool with these arguments.
fn promtool(arguments: &[&str], input: &str) -> String {
    let folder = contrib("prometheus");
    let mut command = program("promtool");
    command.args(arguments).current_dir(folder).stdin(Stdio::piped());
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool starts");
    running.stdin.take().expect("its input").write_all(input.as_bytes()).expect("written");
    let said = running.wait_with_output().expect("it ends");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{arguments:?}: {text}");
    text
}

#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() {
    promtool(&["check", "rules", "recording.yml", "alerts.yml"], "");
    promtool(&["test", "rules", "tests.yml"], "");
    let read =
        |name: &str| std::fs::read_to_string(contrib(&format!("prometheus/{name}"))).expect("the file");
    let tests = read("tests.yml");
    let alerts = read("alerts.yml");
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        for what in ["fires", "does not fire"] {
            assert!(tests.contains(&format!("- name: {name} {what}\n")), "tests.yml: {name} {what}");
        }
    }
}

/// Reads OpenMetrics from its input as strictly as the format's own library does.
const STRICT: &str = "import sys\n\
                      from prometheus_client.openmetrics.parser import text_string_to_metric_families\n\
                      print(sum(len(one.samples) for one in text_string_to_metric_families(sys.stdin.read())))\n";

#[test]
fn other_readers_understand_what_a_busy_server_says() {
    let (members, metrics) = (four(), ReservedPort::new());
    let httpd = busy(&members, metrics.port());
    let loads = ["/app/x", "/narrow/x", "/script/x"].map(|target| Load::start(httpd.port(), target, 2));
    loads.iter().for_each(|load| load.wait_for(20));
    let text = Client::new(metrics.port()).get("/metrics").text();
    assert_eq!(promtool(&["check", "metrics"], &text), "");
    let asked = server_tests::Request::get("/metrics").header("Accept", "application/openmetrics-text");
    let open = Client::new(metrics.port()).send(&asked).text();
    assert!(open.ends_with("# EOF\n"));
    // Debian's, whatever other one comes first.
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", STRICT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = python.spawn().expect("python3 (scripts/deps test)");
    running.stdin.take().expect("its input").write_all(open.as_bytes()).expect("written");
    let said = running.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{error}\n(scripts/deps test installs python3-prometheus-client)\n{open}");
    let samples: usize = String::from_utf8_lossy(&said.stdout).trim().parse().expect("a number");
    assert_eq!(samples, open.lines().filter(|line| !line.starts_with('#')).count());
}

#[test]
fn the_exporter_of_mod_status_reads_pools_as_balancers() {
    let (members, metrics, port) = (four(), ReservedPort::new(), ReservedPort::new());
    let httpd = busy(&members, metrics.port());
    (0..6).for_each(|_| assert!(httpd.client().get("/narrow/x").status == 200));
    let mut command = program("prometheus-apache-exporter");
    command
        .arg(format!("--telemetry.address=127.0.0.1:{}", port.port()))
        .arg(format!("--scrape_uri=http://127.0.0.1:{}/status?auto", httpd.port()));
    let _running = Running::start(&mut command, &httpd.dir().join("exporter.log"));
    let text =
        || Client::new(port.port()).try_get("/metrics").map(|answer| answer.text()).unwrap_or_default();
    wait_until("the exporter", patience(SOON), || text().contains("apache_up 1\n"));
    let text = text();
    let line = |name: &str| {
        let is_it = |line: &&str| line.starts_with(name) && line.contains("lb://narrow");
        let found = text.lines().find(is_it);
        found.unwrap_or_else(|| panic!("no {name} of lb://narrow in\n{text}")).to_owned()
    };
    assert!(line("apache_proxy_balancer_accesses_total{").ends_with(" 6"), "{text}");
    for name in ["apache_proxy_balancer_status{", "apache_proxy_balancer_busy{"] {
        line(name);
    }
    httpd.assert_no_crash();
}
