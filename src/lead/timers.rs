// SPDX-License-Identifier: Apache-2.0
//! The thread of the leading child that runs Lua besides requests: timers and Lua checks. It is a
//! thread of its own so that no script can hold up the lead and the other checks; inside it, runs
//! take turns, see [`script::Job`].

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use balance::settings::LuaPlace;
use discover::LuaQuestion;
use messages::Message;
use parking_lot::Mutex;
use probe::{CheckTarget, Client, ScriptCheck};
use script::host::Server;
use script::{CheckResult, ErrorKind, Job, JobResult, LuaState, Reply, ScriptError, ScriptId, Step};

use super::checks::{Checks, Kinds};
use super::perform::perform;
use super::pools::PoolImages;
use super::{Lease, TICK};
use crate::faults;
use crate::guard::guard;
use crate::httpd::log;
use crate::httpd::memory;
use crate::serve::child::{Child, Thread};
use crate::serve::generation::Timer;
use crate::serve::host::HttpdServer;

/// How long to wait after something that should not have happened.
const AGAIN: Duration = Duration::from_secs(1);

/// The thread's handle.
pub struct Timers {
    signal: Arc<Signal>,
}

struct Signal {
    /// Scripts look at it too.
    stop: Arc<AtomicBool>,
    done: AtomicBool,
    /// Until when this child leads for certain; no timer is started later.
    lead_until_ms: AtomicU64,
    waker: Mutex<Option<probe::Waker>>,
    /// When the thread was last seen between two calls of scripts, in ms.
    beat_ms: AtomicU64,
    /// The script that it calls, and its version.
    calls: [AtomicU64; 2],
}

impl Signal {
    /// A call of this script begins.
    fn calls(&self, id: ScriptId, version: u64) {
        self.calls[0].store(u64::from(id.0), Ordering::Relaxed);
        self.calls[1].store(version, Ordering::Relaxed);
        self.beat();
    }

    fn beat(&self) {
        self.beat_ms.store(memory::monotonic_ms(), Ordering::Release);
    }
}

impl Timers {
    /// Starts the thread, for a lead that is certain until this moment.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(child: &'static Child, lead_until_ms: u64) -> std::io::Result<Self> {
        let signal = Arc::new(Signal {
            stop: Arc::default(),
            done: AtomicBool::new(false),
            lead_until_ms: AtomicU64::new(lead_until_ms),
            waker: Mutex::default(),
            beat_ms: AtomicU64::new(memory::monotonic_ms()),
            calls: Default::default(),
        });
        let own = signal.clone();
        let body = move || {
            guard((), || run(child, own.clone()));
            own.done.store(true, Ordering::Release);
        };
        memory::with_signals_blocked(|| {
            std::thread::Builder::new().name("lua-balancer-lua".into()).spawn(body)
        })?;
        Ok(Timers { signal })
    }

    /// The lead was renewed.
    pub fn extend(&self, lead_until_ms: u64) {
        self.signal.lead_until_ms.store(lead_until_ms, Ordering::Release);
    }

    /// Asks the thread to end: what runs in it is stopped.
    pub fn stop(&self) {
        self.signal.stop.store(true, Ordering::Release);
        if let Some(waker) = self.signal.waker.lock().as_ref() {
            waker.wake();
        }
    }

    /// The call that it has not come back from for this long, and its moment: a turn of a timer or
    /// check is over within milliseconds, and a top level within its limit.
    pub fn stuck(&self, least_ms: u64) -> Option<(ScriptId, u64, u64)> {
        let beat_ms = self.signal.beat_ms.load(Ordering::Acquire);
        let is_stuck = !self.is_done() && memory::monotonic_ms().saturating_sub(beat_ms) > least_ms;
        let [script, version] = [0, 1].map(|at| self.signal.calls[at].load(Ordering::Relaxed));
        is_stuck.then_some((ScriptId(script as u32), version, beat_ms))
    }

    /// Has it end should it ever come back, and takes no lock that it may hold.
    pub fn give_up(&self) {
        self.signal.stop.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        self.signal.done.load(Ordering::Acquire)
    }

    /// Waits for its end, for at most this long.
    pub fn wait(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while !self.is_done() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn run(child: &'static Child, signal: Arc<Signal>) {
    while !signal.stop.load(Ordering::Acquire) {
        match Scripts::new(child, &signal) {
            Ok(mut scripts) => while scripts.goes_on(&signal) {},
            Err(error) => {
                let text = format!("timers and Lua checks cannot run: {error}");
                log::server(messages::background::NO_TIMERS, &text);
            }
        }
        // Here only after a panic, which the panic hook has logged, or when something is short: all
        // begins anew, with a new state.
        let until = Instant::now() + AGAIN;
        while !signal.stop.load(Ordering::Acquire) && Instant::now() < until {
            signal.beat();
            std::thread::sleep(TICK / 4);
        }
    }
}

/// The parts that one run needs besides its job.
#[derive(Clone)]
struct Runner {
    child: &'static Child,
    state: Rc<LuaState>,
    client: Client,
    waker: probe::Waker,
    signal: Arc<Signal>,
}

/// A `LuaBalancerTimer` and when it is due.
struct Configured {
    timer: Timer,
    due: f64,
    /// Held by its run as well.
    running: Rc<()>,
}

struct Scripts {
    child: &'static Child,
    server: Rc<HttpdServer>,
    runner: Runner,
    checks: Checks,
    pools: PoolImages,
    configured: Vec<Configured>,
    /// The version of each script when it was loaded last.
    loaded: Vec<u64>,
    /// Until when the lead was certain, by the last turn.
    until_ms: u64,
}

impl Scripts {
    fn new(child: &'static Child, signal: &Arc<Signal>) -> Result<Self, String> {
        let thread = Thread::new(child);
        // Scripts that start their timers in worker 0 alone mean: once.
        let server = Rc::new(HttpdServer::new(Rc::default(), 0, child.dicts.clone()));
        let state = LuaState::background(
            server.clone(),
            thread.balancer.clone(),
            child.library.clone(),
            signal.stop.clone(),
        );
        let state = Rc::new(state.map_err(|error| error.to_string())?);
        let mut checks = Checks::new(Kinds::Lua).map_err(|error| error.to_string())?;
        let prober = checks.prober();
        let (client, waker) = (prober.client(), prober.waker());
        let runner = Runner { child, state, client, waker, signal: signal.clone() };
        prober.set_script_check(Some(script_check(runner.clone())));
        *signal.waker.lock() = Some(prober.waker());
        child.lists.opens(prober.waker());
        let now = server.now();
        let configured = child.timers.iter().map(|timer| Configured {
            timer: timer.clone(),
            due: now,
            running: Rc::default(),
        });
        Ok(Scripts {
            child,
            server,
            runner,
            checks,
            pools: PoolImages::default(),
            configured: configured.collect(),
            loaded: vec![0; child.library.ids().count()],
            until_ms: u64::MAX,
        })
    }

    /// One turn; false when there shall be no further one.
    fn goes_on(&mut self, signal: &Signal) -> bool {
        if signal.stop.load(Ordering::Acquire) {
            return false;
        }
        guard(false, || {
            faults::once("timers");
            signal.beat();
            self.load_changed();
            let now_ms = memory::monotonic_ms();
            if now_ms >= self.until_ms {
                // As in the background thread: this process was stopped, and its checks timed out
                // meanwhile.
                self.checks.start_anew();
            }
            self.until_ms = signal.lead_until_ms.load(Ordering::Acquire);
            if now_ms < self.until_ms {
                self.start_due();
                self.start_lists();
            }
            self.runner.state.collect_abandoned();
            if self.runner.state.is_outgrown() {
                let outgrown = messages::scripts::TIMERS_TOO_LARGE;
                log::server(outgrown, outgrown.form);
                return false;
            }
            let time = self.time_to_next();
            self.pools.refresh(&self.child.table);
            let lease = Lease { child: self.child, pools: &self.pools, until_ms: self.until_ms };
            self.checks.turn(&lease, time);
            true
        })
    }

    /// Loads what is new: the timers that a script starts at its top level begin with that.
    fn load_changed(&mut self) {
        // Timers of a shadow would be seen.
        for id in self.child.library.ids().filter(|id| !self.child.library.is_shadow(*id)) {
            let version = self.child.library.version(id);
            let Some(loaded) = self.loaded.get_mut(id.0 as usize) else { continue };
            if *loaded == version {
                continue;
            }
            *loaded = version;
            self.runner.signal.calls(id, version);
            if let Err(error) = self.runner.state.load(id) {
                report(messages::scripts::TOP_LEVEL_FAILED, "", &error);
            }
        }
    }

    fn start_due(&mut self) {
        let now = self.server.now();
        for configured in self.configured.iter_mut().filter(|configured| configured.due <= now) {
            let every = configured.timer.every_ms as f64 / 1e3;
            configured.due = if configured.due + every > now { configured.due + every } else { now + every };
            // A run that outlasts the interval is not started a second time beside itself.
            if Rc::strong_count(&configured.running) == 1 {
                let Timer { script, function, .. } = &configured.timer;
                let job = self.runner.state.start_timer(*script, function);
                spawn(&mut self.checks, self.runner.clone(), job, Some(configured.running.clone()));
            }
        }
        for job in self.runner.state.due(now) {
            spawn(&mut self.checks, self.runner.clone(), job, None);
        }
    }

    /// Calls the functions that sources ask for.
    fn start_lists(&mut self) {
        for LuaQuestion { place, answer } in self.child.lists.take() {
            let runner = self.runner.clone();
            self.checks.prober().spawn(async move { answer.give(list(&runner, &place).await) });
        }
    }

    fn time_to_next(&self) -> Duration {
        let own = self.configured.iter().map(|configured| configured.due);
        let next = own.chain(self.runner.state.next_due()).min_by(f64::total_cmp);
        let left = next.map_or(f64::MAX, |next| (next - self.server.now()).max(0.0));
        if left < TICK.as_secs_f64() { Duration::from_secs_f64(left) } else { TICK }
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        // Runs and connections end before the state and the runtime that they belong to.
        self.checks.prober().clear();
        self.checks.prober().set_script_check(None);
    }
}

fn spawn(checks: &mut Checks, runner: Runner, job: Result<Job, ScriptError>, running: Option<Rc<()>>) {
    checks.prober().spawn(async move {
        let result = match job {
            Ok(job) => drive(&runner, job).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            report(messages::scripts::TIMER_FAILED, "timer: ", &error);
        }
        drop(running);
    });
}

/// One line, and the traceback for those who want it. A call that was only stopped did not fail,
/// and a quarantine was told already.
fn report(message: &Message, whose: &str, error: &ScriptError) {
    if matches!(error.kind, ErrorKind::Stopped | ErrorKind::Quarantined) {
        return;
    }
    log::server(message, &format!("{whose}{error}"));
    if !error.traceback.is_empty() && log::logs_server(log::DEBUG) {
        log::server(messages::scripts::TRACEBACK, &error.traceback.replace('\n', " | "));
    }
}

/// Runs a job to its end, turn by turn, and does what it waits for.
async fn drive(runner: &Runner, mut job: Job) -> Result<Option<JobResult>, ScriptError> {
    let Runner { child, state, client, waker, signal } = runner;
    let (script, version) = LuaState::runs(&job);
    let mut took_ns = 0;
    let mut reply = Reply::Nothing;
    loop {
        let before = state.next_due();
        signal.calls(script, version);
        let began_ns = memory::monotonic_ns();
        let step = state.resume(&mut job, reply);
        took_ns += memory::monotonic_ns().saturating_sub(began_ns);
        signal.beat();
        let after = state.next_due();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            // The turn was to last longer than until this new timer.
            waker.wake();
        }
        reply = match step {
            Step::Done(result) => {
                child.count_call(script, result.as_ref().map(|_| false), took_ns);
                if let Err(error) = &result {
                    child.note_failed(script, None, error);
                }
                return result;
            }
            Step::Again => {
                client.pause().await;
                Reply::Nothing
            }
            Step::Wait(io) => perform(client, io).await,
        };
    }
}

/// The function that the prober calls for a Lua check.
fn script_check(runner: Runner) -> ScriptCheck {
    Rc::new(move |target: &CheckTarget| {
        let (runner, target) = (runner.clone(), target.clone());
        Box::pin(async move { check(&runner, &target).await })
    })
}

/// The list that a source's function returns.
async fn list(runner: &Runner, place: &LuaPlace) -> Result<Vec<u8>, String> {
    let LuaPlace { script, function, .. } = place;
    let id = runner.child.method_script(script).ok_or_else(|| not_loaded(script))?;
    let timeout = Duration::from_millis(place.timeout_ms);
    let result = match runner.state.start_list(id, function, timeout) {
        Ok(job) => drive(runner, job).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(Some(JobResult::List(text))) => Ok(text),
        Ok(_) => Err(format!("{function} returned no list")),
        // No statement about the source; this thread is about to end.
        Err(error) if error.kind == ErrorKind::Stopped => std::future::pending().await,
        Err(error) => Err(error.message),
    }
}

fn not_loaded(script: &str) -> String {
    format!("{script} is not loaded: a pool that a script defines can only use scripts that directives name")
}

async fn check(runner: &Runner, target: &CheckTarget) -> Result<(), String> {
    let Some((script, function)) = &target.check.script else { return Err("no script= is set".into()) };
    let id = runner.child.method_script(script).ok_or_else(|| not_loaded(script))?;
    let timeout = Duration::from_millis(target.check.timeout_ms);
    let result = match runner.state.start_check(id, function, &target.member, timeout) {
        Ok(job) => drive(runner, job).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(Some(JobResult::Check(CheckResult { healthy: false, reason }))) => {
            Err(reason.unwrap_or_else(|| format!("{function} returned false")))
        }
        Ok(_) => Ok(()),
        // No statement about the member; this thread is about to end.
        Err(error) if error.kind == ErrorKind::Stopped => std::future::pending().await,
        Err(error) => {
            let (pool, member) = (&target.pool, &target.member.spec.name);
            let whose = format!("pool {pool}: check of member {member}: ");
            report(messages::scripts::CHECK_FAILED, &whose, &error);
            Err(error.message)
        }
    }
}
