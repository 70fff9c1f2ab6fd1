// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerStateFile`: what is kept over stops, and for how long.

use std::path::Path;

use balance::units;

use crate::parse::{each_key_once, path_or_none, words};
use crate::place::Position;
use crate::statement::Statement;
use crate::surroundings::Surroundings;

/// `LuaBalancerStateFile`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSetting {
    /// Its path.
    pub path: StatePath,
    /// Seconds for which anything of it holds.
    pub max_age_s: u64,
    /// Seconds for which what checks and requests say holds.
    pub health_age_s: u64,
}

/// Where the state file is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatePath {
    /// Nothing was said.
    Default,
    /// Nowhere.
    None,
    /// At this full path, as this line says.
    At(String, Position),
}

const MAX_AGE_S: u64 = 7 * DAY_S;
const HEALTH_AGE_S: u64 = 60;
const DAY_S: u64 = 86_400;

impl Default for StateSetting {
    /// The settings without the directive.
    fn default() -> Self {
        StateSetting { path: StatePath::Default, max_age_s: MAX_AGE_S, health_age_s: HEALTH_AGE_S }
    }
}

/// Reads the line. Paths are as written.
pub(crate) fn state_file(_: &str, args: &str) -> Result<Statement, String> {
    const EXAMPLE: &str = "for example LuaBalancerStateFile /var/lib/balancer/state.json max_age=7d";
    let all = words(args)?;
    let (path, keys) = path_or_none(&all, ["max_age", "health_age"], ("nothing is kept", EXAMPLE))?;
    let (mut max_age_s, mut health_age_s) = (MAX_AGE_S, HEALTH_AGE_S);
    each_key_once(keys, EXAMPLE)?;
    for word in keys {
        match word.split_once('=') {
            Some(("max_age", value)) => max_age_s = seconds("max_age", value)?,
            Some(("health_age", value)) => health_age_s = seconds("health_age", value)?,
            _ => return Err(format!("unknown key in '{word}': expected max_age= or health_age=, {EXAMPLE}")),
        }
    }
    Ok(Statement::StateFile { path, max_age_s, health_age_s })
}

/// A duration, which may have days, in whole seconds.
fn seconds(key: &str, value: &str) -> Result<u64, String> {
    let days = value.strip_suffix(['d', 'D']).map(|days| {
        let days = days.parse::<u64>().ok().filter(|days| (1..=36_500).contains(days));
        days.map(|days| days * DAY_S)
    });
    let seconds = match days {
        Some(days) => days,
        None => units::duration_ms(value).ok().map(|ms| ms.div_ceil(1000)),
    };
    seconds.ok_or_else(|| format!("{key}={value} is not a duration: expected one such as 60s, 12h or 7d"))
}

/// The settings of a line, with the whole path of the file.
pub(crate) fn settled(
    path: Option<String>,
    (max_age_s, health_age_s): (u64, u64),
    place: &Position,
    world: &dyn Surroundings,
) -> Result<StateSetting, String> {
    let Some(written) = path else {
        return Ok(StateSetting { path: StatePath::None, ..StateSetting::default() });
    };
    let path = world.under_root(&written).filter(|path| !written.ends_with('/') && is_file_name(path));
    let path = path.ok_or_else(|| format!("'{written}' is not the path of a file"))?;
    Ok(StateSetting { path: StatePath::At(path, place.clone()), max_age_s, health_age_s })
}

/// A file in a folder.
fn is_file_name(path: &str) -> bool {
    let path = Path::new(path);
    path.file_name().is_some() && path.parent().is_some_and(Path::is_absolute)
}
