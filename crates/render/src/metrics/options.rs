// SPDX-License-Identifier: Apache-2.0
//! The extent of the metrics, and their form.

use balance::counts::RETRY_REASONS;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format, 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Whether members have series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Members {
    /// As long as there are not too many series.
    #[default]
    Auto,
    /// However many there are.
    On,
    /// Never.
    Off,
}

/// The histograms that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Histograms {
    /// The histograms of members and of pools.
    #[default]
    Members,
    /// The histograms of pools.
    Pools,
    /// None.
    Off,
}

/// The settings of `LuaBalancerMetrics` for series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `members=`.
    pub members: Members,
    /// `histograms=`.
    pub histograms: Histograms,
    /// `max_series=`.
    pub max_series: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { members: Members::Auto, histograms: Histograms::Members, max_series: 50_000 }
    }
}

/// The extent of members and histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub members: bool,
    pub member_histograms: bool,
    pub pool_histograms: bool,
    /// Less than was asked for, since there would be too many series.
    pub reduced: bool,
}

/// Series of a member beside its histogram, of a histogram, and of a pool beside its histograms.
const OF_MEMBER: usize = 24;
const OF_HISTOGRAM: usize = 14;
const OF_POOL: usize = 9 + 10 + 4 + RETRY_REASONS.len();

impl Options {
    /// The extent that fits. `auto` leaves out members' histograms first, then members.
    pub(crate) fn extent(self, pools: usize, members: usize) -> Extent {
        let pool_histograms = self.histograms != Histograms::Off;
        let wanted = Extent {
            members: self.members != Members::Off,
            member_histograms: self.members != Members::Off && self.histograms == Histograms::Members,
            pool_histograms,
            reduced: false,
        };
        if self.members != Members::Auto {
            return wanted;
        }
        let of_pool = OF_POOL + if pool_histograms { 2 * OF_HISTOGRAM } else { 0 };
        let rest = self.max_series.saturating_sub(pools.saturating_mul(of_pool));
        let plain = members.saturating_mul(OF_MEMBER);
        let whole = plain.saturating_add(members.saturating_mul(OF_HISTOGRAM));
        if plain > rest {
            Extent { members: false, member_histograms: false, reduced: true, ..wanted }
        } else if wanted.member_histograms && whole > rest {
            Extent { member_histograms: false, reduced: true, ..wanted }
        } else {
            wanted
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_members_go_first_and_members_next() {
        let auto = |members| {
            let Extent { members, member_histograms, reduced, .. } = Options::default().extent(1, members);
            (members, member_histograms, reduced)
        };
        assert_eq!(auto(1_000), (true, true, false));
        assert_eq!(auto(1_400), (true, false, true));
        assert_eq!(auto(3_000), (false, false, true));
    }

    #[test]
    fn metrics_that_are_asked_for_by_name_are_not_reduced() {
        let on = Options { members: Members::On, max_series: 1, ..Options::default() };
        let whole = Extent { members: true, member_histograms: true, pool_histograms: true, reduced: false };
        assert_eq!(on.extent(10, 100_000), whole);
        let off = Options { members: Members::Off, ..on };
        assert_eq!(off.extent(10, 100_000), Extent { members: false, member_histograms: false, ..whole });
        let none = Options { histograms: Histograms::Off, ..on };
        assert_eq!(none.extent(1, 1), Extent { member_histograms: false, pool_histograms: false, ..whole });
    }
}
