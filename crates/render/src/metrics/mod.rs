// SPDX-License-Identifier: Apache-2.0
//! Metrics: Prometheus' text format 0.0.4, and OpenMetrics 1.0. [`FAMILIES`] is the table of all
//! of them, which docs/metrics.md is checked against.

mod families;
mod members;
mod options;
mod pools;
mod server;
mod sources;
mod write;

pub use families::{FAMILIES, Family, Kind, PREFIX};
pub use options::{Format, Histograms, Members, Options};
use write::Writer;

use crate::Shown;

/// The metrics, and whether they are fewer than was asked for.
pub struct Exported {
    /// The text.
    pub text: String,
    /// Members, or their histograms, are left out.
    pub reduced: bool,
}

/// All metrics. `elapsed` says, at the end, how many seconds it took.
pub fn metrics(view: &Shown<'_>, format: Format, options: Options, elapsed: &dyn Fn() -> f64) -> Exported {
    let count = view.all.pools.iter().map(|pool| pool.members.len()).sum();
    let extent = options.extent(view.all.pools.len(), count);
    let mut to = Writer::new(format);
    server::write(view, extent, &mut to);
    pools::write(view, extent, &mut to);
    if extent.members {
        members::write(view, extent, &mut to);
    }
    server::write_scripts(view, &mut to);
    server::write_dicts(view, &mut to);
    sources::write(view, &mut to);
    if to.begin("scrape_duration_seconds") {
        to.value("scrape_duration_seconds", "", elapsed());
    }
    Exported { text: to.done(), reduced: extent.reduced }
}
