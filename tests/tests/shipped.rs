// SPDX-License-Identifier: Apache-2.0
//! Every script of the folder `lua/` in a real httpd, configured as its first lines say.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, Request, Response, patience, pool, wait_until};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../lua")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).expect("a shipped script")
}

/// Not a test of one (`lbctl test`).
fn is_script(name: &str) -> bool {
    name.ends_with(".lua") && !name.ends_with("_test.lua")
}

/// A server with the scripts of `lua/` at their usual place under ServerRoot.
fn with_scripts(hook: &str) -> Builder {
    let scripts = fs::read_dir(folder()).expect("the folder lua").flatten();
    let names = scripts.filter_map(|entry| entry.file_name().into_string().ok());
    let copied = names.filter(|name| is_script(name));
    copied
        .fold(Httpd::builder(), |builder, name| builder.file(&format!("lua/{name}"), &text(&name)))
        .config(hook)
}

fn ask(httpd: &Httpd, target: &str, headers: &[(&str, &str)]) -> Response {
    let request =
        headers.iter().fold(Request::get(target), |request, (key, value)| request.header(key, value));
    httpd.client().send(&request)
}

fn backend(httpd: &Httpd, target: &str, headers: &[(&str, &str)]) -> String {
    ask(httpd, target, headers).backend().to_owned()
}

#[test]
fn every_shipped_script_has_a_test_here() {
    let source = include_str!("shipped.rs");
    for entry in fs::read_dir(folder()).expect("the folder lua").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        if is_script(&name) {
            let line =
                text(&name).lines().find_map(|line| line.strip_prefix("--   LuaHook").map(str::to_owned));
            let line = line.unwrap_or_else(|| panic!("{name} does not say how it is configured"));
            assert!(
                source.contains(&format!("LuaHook{line}")),
                "{name}: nothing is configured as LuaHook{line}"
            );
        }
    }
}

#[test]
fn balancer() {
    let [one, two, api] = Backend::named(["one", "two", "api"]);
    let httpd = with_scripts("LuaHookTranslate lua/balancer.lua select")
        .file("htdocs/static/a.css", "body {}")
        .config(&pool("app", &[(&one, "meta.version=1"), (&two, "meta.version=2")], ""))
        .config(&pool("api", &[(&api, "")], ""))
        .start();
    assert_eq!(ask(&httpd, "/static/a.css", &[]).text(), "body {}");
    assert_eq!(backend(&httpd, "/api/x", &[]), "api");
    for _ in 0..4 {
        assert_eq!(backend(&httpd, "/", &[("Cookie", "beta=1")]), "two");
    }
    let mut client = httpd.client();
    let seen: BTreeSet<String> = client.sequence("/", 8).into_iter().collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn weighted() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let with_weight = |weight: u32| {
        let mut script = text("weighted.lua");
        for (host, backend) in [("192.168.1.10", &a), ("192.168.1.11", &b), ("192.168.1.12", &c)] {
            let (from, to) =
                (format!("\"{host}\", port = 8080"), format!("\"127.0.0.1\", port = {}", backend.port()));
            assert!(script.contains(&from));
            script = script.replace(&from, &to);
        }
        script.replace("weight = 2", &format!("weight = {weight}"))
    };
    let httpd = with_scripts("LuaHookTranslate lua/weighted.lua select")
        .file("lua/weighted.lua", &with_weight(2))
        .start();
    let shares = httpd.client().shares("/", 40);
    assert_eq!(
        shares.into_iter().collect::<Vec<_>>(),
        [("a".into(), 10), ("b".into(), 20), ("c".into(), 10)]
    );
    httpd.write("lua/weighted.lua", &with_weight(0));
    wait_until("the saved weight", Duration::from_secs(5), || {
        !httpd.client().shares("/", 10).contains_key("b")
    });
}

#[test]
fn by_path() {
    let [api, static_files, app] = Backend::named(["api", "static", "app"]);
    let httpd = with_scripts("LuaHookTranslate lua/by_path.lua select")
        .config(&pool("api", &[(&api, "")], ""))
        .config(&pool("static", &[(&static_files, "")], ""))
        .config(&pool("app", &[(&app, "")], ""))
        .file("htdocs/here.txt", "httpd's own")
        .start();
    for (path, name) in
        [("/api/x", "api"), ("/images/x.png", "static"), ("/css/x.css", "static"), ("/app/", "app")]
    {
        assert_eq!(backend(&httpd, path, &[]), name, "{path}");
    }
    assert_eq!(ask(&httpd, "/here.txt", &[]).text(), "httpd's own");
}

#[test]
fn least_connections() {
    let [near, far] = Backend::named(["near", "far"]);
    let httpd = with_scripts("LuaHookTranslate lua/least_connections.lua select")
        .config(&pool("app", &[(&near, "zone=eu"), (&far, "zone=us")], ""))
        .start();
    for _ in 0..4 {
        assert_eq!(backend(&httpd, "/", &[("X-Zone", "eu")]), "near");
        assert_eq!(backend(&httpd, "/", &[("X-Zone", "us")]), "far");
    }
    assert!(!backend(&httpd, "/", &[("X-Zone", "moon")]).is_empty());
}

#[test]
fn canary() {
    let [stable, canary] = Backend::named(["stable", "canary"]);
    let httpd = with_scripts("LuaHookTranslate lua/canary.lua select")
        .config(&pool("app", &[(&stable, "meta.track=stable"), (&canary, "meta.track=canary")], ""))
        .start();
    for track in ["stable", "canary"] {
        assert_eq!(backend(&httpd, "/", &[("Cookie", &format!("track={track}"))]), track);
    }
    let first = backend(&httpd, "/", &[]);
    assert!((0..10).all(|_| backend(&httpd, "/", &[]) == first), "a client stays on its track");
}

#[test]
fn geo() {
    let [china, usa, rest] = Backend::named(["china", "usa", "rest"]);
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let httpd = with_scripts("LuaHookTranslate lua/geo.lua select")
        .module("remoteip")
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .config(&format!("LuaBalancerGeoIP {database}"))
        .config(&pool("app", &[(&china, "zone=china"), (&usa, "zone=usa"), (&rest, "zone=rest")], ""))
        .start();
    for (address, name) in [("175.16.199.1", "china"), ("216.160.83.56", "usa"), ("81.2.69.142", "rest")] {
        assert_eq!(backend(&httpd, "/", &[("X-Forwarded-For", address)]), name);
    }
}

#[test]
fn by_header() {
    let [one, two] = Backend::named(["one", "two"]);
    let httpd = with_scripts("LuaHookTranslate lua/by_header.lua select")
        .config(&pool("app", &[(&one, "meta.version=1"), (&two, "meta.version=2")], ""))
        .start();
    assert_eq!(backend(&httpd, "/", &[]), "one");
    assert_eq!(backend(&httpd, "/", &[("X-App-Version", "2"), ("Cookie", "app_version=1")]), "two");
    assert_eq!(backend(&httpd, "/", &[("Cookie", "app_version=2")]), "two");
    assert_eq!(backend(&httpd, "/", &[("X-App-Version", "3")]), "one");
}

#[test]
fn sticky_canary() {
    let [stable, canary] = Backend::named(["stable", "canary"]);
    let share =
        |percent: u32| text("sticky_canary.lua").replace("PERCENT = 5", &format!("PERCENT = {percent}"));
    let httpd = with_scripts("LuaHookTranslate lua/sticky_canary.lua select")
        .file("lua/sticky_canary.lua", &share(100))
        .config(&pool("app", &[(&stable, "meta.track=stable"), (&canary, "meta.track=canary")], ""))
        .start();
    let first = ask(&httpd, "/", &[]);
    assert_eq!(first.backend(), "canary");
    let cookie = first.header("Set-Cookie").expect("a cookie").split(';').next().expect("a pair").to_owned();
    assert_eq!(ask(&httpd, "/", &[("Cookie", &cookie)]).header("Set-Cookie"), None);
    httpd
        .write("lua/sticky_canary.lua", &text("sticky_canary.lua").replace("% 100 >= PERCENT", "% 100 >= 0"));
    wait_until("the share to become nothing for new clients", Duration::from_secs(5), || {
        (0..8).all(|_| backend(&httpd, "/", &[]) == "stable")
    });
    assert_eq!(backend(&httpd, "/", &[("Cookie", &cookie)]), "canary", "who was in stays in");
    httpd.write("lua/sticky_canary.lua", &share(0));
    wait_until("the end of the canary", Duration::from_secs(5), || {
        (0..8).all(|_| backend(&httpd, "/", &[("Cookie", &cookie)]) == "stable")
    });
}

#[test]
fn blue_green() {
    let [blue, green] = Backend::named(["blue", "green"]);
    let httpd = with_scripts("LuaHookTranslate lua/blue_green.lua select")
        .config(&pool("app", &[(&blue, "meta.colour=blue"), (&green, "meta.colour=green")], ""))
        .start();
    let live =
        |colour: &str| text("blue_green.lua").replace("LIVE = \"blue\"", &format!("LIVE = \"{colour}\""));
    assert_eq!(backend(&httpd, "/", &[]), "blue");
    assert_eq!(backend(&httpd, "/", &[("Cookie", "colour=green")]), "green");
    httpd.write("lua/blue_green.lua", &live("gren"));
    httpd.wait_for_log(r"\[lua_balancer:error\].*blue_green\.lua.*expected blue or green, found gren");
    assert_eq!(backend(&httpd, "/", &[]), "blue");
    httpd.write("lua/blue_green.lua", &live("green"));
    let took = wait_until("the switch", Duration::from_secs(5), || {
        (0..8).all(|_| backend(&httpd, "/", &[]) == "green")
    });
    assert!(took < patience(Duration::from_millis(1500)), "{took:?}");
}

#[test]
fn hash_by_user() {
    let backends = Backend::named(["a", "b", "c", "d"]);
    let members: Vec<(&Backend, &str)> = backends.iter().map(|backend| (backend, "")).collect();
    // Passwords are "pw".
    let users: String = (0..8).map(|n| format!("user{n}:{{SHA}}GpHWL3ymc5liWkNopqtdSjuqYHM=\n")).collect();
    let httpd = with_scripts("LuaHookSelect lua/hash_by_user.lua select")
        .module("remoteip")
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .file("users", &users)
        .config("<Location /private>\nAuthType Basic\nAuthName x\nAuthUserFile users\nRequire valid-user\n</Location>")
        .config(&pool("app", &members, ""))
        .start();
    assert_eq!(ask(&httpd, "/private/x", &[("X-Api-Key", "k")]).status, 401);
    let mut used = BTreeSet::new();
    for n in 0..8 {
        let credentials = format!("Basic {}", base64(&format!("user{n}:pw")));
        let login = ("Authorization", credentials.as_str());
        let home = backend(&httpd, "/private/x", &[login]);
        for m in 0..6 {
            let address = format!("192.0.2.{m}");
            let headers = [login, ("X-Forwarded-For", &address), ("X-Api-Key", &address)];
            assert_eq!(backend(&httpd, &format!("/private/{m}"), &headers), home, "user{n} stays");
        }
        used.insert(home);
    }
    assert!(used.len() > 1, "users are spread: {used:?}");
    let by_key = |key: &str, address: &str| {
        backend(&httpd, "/open", &[("X-Api-Key", key), ("X-Forwarded-For", address)])
    };
    for key in ["k1", "k2", "k3"] {
        assert_eq!(by_key(key, "192.0.2.1"), by_key(key, "192.0.2.99"));
    }
    assert!(!backend(&httpd, "/open", &[]).is_empty());
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS[(bits & 63) as usize] as char;
    let chunks = text.as_bytes().chunks(3).map(|chunk| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let all: String = [18, 12, 6, 0].iter().map(|shift| digit(bits >> shift)).collect();
        format!("{}{}", &all[..chunk.len() + 1], &"=="[..3 - chunk.len()])
    });
    chunks.collect()
}

#[test]
fn tenants() {
    let [acme, globex] = Backend::named(["acme", "globex"]);
    let httpd = with_scripts("LuaHookTranslate lua/tenants.lua select")
        .config(&pool("acme", &[(&acme, "")], ""))
        .config(&pool("globex", &[(&globex, "")], ""))
        .start();
    let host = |name: &str| ask(&httpd, "/", &[("Host", name)]);
    assert_eq!(host("acme.example.org").backend(), "acme");
    assert_eq!(host("WWW.acme.example.org:8080").backend(), "acme");
    assert_eq!(host("globex.example.org").backend(), "globex");
    assert_eq!(host("example.org").status, 421);
    acme.refuse();
    assert_eq!(host("acme.example.org").status, 503, "another tenant's members do not stand in");
    assert_eq!(globex.requests(), 1);
}

#[test]
fn time_of_day() {
    let [day, night] = Backend::named(["day", "night"]);
    let always = |hours: &str| {
        let text = text("time_of_day.lua");
        text.replace("CLOSES = 8, 18", &format!("CLOSES = {hours}"))
            .replace("LAST_DAY = 2, 6", "LAST_DAY = 1, 7")
    };
    let httpd = with_scripts("LuaHookTranslate lua/time_of_day.lua select")
        .config(&pool("day", &[(&day, "")], ""))
        .config(&pool("night", &[(&night, "")], ""))
        .start();
    let working = || {
        let hours = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() / 3600 + 1;
        // 1970 began on a Thursday.
        let (weekday, hour) = ((hours / 24 + 4) % 7, hours % 24);
        (1..=5).contains(&weekday) && (8..18).contains(&hour)
    };
    let before = working();
    let seen = backend(&httpd, "/", &[]);
    if working() == before {
        assert_eq!(seen, if before { "day" } else { "night" });
    }
    for (hours, name) in [("0, 24", "day"), ("24, 24", "night")] {
        httpd.write("lua/time_of_day.lua", &always(hours));
        wait_until("the saved hours", Duration::from_secs(5), || {
            (0..8).all(|_| backend(&httpd, "/", &[]) == name)
        });
    }
}

#[test]
fn shedding() {
    let a = Backend::new("a");
    let httpd = with_scripts("LuaHookTranslate lua/shedding.lua select")
        .file("lua/shedding.lua", &text("shedding.lua").replace("MOST = 20", "MOST = 2"))
        .with_member_states()
        .config(&pool("app", &[(&a, "")], ""))
        .start();
    assert_eq!(backend(&httpd, "/reports", &[]), "a");
    a.hang();
    let port = httpd.port();
    let send =
        |target: &'static str| thread::spawn(move || server_tests::Client::new(port).get(target).status);
    let mut waiting = vec![send("/1"), send("/2")];
    wait_until("two requests in flight", Duration::from_secs(10), || httpd.inflight("app") == 2);
    let shed = ask(&httpd, "/reports/all", &[]);
    assert_eq!((shed.status, shed.header("Retry-After")), (503, Some("5")));
    assert_eq!(ask(&httpd, "/", &[("X-Priority", "low")]).status, 503);
    waiting.push(send("/3"));
    wait_until("what cannot wait is let in", Duration::from_secs(10), || httpd.inflight("app") == 3);
    a.answer();
    for request in waiting {
        assert_eq!(request.join().expect("a client"), 200);
    }
    wait_until("all are answered", Duration::from_secs(10), || httpd.inflight("app") == 0);
    assert_eq!(backend(&httpd, "/reports", &[]), "a");
}

#[test]
fn shadow() {
    let [a, b] = Backend::named(["a", "b"]);
    let candidate = |body: &str| {
        let script = text("shadow.lua");
        let line = "return app:consistent_hash(r.useragent_ip)";
        assert!(script.contains(line));
        script.replace(line, body)
    };
    // The header of its directives: LuaHookFinish lua/shadow.lua finish
    let httpd = with_scripts("LuaHookTranslate lua/shadow.lua select\nLuaHookFinish lua/shadow.lua finish")
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .start();
    let home = backend(&httpd, "/", &[]);
    let other = if home == "a" { "b" } else { "a" };
    for (n, (body, line)) in [
        (format!("return app:member(\"{other}\")"), format!("went to {home}, the candidate says {other}")),
        ("error(\"oh no\")".to_owned(), "the candidate fails: .*oh no".to_owned()),
        ("while true do end".to_owned(), "shadow\\.lua.*(time|limit)".to_owned()),
        ("r.uri = \"/changed\" return 500".to_owned(), "the candidate says 500".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        httpd.write("lua/shadow.lua", &candidate(&body));
        wait_until(&format!("a line about candidate {n}"), Duration::from_secs(10), || {
            let response = ask(&httpd, "/x", &[]);
            assert_eq!((response.status, response.backend()), (200, home.as_str()), "{body}");
            httpd.count_log(&line) > 0
        });
    }
    httpd.assert_no_crash();
}
