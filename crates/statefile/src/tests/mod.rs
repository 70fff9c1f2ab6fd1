// SPDX-License-Identifier: Apache-2.0
//! The state of a balancer: kept, read back, planned and applied, without a file.

mod found;

use std::sync::Arc;

use balance::api::PoolId;
use balance::live::Live;
use balance::member::{Member, MemberSpec};
use balance::memory::MemoryStore;
use balance::order::{AdminState, Order, Then};
use balance::settings::PoolSettings;
use balance::status::Status;
use balance::store::{Store, Vitals};
use proptest::prelude::*;

use crate::{
    Ages, StartPlan, StartTime, StateDocument, StateError, WriteTime, apply, compose, read, shown, write,
};

/// 2026-11-29T12:00:00Z.
const NOON: u64 = 1_795_953_600;
const NOW: WriteTime = WriteTime { now_s: NOON, now_ms: 1_000_000 };
const AGES: Ages = Ages { max_age_s: 604_800, health_age_s: 60 };

fn store(settings: &str, lines: &[&str]) -> MemoryStore {
    let store = MemoryStore::new();
    store.set_now_s(NOON);
    let settings = PoolSettings::from_text(settings).expect("settings");
    let specs: Vec<MemberSpec> = lines.iter().map(|line| spec(line)).collect();
    store.define("app", &settings, &specs, 1).expect("a pool");
    store
}

fn spec(line: &str) -> MemberSpec {
    MemberSpec::from_line(line).expect("a member's line")
}

fn app(store: &MemoryStore) -> PoolId {
    store.find_pool("app").expect("the pool")
}

fn member(store: &MemoryStore, name: &str) -> Arc<Member> {
    let members = store.read_pool(app(store)).expect("the pool").membership.members;
    members.iter().find(|member| member.spec.name == name).expect("the member").clone()
}

fn change(store: &MemoryStore, name: &str, change: impl Fn(Status) -> Status) {
    let member = member(store, name);
    store.update(member.slot, member.incarnation, &mut |status| change(status)).expect("a change");
}

/// a is drained until a minute past noon, b's weight was changed by a script, x was added.
fn ordered() -> MemoryStore {
    let store = store("", &["http://10.0.0.1:80 name=a weight=5", "http://10.0.0.2:80 name=b"]);
    let order = Order {
        by: Some("alice".into()),
        at: NOON - 5,
        admin: Some(AdminState::Drain),
        until: Some(NOON + 60),
        then: Some(Then::AdminState(AdminState::Disabled)),
        note: Some("deploy 42".into()),
        ..Order::default()
    };
    change(&store, "a", |status| status.with(Status::DRAINING));
    store.set_order(&member(&store, "a"), Some(&order)).expect("an order");
    change(&store, "b", |status| status.with_weight(250));
    store.add(app(&store), &spec("http://10.0.0.3:80 name=x secret=hush weight=4")).expect("a member");
    store
}

fn document(store: &MemoryStore) -> StateDocument {
    compose(&store.snapshot().pools, NOW, "test", &[])
}

fn plan(document: &StateDocument, store: &MemoryStore, now_s: u64) -> StartPlan {
    StartPlan::of(document, &store.snapshot().pools, &StartTime { now_s, ages: AGES })
}

#[test]
fn a_written_file_is_read_and_holds_in_the_same_configuration() {
    let text = write(&document(&ordered()));
    let kept = read(text.as_bytes()).expect("its own text");
    assert_eq!(kept, document(&ordered()));
    let fresh = store("", &["http://10.0.0.1:80 name=a weight=5", "http://10.0.0.2:80 name=b"]);
    let planned = plan(&kept, &fresh, NOON + 10);
    assert!(planned.dropped.is_empty() && planned.left.is_empty(), "{planned:?}");
    let applied = apply(&fresh, &planned, NOW);
    assert_eq!((applied.ordered, applied.added, applied.refused.len()), (2, 1, 0));
    assert!(fresh.status(member(&fresh, "a").slot).has(Status::DRAINING));
    assert_eq!(fresh.status(member(&fresh, "b").slot).weight(), 250);
    let x = member(&fresh, "x");
    assert_eq!((x.spec.weight, x.spec.connection.secret.as_deref()), (400, Some("hush")));
    let order = fresh.order(member(&fresh, "a").slot).expect("its order");
    assert_eq!((order.note.as_deref(), order.until), (Some("deploy 42"), Some(NOON + 60)));
    assert_eq!(write(&document(&fresh)), text, "it says the same again");
}

#[test]
fn an_order_whose_time_is_over_is_what_it_says_for_then() {
    let fresh = store("", &["http://10.0.0.1:80 name=a weight=5", "http://10.0.0.2:80 name=b"]);
    apply(&fresh, &plan(&document(&ordered()), &fresh, NOON + 60), NOW);
    let status = fresh.status(member(&fresh, "a").slot);
    assert!(status.has(Status::DISABLED) && !status.has(Status::DRAINING));
    assert_eq!(fresh.order(member(&fresh, "a").slot).and_then(|order| order.until), None);
}

#[test]
fn entries_that_the_configuration_contradicts_now_are_dropped_and_named() {
    let kept = document(&ordered());
    let cases: [(&[&str], &str); 4] = [
        (
            &["http://10.0.0.1:80 name=a weight=5", "http://10.0.0.2:80 name=b weight=3"],
            "pool app: member b: dropped weight (2.5 was in place of 1, and the configuration says otherwise now)",
        ),
        (
            &["http://10.0.0.1:80 name=a status=+D", "http://10.0.0.2:80 name=b"],
            "pool app: member a: dropped admin (drain was in place of ready, and the configuration says otherwise now)",
        ),
        (
            &["http://10.0.0.9:80 name=a", "http://10.0.0.2:80 name=b"],
            "pool app: member a: dropped health (http://10.0.0.1 then, http://10.0.0.9 now)",
        ),
        (
            &["http://10.0.0.1:80 name=a", "http://10.0.0.2:80 name=b", "http://10.0.0.3:80 name=x"],
            "pool app: member x: dropped added (the configuration has a member of this name now)",
        ),
    ];
    for (lines, expected) in cases {
        let dropped: Vec<String> =
            plan(&kept, &store("", lines), NOON).dropped.iter().map(ToString::to_string).collect();
        assert_eq!(dropped, [expected], "{lines:?}");
    }
}

#[test]
fn members_that_no_configuration_has_are_kept_for_a_while_and_old_files_say_nothing() {
    let kept = document(&ordered());
    let other = store("", &["http://10.0.0.2:80 name=b"]);
    let planned = plan(&kept, &other, NOON);
    assert_eq!(planned.left, [("app".to_owned(), "a".to_owned(), vec!["admin", "until", "note"])]);
    let left = crate::left_over(&kept, &other.snapshot().pools, NOON, AGES.max_age_s);
    let again = compose(&other.snapshot().pools, NOW, "test", &left);
    let names = |document: &StateDocument| -> Vec<String> {
        document.pools.iter().flat_map(|pool| pool.members.iter().map(|member| member.name.clone())).collect()
    };
    assert_eq!(names(&again), ["a"]);
    let late = NOON + AGES.max_age_s + 1;
    assert!(plan(&kept, &ordered(), late).is_too_old);
    assert_eq!(crate::left_over(&kept, &other.snapshot().pools, late, AGES.max_age_s), []);
}

#[test]
fn a_member_that_comes_under_a_name_that_was_left_is_written_once() {
    let kept = document(&ordered());
    let other = store("", &["http://10.0.0.2:80 name=b"]);
    let left = crate::left_over(&kept, &other.snapshot().pools, NOON, AGES.max_age_s);
    // Somebody adds it while the server runs, and gives no orders.
    other.add(app(&other), &spec("http://10.0.0.9:80 name=a")).expect("a member");
    let again = compose(&other.snapshot().pools, NOW, "test", &left);
    let members = &again.pools[0].members;
    assert_eq!((members.len(), &*members[0].url, &members[0].order), (1, "http://10.0.0.9", &None));
    assert_eq!(read(write(&again).as_bytes()), Ok(again));
}

#[test]
fn health_holds_while_it_is_young_and_never_takes_the_last_member() {
    let checked = "LuaBalancerHealthCheck tcp\n";
    let lines = ["http://10.0.0.1:80 name=a", "http://10.0.0.2:80 name=b"];
    let ill = store(checked, &lines);
    let a = member(&ill, "a");
    let down = balance::health::HealthState::resumed(true);
    ill.update_health(a.slot, a.incarnation, |_| down.to_bits());
    change(&ill, "a", |status| status.with(down.flags()));
    let kept = document(&ill);
    for (age_s, is_down) in [(59, true), (61, false)] {
        let fresh = store(checked, &lines);
        apply(&fresh, &plan(&kept, &fresh, NOON + age_s), NOW);
        assert_eq!(fresh.status(member(&fresh, "a").slot).has(Status::CHECK_DOWN), is_down, "{age_s} s");
    }
    let unchecked = store("", &lines);
    apply(&unchecked, &plan(&kept, &unchecked, NOON), NOW);
    assert!(
        !unchecked.status(member(&unchecked, "a").slot).has(Status::CHECK_DOWN),
        "nobody would bring it up"
    );
}

#[test]
fn a_text_that_was_changed_says_so_and_secrets_are_not_shown() {
    let text = write(&document(&ordered()));
    let cases = [
        (String::new(), "it is empty"),
        (text.replace("alice", "mallory"), "its checksum is"),
        (text[..text.len() / 2].to_owned(), "it does not end with a checksum"),
        ("{}".to_owned(), "it does not end with a checksum"),
        (format!("{text}\n"), "it does not end with a checksum"),
    ];
    for (text, expected) in cases {
        let error = read(text.as_bytes()).expect_err("no document").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(text.contains("hush") && !shown(&document(&ordered())).to_string().contains("hush"));
}

/// The text with another body, and the checksum of that.
fn forged(from: &str, to: &str) -> Vec<u8> {
    let text = write(&document(&ordered()));
    let (body, _) = text.split_once(",\n  \"checksum\"").expect("a checksum");
    let body = body.replace(from, to);
    assert!(!text.starts_with(&body), "{from} is not there");
    let sum = crc32fast::hash(body.as_bytes());
    format!("{body},\n  \"checksum\": \"crc32:{sum:08x}\"\n}}\n").into_bytes()
}

#[test]
fn impossible_orders_are_refused_though_the_checksum_is_right() {
    let cases = [
        ("\"format\": 1", "\"format\": 2", "it is of format 2"),
        ("\"name\": \"app\"", "\"name\": \"a/b\"", "\"a/b\" is not a name for a pool"),
        ("\"name\": \"b\"", "\"name\": \"a\"", "pool app: member a is there twice"),
        ("\"name\": \"b\"", "\"name\": \"../b\"", "is not a name for a member"),
        ("deploy 42", "deploy\\u0000", "note has control characters"),
        ("\"drain\"", "\"gone\"", "it cannot be read"),
        ("\"pools\": [", "\"pools\": [[[[[[", "it cannot be read"),
    ];
    for (from, to, expected) in cases {
        let error = read(&forged(from, to)).expect_err("no document").to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        read(&forged("\"by\": \"test\"", &format!("\"by\": {deep}"))),
        Err(StateError::Json(_))
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_a_document_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_changed_byte_is_seen(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = write(&document(&ordered())).into_bytes();
        let at = at.index(bytes.len());
        let before = std::mem::replace(&mut bytes[at], byte);
        prop_assert_eq!(read(&bytes).is_ok(), before == byte);
    }
}
