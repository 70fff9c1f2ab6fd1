// SPDX-License-Identifier: Apache-2.0
//! The member that serves, the answer where nobody does, and the session.

use super::*;
use crate::way::Way;
use balance::choosing::Goal;
use balance::relay::Outcome;

/// A pool with these members and lines, and a hook that sends everything there.
fn pool(members: &str, lines: &str) -> Stage {
    let text = format!("<LuaBalancerPool app>\n{members}\n{lines}\n</LuaBalancerPool>\n");
    Stage::new(
        &text,
        "function translate(r) return lb.pool('app') end\nfunction broken(pool, r) error('no') end",
    )
}

const TWO: &str = "LuaBalancerMember http://127.0.0.1:1 name=a\nLuaBalancerMember http://127.0.0.1:2 name=b";
const NONE: &str = "LuaBalancerMember http://127.0.0.1:1 name=a status=+D";

fn header(told: &Told, name: &str) -> String {
    let found = told.ended.headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn a_pool_without_anybody_answers_on_empty_with_retry_after() {
    for (lines, status, seconds) in
        [("", 503, "10"), ("LuaBalancerSet on_empty=504", 504, "10"), ("LuaBalancerOutlier off", 503, "1")]
    {
        let told = pool(NONE, lines).told("translate", &OnError::Error);
        assert_eq!((told.ended.status, told.ended.reason), (status, "no member"), "{lines}");
        assert_eq!(header(&told, "Retry-After"), seconds, "{lines}");
        assert!(told.ended.message.is_some_and(|why| !why.is_empty()), "{lines}");
    }
}

#[test]
fn a_methods_script_that_fails_is_an_error_and_not_an_empty_pool() {
    let rows = [("hooks.lua broken", ": no"), ("unknown.lua pick", "the script is unknown")];
    for (method, why) in rows {
        let stage = pool(TWO, &format!("LuaBalancerMethod lua {method}"));
        let told = stage.told("translate", &OnError::Error);
        assert_eq!((told.ended.status, told.ended.reason), (500, "script"), "{method}");
        let said = stage.errors();
        assert!(said.contains(why), "{method}: {said}");
    }
}

#[test]
fn a_client_is_bound_by_the_cookie_that_the_server_would_set() {
    let sticky = "LuaBalancerMethod first\nLuaBalancerSticky cookie=LB";
    let stage = pool(TWO, sticky);
    let told = stage.told("translate", &OnError::Error);
    assert!(header(&told, "Set-Cookie").starts_with("LB=.a;"), "{:?}", told.ended.headers);
    assert_eq!(told.ended.session, None);

    let stage = pool(TWO, sticky);
    stage.request.header("Cookie", "LB=.b");
    let told = stage.told("translate", &OnError::Error);
    assert_eq!(stage.line_of(&told), "app b sticky 200 ok");
    assert_eq!((told.ended.session.as_deref(), header(&told, "Set-Cookie").as_str()), (Some("b"), ""));

    let stage = pool(TWO, sticky);
    stage.request.header("Cookie", "LB=.gone");
    let told = stage.told("translate", &OnError::Error);
    assert_eq!(stage.line_of(&told), "app a first 200 ok", "a route that nobody has");
}

#[test]
fn a_session_whose_member_is_out_moves_unless_it_is_forced() {
    let members = "LuaBalancerMember http://127.0.0.1:1 name=a status=+D\n\
        LuaBalancerMember http://127.0.0.1:2 name=b";
    for (force, expected) in [("", "app b first 200 ok"), (" force=on", "app")] {
        let stage = pool(members, &format!("LuaBalancerMethod first\nLuaBalancerSticky cookie=LB{force}"));
        stage.request.header("Cookie", "LB=.a");
        let told = stage.told("translate", &OnError::Error);
        assert!(stage.line_of(&told).starts_with(expected), "{force}: {}", stage.line_of(&told));
        let lost = told.ended.member.is_none();
        assert_eq!((lost, told.ended.status), (!force.is_empty(), if lost { 503 } else { 200 }), "{force}");
        assert_eq!(told.ended.session.as_deref(), Some("a"), "{force}");
    }
}

#[test]
fn a_full_member_is_passed_over_also_where_a_script_names_it() {
    let members = "LuaBalancerMember http://127.0.0.1:1 name=a max_inflight=1\n\
        LuaBalancerMember http://127.0.0.1:2 name=b";
    let text = format!("<LuaBalancerPool app>\n{members}\nLuaBalancerMethod first\n</LuaBalancerPool>\n");
    let hooks = "local app = lb.pool('app')\n\
        function pool(r) return app end\n\
        function member(r) return app:member('a') end\n\
        function list(r) return {app:member('a'), app:member('b')} end";
    for (function, free, full) in [
        ("pool", "app a first 200 ok", "app b first 200 ok"),
        ("member", "app a script 200 ok", "app b first 200 ok"),
        ("list", "app a script 200 ok", "app b script 200 ok"),
    ] {
        let stage = Stage::new(&text, hooks);
        assert_eq!(stage.said(function), free, "{function}");
        stage.first_has(1);
        assert_eq!(stage.said(function), full, "{function}");
    }
}

/// A wait for a place interrupts a way: it goes on with all that it has tried.
#[test]
fn a_way_that_was_interrupted_asks_nobody_twice() {
    let stage = pool(TWO, "LuaBalancerMethod first");
    let told = stage.told("translate", &OnError::Error);
    let Ruling::Send(plan) = &told.visited.verdict else { panic!("{:?}", told.visited.verdict) };
    let name = |goal| match goal {
        Ok(Goal::Member(_, member)) => member.spec.name.clone(),
        other => format!("{other:?}"),
    };
    let mut way = Way::new(plan);
    assert_eq!(name(way.next(&stage)), "a");
    let app = way.course.pool.and_then(|pool| stage.pools.handle().now(pool)).expect("app");
    assert!(way.goes_on(Outcome::Connect, true, app.settings()));
    let mut way = Way::resumed(plan, way.interrupted());
    assert_eq!(name(way.next(&stage)), "b");
    assert_eq!(way.course.attempts, 2);
    assert!(!way.goes_on(Outcome::Answered(200), true, app.settings()));
}
