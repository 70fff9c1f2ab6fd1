// SPDX-License-Identifier: Apache-2.0
//! The reason of a script's call: the running call, as events, errors and the watch name it.

use balance::choosing::Course;

use crate::source::library::ScriptId;

/// The reason of a script's call. It decides what some names do, `ngx.exit` for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// The script's top level, and everything without a request.
    #[default]
    Load,
    /// `LuaHookTranslate`.
    Translate,
    /// `LuaHookSelect`.
    Select,
    /// `LuaBalancerMethod lua`, and every further attempt of a script that uses `ngx.balancer`.
    Pick,
    /// `LuaHookFinish`.
    Finish,
    /// Timers and checks.
    Timer,
}

/// The attempts before the one that a call is for; scripts see them through `ngx.balancer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptsSoFar {
    /// Attempts made before this one.
    pub before: u32,
    /// How the last one ended: whether the connection is good ("next") or not ("failed"), and the
    /// status.
    pub last_failure: Option<(bool, u16)>,
}

impl AttemptsSoFar {
    /// The phase of a request on this course. Failures have nginx's numbers: 504 for a peer that
    /// took too long, 502 for one that gave no answer.
    pub fn of(course: &Course) -> Self {
        let word = course.last.map_or(c"", |(outcome, _)| outcome.word());
        let status = match word.to_bytes() {
            b"timeout" => 504,
            b"connect" | b"reset" => 502,
            _ => course.last.map_or(0, |(_, status)| status),
        };
        AttemptsSoFar { before: course.attempts, last_failure: Some((word == c"ok", status)) }
    }
}

/// The running call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frame {
    pub(crate) script: Option<ScriptId>,
    pub(crate) version: u64,
    pub(crate) phase: Phase,
}

/// The mark in a [`Frame::tag`] of a call that is a top level.
const TAG_LOAD: u64 = 1 << 31;

impl Frame {
    /// The script (high half), the version's lower 31 bits, and whether it is the top level, in one
    /// word for the watch.
    pub(crate) fn tag(&self) -> u64 {
        let script = u64::from(self.script.map_or(0, |id| id.0));
        let load = if self.phase == Phase::Load { TAG_LOAD } else { 0 };
        script << 32 | load | self.version & (TAG_LOAD - 1)
    }

    /// The script, the version and whether it is the top level.
    pub(crate) fn of_tag(tag: u64) -> (ScriptId, u64, bool) {
        (ScriptId((tag >> 32) as u32), tag & (TAG_LOAD - 1), tag & TAG_LOAD != 0)
    }
}
