// SPDX-License-Identifier: Apache-2.0
//! Active health checks of many members on one thread.
//!
//! A [`Prober`] keeps a schedule per member and runs TCP, HTTP, HTTPS and agent checks side by
//! side; its owner lends it the thread by calling [`Prober::turn`] and gets [`Observation`]s back.
//! The meaning of an observation (rise, fall, up, down) is not decided here.
#![forbid(unsafe_code)]

pub mod agent;
mod client;
mod engine;
mod failure;
mod http;
mod limits;
mod plan;
mod prober;
mod redirect;
mod schedule;
mod target;
mod watch;

pub use agent::AgentReply;
pub use client::{Client, ProbeResponse, Request, Tcp};
pub use net::check_ca;
pub use prober::{Prober, Waker};
pub use target::{CheckTarget, Observation, ScriptCheck};
