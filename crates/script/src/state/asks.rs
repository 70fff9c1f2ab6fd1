// SPDX-License-Identifier: Apache-2.0
//! The calls of requests into a state: the functions that the configuration names.

use std::sync::Arc;

use balance::api::View;
use balance::member::Member;
use mlua::Table;

use super::call::Callee;
use super::held::LuaState;
use crate::api::{self, PoolHandle};
use crate::decision::answer::Answer;
use crate::decision::asked::Question;
use crate::error::ScriptError;
use crate::limits::frame::Phase;
use crate::source::library::ScriptId;

/// `result` of `LuaHookFinish`.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct FinishResult {
    pub member: Option<Arc<Member>>,
    pub status: u16,
    pub attempts: u32,
    pub seconds: f64,
    pub bytes: u64,
    pub error: Option<String>,
}

impl LuaState {
    /// Runs a selection function with the current request. `function` is `-` when the file itself
    /// is the body.
    pub fn select(&self, id: ScriptId, function: &str, phase: Phase) -> Result<Answer, ScriptError> {
        let loaded = self.current(id)?;
        let function = self.function(&loaded, function)?;
        self.answer(id, &loaded, &function, phase, &self.request)
    }

    /// The question to a pool or view that gave the last call this member. None when it was named
    /// in another way.
    pub fn asked(&self, member: &Member) -> Option<Question> {
        self.ctx.asked.of(member.slot)
    }

    /// Whether the last call got this member as that of the request's session.
    pub fn is_of_session(&self, member: &Member) -> bool {
        self.ctx.asked.is_of_session(member.slot)
    }

    /// `LuaBalancerMethod lua`: calls the function with `(pool, r)`. `view` says which members are
    /// left to choose from.
    pub fn pick(
        &self,
        id: ScriptId,
        function: &str,
        pool: &str,
        view: Option<Arc<View>>,
    ) -> Result<Answer, ScriptError> {
        let loaded = self.current(id)?;
        let function = self.function(&loaded, function)?;
        let pool = PoolHandle::new(&self.ctx, pool, view)
            .into_object(&self.lua)
            .map_err(|error| ScriptError::from_lua(&error, &loaded.label))?;
        self.answer(id, &loaded, &function, Phase::Pick, (pool, &self.request))
    }

    /// `LuaHookFinish`: calls the function with `(r, result)`.
    pub fn finish(&self, id: ScriptId, function: &str, result: &FinishResult) -> Result<(), ScriptError> {
        let loaded = self.current(id)?;
        let function = self.function(&loaded, function)?;
        let result =
            self.result_table(result).map_err(|error| ScriptError::from_lua(&error, &loaded.label))?;
        let callee = Callee::of(id, &loaded, Phase::Finish, &function);
        self.guarded(&callee, (&self.request, result)).map(drop)
    }

    /// Loads a script now, as the first call would. For the background thread, whose timers start
    /// that way.
    pub fn load(&self, id: ScriptId) -> Result<(), ScriptError> {
        self.current(id).map(drop)
    }

    fn result_table(&self, result: &FinishResult) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(0, 6)?;
        if let Some(member) = &result.member {
            table.raw_set("member", api::member_object(&self.lua, &self.ctx, member)?)?;
        }
        table.raw_set("status", result.status)?;
        table.raw_set("attempts", result.attempts)?;
        table.raw_set("seconds", result.seconds)?;
        table.raw_set("bytes", result.bytes)?;
        table.raw_set("error", result.error.as_deref())?;
        Ok(table)
    }
}
