// SPDX-License-Identifier: Apache-2.0
//! Servers side by side that know of each other by an etcd (`LuaBalancerShare`).

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{
    Backend, Etcd, Httpd, Load, Request, Response, front, patience, wait_for_each_other, wait_until,
};

const SOON: Duration = Duration::from_secs(20);

/// The lines of a pool at `/NAME`.
fn pool(name: &str, settings: &str, backend: &Backend, keys: &str) -> String {
    format!(
        "<LuaBalancerPool {name}>\n{settings}\nLuaBalancerMember http://127.0.0.1:{} name=a {keys}\n\
         </LuaBalancerPool>\nProxyPass /{name} lb://{name}\n",
        backend.port()
    )
}

fn member(httpd: &Httpd, pool: &str) -> Value {
    let response = httpd.socket().get(&format!("/api/v1/pools/{pool}/members/a"));
    serde_json::from_str(&response.text()).expect("JSON")
}

fn patch(httpd: &Httpd, pool: &str, body: &str) -> Response {
    let request = Request::post(&format!("/api/v1/pools/{pool}/members/a"), body);
    let request = request.header("Content-Type", "application/json");
    httpd.socket().send(&request.with_method("PATCH"))
}

#[test]
fn a_pool_may_share_other_things_than_its_server() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let own = pool("own", "LuaBalancerShare none", &a, "");
    let lines = format!("{own}{}", pool("all", "", &a, ""));
    let fronts = [0; 2].map(|_| front(&etcd, "orders", &lines));
    assert_eq!(patch(&fronts[0], "own", r#"{"weight":5}"#).status, 200);
    assert_eq!(patch(&fronts[0], "all", r#"{"weight":5}"#).status, 200);
    wait_until("the order", SOON, || member(&fronts[1], "all")["weight"] == 5);
    assert_eq!(
        etcd.control(&["get", "--prefix", "--keys-only", "/lb/test/orders"]).trim(),
        "/lb/test/orders/all/a"
    );
    assert_eq!(
        (&member(&fronts[0], "own")["weight"], &member(&fronts[1], "own")["weight"]),
        (&5.into(), &1.into())
    );
    // An order of the store is not taken there, and no store is needed to give one.
    etcd.put("/lb/test/orders/own/a", r#"{"weight":9}"#);
    assert_eq!(patch(&fronts[0], "all", r#"{"weight":6}"#).status, 200);
    wait_until("a later order", SOON, || member(&fronts[1], "all")["weight"] == 6);
    assert_eq!(member(&fronts[1], "own")["weight"], 1);
    let refused = Httpd::builder().config(&own).configtest().output;
    assert!(!refused.contains("LuaBalancerStore"), "nothing is shared: {refused}");
    let refused = Httpd::builder().config(&own.replace("none", "orders")).configtest().output;
    assert!(refused.contains("LuaBalancerShare needs LuaBalancerStore, for example"), "{refused}");
}

#[test]
fn a_limit_holds_over_all_servers_while_they_come_and_go() {
    const LIMIT: usize = 30;
    let [a] = Backend::named(["a"]);
    a.slow(Duration::from_millis(50));
    let etcd = Etcd::start();
    let lines = pool("app", "LuaBalancerSet queue=30s", &a, &format!("max_inflight={LIMIT}"));
    let start = || {
        let front = front(&etcd, "limits", &lines);
        let load = Load::start(front.port(), "/app/", LIMIT + 1);
        (front, load)
    };
    let all_are_used = |when: &str| {
        wait_until(&format!("all places to be used {when}"), SOON, || a.in_flight() >= LIMIT);
    };
    let (mut one, load_of_one) = start();
    all_are_used("by one server");
    let (mut two, load_of_two) = start();
    one.wait_for_fronts(2);
    let (mut three, load_of_three) = start();
    for front in [&one, &two, &three] {
        front.wait_for_fronts(3);
    }
    all_are_used("by three");
    load_of_three.wait_for(20);
    // One more for each that has come, in its first second.
    assert!(a.most_at_work() <= LIMIT + 2, "{}", a.most_at_work());
    // A restart is not a coming and going.
    two.graceful();
    two.wait_for_fronts(3);
    drop(load_of_three.stop());
    three.kill();
    let took = one.wait_for_fronts(2);
    assert!(took <= patience(Duration::from_secs(12)), "{took:?}");
    all_are_used("by two");
    // Of those that wait for a place some are too many.
    assert_eq!(load_of_two.stop().errors, Vec::<String>::new());
    two.stop();
    let took = one.wait_for_fronts(1);
    assert!(took <= patience(Duration::from_secs(1)), "a server that stops says so: {took:?}");
    all_are_used("by the last");
    assert!(a.most_at_work() <= LIMIT + 2, "{}", a.most_at_work());
    one.restart();
    one.wait_for_fronts(1);
    drop(load_of_one.stop());
    one.assert_no_crash();
}

#[test]
fn a_server_keeps_its_part_of_a_limit_while_the_store_is_away_and_after_another_leader() {
    const LIMIT: usize = 6;
    let [a] = Backend::named(["a"]);
    a.slow(Duration::from_millis(50));
    let etcd = Etcd::start();
    let lines = pool("app", "LuaBalancerSet queue=30s", &a, &format!("max_inflight={LIMIT}"));
    let fronts = [0; 2].map(|_| front(&etcd, "limits", &lines));
    wait_for_each_other(&fronts);
    std::thread::sleep(Duration::from_secs(2));
    let load = Load::start(fronts[0].port(), "/app/", LIMIT + 1);
    load.wait_for(20);
    assert_eq!(a.most_at_work(), LIMIT / 2);
    // Its lease is the server's, not the leader's.
    let keys = || etcd.control(&["get", "--prefix", "/lb/test/fronts/", "--write-out=json"]);
    let before = keys();
    let leader = || {
        let text = fronts[1].socket().get("/api/v1/status").text();
        let status: Value = serde_json::from_str(&text).expect("JSON");
        status["leader"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    };
    fronts[1].kill_child(leader().expect("a leader"));
    wait_until("another leader", SOON, || leader().is_some());
    assert_eq!(fronts[1].socket().get("/api/v1/status").status, 200);
    fronts[1].wait_for_fronts(2);
    let leases = |text: &str| -> Vec<Value> {
        let document: Value = serde_json::from_str(text).expect("JSON");
        let keys = document["kvs"].as_array().expect("keys").iter();
        keys.map(|key| key["lease"].clone()).collect()
    };
    assert_eq!(leases(&keys()), leases(&before));
    etcd.signal(Signal::SIGSTOP);
    wait_until("the store to be away", SOON, || fronts[0].metric("luabalancer_store_up") == Some(0.0));
    load.wait_for(100);
    assert_eq!((a.most_at_work(), fronts[0].metric("luabalancer_fronts")), (LIMIT / 2, Some(2.0)));
    // All leases have ended when it is back.
    std::thread::sleep(Duration::from_secs(11));
    etcd.signal(Signal::SIGCONT);
    wait_until("the store to be back", SOON, || fronts[0].metric("luabalancer_store_up") == Some(1.0));
    wait_for_each_other(&fronts);
    load.wait_for(100);
    assert_eq!(a.most_at_work(), LIMIT / 2, "nobody has taken the others for dead");
    assert_eq!(load.stop().errors, Vec::<String>::new());
}

/// The lines of a pool of two members at `/app`, with checks every 200 ms of what each server is
/// told to look at.
fn checked(members: [&Backend; 2], settings: &str) -> String {
    let [a, b] = members.map(Backend::port);
    format!(
        "<LuaBalancerPool app>\nLuaBalancerHealthCheck http uri=/health interval=200ms fall=2 rise=1\n{settings}\n\
         LuaBalancerMember http://127.0.0.1:{a} name=a\nLuaBalancerMember http://127.0.0.1:{b} name=b\n\
         </LuaBalancerPool>\nProxyPass /app lb://app\n"
    )
}

/// The opinions in the store about the member `a`.
fn opinions(etcd: &Etcd) -> Vec<Value> {
    let text = etcd.control(&["get", "--prefix", "--print-value-only", "/lb/test/health/app/a/"]);
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn calls_it_down(opinions: &[Value]) -> usize {
    opinions.iter().filter(|opinion| opinion["state"] == "down").count()
}

#[test]
fn a_member_is_down_when_more_than_half_of_the_servers_say_so() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    // One of the servers looks at another port for `a`, where it is told what to say.
    let [eye] = Backend::named(["eye"]);
    let lines = checked([&a, &b], "");
    let lone = lines.replace("interval=200ms", &format!("interval=200ms port={}", eye.port()));
    let mut one = front(&etcd, "health=quorum", &lone);
    let fronts = [0; 2].map(|_| front(&etcd, "health=quorum", &lines));
    for front in fronts.iter().chain([&one]) {
        front.wait_for_fronts(3);
    }
    wait_until("all opinions", SOON, || opinions(&etcd).len() == 3);
    // One of three is not enough.
    eye.health_status(500);
    wait_until("one to call it down", SOON, || calls_it_down(&opinions(&etcd)) == 1);
    assert!(
        opinions(&etcd).iter().any(|opinion| opinion["reason"] == "HTTP 500, expected 200-399"),
        "{:?}",
        opinions(&etcd)
    );
    let checks = eye.health_checks();
    wait_until("more checks", SOON, || eye.health_checks() > checks + 8);
    assert_eq!(member(&one, "app")["state"], "up");
    // All of them show what each says.
    for front in fronts.iter().chain([&one]) {
        wait_until("the opinions to be shown", SOON, || {
            let shown = member(front, "app")["opinions"].as_array().cloned().unwrap_or_default();
            (shown.len(), calls_it_down(&shown)) == (3, 1)
        });
    }
    // Two and more are, where it is not seen up.
    a.health_status(500);
    for front in fronts.iter().chain([&one]) {
        wait_until("it to be down", SOON, || member(front, "app")["state"] == "down");
    }
    one.wait_for_log("of 3 servers call it down");
    // All members are down by all of them: the last one is not taken.
    b.health_status(500);
    let checks = b.health_checks();
    wait_until("more checks", SOON, || b.health_checks() > checks + 12);
    assert_eq!(fronts[0].client().get("/app/").status, 200);
    assert_eq!(calls_it_down(&opinions(&etcd)), 3);
    b.health_status(200);
    // A server that sees it up has it up, whatever the others say.
    eye.health_status(200);
    wait_until("it to be up", SOON, || member(&one, "app")["state"] == "up");
    assert_eq!(member(&fronts[0], "app")["state"], "down");
    // The opinions of one that is killed end with its lease, and a majority is another one then.
    eye.health_status(500);
    wait_until("all to call it down", SOON, || calls_it_down(&opinions(&etcd)) == 3);
    one.kill();
    let took = wait_until("its opinion to go", SOON, || opinions(&etcd).len() == 2);
    assert!(took <= patience(Duration::from_secs(12)), "{took:?}");
    a.health_status(200);
    for front in &fronts {
        wait_until("it to be up", SOON, || member(front, "app")["state"] == "up");
    }
    // One that requests have ejected as well is down all the same.
    a.refuse();
    let loads = fronts.each_ref().map(|front| Load::start(front.port(), "/app/", 2));
    for front in &fronts {
        wait_until("it to be down", SOON, || member(front, "app")["state"] == "down");
        front.assert_no_crash();
    }
    loads.into_iter().for_each(|load| load.stop().assert_all_ok());
}

#[test]
fn a_server_without_the_store_goes_by_its_own_checks_in_the_end() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let lines = checked([&a, &b], "LuaBalancerShare health=quorum");
    let fronts = [0; 2].map(|_| front(&etcd, "none", &lines));
    wait_for_each_other(&fronts);
    wait_until("all opinions", SOON, || opinions(&etcd).len() == 2);
    etcd.signal(Signal::SIGSTOP);
    wait_until("the store to be away", SOON, || fronts[0].metric("luabalancer_store_up") == Some(0.0));
    a.health_status(500);
    for front in &fronts {
        wait_until("it to be down", SOON, || member(front, "app")["state"] == "down");
    }
    etcd.signal(Signal::SIGCONT);
    wait_until("all to call it down", SOON, || calls_it_down(&opinions(&etcd)) == 2);
    assert_eq!(member(&fronts[0], "app")["state"], "down");
    a.health_status(200);
    wait_until("it to be up", SOON, || member(&fronts[0], "app")["state"] == "up");
}
