// SPDX-License-Identifier: Apache-2.0
//! The results of a simulation.

use super::compare::Differences;
use super::figures::Failures;
use super::run::Figures;
use super::source::NamedLines;
use super::workers::WorkerFigures;

/// Everything that came out.
pub struct Results {
    /// The simulation.
    pub figures: Figures,
    /// httpd's workers.
    pub workers: WorkerFigures,
    /// The lines that could not be read.
    pub unread: NamedLines,
    /// The lines whose times could not be used, and were drawn.
    pub odd_times: NamedLines,
    /// Lines of the logs.
    pub lines: u64,
    /// From the first request to the last, in seconds.
    pub seconds: f64,
    /// When the first request came, seconds since the epoch.
    pub begin: f64,
    /// The failures of scripts.
    pub failures: Failures,
    /// The failures of the script that it was compared with.
    pub failures_before: Failures,
    /// How others would have decided.
    pub differences: Option<Differences>,
}
