// SPDX-License-Identifier: Apache-2.0
//! The document of the server.

use serde::Serialize;

use crate::Shown;
use crate::time::Time;
use crate::warnings::WarningDoc;

/// The server.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Status"))]
pub struct StatusDoc<'a> {
    /// The version of the module.
    pub version: &'static str,
    /// The version of httpd.
    pub httpd: &'a str,
    /// The version of Lua.
    pub lua: &'static str,
    /// The configuration that the newest children serve by.
    pub generation: u32,
    /// When the server started.
    pub started: Option<Time>,
    /// The children that take part.
    pub children: Vec<ChildRefDoc>,
    /// The child that does what one does for all; null while nobody has.
    pub leader: Option<LeaderDoc>,
    /// How full the table is; null for one without limits.
    pub table: Option<TableDoc>,
    /// How many servers share something by a store and are alive, this one among them; null where
    /// nothing is shared, or nobody has heard of them yet.
    pub fronts: Option<u64>,
    /// The warnings.
    pub warnings: Vec<WarningDoc>,
}

/// A child.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ChildRef"))]
pub struct ChildRefDoc {
    /// Its process.
    pub pid: i32,
    /// The configuration that it serves by.
    pub generation: u32,
}

/// The leader.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Leader"))]
pub struct LeaderDoc {
    /// The child.
    pub pid: i32,
    /// Since when; null where nobody has noted it.
    pub since: Option<Time>,
}

/// How full the table is.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Table"))]
pub struct TableDoc {
    /// Rows of members.
    pub members: RoomDoc,
    /// Pools.
    pub pools: usize,
}

/// How much of something is taken.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Room"))]
pub struct RoomDoc {
    /// Taken.
    pub used: usize,
    /// In all.
    pub room: usize,
}

impl<'a> Shown<'a> {
    /// The server.
    pub fn status(&self) -> StatusDoc<'a> {
        let children = self.all.children.iter();
        StatusDoc {
            version: self.facts.version,
            httpd: &self.facts.httpd,
            lua: self.facts.lua,
            generation: self.facts.generation,
            started: Time::noted(self.facts.started_s),
            children: children
                .map(|child| ChildRefDoc { pid: child.pid, generation: child.generation })
                .collect(),
            leader: self
                .all
                .lead
                .filter(|lead| lead.fresh)
                .map(|lead| LeaderDoc { pid: lead.pid, since: Time::noted(lead.since_s) }),
            table: self.all.fill.map(|fill| TableDoc {
                members: RoomDoc { used: fill.members.used, room: fill.members.of },
                pools: fill.pools.used,
            }),
            fronts: self.facts.fronts,
            warnings: self.warnings(),
        }
    }
}
