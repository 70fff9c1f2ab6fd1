// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::event::Person;
use crate::relay::Outcome;
use proptest::prelude::*;

fn event(what: What, why: Why, by: By) -> Event {
    Event::Member(MemberEvent { pool: "app".into(), member: "a".into(), at: 7, what, why, by })
}

fn entry(event: &Event) -> EventEntry {
    EventEntry::of(event, 9).expect("an entry")
}

fn moved(old: State, new: State) -> What {
    What::State { old, new }
}

#[test]
fn an_order_and_the_change_that_it_causes_are_one_entry() {
    let alice =
        Person { name: Some("alice".into()), from: Some("10.0.0.5".into()), note: Some("deploy 42".into()) };
    let found = entry(&event(moved(State::Up, State::Draining), Why::Order, By::Person(alice)));
    let expected = EventEntry {
        old: Some(State::Up),
        new: Some(State::Draining),
        by: Some("alice".into()),
        from: Some("10.0.0.5".into()),
        note: Some("deploy 42".into()),
        ..EventEntry::new(
            EventKind::Order,
            7,
            "pool app: member a: up -> draining (by alice from 10.0.0.5: deploy 42)",
        )
    };
    assert_eq!(found, expected.of_pool("app", "a"));
}

#[test]
fn words_of_scripts_and_members_are_shown_without_secrets_in_one_line() {
    let why = Why::ChecksFailed { count: 1, last: "http://u:pw@h secret=x\u{1b}[31m\n".into() };
    let found = entry(&event(moved(State::Up, State::Down), why, By::Checks));
    for text in [found.why.as_deref().unwrap_or_default(), &found.message] {
        assert!(text.contains("http://***@h secret=***"), "{text}");
        assert!(!text.contains("pw") && !text.contains(char::is_control), "{text}");
    }
}

#[test]
fn each_change_has_its_kind_its_reason_and_its_author() {
    let failed = Why::ChecksFailed { count: 2, last: "refused".into() };
    let ejected = Why::AttemptsFailed { count: 5, last: Outcome::Reset, for_ms: 1000 };
    let added = What::Added { url: "http://b".into(), weight: 100 };
    let script = By::Script(Some("x.lua".into()));
    let weight = What::Weight { old: 100, new: 200 };
    let (up, down, out) = (State::Up, State::Down, State::Ejected);
    let table = [
        (moved(up, down), failed, By::Checks, "state", "2 checks failed, the last one: refused", "checks"),
        (
            moved(up, out),
            ejected,
            By::Requests,
            "state",
            "5 consecutive failures, the last one: reset",
            "requests",
        ),
        (moved(out, up), Why::EjectionOver, By::Time, "state", "the time of the ejection is over", "time"),
        (
            moved(down, up),
            Why::Unchecked,
            By::Configuration,
            "state",
            "what earlier checks said does not count",
            "configuration",
        ),
        (added, Why::Order, script.clone(), "member", "", "x.lua"),
        (weight, Why::Order, script, "order", "", "x.lua"),
        (What::Removed, Why::OrderOver, By::Somebody, "member", "the time of the order is over", ""),
    ];
    for (what, why, by, kind, reason, author) in table {
        let event = event(what, why, by);
        let found = entry(&event);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        assert_eq!(
            (found.kind.word(), &*text(&found.why), &*text(&found.by), &found.message),
            (kind, reason, author, &event.to_string())
        );
    }
}

#[test]
fn events_that_nobody_follows_have_no_entry() {
    let over = event(What::WholeWeight, Why::SlowStartOver, By::Time);
    let both_off = event(moved(State::Disabled, State::Disabled), Why::Unchecked, By::Checks);
    assert_eq!((EventEntry::of(&over, 9), EventEntry::of(&both_off, 9)), (None, None));
}

#[test]
fn a_pool_that_a_script_defines_has_an_entry() {
    let found = entry(&Event::Defined { pool: "app".into(), members: 3 });
    assert_eq!((found.kind, found.at_s, found.pool.as_deref()), (EventKind::Member, 9, Some("app")));
}

#[test]
fn the_longest_texts_leave_room_for_a_line() {
    let long = |of: &str| Some(of.repeat(2000));
    let whole = EventEntry {
        pool: long("p"),
        member: long("m"),
        why: long("w"),
        by: long("b"),
        from: long("f"),
        note: long("é"),
        ..EventEntry::new(EventKind::Order, u64::MAX, "message ".repeat(400))
    };
    let mut room = [0; MOST_BYTES];
    let found = EventEntry::unpack(whole.pack(&mut room)).expect("an entry");
    assert!(found.message.len() > 280 && whole.message.starts_with(&found.message), "{found:?}");
    assert_eq!(found.note.map(|note| note.len()), Some(200));
}

#[test]
fn bytes_of_other_versions_are_left_out() {
    for bytes in [&[][..], &[6, 0, 0], &[0, 6, 0], &[0, 0, 0, 1, 2, 3], &[255; 300]] {
        assert_eq!(EventEntry::unpack(bytes), None, "{bytes:?}");
    }
}

fn state() -> impl Strategy<Value = Option<State>> {
    proptest::option::of((0..STATES.len()).prop_map(|at| STATES[at]))
}

proptest! {
    #[test]
    fn entries_are_read_back_as_they_were_written(
        kind in 0..6usize,
        at_s in any::<u64>(),
        (old, new) in (state(), state()),
        texts in proptest::collection::vec(proptest::option::of("[ -~é\u{1f600}]{1,11}"), 6),
        message in "[ -~é\u{1f600}]{0,80}",
    ) {
        let [pool, member, why, by, from, note] = <[_; 6]>::try_from(texts).expect("six");
        let kind = EventKind::ALL[kind];
        let entry = EventEntry { kind, at_s, pool, member, old, new, why, by, from, note, message };
        let mut room = [0; MOST_BYTES];
        prop_assert_eq!(EventEntry::unpack(entry.pack(&mut room)), Some(entry));
    }
}
