// SPDX-License-Identifier: Apache-2.0
//! Orders that wait for the store while the server is restarted.

use nix::sys::signal::Signal;
use server_tests::{Backend, Etcd};

use super::*;

const CALLERS: usize = 12;

/// How many threads of the server make changes.
fn writers(httpd: &Httpd) -> usize {
    let names = |pid: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect::<Vec<_>>()
    };
    let all = httpd.children().into_iter().flat_map(names);
    all.filter(|name| name.trim() == "lua-balancer-ch").count()
}

/// Gives orders to a server whose store says nothing, and restarts it meanwhile. `wakes`: whether
/// the store goes on then.
fn restarted_meanwhile(wakes: bool) {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let lines: String = (0..CALLERS)
        .map(|at| {
            line(&a)
                .replace("name=a", &format!("name=m{at}"))
                .replace(&a.url(), &format!("http://127.0.1.{}:1", at + 1))
        })
        .collect();
    let mut one = front(&etcd.endpoint(), &lines);
    let path = one.socket_path();
    etcd.signal(Signal::SIGSTOP);
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|at| {
                let target = format!("/api/v1/pools/app/members/m{at}");
                let path = &path;
                scope.spawn(move || {
                    let body = format!(r#"{{"weight":{}}}"#, at + 2);
                    server_tests::SocketClient::new(path).send(&Request::json("PATCH", &target, body))
                })
            })
            .collect();
        wait_until("orders to wait", SOON, || writers(&one) >= 4);
        one.graceful();
        if wakes {
            etcd.signal(Signal::SIGCONT);
        }
        callers.into_iter().map(|caller| caller.join().expect("an answer")).collect()
    });
    if !wakes {
        etcd.signal(Signal::SIGCONT);
    }
    let taken = answers.iter().filter(|answer| answer.status == 200).count();
    println!("{taken} of {CALLERS} orders were taken");
    wait_until("an order to be taken", SOON, || patch(&one, "m0", r#"{"note":"x"}"#).status == 200);
    for (at, answer) in answers.iter().enumerate() {
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        let (name, weight) = (format!("m{at}"), at + 2);
        let expected = if answer.status == 200 { weight } else { 1 };
        wait_for(&one, &name, "weight", expected);
        // Taken back, if it has come there after all.
        wait_until("the store to say the same", SOON, || {
            stored(&etcd, &name)["weight"].as_f64().unwrap_or(1.0) == expected as f64
        });
    }
    one.assert_no_crash();
}

#[test]
fn orders_that_wait_for_a_silent_store_are_answered_when_the_server_is_restarted() {
    restarted_meanwhile(false);
}

#[test]
fn orders_that_wait_for_a_store_that_goes_on_are_answered_when_the_server_is_restarted() {
    restarted_meanwhile(true);
}
