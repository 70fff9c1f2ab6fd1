// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerMetrics listen=`: metrics and health over TCP, whatever the workers and clients do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use server_tests::ports::ReservedPort;
use server_tests::{Backend, Builder, Client, Httpd, Mpm, Request, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn listening(port: u16) -> Builder {
    Httpd::builder().config(&format!("LuaBalancerMetrics listen=127.0.0.1:{port}"))
}

fn metrics_and_health_are_there_and_nothing_else(mpm: Mpm) {
    let (a, port) = (Backend::new("a"), ReservedPort::new());
    let mut httpd = listening(port.port()).mpm(mpm).config(&pool("app", &[(&a, "")], "")).start();
    wait_until("a lead", SOON, || Client::new(port.port()).get("/health").status == 200);
    let metrics = Client::new(port.port()).get("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("luabalancer_pool_usable_members{pool=\"app\"} 1"), "{}", metrics.text());
    let values = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains("scrape_duration"));
        lines
    };
    // Children are still beginning.
    wait_until("the same at every door", SOON, || {
        let by_listener = Client::new(port.port()).get("/metrics").text();
        values(&by_listener) == values(&httpd.socket().get("/metrics").text())
    });
    for target in ["/", "/api/v1/", "/api/v1/pools", "/assets/x"] {
        assert_eq!(Client::new(port.port()).get(target).status, 404, "{target}");
    }
    for method in ["POST", "PATCH", "DELETE"] {
        assert_eq!(Client::new(port.port()).send(&Request::new(method, "/metrics")).status, 405, "{method}");
    }
    httpd.graceful();
    httpd.restart();
    assert_eq!(Client::new(port.port()).get("/metrics").status, 200);
    let (_, status) = httpd.stop();
    assert!(status.success());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port.port())).is_err(), "the address is still taken");
    httpd.assert_no_crash();
}

on_every_mpm!(metrics_and_health_are_there_and_nothing_else);

#[test]
fn an_address_of_ipv6_is_one() {
    let Ok(free) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let httpd = Httpd::builder().config(&format!("LuaBalancerMetrics listen=[::1]:{port}")).start();
    let mut stream = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("connect");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("send");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    httpd.assert_no_crash();
}

#[test]
fn an_address_in_use_refuses_the_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let log = listening(port).try_start().expect_err("the address is in use");
    assert!(
        log.contains(&format!("no listener for metrics (LuaBalancerMetrics listen=127.0.0.1:{port})")),
        "{log}"
    );
    assert!(log.contains("Address already in use"), "{log}");
}

#[test]
fn an_address_in_use_at_a_restart_leaves_the_one_before() {
    let (first, third) = (ReservedPort::new(), ReservedPort::new());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let second = taken.local_addr().expect("an address").port();
    let mut httpd = listening(first.port()).start();
    httpd.edit_config(&first.port().to_string(), &second.to_string());
    httpd.graceful();
    let line = format!(r"lua_balancer:error.*no listener for metrics.*127\.0\.0\.1:{second}");
    assert_eq!(httpd.count_log(&line), 1, "{}", httpd.error_log());
    assert_eq!(httpd.count_log("lua_balancer:error"), 1, "{}", httpd.error_log());
    assert_eq!(Client::new(first.port()).get("/metrics").status, 200);
    httpd.edit_config(&second.to_string(), &third.port().to_string());
    httpd.graceful();
    assert_eq!(Client::new(third.port()).get("/metrics").status, 200);
    wait_until("the first address to be free", SOON, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, first.port())).is_err()
    });
    httpd.edit_config("LuaBalancerMetrics listen", "LuaBalancerMetrics off\n#");
    httpd.graceful();
    wait_until("the third address to be free", SOON, || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, third.port())).is_err()
    });
}

#[test]
fn slow_and_silent_clients_hold_up_neither_metrics_nor_the_socket() {
    let (backend, port) = (Backend::new("slow"), ReservedPort::new());
    backend.slow(Duration::from_secs(5));
    let httpd = listening(port.port())
        .children(1)
        .threads(2)
        .config(&pool("app", &[(&backend, "")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    let held: Vec<_> = (0..3)
        .map(|_| {
            let port = httpd.port();
            thread::spawn(move || drop(Client::new(port).strict().try_get("/app/")))
        })
        .collect();
    wait_until("all workers to be held", SOON, || backend.in_flight() >= 2);
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port.port())).expect("connect");
    let silent: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(b"GET /metrics HTT").expect("send");
    let path = httpd.socket_path();
    let mut at_socket = server_tests::socket::connect(&path).expect("connect");
    at_socket
        .write_all(b"POST /api/v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[")
        .expect("send");
    let mut times = Vec::new();
    for _ in 0..10 {
        let start = Instant::now();
        assert_eq!(Client::new(port.port()).get("/metrics").status, 200);
        assert_eq!(httpd.socket().get("/api/v1/pools").status, 200);
        times.push(start.elapsed() / 2);
    }
    times.sort();
    assert!(times[5] < Duration::from_millis(100), "{times:?}");
    half.write_all(b"P/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("send");
    let mut text = String::new();
    half.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    drop(silent);
    held.into_iter().for_each(|held| drop(held.join()));
}

#[test]
fn series_that_are_left_out_are_told_once_whoever_is_asked() {
    let (a, port) = (Backend::new("a"), ReservedPort::new());
    let httpd = Httpd::builder()
        .children(3)
        .config(&format!("LuaBalancerMetrics listen=127.0.0.1:{} max_series=3", port.port()))
        .config(&pool("app", &[(&a, "")], ""))
        .start();
    for _ in 0..20 {
        let text = Client::new(port.port()).get("/metrics").text();
        assert!(text.contains("luabalancer_metrics_reduced 1"), "{text}");
    }
    let line = r"lua_balancer:warn.*metrics leave out.*more than 3 \(LuaBalancerMetrics max_series=\)";
    assert_eq!(httpd.count_log(line), 1, "{}", httpd.error_log());
}
