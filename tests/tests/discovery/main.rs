// SPDX-License-Identifier: Apache-2.0
//! Members found by sources (`LuaBalancerDiscovery`): files, web servers, names of DNS, and etcd.

mod consul;
mod dns;
mod etcd;
mod guarding;
mod kubernetes;
mod lasting;
mod lua;
mod mixing;
mod web;
mod writing;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use server_tests::{Backend, Builder, Httpd, Request, Response, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// A pool `app` whose members come from `lists/app.json`, and nobody else.
fn found(keys: &str) -> Builder {
    Httpd::builder().config(&pool_of(keys, "")).config("ProxyPass /app lb://app")
}

fn pool_of(keys: &str, lines: &str) -> String {
    format!(
        "<LuaBalancerPool app>\n  LuaBalancerDiscovery file:lists/app.json {keys}\n{lines}\n</LuaBalancerPool>\n"
    )
}

/// The list of these members, as Prometheus' `file_sd` has it.
fn list(members: &[(&Backend, &str)]) -> String {
    let group = |(backend, labels): &(&Backend, &str)| {
        let (port, name) = (backend.port(), backend.name());
        format!("{{\"targets\":[\"127.0.0.1:{port}\"],\"labels\":{{\"name\":\"{name}\"{labels}}}}}")
    };
    format!("[{}]", members.iter().map(group).collect::<Vec<_>>().join(",\n"))
}

fn plain(backends: &[&Backend]) -> String {
    list(&backends.iter().map(|backend| (*backend, "")).collect::<Vec<_>>())
}

fn get(httpd: &Httpd, path: &str) -> Value {
    let response = httpd.socket().get(path);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    serde_json::from_str(&response.text()).expect("JSON")
}

fn send(httpd: &Httpd, method: &str, target: &str, body: &str) -> Response {
    let request = Request::post(target, body).header("Content-Type", "application/json").with_method(method);
    httpd.socket().send(&request)
}

/// The states of the pool's members.
fn states(httpd: &Httpd) -> BTreeMap<String, String> {
    let members = get(httpd, "/api/v1/pools/app/members");
    let members = members.as_array().expect("a list").iter();
    let text = |member: &Value, key: &str| member[key].as_str().expect("a text").to_owned();
    members.map(|member| (text(member, "name"), text(member, "state"))).collect()
}

/// Members that are up, as `a b`.
fn up(httpd: &Httpd) -> String {
    let states = states(httpd).into_iter().filter(|(_, state)| state == "up");
    states.map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

/// Waits until these members are up. Returns how long that took.
fn wait_for_up(httpd: &Httpd, names: &str) -> Duration {
    wait_until(&format!("{names} to be up"), SOON, || up(httpd) == names)
}

fn member(httpd: &Httpd, name: &str) -> Value {
    get(httpd, &format!("/api/v1/pools/app/members/{name}"))
}

/// The row of the pool's first source.
fn source(httpd: &Httpd) -> Value {
    get(httpd, "/api/v1/discovery")["discovery"][0].clone()
}

fn wait_for_state(httpd: &Httpd, state: &str) -> Value {
    wait_until(&format!("the source to be {state}"), SOON, || source(httpd)["state"] == state);
    source(httpd)
}

/// Codes of the warnings that the server shows.
fn warnings(httpd: &Httpd) -> Vec<String> {
    let status = get(httpd, "/api/v1/status");
    let all = status["warnings"].as_array().expect("a list").iter();
    all.map(|warning| warning["code"].as_str().expect("a code").to_owned()).collect()
}
