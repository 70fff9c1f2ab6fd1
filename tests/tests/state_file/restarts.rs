// SPDX-License-Identifier: Apache-2.0
//! Restarts and stops while the file is written.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use server_tests::{Backend, Mpm, assert_says, on_every_mpm, wait_until};

use super::kills::{await_writing, half_written};
use super::{SOON, file, kept, patch, read, wait_for_file};

on_every_mpm!(a_storm_of_restarts_loses_no_order);
fn a_storm_of_restarts_loses_no_order(mpm: Mpm) {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).mpm(mpm).start();
    let socket = httpd.socket_path();
    let is_over = AtomicBool::new(false);
    let orders = thread::scope(|scope| {
        let orders = scope.spawn(|| {
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                let body = format!(r#"{{"admin":"drain","note":"n{n}"}}"#);
                let order = server_tests::Request::post(super::MEMBER, body)
                    .header("Content-Type", "application/json")
                    .with_method("PATCH");
                let given = server_tests::SocketClient::new(&socket).send(&order);
                assert_eq!(given.status, 200, "order {n}: {}", given.text());
            }
            n
        });
        for round in 0..30 {
            if round % 4 == 3 { httpd.restart() } else { httpd.graceful() }
        }
        is_over.store(true, Ordering::Relaxed);
        orders.join().expect("orders")
    });
    let last = format!("\"n{orders}\"");
    wait_for_file(&httpd, &last);
    assert_eq!(httpd.count_log("lua_balancer:(error|warn)"), 0, "{}", httpd.error_log());
    wait_until("no file that is half written", SOON, || half_written(&httpd) == 0);
    httpd.kill();
    httpd.start_again();
    assert_says(&read(&httpd), &["draining", &last]);
    httpd.assert_no_crash();
}

#[test]
fn a_stop_in_the_middle_of_a_writing_keeps_the_last_order() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    for n in 1..=8 {
        let note = format!("\"n{n}\"");
        patch(&httpd, &format!(r#"{{"admin":"drain","note":{note}}}"#));
        await_writing(&httpd, &note);
        let status = if n % 2 == 0 { httpd.graceful_stop().1 } else { httpd.stop().1 };
        assert!(status.success(), "{status}");
        let text = fs::read_to_string(file(&httpd)).expect("the file");
        assert!(text.contains(&note), "{note} in {text}");
        assert_eq!(httpd.count_log("lua_balancer:(error|warn)"), 0, "{}", httpd.error_log());
        httpd.start_again();
        assert_says(&read(&httpd), &["draining", &note]);
    }
}
