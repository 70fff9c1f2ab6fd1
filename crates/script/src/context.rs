//! What all API functions of a state share: the host, the call that is running, its limits.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answer::FoundNone;
use balance::api::Balancer;
use balance::event::By;
use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use mlua::{AnyUserData, Function, Lua, Table, Value};

use crate::answer::{Answer, Peer};
use crate::asked::Asked;
use crate::error::Halt;
use crate::host::{Field, Request, Server};
use crate::jobs::Jobs;
use crate::library::{Library, Limits, ScriptId};
use crate::processor::Start;
use crate::seen::Seen;
use crate::shortcuts::Shortcuts;
use crate::strings::Strings;
use crate::texts::Texts;
use crate::watch::Watched;

/// What a script is called for. It decides what some names do, `ngx.exit` for one.
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

/// The attempt that a call is for; scripts see it through `ngx.balancer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempt {
    /// Attempts made before this one.
    pub before: u32,
    /// How the last one ended: whether the connection is good ("next") or not ("failed"), and the status.
    pub last_failure: Option<(bool, u16)>,
}

/// A pool that a script defines with `lb.define_pool`.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The pool's name.
    pub name: String,
    /// Its settings.
    pub settings: PoolSettings,
    /// Its members.
    pub members: Vec<MemberSpec>,
}

/// The running call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Frame {
    pub(crate) script: Option<ScriptId>,
    pub(crate) version: u64,
    pub(crate) phase: Phase,
}

/// Of a [`Frame::tag`]: the call is of a top level.
const TAG_LOAD: u64 = 1 << 31;

impl Frame {
    /// The script (high half), the version's lower 31 bits, and whether it is the top level, in one word for the watch.
    fn tag(&self) -> u64 {
        let script = u64::from(self.script.map_or(0, |id| id.0));
        let load = if self.phase == Phase::Load { TAG_LOAD } else { 0 };
        script << 32 | load | self.version & (TAG_LOAD - 1)
    }

    /// The script, the version and whether it is the top level.
    pub(crate) fn of_tag(tag: u64) -> (ScriptId, u64, bool) {
        (ScriptId((tag >> 32) as u32), tag & (TAG_LOAD - 1), tag & TAG_LOAD != 0)
    }
}
/// Lines that one call may log, and their bytes.
const MOST_LINES: u32 = 1000;
const MOST_LOGGED: usize = 1 << 20;
/// Bytes that a call may have made outside of Lua's memory.
const MOST_OUTSIDE: usize = 4 << 20;
/// How long a call may last that waits, or gets no processor, within what it may compute: ten times that, a second at least, and
/// five seconds more than that at most.
pub fn longest(limit: Duration) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST_WAITED: Duration = Duration::from_secs(5);
    limit.saturating_mul(10).min(limit.saturating_add(MOST_WAITED)).max(LEAST)
}
/// Steps of a native function between two looks at the clock.
const STEPS: u32 = 256;

#[derive(Default)]
pub(crate) struct Budget {
    pub(crate) depth: Cell<u32>,
    pub(crate) limits: Cell<Limits>,
    pub(crate) time_ms: Cell<u64>,
    /// First time the clocks were read in this call.
    started: Cell<Option<Start>>,
    /// Why the call is over; set once, raised again and again.
    pub(crate) halt: Cell<Option<Halt>>,
    /// Of a job: when its call is over, and why. Then `time_ms` does not count.
    pub(crate) deadline: Cell<Option<(Instant, Halt)>>,
    /// Of a job: when others have their turn.
    pub(crate) turn: Cell<Option<Instant>>,
    /// Plain searches since the last look at the clock, in 1024ths of the longest that one may be.
    pub(crate) searched: Cell<i64>,
    /// Bytes that the running call has had made outside of Lua's memory.
    pub(crate) spent: Cell<usize>,
    /// Lines that the running call has logged, and their bytes.
    pub(crate) logged: Cell<(u32, usize)>,
    /// Where the script was at the last check.
    pub(crate) seen: Seen,
    /// The error of a call that is over has been raised by the hook.
    pub(crate) raised: Cell<bool>,
    /// It was the hook that saw that the call is over: where the script was seen last is where it ended.
    pub(crate) ended_by_hook: Cell<bool>,
    /// Sets the hook.
    pub(crate) watched: OnceCell<Watched>,
}

impl Budget {
    /// Err when the call is over. Cheap enough for every few thousand steps: it reads the clock.
    pub(crate) fn check(&self) -> Result<(), Halt> {
        if self.depth.get() == 0 {
            return Ok(());
        }
        if let Some(halt) = self.halt.get() {
            return Err(halt);
        }
        let now = Instant::now();
        if let Some((end, halt)) = self.deadline.get() {
            return if now < end { Ok(()) } else { Err(self.end(halt)) };
        }
        let Some(started) = self.started.get().or_else(|| self.seen_by_the_watch()) else {
            // One that the watch has not seen yet has only begun.
            if !self.will_be_seen() {
                self.started.set(Some(Start::now()));
            }
            return Ok(());
        };
        self.started.set(Some(started));
        let lasted = now.saturating_duration_since(started.at);
        if lasted < Duration::from_millis(self.time_ms.get()) {
            Ok(())
        } else {
            self.check_use(started, lasted)
        }
    }

    /// What one search may use of the processor: half of what the call may, or what is left.
    pub(crate) fn search_time(&self) -> Duration {
        let limit = Duration::from_millis(self.time_ms.get());
        if limit.is_zero() || self.depth.get() == 0 {
            return Duration::MAX;
        }
        let started = self.started.get().or_else(|| self.seen_by_the_watch());
        let used = started.map_or(Duration::ZERO, |started| started.used_since());
        limit.saturating_sub(used).min(limit / 2)
    }

    /// For a call that has lasted as long as it may compute: whether it has computed, or others have.
    #[cold]
    fn check_use(&self, started: Start, lasted: Duration) -> Result<(), Halt> {
        let limit = self.time_ms.get();
        if started.used_since() >= Duration::from_millis(limit) {
            return Err(self.end(Halt::Time(limit)));
        }
        let longest = longest(Duration::from_millis(limit));
        if lasted < longest { Ok(()) } else { Err(self.end(Halt::Waited(longest.as_millis() as u64))) }
    }

    /// Notes a plain search of this cost, which no hook interrupts; Err when the call is over.
    pub(crate) fn search(&self, cost: i64) -> Result<(), Halt> {
        const MOST: i64 = 1024;
        let all = self.searched.get() + cost;
        self.searched.set(if all < MOST { all } else { 0 });
        if all < MOST { Ok(()) } else { self.check() }
    }

    /// Notes bytes that are made outside of Lua's memory; Err when they are more than a call may have there.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Halt> {
        let limit = self.limits.get().memory_bytes;
        if self.depth.get() == 0 || limit == 0 {
            return Ok(());
        }
        let all = self.spent.get().saturating_add(bytes);
        self.spent.set(all);
        if all <= MOST_OUTSIDE.min(limit) { Ok(()) } else { Err(self.end(Halt::Memory(limit))) }
    }

    /// Notes a line for the log; whether it may be written.
    pub(crate) fn may_log(&self, bytes: usize) -> bool {
        if self.depth.get() == 0 {
            return true;
        }
        let (lines, before) = self.logged.get();
        let (lines, all) = (lines.saturating_add(1), before.saturating_add(bytes));
        self.logged.set((lines, all));
        lines <= MOST_LINES && all <= MOST_LOGGED
    }

    /// Of a call inside of another one nothing is known: the watch sees the outer one.
    fn seen_by_the_watch(&self) -> Option<Start> {
        self.watched.get().filter(|_| self.depth.get() == 1).and_then(Watched::seen)
    }

    fn will_be_seen(&self) -> bool {
        self.depth.get() == 1 && self.watched.get().is_some_and(Watched::will_be_seen)
    }

    /// Has the hook called with the next instruction or call.
    pub(crate) fn arm(&self) {
        if let Some(watched) = self.watched.get() {
            watched.arm();
        }
    }

    /// Whether the hook, called for the call of a function, need not look.
    pub(crate) fn is_plain_call(&self) -> bool {
        self.halt.get().is_none() && self.watched.get().is_some_and(Watched::is_plain_call)
    }

    /// The hook has looked.
    pub(crate) fn looked(&self) {
        if let Some(watched) = self.watched.get() {
            watched.looked();
        }
    }

    /// Whether the call is over for good. After `ngx.exit` and its like, `<close>` handlers still run.
    pub(crate) fn is_over(&self) -> bool {
        self.halt.get().is_some_and(|halt| halt != Halt::Answered)
    }

    /// Nothing is known of a call yet.
    fn forget(&self) {
        self.started.set(None);
        self.searched.set(0);
        self.spent.set(0);
        self.halt.set(None);
        self.raised.set(false);
        self.ended_by_hook.set(false);
        self.deadline.set(None);
        self.turn.set(None);
    }

    /// A call begins.
    fn begin(&self, frame: &Frame) {
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() == 1 {
            self.logged.set((0, 0));
            if let Some(watched) = self.watched.get() {
                watched.begin(frame.tag());
            }
        }
    }

    /// A call is over.
    fn finish(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
        if let (0, Some(watched)) = (self.depth.get(), self.watched.get()) {
            watched.end();
        }
    }

    /// Whether the hook has raised in this call, or will.
    pub(crate) fn is_stopped(&self) -> bool {
        self.raised.get() || self.is_over()
    }

    /// Ends the call for this reason, unless another came first.
    pub(crate) fn end(&self, halt: Halt) -> Halt {
        let first = self.halt.get().unwrap_or(halt);
        self.halt.set(Some(first));
        if self.is_over() {
            self.arm();
        }
        first
    }
}

/// What a call says in other ways than by what it returns.
#[derive(Default)]
pub(crate) struct Said {
    /// By `ngx.exit` and its like.
    pub(crate) answer: Option<Answer>,
    /// To `ngx.balancer`.
    pub(crate) peer: Peer,
    /// The pool whose method found no member last.
    pub(crate) found_none: Option<FoundNone>,
    /// What it wrote for the client itself.
    pub(crate) page: Option<Vec<u8>>,
}

/// Saved state of the outer call.
pub(crate) struct Outer {
    frame: Frame,
    limits: Limits,
    time_ms: u64,
    started: Option<Start>,
    halt: Option<Halt>,
    deadline: Option<(Instant, Halt)>,
    turn: Option<Instant>,
}

/// One for each state.
pub(crate) struct Context {
    pub(crate) server: Rc<dyn Server>,
    pub(crate) request: Rc<dyn Request>,
    pub(crate) balancer: Rc<dyn Balancer>,
    pub(crate) library: Arc<Library>,
    pub(crate) budget: Budget,
    pub(crate) frame: Cell<Frame>,
    pub(crate) attempt: Cell<Attempt>,
    /// What the running call said; None as long as it was nothing.
    pub(crate) said: RefCell<Option<Box<Said>>>,
    /// What the running call has asked pools.
    pub(crate) asked: Asked,
    /// Modules made so far: `ngx`, `cjson` …
    pub(crate) modules: RefCell<HashMap<String, Value>>,
    /// `(table, name) -> read-only table`.
    pub(crate) protect: OnceCell<Function>,
    /// Keys are the tables that `rawset` refuses.
    pub(crate) protected: OnceCell<Table>,
    /// Member objects by slot, with the incarnation they stand for.
    pub(crate) members: RefCell<Vec<Option<(u32, AnyUserData)>>>,
    pub(crate) pools: RefCell<HashMap<String, AnyUserData>>,
    pub(crate) shortcuts: Shortcuts,
    /// In a state that judges: what the candidate defines, not applied yet.
    pub(crate) judging: Option<RefCell<Vec<Definition>>>,
    /// A script keeps something for the length of a request (`ngx.ctx`).
    pub(crate) keeps_request: Cell<bool>,
    /// In a state that runs timers and checks.
    pub(crate) jobs: Option<Jobs>,
    /// Text fields of the request.
    pub(crate) texts: Texts,
    /// Methods of strings.
    pub(crate) strings: Strings,
}

impl Context {
    /// Who runs here, for events.
    pub(crate) fn by(&self) -> By {
        By::Script(self.frame.get().script.map(|id| self.library.label(id)))
    }

    /// Who runs here, for the log.
    pub(crate) fn who(&self) -> String {
        self.by().to_string()
    }

    /// Starts a call; [`Context::leave`] must follow.
    pub(crate) fn enter(&self, frame: Frame, limits: Limits, time_ms: u64) -> Option<Box<Outer>> {
        let budget = &self.budget;
        let outer = (budget.depth.get() > 0).then(|| self.outer());
        if outer.is_none() {
            self.asked.forget();
        }
        self.frame.set(frame);
        if self.strings.any.get() {
            self.strings.switch(frame);
        }
        budget.limits.set(limits);
        budget.time_ms.set(time_ms);
        budget.forget();
        budget.begin(&frame);
        outer
    }

    pub(crate) fn leave(&self, outer: Option<Box<Outer>>) {
        self.budget.finish();
        match outer {
            Some(outer) => self.resume(&outer),
            None => {
                self.frame.set(Frame::default());
                self.budget.forget();
            }
        }
    }

    #[cold]
    fn outer(&self) -> Box<Outer> {
        let budget = &self.budget;
        Box::new(Outer {
            frame: self.frame.get(),
            limits: budget.limits.get(),
            time_ms: budget.time_ms.get(),
            started: budget.started.get(),
            halt: budget.halt.get(),
            deadline: budget.deadline.get(),
            turn: budget.turn.get(),
        })
    }

    #[cold]
    fn resume(&self, outer: &Outer) {
        let budget = &self.budget;
        self.frame.set(outer.frame);
        self.strings.switch(outer.frame);
        budget.limits.set(outer.limits);
        budget.time_ms.set(outer.time_ms);
        budget.started.set(outer.started);
        budget.halt.set(outer.halt);
        budget.raised.set(false);
        budget.ended_by_hook.set(false);
        budget.deadline.set(outer.deadline);
        budget.turn.set(outer.turn);
    }

    /// What the running call says.
    pub(crate) fn say<T>(&self, what: impl FnOnce(&mut Said) -> T) -> T {
        what(self.said.borrow_mut().get_or_insert_default())
    }

    /// Takes what was said, and puts something else in its place.
    pub(crate) fn exchange_said(&self, other: Option<Box<Said>>) -> Option<Box<Said>> {
        self.said.replace(other)
    }

    /// The request, or the error that scripts get without one.
    pub(crate) fn request(&self) -> mlua::Result<&dyn Request> {
        if self.request.active() {
            return Ok(&*self.request);
        }
        Err(mlua::Error::runtime(
            "no request here: r, ngx.var and their like work only while a request is handled",
        ))
    }

    /// Logs a line for a script; an error when it has logged too much.
    pub(crate) fn log(&self, level: u8, line: &str) -> mlua::Result<()> {
        if !self.budget.may_log(line.len()) {
            return Err(mlua::Error::runtime(format!(
                "more than {MOST_LINES} lines, or {} MiB of them, for the log in one call",
                MOST_LOGGED >> 20
            )));
        }
        self.server.log(level, line);
        Ok(())
    }

    /// For each step of a long native function: looks at the clock now and then. `steps` is the function's own count.
    pub(crate) fn step(&self, steps: &mut u32) -> mlua::Result<()> {
        *steps = steps.wrapping_add(1);
        match steps.is_multiple_of(STEPS) {
            true => self.budget.check().map_err(Halt::raise),
            false => Ok(()),
        }
    }

    /// Notes bytes that are made outside of Lua's memory.
    pub(crate) fn spend(&self, bytes: usize) -> mlua::Result<()> {
        self.budget.spend(bytes).map_err(Halt::raise)
    }

    /// Sets a text field of the request.
    pub(crate) fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        // The call ends with the next look at the budget.
        self.budget.spend(value.map_or(0, <[u8]>::len)).map_err(|halt| halt.to_string())?;
        self.texts.forget(field);
        self.request.set_field(field, value)
    }

    pub(crate) fn judges(&self) -> bool {
        self.judging.is_some()
    }
}

/// Makes a text that httpd has: a short one outside of the memory limit, see [`unlimited`].
pub(crate) fn text_of(lua: &Lua, bytes: &[u8]) -> mlua::Result<mlua::LuaString> {
    const SHORT: usize = 8 << 10;
    if bytes.len() > SHORT {
        return lua.create_string(bytes);
    }
    unlimited(lua, || lua.create_string(bytes))
}

/// Makes one value outside of the memory limit, which the rest of the call meets all the same: under a limit Lua allocates in
/// protected calls, which cost more than a short string does. For values that httpd bounds already.
pub(crate) fn unlimited<T>(lua: &Lua, make: impl FnOnce() -> T) -> T {
    let limit = lua.set_memory_limit(0);
    let made = make();
    if let Ok(limit) = limit {
        lua.set_memory_limit(limit).ok();
    }
    made
}
