// SPDX-License-Identifier: Apache-2.0
//! Members that a script's function names (`lua:`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use server_tests::{Backend, Builder, FakeServer, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

use super::lasting::leader;
use super::writing::pass_a_second;
use super::{SOON, source, up, wait_for_state, wait_for_up};

/// From one call to the next, and the second of a change.
const A_CALL_AND_A_SECOND: Duration = Duration::from_secs(2);

/// A server with a list of `name url`, a line each.
fn registry(backends: &[&Backend]) -> (FakeServer, Arc<Mutex<String>>) {
    let list = Arc::new(Mutex::new(lines(backends)));
    let told = Arc::clone(&list);
    let server = FakeServer::start(move |_, reply| {
        let text = told.lock().expect("the list").clone();
        reply.whole(200, &[], &text);
    });
    (server, list)
}

fn lines(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("{} {}\n", backend.name(), backend.url())).collect()
}

fn found(keys: &str, script: &str) -> Builder {
    let pool =
        format!("<LuaBalancerPool app>\nLuaBalancerDiscovery lua:discover.lua {keys}\n</LuaBalancerPool>\n");
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app").file("discover.lua", script)
}

/// Asks a server for the list, and waits meanwhile.
fn asking(server: &FakeServer) -> String {
    let url = server.url();
    format!(
        "function members()\n  local answer, why = lb.http{{ url = '{url}/', timeout = 1 }}\n\
         \x20 if not answer then return nil, why end\n  local all = {{}}\n\
         \x20 for name, url in answer.body:gmatch('(%S+) (%S+)\\n') do\n\
         \x20   all[#all + 1] = {{ name = name, url = url, weight = 2, meta = {{ by = 'script' }} }}\n\
         \x20 end\n  return all\nend\n"
    )
}

/// Has the function called now: after failures it rests for longer and longer.
fn refresh(httpd: &Httpd) {
    let answer = super::send(httpd, "POST", "/api/v1/discovery/app/lua-1/refresh", "");
    assert!([200, 202].contains(&answer.status), "{}", answer.text());
}

fn wait_for_error(httpd: &Httpd, says: &str) {
    wait_until(says, SOON, || {
        refresh(httpd);
        source(httpd)["last_error"].as_str().is_some_and(|error| error.contains(says))
    });
    wait_for_state(httpd, "stale");
    assert_eq!(up(httpd), "a b", "{says}");
}

on_every_mpm!(a_functions_list_is_in_service_within_its_time_and_a_second);

fn a_functions_list_is_in_service_within_its_time_and_a_second(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let (server, list) = registry(&[&a, &b]);
    let httpd = found("members every=1s", &asking(&server)).mpm(mpm).start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 4);
    load.wait_for(20);
    pass_a_second();
    *list.lock().expect("the list") = lines(&[&a, &b, &c]);
    let added = wait_for_up(&httpd, "a b c");
    assert!(added <= patience(A_CALL_AND_A_SECOND), "{added:?}");
    *list.lock().expect("the list") = lines(&[&b, &c]);
    wait_for_up(&httpd, "b c");
    load.wait_for(20);
    load.stop().assert_all_ok();
    let member = super::member(&httpd, "b");
    assert_eq!((&member["weight"], &member["meta"]["by"]), (&2.into(), &"script".into()), "{member}");
    assert_eq!((&source(&httpd)["kind"], &source(&httpd)["updates"]["failed"]), (&"lua".into(), &0.into()));
    httpd.assert_no_crash();
}

#[test]
fn a_function_that_fails_in_every_way_leaves_its_last_list_and_fails_no_request() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let (server, list) = registry(&[&a, &b]);
    let good = asking(&server).replace("members()", "discover()");
    let httpd = found("every=1s timeout=500ms", &good).start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 2);
    let silent = FakeServer::start(|_, reply| {
        reply.wait(SOON * 3, || false);
    });
    let wait = format!("return lb.http{{ url = '{}/', timeout = 9 }}", silent.url());
    for (body, says) in [
        ("return nil, 'the database is away'", "discover has no list: the database is away"),
        ("while true do end", "stopped after"),
        ("error('no such service')", "no such service"),
        (wait.as_str(), "stopped after 500 ms, the source's timeout="),
        ("return 7", "discover returned a integer, expected a list of members"),
        ("return { { url = 'ftp://a' } }", "[0]"),
    ] {
        pass_a_second();
        httpd.write("discover.lua", &format!("function discover()\n  {body}\nend\n"));
        wait_for_error(&httpd, says);
    }
    pass_a_second();
    httpd.write("discover.lua", &good);
    wait_until("the good version", SOON, || {
        refresh(&httpd);
        source(&httpd)["state"] == "ok"
    });
    *list.lock().expect("the list") = lines(&[&a, &b, &c]);
    wait_for_up(&httpd, "a b c");
    load.wait_for(20);
    load.stop().assert_all_ok();
    httpd.assert_no_crash();
}

#[test]
fn a_leader_that_is_killed_within_a_call_is_followed_by_one_that_calls_anew() {
    let [a, b] = Backend::named(["a", "b"]);
    let list = Arc::new(Mutex::new(lines(&[&a])));
    let told = Arc::clone(&list);
    // A call waits for most of the time.
    let server = FakeServer::start(move |_, reply| {
        reply.wait(Duration::from_millis(600), || false);
        let text = told.lock().expect("the list").clone();
        reply.whole(200, &[], &text);
    });
    let httpd = found("members every=1s", &asking(&server)).start();
    wait_for_up(&httpd, "a");
    *list.lock().expect("the list") = lines(&[&a, &b]);
    let killed = leader(&httpd);
    httpd.kill_child(killed);
    wait_until("another leader", SOON, || ![0, killed].contains(&leader(&httpd)));
    assert!(up(&httpd).starts_with('a'), "{}", up(&httpd));
    wait_for_up(&httpd, "a b");
    assert_eq!(httpd.client().get("/app/").status, 200);
}
