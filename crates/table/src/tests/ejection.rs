// SPDX-License-Identifier: Apache-2.0
//! However many fail, a pool keeps a member that serves.

use balance::ejection::is_announced;
use balance::live::Live;
use balance::settings::Outlier;
use balance::status::Status;
use balance::store::{Store, Vitals};

use super::*;
use crate::primitive::crash::{after, around};

fn at_once() -> Outlier {
    Outlier { failures: 1, max_percent: 100, ..Outlier::default() }
}

fn pool_of(names: &[&str]) -> (Table, Vec<Arc<Member>>) {
    let table = table();
    let specs: Vec<_> = names.iter().zip(1..).map(|(name, port)| spec(name, port, 100)).collect();
    let pool = table.define("app", &settings(), &specs, 1).unwrap();
    let members = members(&table, pool);
    (table, members)
}

fn usable(table: &Table, members: &[Arc<Member>]) -> usize {
    members.iter().filter(|member| table.status(member.slot).usable()).count()
}

#[test]
fn members_that_fail_at_once_never_empty_their_pool() {
    let mut stops = 0;
    for steps in 0..100 {
        let (table, members) = pool_of(&["a", "b"]);
        let (slow, quick) = (table.clone(), table.clone());
        let fail = |table: &Table, at: usize| table.count_failure(&members, &members[at], &at_once(), 10);
        let (_, _, stopped) = around(steps, || fail(&slow, 0), || fail(&quick, 1));
        assert!(usable(&table, &members) >= 1, "stopped at step {steps}");
        if !stopped {
            break;
        }
        stops += 1;
    }
    assert!(stops > 2, "only {stops} steps");
}

#[test]
fn a_failure_that_may_not_eject_is_counted_and_the_next_one_tries_again() {
    let (table, members) = pool_of(&["a", "b"]);
    let fail = |at: usize| table.count_failure(&members, &members[at], &at_once(), 10);
    assert_eq!((fail(0), fail(1)), (Some(10_000), None));
    table.update_outlier(members[0].slot, members[0].incarnation, |_| 0);
    table.update(members[0].slot, members[0].incarnation, &mut |s| s.without(Status::EJECTED)).unwrap();
    assert_eq!(fail(1), Some(10_000));
}

#[test]
fn the_last_member_that_serves_stays_whatever_state_the_others_are_in() {
    for flag in
        [Status::DISABLED, Status::STOPPED, Status::DRAINING, Status::CHECK_DOWN, Status::FORCED_ERROR]
    {
        let (table, members) = pool_of(&["a", "b", "c", "d"]);
        for other in &members[1..] {
            table.update(other.slot, other.incarnation, &mut |status| status.with(flag)).unwrap();
        }
        assert_eq!(table.count_failure(&members, &members[0], &at_once(), 10), None, "{flag:#x}");
        assert_eq!(usable(&table, &members), 1);
    }
}

#[test]
fn an_ejection_whose_announcer_died_holds_nobody_else_back_for_good() {
    for steps in 0..4 {
        let (table, members) = pool_of(&["a", "b"]);
        let fail = |at: usize| table.count_failure(&members, &members[at], &at_once(), 10);
        if after(steps, || fail(0)).is_some() {
            break;
        }
        if is_announced(&table, members[0].slot) {
            table.update_outlier(members[0].slot, members[0].incarnation, |word| {
                balance::outlier::OutlierState::from_bits(word).expire(20_000).0.to_bits()
            });
        }
        assert_eq!(fail(1), Some(10_000), "died at step {steps}");
    }
}
