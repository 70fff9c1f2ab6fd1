// SPDX-License-Identifier: Apache-2.0
//! A thread's Lua state: how it is made, and what it holds.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use balance::api::Balancer;
use mlua::{Lua, Table};

use super::loaded::Loaded;
use crate::api;
use crate::context::Context;
use crate::context::kept::Jobs;
use crate::context::layers::Strings;
use crate::context::texts::Texts;
use crate::decision::asked::Asked;
use crate::decision::definition::Definition;
use crate::decision::picks::Shortcuts;
use crate::error::ScriptError;
use crate::host::{Request, Server};
use crate::limits::budget::Budget;
use crate::limits::frame::AttemptsSoFar;
use crate::limits::watch::Watched;
use crate::native::hook;
use crate::sandbox::{self, Sandbox};
use crate::source::library::{Library, ScriptId};

/// One thread's Lua state. Not `Send`: it lives and dies in its thread.
pub struct LuaState {
    // The order matters: Lua goes first and lets go of the context.
    pub(crate) lua: Lua,
    pub(super) sandbox: Sandbox,
    pub(crate) ctx: Rc<Context>,
    pub(crate) request: Table,
    pub(super) scripts: RefCell<Vec<Option<Rc<Loaded>>>>,
    /// Bytes that Lua held before any script was loaded.
    pub(crate) own_bytes: usize,
    /// See [`LuaState::is_exhausted`].
    pub(super) exhausted: Cell<bool>,
}

enum Keep {
    Nothing,
    Definitions,
    Timers(Arc<AtomicBool>),
}

impl LuaState {
    /// A state for a thread that serves requests.
    pub fn new(
        server: Rc<dyn Server>,
        request: Rc<dyn Request>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
    ) -> Result<LuaState, ScriptError> {
        LuaState::make(server, request, balancer, library, Keep::Nothing)
    }

    /// A state for the thread of timers and checks: it keeps the timers that scripts ask for, and
    /// runs [`Job`](crate::Job)s. While `stop` is set, whatever runs is stopped.
    pub fn background(
        server: Rc<dyn Server>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
        stop: Arc<AtomicBool>,
    ) -> Result<LuaState, ScriptError> {
        LuaState::make(server, Rc::new(crate::host::NoRequest), balancer, library, Keep::Timers(stop))
    }

    pub(crate) fn for_judging(
        server: Rc<dyn Server>,
        request: Rc<dyn Request>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
    ) -> Result<LuaState, ScriptError> {
        LuaState::make(server, request, balancer, library, Keep::Definitions)
    }

    fn make(
        server: Rc<dyn Server>,
        request: Rc<dyn Request>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
        keep: Keep,
    ) -> Result<LuaState, ScriptError> {
        let open = !library.sandbox;
        let ctx = Rc::new(Context {
            server,
            request,
            balancer,
            library,
            budget: Budget::default(),
            frame: Cell::default(),
            attempt: Cell::default(),
            members: RefCell::default(),
            pools: RefCell::default(),
            shortcuts: Shortcuts::default(),
            judging: matches!(keep, Keep::Definitions).then(RefCell::default),
            jobs: match keep {
                Keep::Timers(stop) => Some(Jobs::new(stop)),
                _ => None,
            },
            keeps_request: Cell::new(false),
            modules: RefCell::default(),
            protect: OnceCell::new(),
            protected: OnceCell::new(),
            said: RefCell::default(),
            asked: Asked::default(),
            texts: Texts::default(),
            strings: Strings::default(),
        });
        LuaState::assemble(ctx, open).map_err(|error| ScriptError::from_lua(&error, "Lua"))
    }

    fn assemble(ctx: Rc<Context>, open: bool) -> mlua::Result<LuaState> {
        let lua = sandbox::new_lua(open)?;
        let lazy = crate::ngx::lazy(&lua, &ctx)?;
        let sandbox = sandbox::install(&lua, &ctx, lazy, open)?;
        ctx.protect.set(sandbox.protect.clone()).ok();
        ctx.protected.set(sandbox.protected.clone()).ok();
        let request = api::install(&lua, &ctx, &sandbox)?;
        hook::install(&lua, &ctx)?;
        ctx.budget.watched.set(Watched::new(&lua, hook::on_event, ctx.jobs.is_some())?).ok();
        let own_bytes = lua.used_memory();
        let exhausted = Cell::new(false);
        Ok(LuaState { lua, sandbox, ctx, request, scripts: RefCell::default(), own_bytes, exhausted })
    }

    /// Sets the attempt of the next call, for `ngx.balancer`.
    pub fn set_attempt(&self, attempt: AttemptsSoFar) {
        self.ctx.attempt.set(attempt);
    }

    /// Collects all garbage now; for quiet moments.
    pub fn collect(&self) {
        self.lua.gc_collect().ok();
    }

    /// Whether scripts have kept something here for the length of a request (`ngx.ctx`): all calls
    /// for one request then want the same state.
    pub fn keeps_request(&self) -> bool {
        self.ctx.keeps_request.get()
    }

    /// Whether a call found no memory left here, and part of it was what earlier calls have left
    /// behind, wherever that is: such a state is to be replaced by a new one.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// Bytes that Lua holds now.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    pub(crate) fn take_definitions(&self) -> Vec<Definition> {
        self.ctx.judging.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Forgets layers over `string`. Not in a call inside of another one, whose script may be one
    /// of these.
    pub(super) fn forget_strings(&self, is_gone: impl Fn(ScriptId, u64) -> bool) {
        if self.ctx.budget.depth.get() == 0 {
            self.ctx.strings.forget(is_gone);
        }
    }
}
