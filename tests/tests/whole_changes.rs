// SPDX-License-Identifier: Apache-2.0
//! A change of the control plane is one, at every door and whichever process dies of it.

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{Httpd, Request, Response, wait_until};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MEMBER: &str = "/api/v1/pools/app/members/m0";
const MEMBERS: &str = "/api/v1/pools/app/members";

/// A pool `app` of so many members, which nobody asks for anything.
fn httpd(members: usize) -> Httpd {
    let lines: Vec<String> =
        (0..members).map(|at| format!("LuaBalancerMember http://127.0.0.1:{} name=m{at}", at + 1)).collect();
    Httpd::builder()
        .children(2)
        .config(&format!("<LuaBalancerPool app>\n{}\n</LuaBalancerPool>", lines.join("\n")))
        .config("LuaBalancerMaxMembers 2000")
        .config("<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\n</Location>")
        .start()
}

fn json(method: &str, target: &str, body: &str) -> Request {
    Request::json(method, target, body).header("Host", "localhost")
}

/// Asks at the handler or at the socket.
fn ask(httpd: &Httpd, door: usize, request: impl Fn(&str) -> Request) -> Response {
    match door {
        0 => httpd.client().send(&request("/lb")),
        _ => httpd.socket().send(&request("")),
    }
}

fn members(httpd: &Httpd, door: usize) -> Vec<Value> {
    let response =
        ask(httpd, door, |base| Request::get(&format!("{base}{MEMBERS}")).header("Host", "localhost"));
    assert_eq!(response.status, 200, "{}", response.text());
    let list: Value = serde_json::from_str(&response.text()).expect("JSON");
    list.as_array().expect("a list").clone()
}

#[test]
fn of_two_changes_on_one_condition_one_is_made() {
    let httpd = httpd(1);
    for round in 0..200 {
        let seen = ask(&httpd, round % 2, |base| {
            Request::get(&format!("{base}{MEMBER}")).header("Host", "localhost")
        });
        let tag = seen.header("ETag").expect("an ETag").to_owned();
        let gate = Barrier::new(2);
        let change = |door: usize| {
            let body = format!(r#"{{"weight":{},"note":"door {door}"}}"#, 2 + 2 * round + door);
            gate.wait();
            let request =
                |base: &str| json("PATCH", &format!("{base}{MEMBER}"), &body).header("If-Match", &tag);
            ask(&httpd, door, request).status
        };
        let mut statuses: Vec<u16> = thread::scope(|scope| {
            let both = [0, 1].map(|door| scope.spawn(move || change(door)));
            both.map(|one| one.join().expect("an answer")).to_vec()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "round {round}");
    }
    httpd.assert_no_crash();
}

#[test]
fn nobody_sees_half_of_a_batch() {
    let httpd = httpd(50);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for door in [0, 1] {
            let (over, httpd) = (&over, &httpd);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let members = members(httpd, door);
                    let seen = |member: &Value| (member["weight"].clone(), member["note"].clone());
                    let first = seen(&members[0]);
                    let other = members.iter().find(|member| seen(member) != first);
                    assert!(other.is_none(), "door {door}: {first:?} beside {other:?}");
                }
            });
        }
        for round in 2..60 {
            let item = |at: usize| {
                format!(
                    r#"{{"method":"PATCH","path":"/api/v1/pools/app/members/m{at}","body":{{"weight":{round},"note":"round {round}"}}}}"#
                )
            };
            let items: Vec<String> = (0..50).map(item).collect();
            let body = format!("[{}]", items.join(","));
            let request = |base: &str| json("POST", &format!("{base}/api/v1/batch"), &body);
            let response = ask(&httpd, round % 2, request);
            assert_eq!(response.status, 200, "{}", response.text());
        }
        over.store(true, Ordering::Relaxed);
    });
    httpd.assert_no_crash();
}

/// Names of a list of 1,000, of which the second is another.
fn list(second: bool) -> String {
    let kept = r#"{"url":"http://127.0.0.1:1","name":"m0"}"#.to_owned();
    let kind = if second { "b" } else { "a" };
    let added = (0..1000).map(|at| format!(r#"{{"url":"http://10.0.0.1:{}","name":"{kind}{at}"}}"#, at + 1));
    format!(
        "[{}]",
        std::iter::once(kept)
            .chain(added.take(if second { 990 } else { 1000 }))
            .collect::<Vec<_>>()
            .join(",")
    )
}

#[test]
fn a_list_whose_child_is_killed_is_taken_or_not() {
    let httpd = httpd(1);
    let put = |second: bool| {
        httpd.socket().try_send(&json("PUT", MEMBERS, &list(second))).map(|response| response.status)
    };
    assert_eq!(put(false).expect("an answer"), 200);
    // How long one takes, so that moments of death are spread over it.
    let start = Instant::now();
    assert_eq!(put(true).expect("an answer"), 200);
    let whole = start.elapsed();
    let mut taken = 0;
    for round in 0..12_u32 {
        let second = round % 2 == 1;
        let before = members(&httpd, 1).len();
        thread::scope(|scope| {
            let change = scope.spawn(move || put(second));
            thread::sleep(whole * round / 12);
            for pid in httpd.children() {
                httpd.signal(pid, Signal::SIGKILL);
            }
            drop(change.join());
        });
        wait_until("somebody to answer", Duration::from_secs(20), || {
            httpd.socket().try_send(&Request::get("/health")).is_ok_and(|response| response.status < 600)
        });
        let names: Vec<String> = members(&httpd, 1)
            .iter()
            .map(|member| member["name"].as_str().expect("a name").to_owned())
            .collect();
        let wanted = if second { 991 } else { 1001 };
        assert!(names.len() == before || names.len() == wanted, "round {round}: {} members", names.len());
        let kind = &names[1][..1];
        assert!(names[1..].iter().all(|name| name.starts_with(kind)), "round {round}: a part of each list");
        taken += u32::from(names.len() == wanted);
        // The next change finds nothing in its way.
        assert_eq!(put(second).expect("an answer"), 200, "round {round}");
    }
    println!("taken in {taken} of 12 rounds, {whole:?} each");
}

/// Each of them within a bound that an effort with the square of the members breaks.
#[test]
fn ten_thousand_members_come_change_and_go_at_once() {
    let httpd = Httpd::builder()
        .config("<LuaBalancerPool app>\n</LuaBalancerPool>\nLuaBalancerMaxMembers 20000")
        .children(1)
        .start();
    let list = |kind: &str, weight: u32| {
        let member = |at: usize| {
            format!(
                r#"{{"url":"http://10.0.{}.{}","name":"{kind}{at}","weight":{weight}}}"#,
                at / 250,
                at % 250
            )
        };
        format!("[{}]", (0..10_000).map(member).collect::<Vec<_>>().join(","))
    };
    for (what, list, count) in [
        ("come", list("a", 1), 10_000),
        ("stay", list("a", 1), 10_000),
        ("change", list("a", 2), 10_000),
        ("are replaced", list("b", 1), 10_000),
        ("go", "[]".to_owned(), 0),
    ] {
        let start = Instant::now();
        let response = httpd.socket().send(&json("PUT", MEMBERS, &list));
        let took = start.elapsed();
        println!("they {what}: {took:?}");
        assert_eq!(response.status, 200, "they {what}: {}", response.text());
        assert_eq!(response.text().matches(r#""name":"#).count(), count, "they {what}");
        assert!(took < Duration::from_secs(15), "they {what}: {took:?}");
    }
    httpd.assert_no_crash();
}
