// SPDX-License-Identifier: Apache-2.0
//! Tests in the server's files about attempts that show no way of mod_proxy: the decision that they
//! show is tested where it is made.

use std::collections::BTreeSet;

/// The test, and the home of its decision.
const ELSEWHERE: [(&str, &str); 7] = [
    ("failover::an_empty_pool_answers_on_empty_with_retry_after", "balance::relay::retry_after_s"),
    ("failover::failing_members_are_ejected_and_come_back", "balance::ejection"),
    ("failover::the_last_member_is_never_ejected", "balance::ejection"),
    ("failover::outlier_counts_the_statuses_it_is_told", "balance::lifecycle"),
    ("failover::without_outlier_a_failing_member_stays", "balance::lifecycle"),
    ("failover::one_that_is_ejected_is_asked_before_a_request_fails", "balance::choosing"),
    (
        "keepalive::a_lone_member_that_fails_on_a_fresh_connection_too_is_asked_no_third_time",
        "balance::choosing",
    ),
];

#[test]
fn each_test_stands_once() {
    let tests: BTreeSet<_> = ELSEWHERE.iter().map(|(test, _)| test).collect();
    assert_eq!(tests.len(), ELSEWHERE.len());
    assert!(ELSEWHERE.iter().all(|(_, home)| home.starts_with("balance::")));
}
