// SPDX-License-Identifier: Apache-2.0
//! An agent beside a member says what it wants, and gets it; an administrator's orders stay his
//! own.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use server_tests::{Backend, Httpd, Mpm, on_every_mpm, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// Says the same line to everybody who connects, but answers requests with its port in `X-Backend`.
struct Agent {
    port: u16,
    line: Arc<Mutex<String>>,
    ended: Arc<AtomicBool>,
}

impl Agent {
    fn new(line: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (line, ended) = (Arc::new(Mutex::new(line.to_owned())), Arc::new(AtomicBool::new(false)));
        let agent = Self { port, line: line.clone(), ended: ended.clone() };
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let _ = stream.set_read_timeout(Some(Duration::from_millis(30)));
                if stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close";
                    let _ = write!(stream, "{answer}\r\nX-Backend: {port}\r\n\r\n");
                    continue;
                }
                let line = line.lock().expect("the line").clone();
                let _ = writeln!(stream, "{line}");
            }
        });
        agent
    }

    fn says(&self, line: &str) {
        line.clone_into(&mut self.line.lock().expect("the line"));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(("127.0.0.1", self.port));
    }
}

const CHANGE: &str = "function translate(r)\n  local m = lb.pool('app'):member('a')\n  \
                      m[r.uri:match('[^/]+$')](m)\n  return 204\nend";

/// Two members with one agent.
fn stage(mpm: Mpm, a: &Backend, b: &Backend, agent: &Agent) -> Httpd {
    let other = "LuaBalancerMember http://127.0.0.1";
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .file("change.lua", CHANGE)
        .config(&format!(
            "<LuaBalancerPool app>\n{other}:{} name=a weight=4\n{other}:{} name=b weight=4\nLuaBalancerOutlier off\n\
             LuaBalancerMethod round_robin\n\
             LuaBalancerHealthCheck agent port={} interval=50ms jitter=0% rise=1 fall=1\n</LuaBalancerPool>",
            a.port(),
            b.port(),
            agent.port
        ))
        .config("ProxyPass /app lb://app\n<Location /change>\n  LuaHookTranslate change.lua\n</Location>")
        .start()
}

fn wait_for(httpd: &Httpd, member: &str, state: &str) {
    wait_until(&format!("{member} to be {state}"), SOON, || httpd.member("app", member).state == state);
}

on_every_mpm!(an_agents_words_take_effect);

fn an_agents_words_take_effect(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let agent = Agent::new("up ready 100%");
    let httpd = stage(mpm, &a, &b, &agent);
    for (line, state) in [
        ("drain", "draining"),
        ("up", "draining"),
        ("down", "down"),
        ("up", "draining"),
        ("ready", "up"),
        ("maint", "disabled"),
        ("ready down # on fire", "down"),
        ("up", "up"),
        ("0%", "draining"),
        ("100%", "up"),
    ] {
        agent.says(line);
        wait_for(&httpd, "a", state);
        wait_for(&httpd, "b", state);
        let status = httpd.client().get("/app/").status;
        assert_eq!(status == 200, state == "up", "{line}: {status}");
    }
}

#[test]
fn an_agents_percentage_scales_the_weight_and_leaves_the_configured_one() {
    let (a, b) = (Agent::new("up"), Agent::new("up"));
    let member = |agent: &Agent, name: &str| {
        format!("LuaBalancerMember http://127.0.0.1:{} name={name} weight=4", agent.port)
    };
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&format!(
            "<LuaBalancerPool app>\n{}\n{}\n\
             LuaBalancerHealthCheck agent interval=50ms jitter=0%\n</LuaBalancerPool>",
            member(&a, "a"),
            member(&b, "b")
        ))
        .config("ProxyPass /app lb://app")
        .start();
    let shares = || httpd.client().shares("/app/", 20)[&a.port.to_string()];
    assert_eq!(shares(), 10);
    a.says("25%");
    httpd.wait_for_log("member a: agent: 25%");
    assert_eq!(shares(), 4);
    assert_eq!(httpd.member("app", "a").weight, 4);
    a.says("400%");
    httpd.wait_for_log("member a: agent: 400%");
    assert_eq!(shares(), 16);
}

#[test]
fn an_agents_maxconn_is_the_limit_until_it_says_another_one() {
    let [a, b] = Backend::named(["a", "b"]);
    let agent = Agent::new("up maxconn:1");
    let mut httpd = stage(Mpm::Event, &a, &b, &agent);
    httpd.wait_for_log_lines("member [ab]: agent: .*maxconn:1", 2);
    a.hang();
    b.hang();
    let ask = || {
        let mut client = httpd.client().strict();
        thread::spawn(move || client.try_get("/app/slow"))
    };
    let mut waiting = vec![ask(), ask()];
    wait_until("a request at each member", SOON, || (a.in_flight(), b.in_flight()) == (1, 1));
    assert_eq!(httpd.client().get("/app/").status, 503, "both are full");
    agent.says("maxconn:2");
    httpd.wait_for_log_lines("member [ab]: agent: .*maxconn:2", 2);
    waiting.extend([ask(), ask()]);
    wait_until("two requests at each member", SOON, || (a.in_flight(), b.in_flight()) == (2, 2));
    assert_eq!(httpd.client().get("/app/").status, 503, "both are full again");
    agent.says("up maxconn:0");
    httpd.wait_for_log_lines("member [ab]: agent: .*maxconn:0", 2);
    waiting.extend([ask(), ask()]);
    wait_until("more requests", SOON, || a.in_flight() + b.in_flight() == 6);
    a.answer();
    b.answer();
    for request in waiting {
        assert_eq!(request.join().expect("a client thread").expect("an answer").status, 200);
    }
    // Its orders end with its check.
    agent.says("maxconn:1");
    httpd.wait_for_log_lines("member [ab]: agent: .*maxconn:1", 4);
    httpd.edit_config("LuaBalancerHealthCheck agent", "LuaBalancerHealthCheck tcp");
    httpd.graceful();
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    a.hang();
    b.hang();
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let mut client = httpd.client().strict();
            thread::spawn(move || client.try_get("/app/slow"))
        })
        .collect();
    wait_until("four requests", SOON, || a.in_flight() + b.in_flight() == 4);
    a.answer();
    b.answer();
    for request in requests {
        assert_eq!(request.join().expect("a client thread").expect("an answer").status, 200);
    }
}

#[test]
fn an_agent_never_overwrites_an_administrators_order() {
    let [a, b] = Backend::named(["a", "b"]);
    let agent = Agent::new("up ready");
    let httpd = stage(Mpm::Event, &a, &b, &agent);
    for (order, state, word) in [("drain", "draining", "ready"), ("disable", "disabled", "ready up 100%")] {
        assert_eq!(httpd.client().get(&format!("/change/{order}")).status, 204);
        agent.says("maint");
        wait_for(&httpd, "b", "disabled");
        agent.says(word);
        wait_for(&httpd, "b", "up");
        assert_eq!(httpd.member("app", "a").state, state, "after {word}");
        httpd.client().get("/change/enable");
        wait_for(&httpd, "a", "up");
    }
    agent.says("maint");
    wait_for(&httpd, "a", "disabled");
    httpd.client().get("/change/enable");
    assert_eq!(httpd.member("app", "a").state, "disabled", "the agent's order stays as well");
}

#[test]
fn an_agents_orders_end_with_its_check() {
    let [a, b] = Backend::named(["a", "b"]);
    let agent = Agent::new("maint 50%");
    let mut httpd = stage(Mpm::Event, &a, &b, &agent);
    wait_for(&httpd, "a", "disabled");
    httpd.edit_config("LuaBalancerHealthCheck agent", "LuaBalancerHealthCheck tcp");
    httpd.graceful();
    wait_for(&httpd, "a", "up");
    assert_eq!(httpd.client().get("/app/").status, 200);
}
