// SPDX-License-Identifier: Apache-2.0
//! Servers side by side whose clocks do not agree, or jump.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{Backend, Etcd, Httpd, Request, wait_until};

const SOON: Duration = Duration::from_secs(20);
const DAY: i64 = 86_400;

/// Has the clock of the day be so many seconds ahead as a file says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long ahead(void) {
    char text[32] = {0};
    int file = open(AHEAD, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long size = read(file, text, sizeof text - 1);
    close(file);
    return size > 0 ? atol(text) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    long done = syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && clock == CLOCK_REALTIME) now->tv_sec += ahead();
    return (int)done;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"#;

/// A server with a clock of its own, and the file that sets it.
fn front(etcd: &Etcd, share: &str, lines: &str, ahead_s: i64) -> (Httpd, PathBuf) {
    let config =
        format!("LuaBalancerStore etcd:{}/lb/test\nLuaBalancerShare {share}\n{lines}", etcd.endpoint());
    let builder = Httpd::builder().config(&config);
    let folder = builder.open_folder("clock");
    let [source, library, ahead] = ["clock.c", "clock.so", "ahead"].map(|name| folder.join(name));
    std::fs::write(&source, CLOCK).expect("written");
    std::fs::write(&ahead, ahead_s.to_string()).expect("written");
    let place = format!("-DAHEAD=\"{}\"", ahead.display());
    let built =
        Command::new("cc").args(["-shared", "-fPIC", &place, "-o"]).args([&library, &source]).status();
    assert!(built.expect("cc").success());
    let httpd = builder.under(&format!("env LD_PRELOAD={}", library.display())).start();
    httpd.wait_for_store();
    (httpd, ahead)
}

fn member(httpd: &Httpd) -> Value {
    let response = httpd.socket().get("/api/v1/pools/app/members/a");
    serde_json::from_str(&response.text()).expect("JSON")
}

fn pool(members: [&Backend; 2], check: &str) -> String {
    let [a, b] = members.map(Backend::port);
    format!(
        "<LuaBalancerPool app>\n{check}\nLuaBalancerMember http://127.0.0.1:{a} name=a\n\
         LuaBalancerMember http://127.0.0.1:{b} name=b\n</LuaBalancerPool>\nProxyPass /app lb://app\n"
    )
}

#[test]
fn a_clock_that_goes_back_does_not_have_opinions_count_longer_without_the_store() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let lines = pool([&a, &b], "LuaBalancerHealthCheck http uri=/health interval=200ms fall=2 rise=1");
    let (one, ahead) = front(&etcd, "health=quorum", &lines, 0);
    let (two, _) = front(&etcd, "health=quorum", &lines, 0);
    for front in [&one, &two] {
        wait_until("both to be alive", SOON, || front.metric("luabalancer_fronts") == Some(2.0));
    }
    etcd.signal(Signal::SIGSTOP);
    wait_until("the store to be away", SOON, || one.metric("luabalancer_store_up") == Some(0.0));
    std::fs::write(&ahead, "-86400").expect("written");
    a.health_status(500);
    wait_until("it to be down", SOON, || member(&one)["state"] == "down");
    etcd.signal(Signal::SIGCONT);
    one.assert_no_crash();
}

#[test]
fn an_order_that_is_over_by_one_clock_and_not_by_another_goes_to_and_fro_between_none() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let lines = pool([&a, &b], "");
    let (one, _) = front(&etcd, "orders", &lines, 0);
    let (two, _) = front(&etcd, "orders", &lines, DAY);
    let until = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() + 3600;
    etcd.put("/lb/test/orders/app/a", &format!(r#"{{"admin":"drain","until":{until},"weight":7}}"#));
    for front in [&one, &two] {
        wait_until("the order", SOON, || member(front)["weight"] == 7);
    }
    let states = || [&one, &two].map(|front| member(front)["admin"].clone());
    assert_eq!(states(), ["drain", "ready"]);
    let revision = etcd.revision();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((states(), etcd.revision()), (["drain".into(), "ready".into()], revision));
    // An order of the one whose clock is ahead holds at both, and is nobody's old one.
    let request = Request::post("/api/v1/pools/app/members/a", r#"{"admin":"disabled"}"#);
    let request = request.header("Content-Type", "application/json").with_method("PATCH");
    assert_eq!(two.socket().send(&request).status, 200);
    wait_until("its order", SOON, || states() == ["disabled", "disabled"]);
}
