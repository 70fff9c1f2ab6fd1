// SPDX-License-Identifier: Apache-2.0
//! Servers side by side that know of each other by an etcd (`LuaBalancerShare`).

use std::time::Duration;

use serde_json::Value;
use server_tests::{Backend, Etcd, Httpd, Request, Response, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// A server that shares this at an etcd, with these lines besides.
fn front(etcd: &Etcd, share: &str, lines: &str) -> Httpd {
    let endpoint = etcd.endpoint();
    let config = format!("LuaBalancerStore etcd:{endpoint}/lb/test\nLuaBalancerShare {share}\n{lines}");
    let httpd = Httpd::builder().config(&config).start();
    wait_until("the store to be there", SOON, || metric(&httpd, "luabalancer_store_up") == Some(1.0));
    httpd
}

/// The lines of a pool at `/NAME`.
fn pool(name: &str, settings: &str, backend: &Backend, keys: &str) -> String {
    format!(
        "<LuaBalancerPool {name}>\n{settings}\nLuaBalancerMember http://127.0.0.1:{} name=a {keys}\n\
         </LuaBalancerPool>\nProxyPass /{name} lb://{name}\n",
        backend.port()
    )
}

fn metric(httpd: &Httpd, name: &str) -> Option<f64> {
    let text = httpd.socket().get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
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
