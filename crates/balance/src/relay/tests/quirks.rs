// SPDX-License-Identifier: Apache-2.0
//! The ways of mod_proxy and its scheme modules, and their meaning: one row each.
//!
//! A row names the server tests that show its quirk, as file and function below `tests/tests`;
//! where none does, the file of httpd's in which it was read. `scripts/house` looks that these
//! tests are there, and that each test of the server's files about attempts is named.

use std::collections::BTreeSet;

use super::super::{ErrorWords, Exchange, HookStatus, Outcome, SchemeModule, judge};
use super::exchanges::{
    by, fresh, gone, kept, of_document, over_tls, overridden, status, timed_out, unknown_coding, words,
};
use ErrorWords::{NameNotFound, NothingRead, Other};
use HookStatus::{Declined, Done, FilterError, Http, Ok, Suspended};
use Outcome::{Answered, Broken, Connect, NoWorker, NotTheMember, Reset, Stale, Timeout};
use SchemeModule as Module;

/// The quirk, an exchange that shows it, its meaning, and where it is known from.
type Row = (&'static str, Exchange, Outcome, &'static [&'static str]);

fn answers() -> Vec<Row> {
    vec![
        (
            "an answer, however slowly or after whatever interim ones it comes",
            fresh(Ok),
            Answered(200),
            &[
                "backends::a_header_byte_by_byte_within_the_timeout_is_an_answer",
                "backends::interim_answers_come_before_the_answer_however_many",
                "keepalive::exchanges_that_end_well_are_not_failures",
            ],
        ),
        (
            "an answer of the member's 500",
            status(500, fresh(Ok)),
            Answered(500),
            &[
                "failover::an_answer_of_5xx_is_passed_on",
                "counts/ends::each_end_of_a_request_is_counted_once",
            ],
        ),
        (
            "an answer that came before the member had read the upload",
            status(413, fresh(Ok)),
            Answered(413),
            &["backends::an_early_answer_to_an_upload_reaches_the_client"],
        ),
        (
            "an upgrade that the member refuses",
            status(400, fresh(Ok)),
            Answered(400),
            &["backends::a_websocket_is_refused_by_a_member_without_harm"],
        ),
        (
            "ProxyErrorOverride returns the member's status",
            overridden(kept(Http(404))),
            Answered(404),
            &["way_back::an_error_page_in_place_of_an_answer_carries_the_cookie"],
        ),
        (
            "also of a 500, which is not a connection that ended",
            overridden(kept(Http(500))),
            Answered(500),
            &["sticky/variables::error_pages_carry_the_cookie_of_a_member_that_answered"],
        ),
        (
            "and of a 503, which is not a failed connection",
            overridden(kept(Http(503))),
            Answered(503),
            &["mod_proxy_http.c"],
        ),
        (
            "and of one that came as the client left",
            gone(overridden(kept(Http(502)))),
            Answered(502),
            &["mod_proxy_http.c"],
        ),
        (
            "DONE for a client that left while it was answered",
            gone(fresh(Done)),
            Answered(200),
            &[
                "keepalive::exchanges_that_end_well_are_not_failures",
                "hostile::no_client_that_leaves_inside_an_answer_gets_a_member_ejected",
                "counts/ends::each_end_of_a_request_is_counted_once",
            ],
        ),
        (
            "DONE for a member that broke its answer off, or let it wait for too long",
            fresh(Done),
            Broken,
            &[
                "failover::half_a_body_is_never_mixed_with_another_members",
                "keepalive::answers_that_break_off_count_against_the_member_and_are_not_repeated",
                "backends::a_reset_inside_a_body_is_a_broken_answer_and_nothing_else",
                "backends::a_reset_inside_a_chunk_never_looks_like_a_whole_body",
                "backends::a_body_slower_than_the_timeout_ends_with_it",
            ],
        ),
        (
            "DONE for a WebSocket that ends",
            status(101, fresh(Done)),
            Answered(101),
            &[
                "keepalive::exchanges_that_end_well_are_not_failures",
                "counts/ends::a_handshake_and_a_protocol_of_its_own_are_answers_as_well",
            ],
        ),
        (
            "SUSPENDED for a WebSocket that has no thread",
            status(101, fresh(Suspended)),
            Answered(101),
            &["mod_proxy_http.c"],
        ),
        (
            "mod_proxy_fcgi: AP_FILTER_ERROR for an answer that broke off",
            by(Module::Counting, FilterError),
            Broken,
            &[
                "other_schemes::an_answer_over_fastcgi_that_breaks_off_counts_against_the_member_and_is_not_repeated",
            ],
        ),
        (
            "mod_proxy_ajp: DONE for one",
            by(Module::Ajp, Done),
            Broken,
            &[
                "other_schemes::an_answer_over_ajp_that_breaks_off_counts_against_the_member_and_is_not_repeated",
            ],
        ),
        (
            "mod_proxy_scgi, _uwsgi: OK for one, whose length they do not compare",
            by(Module::Counting, Ok),
            Answered(200),
            &["mod_proxy_uwsgi.c"],
        ),
        (
            "mod_proxy_fcgi: OK for a client that has gone",
            gone(by(Module::Counting, Ok)),
            Answered(200),
            &["mod_proxy_fcgi.c"],
        ),
    ]
}

fn connections() -> Vec<Row> {
    vec![
        (
            "mod_proxy_http: 503 without a connection, also where connections are few",
            kept(Http(503)),
            Connect,
            &[
                "failover::a_refused_connection_moves_on_with_the_body_intact",
                "blame::a_refused_connection_counts_also_where_connections_are_few",
                "backends::a_websocket_comes_through_a_dead_first_member",
            ],
        ),
        (
            "no note of the time when a connection is not made in time",
            kept(Http(503)),
            Connect,
            &["backends::a_blackhole_costs_one_connectiontimeout"],
        ),
        (
            "503 with a note of the time when `100 Continue` does not come",
            words(timed_out(fresh(Http(503))), Other),
            Timeout,
            &[
                "blame::a_member_that_does_not_know_of_expectations_is_not_to_blame",
                "backends::expect_100_continue_is_kept_with_members_of_every_temper",
            ],
        ),
        (
            "503 for no free connection in time",
            Exchange { exhausted: true, ..kept(Http(503)) },
            NoWorker,
            &["blame::a_member_whose_connections_are_all_in_use_has_not_failed"],
        ),
        (
            "an error document's request has the error's status from the beginning",
            of_document(Http(503)),
            Connect,
            &["blame::an_error_document_behind_the_dead_pool_is_asked_for_once"],
        ),
        (
            "mod_proxy_ajp: 503 without a connection, and without an answer to what may be repeated",
            by(Module::Ajp, Http(503)),
            Connect,
            &[
                "other_schemes::a_post_to_a_member_that_refuses_goes_to_another",
                "other_schemes::a_get_that_a_member_ended_goes_to_another",
            ],
        ),
        (
            "mod_proxy_fcgi, _scgi, _uwsgi: 503 without a connection",
            Exchange { sent: false, ..by(Module::Counting, Http(503)) },
            Connect,
            &["other_schemes::a_post_to_a_member_that_refuses_goes_to_another"],
        ),
        (
            "mod_proxy_fcgi: 503 for a connection that ended after it was sent to",
            by(Module::Counting, Http(503)),
            Reset,
            &["other_schemes::a_post_that_reached_a_member_is_not_repeated_at_another"],
        ),
        (
            "mod_proxy_http2: 503 for everything",
            by(Module::Unknown, Http(503)),
            Reset,
            &["other_schemes::a_post_over_http2_goes_to_no_other_member_whatever_has_failed"],
        ),
        (
            "500 for a name that is not found",
            words(kept(Http(500)), NameNotFound),
            Connect,
            &["proxy_util.c"],
        ),
        ("also with TLS", over_tls(words(kept(Http(500)), NameNotFound)), Connect, &["proxy_util.c"]),
        (
            "the member's own words of a name that is not found, in a 502",
            words(fresh(Http(502)), NameNotFound),
            Reset,
            &["mod_proxy_http.c"],
        ),
        (
            "500 for a handshake that failed",
            over_tls(fresh(Http(500))),
            Connect,
            &["tls_members::a_peers_name_is_asked_for_and_has_to_be_in_its_certificate"],
        ),
        (
            "502 for a connection with TLS that ended after the handshake",
            over_tls(words(fresh(Http(502)), NothingRead)),
            Reset,
            &["keepalive::a_request_that_a_member_read_over_tls_is_never_sent_to_another"],
        ),
    ]
}

fn failures() -> Vec<Row> {
    vec![
        (
            "502 for a new connection that ended, whatever request of its own the client is at",
            words(fresh(Http(502)), NothingRead),
            Reset,
            &[
                "failover::a_reset_get_is_retried_on_fresh_and_kept_alive_clients",
                "keepalive::the_last_request_of_a_clients_connection_fails_over_like_the_others",
                "keepalive::a_variable_for_unpooled_first_requests_changes_nothing_about_failover",
                "keepalive::only_what_happens_on_a_fresh_connection_or_within_an_answer_counts_against_a_member",
            ],
        ),
        (
            "502 without words for a member that hung up within an upload",
            fresh(Http(502)),
            Reset,
            &["blame::a_client_that_stops_sending_blames_no_member"],
        ),
        (
            "502 for a kept connection that was closed just then",
            words(kept(Http(502)), NothingRead),
            Stale,
            &[
                "failover::a_connection_that_dies_idle_costs_nobody_an_answer",
                "keepalive::a_lone_member_is_asked_again_when_it_closes_a_kept_connection_just_then",
                "backends::connections_that_close_just_as_the_next_request_arrives_cost_nobody_an_answer",
            ],
        ),
        (
            "also behind an error document",
            words(of_document(Http(502)), NothingRead),
            Stale,
            &["mod_proxy_http.c"],
        ),
        (
            "502 without words for a kept connection that took nothing",
            kept(Http(502)),
            Stale,
            &["backends::connections_that_close_just_as_the_next_request_arrives_eject_nobody"],
        ),
        ("500 in earlier versions", kept(Http(500)), Stale, &["mod_proxy_http.c"]),
        (
            "its own words for bytes that are not an answer",
            words(kept(Http(502)), Other),
            Reset,
            &["backends::bytes_that_are_no_http_are_never_passed_on_as_an_answer"],
        ),
        (
            "502 also as the request's status for a header that breaks off or has no end",
            status(502, kept(Http(502))),
            Reset,
            &[
                "failover::half_a_header_is_no_answer",
                "keepalive::only_what_happens_on_a_fresh_connection_or_within_an_answer_counts_against_a_member",
                "backends::a_header_slower_than_the_timeout_ends_with_it",
                "backends::an_endless_header_is_refused_and_the_thread_lives",
            ],
        ),
        (
            "the request's status is the one that came before the end",
            status(204, words(kept(Http(502)), NothingRead)),
            Reset,
            &["mod_proxy_http.c"],
        ),
        (
            "502 for interim answers without an end",
            status(100, words(kept(Http(502)), Other)),
            Reset,
            &["backends::endless_interim_answers_take_no_thread_for_good"],
        ),
        (
            "502 for a protocol that nobody asked for",
            status(101, words(fresh(Http(502)), Other)),
            Reset,
            &["mod_proxy_http.c"],
        ),
        (
            "500 for an answer before the body, where the client waits for `100 Continue`",
            fresh(Http(500)),
            Reset,
            &["blame::a_member_that_answers_before_the_body_is_not_to_blame"],
        ),
        (
            "mod_proxy_scgi, _uwsgi: 500 for a connection that ended, or was silent for too long",
            by(Module::Counting, Http(500)),
            Reset,
            &["other_schemes::a_get_that_a_member_ended_goes_to_another"],
        ),
        (
            "mod_proxy_ajp: 500 without an answer to what may not be repeated",
            by(Module::Ajp, Http(500)),
            Reset,
            &["other_schemes::a_post_that_reached_a_member_is_not_repeated_at_another"],
        ),
        (
            "mod_proxy_http alone tells kept connections",
            words(by(Module::Ajp, Http(502)), NothingRead),
            Reset,
            &["mod_proxy_ajp.c"],
        ),
        (
            "502 with a note for an answer that did not come in time",
            timed_out(words(kept(Http(502)), NothingRead)),
            Timeout,
            &[
                "failover::a_timeout_is_retried_only_when_asked_for",
                "existing_lua::a_peer_that_takes_too_long_is_left_for_the_next",
                "blame::a_url_without_an_answer_ejects_no_member_that_answers_others",
                "blame::a_member_that_answers_nobody_is_ejected",
                "blame::a_slow_url_alone_leaves_a_part_of_the_pool",
            ],
        ),
        ("500 with a note", timed_out(by(Module::Counting, Http(500))), Timeout, &["mod_proxy_fcgi.c"]),
        (
            "504 without a note for a member that stops reading",
            kept(Http(504)),
            Timeout,
            &["entrances::a_member_that_stops_reading_an_upload_is_out_of_time"],
        ),
        (
            "mod_proxy_fcgi, _scgi: 504 without a note",
            by(Module::Counting, Http(504)),
            Timeout,
            &["mod_proxy_fcgi.c"],
        ),
        (
            "mod_proxy_ajp: 504 with a note where ping= is set",
            timed_out(by(Module::Ajp, Http(504))),
            Timeout,
            &["mod_proxy_ajp.c"],
        ),
    ]
}

fn the_clients() -> Vec<Row> {
    const SPOILT: &[&str] = &["hostile::no_spoilt_request_gets_a_member_ejected"];
    vec![
        (
            "502 for a client that left before an answer",
            gone(words(kept(Http(502)), NothingRead)),
            NotTheMember,
            &["backends::a_client_that_leaves_at_any_point_leaves_nothing_in_flight"],
        ),
        ("503 for one that left before a connection", gone(kept(Http(503))), NotTheMember, SPOILT),
        ("413 for a body that is too large", kept(Http(413)), NotTheMember, SPOILT),
        ("408 for one that did not come", kept(Http(408)), NotTheMember, SPOILT),
        ("400 for one that is not whole", kept(Http(400)), NotTheMember, SPOILT),
        (
            "mod_proxy_scgi, _uwsgi: 411 for one of unknown length",
            by(Module::Counting, Http(411)),
            NotTheMember,
            &["other_schemes::a_body_of_unknown_length_is_refused_and_counts_against_no_member"],
        ),
        (
            "AP_FILTER_ERROR for one that a filter has refused",
            status(413, kept(FilterError)),
            NotTheMember,
            SPOILT,
        ),
        (
            "also from mod_proxy_fcgi",
            status(413, by(Module::Counting, FilterError)),
            NotTheMember,
            &["mod_proxy_fcgi.c"],
        ),
        (
            "AP_FILTER_ERROR as the client left",
            gone(by(Module::Counting, FilterError)),
            NotTheMember,
            &["mod_proxy_fcgi.c"],
        ),
        (
            "500 for a transfer coding that it does not know",
            unknown_coding(fresh(Http(500))),
            NotTheMember,
            &["hostile::an_encoding_that_nobody_knows_gets_no_member_ejected"],
        ),
        (
            "also where TLS is spoken",
            over_tls(unknown_coding(fresh(Http(500)))),
            NotTheMember,
            &["mod_proxy_http.c"],
        ),
        (
            "DECLINED where nobody speaks the scheme",
            by(Module::Unknown, Declined),
            NotTheMember,
            &["mod_proxy.c"],
        ),
    ]
}

#[test]
fn each_end_of_an_exchange_has_its_verdict() {
    for (quirk, exchange, expected, _) in [answers(), connections(), failures(), the_clients()].concat() {
        assert_eq!(judge(&exchange), expected, "{quirk}: {exchange:?}");
    }
}

#[test]
fn each_quirk_stands_once_and_says_where_it_is_known_from() {
    let all = [answers(), connections(), failures(), the_clients()].concat();
    let names: BTreeSet<_> = all.iter().map(|(quirk, ..)| quirk).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.iter().all(|(.., known)| !known.is_empty()));
}
