// SPDX-License-Identifier: Apache-2.0
//! State that is kept over restarts (the table and its history, dictionaries, databases of places,
//! sockets, revisions of shared orders) or over stops (the state file), and the configuration while
//! it is being read.

pub mod dicts;
pub mod doors;
pub mod events;
pub mod geoip;
mod history;
pub mod mappings;
pub mod orders;
pub mod reading;
pub mod state;
pub mod table;
