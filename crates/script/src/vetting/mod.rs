// SPDX-License-Identifier: Apache-2.0
//! Whether a new version of a script may be served.

pub mod alarm;
pub(crate) mod judge;
pub mod report;
pub(crate) mod verdict;
