// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::settings::{CheckKind, HealthCheck};

use exchanges::{by, fresh, kept, overridden, status, timed_out, words};

use ErrorWords::NothingRead;
use HookStatus::{Declined, Done, FilterError, Http, Ok};

mod elsewhere;
mod exchanges;
mod quirks;
mod repeats;

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
    for code in [0, -1, -2, -3, -102, 100, 404, 503, 999, -77, 7] {
        assert_eq!(HookStatus::from_code(code).code(), code);
    }
    assert_eq!(HookStatus::from_code(503), Http(503));
    assert_eq!(HookStatus::from_code(7), HookStatus::Unknown(7));
}

/// `balancer.get_last_failure` of scripts shows it (existing_lua.rs).
#[test]
fn the_status_of_an_attempt_is_the_members_or_httpds_or_none() {
    let rows = [
        (status(404, fresh(Ok)), 404),
        (overridden(kept(Http(503))), 503),
        (words(fresh(Http(502)), NothingRead), 502),
        (timed_out(kept(Http(504))), 504),
        (status(206, fresh(Done)), 206),
        (status(206, by(SchemeModule::Counting, FilterError)), 206),
        (by(SchemeModule::Unknown, Declined), 0),
    ];
    for (exchange, expected) in rows {
        assert_eq!(exchange.last_status(judge(&exchange)), expected, "{exchange:?}");
    }
}
