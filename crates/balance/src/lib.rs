// SPDX-License-Identifier: Apache-2.0
//! Pools, members and the choice among them: pure. Time and randomness are arguments; nothing here
//! does I/O or knows httpd.
#![forbid(unsafe_code)]

pub mod abilities;
pub mod api;
pub mod belongings;
pub mod choosing;
pub mod compiled;
pub mod counting;
pub mod counts;
mod directives;
pub mod ejection;
pub mod engine;
pub mod error;
pub mod event;
pub mod explanation;
pub mod figures;
pub mod fit;
pub mod fitting;
pub mod frozen;
pub mod guard;
pub mod health;
pub mod history;
pub mod journal;
pub mod keys;
pub mod latency;
pub mod lifecycle;
pub mod line;
pub mod live;
pub mod member;
pub mod memory;
pub mod methods;
pub mod names;
pub mod order;
pub mod outlier;
pub mod packed;
pub mod reconcile;
pub mod relay;
pub mod reverse;
pub mod rewrite;
pub mod rng;
pub mod sampled;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod shadow;
pub mod sharing;
pub mod slow_start;
pub mod snapshot;
pub mod status;
pub mod steering;
pub mod steps;
pub mod sticky;
pub mod stock;
pub mod store;
pub mod target;
pub mod tier;
pub mod told;
pub mod trial;
pub mod trouble;
pub mod units;
pub mod url;
pub mod view;
pub mod words;

pub use error::ParseError;
