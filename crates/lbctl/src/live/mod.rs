// SPDX-License-Identifier: Apache-2.0
//! The verbs that speak to running servers, by the API of the control plane.

pub mod args;
pub mod change;
mod client;
mod condition;
pub mod events;
pub mod explain;
pub mod membership;
mod model;
mod names;
mod netrc;
mod place;
pub mod rollout;
mod servers;
mod shape;
pub mod status;
pub mod top;
mod unix;
pub mod views;
pub mod wait;
