//! A thread's Lua state: keeps scripts current, calls their functions, tells what they answered. Timers and checks are in
//! [`crate::jobs::run`].

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use balance::api::{Balancer, View};
use balance::member::Member;
use mlua::{Function, IntoLuaMulti, Lua, Table, Value};

use crate::answer::Answer;
use crate::api::{self, PoolHandle, convert, with_page};
use crate::asked::{Asked, Question};
use crate::budget::{Budget, VETTING_MS};
use crate::bundle::Source;
use crate::chunk::compile;
use crate::context::{Context, Outer, Said};
use crate::definition::Definition;
use crate::error::{ErrorKind, Halt, Parts, ScriptError};
use crate::frame::{Attempt, Frame, Phase};
use crate::hook;
use crate::host::{Request, Server};
use crate::jobs::kept::Jobs;
use crate::library::{CodeCache, Entry, Library, Limits, ScriptId};
use crate::loaded::{Loaded, missing, place};
use crate::loader::{Modules, Recorder};
use crate::picks::Shortcuts;
use crate::sandbox::{self, Sandbox};
use crate::seen;
use crate::strings::Strings;
use crate::texts::Texts;
use crate::watch::Watched;

/// One thread's Lua state. Not `Send`: it lives and dies in its thread.
pub struct State {
    // The order matters: Lua goes first and lets go of the context.
    pub(crate) lua: Lua,
    sandbox: Sandbox,
    pub(crate) ctx: Rc<Context>,
    pub(crate) request: Table,
    scripts: RefCell<Vec<Option<Rc<Loaded>>>>,
    /// Bytes that Lua held before any script was loaded.
    pub(crate) own_bytes: usize,
    /// See [`State::is_exhausted`].
    exhausted: Cell<bool>,
}

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

enum Keep {
    Nothing,
    Definitions,
    Timers(Arc<AtomicBool>),
}

impl State {
    /// A state for a thread that serves requests.
    pub fn new(
        server: Rc<dyn Server>,
        request: Rc<dyn Request>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
    ) -> Result<State, ScriptError> {
        State::make(server, request, balancer, library, Keep::Nothing)
    }

    /// A state for the thread of timers and checks: it keeps the timers that scripts ask for, and runs [`Job`](crate::Job)s.
    /// While `stop` is set, whatever runs is stopped.
    pub fn background(
        server: Rc<dyn Server>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
        stop: Arc<AtomicBool>,
    ) -> Result<State, ScriptError> {
        State::make(server, Rc::new(crate::host::NoRequest), balancer, library, Keep::Timers(stop))
    }

    pub(crate) fn for_judging(
        server: Rc<dyn Server>,
        request: Rc<dyn Request>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
    ) -> Result<State, ScriptError> {
        State::make(server, request, balancer, library, Keep::Definitions)
    }

    fn make(
        server: Rc<dyn Server>,
        request: Rc<dyn Request>,
        balancer: Rc<dyn Balancer>,
        library: Arc<Library>,
        keep: Keep,
    ) -> Result<State, ScriptError> {
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
        State::assemble(ctx, open).map_err(|error| ScriptError::from_lua(&error, "Lua"))
    }

    fn assemble(ctx: Rc<Context>, open: bool) -> mlua::Result<State> {
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
        Ok(State { lua, sandbox, ctx, request, scripts: RefCell::default(), own_bytes, exhausted })
    }

    /// Runs a selection function with the current request. `function` is `-` when the file itself is the body.
    pub fn select(&self, id: ScriptId, function: &str, phase: Phase) -> Result<Answer, ScriptError> {
        let loaded = self.current(id)?;
        let function = self.function(&loaded, function)?;
        self.answer(id, &loaded, &function, phase, &self.request)
    }

    /// The question to a pool or view that gave the last call this member. None when it was named in another way.
    pub fn asked(&self, member: &Member) -> Option<Question> {
        self.ctx.asked.of(member.slot)
    }

    /// Whether the last call got this member as that of the request's session.
    pub fn is_of_session(&self, member: &Member) -> bool {
        self.ctx.asked.is_of_session(member.slot)
    }

    /// `LuaBalancerMethod lua`: calls the function with `(pool, r)`. `view` says which members are left to choose from.
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

    /// Loads a script now, as the first call would. For the background thread, whose timers start that way.
    pub fn load(&self, id: ScriptId) -> Result<(), ScriptError> {
        self.current(id).map(drop)
    }

    /// What the next call's attempt is, for `ngx.balancer`.
    pub fn set_attempt(&self, attempt: Attempt) {
        self.ctx.attempt.set(attempt);
    }

    /// Collects all garbage now; for quiet moments.
    pub fn collect(&self) {
        self.lua.gc_collect().ok();
    }

    /// Whether scripts have kept something here for the length of a request (`ngx.ctx`): all calls for one request then want the
    /// same state.
    pub fn keeps_request(&self) -> bool {
        self.ctx.keeps_request.get()
    }

    /// Whether a call found no memory left here, and part of it was what earlier calls have left behind, wherever that is: such a
    /// state is to be replaced by a new one.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.get()
    }

    /// Bytes that Lua holds now.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    pub(crate) fn compile(&self, path: &str, text: &[u8]) -> Result<(), ScriptError> {
        compile(&self.lua, path, text, None).map(drop)
    }

    pub(crate) fn take_definitions(&self) -> Vec<Definition> {
        self.ctx.judging.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Compiles and starts a version that is not served yet, and looks for the functions wanted of it.
    pub(crate) fn load_candidate(
        &self,
        id: ScriptId,
        main: &Source,
        recorder: Rc<RefCell<Recorder>>,
    ) -> Result<(), ScriptError> {
        let entry = self.ctx.library.entry(id)?;
        let loaded = self.start(id, entry, 0, main, Modules::Disk(recorder))?;
        entry.needs.iter().try_for_each(|need| self.function(&loaded, need).map(drop))
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

    /// The script as it is to be served now: a comparison of versions, and a rebuild when they differ.
    pub(crate) fn current(&self, id: ScriptId) -> Result<Rc<Loaded>, ScriptError> {
        let index = id.0 as usize;
        let entry = self.ctx.library.entry(id)?;
        let known = self.scripts.borrow().get(index).cloned().flatten();
        let version = entry.version_word();
        if let Some(loaded) = &known
            && self.keeps(entry)
            && version != 0
            && (loaded.version == version || loaded.refused.get() == version)
        {
            return Ok(loaded.clone());
        }
        entry.check_quarantine()?;
        let rebuilt = self.rebuild(id, entry);
        if let Some(jobs) = &self.ctx.jobs {
            jobs.keep_timers(id, rebuilt.as_ref().ok().or(known.as_deref()).map(|loaded| loaded.version));
        }
        match rebuilt {
            Ok(loaded) => {
                self.forget_strings(|script, version| script == id && version != loaded.version);
                let loaded = Rc::new(loaded);
                let mut scripts = self.scripts.borrow_mut();
                if scripts.len() <= index {
                    scripts.resize(index + 1, None);
                }
                scripts[index] = Some(loaded.clone());
                Ok(loaded)
            }
            Err(error) => match known {
                Some(loaded) if self.keeps(entry) => {
                    const ERROR: u8 = 3;
                    self.ctx.server.log(ERROR, &format!("{error}; the version before goes on serving"));
                    loaded.refused.set(version);
                    Ok(loaded)
                }
                _ => Err(error),
            },
        }
    }

    /// Whether a script is loaded once a version. With `CodeCache::Never` requests read files each time; timers have to
    /// outlive a call.
    fn keeps(&self, entry: &Entry) -> bool {
        entry.cache != CodeCache::Never || self.ctx.jobs.is_some()
    }

    fn rebuild(&self, id: ScriptId, entry: &Entry) -> Result<Loaded, ScriptError> {
        if !self.keeps(entry) {
            let recorder = Rc::new(RefCell::new(Recorder::default()));
            let main = recorder.borrow_mut().main(entry)?;
            return self.start(id, entry, self.ctx.library.version(id), &main, Modules::Disk(recorder));
        }
        let (bundle, version) = self.ctx.library.current(id)?;
        let main = bundle.main.clone();
        self.start(id, entry, version, &main, Modules::Bundle(bundle))
    }

    /// Compiles and, unless the file is only a body, runs the top level.
    fn start(
        &self,
        id: ScriptId,
        entry: &Entry,
        version: u64,
        main: &Source,
        modules: Modules,
    ) -> Result<Loaded, ScriptError> {
        let label = entry.label();
        let env = self
            .environment(id, entry, version, modules)
            .map_err(|error| ScriptError::from_lua(&error, &label))?;
        let chunk = if entry.only_body() {
            compile(&self.lua, &label, &as_body(&main.text), Some(env.clone()))?
        } else {
            compile(&self.lua, &label, &main.text, Some(env.clone()))?
        };
        let body = OnceCell::new();
        let returned = if entry.only_body() {
            body.set(Rc::new(chunk)).ok();
            Value::Nil
        } else {
            let frame = Frame { script: Some(id), version, phase: Phase::Load };
            let callee = Callee { frame, label: &label, limits: entry.limits, function: &chunk };
            self.guarded(&callee, ())?.0
        };
        let (main, functions, refused) = (main.clone(), RefCell::default(), Cell::new(0));
        Ok(Loaded { version, label, env, returned, body, main, functions, limits: entry.limits, refused })
    }

    fn environment(
        &self,
        id: ScriptId,
        entry: &Entry,
        version: u64,
        modules: Modules,
    ) -> mlua::Result<Table> {
        self.forget_strings(|script, other| (script, other) == (id, version));
        let folder = entry.folder().to_owned();
        let ctx = Rc::downgrade(&self.ctx);
        let require = self.lua.create_function(
            move |lua,
                  (env, name, search): (Table, String, String)|
                  -> mlua::Result<(Value, Option<String>)> {
                let Some(ctx) = ctx.upgrade() else { return Err(mlua::Error::CallbackDestructed) };
                if let Some(module) = crate::ngx::builtin(lua, &ctx, &name)? {
                    return Ok((module, None));
                }
                match modules.find(&search, &folder, &name) {
                    Ok(Some(source)) => {
                        let path = source.path.to_string_lossy().into_owned();
                        let chunk = compile(lua, &path, &source.text, Some(env)).map_err(|error| {
                            mlua::Error::runtime(format!("error loading module '{name}': {}", error.message))
                        })?;
                        Ok((Value::Function(chunk), Some(path)))
                    }
                    Ok(None) => Err(mlua::Error::runtime(missing(&name, &search, &folder))),
                    Err(error) => Err(mlua::Error::runtime(error.message)),
                }
            },
        )?;
        let owner = (id.0, version.cast_signed());
        let env: Table = self.sandbox.environment.call((require, entry.search(), owner.0, owner.1))?;
        self.sandbox.protected.raw_set(&env, Value::Nil)?;
        Ok(env)
    }

    /// Forgets layers over `string`. Not in a call inside of another one, whose script may be one of these.
    fn forget_strings(&self, is_gone: impl Fn(ScriptId, u64) -> bool) {
        if self.ctx.budget.depth.get() == 0 {
            self.ctx.strings.forget(is_gone);
        }
    }

    pub(crate) fn function(&self, loaded: &Loaded, name: &str) -> Result<Rc<Function>, ScriptError> {
        if name == "-" {
            if let Some(body) = loaded.body.get() {
                return Ok(body.clone());
            }
            let body =
                compile(&self.lua, &loaded.label, &as_body(&loaded.main.text), Some(loaded.env.clone()))?;
            return Ok(loaded.body.get_or_init(|| Rc::new(body)).clone());
        }
        let found =
            loaded.functions.borrow().iter().find(|(known, _)| **known == *name).map(|(_, f)| f.clone());
        if let Some(function) = found {
            return Ok(function);
        }
        let function = Rc::new(loaded.look_up(name)?);
        loaded.functions.borrow_mut().push((name.into(), function.clone()));
        Ok(function)
    }

    fn answer(
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

    /// The one place that calls into a script: under the limits, and leaving the state usable whatever happens.
    fn guarded(&self, callee: &Callee<'_>, args: impl IntoLuaMulti) -> Result<(Value, Value), ScriptError> {
        let Callee { frame, label, limits, function } = *callee;
        let result = {
            let _call = Call::start(self, frame, limits);
            let result = function.call::<(Value, Value)>(args);
            match (self.ctx.budget.halt.get(), result) {
                // Whatever kept the error, the call is over.
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
    pub(crate) fn failed(
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
            // What the call left behind goes at once, so that the next one starts with room.
            self.lua.gc_collect().ok();
            self.shed(limits.memory_bytes);
        }
        Err(error)
    }

    /// Scripts whose globals fill the state start anew, so that a leak costs a request now and then, not the thread.
    fn shed(&self, limit: usize) {
        const WARNING: u8 = 4;
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
        self.ctx.server.log(
            WARNING,
            &format!(
                "the scripts of this thread kept {} KiB in their globals, more than half of memory={} KiB: they start anew",
                kept >> 10,
                limit >> 10
            ),
        );
    }
}

/// What is called, and what the call may take.
struct Callee<'c> {
    frame: Frame,
    label: &'c str,
    limits: Limits,
    function: &'c Function,
}

impl<'c> Callee<'c> {
    fn of(id: ScriptId, loaded: &'c Loaded, phase: Phase, function: &'c Function) -> Self {
        let frame = Frame { script: Some(id), version: loaded.version, phase };
        Callee { frame, label: &loaded.label, limits: loaded.limits, function }
    }
}

/// The error of a call that is over: what came out of it, if that says so, or where it was when the hook saw that.
#[cold]
pub(crate) fn ended(budget: &Budget, halt: Halt, error: Option<mlua::Error>) -> mlua::Error {
    let place = || budget.seen.place().filter(|_| budget.ended_by_hook.get());
    error.filter(|error| Parts::of(error).halt.is_some()).unwrap_or_else(|| match place() {
        Some(place) => halt.raise_at(&place),
        None => halt.raise(),
    })
}

/// A running call; ends it when dropped, in a panic as well.
pub(crate) struct Call<'a> {
    state: &'a State,
    outer: Option<Box<Outer>>,
}

impl<'a> Call<'a> {
    pub(crate) fn start(state: &'a State, frame: Frame, limits: Limits) -> Self {
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

/// A file that is a function's body sees the request as `r`; the line numbers stay.
fn as_body(text: &[u8]) -> Vec<u8> {
    let comment = if text.starts_with(b"#") { b"--".as_slice() } else { b"" };
    [b"local r = ...; ".as_slice(), comment, text].concat()
}
