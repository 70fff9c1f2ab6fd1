// SPDX-License-Identifier: Apache-2.0
//! The support itself, against stock httpd with plain ProxyPass: what it claims is so without the
//! module.

use std::time::Duration;

use server_tests::client::BodyEncoding;
use server_tests::message::body_hash;
use server_tests::{Backend, ClientError, Httpd, Load, Mpm, Request, on_every_mpm, wait_until};

fn plain_proxy(mpm: Mpm, backend: &Backend) -> Httpd {
    Httpd::builder().mpm(mpm).stock().config(&format!("ProxyPass /app {} retry=0", backend.url())).start()
}

on_every_mpm!(a_stock_server_proxies_restarts_and_stops);

fn a_stock_server_proxies_restarts_and_stops(mpm: Mpm) {
    let backend = Backend::new("a");
    let mut httpd = plain_proxy(mpm, &backend);
    let mut client = httpd.client();
    let response = client.get("/app/x?y=1");
    assert_eq!((response.status, response.backend()), (200, "a"));
    assert_eq!(response.header("X-Uri"), Some("/x?y=1"));
    let old = httpd.wait_for_children(2);
    httpd.graceful();
    client.disconnect();
    assert_eq!(client.get("/app/").status, 200);
    client.disconnect();
    wait_until("the old children to end", Duration::from_secs(20), || {
        httpd.children().iter().all(|pid| !old.contains(pid))
    });
    httpd.restart();
    assert_eq!(client.get("/app/").status, 200);
    assert!(httpd.stop().1.success());
}

on_every_mpm!(connections_are_found_in_different_children);

fn connections_are_found_in_different_children(mpm: Mpm) {
    let backend = Backend::new("a");
    let httpd = plain_proxy(mpm, &backend);
    let mut clients = httpd.clients_in_children(2, "/probe");
    for client in clients.values_mut() {
        assert_eq!(client.get("/app/").backend(), "a");
    }
    assert_eq!(backend.requests(), 2);
}

#[test]
fn a_killed_child_is_replaced() {
    let backend = Backend::new("a");
    let httpd = plain_proxy(Mpm::Event, &backend);
    let victim = httpd.wait_for_children(2)[0];
    httpd.kill_child(victim);
    assert!(!httpd.wait_for_children(2).contains(&victim));
    assert_eq!(httpd.client().get("/app/").status, 200);
}

#[test]
fn bodies_arrive_and_are_hashed() {
    let backend = Backend::new("a");
    let httpd = plain_proxy(Mpm::Event, &backend);
    let body = vec![b'x'; 1 << 20];
    for encoding in [BodyEncoding::Length, BodyEncoding::Chunked] {
        let response = httpd.client().send(&Request::post("/app/", body.clone()).encoding(encoding));
        assert_eq!(response.header("X-Body-Hash"), Some(body_hash(&body).as_str()));
        assert_eq!(response.header("X-Body-Length"), Some("1048576"));
    }
    backend.chunked();
    assert_eq!(httpd.client().get("/app/c").text(), "a /c\n");
}

#[test]
fn a_backend_misbehaves_as_told() {
    let backend = Backend::new("a");
    let httpd = plain_proxy(Mpm::Event, &backend);
    let status = || httpd.client().get("/app/").status;
    backend.refuse();
    assert_eq!(status(), 503);
    backend.answer();
    assert_eq!(status(), 200);
    for manner in [Backend::reset, Backend::close_after_accept, Backend::half_header] {
        manner(&backend);
        assert_eq!(status(), 502);
    }
    backend.status(404);
    assert_eq!(status(), 404);
    backend.health_status(500);
    assert_eq!(httpd.client().get("/app/health").status, 500);
    backend.half_body();
    assert!(matches!(httpd.client().try_get("/app/"), Err(ClientError::Broken(_))));
}

#[test]
fn a_hanging_backend_answers_when_released() {
    let backend = Backend::new("a");
    let httpd = plain_proxy(Mpm::Event, &backend);
    backend.hang();
    let load = Load::start(httpd.port(), "/app/", 3);
    wait_until("three requests in flight", Duration::from_secs(10), || backend.in_flight() == 3);
    assert_eq!(load.finished(), 0);
    backend.answer();
    load.wait_for(10);
    load.stop().assert_all_ok();
}

#[test]
fn a_reset_of_a_kept_alive_connection_hits_the_second_request() {
    let backend = Backend::new("a");
    let httpd = plain_proxy(Mpm::Prefork, &backend);
    backend.reset_kept_alive();
    let mut client = httpd.client().strict();
    assert_eq!(client.get("/app/").status, 200);
    // Stock mod_proxy drops the client here; only an answer would be wrong.
    assert!(client.try_get("/app/").is_err());
}

#[test]
fn configtest_names_the_line() {
    let test = Httpd::builder().stock().config("NoSuchDirective on").configtest();
    test.assert_error_at("NoSuchDirective", &["Invalid command"]);
    assert!(Httpd::builder().stock().configtest().ok);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let log = Httpd::builder().stock().config("NoSuchDirective on").try_start().expect_err("does not start");
    assert!(log.contains("NoSuchDirective"), "{log}");
}

on_every_mpm!(graceful_restarts_of_stock_httpd_fail_no_request);

/// The measure for the module's own test: what httpd alone does under the same load.
fn graceful_restarts_of_stock_httpd_fail_no_request(mpm: Mpm) {
    let backend = Backend::new("a");
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .stock()
        .threads(16)
        .config(&format!("ProxyPass /app {}\nKeepAliveTimeout 1", backend.url()))
        .start();
    let load = Load::start(httpd.port(), "/app/", 4);
    for _ in 0..6 {
        load.wait_for(100);
        httpd.graceful();
    }
    load.wait_for(100);
    load.stop().assert_all_ok();
}
