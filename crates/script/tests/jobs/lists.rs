// SPDX-License-Identifier: Apache-2.0
//! Functions of sources: they return a list of members, and are bounded as checks are.

use super::*;
use script::JobResult;

fn listed_within(body: &str, timeout: Duration) -> Result<String, script::ScriptError> {
    let world = world(body);
    let state = world.background();
    let job = state.start_list(world.id, "tick", timeout)?;
    match common::finish(&state, job)? {
        Some(JobResult::List(text)) => Ok(String::from_utf8(text).unwrap()),
        other => panic!("not a list: {other:?}"),
    }
}

fn listed(body: &str) -> Result<String, String> {
    listed_within(body, Duration::from_secs(5)).map_err(|error| error.message)
}

#[test]
fn a_table_is_a_list_and_a_text_stands_as_it_is() {
    for (body, text) in [
        (
            "return { { url = 'http://a:1', weight = 2 }, { url = 'http://b:1' } }",
            r#"[{"url":"http://a:1","weight":2},{"url":"http://b:1"}]"#,
        ),
        (
            "return { members = { { url = 'http://a:1', meta = { version = '7' } } } }",
            r#"{"members":[{"meta":{"version":"7"},"url":"http://a:1"}]}"#,
        ),
        ("return {}", "[]"),
        ("return 'http://a:1 weight=2\\n'", "http://a:1 weight=2\n"),
        ("return setmetatable({ 'a' }, { __index = error, __len = error, __pairs = error })", r#"["a"]"#),
    ] {
        assert_eq!(listed(body).as_deref(), Ok(text), "{body}");
    }
}

#[test]
fn anything_else_is_an_error_with_the_reason() {
    for (body, says) in [
        ("return nil, 'the database is away'", "tick has no list: the database is away"),
        ("return", "tick returned no list; one without members is {}"),
        ("return false", "tick returned no list; one without members is {}"),
        ("return 7", "tick returned a integer, expected a list of members"),
        ("return { function() end }", "tick returned a list that cannot be read: "),
        ("local t = {} t[1] = t return t", "tick returned a list that cannot be read: "),
        ("error('no such service')", "no such service"),
        ("return setmetatable({ 1, 2, 3, x = 1 }, { __tostring = error })", ""),
    ] {
        match listed(body) {
            Ok(text) => assert_eq!(says, "", "{body}: {text}"),
            Err(said) => assert!(!says.is_empty() && said.contains(says), "{said:?} should say {says:?}"),
        }
    }
}

#[test]
fn a_function_that_computes_or_waits_for_too_long_is_stopped() {
    let error = listed_within("while true do end", Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Time, "{error}");
    assert!(error.message.contains("the source's timeout=") || error.message.contains("time="), "{error}");
    let world = world("return lb.http{ url = 'http://127.0.0.1:1/' }.body");
    let state = world.background();
    let mut job = state.start_list(world.id, "tick", Duration::from_millis(20)).unwrap();
    let io = wait_for(&state, &mut job, Reply::Nothing);
    assert!(matches!(io, Io::Http(_)), "{io:?}");
    std::thread::sleep(Duration::from_millis(30));
    let Step::Done(Err(error)) = state.resume(&mut job, Reply::Http(Err("late".into()))) else { panic!() };
    assert_eq!(error.kind, ErrorKind::Time, "{error}");
    assert!(error.message.contains("stopped after 20 ms, the source's timeout="), "{error}");
}
