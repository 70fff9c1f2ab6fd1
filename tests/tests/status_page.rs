// SPDX-License-Identifier: Apache-2.0
//! The pools as mod_status shows them.

use std::collections::BTreeMap;

use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool};

const STATUS: &str = "ExtendedStatus on\n<Location /status>\nSetHandler server-status\n</Location>";

fn lines(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn pools_are_in_the_page_and_in_its_lines(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .mpm(mpm)
        .config(&pool("app", &[(&a, ""), (&b, "status=+D")], ""))
        .config(
            "ProxyPass /app lb://app\n<Proxy balancer://stock>\nBalancerMember http://127.0.0.1:9\n</Proxy>",
        )
        .config("ProxyPass /stock balancer://stock")
        .module("slotmem_shm")
        .module("proxy_balancer")
        .module("lbmethod_byrequests")
        .config("ProxyStatus On")
        .config(STATUS)
        .start();
    for _ in 0..3 {
        assert_eq!(httpd.client().get("/app/").status, 200);
    }
    let found = lines(&httpd.client().get("/status?auto").text());
    let (url_a, url_b) = (a.url(), b.url());
    for (key, value) in [
        ("LuaBalancerPool[0]Name", "app"),
        ("LuaBalancerPool[0]Members", "2"),
        ("LuaBalancerPool[0]Usable", "1"),
        ("LuaBalancerPool[0]Member[1]State", "disabled"),
        ("ProxyBalancer[0]Name", "balancer://stock"),
        ("ProxyBalancer[1000]Name", "lb://app"),
        ("ProxyBalancer[1000]Worker[0]Name", url_a.as_str()),
        ("ProxyBalancer[1000]Worker[0]Status", "Init Ok "),
        ("ProxyBalancer[1000]Worker[0]Elected", "3"),
        ("ProxyBalancer[1000]Worker[0]Busy", "0"),
        ("ProxyBalancer[1000]Worker[1]Name", url_b.as_str()),
        ("ProxyBalancer[1000]Worker[1]Status", "Init Dis "),
        ("ProxyBalancer[1000]Worker[1]Elected", "0"),
    ] {
        assert_eq!(found.get(key).map(String::as_str), Some(value), "{key} in {found:#?}");
    }
    // mod_proxy's own lines have the same keys.
    let keys = |number: usize| {
        let start = format!("ProxyBalancer[{number}]");
        let own =
            found.keys().filter_map(|key| key.strip_prefix(&start)).filter(|key| !key.contains("Worker[1]"));
        own.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(keys(1000), keys(0));
    let page = httpd.client().get("/status").text();
    for text in
        ["Lua balancer pool app", "1 of 2 members usable", &format!("<td>{url_a}</td>"), "<td>disabled</td>"]
    {
        assert!(page.contains(text), "{text} in {page}");
    }
    httpd.assert_no_crash();
}

on_every_mpm!(pools_are_in_the_page_and_in_its_lines);

#[test]
fn a_server_without_pools_has_the_page_that_it_had() {
    let httpd = Httpd::builder().config(STATUS).start();
    let text = httpd.client().get("/status?auto").text();
    assert!(!text.contains("Balancer["), "{text}");
    let httpd = Httpd::builder().without("status").start();
    assert_eq!(httpd.client().get("/").status, 404);
}
