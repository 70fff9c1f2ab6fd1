// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::wire::{KeyValue, read_range, read_watch};

const LIMITS: (usize, usize) = (100, 1 << 20);
const HEADER: &str = r#""header":{"cluster_id":"18446744073709551615","revision":"3","raft_term":"2"}"#;

fn range(kvs: &str) -> Range {
    read_range(format!("{{{HEADER},\"kvs\":[{kvs}]}}").as_bytes()).expect("a range")
}

fn watched(rest: &str) -> WatchAnswer {
    read_watch(format!("{{\"result\":{{{HEADER}{rest}}}}}").as_bytes()).expect("an answer")
}

/// `/p/a` with the value `1`.
const A: &str = r#"{"key":"L3AvYQ==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}"#;

fn copy() -> KeyCopy {
    KeyCopy::of("/p/", range(A), LIMITS).expect("a copy")
}

fn names(keys: &KeyCopy) -> Vec<(String, i64, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    keys.iter().map(|(name, revision, value)| (text(name), revision, text(value))).collect()
}

#[test]
fn a_range_and_the_changes_since_then_make_the_keys_of_now() {
    let mut copy = copy();
    assert_eq!(names(&copy), [("a".to_owned(), 2, "1".to_owned())]);
    let b = r#","events":[{"kv":{"key":"L3AvYg==","mod_revision":"4","value":"Mg=="}}]"#;
    assert_eq!(copy.take(watched(b)), Copied::Changed);
    assert_eq!(copy.take(watched(b)), Copied::Same, "an answer that comes twice is taken once");
    let gone = r#","events":[{"type":"DELETE","kv":{"key":"L3AvYQ==","mod_revision":"5"}}]"#;
    assert_eq!(copy.take(watched(gone)), Copied::Changed);
    assert_eq!((names(&copy), copy.revision()), (vec![("b".to_owned(), 4, "2".to_owned())], 5));
}

#[test]
fn an_answer_that_does_not_fit_the_copy_has_it_made_again() {
    for (rest, says) in [
        (r#","canceled":true,"compact_revision":"9""#, "the revisions before 9 are gone (compacted)"),
        (r#","canceled":true,"cancel_reason":"no\u0007leader""#, "etcd has ended the watch: \"no?leader\""),
        (r#","events":[{"kv":{"key":"L3EvYQ==","mod_revision":"4"}}]"#, "keys that were not asked for"),
        (
            r#","events":[{"kv":{"key":"L3AvYQ==","mod_revision":"6"}},{"kv":{"key":"L3AvYQ==","mod_revision":"5"}}]"#,
            "not in their order",
        ),
    ] {
        match copy().take(watched(rest)) {
            Copied::Again(why) => assert!(why.contains(says), "{why:?} should say {says:?}"),
            other => panic!("{other:?} should say {says:?}"),
        }
    }
    let other = read_watch(br#"{"result":{"header":{"cluster_id":"1","revision":"9"}}}"#).expect("an answer");
    assert_eq!(copy().take(other), Copied::Again("another cluster answers".into()));
    assert!(
        KeyCopy::of("/p/", range(A), (0, 9)).expect_err("too many").contains("more than 0 keys below /p/")
    );
    assert!(KeyCopy::of("/q/", range(A), LIMITS).is_err());
    assert!(KeyCopy::of("/p/", Range::default(), LIMITS).expect_err("no revision").contains("no revision"));
}

#[test]
fn a_copy_that_grows_too_large_has_to_be_made_again() {
    let mut copy = KeyCopy::of("/p/", range(A), (1, 1 << 20)).expect("a copy");
    let b = r#","events":[{"kv":{"key":"L3AvYg==","mod_revision":"4","value":"Mg=="}}]"#;
    assert!(matches!(copy.take(watched(b)), Copied::Again(why) if why.contains("more than 1 keys")));
}

proptest! {
    #[test]
    fn a_copy_is_what_its_changes_make(
        changes in proptest::collection::vec((0u8..5, proptest::option::of(0u8..9), 1i64..3), 0..40)
    ) {
        let mut copy = KeyCopy::of("/p/", range(""), LIMITS).expect("a copy");
        let (mut model, mut revision) = (BTreeMap::new(), 3);
        for (key, value, step) in changes {
            revision += step;
            let name = vec![b'a' + key];
            let kv = KeyValue {
                key: [b"/p/".as_slice(), &name].concat(),
                value: value.map(|value| vec![value]).unwrap_or_default(),
                mod_revision: revision,
                lease: revision * 2,
            };
            let event = crate::wire::KeyEvent::of(kv, value.is_none());
            let header = crate::wire::Header { cluster_id: u64::MAX, revision };
            let answer = WatchAnswer { header, events: vec![event], ..WatchAnswer::default() };
            let changed = match value {
                Some(value) => {
                    model.insert(name, Kept { revision, lease: revision * 2, value: vec![value] });
                    true
                }
                None => model.remove(&name).is_some(),
            };
            prop_assert_eq!(copy.take(answer), if changed { Copied::Changed } else { Copied::Same });
        }
        let bytes: usize = model.iter().map(|(name, kept)| name.len() + kept.value.len()).sum();
        prop_assert_eq!((&copy.keys, copy.bytes), (&model, bytes));
    }
}
