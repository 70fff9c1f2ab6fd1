//! Timers and checks: each run is a [`Job`], a coroutine that the host resumes turn by turn. A job that waits for the network
//! says for what; one that computes too long for the others is interrupted. So one thread runs any number of them.

pub(crate) mod io;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use balance::member::Member;
use mlua::thread::ThreadStatus;
use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Thread, Value};

use self::io::{Io, Reply};
use crate::api;
use crate::context::{Budget, Context, Frame, Phase};
use crate::error::{ErrorKind, Halt, ScriptError};
use crate::library::{Limits, ScriptId};
use crate::seen;
use crate::state::{Call, State, ended};
use crate::watch::Running;

/// How long a job computes before others have their turn.
const TURN: Duration = Duration::from_millis(2);
/// Most timers that may wait (OpenResty's limit).
const MOST_PENDING: usize = 1024;
/// Most jobs of timers at the same time (OpenResty's limit); further timers are late.
const MOST_RUNNING: usize = 256;
/// How many times the memory limit of one run the state may hold, with all runs and what scripts keep.
const STATE_SHARE: usize = 4;
/// Bytes that all sockets of a state may have received and not handed on.
pub(crate) const MOST_RECEIVED: usize = 16 << 20;
/// Bytes that all jobs of a state may be sending.
const MOST_SENDING: usize = 16 << 20;
/// How much longer than a check itself its last wait may take: its end is the check's.
const LATE: Duration = Duration::from_millis(500);
/// Shortest time that a timer waits, so that one that starts itself again leaves others room.
const SHORTEST_S: f64 = 0.001;
/// Longest time, some thirty years.
const LONGEST_S: f64 = 1e9;

/// What a Lua health check said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// Whether the member is well.
    pub healthy: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// What came of a job's turn.
#[derive(Debug)]
pub enum Step {
    /// It is over. A check has a result, a timer has none.
    Done(Result<Option<CheckResult>, ScriptError>),
    /// It waits: to be resumed with the [`Reply`].
    Wait(Io),
    /// It has more to compute: to be resumed with [`Reply::Nothing`], after the others.
    Again,
}

/// A timer that a script asked for.
struct Timer {
    script: ScriptId,
    version: u64,
    due: f64,
    every: Option<f64>,
    function: Function,
    args: MultiValue,
    /// Shared with the job that runs it.
    running: Rc<()>,
}

/// What a state that runs jobs keeps of them.
pub(crate) struct Jobs {
    timers: RefCell<Vec<Timer>>,
    /// The version of each script whose timers run.
    serving: RefCell<HashMap<ScriptId, u64>>,
    /// What the job that is about to yield waits for.
    wanted: RefCell<Option<Io>>,
    /// When the hook interrupted the job. Until that has come up through all of its coroutines, the hook leaves it alone: one
    /// of those further out has a count of its own.
    interrupted: Cell<Option<Instant>>,
    stop: Arc<AtomicBool>,
    outgrown: Cell<bool>,
    /// Held by each socket that is open.
    pub(crate) sockets: Rc<()>,
    pub(crate) shared: Rc<Shared>,
}

/// What all jobs of a state share.
#[derive(Default)]
pub(crate) struct Shared {
    running: Cell<usize>,
    /// A job was dropped before its end.
    abandoned: Cell<bool>,
    /// Bytes of what jobs send, while they wait for that.
    sending: Cell<usize>,
    /// Bytes that sockets have received and scripts have not asked for.
    pub(crate) received: Cell<usize>,
}

/// How long an interruption may be on its way. Where nothing could be interrupted it is forgotten after that.
const ON_ITS_WAY: Duration = Duration::from_millis(5);

impl Jobs {
    pub(crate) fn new(stop: Arc<AtomicBool>) -> Self {
        Jobs {
            timers: RefCell::default(),
            serving: RefCell::default(),
            wanted: RefCell::default(),
            interrupted: Cell::default(),
            stop,
            outgrown: Cell::default(),
            sockets: Rc::default(),
            shared: Rc::default(),
        }
    }

    /// Called with the bytes that are left when a run was stopped for memory and everything it held is gone.
    pub(crate) fn note_size(&self, kept: usize, limit: usize) {
        if kept > limit.saturating_mul(STATE_SHARE) / 2 {
            self.outgrown.set(true);
        }
    }

    /// Why a job may not send so many bytes now, if it may not.
    fn full(&self, bytes: usize) -> Option<String> {
        let all = self.shared.sending.get().saturating_add(bytes);
        (all > MOST_SENDING)
            .then(|| format!("timers and checks send more than {} MiB at once", MOST_SENDING >> 20))
    }

    /// For the hook: ends the running call when all are to end.
    pub(crate) fn note_stop(&self, budget: &Budget) {
        if self.stop.load(Ordering::Relaxed) && budget.depth.get() > 0 {
            budget.end(Halt::Stopped);
        }
    }

    /// For the hook: whether the running job is to make room for others now.
    pub(crate) fn turn_is_over(&self, budget: &Budget) -> bool {
        let now = Instant::now();
        let on_its_way = |since: Instant| now.duration_since(since) < ON_ITS_WAY;
        if budget.turn.get().is_none_or(|end| now < end) || self.interrupted.get().is_some_and(on_its_way) {
            return false;
        }
        self.interrupted.set(Some(now));
        true
    }
}

/// A run of a timer or a check. Dropping it ends it where it stands.
pub struct Job {
    thread: Thread,
    first: Option<MultiValue>,
    frame: Frame,
    label: String,
    /// What it runs, and where it was last: for errors without a place.
    function: Function,
    seen: Option<String>,
    limits: Limits,
    /// How long it may take, waiting included, and what it is told then.
    most: (Duration, Halt),
    started: Option<Instant>,
    computed: Duration,
    grown: usize,
    /// Lines that it has logged, and their bytes.
    logged: (u32, usize),
    /// For a check: the function's name.
    check: Option<String>,
    done: bool,
    /// Its part of [`Shared::sending`].
    sending: usize,
    shared: Rc<Shared>,
    _timer: Option<Rc<()>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("script", &self.label).field("done", &self.done).finish_non_exhaustive()
    }
}

impl Job {
    /// Notes how much it sends from here on.
    fn sends(&mut self, bytes: usize) {
        let others = self.shared.sending.get().saturating_sub(self.sending);
        self.shared.sending.set(others.saturating_add(bytes));
        self.sending = bytes;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.running.set(shared.running.get().saturating_sub(1));
        shared.abandoned.set(shared.abandoned.get() || !self.done);
        self.sends(0);
    }
}

impl State {
    /// `LuaBalancerTimer`: a run of this function, without arguments.
    pub fn start_timer(&self, id: ScriptId, function: &str) -> Result<Job, ScriptError> {
        let loaded = self.current(id)?;
        let callee = self.function(&loaded, function)?;
        self.job((id, loaded.version), &loaded.label, &callee, MultiValue::new())
    }

    /// A Lua health check: a run of this function with the member. It may take `timeout`, waiting included.
    pub fn start_check(
        &self,
        id: ScriptId,
        function: &str,
        member: &Arc<Member>,
        timeout: Duration,
    ) -> Result<Job, ScriptError> {
        let loaded = self.current(id)?;
        let callee = self.function(&loaded, function)?;
        let args = api::member_object(&self.lua, &self.ctx, member)
            .and_then(|object| object.into_lua_multi(&self.lua))
            .map_err(|error| ScriptError::from_lua(&error, &loaded.label))?;
        let mut job = self.job((id, loaded.version), &loaded.label, &callee, args)?;
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        job.most = (timeout, Halt::Check(millis));
        job.check = Some(function.to_owned());
        Ok(job)
    }

    /// Runs of the timers that scripts asked for and that are due at `now` (seconds of
    /// [`Server::now`](crate::host::Server::now)). One whose last run is not over yet is left out this time.
    pub fn due(&self, now: f64) -> Vec<Result<Job, ScriptError>> {
        let Some(jobs) = &self.ctx.jobs else { return Vec::new() };
        let room = MOST_RUNNING.saturating_sub(jobs.shared.running.get());
        let mut due = Vec::new();
        jobs.timers.borrow_mut().retain_mut(|timer| {
            if timer.due > now || due.len() >= room {
                return true;
            }
            if Rc::strong_count(&timer.running) == 1 {
                due.push((
                    timer.script,
                    timer.version,
                    timer.function.clone(),
                    timer.args.clone(),
                    timer.running.clone(),
                ));
            }
            let Some(every) = timer.every else { return false };
            // From when it was due, so that small delays do not add up.
            timer.due = if timer.due + every > now { timer.due + every } else { now + every };
            true
        });
        let start = |(script, version, function, args, running)| {
            let label = self.ctx.library.label(script);
            self.job((script, version), &label, &function, args).map(|mut job| {
                job._timer = Some(running);
                job
            })
        };
        due.into_iter().map(start).collect()
    }

    /// When the next timer that a script asked for is due, in seconds of [`Server::now`](crate::host::Server::now).
    pub fn next_due(&self) -> Option<f64> {
        let jobs = self.ctx.jobs.as_ref()?;
        if jobs.shared.running.get() >= MOST_RUNNING {
            return None;
        }
        jobs.timers.borrow().iter().map(|timer| timer.due).min_by(f64::total_cmp)
    }

    /// Gives a job its turn. `reply` is the answer to what it waited for last.
    pub fn resume(&self, job: &mut Job, reply: Reply) -> Step {
        if job.done {
            return Step::Done(Err(ScriptError::new(ErrorKind::Runtime, "this job is over already")));
        }
        match self.turn(job, reply) {
            Ok(None) => Step::Again,
            Ok(Some(Ok(io))) => Step::Wait(io),
            Ok(Some(Err(values))) => {
                job.done = true;
                Step::Done(result_of(job, &values))
            }
            Err(error) => {
                job.done = true;
                // A coroutine that failed keeps its stack, and with it all that the run held.
                if let Ok(empty) = self.lua.create_thread(job.function.clone()) {
                    job.thread = empty;
                }
                // `ngx.exit` ends a timer in peace.
                let near = || job.seen.clone().or_else(|| seen::beginning(&job.function));
                let ended = self.failed(&error, &job.label, job.limits, near).map(|_| MultiValue::new());
                Step::Done(ended.and_then(|values| result_of(job, &values)))
            }
        }
    }

    /// Which script's function a job runs, and of which version.
    pub fn runs(job: &Job) -> (ScriptId, u64) {
        (job.frame.script.unwrap_or(ScriptId(0)), job.frame.version)
    }

    /// Whether scripts keep so much in their globals that runs are stopped for it: a state to be replaced.
    pub fn is_outgrown(&self) -> bool {
        self.ctx.jobs.as_ref().is_some_and(|jobs| jobs.outgrown.get())
    }

    /// Frees what jobs held that were dropped before their end: their connections among it. For quiet moments.
    pub fn collect_abandoned(&self) {
        if self.ctx.jobs.as_ref().is_some_and(|jobs| jobs.shared.abandoned.take()) {
            self.collect();
        }
    }

    /// Drops the timers of all versions of a script but this one.
    pub(crate) fn keep_timers(&self, id: ScriptId, version: Option<u64>) {
        let Some(jobs) = &self.ctx.jobs else { return };
        jobs.timers.borrow_mut().retain(|timer| timer.script != id || Some(timer.version) == version);
        let mut serving = jobs.serving.borrow_mut();
        match version {
            Some(version) => drop(serving.insert(id, version)),
            None => drop(serving.remove(&id)),
        }
    }

    fn job(
        &self,
        (id, version): (ScriptId, u64),
        label: &str,
        function: &Function,
        args: MultiValue,
    ) -> Result<Job, ScriptError> {
        let Some(jobs) = &self.ctx.jobs else {
            return Err(ScriptError::new(ErrorKind::Runtime, format!("{label}: this state runs no timers")));
        };
        let thread =
            self.lua.create_thread(function.clone()).map_err(|error| ScriptError::from_lua(&error, label))?;
        let entry = self.ctx.library.entry(id)?;
        entry.check_quarantine()?;
        let limits = entry.limits;
        jobs.shared.running.set(jobs.shared.running.get() + 1);
        Ok(Job {
            thread,
            first: Some(args),
            frame: Frame { script: Some(id), version, phase: Phase::Timer },
            label: label.to_owned(),
            function: function.clone(),
            seen: None,
            limits,
            most: (Duration::from_millis(limits.timer_time_ms), Halt::Time(limits.timer_time_ms)),
            started: None,
            computed: Duration::ZERO,
            grown: 0,
            logged: (0, 0),
            check: None,
            done: false,
            sending: 0,
            shared: jobs.shared.clone(),
            _timer: None,
        })
    }

    /// Ok(None): interrupted; Ok(Some(Ok)): waits; Ok(Some(Err)): returned.
    #[allow(clippy::type_complexity)]
    fn turn(&self, job: &mut Job, reply: Reply) -> mlua::Result<Option<Result<Io, MultiValue>>> {
        let Some(jobs) = &self.ctx.jobs else { return Ok(None) };
        jobs.wanted.take();
        job.sends(0);
        jobs.interrupted.set(None);
        let now = Instant::now();
        let started = *job.started.get_or_insert(now);
        if job.check.is_some() && now.duration_since(started) >= job.most.0 {
            return Err(job.most.1.raise());
        }
        let left_to_compute = Duration::from_millis(job.limits.timer_time_ms).saturating_sub(job.computed);
        let ends = [
            (started.checked_add(job.most.0), job.most.1),
            (now.checked_add(left_to_compute), Halt::Time(job.limits.timer_time_ms)),
        ];
        let end = ends.iter().filter_map(|(at, halt)| Some(((*at)?, *halt))).min_by_key(|(at, _)| *at);
        let before = self.lua.used_memory();
        let values = {
            let _call = Call::start(self, job.frame, job.limits);
            let budget = &self.ctx.budget;
            budget.deadline.set(end);
            budget.turn.set(Some(now + TURN));
            budget.logged.set(job.logged);
            let room = job.limits.memory_bytes.saturating_sub(job.grown);
            let most = self.own_bytes.saturating_add(job.limits.memory_bytes.saturating_mul(STATE_SHARE));
            self.lua.set_memory_limit(before.saturating_add(room.max(1)).min(most)).ok();
            let args = match job.first.take() {
                Some(args) => args,
                None => reply.into_values(&self.lua)?,
            };
            let result = {
                let _running = Running::start(budget, &job.thread);
                job.thread.resume::<MultiValue>(args)
            };
            job.logged = budget.logged.get();
            job.seen = budget.seen.place().or(job.seen.take());
            match (budget.halt.get(), result) {
                // Whatever kept the error, the call is over.
                (Some(halt), result) => return Err(ended(budget, halt, result.err())),
                (None, result) => result?,
            }
        };
        job.grown = (job.grown + self.lua.used_memory()).saturating_sub(before);
        let now_then = Instant::now();
        job.computed += now_then - now;
        if job.thread.status() != ThreadStatus::Resumable {
            return Ok(Some(Err(values)));
        }
        let waits = io::is_token(&self.ctx, values.front());
        match jobs.wanted.take().filter(|_| waits) {
            None => Ok(None),
            Some(io) => {
                job.sends(io.bytes());
                let left = match started.checked_add(job.most.0) {
                    Some(end) => end.saturating_duration_since(now_then),
                    None => job.most.0,
                };
                match job.check {
                    _ if left.is_zero() => Err(job.most.1.raise()),
                    // A check that waits too long has failed, whatever it would make of the missing answer.
                    Some(_) => Ok(Some(Ok(io.within(left + LATE)))),
                    None => Ok(Some(Ok(io.within(left)))),
                }
            }
        }
    }
}

fn result_of(job: &Job, values: &MultiValue) -> Result<Option<CheckResult>, ScriptError> {
    let Some(function) = &job.check else { return Ok(None) };
    // Nothing of a script runs any more: no `__tostring` either.
    let reason = values.get(1).filter(|reason| !reason.is_nil()).map(|reason| match reason {
        Value::String(text) => text.to_string_lossy(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        other => format!("a {}", other.type_name()),
    });
    match values.front() {
        Some(Value::Boolean(healthy)) => Ok(Some(CheckResult { healthy: *healthy, reason })),
        None | Some(Value::Nil) => Ok(Some(CheckResult { healthy: false, reason })),
        Some(other) => Err(ScriptError::new(
            ErrorKind::Answer,
            format!(
                "{}: {function} returned a {}, expected true, or false and the reason",
                job.label,
                other.type_name()
            ),
        )),
    }
}

/// Registers a timer; only a state that runs jobs keeps it. Elsewhere the top level of a script runs the same line, and it
/// means the same timer. The inner Err is for the script: not now.
pub(crate) fn start_timer(
    ctx: &Context,
    name: &str,
    seconds: f64,
    repeats: bool,
    function: Function,
    args: MultiValue,
) -> mlua::Result<Result<(), String>> {
    let least = if repeats { SHORTEST_S } else { 0.0 };
    if !(least..=LONGEST_S).contains(&seconds) {
        return Err(mlua::Error::runtime(format!(
            "{name}: expected seconds from {least} to {LONGEST_S}, found {seconds}"
        )));
    }
    let frame = ctx.frame.get();
    let (Some(jobs), Some(script)) = (&ctx.jobs, frame.script) else { return Ok(Ok(())) };
    if frame.phase == Phase::Timer && jobs.serving.borrow().get(&script) != Some(&frame.version) {
        return Ok(Err("a newer version of this script has been loaded".into()));
    }
    let mut timers = jobs.timers.borrow_mut();
    if timers.len() >= MOST_PENDING {
        return Ok(Err("too many pending timers".into()));
    }
    let due = ctx.server.now() + seconds.max(SHORTEST_S);
    let every = repeats.then_some(seconds);
    timers.push(Timer { script, version: frame.version, due, every, function, args, running: Rc::default() });
    Ok(Ok(()))
}

/// What scripts get: `true`, or `nil` and why not.
pub(crate) fn told(result: Result<(), String>) -> (Option<bool>, Option<String>) {
    match result {
        Ok(()) => (Some(true), None),
        Err(why) => (None, Some(why)),
    }
}

/// What the prelude needs where jobs run: how it tells a job that waits or is interrupted from one that yields.
pub(crate) fn for_prelude(lua: &Lua, ctx: &Rc<Context>, native: &Table) -> mlua::Result<()> {
    if ctx.jobs.is_none() {
        return Ok(());
    }
    native.raw_set("token", io::token(lua, ctx)?)?;
    native.raw_set("cannot_wait", io::CANNOT_WAIT)?;
    let own = ctx.clone();
    let suspended =
        move |_: &Lua, ()| Ok(own.jobs.as_ref().is_some_and(|jobs| jobs.interrupted.get().is_some()));
    native.raw_set("suspended", lua.create_function(suspended)?)?;
    let own = ctx.clone();
    let unsuspend = move |_: &Lua, ()| {
        if let Some(jobs) = &own.jobs {
            jobs.interrupted.set(None);
        }
        Ok(())
    };
    native.raw_set("unsuspend", lua.create_function(unsuspend)?)
}
