// SPDX-License-Identifier: Apache-2.0
//! A thread's Lua state: it keeps scripts current, calls their functions and tells what they
//! answered; and it runs timers and checks.

pub(crate) mod asks;
mod call;
pub(crate) mod held;
pub(crate) mod lines;
mod loaded;
pub(crate) mod run;
mod scripts;
mod walk;
