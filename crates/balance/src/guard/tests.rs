// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::settings::SourcePlace;
use proptest::prelude::*;

fn rules() -> Discovery {
    Discovery::of("file-1".into(), SourcePlace::File("/x".into()))
}

/// A guard that has taken a list.
fn serving(rules: &Discovery) -> Guard {
    let mut guard = Guard::resume(rules, SourceStanding::default());
    assert_eq!(guard.see(list(4, 0, 0), 100), ListRuling::TakeAt(100), "the first list settles nothing");
    assert!(guard.may_take(100));
    guard.has_taken(100);
    guard
}

fn list(listed: usize, serving: usize, gone: usize) -> Sight {
    Sight::Listed { listed, serving, gone, differs: true }
}

const SAME: Sight = Sight::Listed { listed: 4, serving: 4, gone: 0, differs: false };

#[test]
fn an_empty_list_is_held_until_it_was_seen_three_times_and_for_half_a_minute() {
    let mut guard = serving(&rules());
    assert_eq!(guard.see(list(0, 4, 4), 10_000), ListRuling::Hold { is_new: true });
    assert_eq!(guard.standing().stage, SourceStage::HeldEmpty);
    assert_eq!(guard.see(list(0, 4, 4), 12_000), ListRuling::Hold { is_new: false });
    assert_eq!(guard.see(list(0, 4, 4), 39_999), ListRuling::Hold { is_new: false });
    assert_eq!(guard.see(list(0, 4, 4), 40_000), ListRuling::TakeAt(40_200));
    assert_eq!(guard.standing().stage, SourceStage::Ok);
    let mut seldom = serving(&rules());
    assert_eq!(seldom.see(list(0, 4, 4), 10_000), ListRuling::Hold { is_new: true });
    assert_eq!(seldom.see(list(0, 4, 4), 90_000), ListRuling::Hold { is_new: false }, "twice is too little");
}

#[test]
fn a_failure_or_a_good_list_begins_the_count_of_a_held_one_anew() {
    for between in [Sight::Failed, SAME] {
        let mut guard = serving(&rules());
        guard.see(list(0, 4, 4), 10_000);
        guard.see(list(0, 4, 4), 20_000);
        guard.see(between, 30_000);
        assert_eq!(guard.see(list(0, 4, 4), 40_000), ListRuling::Hold { is_new: true }, "{between:?}");
        assert_eq!(guard.standing().held_seen, 1);
    }
}

#[test]
fn a_list_that_was_held_settles_also_when_it_is_looked_at_meanwhile() {
    let mut guard = serving(&Discovery { settle_ms: 5_000, ..rules() });
    for at_ms in (10_000..40_000).step_by(2_000) {
        assert!(matches!(guard.see(list(1, 4, 3), at_ms), ListRuling::Hold { .. }), "at {at_ms}");
    }
    for at_ms in [40_000, 42_000, 44_000] {
        assert_eq!(guard.see(list(1, 4, 3), at_ms), ListRuling::TakeAt(45_000), "at {at_ms}");
    }
    // One of another kind is held for itself.
    let mut other = guard.clone();
    assert_eq!(other.see(list(0, 4, 4), 44_500), ListRuling::Hold { is_new: true });
    assert!(!other.may_take(45_000));
    assert!(guard.may_take(45_000));
    guard.has_taken(45_000);
    assert_eq!(guard.see(list(0, 1, 1), 46_000), ListRuling::Hold { is_new: true });
}

#[test]
fn the_rules_for_empty_lists_hold() {
    let mut keep = serving(&Discovery { empty: EmptyList::Keep, ..rules() });
    for at in 1..100 {
        assert!(matches!(keep.see(list(0, 4, 4), at * 10_000), ListRuling::Hold { .. }));
    }
    let mut take = serving(&Discovery { empty: EmptyList::Take, ..rules() });
    assert_eq!(take.see(list(0, 4, 4), 10_000), ListRuling::TakeAt(10_200));
}

#[test]
fn a_list_without_more_than_half_is_held_and_taken_by_order() {
    let mut guard = serving(&rules());
    assert!(!guard.accept(), "nothing is held");
    assert_eq!(guard.see(list(2, 4, 2), 10_000), ListRuling::TakeAt(10_200), "half is not more than half");
    let mut guard = serving(&rules());
    assert_eq!(guard.see(list(1, 4, 3), 10_000), ListRuling::Hold { is_new: true });
    assert_eq!(guard.standing().stage, SourceStage::HeldShrunk);
    assert!(guard.accept());
    assert_eq!(guard.see(list(1, 4, 3), 10_100), ListRuling::TakeAt(10_300));
    let mut all = serving(&Discovery { shrink_percent: 100, ..rules() });
    assert_eq!(all.see(list(1, 4, 4), 10_000), ListRuling::TakeAt(10_200));
}

#[test]
fn a_failing_source_is_told_of_once_and_its_list_stays() {
    let mut guard = serving(&rules());
    assert_eq!(guard.see(Sight::Failed, 10_000), ListRuling::Stale { is_new: true });
    for at in 11..1000 {
        assert_eq!(guard.see(Sight::Failed, at * 10_000), ListRuling::Stale { is_new: false });
    }
    assert_eq!(guard.standing().failing_ms, 10_000);
    assert_eq!(guard.see(SAME, 10_000_000), ListRuling::Stay);
    assert_eq!(guard.standing().failing_ms, 0);
    assert_eq!(guard.see(Sight::Failed, 10_001_000), ListRuling::Stale { is_new: true });
}

#[test]
fn a_list_is_good_for_as_long_as_is_said() {
    let mut guard = serving(&Discovery { stale_ms: Some(60_000), ..rules() });
    guard.see(SAME, 10_000);
    assert_eq!(guard.see(Sight::Failed, 69_999), ListRuling::Stale { is_new: true });
    assert_eq!(guard.see(Sight::Failed, 70_000), ListRuling::Expire);
    assert_eq!(guard.see(Sight::Failed, 80_000), ListRuling::Stay, "once");
    assert_eq!(guard.standing().stage, SourceStage::Expired);
    assert!(matches!(guard.see(list(4, 0, 0), 90_000), ListRuling::TakeAt(_)));
}

#[test]
fn another_leader_goes_on_with_what_is_held() {
    let mut first = serving(&rules());
    first.see(list(0, 4, 4), 10_000);
    first.see(list(0, 4, 4), 20_000);
    let mut second = Guard::resume(&rules(), first.standing());
    assert_eq!(second.see(list(0, 4, 4), 40_000), ListRuling::TakeAt(40_200));
}

#[test]
fn a_member_goes_when_enough_lists_in_a_row_leave_it_out() {
    let mut absences = Absences::default();
    let mut see = |listed: &[&str], most| {
        let listed: HashSet<&str> = listed.iter().copied().collect();
        let mut stays: Vec<&str> = absences.see(["a", "b"].into_iter(), &listed, most).into_iter().collect();
        stays.sort_unstable();
        stays
    };
    assert_eq!(see(&["a"], 2), ["b"]);
    assert_eq!(see(&["a", "b"], 2), [""; 0]);
    assert_eq!(see(&["a"], 2), ["b"], "it was there between");
    assert_eq!(see(&["a"], 2), [""; 0]);
    assert_eq!(see(&[], 1), [""; 0], "one list is enough");
}

fn sight() -> impl Strategy<Value = Sight> {
    let listed =
        (0..6_usize, 0..6_usize, 0..6_usize, any::<bool>()).prop_map(|(listed, serving, gone, differs)| {
            let gone = gone.min(serving).max(serving.saturating_sub(listed));
            Sight::Listed { listed, serving, gone, differs: differs || gone > 0 }
        });
    prop_oneof![1 => Just(Sight::Failed), 3 => listed]
}

proptest! {
    /// No list that is empty, or that lacks too many, is taken before its time.
    #[test]
    fn nothing_is_taken_that_is_to_be_held(steps in proptest::collection::vec((sight(), 0..20_000_u64), 1..60)) {
        let rules = rules();
        let mut guard = serving(&rules);
        let (mut now_ms, mut row, mut since_ms, mut kind) = (10_000, 0, 0, None);
        for (sight, pause_ms) in steps {
            now_ms += pause_ms;
            let bad = match sight {
                Sight::Listed { listed: 0, serving, .. } if serving > 0 => Some(true),
                Sight::Listed { serving, gone, .. } if gone * 2 > serving => Some(false),
                _ => None,
            };
            match bad {
                Some(_) if bad == kind => row += 1,
                _ => (row, since_ms, kind) = (1, now_ms, bad),
            }
            let ruling = guard.see(sight, now_ms);
            let is_taken = matches!(ruling, ListRuling::TakeAt(_));
            if bad.is_some() {
                let may = row >= HOLD_SEEN && now_ms - since_ms >= HOLD_MS;
                prop_assert_eq!(is_taken, may, "{:?} {} {}", sight, row, now_ms - since_ms);
            }
            prop_assert!(!(is_taken && sight == Sight::Failed));
            prop_assert_ne!(ruling, ListRuling::Expire, "stale=forever");
        }
    }

    /// However fast lists change, a pool does so once a second at most.
    #[test]
    fn changes_are_a_second_apart(steps in proptest::collection::vec(0..700_u64, 1..80)) {
        let mut guard = serving(&rules());
        let (mut now_ms, mut last_ms, mut first_ms) = (10_000, 100, None);
        for pause_ms in steps {
            now_ms += pause_ms;
            let ruling = guard.see(list(5, 4, 0), now_ms);
            prop_assert!(matches!(ruling, ListRuling::TakeAt(_)));
            first_ms = first_ms.or(Some(now_ms));
            if guard.may_take(now_ms) {
                prop_assert!(now_ms >= last_ms + SPACE_MS);
                prop_assert!(now_ms - first_ms.take().unwrap_or(now_ms) >= 200);
                guard.has_taken(now_ms);
                last_ms = now_ms;
            }
        }
    }

    #[test]
    fn a_list_that_changes_nothing_is_never_taken(times in proptest::collection::vec(0..50_000_u64, 1..40)) {
        let mut guard = serving(&rules());
        let mut now_ms = 10_000;
        for pause_ms in times {
            now_ms += pause_ms;
            prop_assert_eq!(guard.see(SAME, now_ms), ListRuling::Stay);
            prop_assert!(!guard.may_take(now_ms + 1_000_000));
        }
    }
}
