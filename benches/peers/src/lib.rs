// SPDX-License-Identifier: Apache-2.0
//! The common parts of the benchmarks: servers as values, load, the CPU time and memory of a
//! server's processes, medians.
//!
//! Nothing here waits without a bound, and every value ends what it started when it is dropped.

pub mod backends;
pub mod config;
pub mod cpu;
pub mod given;
pub mod memory;
pub mod process;
pub mod requests;
pub mod stats;
pub mod stop;
pub mod turns;
pub mod wrk;
