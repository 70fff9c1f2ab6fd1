// SPDX-License-Identifier: Apache-2.0
//! What a call may take, and how its end comes about.

pub(crate) mod budget;
pub(crate) mod frame;
pub(crate) mod memory;
pub(crate) mod processor;
pub(crate) mod seen;
pub mod watch;
