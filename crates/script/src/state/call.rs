// SPDX-License-Identifier: Apache-2.0
//! Calls into scripts: under the limits, and leaving the state usable whatever happens.

use std::time::{Duration, Instant};

use mlua::{Function, IntoLuaMulti, Value};

use super::held::LuaState;
use super::loaded::{Loaded, place};
use crate::api::{convert, with_page};
use crate::context::{Outer, Said};
use crate::decision::answer::Answer;
use crate::error::{ErrorKind, Halt, Parts, ScriptError};
use crate::limits::budget::{Budget, VETTING_MS};
use crate::limits::frame::{Frame, Phase};
use crate::limits::seen;
use crate::source::library::{Limits, ScriptId};

/// The called function, and the limits of the call.
pub(super) struct Callee<'c> {
    pub(super) frame: Frame,
    pub(super) label: &'c str,
    pub(super) limits: Limits,
    pub(super) function: &'c Function,
}

impl<'c> Callee<'c> {
    pub(super) fn of(id: ScriptId, loaded: &'c Loaded, phase: Phase, function: &'c Function) -> Self {
        let frame = Frame { script: Some(id), version: loaded.version, phase };
        Callee { frame, label: &loaded.label, limits: loaded.limits, function }
    }
}

/// The error of a call that is over: what came out of it, if that says so, or where it was when the
/// hook saw that.
#[cold]
pub(super) fn ended(budget: &Budget, halt: Halt, error: Option<mlua::Error>) -> mlua::Error {
    let place = || budget.seen.place().filter(|_| budget.ended_by_hook.get());
    error.filter(|error| Parts::of(error).halt.is_some()).unwrap_or_else(|| match place() {
        Some(place) => halt.raise_at(&place),
        None => halt.raise(),
    })
}

/// A running call; ends it when dropped, in a panic as well.
pub(super) struct Call<'a> {
    state: &'a LuaState,
    outer: Option<Box<Outer>>,
}

impl<'a> Call<'a> {
    pub(super) fn start(state: &'a LuaState, frame: Frame, limits: Limits) -> Self {
        let time_ms = match frame.phase {
            Phase::Load | Phase::Timer => limits.timer_time_ms,
            _ => limits.time_ms,
        };
        let outer = state.ctx.enter(frame, limits, time_ms);
        if state.ctx.judges() {
            let time = Duration::from_millis(time_ms.min(VETTING_MS));
            state.ctx.budget.deadline.set(Some((Instant::now() + time, Halt::Vetting)));
        }
        let outermost = state.ctx.budget.depth.get() == 1;
        state.ctx.budget.seen.forget();
        match outermost {
            true => state.ctx.texts.refresh(&state.lua, &*state.ctx.request),
            false => state.ctx.texts.hide_all(),
        }
        state.lua.set_memory_limit(state.own_bytes.saturating_add(limits.memory_bytes)).ok();
        Call { state, outer }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.state.ctx.leave(self.outer.take());
        if self.state.ctx.budget.depth.get() == 0 {
            self.state.lua.set_memory_limit(0).ok();
        }
    }
}

impl LuaState {
    pub(super) fn answer(
        &self,
        id: ScriptId,
        loaded: &Loaded,
        function: &Function,
        phase: Phase,
        args: impl IntoLuaMulti,
    ) -> Result<Answer, ScriptError> {
        // A call inside a call (a sub-request of the host) must not take the outer one's answer.
        let outer = self.ctx.exchange_said(None);
        let returned = self.guarded(&Callee::of(id, loaded, phase, function), args);
        let said = self.ctx.exchange_said(outer);
        let (first, second) = returned?;
        let answer = match said {
            Some(said) => answer_said(*said, &first, &second),
            None => convert(None, &first, &second),
        };
        answer.map_err(|text| {
            ScriptError::new(ErrorKind::Answer, format!("{}: {text}", place(loaded, function)))
        })
    }

    /// The one place that calls into a script: under the limits, and leaving the state usable
    /// whatever happens.
    pub(super) fn guarded(
        &self,
        callee: &Callee<'_>,
        args: impl IntoLuaMulti,
    ) -> Result<(Value, Value), ScriptError> {
        let Callee { frame, label, limits, function } = *callee;
        let result = {
            let _call = Call::start(self, frame, limits);
            let result = function.call::<(Value, Value)>(args);
            match (self.ctx.budget.halt.get(), result) {
                // The call is over, even if the script kept the error.
                (Some(halt), result) => Err(ended(&self.ctx.budget, halt, result.err())),
                (None, result) => result,
            }
        };
        result.or_else(|error| {
            self.failed(&error, label, limits, || {
                self.ctx.budget.seen.place().or_else(|| seen::beginning(function))
            })
        })
    }

    #[cold]
    pub(super) fn failed(
        &self,
        error: &mlua::Error,
        label: &str,
        limits: Limits,
        near: impl FnOnce() -> Option<String>,
    ) -> Result<(Value, Value), ScriptError> {
        if Parts::of(error).halt == Some(Halt::Answered) {
            return Ok((Value::Nil, Value::Nil));
        }
        let error = ScriptError::from_lua_near(error, label, near);
        if matches!(error.kind, ErrorKind::Memory | ErrorKind::Stack) {
            // The garbage of the call goes at once, so that the next one starts with room.
            self.lua.gc_collect().ok();
            self.shed(limits.memory_bytes);
        }
        Err(error)
    }

    /// Scripts whose globals fill the state start anew, so that a leak costs a request now and
    /// then, not the thread.
    fn shed(&self, limit: usize) {
        if let Some(jobs) = &self.ctx.jobs {
            return jobs.note_size(self.used_memory().saturating_sub(self.own_bytes), limit);
        }
        let kept = self.used_memory().saturating_sub(self.own_bytes);
        if kept > limit / 8 {
            self.exhausted.set(true);
        }
        if self.ctx.budget.depth.get() > 0 || kept <= limit / 2 {
            return;
        }
        self.scripts.borrow_mut().clear();
        self.forget_strings(|_, _| true);
        self.lua.gc_collect().ok();
        let too_large = messages::scripts::GLOBALS_TOO_LARGE;
        self.ctx.server.log(
            too_large.level(),
            &too_large.line(&format!(
                "the scripts of this thread kept {} KiB in their globals, more than half of memory={} KiB: they start anew",
                kept >> 10,
                limit >> 10
            )),
        );
    }
}

/// The answer of a call that has said something, too.
fn answer_said(said: Said, first: &Value, second: &Value) -> Result<Answer, String> {
    let Said { answer, peer, found_none, page } = said;
    let given = answer.or_else(|| (!peer.host.is_empty()).then_some(Answer::Peer(peer)));
    let answer = match (first, second, given) {
        (Value::Nil, Value::Nil, Some(answer)) => answer,
        _ => convert(found_none, first, second)?,
    };
    match page {
        Some(page) => with_page(page, answer),
        None => Ok(answer),
    }
}
