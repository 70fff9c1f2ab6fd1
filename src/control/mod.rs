// SPDX-License-Identifier: Apache-2.0
//! The doors of the control plane in a child: the handler, the Unix socket, the listener of
//! metrics. The crate `control` decides the answers.

mod explain;
mod handler;
mod house;
pub mod status;
pub mod thread;

pub use handler::{Answered, answer};
