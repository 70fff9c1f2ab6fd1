// SPDX-License-Identifier: Apache-2.0
//! Text: what httpd and scripts write, read without a Lua state.

pub(crate) mod expression;
pub(crate) mod forms;
pub(crate) mod pattern;
pub(crate) mod text;
pub(crate) mod verbs;
