// SPDX-License-Identifier: Apache-2.0
//! A server without one: scripts, pools, a clock and a request, in this process. Decisions are made
//! by the module's own crates, and the same input gives the same output.

pub mod ask;
pub mod ended;
pub mod geography;
pub mod given_up;
pub mod ground;
pub mod orders;
pub mod setup;
pub mod visit;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use balance::engine::Handle;
use balance::memory::MemoryStore;
use script::offline::{Clock, PlainRequest, PlainServer, Pools};
use script::{Library, LuaState, Phase, ScriptError, ScriptId, SeeLine, judge};

use self::given_up::{GivenUp, Patience};
use self::setup::Setup;

/// A script that is asked in the place of the configuration's hooks.
#[derive(Debug, Clone)]
pub struct OnlyScript {
    /// The script.
    pub id: ScriptId,
    /// Its selection function.
    pub function: String,
    /// Its function for after the response.
    pub finish: Option<String>,
    /// The hook; None: by whether somebody is authenticated.
    pub phase: Option<Phase>,
}

/// See the module.
pub struct World {
    /// Pools and members.
    pub pools: Pools,
    /// The request that is looked at.
    pub request: Rc<PlainRequest>,
    /// The server that scripts ask.
    pub server: Rc<PlainServer>,
    clock: Rc<Clock>,
    library: Arc<Library>,
    /// The numbers of the planned scripts.
    ids: Vec<ScriptId>,
    state: LuaState,
    setup: Rc<Setup>,
    only: Option<OnlyScript>,
    errors: RefCell<Vec<String>>,
    patience: Patience,
    see: Option<SeeLine>,
}

impl World {
    /// Everything that a setup says, at its beginning.
    ///
    /// # Errors
    /// What is wrong with the pools or a script.
    pub fn new(setup: Rc<Setup>) -> Result<World, String> {
        let clock = Rc::new(Clock::at(setup.epoch));
        let server = Rc::new(PlainServer::new(clock.clone()));
        for dict in &setup.config.dicts {
            server.add_dict(&dict.name, dict.size);
        }
        for (address, place) in &setup.places {
            server.add_place(address, Some(place.clone()));
        }
        if setup.geography.is_there() {
            let geography = setup.geography.clone();
            server.ask_databases(Rc::new(move |address| geography.find(address)));
        }
        setup.defines.iter().for_each(|name| server.define(name));
        let pools = Pools::new(setup.seed);
        pools.store().set_now_s(clock.time() as u64);
        for pool in &setup.config.pools {
            let defined = pools.define(&pool.name, pool.settings.clone(), pool.members.clone());
            defined.map_err(|error| format!("pool {}: {error}", pool.name))?;
        }
        let (library, ids) = setup.library();
        let library = Arc::new(library);
        for id in library.ids() {
            let found = judge(&library, id, server.clone(), pools.balancer());
            let found = found.map_err(|error| error.to_string())?;
            found.apply(&*pools.balancer(), 1).map_err(|error| error.to_string())?;
            library.install(id, found.bundle, given_up::VERSION);
        }
        let request = Rc::new(PlainRequest::none());
        let state = LuaState::new(server.clone(), request.clone(), pools.balancer(), library.clone());
        let state = state.map_err(|error| error.to_string())?;
        state.seed(setup.seed.cast_signed()).map_err(|error| error.to_string())?;
        let see = setup.see.clone();
        if let Some(see) = &see {
            state.see_lines(see).map_err(|error| error.to_string())?;
        }
        let errors = RefCell::default();
        let (only, patience) = (None, Patience::default());
        let mut world =
            World { pools, request, server, clock, library, ids, state, setup, only, errors, patience, see };
        world.only = world.only_script()?;
        pools_are_quiet(&world.pools);
        Ok(world)
    }

    /// The script that is asked, its function looked for: `translate`, else `select`, else the only
    /// one.
    fn only_script(&self) -> Result<Option<OnlyScript>, String> {
        let Some(named) = &self.setup.only else { return Ok(None) };
        let id = self.script(named.number).ok_or("internal error: the script has no number")?;
        let function = match &named.function {
            Some(function) => function.clone(),
            None => usual(self, id, named.finish.as_deref())?,
        };
        for function in std::iter::once(&function).chain(&named.finish) {
            self.state.line_of(id, function).map_err(|error| error.to_string())?;
        }
        Ok(Some(OnlyScript { id, function, finish: named.finish.clone(), phase: named.phase }))
    }

    /// The setup that it was made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The engine's handle.
    #[inline]
    pub fn handle(&self) -> &Handle<MemoryStore> {
        self.pools.handle()
    }

    /// The Lua state. Where lines are looked at, a call that was stopped has ended that.
    pub fn state(&self) -> &LuaState {
        if let Some(see) = &self.see
            && let Err(error) = self.state.see_lines(see)
        {
            self.fail(error.to_string());
        }
        &self.state
    }

    /// A state that runs timers, over the same pools and clock.
    pub fn background(&self, stop: Arc<AtomicBool>) -> Result<LuaState, ScriptError> {
        let state =
            LuaState::background(self.server.clone(), self.pools.balancer(), self.library.clone(), stop)?;
        if let Some(see) = &self.see {
            state.see_lines(see)?;
        }
        Ok(state)
    }

    /// All scripts.
    pub fn scripts(&self) -> impl Iterator<Item = ScriptId> {
        self.library.ids()
    }

    /// Seconds since the beginning.
    pub fn now(&self) -> f64 {
        self.clock.now()
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        (self.clock.now() * 1e3).round() as u64
    }

    /// Puts the clock there, in seconds since the beginning. Nothing else happens.
    pub fn set_now(&self, now: f64) {
        self.clock.set(now);
        self.pools.store().set_now_s(self.clock.time() as u64);
    }

    /// Makes it that time now.
    pub fn set_epoch(&self, seconds: f64) {
        self.clock.set_time(seconds);
        self.pools.store().set_now_s(self.clock.time() as u64);
    }

    /// Has picks and scripts draw from this seed.
    pub fn draw_from(&self, seed: u64) {
        self.pools.handle().draw_from(seed);
        if let Err(error) = self.state.seed(seed.cast_signed()) {
            self.fail(error.to_string());
        }
    }

    /// Whether picks or scripts have drawn since they were told this seed. The draws begin anew.
    pub fn has_drawn(&self, seed: u64) -> bool {
        let picks = self.pools.handle().draw_from(seed) != seed;
        // A state without memory has failed the request already.
        let scripts = self.state.has_drawn(seed.cast_signed()).unwrap_or(true);
        picks || scripts
    }

    /// The library's number of a planned script.
    pub fn script(&self, number: usize) -> Option<ScriptId> {
        self.ids.get(number).copied()
    }

    /// Notes what went wrong on the way of a request.
    pub fn fail(&self, text: String) {
        if !self.patience.is_refusal(&text) {
            self.errors.borrow_mut().push(text);
        }
    }

    /// Has scripts not called any more that limits stop again and again.
    pub fn limit_patience(&self) {
        self.patience.is_limited.set(true);
    }

    /// The scripts that are not called any more.
    pub fn given_up(&self) -> Vec<GivenUp> {
        self.patience.given_up()
    }

    /// Takes what went wrong so far.
    pub fn take_errors(&self) -> Vec<String> {
        self.errors.take()
    }
}

/// The events of the definitions are nobody's news.
fn pools_are_quiet(pools: &Pools) {
    pools.take_notices();
}

fn usual(world: &World, id: ScriptId, finish: Option<&str>) -> Result<String, String> {
    let mut names = world.state.functions(id).map_err(|error| error.to_string())?;
    if let Some(usual) = ["translate", "select"].iter().find(|usual| names.iter().any(|name| name == *usual))
    {
        return Ok((*usual).to_owned());
    }
    names.retain(|name| finish != Some(name));
    let label = world.library.label(id);
    match names.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(format!("{label}: there is no global function: expected one named select")),
        _ => Err(format!(
            "{label}: which function? Found {}: expected one named translate or select, or name it as {label}:FUNCTION",
            names.join(", ")
        )),
    }
}
