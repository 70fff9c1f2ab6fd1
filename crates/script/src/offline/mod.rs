// SPDX-License-Identifier: Apache-2.0
//! The plain host: what scripts ask of a server, without one. Requests are made from data, pools
//! and dictionaries live in memory, the clock is set by hand, log lines are collected, and what a
//! script would fetch comes out of a map. There is no socket and no thread here, and the same input
//! gives the same output.
//!
//! `tests/contract` holds the cases that this host and httpd answer in the same way.

mod answers;
mod clock;
mod define;
mod dict;
mod digest;
mod expression;
mod overlay;
mod pattern;
mod pools;
mod request;
mod server;
mod tables;

pub use answers::Answers;
pub use clock::Clock;
pub use define::{define_member, define_pool};
pub use dict::{PlainDict, PlainValues};
pub use overlay::Overlay;
pub use pools::Pools;
pub use request::PlainRequest;
pub use server::{GeoLookup, PlainServer};
