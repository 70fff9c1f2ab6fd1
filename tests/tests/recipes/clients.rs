// SPDX-License-Identifier: Apache-2.0
//! Recipes that look at the client: its address, cookie, header or host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use server_tests::{Backend, Httpd, Request, Response, wait_until};

use super::{SOON, from, of_any_address, recipe};

/// Addresses of clients, each another one.
fn addresses(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|nth| format!("203.0.{}.{}", nth / 250, nth % 250 + 1))
}

fn with_header(httpd: &Httpd, address: &str, name: &str, value: &str) -> String {
    let request = Request::get("/x").header("X-Forwarded-For", address).header(name, value);
    httpd.client().send(&request).backend().to_owned()
}

fn cookie(response: &Response) -> String {
    let set = response.header("Set-Cookie").unwrap_or_else(|| panic!("no cookie in {response:?}"));
    set.split(';').next().expect("a pair").to_owned()
}

#[test]
fn a_session_stays_at_its_member_until_that_is_out() {
    let [one, two] = Backend::named(["one", "two"]);
    let recipe = recipe("sticky-sessions.md").with([&one, &two]);
    let httpd = recipe.on(Httpd::builder().with_acts()).start();
    let first = httpd.client().get("/");
    let (own, session) = (first.backend().to_owned(), cookie(&first));
    assert_eq!(session, format!("LB=.{own}"));
    let again = |session: &str| httpd.client().send(&Request::get("/").header("Cookie", session));
    for _ in 0..10 {
        let response = again(&session);
        assert_eq!((response.backend(), response.header("Set-Cookie")), (&*own, None));
    }
    httpd.act(&format!("app/drain/{own}"));
    assert_eq!(again(&session).backend(), own, "a drained member keeps its clients");
    let strangers: BTreeSet<_> = (0..10).map(|_| httpd.client().get("/").backend().to_owned()).collect();
    assert!(!strangers.contains(&own), "a drained member gets no new clients");
    let (its, other) = if own == "one" { (&one, &two) } else { (&two, &one) };
    its.refuse();
    let moved = again(&session);
    assert_eq!((moved.status, moved.backend()), (200, other.name()));
    assert_eq!(cookie(&moved), format!("LB=.{}", other.name()));
}

#[test]
fn one_client_in_ten_gets_the_canary_and_falls_back_when_it_refuses() {
    let [one, two, new] = Backend::named(["one", "two", "new"]);
    let httpd = recipe("canary.md").with([&one, &two, &new]).on(of_any_address()).start();
    let served: BTreeMap<_, _> = addresses(400)
        .map(|address| (address.clone(), from(&httpd, &address, "/").backend().to_owned()))
        .collect();
    let chosen: Vec<_> =
        served.iter().filter(|(_, backend)| *backend == "new").map(|(address, _)| address).collect();
    assert!((20..=60).contains(&chosen.len()), "{} of 400 clients", chosen.len());
    for address in &chosen {
        assert_eq!(from(&httpd, address, "/again").backend(), "new", "{address}");
    }
    let usual = served.keys().find(|address| !chosen.contains(address)).expect("a client of the old version");
    assert_eq!(with_header(&httpd, usual, "X-Track", "canary"), "new");
    assert_ne!(with_header(&httpd, chosen[0], "X-Track", "stable"), "new");
    let script = super::recipe("canary.md").scripts.remove(0).1;
    let percent = |percent: u32| {
        httpd.write("lua/share.lua", &script.replace("PERCENT = 10", &format!("PERCENT = {percent}")));
    };
    percent(0);
    wait_until("the canary's end", SOON, || from(&httpd, chosen[0], "/").backend() != "new");
    assert_eq!(with_header(&httpd, usual, "X-Track", "canary"), "new", "it is there to be tried");
    percent(100);
    wait_until("the canary for all", SOON, || from(&httpd, usual, "/").backend() == "new");
    new.refuse();
    for address in served.keys().take(40) {
        let response = from(&httpd, address, "/");
        assert_eq!(response.status, 200, "{address}");
        assert!(["one", "two"].contains(&response.backend()), "{address}: {response:?}");
    }
}

#[test]
fn a_saved_line_switches_from_blue_to_green() {
    let backends = Backend::named(["b1", "b2", "g1", "g2"]);
    let [b1, b2, g1, g2] = &backends;
    let httpd = recipe("blue-green.md").with([b1, b2, g1, g2]).on(of_any_address()).start();
    let seen = |n: usize| -> BTreeSet<String> {
        (0..n).map(|_| from(&httpd, "203.0.113.9", "/").backend()[..1].to_owned()).collect()
    };
    let is_live = |colour: &str| seen(6) == BTreeSet::from([colour.to_owned()]);
    assert!(is_live("b"));
    assert!(
        with_header(&httpd, "192.168.7.7", "X-Colour", "green").starts_with('g'),
        "a colleague sees the idle set"
    );
    assert!(with_header(&httpd, "203.0.113.9", "X-Colour", "green").starts_with('b'), "a stranger does not");
    let script = super::recipe("blue-green.md").scripts.remove(0).1;
    httpd.write("lua/live.lua", &script.replace("LIVE = \"blue\"", "LIVE = \"gren\""));
    httpd.wait_for_log("expected blue or green, found gren");
    assert!(is_live("b"), "a typing error is refused");
    httpd.write("lua/live.lua", &script.replace("LIVE = \"blue\"", "LIVE = \"green\""));
    wait_until("the switch", SOON, || is_live("g"));
}

#[test]
fn clients_are_served_in_their_country_or_anywhere() {
    let [china, usa, rest] = Backend::named(["china", "usa", "rest"]);
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let recipe = recipe("geography.md").with([&china, &usa, &rest]);
    let builder = of_any_address();
    let own = builder.dir().join("city.mmdb");
    std::fs::copy(Path::new(database), &own).expect("copy the database");
    let recipe = recipe.put("/var/lib/GeoIP/GeoLite2-City.mmdb", own.to_str().expect("a path"));
    let httpd = recipe.on(builder).start();
    for (address, near) in
        [("175.16.199.1", "china"), ("216.160.83.56", "usa"), ("81.2.69.142", "rest"), ("10.0.0.1", "rest")]
    {
        assert_eq!(from(&httpd, address, "/").backend(), near, "{address}");
    }
    china.refuse();
    let response = from(&httpd, "175.16.199.1", "/");
    assert_eq!(response.status, 200);
    assert_ne!(response.backend(), "china");
}

#[test]
fn a_tenant_gets_its_own_members_and_nobody_elses() {
    let [acme, globex, second] = Backend::named(["acme", "globex", "globex-2"]);
    let httpd = recipe("tenants.md").with([&acme, &globex, &second]).start();
    let of = |host: &str| httpd.client().send(&Request::get("/").header("Host", host));
    for host in ["acme.example.org", "WWW.acme.example.org", "acme.example.org.", "acme.example.org:80"] {
        assert_eq!(of(host).backend(), "acme", "{host}");
    }
    let both: BTreeSet<_> = (0..4).map(|_| of("globex.example.org").backend().to_owned()).collect();
    assert_eq!(both, BTreeSet::from(["globex".to_owned(), "globex-2".to_owned()]));
    for host in ["example.org", "acme", "globex", "acme.example.org.evil.test"] {
        assert_eq!(of(host).status, 421, "{host}");
    }
    let nameless = httpd.client().try_send_raw(b"GET / HTTP/1.0\r\n\r\n").expect("an answer");
    assert_eq!(nameless.status, 421, "a request without a host");
    acme.refuse();
    assert_eq!(of("acme.example.org").status, 503, "another tenant's member is no help");
}

#[test]
fn a_file_shows_the_maintenance_page_to_all_but_the_inner_network() {
    let [one, two] = Backend::named(["one", "two"]);
    let builder = of_any_address().file("htdocs/maintenance.html", "back at noon");
    let (flag, root) = (builder.dir().join("maintenance"), builder.dir().join("htdocs"));
    let recipe = recipe("maintenance.md")
        .with([&one, &two])
        .put("/etc/apache2/maintenance", flag.to_str().expect("a path"))
        .put("/var/www/html", root.to_str().expect("a path"));
    let httpd = recipe.on(builder).start();
    let outside = |path: &str| from(&httpd, "203.0.113.9", path);
    assert_eq!(outside("/").status, 200);
    httpd.write("maintenance", "");
    for path in ["/", "/any/page?x=1"] {
        let response = outside(path);
        assert_eq!((response.status, &*response.text()), (503, "back at noon"), "{path}");
        assert_eq!(response.header("Retry-After"), Some("600"), "{path}");
    }
    let response = from(&httpd, "192.168.7.7", "/");
    assert_eq!((response.status, response.backend().is_empty()), (200, false), "who works on it gets in");
    assert_eq!(response.header("Retry-After"), None);
    std::fs::remove_file(flag).expect("remove the flag");
    assert_eq!(outside("/").status, 200);
    one.refuse();
    two.refuse();
    assert_eq!((outside("/").status, &*outside("/").text()), (503, "back at noon"), "no member is there");
}

#[test]
fn a_client_behind_a_known_proxy_has_its_own_address() {
    let backends = Backend::named(["a", "b", "c"]);
    let serving = |proxy: &str| {
        let [a, b, c] = &backends;
        let recipe = recipe("behind-a-proxy.md").with([a, b, c]).put("192.168.1.1\n", &format!("{proxy}\n"));
        recipe.start()
    };
    let httpd = serving("127.0.0.1");
    let served: BTreeMap<_, _> = addresses(60)
        .map(|address| (address.clone(), from(&httpd, &address, "/").backend().to_owned()))
        .collect();
    let used: BTreeSet<_> = served.values().collect();
    assert_eq!(used.len(), 3, "clients are spread: {used:?}");
    for (address, backend) in &served {
        assert_eq!(from(&httpd, address, "/again").backend(), backend, "{address}");
        let claimed = format!("198.51.100.1, {address}");
        assert_eq!(from(&httpd, &claimed, "/").backend(), backend, "a claim before it does not count");
    }
    let httpd = serving("192.0.2.1");
    let used: BTreeSet<_> =
        addresses(60).map(|address| from(&httpd, &address, "/").backend().to_owned()).collect();
    assert_eq!(used.len(), 1, "an unknown proxy is not believed: {used:?}");
}
