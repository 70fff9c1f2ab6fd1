// SPDX-License-Identifier: Apache-2.0
//! Clients and backends keep connections; what happens to one of them costs no request.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use server_tests::certificate::self_signed;
use server_tests::httpd::Builder;
use server_tests::ports::ReservedPort;
use server_tests::{Backend, Httpd, Request, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn a_then_b(a: &Backend, b: &Backend) -> Builder {
    Httpd::builder()
        .config(&pool("app", &[(a, ""), (b, "")], "LuaBalancerMethod first\nLuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
}

#[test]
fn the_last_request_of_a_clients_connection_fails_over_like_the_others() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b).config("MaxKeepAliveRequests 2").start();
    a.reset();
    let mut client = httpd.client().strict();
    let mut nth = 0;
    loop {
        nth += 1;
        assert_eq!(client.get("/app/x").backend(), "b", "request {nth}");
        if !client.is_connected() {
            break;
        }
    }
    assert!((2..=3).contains(&nth), "the connection carried {nth} requests");
}

#[test]
fn a_variable_for_unpooled_first_requests_changes_nothing_about_failover() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b).config("SetEnv proxy-initial-not-pooled 1").start();
    a.reset();
    let mut client = httpd.client().strict();
    for nth in 1..=4 {
        assert_eq!(client.get("/app/x").backend(), "b", "request {nth}");
    }
    let connections = b.connections();
    client.get("/app/x");
    assert_eq!(b.connections(), connections, "later requests of a client's connection use pooled ones");
}

/// `openssl s_server` that reads one request over TLS and dies without an answer.
struct TlsThatDies {
    process: Child,
    read: mpsc::Receiver<()>,
}

impl TlsThatDies {
    fn start(builder: &Builder, port: u16) -> Self {
        let dir = builder.dir();
        let (key, cert) = (dir.join("key.pem"), dir.join("cert.pem"));
        self_signed(dir);
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&cert)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run openssl s_server");
        let (told, read) = mpsc::channel();
        let output = process.stdout.take().expect("its output");
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.contains("ACCEPT") || line.starts_with("once") {
                    let _ = told.send(());
                }
            }
        });
        read.recv_timeout(patience(SOON)).expect("openssl s_server to listen");
        Self { process, read }
    }

    fn die_when_asked(mut self) {
        self.read.recv_timeout(patience(SOON)).expect("the request's body");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_request_that_a_member_read_over_tls_is_never_sent_to_another() {
    let b = Backend::new("b");
    let port = ReservedPort::new();
    let builder = Httpd::builder().module("socache_shmcb").module("ssl").config("MaxKeepAliveRequests 2");
    let dies = TlsThatDies::start(&builder, port.port());
    let httpd = builder
        .config(&format!(
            "<LuaBalancerPool app>\nLuaBalancerMember https://127.0.0.1:{} name=a\n\
             LuaBalancerMember {} name=b\nLuaBalancerMethod first\n</LuaBalancerPool>",
            port.port(),
            b.url()
        ))
        .config("SSLProxyEngine on\nSSLProxyVerify none\nSSLProxyCheckPeerName off")
        .config("ProxyPass /app lb://app")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get("/nothing").status, 404);
    let death = thread::spawn(move || dies.die_when_asked());
    let response = client.send(&Request::post("/app/x", "once\n"));
    death.join().expect("the TLS server's thread");
    assert_eq!((response.status, b.requests()), (502, 0));
    wait_until("the log", SOON, || httpd.wait_for_access("/app/x").env["LB_REASON"] == "reset");
}

#[test]
fn a_lone_member_is_asked_again_when_it_closes_a_kept_connection_just_then() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
        .start();
    a.reset_kept_alive();
    let mut client = httpd.client().strict();
    for nth in 1..=10 {
        assert_eq!(client.get("/app/x").status, 200, "request {nth} of one client");
        assert_eq!(httpd.client().strict().get("/app/x").status, 200, "request {nth} of another");
    }
    let response = client.send(&Request::post("/app/once", "once"));
    assert!([200, 502].contains(&response.status));
    assert_eq!(a.recorded().iter().filter(|request| request.method == "POST").count(), 1);
}

#[test]
fn a_lone_member_that_fails_on_a_fresh_connection_too_is_asked_no_third_time() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
        .start();
    a.reset();
    assert_eq!(httpd.client().get("/app/x").status, 502);
    assert_eq!(a.requests(), 2);
}

#[test]
fn only_what_happens_on_a_fresh_connection_or_within_an_answer_counts_against_a_member() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=1 max_percent=100";
    let start = || {
        Httpd::builder()
            .with_member_states()
            .config(&pool("app", &[(&a, ""), (&b, "")], lines))
            .config("ProxyPass /app lb://app")
            .start()
    };
    let ways = [
        ("resets fresh ones", Backend::reset as fn(&Backend)),
        ("closes fresh ones", |a| a.play([])),
        ("breaks off in a header on any", Backend::half_header),
    ];
    for (what, fail) in ways {
        let httpd = start();
        a.reset_kept_alive();
        for nth in 0..10 {
            assert_eq!(httpd.client().get("/app/x").status, 200, "request {nth}");
        }
        assert_eq!(httpd.member("app", "a").state, "up", "resets kept connections");
        fail(&a);
        wait_until(&format!("a member that {what} to be ejected"), SOON, || {
            httpd.client().get("/app/x").backend() == "b" && httpd.member("app", "a").state == "ejected"
        });
    }
}

#[test]
fn answers_that_break_off_count_against_the_member_and_are_not_repeated() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=3";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    a.half_body();
    for nth in 1..=3 {
        assert!(httpd.client().try_get("/app/x").is_err(), "request {nth}");
        assert_eq!((a.requests(), b.requests()), (nth, 0));
    }
    wait_until("the member to be ejected", SOON, || httpd.member("app", "a").state == "ejected");
    assert_eq!(httpd.wait_for_access("/app/x").env["LB_REASON"], "reset");
}

#[test]
fn exchanges_that_end_well_are_not_failures() {
    let a = Backend::new("a");
    let b = Backend::refusing("b");
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=1 max_percent=100";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "upgrade=websocket"), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    let upgrade = Request::get("/app/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut client = httpd.client();
    assert_eq!(client.send(&upgrade).status, 101);
    client.disconnect();
    assert_eq!(httpd.wait_for_access("/app/ws").env["LB_REASON"], "ok");
    a.chunked();
    assert_eq!(httpd.client().get("/app/chunks").status, 200);
    a.hang();
    assert!(httpd.client().timeout(Duration::from_millis(100)).try_get("/app/gone").is_err());
    a.answer();
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    assert_eq!(httpd.member("app", "a").state, "up");
}
