// SPDX-License-Identifier: Apache-2.0
//! Lua states of shadows (`LuaBalancerShadow`): apart from those that decide, over members,
//! dictionaries and requests of which nothing moves.

use std::rc::Rc;
use std::sync::Arc;

use balance::engine::{Engine, Handle};
use balance::frozen::Frozen;
use parking_lot::Mutex;
use script::{ErrorKind, LuaState, ScriptError};
use table::Table;

use crate::httpd::copied::CopiedRequest;
use crate::httpd::memory;
use crate::httpd::request::{PROXYREQ_NONE, Request};
use crate::serve::host::{CurrentRequest, HttpdServer};
use crate::serve::lua_states::Parts;
use crate::serve::read_only::{ReadOnlyServer, UnsentFields};

/// A state, and all that it looks at.
pub struct ShadowSeat {
    current: Rc<CurrentRequest>,
    server: Rc<ReadOnlyServer>,
    engine: Arc<Engine<Frozen<Table>>>,
    /// The request.
    pub fields: Rc<UnsentFields>,
    /// Picks.
    pub handle: Rc<Handle<Frozen<Table>>>,
    /// Lua.
    pub lua: LuaState,
}

impl ShadowSeat {
    fn new(parts: &Parts) -> Result<Box<Self>, ScriptError> {
        let current = Rc::new(CurrentRequest::new(parts.keys.clone()));
        let engine = Engine::new(Frozen::over(parts.engine.clone()), Box::new(|_| ()));
        let handle = Rc::new(Handle::new(engine.clone(), memory::seed()));
        let server = HttpdServer::new(current.clone(), parts.lane, parts.dicts.clone());
        let server = Rc::new(ReadOnlyServer::over(server));
        let fields = Rc::new(UnsentFields::of(current.clone()));
        let lua = LuaState::new(server.clone(), fields.clone(), handle.clone(), parts.library.clone())?;
        Ok(Box::new(ShadowSeat { current, server, engine, fields, handle, lua }))
    }

    fn begin(&self, request: Request<'_>) {
        self.server.forget();
        self.fields.begin();
        self.engine.store().begin(request.started_us().cast_unsigned() / 1_000_000);
    }
}

/// Makes a request one that nobody has decided about.
fn undecide(request: Request<'_>) {
    if request.proxyreq() != PROXYREQ_NONE {
        request.set_proxyreq(PROXYREQ_NONE);
    }
    if request.proxied_url().is_some() {
        request.set_filename(None);
    }
    let is_proxy = |handler: &[u8]| handler == b"proxy-server" || handler.starts_with(b"proxy:");
    if request.handler().is_some_and(is_proxy) {
        request.set_handler(None);
    }
}

/// A child's states of shadows, those that nobody is using.
pub struct Shadows {
    parts: Parts,
    // A state is not moved in memory.
    #[allow(clippy::vec_box)]
    free: Mutex<Vec<Box<ShadowSeat>>>,
}

// SAFETY: A state is in the list or in one thread's hands, and goes from hand to hand through a
// lock, so that what one thread did with it is seen by the next. All that is not thread-safe in it
// (the Lua state, reference counts of `Rc`) is reached through the state alone, and neither Lua nor
// mlua keep anything of it by thread.
#[allow(unsafe_code)]
unsafe impl Send for Shadows {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Shadows {}

impl Shadows {
    /// No states yet.
    pub fn new(parts: Parts) -> Self {
        Shadows { parts, free: Mutex::default() }
    }

    /// Calls `body` with a state that looks at a copy of this request, and with that copy: it is as
    /// if nobody had decided, and the shadow's changes end with it. A state in which a call has
    /// panicked is not used again.
    pub fn with<T>(
        &self,
        request: Request<'_>,
        body: impl FnOnce(&ShadowSeat, Request<'_>) -> T,
    ) -> Result<T, ScriptError> {
        let no_memory = || ScriptError::new(ErrorKind::Memory, "no memory for a copy of the request");
        let copied = CopiedRequest::of(request).ok_or_else(no_memory)?;
        let request = copied.request().ok_or_else(no_memory)?;
        undecide(request);
        let free = self.free.lock().pop();
        let state = match free {
            Some(state) => state,
            None => ShadowSeat::new(&self.parts)?,
        };
        let said = {
            let _entered = state.current.enter(request);
            state.begin(request);
            body(&state, request)
        };
        if !state.lua.is_exhausted() {
            self.free.lock().push(state);
        }
        Ok(said)
    }
}
