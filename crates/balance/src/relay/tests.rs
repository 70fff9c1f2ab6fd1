// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::settings::{CheckKind, HealthCheck};

use ErrorWords::{NameNotFound, NothingRead, Other};
use HookStatus::{Declined, Done, Http, Ok, Suspended};
use SchemeModule as Module;

/// An exchange that mod_proxy_http has had over a kept connection, and returned this.
fn kept(returned: HookStatus) -> Exchange {
    Exchange {
        module: Module::Http,
        returned,
        status_before: 200,
        status: 200,
        aborted: false,
        connected: false,
        sent: true,
        secure: false,
        exhausted: false,
        signs: FailureSigns::default(),
    }
}

/// The same over a new connection.
fn fresh(returned: HookStatus) -> Exchange {
    Exchange { connected: true, ..kept(returned) }
}

fn by(module: Module, returned: HookStatus) -> Exchange {
    Exchange { module, ..kept(returned) }
}

fn words(exchange: Exchange, words: ErrorWords) -> Exchange {
    Exchange { signs: FailureSigns { words, ..exchange.signs }, ..exchange }
}

fn timed_out(exchange: Exchange) -> Exchange {
    Exchange { signs: FailureSigns { timed_out: true, ..exchange.signs }, ..exchange }
}

fn overridden(exchange: Exchange) -> Exchange {
    Exchange { signs: FailureSigns { overridden: true, ..exchange.signs }, ..exchange }
}

fn status(status: u16, exchange: Exchange) -> Exchange {
    Exchange { status, ..exchange }
}

fn gone(exchange: Exchange) -> Exchange {
    Exchange { aborted: true, ..exchange }
}

/// One row for each thing that mod_proxy and its scheme modules do in a way of their own.
#[test]
fn each_end_of_an_exchange_has_its_verdict() {
    let coding = FailureSigns { unknown_coding: true, ..FailureSigns::default() };
    let rows = [
        ("an answer", fresh(Ok), Outcome::Answered(200)),
        ("an answer of the member's 500", status(500, fresh(Ok)), Outcome::Answered(500)),
        (
            "ProxyErrorOverride returns the member's status",
            overridden(kept(Http(404))),
            Outcome::Answered(404),
        ),
        (
            "also of a 503, which is not a failed connection",
            overridden(kept(Http(503))),
            Outcome::Answered(503),
        ),
        (
            "and of one that came as the client left",
            gone(overridden(kept(Http(502)))),
            Outcome::Answered(502),
        ),
        ("a client that left while it was answered", gone(fresh(Done)), Outcome::Answered(200)),
        ("the member broke its answer off", fresh(Done), Outcome::Broken),
        ("a WebSocket that ends", status(101, fresh(Done)), Outcome::Answered(101)),
        ("a suspended WebSocket", status(101, fresh(Suspended)), Outcome::Answered(101)),
        ("mod_proxy_http: no connection", kept(Http(503)), Outcome::Connect),
        ("no connection in time", timed_out(kept(Http(503))), Outcome::Timeout),
        ("no free connection in time", Exchange { exhausted: true, ..kept(Http(503)) }, Outcome::NoWorker),
        ("mod_proxy_ajp: no connection", by(Module::Ajp, Http(503)), Outcome::Connect),
        (
            "mod_proxy_fcgi: no connection",
            Exchange { sent: false, ..by(Module::Counting, Http(503)) },
            Outcome::Connect,
        ),
        ("mod_proxy_fcgi: it ended after it was sent to", by(Module::Counting, Http(503)), Outcome::Reset),
        ("mod_proxy_http2 says 503 to everything", by(Module::Unknown, Http(503)), Outcome::Reset),
        ("a name that is not found", words(kept(Http(500)), NameNotFound), Outcome::Connect),
        (
            "the same with TLS",
            Exchange { secure: true, ..words(kept(Http(500)), NameNotFound) },
            Outcome::Connect,
        ),
        ("a name that is not found, said as 502", words(fresh(Http(502)), NameNotFound), Outcome::Reset),
        ("a handshake that failed", Exchange { secure: true, ..fresh(Http(500)) }, Outcome::Connect),
        (
            "a transfer coding of the client's",
            Exchange { signs: coding, ..fresh(Http(500)) },
            Outcome::NotTheMember,
        ),
        (
            "also where TLS is spoken",
            Exchange { secure: true, signs: coding, ..fresh(Http(500)) },
            Outcome::NotTheMember,
        ),
        ("the member hung up before a new request", words(fresh(Http(502)), NothingRead), Outcome::Reset),
        ("a kept connection was closed", words(kept(Http(502)), NothingRead), Outcome::Stale),
        ("a kept connection took nothing", kept(Http(500)), Outcome::Stale),
        ("a kept connection answered nonsense", words(kept(Http(502)), Other), Outcome::Reset),
        (
            "it answered with a status and hung up",
            status(204, words(kept(Http(502)), NothingRead)),
            Outcome::Reset,
        ),
        (
            "only mod_proxy_http tells kept connections",
            words(by(Module::Ajp, Http(502)), NothingRead),
            Outcome::Reset,
        ),
        ("mod_proxy_fcgi says 500 to a broken answer", by(Module::Counting, Http(500)), Outcome::Reset),
        ("an answer that did not come in time", timed_out(kept(Http(502))), Outcome::Timeout),
        ("mod_proxy_fcgi in time, as 500", timed_out(by(Module::Counting, Http(500))), Outcome::Timeout),
        ("504 without a note", kept(Http(504)), Outcome::Timeout),
        (
            "a client that left before an answer",
            gone(words(kept(Http(502)), NothingRead)),
            Outcome::NotTheMember,
        ),
        ("a client that left before a connection", gone(kept(Http(503))), Outcome::NotTheMember),
        ("a body that is too large", kept(Http(413)), Outcome::NotTheMember),
        ("a body that did not come", kept(Http(408)), Outcome::NotTheMember),
        ("a request that is refused", kept(Http(400)), Outcome::NotTheMember),
        ("nobody speaks the scheme", by(Module::Unknown, Declined), Outcome::NotTheMember),
    ];
    for (what, exchange, expected) in rows {
        assert_eq!(judge(&exchange), expected, "{what}: {exchange:?}");
    }
}

const GET: Asked =
    Asked { idempotent: true, has_body: false, expects: false, answered: false, aborted: false };
const PUT: Asked = Asked { has_body: true, ..GET };
const POST: Asked = Asked { idempotent: false, has_body: true, ..GET };

/// The kinds of `retry_on=` when nobody sets it.
fn usual() -> FailureKinds {
    PoolSettings::default().set.retry_on
}

#[test]
fn a_request_is_repeated_only_where_that_does_no_harm() {
    let timeouts = FailureKinds { timeout: true, ..usual() };
    let none = FailureKinds::default();
    let rows = [
        ("a GET that met nobody", Outcome::Connect, GET, usual(), true),
        ("a POST that met nobody", Outcome::Connect, POST, usual(), true),
        ("retry_on= without it", Outcome::Connect, GET, none.clone(), false),
        ("a GET that was cut off", Outcome::Reset, GET, usual(), true),
        ("a PUT with a body that is gone", Outcome::Reset, PUT, usual(), false),
        ("a POST that was cut off", Outcome::Reset, POST, usual(), false),
        ("a POST without a body", Outcome::Reset, Asked { has_body: false, ..POST }, usual(), false),
        ("a GET over a kept connection", Outcome::Stale, GET, usual(), true),
        ("a POST over a kept connection", Outcome::Stale, POST, usual(), false),
        ("a timeout, unless retry_on= names it", Outcome::Timeout, GET, usual(), false),
        ("a timeout that retry_on= names", Outcome::Timeout, GET, timeouts, true),
        ("an answer that the client has a part of", Outcome::Broken, GET, usual(), false),
        ("a failure after bytes went out", Outcome::Reset, Asked { answered: true, ..GET }, usual(), false),
        ("a client that has gone", Outcome::Connect, Asked { aborted: true, ..GET }, usual(), false),
        ("no worker, whatever retry_on= says", Outcome::NoWorker, POST, none.clone(), true),
        ("no worker and no client", Outcome::NoWorker, Asked { aborted: true, ..GET }, none, false),
        ("the client's own fault", Outcome::NotTheMember, GET, usual(), false),
        ("an answer", Outcome::Answered(503), GET, usual(), false),
    ];
    for (what, outcome, asked, kinds, expected) in rows {
        assert_eq!(again(outcome, asked, &kinds), expected, "{what}: {outcome:?} {asked:?} {kinds:?}");
    }
}

#[test]
fn a_client_that_holds_its_body_back_is_to_blame() {
    let expects = Asked { expects: true, ..POST };
    let rows = [
        (Outcome::Timeout, POST, false, true),
        (Outcome::Timeout, POST, true, false),
        (Outcome::Reset, POST, false, true),
        (Outcome::Broken, POST, false, true),
        (Outcome::Stale, expects, true, true),
        (Outcome::Timeout, expects, true, true),
        (Outcome::Timeout, GET, false, false),
        (Outcome::Connect, expects, false, false),
        (Outcome::Answered(200), expects, false, false),
    ];
    for (outcome, asked, prompt, expected) in rows {
        assert_eq!(is_the_clients(outcome, asked, prompt), expected, "{outcome:?} {asked:?} prompt={prompt}");
    }
}

#[test]
fn a_pool_without_anybody_says_when_one_can_be_back() {
    let ejects = PoolSettings::default();
    let mut neither = ejects.clone();
    neither.outlier.on = false;
    let check = HealthCheck { interval_ms: 2_000, rise: 2, ..HealthCheck::new(CheckKind::Tcp) };
    let checked = PoolSettings { health: Some(check), ..neither.clone() };
    let mut both = PoolSettings { outlier: ejects.outlier.clone(), ..checked.clone() };
    both.outlier.ejection_ms = 1_500;
    let mut brief = ejects.clone();
    brief.outlier.ejection_ms = 1;
    for (settings, seconds) in [(ejects, 10), (neither, 1), (checked, 4), (both, 2), (brief, 1)] {
        assert_eq!(retry_after_s(&settings), seconds, "{settings:?}");
    }
}

#[test]
fn httpds_numbers_come_back_as_they_were() {
    for code in [0, -1, -2, -3, 100, 404, 503, 999, -77, 7] {
        assert_eq!(HookStatus::from_code(code).code(), code);
    }
    assert_eq!(HookStatus::from_code(503), Http(503));
    assert_eq!(HookStatus::from_code(7), HookStatus::Unknown(7));
}
