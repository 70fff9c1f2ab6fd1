// SPDX-License-Identifier: Apache-2.0
//! Orders that several servers share by an etcd: many of them, many writers, and stores that are
//! away, lost or hostile.

mod apart;
mod hostile;
mod many;
mod outage;
mod restarted;
mod warned;

use std::time::Duration;

use serde_json::Value;
use server_tests::{Backend, Etcd, Httpd, Request, Response, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// The line of a member that this backend answers for.
fn line(backend: &Backend) -> String {
    format!("LuaBalancerMember http://127.0.0.1:{} name={}\n", backend.port(), backend.name())
}

/// A server with a pool `app` of these lines, which shares its orders at these endpoints. Returns
/// once the store has answered.
fn front(endpoints: &str, members: &str) -> Httpd {
    let config = format!(
        "LuaBalancerStore etcd:{endpoints}/lb/test\nLuaBalancerShare orders\nLuaBalancerMaxMembers 4000\n\
         <LuaBalancerPool app>\n{members}</LuaBalancerPool>\nProxyPass /app lb://app"
    );
    let httpd = Httpd::builder().config(&config).start();
    wait_until("the store to be there", SOON, || number(&httpd, "luabalancer_store_up") == Some(1));
    httpd
}

/// A metric without labels.
fn number(httpd: &Httpd, name: &str) -> Option<u64> {
    let text = httpd.socket().get("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn json(response: &Response) -> Value {
    serde_json::from_str(&response.text()).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

fn members(httpd: &Httpd) -> Vec<Value> {
    let document = json(&httpd.socket().get("/api/v1/pools/app"));
    document["members"].as_array().expect("a list").clone()
}

fn member(httpd: &Httpd, name: &str) -> Value {
    json(&httpd.socket().get(&format!("/api/v1/pools/app/members/{name}")))
}

fn patch(httpd: &Httpd, name: &str, body: &str) -> Response {
    let (name, query) = name.split_once('?').unwrap_or((name, ""));
    httpd.socket().send(&Request::json("PATCH", &format!("/api/v1/pools/app/members/{name}?{query}"), body))
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

/// The warnings of one kind, as they stand in `/api/v1/status`.
fn warnings(httpd: &Httpd, code: &str) -> Vec<String> {
    let document = json(&httpd.socket().get("/api/v1/status"));
    let all = document["warnings"].as_array().expect("a list").clone();
    let of_code = all.iter().filter(|warning| warning["code"] == code);
    of_code.map(|warning| warning["message"].as_str().expect("a text").to_owned()).collect()
}
