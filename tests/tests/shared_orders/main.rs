// SPDX-License-Identifier: Apache-2.0
//! Orders that several servers share by an etcd: many of them, many writers, and stores that are
//! away, lost or hostile.

mod many;

use std::time::Duration;

use serde_json::Value;
use server_tests::{Httpd, Response, wait_until};

const SOON: Duration = Duration::from_secs(30);

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
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value
}

fn json(response: &Response) -> Value {
    serde_json::from_str(&response.text()).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

fn members(httpd: &Httpd) -> Vec<Value> {
    let document = json(&httpd.socket().get("/api/v1/pools/app"));
    document["members"].as_array().expect("a list").clone()
}
