// SPDX-License-Identifier: Apache-2.0
//! What becomes of a list that is wrong, empty or too short.

use std::fs;
use std::time::Duration;

use server_tests::{Backend, Load, wait_until};

use super::{SOON, found, get, list, plain, send, source, states, up, wait_for_state, wait_for_up, warnings};

#[test]
fn a_source_that_fails_leaves_its_last_list_and_one_warning() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("").file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 2);
    for (text, why) in [
        (Some(""), "it is empty: expected a list"),
        (Some("[{\"targets\":[\"127.0.0.1:80\""), "it is not JSON: EOF"),
        (Some("http://127.0.0.1:80 weight=x\n"), "line 1: weight=x: expected 0 to 65535"),
        (None, "it cannot be read: No such file"),
    ] {
        match text {
            Some(text) => httpd.write("lists/app.json", text),
            None => fs::remove_file(httpd.dir().join("lists/app.json")).expect("removed"),
        }
        let says = || source(&httpd)["last_error"].as_str().is_some_and(|error| error.contains(why));
        wait_until(why, SOON, says);
        let row = wait_for_state(&httpd, "stale");
        assert!(row["failing_since"].is_string() && row["last_success"].is_string(), "{row}");
        assert_eq!((up(&httpd).as_str(), warnings(&httpd)), ("a b", vec!["discovery_stale".to_owned()]));
    }
    assert_eq!(httpd.count_log("source file-1: .*its last list stays"), 1, "one warning");
    let metrics = httpd.socket().get("/metrics").text();
    for line in [
        "luabalancer_discovery_up{pool=\"app\",source=\"file-1\"} 0",
        "luabalancer_discovery_members{pool=\"app\",source=\"file-1\"} 2",
        "luabalancer_discovery_updates_total{pool=\"app\",source=\"file-1\",result=\"applied\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    httpd.write("lists/app.json", &plain(&[&a, &b]));
    wait_for_state(&httpd, "ok");
    assert_eq!(warnings(&httpd), [""; 0]);
    httpd.wait_for_log("notice.*source file-1: it is read again");
    load.stop().assert_all_ok();
}

#[test]
fn an_empty_list_is_held_until_somebody_takes_it() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("drain=1s").file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    let refused = send(&httpd, "POST", "/api/v1/discovery/app/file-1/accept", "");
    assert_eq!(refused.status, 409, "{}", refused.text());
    httpd.write("lists/app.json", "[]");
    let row = wait_for_state(&httpd, "held");
    assert_eq!(
        (&row["held"]["why"], row["held"]["gone"].to_string()),
        (&"empty".into(), "[\"a\",\"b\"]".into())
    );
    assert_eq!((up(&httpd).as_str(), warnings(&httpd)), ("a b", vec!["discovery_held".to_owned()]));
    httpd.wait_for_log("warn.*source file-1: its list lacks 2 of 2 members: it is held");
    let shown = httpd.lbctl(&["discovery"]).done();
    assert!(shown.out.contains("held") && shown.out.contains("file-1"), "{}", shown.out);
    httpd.lbctl(&["discovery", "--accept", "app/file-1"]).done();
    wait_until("nobody to be left", SOON, || states(&httpd).is_empty());
    let row = wait_for_state(&httpd, "ok");
    assert_eq!((&row["members"], &row["held"]), (&0.into(), &serde_json::Value::Null), "{row}");
    httpd.wait_for_log("notice.*source file-1: what is held is taken \\(by ");
}

#[test]
fn a_list_that_lacks_more_than_half_is_held_and_a_better_one_is_taken() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = found("").file("lists/app.json", &plain(&[&a, &b, &c])).start();
    wait_for_up(&httpd, "a b c");
    httpd.write("lists/app.json", &plain(&[&c]));
    let row = wait_for_state(&httpd, "held");
    assert_eq!(
        (&row["held"]["why"], &row["listed"], &row["members"]),
        (&"shrunk".into(), &1.into(), &3.into())
    );
    assert_eq!(up(&httpd), "a b c");
    httpd.write("lists/app.json", &plain(&[&b, &c]));
    wait_for_up(&httpd, "b c");
    wait_for_state(&httpd, "ok");
}

#[test]
fn the_keys_for_lists_hold() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("empty=take drain=0 stale=1s invalid=skip shrink=100%")
        .file("lists/app.json", &plain(&[&a, &b]))
        .start();
    wait_for_up(&httpd, "a b");
    httpd.write("lists/app.json", "[]");
    wait_until("nobody to be left", SOON, || states(&httpd).is_empty());
    let lines = format!("{} name=a\nhttp://127.0.0.1:1 weight=x\n", a.url());
    httpd.write("lists/app.json", &lines);
    wait_for_up(&httpd, "a");
    let row = source(&httpd);
    assert!(row["last_error"].as_str().is_some_and(|error| error.starts_with("line 2: weight=x")), "{row}");
    httpd.wait_for_log("warn.*source file-1: 1 entries are left out, the first: line 2");
    fs::remove_file(httpd.dir().join("lists/app.json")).expect("removed");
    wait_for_state(&httpd, "expired");
    wait_until("nobody to be left", SOON, || states(&httpd).is_empty());
    httpd.write("lists/app.json", &lines);
    wait_for_up(&httpd, "a");
    wait_for_state(&httpd, "ok");
}

#[test]
fn the_same_list_once_more_touches_nothing() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("").file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    let etag = || httpd.socket().get("/api/v1/pools/app").header("ETag").map(str::to_owned);
    let (before, lines) = (etag(), httpd.error_log().lines().count());
    // The same members in another text.
    httpd.write("lists/app.json", &(plain(&[&a, &b]) + "\n"));
    let unchanged = || source(&httpd)["updates"]["unchanged"].as_u64().unwrap_or(0);
    let seen = unchanged();
    let refreshed = send(&httpd, "POST", "/api/v1/discovery/app/file-1/refresh", "");
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    wait_until("a look", SOON, || unchanged() > seen);
    assert_eq!((etag(), httpd.error_log().lines().count()), (before, lines), "{}", httpd.error_log());
    assert_eq!(source(&httpd)["updates"]["applied"], 1);
    httpd.write("lists/app.json", &list(&[(&b, ""), (&a, "")]));
    wait_until("a look", SOON, || unchanged() > seen + 2);
    assert_eq!(source(&httpd)["updates"]["applied"], 1, "an order of members is none of a source's");
}

#[test]
fn sources_that_are_not_there_are_404_and_wrong_questions_are_refused() {
    let [a] = Backend::named(["a"]);
    let httpd = found("").file("lists/app.json", &plain(&[&a])).start();
    wait_for_up(&httpd, "a");
    for (method, path, status) in [
        ("POST", "/api/v1/discovery/app/none/refresh", 404),
        ("POST", "/api/v1/discovery/none/file-1/accept", 404),
        ("GET", "/api/v1/discovery/app/file-1/accept", 405),
        ("POST", "/api/v1/discovery", 405),
    ] {
        assert_eq!(send(&httpd, method, path, "").status, status, "{method} {path}");
    }
    assert_eq!(get(&httpd, "/api/v1/discovery")["discovery"].as_array().map(Vec::len), Some(1));
    let asked = std::time::Instant::now();
    send(&httpd, "POST", "/api/v1/discovery/app/file-1/refresh", "{}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
fn a_list_for_which_the_table_has_no_room_comes_in_part_and_says_so_once() {
    let [a, b] = Backend::named(["a", "b"]);
    let more: String = (0..600).map(|at| format!("http://10.0.0.1:{}\n", at + 1)).collect();
    let own = |one: &Backend| format!("{} name={}\n", one.url(), one.name());
    let httpd = found("drain=0 shrink=100%").config("LuaBalancerMaxMembers 8");
    let httpd = httpd.file("lists/app.json", &(own(&a) + &own(&b))).start();
    wait_for_up(&httpd, "a b");
    // The one that goes makes room, whatever comes.
    httpd.write("lists/app.json", &(own(&a) + &more));
    wait_until("b to go", SOON, || !states(&httpd).contains_key("b"));
    let error = || source(&httpd)["last_error"].as_str().unwrap_or_default().to_owned();
    let why = "): no room for another member: raise LuaBalancerMaxMembers";
    wait_until("the refusal", SOON, || error().ends_with(why));
    let failed = || source(&httpd)["updates"]["failed"].as_u64().unwrap_or(0);
    wait_until("further tries", SOON, || failed() >= 3);
    let row = source(&httpd);
    let serving = row["members"].as_u64().expect("a number");
    assert!(serving > 1 && error().starts_with(&format!("{} members of its list", 601 - serving)), "{row}");
    assert!(error().contains(" more"), "{row}");
    assert_eq!(httpd.count_log("error.*source file-1: .* members of its list are not in service"), 1);
    httpd.write("lists/app.json", &(own(&a) + "http://10.0.0.1:1 name=c\n"));
    wait_until("nobody to be left out", SOON, || source(&httpd)["last_error"] == serde_json::Value::Null);
    assert_eq!(source(&httpd)["members"], 2);
}

#[test]
fn members_whom_no_module_reaches_are_wrong_entries() {
    let [a] = Backend::named(["a"]);
    let lines = format!("{} name=a\najp://127.0.0.1:8009\n", a.url());
    let httpd = found("invalid=skip").file("lists/app.json", &lines).start();
    wait_for_up(&httpd, "a");
    let row = source(&httpd);
    let error = row["last_error"].as_str().unwrap_or_default();
    assert!(error.starts_with("line 2: no module speaks ajp:// to backends"), "{row}");
    assert_eq!(states(&httpd).len(), 1);
}
