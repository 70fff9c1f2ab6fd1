// SPDX-License-Identifier: Apache-2.0
//! Orders that several servers share by an etcd (`LuaBalancerStore`, `LuaBalancerShare orders`).

use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{
    Backend, Etcd, Httpd, Load, LossyWay, Request, Response, eventually, patience, wait_until,
};

const SOON: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// A server with a pool `app`, which shares its orders at these endpoints.
fn front(endpoints: &str, backends: &[&Backend]) -> Httpd {
    let member = |backend: &&Backend| {
        format!("LuaBalancerMember http://127.0.0.1:{} name={}\n", backend.port(), backend.name())
    };
    let members: String = backends.iter().map(member).collect();
    let config = format!(
        "LuaBalancerStore etcd:{endpoints}/lb/test\nLuaBalancerShare orders\n\
         <LuaBalancerPool app>\n{members}</LuaBalancerPool>\nProxyPass /app lb://app"
    );
    let httpd = Httpd::builder().config(&config).start();
    wait_until("the store to be there", SOON, || store_up(&httpd) == Some(true));
    // It has put there all that it does by itself.
    wait_until("it to be alive", SOON, || {
        httpd.socket().get("/metrics").text().contains("\nluabalancer_fronts ")
    });
    httpd
}

fn store_up(httpd: &Httpd) -> Option<bool> {
    let text = httpd.socket().get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with("luabalancer_store_up "))?.to_owned();
    Some(line.ends_with(" 1"))
}

fn member(httpd: &Httpd, name: &str) -> Value {
    let response = httpd.socket().get(&format!("/api/v1/pools/app/members/{name}"));
    serde_json::from_str(&response.text()).expect("JSON")
}

fn patch(httpd: &Httpd, name: &str, body: &str) -> Response {
    let (name, query) = name.split_once('?').unwrap_or((name, ""));
    let target = format!("/api/v1/pools/app/members/{name}?{query}");
    let request = Request::post(&target, body).header("Content-Type", "application/json");
    httpd.socket().send(&request.with_method("PATCH"))
}

fn wait_for(httpd: &Httpd, name: &str, key: &str, value: impl Into<Value>) -> Duration {
    let value = value.into();
    wait_until(&format!("{key} of {name} to be {value}"), SOON, || member(httpd, name)[key] == value)
}

/// The order of a member of `app` in the store.
fn stored(etcd: &Etcd, name: &str) -> Value {
    let text = etcd.control(&["get", "--print-value-only", &format!("/lb/test/orders/app/{name}")]);
    serde_json::from_str(text.trim()).unwrap_or(Value::Null)
}

#[test]
fn a_drain_at_one_server_holds_at_all_within_a_second_and_so_does_its_end() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let mut fronts = [0; 3].map(|_| front(&etcd.endpoint(), &[&a, &b]));
    let loads = fronts.each_ref().map(|front| Load::start(front.port(), "/app/", 1));
    let answer = patch(&fronts[0], "a", r#"{"admin":"drain","note":"kernel"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    for other in &fronts[1..] {
        let took = wait_for(other, "a", "admin", "drain");
        assert!(took <= patience(SECOND), "{took:?}");
        assert_eq!(member(other, "a")["note"], "kernel");
    }
    assert_eq!(stored(&etcd, "a")["admin"], "drain");
    let before = a.requests();
    loads.iter().for_each(|load| load.wait_for(10));
    assert_eq!(a.requests(), before);
    assert_eq!(patch(&fronts[2], "a", r#"{"admin":null,"weight":3}"#).status, 200);
    for other in &fronts[..2] {
        let took = wait_for(other, "a", "admin", "ready");
        assert!(took <= patience(SECOND), "{took:?}");
        wait_for(other, "a", "weight", 3);
    }
    // One that comes later has the orders as well, and a restart keeps them.
    let late = front(&etcd.endpoint(), &[&a, &b]);
    wait_for(&late, "a", "weight", 3);
    fronts[1].graceful();
    assert_eq!(member(&fronts[1], "a")["weight"], 3);
    let answer = patch(&fronts[1], "a", r#"{"weight":5}"#);
    assert_eq!(answer.status, 200, "a restart is waited for: {}", answer.text());
    wait_for(&late, "a", "weight", 5);
    loads.into_iter().for_each(|load| load.stop().assert_all_ok());
    fronts.iter().for_each(Httpd::assert_no_crash);
}

#[test]
fn of_two_writers_one_wins_each_time_and_all_have_its_order() {
    const TIMES: u32 = 300;
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd.endpoint(), &[&a]));
    let before = etcd.revision();
    let taken: u32 = std::thread::scope(|scope| {
        let writers: Vec<_> = fronts
            .iter()
            .enumerate()
            .map(|(at, front)| {
                scope.spawn(move || {
                    let mut taken = 0;
                    for number in 0..TIMES {
                        let weight = 2 + 2 * number as usize + at;
                        let answer = patch(front, "a", &format!("{{\"weight\":{weight}}}"));
                        assert!([200, 412].contains(&answer.status), "{}", answer.text());
                        taken += u32::from(answer.status == 200);
                    }
                    taken
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum()
    });
    assert!(taken > 0, "nobody has won");
    assert_eq!(etcd.revision() - before, i64::from(taken), "each order that was taken was put once");
    let last = stored(&etcd, "a")["weight"].as_f64().expect("a weight");
    for front in &fronts {
        wait_until("the last order", SOON, || member(front, "a")["weight"].as_f64() == Some(last));
        front.assert_no_crash();
    }
}

#[test]
fn orders_are_refused_while_the_store_is_away_and_those_given_here_alone_reach_it_later() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd.endpoint(), &[&a, &b]));
    assert_eq!(patch(&fronts[0], "b", r#"{"weight":2}"#).status, 200);
    wait_for(&fronts[1], "b", "weight", 2);
    let loads = fronts.each_ref().map(|front| Load::start(front.port(), "/app/", 1));
    etcd.signal(Signal::SIGSTOP);
    wait_until("the store to be away", SOON, || store_up(&fronts[0]) == Some(false));
    let begin = Instant::now();
    let answer = patch(&fronts[0], "a", r#"{"admin":"drain"}"#);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("their store is away: it has not answered since"), "{}", answer.text());
    assert!(begin.elapsed() <= patience(SECOND), "it is not asked: {:?}", begin.elapsed());
    assert_eq!(patch(&fronts[0], "a?local=1", r#"{"admin":"drain"}"#).status, 200);
    let now = member(&fronts[0], "a");
    assert_eq!((&now["admin"], &now["local"]), (&"drain".into(), &true.into()), "{now}");
    assert_eq!(member(&fronts[1], "a")["admin"], "ready");
    etcd.signal(Signal::SIGCONT);
    wait_for(&fronts[1], "a", "admin", "drain");
    wait_for(&fronts[0], "a", "local", Value::Null);
    // Gone, and back without anything: the servers bring their orders.
    etcd.kill();
    wait_until("the store to be away", SOON, || store_up(&fronts[1]) == Some(false));
    etcd.wipe();
    etcd.start_again();
    for name in ["a", "b"] {
        wait_until("the order to be there", SOON, || stored(&etcd, name) != Value::Null);
    }
    wait_until("the store to be back", SOON, || store_up(&fronts[1]) == Some(true));
    wait_until("an order to be taken", SOON, || patch(&fronts[1], "a", r#"{"admin":null}"#).status == 200);
    wait_for(&fronts[0], "a", "admin", "ready");
    assert_eq!(member(&fronts[0], "b")["weight"], 2);
    loads.into_iter().for_each(|load| load.stop().assert_all_ok());
}

#[test]
fn an_order_given_here_alone_does_not_replace_one_of_a_store_that_was_made_anew() {
    let [a] = Backend::named(["a"]);
    let mut etcd = Etcd::start();
    let (one, other) = (front(&etcd.endpoint(), &[&a]), front(&etcd.endpoint(), &[&a]));
    for weight in 2..20 {
        assert_eq!(patch(&one, "a", &format!("{{\"weight\":{weight}}}")).status, 200);
    }
    wait_for(&other, "a", "weight", 19);
    etcd.kill();
    assert_eq!(patch(&one, "a?local=1", r#"{"admin":"drain"}"#).status, 200);
    one.children().iter().for_each(|pid| one.signal(*pid, Signal::SIGSTOP));
    etcd.wipe();
    etcd.start_again();
    wait_until("an order to be taken", SOON, || patch(&other, "a", r#"{"weight":30}"#).status == 200);
    // Revisions of now are smaller, and it holds all the same.
    assert_eq!(member(&other, "a")["weight"], 30);
    one.children().iter().for_each(|pid| one.signal(*pid, Signal::SIGCONT));
    wait_for(&one, "a", "weight", 30);
    let now = member(&one, "a");
    assert_eq!((&now["admin"], &now["local"]), (&"ready".into(), &Value::Null), "{now}");
    assert_eq!((&stored(&etcd, "a")["weight"], &stored(&etcd, "a")["admin"]), (&30.0.into(), &Value::Null));
    for front in [&one, &other] {
        assert_eq!(front.count_log("the store of shared orders was replaced or went back"), 1);
    }
}

#[test]
fn an_order_given_here_alone_after_a_restart_reaches_the_store_later() {
    let [a] = Backend::named(["a"]);
    let mut etcd = Etcd::start();
    let (mut one, other) = (front(&etcd.endpoint(), &[&a]), front(&etcd.endpoint(), &[&a]));
    assert_eq!(patch(&one, "a", r#"{"weight":2}"#).status, 200);
    wait_for(&other, "a", "weight", 2);
    etcd.kill();
    wait_until("the store to be away", SOON, || store_up(&one) == Some(false));
    one.graceful();
    assert_eq!(patch(&one, "a?local=1", r#"{"weight":7}"#).status, 200);
    etcd.start_again();
    wait_for(&other, "a", "weight", 7);
    wait_for(&one, "a", "local", Value::Null);
    assert_eq!(member(&one, "a")["weight"], 7);
}

#[test]
fn orders_reach_the_store_by_the_one_endpoint_that_answers() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    // Nobody listens at two of them, and two are silent.
    let silent = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let silent = silent.each_ref().map(|one| one.local_addr().expect("an address").port());
    let dead = [1, 1, silent[0], silent[1]];
    let dead: String = dead.iter().map(|port| format!("http://127.0.0.1:{port},")).collect();
    let one = front(&format!("{dead}{}", etcd.endpoint()), &[&a]);
    for weight in 2..12 {
        let answer = patch(&one, "a", &format!("{{\"weight\":{weight}}}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(stored(&etcd, "a")["weight"], 11.0);
}

#[test]
fn orders_of_a_store_that_went_back_hold_at_all_and_so_do_those_that_follow() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd.endpoint(), &[&a, &b]));
    assert_eq!(patch(&fronts[0], "a", r#"{"weight":2}"#).status, 200);
    etcd.kill();
    etcd.back_up();
    etcd.start_again();
    wait_until("the store to be back", SOON, || patch(&fronts[0], "a", r#"{"weight":3}"#).status == 200);
    for weight in 4..20 {
        assert_eq!(patch(&fronts[0], "a", &format!("{{\"weight\":{weight}}}")).status, 200);
    }
    wait_for(&fronts[1], "a", "weight", 19);
    etcd.kill();
    assert_eq!(patch(&fronts[1], "a?local=1", r#"{"weight":99}"#).status, 200);
    etcd.restore();
    etcd.start_again();
    fronts.iter().for_each(|front| {
        wait_for(front, "a", "weight", 2);
    });
    for weight in 50..55 {
        wait_until("an order to be taken", SOON, || {
            patch(&fronts[0], "a", &format!("{{\"weight\":{weight}}}")).status == 200
        });
        assert_eq!(member(&fronts[0], "a")["weight"], weight);
        wait_for(&fronts[1], "a", "weight", weight);
    }
    for front in &fronts {
        assert_eq!(front.count_log("the store of shared orders was replaced or went back"), 1);
    }
}

#[test]
fn an_order_whose_answer_was_lost_is_refused_and_taken_back_where_it_has_landed() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let way = LossyWay::to(&etcd);
    let one = front(&format!("http://127.0.0.1:{}", way.port()), &[&a]);
    let other = front(&etcd.endpoint(), &[&a]);
    assert_eq!(patch(&one, "a", r#"{"weight":2}"#).status, 200);
    wait_for(&other, "a", "weight", 2);
    way.arm();
    let answer = patch(&one, "a", r#"{"weight":9}"#);
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("should it have taken the order, it is taken back"), "{}", answer.text());
    one.wait_for_log("a change that the store had not answered has come there after all, and is taken back");
    wait_until("the order to be as it was", SOON, || stored(&etcd, "a")["weight"] == 2.0);
    wait_for(&other, "a", "weight", 2);
    assert_eq!(member(&one, "a")["weight"], 2);
    assert_eq!(one.count_log("has come there after all"), 1);
    assert_eq!(patch(&one, "a", r#"{"weight":4}"#).status, 200);
    wait_for(&other, "a", "weight", 4);
}

#[test]
fn an_order_that_is_not_answered_before_a_graceful_restart_is_taken_back_after_it() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let way = LossyWay::to(&etcd);
    let mut one = front(&format!("http://127.0.0.1:{}", way.port()), &[&a]);
    let other = front(&etcd.endpoint(), &[&a]);
    assert_eq!(patch(&one, "a", r#"{"weight":2}"#).status, 200);
    wait_for(&other, "a", "weight", 2);
    way.arm();
    way.holds(true);
    let answer = patch(&one, "a", r#"{"weight":9}"#);
    assert_eq!(answer.status, 503, "{}", answer.text());
    one.graceful();
    let before = etcd.revision();
    way.holds(false);
    wait_until("the order to have come and gone", SOON, || etcd.revision() >= before + 2);
    wait_until("the order to be as it was", SOON, || stored(&etcd, "a")["weight"] == 2.0);
    wait_for(&other, "a", "weight", 2);
    assert_eq!(member(&one, "a")["weight"], 2);
    wait_until("an order to be taken", SOON, || patch(&one, "a", r#"{"weight":4}"#).status == 200);
    wait_for(&other, "a", "weight", 4);
    assert_eq!(one.count_log("has come there after all"), 1);
}

#[test]
fn a_leader_that_is_killed_is_followed_by_one_that_goes_on_sharing() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let (one, other) = (front(&etcd.endpoint(), &[&a]), front(&etcd.endpoint(), &[&a]));
    let load = Load::start(other.port(), "/app/", 2);
    let children = || -> Vec<Value> {
        let text = other.socket().get("/api/v1/children").text();
        let document: Value = serde_json::from_str(&text).expect("JSON");
        document["children"].as_array().expect("a list").clone()
    };
    for weight in 2..5 {
        let leader = eventually("a leader", SOON, || {
            children().iter().find(|child| child["leads"] == true)?["pid"].as_i64()
        });
        other.signal(u32::try_from(leader).expect("a process"), Signal::SIGKILL);
        assert_eq!(patch(&one, "a", &format!("{{\"weight\":{weight}}}")).status, 200);
        wait_for(&other, "a", "weight", weight);
        let back = 10 + weight;
        wait_until("an order to be taken", SOON, || {
            patch(&other, "a", &format!("{{\"weight\":{back}}}")).status == 200
        });
        wait_for(&one, "a", "weight", back);
    }
    // The killed child had requests.
    drop(load.stop());
}

#[test]
fn an_order_whose_child_dies_once_it_is_in_the_store_holds_at_all() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let way = LossyWay::to(&etcd);
    let one = front(&format!("http://127.0.0.1:{}", way.port()), &[&a]);
    let other = front(&etcd.endpoint(), &[&a]);
    way.arm();
    std::thread::scope(|scope| {
        // The caller gets no answer.
        let caller = scope.spawn(|| patch(&one, "a", r#"{"weight":9}"#));
        wait_for(&other, "a", "weight", 9);
        one.children().iter().for_each(|pid| one.signal(*pid, Signal::SIGKILL));
        assert!(caller.join().is_err());
    });
    eventually("the order", SOON, || {
        let text = one.socket().get("/api/v1/pools/app/members/a").text();
        let document: Value = serde_json::from_str(&text).ok()?;
        (document["weight"] == 9).then_some(())
    });
    assert_eq!(one.count_log("has come there after all"), 0);
}

#[test]
fn members_may_be_below_the_prefix_of_the_store() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let pool = "<LuaBalancerPool app>\nLuaBalancerDiscovery etcd:/pools/app/members\n</LuaBalancerPool>\n\
                ProxyPass /app lb://app";
    let store = format!("LuaBalancerStore etcd:{}/lb/test\n", etcd.endpoint());
    let httpd = Httpd::builder().config(&store).config(pool).start();
    etcd.put("/lb/test/pools/app/members/a", &format!("{{\"url\":\"http://127.0.0.1:{}\"}}", a.port()));
    wait_for(&httpd, "a", "state", "up");
    assert_eq!(httpd.client().get("/app/").status, 200);
    let refused = Httpd::builder().config(pool).configtest().output;
    assert!(refused.contains("LuaBalancerDiscovery etcd:/PREFIX needs LuaBalancerStore"), "{refused}");
    let store = format!("LuaBalancerStore etcd:{}/lb/test ca=/nowhere/ca.pem\n", etcd.endpoint());
    let refused = Httpd::builder().config(&store).config(pool).configtest().output;
    assert!(refused.contains("LuaBalancerStore: ") && refused.contains("/nowhere/ca.pem"), "{refused}");
}

#[test]
fn a_value_that_is_not_an_order_is_left_alone_and_said_once() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let httpd = front(&etcd.endpoint(), &[&a]);
    assert_eq!(patch(&httpd, "a", r#"{"weight":2}"#).status, 200);
    etcd.put("/lb/test/orders/app/a", "{\"admin\":\"gone\"}");
    httpd.wait_for_log(
        "member a: its order in the store is left alone, since it cannot be read: admin is not",
    );
    etcd.put("/lb/test/orders/app/nobody", "[]");
    etcd.put("/lb/test/orders/x", "[]");
    assert_eq!(member(&httpd, "a")["weight"], 2);
    // The next order replaces it.
    assert_eq!(patch(&httpd, "a", r#"{"admin":"drain"}"#).status, 200);
    assert_eq!(stored(&etcd, "a")["admin"], "drain");
    assert_eq!(httpd.count_log("cannot be read"), 1);
    etcd.put("/lb/test/orders/app/a", "{\"admin\":\"disabled\",\"until\":1,\"then\":\"drain\"}");
    wait_for(&httpd, "a", "weight", 1);
    assert_eq!(member(&httpd, "a")["admin"], "drain");
}

#[test]
fn an_order_that_does_not_fit_beside_what_is_a_servers_own_is_said_once() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let httpd = front(&etcd.endpoint(), &[&a]);
    let long = "x".repeat(190);
    let meta = format!(r#"{{"meta":{{"k1":"{long}","k2":"{long}","k3":"{long}","k4":"{long}"}}}}"#);
    let answer = patch(&httpd, "a", &meta);
    assert_eq!(answer.status, 200, "{}", answer.text());
    etcd.put("/lb/test/orders/app/a", &format!(r#"{{"admin":"drain","note":"{long}","by":"{long}"}}"#));
    httpd.wait_for_log("pool app: member a: its order in the store does not hold here: ");
    etcd.put("/lb/test/orders/app/a", r#"{"admin":"drain"}"#);
    wait_for(&httpd, "a", "admin", "drain");
    assert_eq!(httpd.count_log("does not hold here"), 1);
}
