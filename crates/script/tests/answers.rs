// SPDX-License-Identifier: Apache-2.0
//! The values that a selection function may return, and their meaning.
#![allow(missing_docs)]

mod common;

use common::{World, answer, name_of};
use script::{Answer, ErrorKind, Phase};

#[test]
fn every_kind_of_value_has_its_meaning() {
    assert_eq!(answer("return nil").unwrap(), Answer::Decline);
    assert_eq!(answer("").unwrap(), Answer::Decline);
    assert_eq!(answer("return apache2.DECLINED").unwrap(), Answer::Decline);
    assert_eq!(answer("return apache2.OK").unwrap(), Answer::Ok);
    assert_eq!(answer("return apache2.DONE").unwrap(), Answer::Done);
    assert_eq!(
        answer("r:puts('a', 1) return 410").unwrap(),
        Answer::Page { status: Some(410), body: b"a1".to_vec() }
    );
    assert_eq!(answer("return 403").unwrap(), Answer::Status(403));
    assert_eq!(answer("return 503.0").unwrap(), Answer::Status(503));
    assert_eq!(answer("return 'http://h:1/x'").unwrap(), Answer::Target("http://h:1/x".into()));
    assert_eq!(answer("return 'unix:/s|http://h'").unwrap(), Answer::Target("unix:/s|http://h".into()));
    assert_eq!(name_of(&answer("return lb.pool('app'):first()").unwrap()), "a:1");
    let Answer::Pool { pool, view, method } = answer("return lb.pool('api')").unwrap() else { panic!() };
    assert_eq!((pool.0, view, method), (1, None, None));
    let Answer::Pool { view, .. } = answer("return lb.pool('app'):where{zone='eu'}:except('b:2')").unwrap()
    else {
        panic!()
    };
    assert_eq!(view.unwrap().steps.len(), 2);
}

#[test]
fn a_list_keeps_its_order() {
    let Answer::List(list) =
        answer("local p = lb.pool('app') return { p:member('c:3'), p:member('a:1'), p:member('c:3') }")
            .unwrap()
    else {
        panic!()
    };
    let names: Vec<_> = list.iter().map(|member| member.spec.name.as_str()).collect();
    assert_eq!(names, ["c:3", "a:1"]);
    assert!(matches!(answer("return {}").unwrap(), Answer::NoMember { .. }));
}

#[test]
fn nil_with_a_message_is_no_member() {
    let Answer::NoMember { pool, message } =
        answer("return lb.pool('app'):where{zone='mars'}:least_connections()").unwrap()
    else {
        panic!()
    };
    assert_eq!(pool.unwrap().0, 0);
    assert!(message.contains("no usable member in pool app"), "{message}");
    assert!(matches!(answer("return nil, 'closed'").unwrap(), Answer::NoMember { pool: None, .. }));
}

#[test]
fn nonsense_is_an_error_that_says_what_was_expected() {
    for (body, found) in [
        ("return true", "returned true"),
        ("return 7", "returned 7"),
        ("return -3", "returned -3"),
        ("r:puts('x') return lb.pool('app')", "wrote a page"),
        ("return 600", "returned 600"),
        ("return 1.5", "returned 1.5"),
        ("return 'app'", "returned the string \"app\""),
        ("return 'ftp://h'", "returned the string \"ftp://h\""),
        ("return 'http://h\\r\\nX: 1'", "returned the string"),
        ("return print", "returned a function"),
        ("return { 1 }", "returned a list with 1 at 1"),
        ("return { host = 'a' }", "returned a table"),
        ("return r", "returned a table"),
    ] {
        let error = answer(body).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Answer, "{body}");
        assert!(error.message.contains(found), "{body}: {}", error.message);
        assert!(error.message.contains("expected"), "{body}: {}", error.message);
        assert!(error.message.contains("main.lua:1:"), "{body}: {}", error.message);
    }
}

#[test]
fn a_file_may_be_the_body_itself() {
    let world =
        World::new("local request = ...\nreturn request == r and r.uri == '/app/list' and 204 or 500", "-");
    let state = world.started();
    assert_eq!(state.select(world.id, "-", Phase::Translate).unwrap(), Answer::Status(204));
}

#[test]
fn a_module_table_may_hold_the_function() {
    let world = World::new("local M = {}\nfunction M.select(r) return 204 end\nreturn M", "select");
    let state = world.started();
    assert_eq!(state.select(world.id, "select", Phase::Select).unwrap(), Answer::Status(204));
}

#[test]
fn inline_functions_run_quoted_or_not() {
    for code in
        ["function(r) return 204 end", "\"function(r) return 204 end\"", " 'function(r) return 204 end' "]
    {
        let mut builder = script::Library::builder().limits(common::limits());
        let id = builder.inline("pick_it", code, &[]);
        builder.need(id, "pick_it");
        let world = World { library: std::sync::Arc::new(builder.build()), id, ..World::new("", "x") };
        let state = world.started();
        assert_eq!(state.select(id, "pick_it", Phase::Translate).unwrap(), Answer::Status(204));
    }
}

#[test]
fn a_method_function_gets_pool_and_request() {
    let text =
        "function pick(pool, r) return r.uri == '/app/list' and pool:member('b:2') or pool:first() end";
    let world = World::new(text, "pick");
    let state = world.started();
    let found = state.pick(world.id, "pick", "app", None).unwrap();
    assert_eq!(name_of(&found), "b:2");
}

#[test]
fn the_finish_hook_sees_the_result() {
    let text = "function done(r, x) r.notes.seen = x.member.name .. x.status .. x.attempts .. x.seconds .. x.bytes .. tostring(x.error) end";
    let world = World::new(text, "done");
    let state = world.started();
    let pools = world.balancer.pools.borrow();
    let result = script::FinishResult {
        member: Some(pools[0].members[1].clone()),
        status: 502,
        attempts: 2,
        seconds: 0.5,
        bytes: 7,
        error: Some("reset".into()),
    };
    state.finish(world.id, "done", &result).unwrap();
    assert_eq!(world.request.value(script::host::RequestTable::Notes, "seen").unwrap(), "b:250220.57reset");
}

#[test]
fn checks_say_well_or_why_not() {
    let world = World::new(
        "function check(m) if m.name == 'a:1' then return true end return false, 'not a' end",
        "check",
    );
    let state = world.background();
    let members = world.balancer.pools.borrow()[0].members.clone();
    assert!(common::check(&state, &world, "check", &members[0]).unwrap().healthy);
    let bad = common::check(&state, &world, "check", &members[1]).unwrap();
    assert_eq!((bad.healthy, bad.reason.as_deref()), (false, Some("not a")));
}
