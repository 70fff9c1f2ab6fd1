// SPDX-License-Identifier: Apache-2.0
//! Decisions as documents.

use super::*;
use crate::document;
use render::explained::ExplainedDoc;

fn document(stage: &Stage) -> ExplainedDoc {
    document::of(stage, &stage.told("translate", &OnError::Error), vec!["the weather".into()])
}

#[test]
fn a_decision_says_who_decided_and_how() {
    let rows = [
        ("return lb.pool('app')", "first of the pool picked it"),
        ("return lb.pool('app'):member('b')", "the script named that member"),
        ("return lb.pool('app'):pick(r)", "the script asked first, which picked it"),
        ("return {lb.pool('app'):member('b')}", "the first of the script's list that may be asked"),
        ("return 'http://127.0.0.1:9/x'", "the script named a backend that is in no pool"),
        ("return 404", "the script answers 404"),
        ("return nil, 'closed'", "closed"),
        ("return nil", "no hook and no ProxyPass of ours wants it: httpd goes on"),
        ("error('no idea')", "the script failed"),
    ];
    for (body, because) in rows {
        assert_eq!(document(&Stage::answering(body)).decision.because, because, "{body}");
    }
}

#[test]
fn a_status_stands_only_where_nobody_is_asked() {
    let rows = [
        ("return lb.pool('app')", Some("a"), None),
        ("return 'http://127.0.0.1:9/x'", Some("http://127.0.0.1:9"), None),
        ("return 404", None, Some(404)),
        ("return nil, 'closed'", None, Some(503)),
        ("error('no idea')", None, Some(500)),
        ("return nil", None, None),
    ];
    for (body, member, status) in rows {
        let decision = document(&Stage::answering(body)).decision;
        assert_eq!((decision.member.as_deref(), decision.status), (member, status), "{body}");
    }
}

#[test]
fn a_line_of_mod_proxy_stands_in_the_place_of_the_hooks_that_declined() {
    let stage = Stage::answering("return nil");
    let line = || Some(("lb://app/".to_owned(), "ProxyPass / lb://app/".to_owned()));
    let early = vec![stage.hook("translate", Phase::Translate)];
    let told = stage.told_at(&HookPlace { early, line: &line, late: Vec::new(), on_error: &OnError::Error });
    let found = document::of(&stage, &told, Vec::new());
    assert_eq!(found.hook, None);
    assert_eq!(found.decision.because, "ProxyPass / lb://app/: first of the pool picked it");
}

#[test]
fn the_hook_stands_with_its_place_its_version_and_its_time() {
    let mut stage = Stage::new(APP, "\n\nfunction translate(r)\n  return lb.pool('app')\nend");
    let hook = document(&stage).hook.expect("a hook");
    assert!(hook.script.ends_with("/hooks.lua"), "{}", hook.script);
    let place = (hook.directive.as_ref(), hook.function.as_str(), hook.line, hook.version);
    assert_eq!(place, ("LuaHookTranslate", "translate", Some(3), 7));
    assert_eq!((hook.seconds, hook.returned.as_str()), (None, "pool app"), "nobody measures");
    stage.tick = Some(0.123_456_789);
    assert_eq!(document(&stage).hook.and_then(|hook| hook.seconds), Some(0.123_457));
}

#[test]
fn each_candidate_has_its_reason_and_its_score() {
    let pools = "<LuaBalancerPool app>\n\
        LuaBalancerMember http://127.0.0.1:1 name=a weight=3\n\
        LuaBalancerMember http://127.0.0.1:2 name=b\n\
        LuaBalancerMember http://127.0.0.1:3 name=off status=+D\n\
        LuaBalancerMember http://127.0.0.1:4 name=later lbset=1\n\
        LuaBalancerMember http://127.0.0.1:5 name=nothing weight=0\n\
        LuaBalancerMethod METHOD\n</LuaBalancerPool>\n";
    let hook = "function translate(r) return lb.pool('app') end";
    let rows = [
        ("round_robin", [Some(0.75), Some(0.25)]),
        ("least_connections", [Some(0.6667), Some(0.0)]),
        ("first", [None; 2]),
    ];
    for (method, scores) in rows {
        let stage = Stage::new(&pools.replace("METHOD", method), hook);
        stage.first_has(2);
        let found = document(&stage);
        let chosen = found.decision.member.clone().expect("somebody");
        let why = |at: usize| found.candidates[at].why.as_str();
        let at =
            |name: &str| found.candidates.iter().position(|one| one.member == name).expect("a candidate");
        assert_eq!(why(at(&chosen)), "chosen", "{method}");
        assert_eq!(why(at("off")), "disabled");
        assert_eq!(why(at("nothing")), "weight 0");
        assert!(why(at("later")).starts_with("others go first"), "{}", why(at("later")));
        let considered: Vec<_> = found.candidates.iter().filter(|one| one.considered).collect();
        assert_eq!(considered.iter().map(|one| one.score).collect::<Vec<_>>(), scores, "{method}");
        assert!(found.candidates.iter().all(|one| one.considered || one.score.is_none()), "{method}");
    }
}

#[test]
fn the_next_members_are_those_of_further_attempts_eight_at_most() {
    let pools = |count: usize, retries: usize| {
        let members: String =
            (1..=count).map(|at| format!("LuaBalancerMember http://127.0.0.1:{at} name=m{at}\n")).collect();
        format!(
            "<LuaBalancerPool app>\n{members}LuaBalancerMethod first\nLuaBalancerSet retries={retries}\n</LuaBalancerPool>\n"
        )
    };
    let hook = "function translate(r) return lb.pool('app') end";
    for (count, retries, expected) in [(1, 2, 0), (3, 2, 2), (3, 1, 1), (20, 15, 8)] {
        let found = document(&Stage::new(&pools(count, retries), hook));
        let names: Vec<String> = (2..2 + expected).map(|at| format!("m{at}")).collect();
        assert_eq!(found.then, names, "{count} members, {retries} retries");
    }
    // Somebody measures, and each look takes a while.
    let mut slow = Stage::new(&pools(20, 15), hook);
    slow.tick = Some(0.2);
    assert!((1..8).contains(&document(&slow).then.len()));
}

#[test]
fn a_view_stands_as_a_script_would_write_it_and_bounds_the_candidates() {
    let stage = Stage::answering("return lb.pool('app'):except('a')");
    let found = document(&stage);
    assert_eq!(found.decision.view.as_deref(), Some("except a"));
    assert_eq!(found.decision.member.as_deref(), Some("b"));
    let names: Vec<&str> = found.candidates.iter().map(|one| one.member.as_str()).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn texts_of_others_are_bounded_and_unknown_facts_are_passed_on() {
    let found = document(&Stage::answering("return nil, ('é'):rep(600)"));
    assert_eq!(found.decision.because.chars().count(), 501);
    assert!(found.decision.because.ends_with('…'));
    assert_eq!(found.unknown, ["the weather"]);
}
