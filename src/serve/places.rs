// SPDX-License-Identifier: Apache-2.0
//! Where the configuration names members.

use std::collections::HashMap;
use std::path::Path;

use config::{Config, Position};

/// Files and lines by pool and member.
#[derive(Debug, Default)]
pub struct MemberPlaces(HashMap<String, HashMap<String, String>>);

impl MemberPlaces {
    /// The databases of a configuration. Files below `root` are named from there.
    pub fn new(config: &Config, root: &Path) -> Self {
        let text = |place: &Position| {
            let file = Path::new(&place.file);
            let file = file.strip_prefix(root).unwrap_or(file);
            format!("{}:{}", file.display(), place.line)
        };
        let pool = |pool: &config::Pool| {
            let members = pool.members.iter().zip(&pool.member_places);
            (pool.name.clone(), members.map(|(spec, place)| (spec.name.clone(), text(place))).collect())
        };
        MemberPlaces(config.pools.iter().map(pool).collect())
    }

    /// The place of a member.
    pub fn of(&self, pool: &str, member: &str) -> Option<String> {
        self.0.get(pool)?.get(member).cloned()
    }
}
