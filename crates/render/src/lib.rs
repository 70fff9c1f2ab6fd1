// SPDX-License-Identifier: Apache-2.0
//! Everything that can be shown of a balancer, for people and programs: JSON documents, metrics, a
//! table of text, a page. Made from a [`balance::snapshot::Snapshot`] and a few [`Facts`]; nothing
//! here asks for anything else, so that every child and every door shows the same.
#![forbid(unsafe_code)]

pub mod decisions;
pub mod events;
pub mod explained;
pub mod fields;
pub mod history;
pub mod html;
pub mod mark;
pub mod member;
pub mod metrics;
pub mod pool;
pub mod rows;
mod settings;
pub mod state;
pub mod status;
pub mod text;
pub mod time;
pub mod value;
mod view;
pub mod warnings;

pub use view::{Facts, Shown};
