// SPDX-License-Identifier: Apache-2.0
//! Clients of the control plane that take their time hold up nobody else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use server_tests::ports::ReservedPort;
use server_tests::socket::connect;
use server_tests::{Backend, Client, Httpd, Mpm, Request, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);
/// A call beside slow ones, at most.
const BESIDE: Duration = Duration::from_millis(100);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The median of some calls' times: a machine may be busy for a moment.
fn median(call: impl Fn()) -> Duration {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{times:?}");
    times[10]
}

#[test]
fn half_heads_dripping_bodies_and_answers_that_nobody_reads_hold_up_nobody() {
    let metrics = ReservedPort::new();
    let members: Vec<String> =
        (0..300).map(|at| format!("LuaBalancerMember http://127.0.0.1:{}", 1000 + at)).collect();
    let httpd = Httpd::builder()
        .children(1)
        .config(&format!("<LuaBalancerPool app>\n{}\n</LuaBalancerPool>", members.join("\n")))
        .config(&format!("LuaBalancerMetrics listen=127.0.0.1:{}", metrics.port()))
        .start();
    let path = httpd.socket_path();
    let at_socket = || Box::new(connect(&path).expect("connect")) as Box<dyn Stream>;
    let at_metrics = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, metrics.port()));
        Box::new(stream.expect("connect")) as Box<dyn Stream>
    };
    let body = "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n[";
    let kinds = [
        "GET /metrics HT".to_owned(),
        format!("POST /api/v1/batch HTTP/1.1\r\nHost: x\r\n{body}"),
        format!("POST /metrics HTTP/1.1\r\nHost: x\r\n{body}"),
        // Asked more than once: what is sent fills whatever a system buffers.
        "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(6),
    ];
    let mut slow = Vec::new();
    for kind in &kinds {
        for _ in 0..25 {
            for mut stream in [at_socket(), at_metrics()] {
                stream.write_all(kind.as_bytes()).expect("send");
                slow.push(stream);
            }
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A system buffers some hundred bytes that are sent one by one.
            for _ in 0..100 {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                for stream in &mut slow {
                    // Some are sent away meanwhile.
                    drop(stream.write(b" "));
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let beside = [
            median(|| assert_eq!(httpd.socket().get("/api/v1/status").status, 200)),
            median(|| assert_eq!(Client::new(metrics.port()).get("/health").status, 200)),
        ];
        over.store(true, Ordering::Relaxed);
        assert!(beside.iter().all(|time| *time < BESIDE), "{beside:?}");
    });
    drop(slow);
    assert_eq!(httpd.socket().get("/api/v1/pools").status, 200);
    httpd.assert_no_crash();
}

/// All workers are held by slow requests; the socket and the listener of metrics are not.
fn a_member_is_drained_at_the_socket_while_all_workers_are_held(mpm: Mpm) {
    let (slow, metrics) = (Backend::new("slow"), ReservedPort::new());
    slow.slow(Duration::from_secs(5));
    let httpd = Httpd::builder()
        .mpm(mpm)
        .children(2)
        .threads(2)
        .config(&pool("app", &[(&slow, "")], "LuaBalancerSet retries=0"))
        .config("ProxyPass /app lb://app")
        .config(&format!("LuaBalancerMetrics listen=127.0.0.1:{}", metrics.port()))
        .start();
    let held: Vec<_> = (0..8)
        .map(|_| {
            let port = httpd.port();
            thread::spawn(move || drop(Client::new(port).strict().try_get("/app/")))
        })
        .collect();
    let most = if mpm == Mpm::Prefork { 2 } else { 4 };
    wait_until("all workers to be held", SOON, || slow.in_flight() >= most);
    let change = |admin: &str| {
        let body = format!(r#"{{"admin":"{admin}"}}"#);
        let request = Request::post("/api/v1/pools/app/members/slow", body).with_method("PATCH");
        let response = httpd.socket().send(&request.header("Content-Type", "application/json"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert!(response.text().contains(&format!(r#""admin":"{admin}""#)), "{}", response.text());
    };
    let drained = median(|| {
        change("drain");
        change("ready");
    });
    assert!(drained < 2 * BESIDE, "{drained:?} for two changes");
    change("drain");
    let text = Client::new(metrics.port()).get("/metrics").text();
    assert!(text.contains(r#"luabalancer_pool_members{pool="app",state="draining"} 1"#), "{text}");
    assert!(slow.in_flight() >= most, "the workers are free by now");
    drop(httpd);
    held.into_iter().for_each(|held| drop(held.join()));
}

on_every_mpm!(a_member_is_drained_at_the_socket_while_all_workers_are_held);
