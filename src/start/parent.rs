// SPDX-License-Identifier: Apache-2.0
//! The parent's work while its children serve.

use super::scripts;
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::tended;
use crate::keep::doors;
use crate::serve::generation::{Generation, generation};

/// The parent's look round, every some seconds.
pub fn look_round() {
    doors::watch();
}

/// A child has ended, however: its in-flight counts are given back.
pub fn child_ended(pid: i32) {
    doors::close_if_stopping();
    let Some(generation) = generation() else { return };
    let given_back = generation.table.reap(pid);
    generation.table.rouse_queues(Some(pid), true, memory::monotonic_ms());
    if given_back > 0 {
        let text = format!("child {pid} ended with {given_back} requests in flight, given back");
        log::server(messages::starting::CHILD_ENDED, &text);
    }
}

/// The MPM tells the parent that the process which vets scripts has ended.
fn vetting_ended() {
    let Some(generation) = generation() else { return };
    if generation.vetting.is_none() {
        return;
    }
    let ended = messages::scripts::VETTER_ENDED;
    log::server(ended, ended.form);
    tend_vetting(generation);
}

/// Has the parent hear of the end of the process that vets. One that has ended by now is replaced:
/// a top level may have killed it.
pub fn tend_vetting(generation: &Generation) {
    let Some(keeper) = &generation.vetting else { return };
    let started =
        if keeper.is_alive() { Ok(()) } else { keeper.start_again(&scripts::setup(generation), true) };
    match started {
        Ok(()) => tended::tend(generation.pool, keeper.pid(), vetting_ended),
        Err(error) => {
            log::server(messages::scripts::NO_VETTING, &format!("{error}: saved scripts are not taken"))
        }
    }
}
