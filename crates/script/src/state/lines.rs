// SPDX-License-Identifier: Apache-2.0
//! The questions of tools to a state, which no server asks: which lines run, which functions there
//! are and where, and draws that can be repeated.

use std::rc::Rc;

use mlua::{HookTriggers, VmState};

use super::held::LuaState;
use crate::error::ScriptError;
use crate::source::library::ScriptId;

/// Gets a script's label and a line of it.
pub type SeeLine = Rc<dyn Fn(&str, usize)>;

impl LuaState {
    /// Tells `see` each line that scripts run from here on, until a call is stopped: to be said
    /// again before each call. Limits are looked at with every line, whatever the watch does.
    ///
    /// # Errors
    /// No memory.
    pub fn see_lines(&self, see: &SeeLine) -> Result<(), ScriptError> {
        let (see, ctx) = (see.clone(), Rc::downgrade(&self.ctx));
        let hook = move |_: &mlua::Lua, at: &mlua::debug::Debug<'_>| {
            if let Some(line) = at.current_line()
                && let Some(label) = at.source().source.as_deref().and_then(|name| name.strip_prefix('@'))
            {
                see(label, line);
            }
            match ctx.upgrade().map(|ctx| ctx.budget.check()) {
                Some(Err(halt)) => Err(halt.raise()),
                _ => Ok(VmState::Continue),
            }
        };
        let set = self.lua.set_global_hook(HookTriggers::EVERY_LINE, hook);
        set.map_err(|error| ScriptError::from_lua(&error, "Lua"))
    }

    /// Has `math.random` draw the same numbers with the same seed.
    ///
    /// # Errors
    /// No memory.
    pub fn seed(&self, seed: i64) -> Result<(), ScriptError> {
        let set = || self.math("randomseed")?.call::<()>(seed);
        set().map_err(|error| ScriptError::from_lua(&error, "Lua"))
    }

    /// Whether scripts have drawn since [`LuaState::seed`] was told this seed. The draws begin
    /// anew.
    ///
    /// # Errors
    /// No memory.
    pub fn has_drawn(&self, seed: i64) -> Result<bool, ScriptError> {
        let look = || {
            let (random, begin) = (self.math("random")?, self.math("randomseed")?);
            let next: i64 = random.call(0)?;
            begin.call::<()>(seed)?;
            let first: i64 = random.call(0)?;
            begin.call::<()>(seed)?;
            Ok(next != first)
        };
        look().map_err(|error: mlua::Error| ScriptError::from_lua(&error, "Lua"))
    }

    fn math(&self, function: &str) -> mlua::Result<mlua::Function> {
        self.lua.globals().raw_get::<mlua::Table>("math")?.raw_get(function)
    }

    /// Names of the functions that a directive may name, in order of the alphabet.
    ///
    /// # Errors
    /// The script does not start.
    pub fn functions(&self, id: ScriptId) -> Result<Vec<String>, ScriptError> {
        let mut names = self.current(id)?.function_names();
        names.sort();
        Ok(names)
    }

    /// The line where a function begins.
    ///
    /// # Errors
    /// There is no such function.
    pub fn line_of(&self, id: ScriptId, function: &str) -> Result<Option<usize>, ScriptError> {
        let loaded = self.current(id)?;
        let line = self.function(&loaded, function)?.info().line_defined;
        Ok(line.filter(|line| *line > 0))
    }
}
