// SPDX-License-Identifier: Apache-2.0
//! The abilities of timers and checks that other calls lack: to wait, and to start each other.
//! Their runs are in [`crate::state::run`].

pub(crate) mod arguments;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod reply;
pub(crate) mod timers;
