// SPDX-License-Identifier: Apache-2.0
//! The failures that count against a member, and those that do not: a client can bring about none
//! of the former.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use server_tests::{
    Backend, Builder, Client, Httpd, Mpm, Request, Step, on_every_mpm, patience, pool, wait_until,
};

const SOON: Duration = Duration::from_secs(10);

/// `a` first, then `b`; three failures in a row eject a member.
fn a_then_b(mpm: Mpm, a: &Backend, b: &Backend, keys: &str) -> Builder {
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=3 ejection=1h";
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config(&pool("app", &[(a, keys), (b, "")], lines))
        .config("ProxyPass /app lb://app\nTimeout 5")
}

/// Sends these bytes, waits until the backend has read a request more, does what is left, and hangs
/// up.
fn bother(httpd: &Httpd, a: &Backend, head: &str, then: impl FnOnce(&mut TcpStream)) {
    let before = a.requests();
    let mut stream = TcpStream::connect(("127.0.0.1", httpd.port())).expect("connect");
    stream.set_read_timeout(Some(patience(SOON))).expect("a timeout");
    stream.write_all(head.as_bytes()).expect("send");
    wait_until("the backend to be asked", SOON, || a.requests() > before);
    then(&mut stream);
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn assert_blameless(httpd: &Httpd, a: &Backend, what: &str) {
    let seen = httpd.member("app", "a");
    assert_eq!((seen.state.as_str(), seen.failures), ("up", 0), "{what}\n{}", httpd.error_log());
    a.answer();
    assert_eq!(httpd.client().get("/app/x").backend(), "a", "{what}");
}

const EXPECT: &str = "POST /app/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 10\r\nConnection: close\r\n\r\n";

on_every_mpm!(a_member_that_answers_before_the_body_is_not_to_blame);

fn a_member_that_answers_before_the_body_is_not_to_blame(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(mpm, &a, &b, "").start();
    for (what, steps) in [
        ("a kept connection", vec![Step::send("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), Step::Gate]),
        (
            "a closed one",
            vec![Step::send("HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")],
        ),
        ("none that lasts", vec![Step::send("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")]),
        ("an answer of HTTP/1.0", vec![Step::send("HTTP/1.0 401 No\r\n\r\n")]),
    ] {
        a.play(steps);
        for _ in 0..4 {
            bother(&httpd, &a, EXPECT, |_| a.open_gate());
            bother(&httpd, &a, EXPECT, |stream| {
                stream.write_all(b"0123456789").expect("send");
                a.open_gate();
            });
        }
        assert_blameless(&httpd, &a, what);
    }
    assert_eq!(b.requests(), 0);
}

#[test]
fn a_member_that_does_not_know_of_expectations_is_not_to_blame() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "timeout=1").start();
    for (what, steps) in [
        ("waits for the body", vec![Step::ReadBody, Step::answer(200, "late")]),
        ("hangs up", vec![]),
        ("resets", vec![Step::Reset]),
    ] {
        a.play(steps);
        for _ in 0..4 {
            bother(&httpd, &a, EXPECT, |_| ());
        }
        assert_blameless(&httpd, &a, what);
    }
}

#[test]
fn a_client_that_stops_sending_blames_no_member() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "").start();
    // httpd asks a member once it has some of the body.
    let some = format!("fffe\r\n{}\r\n", "x".repeat(0xfffe));
    let head = |method: &str, header: &str| {
        format!("{method} /app/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n{some}")
    };
    for head in [head("PUT", "Content-Length: 1000000"), head("POST", "Transfer-Encoding: chunked")] {
        for steps in [vec![], vec![Step::ReadSome(1), Step::Reset], vec![Step::send("HTTP/1.1 408 Slow\r\n")]]
        {
            a.play(steps.clone());
            for _ in 0..4 {
                bother(&httpd, &a, &head, |stream| {
                    wait_until("the backend to give up", SOON, || a.in_flight() == 0);
                    // More of the body, which finds nobody.
                    for _ in 0..4 {
                        let _ = stream.write_all(some.as_bytes());
                    }
                });
            }
            assert_blameless(&httpd, &a, &format!("{} {steps:?}", &head[..4]));
        }
    }
}

/// The other side: a member that breaks off when it has everything is to blame.
#[test]
fn a_member_that_resets_after_a_whole_body_is_to_blame() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "").start();
    a.play([Step::ReadBody, Step::Reset]);
    for _ in 0..3 {
        assert_eq!(httpd.client().send(&Request::post("/app/x", "a whole body")).status, 502);
    }
    assert_eq!(httpd.member("app", "a").state, "ejected");
}

#[test]
fn a_member_whose_connections_are_all_in_use_has_not_failed() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "max=1 acquire=50ms").children(1).start();
    a.hang();
    let port = httpd.port();
    let first = std::thread::spawn(move || server_tests::Client::new(port).get("/app/first").status);
    wait_until("the only connection to be used", SOON, || a.in_flight() == 1);
    for _ in 0..5 {
        assert_eq!(httpd.client().get("/app/x").backend(), "b");
    }
    let seen = httpd.member("app", "a");
    assert_eq!((seen.state.as_str(), seen.failures), ("up", 0));
    a.answer();
    assert_eq!(first.join().expect("the first request"), 200);
}

/// A member without a listener is another matter, also when its connections are few.
#[test]
fn a_refused_connection_counts_also_where_connections_are_few() {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    let httpd = a_then_b(Mpm::Event, &a, &b, "max=1 acquire=50ms").children(1).start();
    for _ in 0..3 {
        assert_eq!(httpd.client().get("/app/x").backend(), "b");
    }
    assert_eq!(httpd.member("app", "a").state, "ejected");
}

/// Clients that ask for `/app/poison`, each in a thread of its own, when all are at the backends.
fn poison(httpd: &Httpd, backends: &[&Backend], clients: usize) -> Vec<JoinHandle<u16>> {
    let at_work = || backends.iter().map(|backend| backend.in_flight()).sum::<usize>();
    // Requests of an earlier round notice by and by that nobody waits for them.
    wait_until("the backends to be idle", SOON, || at_work() == 0);
    let port = httpd.port();
    let ask = move || Client::new(port).get("/app/poison").status;
    let threads = (0..clients).map(|_| std::thread::spawn(ask)).collect();
    wait_until("the backends to have the requests", SOON, || at_work() == clients);
    threads
}

fn statuses(threads: Vec<JoinHandle<u16>>) -> Vec<u16> {
    threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
}

on_every_mpm!(a_url_without_an_answer_ejects_no_member_that_answers_others);

fn a_url_without_an_answer_ejects_no_member_that_answers_others(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    // Prefork makes one child a second otherwise, and the first request is over before the last one
    // begins.
    let children = if mpm == Mpm::Prefork { "StartServers 8\nMinSpareServers 8" } else { "" };
    let httpd = a_then_b(mpm, &a, &b, "timeout=3").children(1).config(children).start();
    for (what, steps) in [("slow", vec![Step::Gate]), ("breaks", vec![Step::Gate, Step::Reset])] {
        for _ in 0..2 {
            a.play(steps.clone());
            let threads = poison(&httpd, &[&a], 5);
            a.answer();
            assert_eq!(httpd.client().get("/app/other").backend(), "a", "{what}");
            if what == "breaks" {
                (0..5).for_each(|_| a.open_gate());
            }
            // A request that breaks is asked for elsewhere; nobody waits as long again.
            let want = if what == "breaks" { [200; 5] } else { [502; 5] };
            let seen = statuses(threads);
            assert_eq!(seen, want, "{what}\n{}", httpd.error_log());
            assert_eq!(httpd.member("app", "a").state, "up", "{what}\n{}", httpd.error_log());
        }
    }
}

/// The other side: a member that answers nothing any more is out, also when it has answered a
/// moment ago.
#[test]
fn a_member_that_answers_nobody_is_ejected() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "timeout=1").start();
    assert_eq!(httpd.client().get("/app/x").backend(), "a");
    a.play([Step::Gate]);
    statuses(poison(&httpd, &[&a], 4));
    assert_eq!(httpd.member("app", "a").state, "ejected", "{}", httpd.error_log());
    assert_eq!(httpd.client().get("/app/x").backend(), "b");
}

/// Where nothing else is asked, nobody can tell; but a part of the pool stays.
#[test]
fn a_slow_url_alone_leaves_a_part_of_the_pool() {
    let backends = Backend::named(["a", "b", "c", "d"]);
    let [a, b, c, d] = &backends;
    let httpd = Httpd::builder()
        .with_member_states()
        .children(1)
        .threads(32)
        .config(&pool("app", &[(a, "timeout=1"), (b, "timeout=1"), (c, "timeout=1"), (d, "timeout=1")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    for _ in 0..2 {
        backends.iter().for_each(|backend| backend.play([Step::Gate]));
        statuses(poison(&httpd, &[a, b, c, d], 24));
        let out = ["a", "b", "c", "d"].map(|name| httpd.member("app", name).state == "ejected");
        let count = out.iter().filter(|out| **out).count();
        assert!((1..=2).contains(&count), "{out:?}\n{}", httpd.error_log());
    }
    backends.iter().for_each(Backend::answer);
    for _ in 0..8 {
        assert_eq!(httpd.client().get("/app/x").status, 200);
    }
}

/// httpd's own guard against error documents of error documents; mod_proxy_balancer is the
/// reference.
#[test]
fn an_error_document_behind_the_dead_pool_is_asked_for_once() {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    b.refuse();
    let document = "ErrorDocument 503 /maintenance.html";
    let tried = |httpd: &Httpd| {
        let answer = httpd.client().get("/x");
        assert_eq!(answer.status, 503, "{}", answer.text());
        wait_until("the log", SOON, || httpd.access_log().iter().any(|line| line.path == "/x"));
        let line = httpd.wait_for_access("/x");
        (line.status, httpd.count_log("AH00957"), httpd.count_log("AH00124"))
    };
    let stock = Httpd::builder()
        .stock()
        .module("slotmem_shm")
        .module("proxy_balancer")
        .module("lbmethod_byrequests")
        .config(&format!(
            "<Proxy balancer://app>\nBalancerMember {}\nBalancerMember {}\n</Proxy>\nProxyPass / balancer://app/\n{document}",
            a.url(),
            b.url()
        ))
        .start();
    let reference = tried(&stock);
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, ""), (&b, "")], "LuaBalancerOutlier off"))
        .config(&format!("ProxyPass / lb://app/\n{document}"))
        .start();
    assert_eq!(tried(&httpd), reference);
    assert_eq!(reference, (503, 4, 0));
}
