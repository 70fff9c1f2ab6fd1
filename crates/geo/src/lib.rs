// SPDX-License-Identifier: Apache-2.0
//! Where an address is, by MaxMind databases (country, city, ASN and what has their layout) that
//! are merged into one answer and replaced while the server runs.
//!
//! A database is read into memory, never mapped: a mapped file that somebody truncates in place
//! would end the process with SIGBUS at the next look-up, and files do get overwritten in place.
//! Inspection belongs to the configuration phase and to a background thread; a look-up costs a read
//! lock and the search.
#![forbid(unsafe_code)]

mod database;
mod databases;
mod file;
mod place;
mod problem;

pub use database::Database;
pub use databases::{DatabaseFile, Databases, Inspection, Refresh};
pub use file::{Stamp, read};
pub use place::Location;
pub use problem::Problem;
