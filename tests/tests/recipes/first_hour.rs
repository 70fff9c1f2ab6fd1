// SPDX-License-Identifier: Apache-2.0
//! The pages before the recipes: the first site, and the concepts.

use std::fs;

use server_tests::{Backend, Httpd, Request, wait_until};

use super::{SOON, folder, recipe};

#[test]
fn the_first_site_serves_and_its_script_decides() {
    let [one, two] = Backend::named(["one", "two"]);
    let lines = ["LuaHookTranslate lua/first.lua select", "ProxyPass \"/balancer\" \"!\""];
    let page = fs::read_to_string(folder().join("../getting-started.md")).expect("the page");
    assert!(lines.iter().all(|line| page.contains(line)), "the page has other lines");
    let recipe = recipe("../getting-started.md").at("127.0.0.1:8081", &one).at("127.0.0.1:8082", &two);
    let first = recipe.put(lines[0], ""); // it comes later, into the virtual host
    let site = first.on(Httpd::builder()).start();
    assert_eq!(site.client().sequence("/", 4), ["one", "two", "one", "two"]);
    site.edit_config("ProxyPass \"/\"", &format!("{}\nProxyPass \"/\"", lines.join("\n")));
    let mut site = site;
    site.graceful();
    let status = |path: &str| site.client().get(path).status;
    wait_until("the script to decide", SOON, || status("/old/x") == 410);
    assert_eq!([status("/"), status("/static/x"), status("/balancer/")], [200, 200, 200]);
    assert!(site.client().get("/balancer/").backend().is_empty(), "the page is not the application's");
    assert!(["one", "two"].contains(&site.client().get("/static/x").backend()), "ProxyPass has it");
    one.refuse();
    for _ in 0..6 {
        let response = site.client().send(&Request::post("/", "a body"));
        assert_eq!((response.status, response.backend()), (200, "two"), "a refused request goes to another");
    }
}

#[test]
fn the_pools_of_the_concepts_work_as_they_are_drawn() {
    let backends = Backend::named(["a", "b", "c", "d", "e", "f", "g"]);
    let [a, b, c, d, e, f, g] = &backends;
    let places = [("20", d), ("21", e), ("30", f), ("31", g)];
    let recipe = recipe("../concepts.md").with([a, b, c]);
    let recipe = places
        .into_iter()
        .fold(recipe, |recipe, (end, backend)| recipe.at(&format!("192.168.1.{end}:8080"), backend));
    let httpd = recipe
        .on(Httpd::builder())
        .config("ProxyPass /app lb://app\nProxyPass /checked lb://checked\nProxyPass /sticky lb://sticky")
        .config("<Location /new>\nLuaHookTranslate lua/new.lua select\n</Location>")
        .start();
    assert_eq!(httpd.client().shares("/new", 3)["c"], 3, "the view of version 2");
    assert_eq!(httpd.client().shares("/app/", 14).len(), 3, "all members of the pool");
    let of = |cookie: &str| httpd.client().send(&Request::get("/sticky/").header("Cookie", cookie));
    assert_eq!([of("LB=.a").backend(), of("LB=.b").backend()], ["f", "g"]);
    wait_until("checks of both", SOON, || d.health_checks() > 0 && e.health_checks() > 0);
    g.refuse();
    let moved = of("LB=.b");
    assert_eq!((moved.backend(), moved.header("Set-Cookie").map(|set| &set[..5])), ("f", Some("LB=.a")));
}
