// SPDX-License-Identifier: Apache-2.0
//! Found members beside configured ones and those of people.

use std::fs;

use server_tests::{Backend, Httpd, wait_until};

use super::{SOON, get, list, member, plain, pool_of, send, source, up, wait_for_up};

/// A pool with a configured member `a`, and a source.
fn mixed(a: &Backend, text: &str) -> Httpd {
    let line = format!("  LuaBalancerMember {} name=a weight=5", a.url());
    Httpd::builder()
        .config(&pool_of("", &line))
        .config("ProxyPass /app lb://app")
        .file("lists/app.json", text)
        .start()
}

#[test]
fn a_configured_member_and_a_persons_come_before_a_found_one() {
    let [a, b, c, d] = Backend::named(["a", "b", "c", "d"]);
    let mut httpd = mixed(&a, &plain(&[&c]));
    wait_for_up(&httpd, "a c");
    let added = format!(r#"{{"url":"{}","name":"b","weight":4}}"#, b.url());
    assert_eq!(send(&httpd, "POST", "/api/v1/pools/app/members", &added).status, 201);
    // The list says something else of all three.
    let named = |name: &str| format!("{} name={name} weight=9\n", d.url());
    httpd.write("lists/app.json", &["a", "b", "c"].map(named).concat());
    wait_until("c from the list", SOON, || member(&httpd, "c")["weight"] == 9);
    let kinds = ["a", "b", "c"].map(|name| {
        let now = member(&httpd, name);
        (now["source"]["kind"].clone(), now["weight"].clone())
    });
    let expected =
        [("config", 5), ("api", 4), ("file", 9)].map(|(kind, weight)| (kind.into(), weight.into()));
    assert_eq!(kinds, expected);
    // Once nobody else has the name, the source's member is there.
    assert_eq!(send(&httpd, "DELETE", "/api/v1/pools/app/members/b", "").status, 204);
    wait_for_up(&httpd, "a b c");
    assert_eq!(member(&httpd, "b")["source"]["kind"], "file");
    httpd.edit_config(&format!("LuaBalancerMember {} name=a weight=5", a.url()), "");
    httpd.graceful();
    wait_until("a from the list", SOON, || {
        up(&httpd) == "a b c" && member(&httpd, "a")["source"]["kind"] == "file"
    });
}

#[test]
fn a_configured_line_takes_a_found_member_over() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = mixed(&a, &plain(&[&b]));
    wait_for_up(&httpd, "a b");
    httpd.client().shares("/app/", 12);
    let line = format!("LuaBalancerMember {} name=a weight=5", a.url());
    httpd.edit_config(&line, &format!("{line}\n  LuaBalancerMember {} name=b weight=2", b.url()));
    httpd.graceful();
    wait_until("b from the configuration", SOON, || member(&httpd, "b")["source"]["kind"] == "config");
    let now = member(&httpd, "b");
    assert_eq!((&now["weight"], &now["attempts"]["ok"]), (&2.into(), &2.into()), "{now}");
    fs::remove_file(httpd.dir().join("lists/app.json")).expect("removed");
    wait_until("the failure", SOON, || source(&httpd)["state"] == "stale");
    assert_eq!(up(&httpd), "a b");
}

#[test]
fn found_members_are_not_removed_by_hand() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = mixed(&a, &list(&[(&b, r#","zone":"eu""#)]));
    wait_for_up(&httpd, "a b");
    for path in ["/api/v1/pools/app/members/b", "/api/v1/pools/app/members/b?force=1"] {
        let refused = send(&httpd, "DELETE", path, "");
        assert_eq!(refused.status, 409, "{}", refused.text());
        let says = "is named by its source file-1 (file:lists/app.json): take it out there, or disable it";
        assert!(refused.text().contains(says), "{}", refused.text());
    }
    let all = get(&httpd, "/api/v1/pools/app/members");
    let same = send(&httpd, "PUT", "/api/v1/pools/app/members?dry_run=1", &all.to_string());
    assert_eq!(same.text(), r#"{"add":[],"change":[],"remove":[],"refused":[]}"#);
    let only_a = serde_json::json!([all[0]]).to_string();
    let refused = send(&httpd, "PUT", "/api/v1/pools/app/members", &only_a);
    assert_eq!(refused.status, 409, "{}", refused.text());
    let disabled = send(&httpd, "PATCH", "/api/v1/pools/app/members/b", r#"{"admin":"disabled"}"#);
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    httpd.write("lists/app.json", &list(&[(&b, r#","zone":"us""#)]));
    wait_until("the list", SOON, || member(&httpd, "b")["zone"] == "us");
    assert_eq!(member(&httpd, "b")["state"], "disabled");
}
