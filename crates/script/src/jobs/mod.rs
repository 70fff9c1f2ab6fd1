// SPDX-License-Identifier: Apache-2.0
//! What timers and checks do that others cannot: wait, and start each other. Their runs are in
//! [`crate::state::run`].

pub(crate) mod arguments;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod reply;
pub(crate) mod timers;
