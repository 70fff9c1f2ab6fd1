// SPDX-License-Identifier: Apache-2.0
//! A further attempt asks what the script asked: the same pool or view, method and key. Lists are
//! asked in order.

use std::collections::BTreeSet;

use server_tests::{Backend, Httpd, Request, pool};

/// `v1` and `v2`, two members each; `dead` ones refuse connections, which no check has seen.
fn stage(script: &str, dead: &[&str], lines: &str) -> (Httpd, [Backend; 5]) {
    let backends = Backend::named(["a1", "b1", "a2", "b2", "c2"]);
    for backend in backends.iter().filter(|backend| dead.contains(&backend.name())) {
        backend.refuse();
    }
    let members: Vec<(&Backend, &str)> = backends
        .iter()
        .map(|backend| {
            (backend, if backend.name().ends_with('2') { "meta.version=2" } else { "meta.version=1" })
        })
        .collect();
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerSet retries=4\n{lines}");
    let httpd = Httpd::builder()
        .config(&pool("app", &members, &lines))
        .config("LuaHookTranslate select.lua\nLuaBalancerOnError pool:app")
        .file("select.lua", script)
        .start();
    (httpd, backends)
}

/// The members that answer, over a number of requests; the status where none does.
fn answers(httpd: &Httpd, path: &str) -> BTreeSet<String> {
    (0..12)
        .map(|_| {
            let answer = httpd.client().get(path);
            if answer.status == 200 { answer.backend().to_owned() } else { answer.status.to_string() }
        })
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const PICKS: [&str; 10] = [
    "round_robin()",
    "random()",
    "least_connections()",
    "power_of_two()",
    "least_latency()",
    "first()",
    "consistent_hash(r.args)",
    "maglev(r.args)",
    "rendezvous(r.args)",
    "hash(r.args)",
];

#[test]
fn questions_to_a_view_stay_in_the_view() {
    for pick in PICKS.iter().chain(&["pick(r)", "member('a2')", "members()()"]) {
        let script =
            format!("function translate(r)\n  return lb.pool('app'):where{{version = '2'}}:{pick}\nend");
        let (httpd, _backends) = stage(&script, &["a2"], "");
        let seen = answers(&httpd, "/x?key");
        assert!(seen.is_subset(&set(&["b2", "c2"])), "{pick}: {seen:?}");
        let (httpd, _backends) = stage(&script, &["a2", "b2", "c2"], "");
        assert_eq!(answers(&httpd, "/x?key"), set(&["503"]), "{pick}");
    }
}

/// The second attempt is where the key goes without its member.
#[test]
fn a_keys_next_member_is_that_of_its_method_and_key() {
    for method in ["consistent_hash", "maglev", "rendezvous"] {
        let script = format!(
            "local app = lb.pool('app')\nfunction translate(r)\n  if r.uri == '/disable' then app:member(r.args):disable() return 204 end\n  \
             return app:{method}(r.args)\nend"
        );
        let mut met = BTreeSet::new();
        for key in (0..6).map(|n| format!("key{n}")) {
            let (httpd, backends) = stage(&script, &[], "LuaBalancerMethod round_robin");
            let ask = || httpd.client().get(&format!("/x?{key}")).backend().to_owned();
            let first = ask();
            backends.iter().find(|backend| backend.name() == first).expect("a backend").refuse();
            let seen: BTreeSet<String> = (0..4).map(|_| ask()).collect();
            assert_eq!(httpd.client().get(&format!("/disable?{first}")).status, 204);
            let want = ask();
            assert_eq!(seen, set(&[&want]), "{method} {key}: {first} is dead");
            met.insert(want);
        }
        assert!(met.len() > 1, "{method}: all keys met {met:?}");
    }
}

#[test]
fn a_named_member_is_followed_by_its_pools_method() {
    let script = "function translate(r)\n  return lb.pool('app'):member('a2')\nend";
    let (httpd, _backends) = stage(script, &["a2"], "LuaBalancerMethod first");
    assert_eq!(answers(&httpd, "/x"), set(&["a1"]));
}

/// In a call with several questions, each member stands for its own.
#[test]
fn a_member_stands_for_the_last_question_that_it_answered() {
    let script = "local app = lb.pool('app')\nlocal two = app:where{version = '2'}\nfunction translate(r)\n  \
                  local first = two:first()\n  local other = app:first()\n  local third = app:where{version = '1'}:first()\n  \
                  return r.uri == '/view' and first or third\nend";
    let (httpd, _backends) = stage(script, &["a2", "a1"], "");
    assert_eq!(answers(&httpd, "/view"), set(&["b2"]));
    assert_eq!(answers(&httpd, "/other"), set(&["b1"]));
}

#[test]
fn a_list_of_anything_is_asked_in_order() {
    let head =
        "local app = lb.pool('app')\nlocal two, one = app:where{version = '2'}, app:where{version = '1'}\n";
    for (list, dead, want) in [
        ("{two, app}", &[][..], &["a2", "b2", "c2"][..]),
        ("{two, app}", &["a2"], &["b2", "c2"]),
        ("{two, app}", &["a2", "b2", "c2"], &["a1", "b1"]),
        ("{two, one}", &["a2", "b2", "c2", "a1"], &["b1"]),
        ("{app:member('a1'), two}", &["a1", "a2", "b2"], &["c2"]),
        ("{app:member('a1'), two, app:member('b1')}", &["a1", "a2", "b2", "c2"], &["b1"]),
        ("{one, app:member('c2')}", &["a1", "b1"], &["c2"]),
        ("{two, one}", &["a1", "b1", "a2", "b2", "c2"], &["503"]),
        ("{app:where{version = 'none'}, one}", &["a1"], &["b1"]),
        ("two", &["a2", "b2", "c2"], &["503"]),
    ] {
        let (httpd, _backends) = stage(&format!("{head}function translate(r) return {list} end"), dead, "");
        let seen = answers(&httpd, "/x");
        assert!(seen.is_subset(&set(want)) && !seen.is_empty(), "{list}, dead {dead:?}: {seen:?}");
    }
}

/// Each of a list has its further attempts for itself, so that a large dead view does not use up
/// those of the next one.
#[test]
fn a_dead_view_leaves_attempts_for_the_next() {
    let script =
        "local app = lb.pool('app')\nfunction translate(r)\n  return {app:where{version = '2'}, app}\nend";
    let (httpd, backends) = stage(script, &["a2", "b2", "c2"], "LuaBalancerSet retries=0");
    assert_eq!(httpd.client().get("/x").status, 200);
    // A request without a connection was not sent; one that was sent is sent once.
    backends[0].reset();
    backends[1].reset();
    assert_eq!(httpd.client().send(&Request::post("/x", "once")).status, 502);
    assert_eq!(backends[0].requests() + backends[1].requests(), 2);
}

#[test]
fn a_list_with_nonsense_is_an_error_of_the_script() {
    let script = "function translate(r) return {lb.pool('app'), 'x'} end";
    let (httpd, _backends) = stage(script, &[], "");
    assert_eq!(httpd.client().get("/x").status, 200, "LuaBalancerOnError");
    httpd.wait_for_log("expected a member, a pool or a view");
}

/// `LuaBalancerOnError pool:` holds for whatever the script did wrong.
#[test]
fn the_pool_for_errors_takes_a_bad_url_too() {
    for url in ["http://user@h/", "http://:80", "http://h:99999", "ftp://h", "http://[::1", "nonsense"] {
        let script = format!("function translate(r) return '{url}' end");
        let (httpd, _backends) = stage(&script, &[], "");
        let answer = httpd.client().get("/x");
        assert_eq!(answer.status, 200, "{url}: {}", httpd.error_log());
        httpd.wait_for_log("script failed, using pool app");
    }
    let script = "function translate(r)\n  r.handler, r.proxyreq, r.filename = 'proxy-server', apache2.PROXYREQ_REVERSE, \
                  'proxy:http://:0/x'\n  return apache2.OK\nend";
    let (httpd, _backends) = stage(script, &[], "");
    assert_eq!(httpd.client().get("/x").status, 200, "{}", httpd.error_log());
}
