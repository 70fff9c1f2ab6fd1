// SPDX-License-Identifier: Apache-2.0
//! The attempts of a request, and their end.

use super::*;

const THREE: [&str; 3] = ["h:1 name=a", "h:2 name=b", "h:3 name=c"];
const FIRST: &str = "Method first";

fn of_pool(stage: &Stage) -> Decision<()> {
    Decision::pool(stage.app())
}

#[test]
fn each_further_attempt_asks_another_member_until_retries_are_used() {
    for (retries, expected) in [(0, "a"), (1, "a b"), (2, "a b c"), (9, "a b c nobody")] {
        let stage = Stage::new(&THREE, &[FIRST, &format!("Set retries={retries}")]);
        assert_eq!(stage.asks(&of_pool(&stage), GET, dead), expected, "retries={retries}");
    }
    let stage = Stage::new(&THREE, &[FIRST]);
    let second = |name: &str| if name == "a" { Outcome::Reset } else { Outcome::Answered(503) };
    assert_eq!(stage.asks(&of_pool(&stage), GET, second), "a b", "an answer is the end");
    let post = Asked { idempotent: false, has_body: true, ..GET };
    assert_eq!(stage.asks(&of_pool(&stage), post, |_| Outcome::Reset), "a");
}

/// A member may have closed a kept connection just as the request came. The mark: over a fresh one.
#[test]
fn a_member_that_is_alone_is_asked_once_more_over_a_fresh_connection() {
    let rows = [
        (Outcome::Stale, "a a! nobody"),
        (Outcome::Reset, "a a! nobody"),
        (Outcome::Connect, "a nobody"),
        (Outcome::Timeout, "a"),
        (Outcome::Broken, "a"),
    ];
    for (outcome, expected) in rows {
        let stage = Stage::new(&THREE[..1], &[FIRST, "Set retries=5"]);
        assert_eq!(stage.asks(&of_pool(&stage), GET, |_| outcome), expected, "{outcome:?}");
    }
    let stage = Stage::new(&THREE[..2], &[FIRST, "Set retries=5"]);
    assert_eq!(stage.asks(&of_pool(&stage), GET, |_| Outcome::Stale), "a b b! nobody", "others go first");
}

#[test]
fn an_ejected_member_is_asked_when_all_others_have_failed_the_request() {
    let rows = [
        (Status::EJECTED, "b c a nobody"),
        (Status::EJECTED | Status::DISABLED, "b c nobody"),
        (Status::CHECK_DOWN, "b c nobody"),
    ];
    for (flags, expected) in rows {
        let stage = Stage::new(&THREE, &[FIRST, "Set retries=5"]);
        stage.flag("a", flags);
        assert_eq!(stage.asks(&of_pool(&stage), GET, dead), expected, "{flags:x}");
    }
    let stage = Stage::new(&THREE[..1], &[FIRST]);
    stage.flag("a", Status::EJECTED);
    let nobody = stage.asks(&of_pool(&stage), GET, dead);
    assert_ne!(nobody.split(' ').next(), Some("a"), "nobody has failed it: {nobody}");
    // A function of a script says alone which members are left.
    let stage = Stage::new(&THREE, &["Method lua pick.lua pick", "Set retries=5"]);
    stage.flag("a", Status::EJECTED);
    assert_eq!(stage.asks(&of_pool(&stage), GET, dead), "c b nobody");
}

#[test]
fn a_full_member_is_passed_over_and_costs_no_attempt() {
    let stage =
        Stage::new(&["h:1 name=a max_inflight=1", "h:2 name=b", "h:3 name=c"], &[FIRST, "Set retries=1"]);
    stage.fill("a");
    assert_eq!(stage.asks(&of_pool(&stage), GET, dead), "b c");
}

#[test]
fn a_named_member_comes_first_while_it_may_serve_sessions() {
    let rows = [(0, "c a b"), (Status::DRAINING, "c a b"), (Status::DISABLED, "a b nobody")];
    for (flags, expected) in rows {
        let stage = Stage::new(&THREE, &[FIRST]);
        stage.flag("c", flags);
        let first = Some(stage.member("c"));
        let decision = Decision::Pool { pool: stage.app(), view: None, method: None, first };
        assert_eq!(stage.asks(&decision, GET, dead), expected, "{flags:x}");
    }
}

#[test]
fn a_view_is_left_by_no_attempt() {
    let stage = Stage::new(&THREE, &[FIRST, "Set retries=5"]);
    stage.flag("a", Status::EJECTED);
    let view = Some(Arc::new(View { steps: vec![ViewStep::Except(vec!["a".into()])] }));
    let decision = Decision::Pool { pool: stage.app(), view, method: None, first: None };
    assert_eq!(stage.asks(&decision, GET, dead), "b c nobody");
}

#[test]
fn a_list_is_asked_in_its_order_with_an_ejected_member_last() {
    let stage = Stage::new(&THREE, &["Set retries=5"]);
    stage.flag("b", Status::EJECTED);
    let list = ["b", "c", "a"].map(|name| (stage.app(), stage.member(name)));
    assert_eq!(stage.asks(&Decision::List(list.into()), GET, dead), "c a b nobody");
    let stage = Stage::new(&THREE, &["Set retries=5"]);
    stage.flag("b", Status::DISABLED);
    let list = ["b", "c"].map(|name| (stage.app(), stage.member(name)));
    assert_eq!(stage.asks(&Decision::List(list.into()), GET, dead), "c nobody");
}

#[test]
fn each_of_several_choices_has_its_own_retries_and_is_asked_until_it_has_nobody() {
    let stage = Stage::new(&THREE, &[FIRST, "Set retries=1"]);
    let other = stage.define("other", &["h:4 name=x", "h:5 name=y", "h:6 name=z"], &[FIRST, "Set retries=2"]);
    let (app, c) = (stage.app(), stage.member("c"));
    let all =
        Decision::Each([Choice::Member(app, c), Choice::Pool(app, None), Choice::Pool(other, None)].into());
    assert_eq!(stage.asks(&all, GET, dead), "c a b x y z");
    stage.flag("c", Status::DISABLED);
    stage.flag("a", Status::DISABLED);
    stage.flag("b", Status::DISABLED);
    assert_eq!(stage.asks(&all, GET, dead), "x y z", "choices that have nobody cost no attempt");
    let post = Asked { idempotent: false, has_body: true, ..GET };
    assert_eq!(stage.asks(&all, post, |_| Outcome::Reset), "x", "no choice is gone on to after a reset");
}

#[test]
fn a_target_is_asked_once_and_nobody_never() {
    let stage = Stage::new(&THREE, &["Set retries=5"]);
    assert_eq!(stage.asks(&Decision::Target("http://t".into()), GET, dead), "http://t");
    let nobody = Decision::Nobody { pool: Some(stage.app()), message: "closed".into() };
    assert_eq!(stage.asks(&nobody, GET, dead), NoMember::UnknownPool.to_string());
}

#[test]
fn a_script_that_names_peers_has_as_many_attempts_as_it_asks_for() {
    let script = |more| Decision::Script { script: (), peer: "p0".into(), more };
    type Peers = &'static [(&'static str, u32)];
    let rows: [(u32, Peers, &str); 4] = [
        (0, &[("p1", 0)], "p0"),
        (1, &[("p1", 0), ("p2", 0)], "p0 p1"),
        (1, &[("p1", 1), ("p2", 0)], "p0 p1 p2"),
        (3, &[("p1", 0)], "p0 p1 nobody"),
    ];
    for (more, peers, expected) in rows {
        let stage = Stage::new(&THREE, &[]);
        stage.peers.borrow_mut().extend(peers);
        assert_eq!(stage.asks(&script(more), GET, |_| Outcome::Timeout), expected, "{more} {peers:?}");
    }
    let stage = Stage::new(&THREE, &[]);
    stage.peers.borrow_mut().extend([("p", 9); 100]);
    let asked = stage.asks(&script(1), GET, dead);
    assert_eq!(asked.split(' ').count(), 32, "however many it asks for");
}

#[test]
fn a_sessions_member_comes_first_and_a_forced_session_is_lost_with_it() {
    let members = ["h:1 name=a route=ra", "h:2 name=b route=rb"];
    let rows = [
        ("Sticky cookie=S", "S=x.rb", 0, "b a"),
        ("Sticky cookie=S", "S=x.none", 0, "a b"),
        ("Sticky cookie=S", "", 0, "a b"),
        ("Sticky cookie=S", "S=x.rb", Status::DRAINING, "b a"),
        ("Sticky cookie=S", "S=x.rb", Status::DISABLED, "a nobody"),
        ("Sticky cookie=S force=on", "S=x.rb", 0, "b nobody"),
    ];
    for (sticky, cookies, flags, expected) in rows {
        let mut stage = Stage::new(&members, &[FIRST, sticky, "Set retries=1"]);
        stage.cookies = cookies;
        stage.flag("b", flags);
        let asked = stage.asks(&of_pool(&stage), GET, dead);
        assert_eq!(asked, expected, "{sticky} {cookies} {flags:x}");
    }
    let mut stage = Stage::new(&members, &[FIRST, "Sticky cookie=S force=on"]);
    stage.cookies = "S=x.rb";
    stage.flag("b", Status::EJECTED);
    assert_eq!(stage.asks(&of_pool(&stage), GET, dead), NoMember::SessionLost("app".into()).to_string());
    let mut stage = Stage::new(&members, &[FIRST, "Sticky cookie=S force=on", "Set retries=5"]);
    stage.cookies = "S=x.rb";
    stage.flag("a", Status::EJECTED);
    assert_eq!(stage.asks(&of_pool(&stage), GET, dead), "b nobody", "it is not the last resort either");
}
