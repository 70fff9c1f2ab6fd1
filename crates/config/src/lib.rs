// SPDX-License-Identifier: Apache-2.0
//! The configuration: what the directives are, how their texts are read, what they say together.
//!
//! [`DIRECTIVES`] is the list of all of them. Each has a function that reads its text into a
//! [`Statement`]. A [`Draft`] takes the statements one by one and becomes a [`Config`], which does
//! not change any more. What only httpd knows comes in through [`Surroundings`].
#![forbid(unsafe_code)]

mod directive;
mod draft;
mod lines;
mod parse;
mod place;
mod plan;
mod section;
mod statement;
mod surroundings;
#[cfg(test)]
mod tests;

pub use directive::{Contexts, DIRECTIVES, Directive, Key, Standing};
pub use draft::{At, Draft, MOST_DICTS};
pub use parse::{MAX_DICT, MIN_DICT, check_dict_name, check_pool_name};
pub use place::Place;
pub use plan::{Config, Planned, Resolved, Script, Timer};
pub use section::{ErrorRule, Hooks, Rewrites, Section};
pub use statement::{CodeCache, DEFAULT_LIMIT, HookKind, Limit, OnError, Statement};
pub use surroundings::Surroundings;

use std::path::PathBuf;

use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::stock::hcheck;

/// One `<LuaBalancerPool>`.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// Everything but the members.
    pub settings: PoolSettings,
    /// The members in order.
    pub members: Vec<MemberSpec>,
    /// Where each of them is written.
    pub member_places: Vec<Place>,
    /// What each says in mod_proxy_hcheck's words.
    pub member_checks: Vec<hcheck::Keys>,
    /// Scripts of `LuaBalancerMethod lua` and Lua checks.
    pub scripts: Vec<PoolScript>,
}

/// A script that a pool names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolScript {
    /// As written, which is how the pool's settings name it.
    pub written: String,
    /// Full path.
    pub path: String,
    /// Function in it.
    pub function: String,
    /// Where it is written.
    pub place: Place,
}

/// A file of `LuaBalancerGeoIP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoFile {
    /// Full path.
    pub path: PathBuf,
    /// Where it is written.
    pub place: Place,
}

/// One `LuaBalancerDict`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dict {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// Where it is written.
    pub place: Place,
}
