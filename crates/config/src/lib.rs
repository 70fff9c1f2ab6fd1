// SPDX-License-Identifier: Apache-2.0
//! The configuration: what the directives are, how their texts are read, what they say together.
//!
//! [`DIRECTIVES`] is the list of all of them. Each has a function that reads its text into a
//! [`Statement`]. A [`Draft`] takes the statements one by one and becomes a [`Config`], which does
//! not change any more. [`Surroundings`] answers what only httpd knows.
#![forbid(unsafe_code)]

mod directive;
mod door_lines;
mod doors;
mod draft;
mod dump;
mod kept;
mod lines;
mod parse;
mod parts;
mod place;
mod plan;
mod sampling;
mod sampling_lines;
mod script_lines;
mod section;
mod shared;
mod statement;
mod surroundings;
#[cfg(test)]
mod tests;

pub use directive::{Contexts, DIRECTIVES, Directive, Key, Standing};
pub use doors::{Admin, Group, Histograms, MemberSeries, Metrics, Socket, SocketPath};
pub use draft::{At, Draft, MOST_DICTS};
pub use kept::{StatePath, StateSetting};
pub use lines::{expression as check_expression, template as check_template};
pub use parse::{MAX_DICT, MIN_DICT, check_dict_name, check_pool_name};
pub use parts::{Dict, GeoFile, Pool, PoolScript};
pub use place::Position;
pub use plan::{Config, Naming, Planned, Resolved, Script, Timer};
pub use sampling::Sampling;
pub use section::{AdminRule, ErrorRule, Hooks, Rewrites, Section};
pub use shared::StoreSetting;
pub use statement::{CodeCache, DEFAULT_LIMIT, HookKind, Limit, OnError, Statement};
pub use surroundings::Surroundings;
