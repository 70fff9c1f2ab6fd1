// SPDX-License-Identifier: Apache-2.0
//! The directives of the doors of the control plane: the socket, the listener of metrics, and who
//! may change something through the handler.

use std::net::SocketAddr;

use crate::place::Position;

/// `LuaBalancerSocket`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its path.
    pub path: SocketPath,
    /// Rights of the file, as `chmod` has them.
    pub mode: u32,
    /// The group that has the file beside its owner.
    pub group: Option<Group>,
}

/// Where a socket is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketPath {
    /// Nothing was said.
    Default,
    /// Nowhere.
    None,
    /// At this full path, as this line says.
    At(String, Position),
}

/// A group of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u32,
}

impl Default for Socket {
    /// The settings without the directive.
    fn default() -> Self {
        Socket { path: SocketPath::Default, mode: 0o600, group: None }
    }
}

/// `LuaBalancerMetrics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Whether more is counted than the module itself needs.
    pub counts: bool,
    /// Where they are told over TCP.
    pub listen: Option<SocketAddr>,
    /// Whether members have series of their own.
    pub members: MemberSeries,
    /// The things that have histograms.
    pub histograms: Histograms,
    /// More series than this are not told.
    pub max_series: u32,
}

/// Whether members have series of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberSeries {
    /// Unless there are too many.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The things that have histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Histograms {
    /// Pools and members.
    Members,
    /// Pools alone.
    Pools,
    /// Nothing.
    Off,
}

/// Series of one answer, where nothing is said.
pub(crate) const MAX_SERIES: u32 = 50_000;

impl Default for Metrics {
    /// The settings without the directive.
    fn default() -> Self {
        Metrics {
            counts: true,
            listen: None,
            members: MemberSeries::Auto,
            histograms: Histograms::Members,
            max_series: MAX_SERIES,
        }
    }
}

/// `LuaBalancerAdmin`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admin {
    /// Changes are taken.
    pub on: bool,
    /// From somebody without a name as well.
    pub anonymous: bool,
    /// From pages of this other place as well.
    pub origin: Option<String>,
}
