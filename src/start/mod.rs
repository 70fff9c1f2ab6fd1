// SPDX-License-Identifier: Apache-2.0
//! The parent: from directives to a running table, and what it does for its children afterwards.
//! Nothing is kept in statics that a restart could find stale: each is set anew in pre_config.

mod checks;
mod files;
mod parent;
mod phases;
mod pools;
mod scripts;
mod state;

pub use parent::{child_ended, look_round};
pub use phases::{Refused, check_config, has_open_targets, post_config, pre_config};
