//! The background thread of a child: watches scripts and the lead; in the leading child it also runs checks, gives ejected
//! members their chance back, ramps slow starters, clears up after dead children, and keeps the thread of timers and Lua
//! checks ([`super::timers`]).

use std::collections::HashMap;
use std::os::raw::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use balance::api::{Membership, PoolId};
use balance::health::{HealthState, Order};
use balance::live::Live;
use balance::member::Member;
use balance::outlier::OutlierState;
use balance::settings::{CheckKind, HealthCheck};
use balance::slow_start;
use balance::status::Status;
use balance::store::Store;
use parking_lot::Mutex;
use probe::agent::AgentAdmin;
use probe::{Observation, Prober, Target};
use table::{Lead, StalePool, Table};

use super::ramps::Ramps;
use super::shared;
use super::stuck::Stuck;
use super::timers::Timers;
use crate::faults;
use crate::ffi;
use crate::guard::guard;
use crate::httpd::log;
use crate::httpd::memory;
use crate::serve::child::{Child, Thread};
use crate::serve::generation::generation;
use crate::vetting::Saved;

/// How often scripts, the lead and ejections are looked at.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// How long a lead lasts without being renewed.
const LEASE_MS: u64 = 1200;
/// Taken off it where it has to be certain: the table counts in steps of 16 ms.
const LEASE_STEP_MS: u64 = 32;
/// How long the end of a child may wait for this thread.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long this thread waits for the one of the timers, before it hands the lead over.
const TIMERS_PATIENCE: Duration = Duration::from_millis(150);
/// The least time between two lines about what keeps checks from running, and between two of the same words.
const TROUBLE: Duration = Duration::from_secs(5);
const SAME_TROUBLE: Duration = Duration::from_secs(60);
/// How long to wait before asking the system for a thread again.
const NO_THREAD: Duration = Duration::from_secs(10);
/// How long the first turn may wait for the first states. No lead is held meanwhile.
const FIRST_STATES: Duration = Duration::from_secs(2);
/// How long to wait before checks are set up again that could not be.
const AGAIN: Duration = Duration::from_secs(5);

/// The thread's handle.
pub struct Background {
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    stop: AtomicBool,
    done: AtomicBool,
    /// The first states are made.
    prepared: AtomicBool,
    prober: Mutex<Option<probe::Waker>>,
    /// How many threads read databases.
    walks: AtomicUsize,
    thread: OnceLock<std::thread::Thread>,
}

impl Background {
    /// Not yet started.
    pub fn new() -> Self {
        Background {
            signal: Arc::new(Signal {
                done: AtomicBool::new(true),
                prepared: AtomicBool::new(true),
                ..Signal::default()
            }),
        }
    }

    /// Has a thread of its own read a database; false when there is none to be had. It ends with this one.
    pub fn walk(&self, job: geo::Job) -> bool {
        let signal = self.signal.clone();
        signal.walks.fetch_add(1, Ordering::AcqRel);
        let body = move || {
            guard((), || job(&|| !signal.stop.load(Ordering::Acquire)));
            signal.walks.fetch_sub(1, Ordering::AcqRel);
        };
        let spawned = memory::with_signals_blocked(|| {
            std::thread::Builder::new().name("lua-balancer-db".into()).spawn(body)
        });
        if spawned.is_err() {
            self.signal.walks.fetch_sub(1, Ordering::AcqRel);
        }
        spawned.is_ok()
    }

    /// Starts the thread, to be stopped before `pchild` is cleared.
    ///
    /// # Safety
    /// `pchild` is the pool that child_init got.
    #[allow(unsafe_code)]
    pub unsafe fn start(child: &'static Child, pchild: *mut ffi::apr_pool_t) {
        if let Some(shortest) = child.library.shortest_time_ms()
            && let Err(error) = script::watch::start(shortest)
        {
            let message = format!("no thread to watch scripts in this child, they cost more: {error}");
            log::server(log::WARNING, &message);
        }
        prepare(child);
        let signal = child.background.signal.clone();
        signal.done.store(false, Ordering::Release);
        let body = move || {
            guard((), || Worker::new(child).run());
            leave(child);
            child.background.signal.done.store(true, Ordering::Release);
        };
        let spawned = memory::with_signals_blocked(|| {
            std::thread::Builder::new().name("lua-balancer".into()).spawn(body)
        });
        match spawned {
            Ok(thread) => drop(signal.thread.set(thread.thread().clone())),
            Err(error) => {
                signal.done.store(true, Ordering::Release);
                log::server(log::CRIT, &format!("no thread for health checks in this child: {error}"));
            }
        }
        // SAFETY: httpd's child pool; the child is never freed.
        unsafe {
            ffi::apr_pool_pre_cleanup_register(
                pchild,
                std::ptr::from_ref(child).cast_mut().cast(),
                Some(stop),
            );
        }
    }
}

/// Makes the first Lua states, in a thread that ends then: top levels run in them.
fn prepare(child: &'static Child) {
    let prepared = || &child.background.signal.prepared;
    if child.library.ids().next().is_none() {
        return;
    }
    prepared().store(false, Ordering::Release);
    let body = move || {
        guard((), || child.seats.prepare(child));
        prepared().store(true, Ordering::Release);
        if let Some(thread) = child.background.signal.thread.get() {
            thread.unpark();
        }
    };
    let spawned = memory::with_signals_blocked(|| {
        std::thread::Builder::new().name("lua-balancer-first".into()).spawn(body)
    });
    if spawned.is_err() {
        // The first requests make them.
        prepared().store(true, Ordering::Release);
    }
}

/// Ends the threads. Under prefork this runs inside a signal handler, which may have interrupted anything: flags, and a
/// bounded wait, but no lock.
#[allow(unsafe_code)]
unsafe extern "C" fn stop(data: *mut c_void) -> ffi::apr_status_t {
    guard((), || {
        // SAFETY: registered by `start` with the leaked child.
        let Some(child) = (unsafe { data.cast::<Child>().as_ref() }) else { return };
        let signal = &child.background.signal;
        signal.stop.store(true, Ordering::Release);
        script::watch::stop();
        if let Some(guard) = signal.prober.try_lock()
            && let Some(waker) = guard.as_ref()
        {
            waker.wake();
        }
        if let Some(thread) = signal.thread.get() {
            // An atomic and a system call.
            thread.unpark();
        }
        let until = Instant::now() + PATIENCE;
        let has_ended = || {
            signal.done.load(Ordering::Acquire)
                && signal.prepared.load(Ordering::Acquire)
                && script::watch::has_stopped()
                && signal.walks.load(Ordering::Acquire) == 0
        };
        while !has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        if !signal.done.load(Ordering::Acquire) {
            leave(child);
        }
    });
    ffi::APR_SUCCESS as ffi::apr_status_t
}

/// Hands the lead over at once. The lane of in-flight counts is given back by the parent, when the last request is gone.
fn leave(child: &Child) {
    child.table.resign(memory::pid());
}

struct Worker {
    child: &'static Child,
    thread: Thread,
    saved: Saved,
    checks: Option<Checks>,
    timers: Option<Timers>,
    timers_failed: Option<Instant>,
    stuck: Stuck,
    checks_failed: Option<Instant>,
    reaped: Instant,
    ramps: Ramps,
    /// See [`crate::serve::generation::Generation`].
    stale: Vec<StalePool>,
    /// Until when this child's lead was certain, by its last turn.
    until_ms: u64,
}

impl Worker {
    fn new(child: &'static Child) -> Self {
        Worker {
            child,
            thread: Thread::new(child),
            saved: Saved::default(),
            checks: None,
            timers: None,
            timers_failed: None,
            stuck: Stuck::default(),
            checks_failed: None,
            reaped: Instant::now(),
            ramps: Ramps::default(),
            stale: generation().map(|generation| generation.stale.clone()).unwrap_or_default(),
            until_ms: 0,
        }
    }

    fn stopping(&self) -> bool {
        self.child.background.signal.stop.load(Ordering::Acquire)
    }

    /// Waits a moment for the first states: what comes after the first turn may reckon with them.
    fn await_states(&self) {
        let until = Instant::now() + FIRST_STATES;
        let prepared = || self.child.background.signal.prepared.load(Ordering::Acquire);
        while !prepared() && !self.stopping() && Instant::now() < until {
            std::thread::park_timeout(TICK / 10);
        }
    }

    fn run(&mut self) {
        self.await_states();
        while !self.stopping() {
            // A panic in one turn is logged by the panic hook and does not end the thread.
            if !guard(false, || {
                faults::once("background");
                self.turn();
                true
            }) {
                self.checks = None;
                self.pause(TICK);
            }
        }
        if let Some(timers) = &self.timers {
            timers.stop();
            timers.wait(TIMERS_PATIENCE);
        }
    }

    fn turn(&mut self) {
        self.saved.turn(self.child, self.thread.balancer.as_ref());
        self.stuck.look(self.child);
        if let Some(databases) = self.child.geo.as_deref() {
            let run = &mut |job| self.child.background.walk(job);
            crate::keep::geoip::refresh(databases, run, self.checks.is_some());
        }
        let (table, pid) = (&self.child.table, memory::pid());
        let now_ms = memory::monotonic_ms();
        if now_ms >= self.until_ms {
            // It was stopped for so long that checks which run since then have timed out for that reason.
            self.drop_checks();
        }
        let until_ms = now_ms + LEASE_MS - LEASE_STEP_MS;
        match table.lead(pid, self.child.generation, now_ms, LEASE_MS, &memory::alive) {
            Lead::Taken => {
                log::server(
                    log::NOTICE,
                    &format!("child {pid} leads: it runs checks and timers for all children"),
                );
                self.lead(until_ms);
            }
            Lead::Kept => self.lead(until_ms),
            Lead::Other(_) => {
                if let Some(timers) = &self.timers {
                    timers.stop();
                }
                self.drop_checks();
                self.pause(TICK);
            }
        }
    }

    fn drop_checks(&mut self) {
        if self.checks.take().is_some() {
            *self.child.background.signal.prober.lock() = None;
        }
    }

    fn pause(&self, time: Duration) {
        let signal = &self.child.background.signal;
        if !signal.stop.load(Ordering::Acquire) {
            std::thread::park_timeout(time);
        }
    }

    /// Keeps the thread of timers and Lua checks running, where there is Lua at all.
    fn keep_timers(&mut self, until_ms: u64) {
        if let Some(timers) = &self.timers
            && (timers.is_done() || self.stuck.is_in(timers, self.child))
        {
            self.timers = None;
        }
        match &self.timers {
            Some(timers) => timers.extend(until_ms),
            None if self.child.library.ids().next().is_none()
                || self.stuck.has_lost_too_many()
                || self.timers_failed.is_some_and(|at| at.elapsed() < NO_THREAD) => {}
            None => match Timers::start(self.child, until_ms) {
                Ok(timers) => self.timers = Some(timers),
                Err(error) => {
                    log::server(log::ERR, &format!("no thread for timers and Lua checks: {error}"));
                    self.timers_failed = Some(Instant::now());
                }
            },
        }
    }

    fn lead(&mut self, until_ms: u64) {
        self.until_ms = until_ms;
        self.keep_timers(until_ms);
        self.keep_checks();
        if self.reaped.elapsed() > Duration::from_secs(1) {
            self.reaped = Instant::now();
            let given_back = self.child.table.reap_dead(&memory::alive);
            self.child.table.rouse_queues(None, given_back > 0, memory::monotonic_ms());
            self.remove_stale_pools();
        }
        faults::check_table(&self.child.table);
        match &mut self.checks {
            Some(checks) => {
                recover_members(self.child, &checks.pools);
                self.ramps.advance(&self.child.table, &checks.pools);
                checks.turn(self.child, TICK, until_ms);
            }
            // The rest of what a leader does needs no checks.
            None => {
                let pools = pools_of(&self.child.table);
                recover_members(self.child, &pools);
                self.ramps.advance(&self.child.table, &pools);
                self.pause(TICK);
            }
        }
    }

    fn keep_checks(&mut self) {
        if self.checks.is_some() || self.checks_failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        match Checks::new(Scope::Native) {
            Ok(checks) => {
                *self.child.background.signal.prober.lock() = Some(checks.prober.waker());
                self.checks = Some(checks);
                self.checks_failed = None;
            }
            Err(error) => {
                log::server(log::ERR, &format!("checks cannot run: {error}"));
                self.checks_failed = Some(Instant::now());
            }
        }
    }

    /// What only children of earlier configurations serve by, once there are none.
    fn remove_stale_pools(&mut self) {
        let (table, own) = (&self.child.table, self.child.generation);
        if !self.stale.is_empty() && table.children().iter().all(|(_, generation)| *generation >= own) {
            table.remove_stale(&std::mem::take(&mut self.stale));
        }
    }
}

/// Which checks run in a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All but those in Lua.
    Native,
    /// Those in Lua.
    Lua,
}

/// What the leader does for members.
pub(super) struct Checks {
    scope: Scope,
    prober: Prober,
    /// Version of each pool when its targets were listed.
    seen: HashMap<PoolId, u64>,
    pools: Vec<(PoolId, Arc<Membership>)>,
    names: Names,
    told: Option<(Instant, String)>,
}

impl Checks {
    pub(super) fn new(scope: Scope) -> std::io::Result<Self> {
        let prober = match scope {
            Scope::Native => Prober::new()?,
            Scope::Lua => Prober::for_scripts()?,
        };
        Ok(Checks {
            scope,
            prober,
            seen: HashMap::new(),
            pools: Vec::new(),
            names: HashMap::new(),
            told: None,
        })
    }

    pub(super) fn prober(&mut self) -> &mut Prober {
        &mut self.prober
    }

    /// Lends the checks the thread for this long. Results that come when the lead is over, or another's, are dropped: this
    /// process may have been stopped meanwhile, and then its checks timed out for no fault of a member.
    pub(super) fn turn(&mut self, child: &'static Child, time: Duration, lead_until_ms: u64) {
        self.refresh_targets(child);
        let names = &self.names;
        let leads = || memory::monotonic_ms() < lead_until_ms && child.table.leader() == Some(memory::pid());
        self.prober.turn(time, &mut |observation| {
            if leads() {
                judge(child, names, &observation);
            }
        });
        self.tell_trouble();
    }

    /// What keeps checks from running: at most one line in [`TROUBLE`], the same one in [`SAME_TROUBLE`].
    fn tell_trouble(&mut self) {
        let Some(trouble) = self.prober.take_trouble() else { return };
        let quiet = match &self.told {
            Some((at, text)) => at.elapsed() < if *text == trouble { SAME_TROUBLE } else { TROUBLE },
            None => false,
        };
        if !quiet {
            log::server(log::ERR, &trouble);
            self.told = Some((Instant::now(), trouble));
        }
    }

    /// Ends all checks that are running; the next turn starts them anew.
    pub(super) fn start_anew(&mut self) {
        self.prober.set_targets(Vec::new());
        self.seen.clear();
    }

    /// Lists the targets anew when a pool has changed.
    fn refresh_targets(&mut self, child: &Child) {
        let table = &child.table;
        let pools: Vec<PoolId> = table.pool_names().iter().filter_map(|name| table.find_pool(name)).collect();
        let now: HashMap<PoolId, u64> = pools.iter().map(|pool| (*pool, table.version(*pool))).collect();
        if now == self.seen {
            return;
        }
        self.names.clear();
        self.pools.clear();
        let mut targets = Vec::new();
        for pool in pools {
            let Some(image) = table.read_pool(pool) else { continue };
            self.pools.push((pool, Arc::new(image.membership.clone())));
            let Some(check) = image.settings.health.map(absolute).map(Arc::new) else { continue };
            if (check.kind == CheckKind::Lua) != (self.scope == Scope::Lua) {
                continue;
            }
            for member in &image.membership.members {
                let key = u64::from(member.slot) << 32 | u64::from(member.incarnation);
                let pool = image.membership.name.clone();
                self.names.insert(key, (pool.clone(), member.clone(), check.clone()));
                targets.push(Target { key, pool, member: member.clone(), check: check.clone() });
            }
        }
        if self.scope == Scope::Native {
            // What a leader of the configuration before has said since it ended.
            shared::mark_unchecked(table);
        }
        self.prober.set_targets(targets);
        self.seen = now;
    }
}

/// `ca=` is under ServerRoot when it is relative.
fn absolute(mut check: HealthCheck) -> HealthCheck {
    if let (Some(ca), Some(generation)) = (&check.ca, generation()) {
        check.ca = Some(generation.server_root.join(ca).to_string_lossy().into_owned());
    }
    check
}

/// By the key of a target: the pool's name, the member, its check.
type Names = HashMap<u64, (Arc<str>, Arc<Member>, Arc<HealthCheck>)>;

/// One check's result.
fn judge(child: &Child, names: &Names, observation: &Observation) {
    let Some((pool, member, check)) = names.get(&observation.key) else { return };
    let (slot, incarnation) = (member.slot, member.incarnation);
    let name = &member.spec.name;
    let updated = child.table.update_health(slot, incarnation, |word| {
        let state = HealthState::from_bits(word).observe(observation.ok, check).0;
        advised(state, observation).to_bits()
    });
    let Some((before, after)) = updated else { return };
    let flags = HealthState::from_bits(after).flags();
    let why = &observation.why;
    if (before ^ after) & HealthState::AGENT != 0 {
        log::server(log::NOTICE, &format!("pool {pool}: member {name}: {why}"));
    }
    // Compared every time, not only when the state changes: whoever changed it last may have died before it said so, and
    // `initial=` may have been another one when the member came.
    if child.table.status(slot).0 & Status::CHECKS == flags {
        return;
    }
    let slow_start_ms = child.table.slow_start_ms(member);
    let changed = child.table.update(slot, incarnation, &mut |status| {
        let now = status.without(Status::CHECKS).with(flags);
        let back = !status.serves_sessions() && now.serves_sessions();
        if back { slow_start::begin(now, slow_start_ms) } else { now }
    });
    let Ok((before, after)) = changed else { return };
    if before != after {
        child.table.touch_since(slot, memory::epoch_s());
    }
    let text = match (before.has(Status::CHECK_DOWN), after.has(Status::CHECK_DOWN)) {
        (false, true) => format!("is down: {} checks failed, the last one: {why}", check.fall),
        (true, false) => format!("is up: {} checks passed", check.rise),
        _ => return,
    };
    let level = if after.has(Status::CHECK_DOWN) { log::WARNING } else { log::NOTICE };
    log::server(level, &format!("pool {pool}: member {name} {text}"));
}

/// What an agent has said is done.
fn advised(state: HealthState, observation: &Observation) -> HealthState {
    let Some(reply) = &observation.agent else { return state };
    let order = reply.admin.map(|admin| match admin {
        AgentAdmin::Ready => Order::Ready,
        AgentAdmin::Drain => Order::Drain,
        AgentAdmin::Maint => Order::Maint,
    });
    state.ordered(order, reply.weight_percent).limited(reply.max_inflight)
}

fn pools_of(table: &Table) -> Vec<(PoolId, Arc<Membership>)> {
    let pools = table.pool_names().into_iter().filter_map(|name| table.find_pool(&name));
    pools.filter_map(|pool| Some((pool, Arc::new(table.read_pool(pool)?.membership)))).collect()
}

/// Ejected members whose time is over get their chance.
fn recover_members(child: &Child, pools: &[(PoolId, Arc<Membership>)]) {
    let table = &child.table;
    let now_ms = memory::monotonic_ms();
    let ejected = pools
        .iter()
        .flat_map(|(_, membership)| membership.members.iter().map(move |member| (membership, member)));
    let is_out = |slot| table.status(slot).has(Status::EJECTED) || table.is_announced(slot);
    for (membership, member) in ejected.filter(|(_, member)| is_out(member.slot)) {
        let mut over = false;
        table.update_outlier(member.slot, member.incarnation, |word| {
            let (state, expired) = OutlierState::from_bits(word).expire(now_ms);
            over = expired;
            state.to_bits()
        });
        // Cleared as well when the word says that no ejection is running: the ejecting child died between the two.
        let idle = over || !OutlierState::from_bits(table.outlier(member.slot)).is_ejected();
        let cleared = idle.then(|| {
            let slow_start_ms = table.slow_start_ms(member);
            table.update(member.slot, member.incarnation, &mut |status| {
                let back = status.has(Status::EJECTED);
                let status = status.without(Status::EJECTED);
                if back { slow_start::begin(status, slow_start_ms) } else { status }
            })
        });
        if cleared.is_some_and(|result| result.is_ok_and(|(before, after)| before != after)) {
            table.touch_since(member.slot, memory::epoch_s());
            let (pool, name) = (&membership.name, &member.spec.name);
            log::server(
                log::NOTICE,
                &format!("pool {pool}: member {name} takes requests again after its ejection"),
            );
        }
    }
}
