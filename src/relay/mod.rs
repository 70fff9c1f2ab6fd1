// SPDX-License-Identifier: Apache-2.0
//! A request on its way through a pool: attempt after attempt, until one is answered or nobody is
//! left.
//!
//! ```text
//! run ─▶ balance::choosing (circumstances, by_script) ─▶ wait ─▶ place ─▶ send ─▶ httpd::exchange
//!    │                                                ─▶ balance::relay ─▶ environment
//!    └─▶ refuse
//! ```
//!
//! [`run`](run::run) calls down and is never called back. The loop has its knowledge for itself
//! (`journey`). It shares a part with the filters, which run while mod_proxy is inside of an
//! attempt (`record`).

pub mod by_script;
pub mod circumstances;
pub mod environment;
mod first_list;
pub mod headers;
pub mod journey;
pub mod observe;
pub mod place;
pub mod record;
pub mod refuse;
pub mod reverse;
pub mod route;
pub mod run;
pub mod sample;
pub mod send;
pub mod session;
pub mod ticket;
pub mod tls;
pub mod wait;
