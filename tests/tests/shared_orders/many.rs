// SPDX-License-Identifier: Apache-2.0
//! Thousands of orders at once.

use server_tests::{Backend, Etcd, Request, patience};

use super::*;

const MEMBERS: usize = 3000;
/// Each is put there alone.
const LATER: Duration = Duration::from_secs(120);
const BATCH: usize = 100;

/// The leading child, and how often another one has become it.
fn leads_now(httpd: &Httpd) -> (Option<i64>, Option<u64>) {
    let document = json(&httpd.socket().get("/api/v1/children"));
    let children = document["children"].as_array().expect("a list");
    let leader = children.iter().find(|child| child["leads"] == true);
    let changes = number(httpd, "luabalancer_lead_changes_total");
    (leader.and_then(|leader| leader["pid"].as_i64()), changes)
}

/// Orders a weight and a reason of all members: changes of as many as one change may have.
fn order_all(httpd: &Httpd, weight: usize, note: &dyn Fn(usize) -> String) {
    for first in (0..MEMBERS).step_by(BATCH) {
        let patches: Vec<String> = (first..first + BATCH)
            .map(|at| {
                let path = format!("/api/v1/pools/app/members/m{at}");
                let body = format!(r#"{{"weight":{weight},"note":"{}"}}"#, note(at));
                format!(r#"{{"method":"PATCH","path":"{path}","body":{body}}}"#)
            })
            .collect();
        let body = format!("[{}]", patches.join(","));
        let answer = httpd.socket().send(&Request::json("POST", "/api/v1/batch", body));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn thousands_of_orders_are_taken_without_a_change_of_the_lead() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let lines: String = (0..MEMBERS)
        .map(|at| format!("LuaBalancerMember http://127.0.0.1:{}/m{at} name=m{at}\n", a.port()))
        .collect();
    let one = front(&etcd.endpoint(), &lines);
    order_all(&one, 7, &|at| if at % 3 == 0 { format!("ticket {at}") } else { "kernel".to_owned() });
    let other = front(&etcd.endpoint(), &lines);
    let leads = leads_now(&other);
    let is_weighed = |front: &Httpd, weight| members(front).iter().all(|member| member["weight"] == weight);
    let took = wait_until("all orders to hold", SOON, || is_weighed(&other, 7));
    println!("{MEMBERS} orders took {took:?}");
    // On a machine that is busy with other things the lead is lost without them as well.
    let is_idle = took < patience(Duration::from_secs(5));
    assert!(leads_now(&other) == leads || !is_idle, "the lead has changed");
    other.wait_for_log("pool app: member m3: weight 1 -> 7 .by root: ticket 3.$");
    // A store that has lost them gets them back.
    let leads = [&one, &other].map(leads_now);
    etcd.control(&["del", "--prefix", "/lb/test/orders/app/"]);
    wait_until("all orders to be back in the store", LATER, || {
        let keys = etcd.control(&["get", "--prefix", "--keys-only", "/lb/test/orders/app/"]);
        keys.lines().filter(|line| !line.is_empty()).count() == MEMBERS
    });
    assert!([&one, &other].map(leads_now) == leads || !is_idle, "the lead has changed");
    assert!(is_weighed(&one, 7) && is_weighed(&other, 7));
    [&one, &other].iter().for_each(|front| front.assert_no_crash());
}
