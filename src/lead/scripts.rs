// SPDX-License-Identifier: Apache-2.0
//! The work of every child for its scripts, whether it leads or not: takes saved versions, and
//! looks for calls that do not come back.

use balance::api::Balancer;

use super::saved::Saved;
use super::stuck::StuckCalls;
use super::trials;
use crate::serve::child::Child;

/// See the module.
#[derive(Default)]
pub struct Scripts {
    saved: Saved,
    stuck: StuckCalls,
}

impl Scripts {
    /// Once a tick.
    pub fn turn(&mut self, child: &Child, balancer: &dyn Balancer) {
        trials::turn(child);
        self.saved.turn(child, balancer);
        self.stuck.look(child);
    }
}
