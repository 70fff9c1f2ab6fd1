// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::settings::{CheckKind, HealthCheck};

use HookStatus::Http;

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
