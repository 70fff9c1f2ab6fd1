// SPDX-License-Identifier: Apache-2.0
use super::*;

fn event(what: What, why: Why, by: By) -> Event {
    Event::Member(MemberEvent { pool: "app".into(), member: "a".into(), at: 7, what, why, by })
}

fn state(old: State, new: State) -> What {
    What::State { old, new }
}

fn by_script() -> By {
    By::Script(Some("lua/act.lua".into()))
}

/// All that can happen to a member, in the order of [`LINES`].
fn all() -> Vec<Event> {
    let url = || "http://10.0.0.1:80".to_owned();
    let added = || What::Added { url: url(), weight: 250 };
    let order = |what, by| event(what, Why::Order, by);
    let failed = |last| Why::AttemptsFailed { count: 3, last, for_ms: 1500 };
    let ejected = || state(State::Up, State::Ejected);
    vec![
        event(ejected(), failed(Outcome::Connect), By::Requests),
        event(ejected(), failed(Outcome::Answered(503)), By::Requests),
        event(state(State::Ejected, State::Up), Why::EjectionOver, By::Time),
        event(What::WholeWeight, Why::SlowStartOver, By::Time),
        event(
            state(State::Up, State::Down),
            Why::ChecksFailed { count: 3, last: "status 503, expected 200-399".into() },
            By::Checks,
        ),
        event(state(State::Down, State::Up), Why::ChecksPassed { count: 2 }, By::Checks),
        event(state(State::Down, State::Up), Why::Unchecked, By::Checks),
        event(What::Advice, Why::Agent("agent: drain 50%".into()), By::Agent),
        order(state(State::Up, State::Draining), by_script()),
        order(state(State::Up, State::Disabled), By::Configuration),
        order(What::Weight { old: 100, new: 350 }, by_script()),
        order(What::Weight { old: 100, new: 500 }, By::Definition),
        order(What::Orders { old: 0, new: Status::STANDBY | Status::IGNORE_ERRORS }, By::Configuration),
        order(added(), by_script()),
        order(added(), By::Configuration),
        order(What::Removed, By::Script(None)),
        order(What::Removed, By::Definition),
        order(What::Url { old: url(), new: "http://10.0.0.2:80".into() }, By::Configuration),
        Event::Defined { pool: "app".into(), members: 2 },
    ]
}

const LINES: &str = "\
Warning pool app: member a ejected for 1.5s after 3 consecutive failures, the last one: connect
Warning pool app: member a ejected for 1.5s after 3 consecutive failures, the last one: status
Notice pool app: member a takes requests again after its ejection
Debug pool app: member a: slow start is over
Warning pool app: member a is down: 3 checks failed, the last one: status 503, expected 200-399
Notice pool app: member a is up: 2 checks passed
Debug pool app: member a: down -> up (what earlier checks said does not count)
Notice pool app: member a: agent: drain 50%
Notice pool app: member a: up -> draining (by script lua/act.lua)
Notice pool app: member a: up -> disabled (by the configuration)
Notice pool app: member a: weight 1 -> 3.5 (by script lua/act.lua)
Notice pool app: member a: weight 1 -> 5 (by the script that defines it)
Notice pool app: member a: status none -> IH (by the configuration)
Notice pool app: member a (http://10.0.0.1:80) added, weight 2.5 (by script lua/act.lua)
Notice pool app: member a: http://10.0.0.1:80 added, weight 2.5 (by the configuration)
Notice pool app: member a removed (by a script)
Notice pool app: member a: removed (by the script that defines it)
Notice pool app: member a: http://10.0.0.1:80 -> http://10.0.0.2:80 (by the configuration)
Notice pool app: defined with 2 members
";

#[test]
fn every_event_has_its_line() {
    let lines: String = all().iter().map(|event| format!("{:?} {event}\n", event.level())).collect();
    assert_eq!(lines, LINES);
}

#[test]
fn an_order_is_told_as_what_it_has_changed() {
    let up = Status::new(100, 0, 0);
    let lines = |before: Status, now: Status| -> Vec<String> {
        differences(before, now).iter().map(ToString::to_string).collect()
    };
    assert!(lines(up, up).is_empty());
    assert!(lines(up, up.with_ramp(3)).is_empty(), "a step of slow start is not an order");
    assert_eq!(lines(up, up.with(Status::DRAINING).with_weight(0)), ["weight 1 -> 0", "up -> draining"]);
    assert_eq!(lines(up, up.with(Status::STANDBY)), ["status none -> H"]);
    assert_eq!(lines(up.with(Status::DISABLED), up.with(Status::STOPPED)), ["status D -> S"]);
}
