// SPDX-License-Identifier: Apache-2.0
//! Runs of timers and checks: each is a [`Job`], a coroutine that the host resumes turn by turn. A
//! job that waits for the network says for what; one that computes too long for the others is
//! interrupted. So one thread runs any number of them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::member::Member;
use mlua::thread::ThreadStatus;
use mlua::{Function, IntoLuaMulti, MultiValue, Thread, Value};

use super::call::{Call, ended};
use super::held::LuaState;
use crate::api;
use crate::context::kept::{MOST_RUNNING, STATE_SHARE, Shared};
use crate::context::wait::{Io, Reply};
use crate::error::{ErrorKind, Halt, ScriptError};
use crate::jobs::io;
use crate::limits::frame::{Frame, Phase};
use crate::limits::seen;
use crate::limits::watch::Running;
use crate::native::begin::begin;
use crate::ngx::json_text;
use crate::source::library::{Limits, ScriptId};

/// How long a job computes before others have their turn.
const TURN: Duration = Duration::from_millis(2);

/// How much longer than a check itself its last wait may take: its end is the check's.
const LATE: Duration = Duration::from_millis(500);

/// The result of a Lua health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// Whether the member is well.
    pub healthy: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// The result of a job that was to have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobResult {
    /// A health check's.
    Check(CheckResult),
    /// A list of members, as text of the forms that sources have.
    List(Vec<u8>),
}

/// The result of a job's turn.
#[derive(Debug)]
pub enum Step {
    /// It is over. A check and a list have a result, a timer has none.
    Done(Result<Option<JobResult>, ScriptError>),
    /// It waits: to be resumed with the [`Reply`].
    Wait(Io),
    /// It has more to compute: to be resumed with [`Reply::Nothing`], after the others.
    Again,
}

/// The use of a job's return values, with the name of its function.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asks {
    Nothing,
    Check(String),
    List(String),
}

/// A run of a timer, a check or a source. Dropping it ends it where it stands.
pub struct Job {
    thread: Thread,
    first: Option<MultiValue>,
    frame: Frame,
    label: String,
    /// The function that it runs, and where it was last: for errors without a place.
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
    asks: Asks,
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

impl LuaState {
    /// `LuaBalancerTimer`: a run of this function, without arguments.
    pub fn start_timer(&self, id: ScriptId, function: &str) -> Result<Job, ScriptError> {
        let loaded = self.current(id)?;
        let callee = self.function(&loaded, function)?;
        self.job((id, loaded.version), &loaded.label, &callee, MultiValue::new())
    }

    /// A Lua health check: a run of this function with the member. It may take `timeout`, waiting
    /// included.
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
        job.asks = Asks::Check(function.to_owned());
        Ok(job)
    }

    /// A source of members: a run of this function, without arguments, that returns a list. It may
    /// take `timeout`, waiting included.
    pub fn start_list(&self, id: ScriptId, function: &str, timeout: Duration) -> Result<Job, ScriptError> {
        let loaded = self.current(id)?;
        let callee = self.function(&loaded, function)?;
        let mut job = self.job((id, loaded.version), &loaded.label, &callee, MultiValue::new())?;
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        job.most = (timeout, Halt::Source(millis));
        job.asks = Asks::List(function.to_owned());
        Ok(job)
    }

    /// Runs of the timers that scripts asked for and that are due at `now` (seconds of
    /// [`Server::now`](crate::host::Server::now)). One whose last run is not over yet is left out
    /// this time.
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
            // Counted from the time when it was due, so that small delays do not add up.
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

    /// When the next timer that a script asked for is due, in seconds of
    /// [`Server::now`](crate::host::Server::now).
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
                Step::Done(self.result_of(job, &values))
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
                Step::Done(ended.and_then(|values| self.result_of(job, &values)))
            }
        }
    }

    /// The script whose function a job runs, and its version.
    pub fn runs(job: &Job) -> (ScriptId, u64) {
        (job.frame.script.unwrap_or(ScriptId(0)), job.frame.version)
    }

    /// Whether scripts keep so much in their globals that runs are stopped for it: a state to be
    /// replaced.
    pub fn is_outgrown(&self) -> bool {
        self.ctx.jobs.as_ref().is_some_and(|jobs| jobs.outgrown.get())
    }

    /// Frees what jobs held that were dropped before their end: their connections among it. For
    /// quiet moments.
    pub fn collect_abandoned(&self) {
        if self.ctx.jobs.as_ref().is_some_and(|jobs| jobs.shared.abandoned.take()) {
            self.collect();
        }
    }

    fn result_of(&self, job: &Job, values: &MultiValue) -> Result<Option<JobResult>, ScriptError> {
        match &job.asks {
            Asks::Nothing => Ok(None),
            Asks::Check(function) => checked(job, function, values).map(JobResult::Check).map(Some),
            Asks::List(function) => self.listed(job, function, values).map(JobResult::List).map(Some),
        }
    }

    /// The text of a list: as it was returned, or the JSON of a table.
    fn listed(&self, job: &Job, function: &str, values: &MultiValue) -> Result<Vec<u8>, ScriptError> {
        let wrong = |why: String| {
            Err(ScriptError::new(ErrorKind::Answer, format!("{}: {function} {why}", job.label)))
        };
        match values.front() {
            Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
            Some(Value::Table(table)) if table.is_empty() => Ok(b"[]".to_vec()),
            Some(value @ Value::Table(_)) => match json_text(&self.lua, &self.ctx, value) {
                Ok(text) => Ok(text),
                Err(error) => wrong(format!("returned a list that cannot be read: {error}")),
            },
            None | Some(Value::Nil | Value::Boolean(false)) => match reason(values) {
                Some(reason) => wrong(format!("has no list: {reason}")),
                None => wrong("returned no list; one without members is {}".to_owned()),
            },
            Some(other) => wrong(format!("returned a {}, expected a list of members", other.type_name())),
        }
    }

    fn job(
        &self,
        (id, version): (ScriptId, u64),
        label: &str,
        function: &Function,
        mut args: MultiValue,
    ) -> Result<Job, ScriptError> {
        let Some(jobs) = &self.ctx.jobs else {
            return Err(ScriptError::new(ErrorKind::Runtime, format!("{label}: this state runs no timers")));
        };
        let thread = begin(&self.lua, &self.ctx)
            .and_then(|begin| self.lua.create_thread(begin))
            .map_err(|error| ScriptError::from_lua(&error, label))?;
        args.push_front(Value::Function(function.clone()));
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
            asks: Asks::Nothing,
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
        if job.asks != Asks::Nothing && now.duration_since(started) >= job.most.0 {
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
                let _running = Running::start(budget.watched.get(), &job.thread);
                job.thread.resume::<MultiValue>(args)
            };
            job.logged = budget.logged.get();
            job.seen = budget.seen.place().or(job.seen.take());
            match (budget.halt.get(), result) {
                // The call is over, even if the script kept the error.
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
                match job.asks {
                    _ if left.is_zero() => Err(job.most.1.raise()),
                    Asks::Nothing => Ok(Some(Ok(io.within(left)))),
                    // One that waits too long has failed, whatever it would make of the missing
                    // answer.
                    _ => Ok(Some(Ok(io.within(left + LATE)))),
                }
            }
        }
    }
}

/// The second value, in words. Nothing of a script runs any more: no `__tostring` either.
fn reason(values: &MultiValue) -> Option<String> {
    values.get(1).filter(|reason| !reason.is_nil()).map(|reason| match reason {
        Value::String(text) => text.to_string_lossy(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        other => format!("a {}", other.type_name()),
    })
}

fn checked(job: &Job, function: &str, values: &MultiValue) -> Result<CheckResult, ScriptError> {
    let reason = reason(values);
    match values.front() {
        Some(Value::Boolean(healthy)) => Ok(CheckResult { healthy: *healthy, reason }),
        None | Some(Value::Nil) => Ok(CheckResult { healthy: false, reason }),
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
