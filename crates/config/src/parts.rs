// SPDX-License-Identifier: Apache-2.0
//! The parts of a configuration.

use std::path::PathBuf;

use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::stock::hcheck;

use crate::place::Position;

/// One `<LuaBalancerPool>`.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The place where it begins.
    pub place: Position,
    /// Everything but the members.
    pub settings: PoolSettings,
    /// The members in order.
    pub members: Vec<MemberSpec>,
    /// Where each of them is written.
    pub member_places: Vec<Position>,
    /// The words of each for mod_proxy_hcheck.
    pub member_checks: Vec<hcheck::Keys>,
    /// Scripts of `LuaBalancerMethod lua`, Lua checks and sources.
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
    /// Its place in the configuration.
    pub place: Position,
}

/// A file of `LuaBalancerGeoIP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeoFile {
    /// Full path.
    pub path: PathBuf,
    /// Its place in the configuration.
    pub place: Position,
}

/// One `LuaBalancerDict`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dict {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: usize,
    /// Its place in the configuration.
    pub place: Position,
}
