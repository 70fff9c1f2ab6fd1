// SPDX-License-Identifier: Apache-2.0
//! Attempts that are repeated, and failures that count: one row for each rule, with the server
//! tests that show it (`scripts/house` looks that they are there).

use super::super::*;
use Outcome::{Answered, Broken, Connect, NoWorker, NotTheMember, Reset, Stale, Timeout};

const GET: Asked =
    Asked { idempotent: true, has_body: false, expects: false, answered: false, aborted: false };
const PUT: Asked = Asked { has_body: true, ..GET };
const POST: Asked = Asked { idempotent: false, has_body: true, ..GET };

/// The kinds of `retry_on=` when nobody sets it.
fn usual() -> FailureKinds {
    PoolSettings::default().set.retry_on
}

/// Only connections that were not made.
fn connect() -> FailureKinds {
    FailureKinds { connect: true, ..FailureKinds::default() }
}

/// The rule, the attempt's end, the request, `retry_on=`, whether it is repeated, and the tests.
type Row = (&'static str, Outcome, Asked, FailureKinds, bool, &'static [&'static str]);

/// Nothing of the request was sent: mod_proxy_http has read the body ahead, and keeps it.
fn unsent() -> Vec<Row> {
    let none = FailureKinds::default();
    vec![
        (
            "a GET that met nobody",
            Connect,
            GET,
            usual(),
            true,
            &["failover::no_more_than_retries_further_members_are_tried"],
        ),
        (
            "a POST that met nobody",
            Connect,
            POST,
            usual(),
            true,
            &[
                "failover::a_refused_connection_moves_on_with_the_body_intact",
                "other_schemes::a_post_to_a_member_that_refuses_goes_to_another",
                "backends::a_blackhole_costs_one_connectiontimeout",
            ],
        ),
        ("retry_on=connect", Connect, GET, connect(), true, &["failover::retry_on_names_what_is_retried"]),
        ("retry_on= without it", Connect, GET, none.clone(), false, &[]),
        ("a client that has gone", Connect, Asked { aborted: true, ..GET }, usual(), false, &[]),
        (
            "no worker, whatever retry_on= says",
            NoWorker,
            POST,
            none.clone(),
            true,
            &["blame::a_member_whose_connections_are_all_in_use_has_not_failed"],
        ),
        ("no worker and no client", NoWorker, Asked { aborted: true, ..GET }, none, false, &[]),
    ]
}

/// The member may have begun with it.
fn sent() -> Vec<Row> {
    let timeouts = FailureKinds { timeout: true, ..usual() };
    vec![
        (
            "a GET that was cut off",
            Reset,
            GET,
            usual(),
            true,
            &[
                "failover::a_reset_get_is_retried_on_fresh_and_kept_alive_clients",
                "failover::half_a_header_is_no_answer",
                "other_schemes::a_get_that_a_member_ended_goes_to_another",
            ],
        ),
        (
            "a reset with retry_on=connect",
            Reset,
            GET,
            connect(),
            false,
            &["failover::retry_on_names_what_is_retried"],
        ),
        (
            "a PUT with a body that is gone",
            Reset,
            PUT,
            usual(),
            false,
            &["backends::an_early_answer_to_an_upload_reaches_the_client"],
        ),
        (
            "a POST that was cut off",
            Reset,
            POST,
            usual(),
            false,
            &[
                "failover::a_post_is_not_repeated_after_a_reset",
                "other_schemes::a_post_that_reached_a_member_is_not_repeated_at_another",
                "keepalive::a_request_that_a_member_read_over_tls_is_never_sent_to_another",
            ],
        ),
        (
            "a POST without a body",
            Reset,
            Asked { has_body: false, ..POST },
            usual(),
            false,
            &["failover::idempotent_methods_are_retried_and_others_not"],
        ),
        (
            "a GET over a kept connection",
            Stale,
            GET,
            usual(),
            true,
            &[
                "failover::a_connection_that_dies_idle_costs_nobody_an_answer",
                "backends::connections_that_close_just_as_the_next_request_arrives_cost_nobody_an_answer",
            ],
        ),
        (
            "a POST over a kept connection",
            Stale,
            POST,
            usual(),
            false,
            &["keepalive::a_lone_member_is_asked_again_when_it_closes_a_kept_connection_just_then"],
        ),
        (
            "a timeout, unless retry_on= names it",
            Timeout,
            GET,
            usual(),
            false,
            &["failover::a_timeout_is_retried_only_when_asked_for"],
        ),
        (
            "a timeout that retry_on= names",
            Timeout,
            GET,
            timeouts,
            true,
            &["counts/ends::further_attempts_are_counted_by_their_reason_and_the_request_once"],
        ),
        (
            "an answer that the client has a part of",
            Broken,
            GET,
            usual(),
            false,
            &[
                "failover::half_a_body_is_never_mixed_with_another_members",
                "keepalive::answers_that_break_off_count_against_the_member_and_are_not_repeated",
                "other_schemes::an_answer_over_fastcgi_that_breaks_off_counts_against_the_member_and_is_not_repeated",
            ],
        ),
        ("a failure after bytes went out", Reset, Asked { answered: true, ..GET }, usual(), false, &[]),
        (
            "the client's own fault",
            NotTheMember,
            GET,
            usual(),
            false,
            &["hostile::no_spoilt_request_gets_a_member_ejected"],
        ),
        ("an answer", Answered(503), GET, usual(), false, &["failover::an_answer_of_5xx_is_passed_on"]),
    ]
}

#[test]
fn a_request_is_repeated_only_where_that_does_no_harm() {
    for (rule, outcome, asked, kinds, expected, _) in [unsent(), sent()].concat() {
        assert_eq!(again(outcome, asked, &kinds), expected, "{rule}: {outcome:?} {asked:?} {kinds:?}");
    }
}

#[test]
fn a_client_that_holds_its_body_back_is_to_blame() {
    let expects = Asked { expects: true, ..POST };
    let stops: &[&str] = &["blame::a_client_that_stops_sending_blames_no_member"];
    let waits: &[&str] = &[
        "blame::a_member_that_answers_before_the_body_is_not_to_blame",
        "blame::a_member_that_does_not_know_of_expectations_is_not_to_blame",
    ];
    let rows = [
        (Timeout, POST, false, true, stops),
        (Reset, POST, false, true, stops),
        (Broken, POST, false, true, stops),
        (Timeout, POST, true, false, &[]),
        (Reset, POST, true, false, &["blame::a_member_that_resets_after_a_whole_body_is_to_blame"]),
        (Reset, expects, true, true, waits),
        (Stale, expects, true, true, waits),
        (Timeout, expects, true, true, waits),
        (Timeout, GET, false, false, &["blame::a_member_that_answers_nobody_is_ejected"]),
        (Connect, expects, false, false, &[]),
        (Answered(200), expects, false, false, &[]),
    ];
    for (outcome, asked, prompt, expected, _) in rows {
        assert_eq!(is_the_clients(outcome, asked, prompt), expected, "{outcome:?} {asked:?} prompt={prompt}");
    }
}

#[test]
fn only_a_failure_of_the_members_own_counts_against_it() {
    let rows: [(Outcome, bool, &[&str]); 9] = [
        (Connect, true, &["failover::failing_members_are_ejected_and_come_back"]),
        (
            Reset,
            true,
            &[
                "keepalive::only_what_happens_on_a_fresh_connection_or_within_an_answer_counts_against_a_member",
            ],
        ),
        (Stale, false, &["backends::connections_that_close_just_as_the_next_request_arrives_eject_nobody"]),
        (Broken, true, &["keepalive::answers_that_break_off_count_against_the_member_and_are_not_repeated"]),
        (Timeout, true, &["blame::a_member_that_answers_nobody_is_ejected"]),
        (NoWorker, false, &["blame::a_member_whose_connections_are_all_in_use_has_not_failed"]),
        (NotTheMember, false, &["hostile::no_spoilt_request_gets_a_member_ejected"]),
        (Answered(429), true, &["failover::outlier_counts_the_statuses_it_is_told"]),
        (Answered(200), true, &[]),
    ];
    for (outcome, expected, _) in rows {
        assert_eq!(outcome.is_the_members(), expected, "{outcome:?}");
    }
}
