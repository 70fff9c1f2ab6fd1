// SPDX-License-Identifier: Apache-2.0
//! More requests than members have places for.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use server_tests::{Backend, Httpd, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn other_zones_then_higher_lbsets_then_standbys_take_what_full_members_cannot() {
    let [near, far, next, standby] = Backend::named(["near", "far", "next", "standby"]);
    let members = [
        (&near, "zone=eu max_inflight=1"),
        (&far, "zone=us max_inflight=1"),
        (&next, "lbset=1 max_inflight=1"),
        (&standby, "lbset=1 status=+H max_inflight=1"),
    ];
    let httpd = Httpd::builder()
        .threads(16)
        .with_member_states()
        .config(&pool("app", &members, "LuaBalancerSet zone=eu"))
        .config("ProxyPass /app lb://app")
        .start();
    let backends = [&near, &far, &next, &standby];
    let mut requests = Vec::new();
    for backend in backends {
        backend.hang();
        let mut client = httpd.client().timeout(Duration::from_secs(60));
        requests.push(thread::spawn(move || client.get("/app/").backend().to_owned()));
        wait_until(&format!("{} to be asked", backend.name()), SOON, || backend.in_flight() == 1);
    }
    assert_eq!(httpd.client().get("/app/").status, 503);
    httpd.wait_for_log("at max_inflight");
    near.answer();
    wait_until("the nearest member to be free", SOON, || httpd.member("app", "near").inflight == 0);
    assert_eq!(httpd.client().get("/app/").backend(), "near");
    backends.iter().for_each(|backend| backend.answer());
    let answered: Vec<String> = requests.into_iter().map(|thread| thread.join().expect("a client")).collect();
    assert_eq!(answered, ["near", "far", "next", "standby"]);
}

#[test]
fn of_requests_for_the_last_place_one_gets_it() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, "max_inflight=1")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    let barrier = Arc::new(Barrier::new(4));
    let clients = (0..4).map(|_| {
        let (mut client, barrier) = (httpd.client(), barrier.clone());
        let run = move || {
            let answers = (0..200).map(|_| {
                barrier.wait();
                let answered = client.get("/app/").status == 200;
                barrier.wait();
                answered
            });
            answers.collect::<Vec<bool>>()
        };
        thread::spawn(run)
    });
    let clients: Vec<_> = clients.collect();
    let answers: Vec<Vec<bool>> =
        clients.into_iter().map(|thread| thread.join().expect("a client")).collect();
    for round in 0..200 {
        assert!(answers.iter().any(|answers| answers[round]), "nobody was answered in round {round}");
    }
}
