// SPDX-License-Identifier: Apache-2.0
//! The promises of the store of script sources.

use super::*;
use crate::PublishError;
use crate::primitive::crash;

#[test]
fn one_process_judges_and_all_read_what_it_published() {
    let table = table();
    let row = table.script_row(0).expect("a row");
    assert_eq!(table.script_row(0), Some(row));
    assert_ne!(table.script_row(9), Some(row));
    assert_eq!(table.script_row(10), None, "two rows only");
    assert_eq!(table.read_script(row), None);
    assert!(table.claim_judgement(row, 11, 100, 0, &alive));
    assert!(!table.claim_judgement(row, 11, 101, 10, &alive));
    assert_eq!(table.publish_script(row, 101, 11, b"x"), Err(PublishError::Overtaken));
    assert_eq!(table.publish_script(row, 100, 11, b"return 1"), Ok(1));
    assert_eq!(table.read_script(row), Some((1, b"return 1".to_vec())));
    assert!(!table.claim_judgement(row, 11, 101, 10, &alive), "judged already");
    assert!(table.claim_judgement(row, 12, 101, 10, &alive));
    table.reject_script(row, 101, 12);
    assert_eq!((table.judged_stamp(row), table.script_version(row)), (12, 1));
    assert!(!table.claim_judgement(row, 12, 100, 10, &alive));
    assert!(table.claim_judgement(row, 13, 100, 10, &alive));
    let large = PublishError::TooLarge { found: 257, limit: 256 };
    assert_eq!(table.publish_script(row, 100, 13, &[0; 257]), Err(large));
    assert_eq!(table.publish_script(row, 100, 13, &[7; 256]), Ok(2));
    assert_eq!(table.read_script(row), Some((2, vec![7; 256])));
    assert_eq!(table.script_version(99), 0);
    assert_eq!(table.publish_script(99, 1, 1, b""), Err(PublishError::UnknownRow));
}

#[test]
fn a_judge_that_dies_or_dawdles_is_replaced() {
    let table = table();
    let row = table.script_row(5).unwrap();
    assert!(table.claim_judgement(row, 1, 100, 0, &alive));
    kill(100);
    assert!(table.claim_judgement(row, 1, 101, 10, &alive));
    assert!(!table.claim_judgement(row, 1, 102, 15_000, &alive));
    assert!(table.claim_judgement(row, 1, 102, 15_011, &alive));
    assert_eq!(table.publish_script(row, 101, 1, b"late"), Err(PublishError::Overtaken));
    assert_eq!(table.publish_script(row, 102, 1, b"good"), Ok(1));
}

#[test]
fn a_writer_that_dies_or_stops_anywhere_leaves_a_good_version() {
    for dies in [true, false] {
        for steps in 0.. {
            DEAD.with_borrow_mut(|dead| dead.clear());
            let table = table();
            let row = table.script_row(5).unwrap();
            assert!(table.claim_judgement(row, 1, 100, 0, &alive));
            table.publish_script(row, 100, 1, b"first").unwrap();
            assert!(table.claim_judgement(row, 2, 101, 0, &alive));
            let outcome = crash::after(steps, || table.publish_script(row, 101, 2, b"second"));
            if dies {
                kill(101);
            }
            let (_, sources) = table.read_script(row).expect("a good version");
            assert!([&b"first"[..], b"second"].contains(&&sources[..]));
            for stamp in 3..6 {
                assert!(table.claim_judgement(row, stamp, 102, 19_000, &alive), "step {steps}");
                table.publish_script(row, 102, stamp, b"third").expect("a free copy");
                assert_eq!(table.read_script(row).map(|read| read.1), Some(b"third".to_vec()));
            }
            if outcome.is_some() {
                break;
            }
        }
    }
}

#[test]
fn a_quarantined_version_is_told_once_and_a_new_one_is_free() {
    let (table, alive) = (super::table(), |_: i32| true);
    let row = table.script_row(7).unwrap();
    assert_eq!(table.quarantined_version(row), 0);
    assert!(table.claim_judgement(row, 11, 100, 0, &alive));
    let version = table.publish_script(row, 100, 11, b"one").unwrap();
    assert!(table.quarantine_script(row, version));
    assert!(!table.quarantine_script(row, version));
    assert_eq!(table.quarantined_version(row), version);
    assert!(table.claim_judgement(row, 12, 100, 0, &alive));
    assert!(table.publish_script(row, 100, 12, b"two").unwrap() > table.quarantined_version(row));
}

#[test]
fn a_trial_is_counted_and_ended_once_and_goes_with_a_bigger_table() {
    use balance::trial::{Trial, TrialStage::*};
    let table = table();
    let row = table.script_row(5).unwrap();
    assert_eq!(table.trial(row), None);
    table.begin_trial(row, 70_000);
    for has_failed in [false, true, false] {
        table.count_trial(row, has_failed);
    }
    let seen = Trial { stage: Running, began_ms: 70_000, calls: 3, failed: 1 };
    assert_eq!(table.trial(row), Some(seen));
    let new = Table::on_heap(Geometry { scripts: 5, ..geometry() }).unwrap().with_identity(1, alive);
    new.carry_over(&table).expect("room for all");
    assert_eq!(new.trial(new.script_row(5).unwrap()), Some(seen));
    assert!(table.end_trial(row, seen, Failed) && !table.end_trial(row, seen, Passed));
    assert_eq!(table.trial(row), Some(Trial { stage: Failed, ..seen }));
    table.begin_trial(row, 80_000);
    assert!(!table.end_trial(row, seen, Failed), "another trial");
    assert_eq!(table.trial(row).map(|trial| (trial.stage, trial.calls)), Some((Running, 0)));
    table.forget_trial(row);
    assert_eq!((table.trial(row), table.trial(99)), (None, None));
}

#[test]
fn sources_that_were_judged_last_are_judged_once_more_when_wanted() {
    let table = table();
    let row = table.script_row(5).unwrap();
    assert!(table.claim_judgement(row, 7, 100, 0, &alive));
    table.reject_script(row, 100, 7);
    assert!(!table.judge_again(row, 6) && !table.claim_judgement(row, 7, 101, 0, &alive));
    assert!(table.judge_again(row, 7) && !table.judge_again(row, 7));
    assert!(table.claim_judgement(row, 7, 101, 0, &alive));
}
