// SPDX-License-Identifier: Apache-2.0
//! The limits of a call, and how they end it.

pub(crate) mod budget;
pub(crate) mod frame;
pub(crate) mod memory;
pub(crate) mod processor;
pub(crate) mod seen;
pub mod watch;
