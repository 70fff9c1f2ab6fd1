// SPDX-License-Identifier: Apache-2.0
//! The document of a pool's history.

use balance::history::{DAY, HistorySample, PoolHistory, RECENT, Spacing};
use serde::Serialize;

use crate::time::Time;
use crate::value::Figure;

/// A pool's history.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "History"))]
pub struct HistoryDoc<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The last ten minutes.
    pub recent: SeriesDoc,
    /// The last day.
    pub day: SeriesDoc,
}

/// Samples, one after the other.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Series"))]
pub struct SeriesDoc {
    /// Seconds from one to the next. Where more have passed, some are missing.
    pub every: Figure,
    /// Oldest first.
    pub samples: Vec<SampleDoc>,
}

/// The time since the sample before. Numbers are differences, not totals; values of a moment are
/// those of its end.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Sample"))]
pub struct SampleDoc {
    /// When it ended.
    pub at: Option<Time>,
    /// How long it was.
    pub seconds: Figure,
    /// Requests that ended.
    pub requests: u64,
    /// Requests that failed: neither answered below 500, nor left by their client.
    pub errors: u64,
    /// Further attempts.
    pub retries: u64,
    /// Requests at members.
    pub inflight: u32,
    /// Requests that waited for a place.
    pub queued: u32,
    /// Usable members.
    pub usable: u32,
    /// Half of the requests took no longer.
    pub p50: Option<Figure>,
    /// 95 % took no longer.
    pub p95: Option<Figure>,
    /// 99 % took no longer.
    pub p99: Option<Figure>,
}

impl<'a> HistoryDoc<'a> {
    /// The document of this pool.
    pub fn of(pool: &'a str, history: &PoolHistory) -> Self {
        HistoryDoc {
            pool,
            recent: SeriesDoc::of(RECENT, &history.recent),
            day: SeriesDoc::of(DAY, &history.day),
        }
    }
}

impl SeriesDoc {
    fn of(spacing: Spacing, samples: &[HistorySample]) -> Self {
        let samples = samples.iter().map(SampleDoc::of).collect();
        SeriesDoc { every: Figure::seconds(spacing.every_ms), samples }
    }
}

impl SampleDoc {
    fn of(sample: &HistorySample) -> Self {
        let part = |part| sample.histogram.quantile(part).map(Figure::measured);
        SampleDoc {
            at: Time::noted(sample.at_ms / 1000),
            seconds: Figure::seconds(sample.span_ms),
            requests: sample.histogram.count(),
            errors: sample.errors,
            retries: sample.retries,
            inflight: sample.inflight,
            queued: sample.queued,
            usable: sample.usable,
            p50: part(0.5),
            p95: part(0.95),
            p99: part(0.99),
        }
    }
}
