// SPDX-License-Identifier: Apache-2.0
//! The page in a real Chromium: `make test-page`, which knows where Chromium and its driver are.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Request, pool};

const MARKUP: &str = "<img src=x onerror=alert(1)>";
const PLACE: &str = "<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\n</Location>";

/// Runs a script of tests/page against this server.
fn browse(httpd: &Httpd, script: &str, members: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    let modules = folder.join("../../target/page/node_modules");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    let ended = Command::new("node")
        .arg(folder.join(script))
        .env("PAGE", format!("http://127.0.0.1:{}/lb/", httpd.port()))
        .env("CHROMIUM", chromium)
        .env("MEMBERS", members.to_string())
        .env("NODE_PATH", std::env::var_os("PAGE_MODULES").unwrap_or_else(|| modules.into_os_string()))
        .output()
        .expect("node runs");
    let [out, err] = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    println!("{out}");
    assert!(ended.status.success(), "{script}: {}\n{out}\n{err}", ended.status);
    httpd.assert_no_crash();
}

fn three(backends: &[Backend; 3]) -> Builder {
    let [a, b, c] = backends;
    Httpd::builder().config(&pool("app", &[(a, ""), (b, ""), (c, "")], "")).config(PLACE)
}

fn patch(httpd: &Httpd, member: &str, body: &str) {
    patch_in(httpd, &format!("app/members/{member}"), body);
}

fn patch_in(httpd: &Httpd, member: &str, body: &str) {
    let request = Request::json("PATCH", &format!("/lb/api/v1/pools/{member}"), body);
    let response = httpd.client().send(&request);
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn members_are_steered_one_by_one_and_together_and_taken_back() {
    let httpd = three(&Backend::named(["a", "b", "c"])).start();
    browse(&httpd, "steering.cjs", 3);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn everything_can_be_done_by_keyboard() {
    let httpd = three(&Backend::named(["a", "b", "c"])).start();
    browse(&httpd, "keyboard.cjs", 3);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn it_is_read_without_a_script_and_no_text_is_markup() {
    let [a, b, c, d] = Backend::named(["a", "b", "c", "d"]);
    let members = [(&a, "meta.version=2"), (&b, ""), (&c, ""), (&d, "")];
    let httpd = Httpd::builder()
        .config(&pool("app", &members, "LuaBalancerMethod round_robin"))
        .config(PLACE)
        .config("ProxyPass /app lb://app\nLuaHookSelect balancer.lua")
        .file("balancer.lua", "function select(r) return nil end\n")
        .start();
    patch(&httpd, "b", &format!("{{\"admin\":\"drain\",\"note\":\"{MARKUP}\"}}"));
    patch(&httpd, "a", &format!("{{\"meta\":{{\"version\":\"{MARKUP}\"}}}}"));
    assert_eq!(httpd.client().get("/app/").status, 200);
    httpd.write("balancer.lua", &format!("{MARKUP}\n"));
    httpd.wait_for_log("balancer.lua.*refused|refused.*balancer.lua|balancer.lua:1");
    browse(&httpd, "reading.cjs", 4);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn pages_of_other_sites_and_askers_without_a_right_change_nothing() {
    let httpd = three(&Backend::named(["a", "b", "c"]))
        .config("<Location /off>\nSetHandler lua-balancer\n</Location>")
        .config("<Location /user>\nSetHandler lua-balancer\nLuaBalancerAdmin on\n</Location>")
        .file("htdocs/elsewhere.html", "<!DOCTYPE html><title>elsewhere</title><body></body>")
        .start();
    browse(&httpd, "refused.cjs", 3);
}

/// Three pools under load, one member of each in another state. Runs only where somebody says
/// where the pictures go (scripts/page-pictures).
#[test]
#[ignore = "needs Chromium: scripts/page-pictures"]
fn pictures_of_the_documents() {
    if std::env::var_os("PICTURES").is_none() {
        return;
    }
    let names = ["eu-1", "eu-2", "us-1", "search-1", "search-2", "api-1", "api-2"];
    let backends = Backend::named(names);
    let [eu1, eu2, us1, search1, search2, api1, api2] = &backends;
    let checked = "LuaBalancerHealthCheck http uri=/health interval=1s fall=2";
    for (backend, millis) in backends.iter().zip([8, 9, 21, 35, 33, 5, 6]) {
        backend.slow(Duration::from_millis(millis));
    }
    search2.health_status(503);
    let shop = [(eu1, "weight=5 zone=eu"), (eu2, "weight=5 zone=eu"), (us1, "weight=2 zone=us")];
    let httpd = Httpd::builder()
        .config(&pool("shop", &shop, &format!("LuaBalancerMethod least_connections\n{checked}")))
        .config(&pool("search", &[(search1, ""), (search2, "")], checked))
        .config(&pool("api", &[(api1, ""), (api2, "")], "LuaBalancerMethod power_of_two"))
        .config(PLACE)
        .config("ProxyPass /search lb://search\nProxyPass /api lb://api\nLuaHookSelect balancer.lua\nProxyPass /lb !\nProxyPass / lb://shop/")
        .file("balancer.lua", "function select(r) return nil end\n")
        .start();
    httpd.wait_for_log("search-2.*down");
    let order = r#"{"admin":"drain","until":"30m","note":"deploy 42"}"#;
    patch_in(&httpd, "shop/members/us-1", order);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (httpd, over) = (&httpd, &over);
            scope.spawn(move || {
                let mut client = httpd.client();
                let paths = ["/", "/basket", "/search/?q=lamp", "/api/v2/items", "/login"];
                for path in paths.iter().cycle().skip(part) {
                    if over.load(Relaxed) {
                        break;
                    }
                    client.get(path);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(40));
        browse(&httpd, "pictures.cjs", 7);
        over.store(true, Relaxed);
    });
}

fn looks(members: usize) {
    let backends = Backend::named(["a", "b"]);
    let [a, b] = &backends;
    let mut lines = String::new();
    for number in 0..members {
        let url = if number % 2 == 0 { a.url() } else { b.url() };
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "LuaBalancerMember {url}/{number} name=m{number} weight={}", number % 5 + 1);
    }
    let pool = format!("<LuaBalancerPool app>\n{lines}</LuaBalancerPool>");
    let room = format!("LuaBalancerMaxMembers {}", (members * 2).max(64));
    let pool = if members == 0 { String::new() } else { pool };
    let httpd = Httpd::builder().config(&room).config(&pool).config(PLACE).start();
    for number in 0..members.min(5) {
        let orders =
            ["{\"admin\":\"drain\",\"note\":\"deploy 42\",\"until\":\"1h\"}", "{\"admin\":\"disabled\"}"];
        if number % 3 > 0 {
            patch(&httpd, &format!("m{number}"), orders[number % 2]);
        }
    }
    browse(&httpd, "looks.cjs", members);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn nothing_is_wrong_with_an_empty_page() {
    looks(0);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn nothing_is_wrong_with_a_member() {
    looks(1);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn nothing_is_wrong_with_a_few_members() {
    looks(3);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn nothing_is_wrong_with_a_hundred_members() {
    looks(100);
}

#[test]
#[ignore = "needs Chromium: make test-page"]
fn nothing_is_wrong_with_a_thousand_members() {
    looks(1000);
}
