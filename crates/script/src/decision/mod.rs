// SPDX-License-Identifier: Apache-2.0
//! The decisions of scripts: answers, the questions behind them, pools that they define.

pub(crate) mod answer;
pub(crate) mod asked;
pub(crate) mod by_method;
pub(crate) mod definition;
mod peer;
pub(crate) mod picks;
