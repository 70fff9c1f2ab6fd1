// SPDX-License-Identifier: Apache-2.0
//! The last errors of scripts, dictionaries and children, and how often saved scripts were taken:
//! the same from every child, over restarts and after deaths.

use std::time::Duration;

use serde_json::Value;
use server_tests::httpd::Builder;
use server_tests::{Httpd, Mpm, on_every_mpm, patience, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn version(n: u16) -> String {
    format!(
        "-- version {n}\nfunction translate(r)\n  if r.args == 'fail' then error('no {n}') end\n  return 204\nend"
    )
}

fn with_script(mpm: Mpm) -> Builder {
    Httpd::builder().mpm(mpm).children(2).file("pick.lua", &version(1)).config(
        "LuaBalancerDict small 32K\n\
         <Location /v>\n  LuaHookTranslate pick.lua\n</Location>\n\
         <Location /lb>\n  SetHandler lua-balancer\n</Location>",
    )
}

/// The first row of a list of the API.
fn row(httpd: &Httpd, list: &str) -> Value {
    get(httpd, list)[list][0].take()
}

fn get(httpd: &Httpd, document: &str) -> Value {
    let answer = httpd.client().get(&format!("/lb/api/v1/{document}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

fn wait_for_row(httpd: &Httpd, list: &str, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    wait_until(&format!("{what} in {list}; it is {}", row(httpd, list)), patience(SOON), || {
        is_so(&row(httpd, list))
    });
    row(httpd, list)
}

fn reloads(row: &Value) -> String {
    let of = |result: &str| row["reloads"][result].as_u64().expect("a number");
    format!("{} ok {} refused {} failed", of("ok"), of("refused"), of("failed"))
}

fn error_of(row: &Value) -> String {
    row["last_error"].as_str().unwrap_or_default().to_owned()
}

/// The value of a sample of `/metrics`.
fn sample(httpd: &Httpd, name: &str) -> Option<String> {
    let text = httpd.client().get("/lb/metrics").text();
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
}

on_every_mpm!(a_refused_save_is_told_with_its_line_until_a_good_one_serves);

fn a_refused_save_is_told_with_its_line_until_a_good_one_serves(mpm: Mpm) {
    let mut httpd = with_script(mpm).start();
    let first = row(&httpd, "scripts");
    assert_eq!((reloads(&first).as_str(), &first["last_error"]), ("0 ok 0 refused 0 failed", &Value::Null));
    assert_eq!(first["last_error_at"], Value::Null);
    httpd.write("pick.lua", "-- version 2\nfunction translate(r)\n  return return\nend");
    let refused = wait_for_row(&httpd, "scripts", "a refused save", |row| row["verdict"] == "refused");
    assert_eq!(reloads(&refused), "0 ok 1 refused 0 failed");
    let place = format!("{}:3:", httpd.dir().join("pick.lua").display());
    assert!(error_of(&refused).contains(&place), "{refused}");
    let since = refused["last_error_at"].clone();
    assert!(since.is_string(), "{refused}");
    let warnings = get(&httpd, "status")["warnings"].take();
    let warning = &warnings[0];
    assert_eq!((&warning["code"], &warning["since"]), (&Value::from("script_refused"), &since), "{warnings}");
    assert!(warning["message"].as_str().is_some_and(|text| text.contains(&place)), "{warnings}");
    let refused_by = get(&httpd, "children")["children"].take();
    let one_child = refused_by.as_array().expect("a list").iter().filter(|row| !row["last_error"].is_null());
    assert_eq!(one_child.clone().count(), 1, "one child had it vetted: {refused_by}");
    assert!(one_child.into_iter().all(|row| error_of(row).contains(&place)), "{refused_by}");

    // Neither a failed call, nor a killed child, nor a restart takes the reason away.
    assert_eq!(httpd.client().get("/v?fail").status, 500);
    for pid in httpd.wait_for_children(2) {
        httpd.kill_child(pid);
    }
    httpd.wait_for_children(2);
    httpd.graceful();
    let kept = row(&httpd, "scripts");
    assert_eq!((error_of(&kept), reloads(&kept)), (error_of(&refused), reloads(&refused)), "{kept}");

    httpd.write("pick.lua", &version(3));
    let taken = wait_for_row(&httpd, "scripts", "a good version", |row| row["verdict"] == "serves");
    assert_eq!((reloads(&taken).as_str(), &taken["last_error"]), ("1 ok 1 refused 0 failed", &Value::Null));
    assert_eq!(get(&httpd, "status")["warnings"].as_array().map(Vec::len), Some(0));
    let name = row(&httpd, "scripts")["name"].as_str().expect("a name").to_owned();
    for (result, count) in [("ok", "1"), ("refused", "1"), ("failed", "0")] {
        let name = format!("luabalancer_script_reloads_total{{script=\"{name}\",result=\"{result}\"}}");
        assert_eq!(sample(&httpd, &name).as_deref(), Some(count), "{name}");
    }
    httpd.assert_no_crash();
}

on_every_mpm!(the_last_failed_call_of_the_version_that_serves_is_told_by_every_child);

fn the_last_failed_call_of_the_version_that_serves_is_told_by_every_child(mpm: Mpm) {
    let mut httpd = with_script(mpm).start();
    assert_eq!(httpd.client().get("/v").status, 204);
    assert_eq!(row(&httpd, "scripts")["last_error"], Value::Null);
    assert_eq!(httpd.client().get("/v?fail").status, 500);
    let place = format!("{}:3: no 1", httpd.dir().join("pick.lua").display());
    for client in httpd.clients_in_children(2, "/lb/api/v1/scripts").values_mut() {
        let text = client.get("/lb/api/v1/scripts").text();
        assert!(text.contains(&place), "{text}");
    }
    httpd.graceful();
    assert!(error_of(&row(&httpd, "scripts")).ends_with("no 1"));
    httpd.write("pick.lua", &version(2));
    let taken = wait_for_row(&httpd, "scripts", "version 2", |row| row["version"] == 2);
    assert_eq!(taken["last_error"], Value::Null, "nothing has failed in that version");
    wait_until("version 2 in the child that answers", patience(SOON), || {
        httpd.client().get("/v?fail");
        error_of(&row(&httpd, "scripts")).ends_with("no 2")
    });
    // A saved file counts once, though a child looks at it, and the parent of a restart.
    httpd.write("pick.lua", &version(3));
    httpd.graceful();
    let taken = wait_for_row(&httpd, "scripts", "version 3", |row| row["version"] == 3);
    assert_eq!(reloads(&taken), "2 ok 0 refused 0 failed");
    httpd.assert_no_crash();
}

#[test]
fn a_version_whose_trial_failed_is_counted_and_told_with_its_last_failed_call() {
    let httpd = with_script(Mpm::Event).config("LuaBalancerRollout percent=50% for=60s errors=2%").start();
    let mut client = httpd.client();
    httpd.write("pick.lua", "function translate(r)\n  error('broken on purpose')\nend");
    let failed = wait_for_row(&httpd, "scripts", "a failed trial", |row| {
        (0..20).for_each(|_| drop(client.get("/v")));
        row["rollout"]["state"] == "failed"
    });
    assert_eq!(
        (reloads(&failed).as_str(), &failed["verdict"]),
        ("0 ok 0 refused 1 failed", &"refused".into())
    );
    let error = error_of(&failed);
    assert!(error.contains("calls failed") && error.contains("pick.lua:2: broken on purpose"), "{error}");
    let warnings = get(&httpd, "status")["warnings"].to_string();
    assert!(warnings.contains("pick.lua:2: broken on purpose"), "{warnings}");
    httpd.assert_no_crash();
}

#[test]
fn messages_are_short_lines_without_secrets() {
    let httpd = with_script(Mpm::Event).start();
    httpd.write(
        "pick.lua",
        "function translate(r)\n  error('http://user:hunter2@host/ secret=hunter2 <b>\\n' .. ('x'):rep(100000))\nend",
    );
    wait_for_row(&httpd, "scripts", "version 2", |row| row["version"] == 2);
    let told = wait_for_row(&httpd, "scripts", "an error", |row| {
        httpd.client().get("/v");
        !row["last_error"].is_null()
    });
    let error = error_of(&told);
    assert!(error.len() < 512 && !error.contains("hunter2") && !error.contains('\n'), "{error}");
    assert!(error.contains("http://***@host/ secret=***"), "{error}");
    let page = httpd.client().get("/lb/").text();
    assert!(page.contains("&lt;b&gt;") && !page.contains("<b>") && !page.contains("hunter2"), "{page}");
    httpd.assert_no_crash();
}

#[test]
fn evictions_and_refusals_of_dictionaries_are_counted_over_restarts() {
    let script = "function translate(r)\n  local seen = lb.dict('small')\n  \
                  if r.args == 'huge' then return seen:set('k', ('x'):rep(100000)) and 204 or 205 end\n  \
                  for n = 1, 400 do seen:set(r.args .. n, ('x'):rep(100)) end\n  return 204\nend";
    let mut httpd = with_script(Mpm::Event).file("pick.lua", script).start();
    let before = row(&httpd, "dicts");
    assert_eq!((&before["evictions"], &before["last_error"]), (&0.into(), &Value::Null), "{before}");
    assert_eq!(httpd.client().get("/v?a").status, 204);
    let full = row(&httpd, "dicts");
    let evictions = full["evictions"].as_u64().expect("a number");
    let kept = 400 - evictions;
    assert!((50..300).contains(&kept), "a dictionary of 32 KiB keeps {kept} of 400 entries");
    assert_eq!(full["last_error"], Value::Null, "to throw out is no error");
    assert_eq!(httpd.client().get("/v?b").status, 204);
    assert_eq!(row(&httpd, "dicts")["evictions"], evictions + 400, "each new one took an old one's place");
    let name = "luabalancer_dict_evictions_total{dict=\"small\"}";
    assert_eq!(sample(&httpd, name), Some((evictions + 400).to_string()));
    assert_eq!(httpd.client().get("/v?huge").status, 205);
    let refused = row(&httpd, "dicts");
    assert!(error_of(&refused).starts_with("no memory: a value was refused"), "{refused}");
    assert!(refused["last_error_at"].is_string(), "{refused}");
    httpd.graceful();
    assert_eq!(row(&httpd, "dicts"), refused);
    httpd.edit_config("LuaBalancerDict small 32K", "LuaBalancerDict small 64K");
    httpd.graceful();
    let larger = row(&httpd, "dicts");
    assert_eq!((&larger["size"], &larger["evictions"]), (&65_536.into(), &refused["evictions"]), "{larger}");
    httpd.assert_no_crash();
}
