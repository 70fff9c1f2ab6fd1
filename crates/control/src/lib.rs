// SPDX-License-Identifier: Apache-2.0
//! The control plane: one request in, one answer out. Handler, socket, listener and tests share it;
//! it knows no httpd, no clock and no socket.
#![forbid(unsafe_code)]

mod answer;
mod apply;
mod asked;
pub mod base;
mod batch;
mod body;
mod change;
mod condition;
mod decisions;
mod described;
mod discovery;
mod draft;
mod element;
mod events;
mod explain;
mod find;
mod guard;
mod headers;
mod patch;
mod problem;
mod put;
mod query;
pub mod rate;
mod read;
pub mod routes;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod types;

pub use answer::{Entrant, admit, respond};
pub use described::{Described, Unexplained};
pub use element::read_member;
pub use events::WaitingCall;
pub use render::Facts;
pub use types::{Admin, Caller, Door, House, OrderStore, Request, Response, StateSeen};
