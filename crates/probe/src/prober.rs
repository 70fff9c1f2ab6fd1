// SPDX-License-Identifier: Apache-2.0
//! The prober: targets in, observations out.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use balance::settings::{CheckKind, HealthCheck};
use net::Lookup;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

use crate::client::Client;
use crate::engine::{Engine, Report};
use crate::limits::Sockets;
use crate::plan::{CheckPlan, Plan};
use crate::schedule::{Rng, Schedule};
use crate::target::{CheckTarget, Observation, ScriptCheck};
use crate::watch::Watch;

/// New targets are first checked within this time, evenly spread.
const SPREAD: Duration = Duration::from_millis(5);
/// A shorter absence of the thread's owner does not matter to any timeout.
const ABSENCE: Duration = Duration::from_millis(10);
/// Longest turn.
const LONGEST_TURN: Duration = Duration::from_secs(86_400);

/// Runs checks on the thread that calls [`Prober::turn`]. It stays on the thread that made it.
pub struct Prober {
    local: LocalSet,
    runtime: Option<Runtime>,
    engine: Rc<Engine>,
    reports: mpsc::UnboundedReceiver<Report>,
    waker: Waker,
    running: HashMap<u64, Running>,
    shared: Vec<(Arc<HealthCheck>, SharedPlan)>,
    rng: Rng,
    next_id: u64,
    left_at: Option<Instant>,
}

type SharedPlan = Result<Rc<CheckPlan>, String>;

struct Running {
    id: u64,
    target: CheckTarget,
    task: JoinHandle<()>,
}

impl Running {
    fn is_same(&self, target: &CheckTarget) -> bool {
        self.target.check == target.check && self.target.member.spec.url == target.member.spec.url
    }
}

/// Ends a [`Prober`]'s turn from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Notify>);

impl Waker {
    /// Ends the running turn at once, or else the next one. Allocates nothing; its only lock is
    /// held for a few instructions, by the prober's thread and other wakers alone.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

impl Prober {
    /// Without targets. The jitter has a random seed.
    ///
    /// # Errors
    /// No file descriptors are left.
    pub fn new() -> io::Result<Prober> {
        Self::with_seed(RandomState::new().build_hasher().finish())
    }

    /// For Lua checks, beside another prober in the same process.
    ///
    /// # Errors
    /// As [`Prober::new`].
    pub fn for_scripts() -> io::Result<Prober> {
        Self::build(RandomState::new().build_hasher().finish(), Sockets::of_scripts(), net::system())
    }

    /// With a seed for the jitter.
    ///
    /// # Errors
    /// As [`Prober::new`].
    pub fn with_seed(seed: u64) -> io::Result<Prober> {
        Self::build(seed, Sockets::of_this_process(), net::system())
    }

    pub(crate) fn build(seed: u64, sockets: Sockets, lookup: Lookup) -> io::Result<Prober> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(net::THREADS)
            .thread_keep_alive(Duration::from_secs(10))
            .thread_name("lua-balancer-dns")
            .build()?;
        let (sender, reports) = mpsc::unbounded_channel();
        Ok(Prober {
            local: LocalSet::new(),
            runtime: Some(runtime),
            engine: Engine::new(sockets, lookup, sender),
            reports,
            waker: Waker(Arc::new(Notify::new())),
            running: HashMap::new(),
            shared: Vec::new(),
            rng: Rng::new(seed),
            next_id: 0,
            left_at: None,
        })
    }

    /// Requests and connections of scripts, for futures that run during this prober's turns.
    pub fn client(&self) -> Client {
        Client::new(self.engine.clone())
    }

    /// Runs a future beside the checks, during turns, until it ends or the prober goes. A panic
    /// ends it.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.local.spawn_local(work);
    }

    /// The waker that ends a turn early.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Runs Lua checks from now on; without it, targets with a Lua check are ignored. To be called
    /// before [`Prober::set_targets`].
    pub fn set_script_check(&mut self, script: Option<ScriptCheck>) {
        *self.engine.script.borrow_mut() = script;
    }

    /// Sets what is checked. A target whose key, check and URL are as before keeps its schedule,
    /// its connection and a check that is running; new and changed ones are checked at once; checks
    /// of all others end without a result. Of targets with the same key the first counts.
    pub fn set_targets(&mut self, targets: Vec<CheckTarget>) {
        let with_scripts = self.engine.script.borrow().is_some();
        let mut before = std::mem::take(&mut self.running);
        let (mut seen, mut fresh) = (HashSet::new(), Vec::new());
        for target in targets {
            if (target.check.kind == CheckKind::Lua && !with_scripts) || !seen.insert(target.key) {
                continue;
            }
            match before.remove(&target.key) {
                Some(running) if running.is_same(&target) => {
                    self.running.insert(target.key, running);
                }
                old => {
                    if let Some(old) = old {
                        old.task.abort();
                    }
                    fresh.push(target);
                }
            }
        }
        before.values().for_each(|old| old.task.abort());
        self.start(fresh);
        self.forget_unused();
    }

    fn start(&mut self, fresh: Vec<CheckTarget>) {
        let now = Instant::now();
        let count = u32::try_from(fresh.len()).unwrap_or(u32::MAX).max(1);
        for (at, target) in (0u32..).zip(fresh) {
            let first = now + SPREAD.mul_f64(f64::from(at) / f64::from(count));
            let plan = Plan::new(&target.member.spec.url, &target.check, &self.shared_plan(&target.check));
            let rng = Rng::new(self.rng.next() ^ target.key);
            let schedule = Schedule::new(target.check.interval_ms, target.check.jitter_percent, first, rng);
            self.next_id += 1;
            let id = self.next_id;
            let watch = Watch { id, engine: self.engine.clone(), target: target.clone(), plan, schedule };
            let task = self.local.spawn_local(watch.run());
            self.running.insert(target.key, Running { id, target, task });
        }
    }

    fn shared_plan(&mut self, check: &Arc<HealthCheck>) -> SharedPlan {
        if let Some((_, plan)) = self.shared.iter().find(|(known, _)| Arc::ptr_eq(known, check)) {
            return plan.clone();
        }
        let plan = CheckPlan::new(check).map(Rc::new);
        self.shared.push((check.clone(), plan.clone()));
        plan
    }

    /// Drops what belonged to targets that are gone.
    fn forget_unused(&mut self) {
        let checks: HashSet<_> =
            self.running.values().map(|running| Arc::as_ptr(&running.target.check)).collect();
        self.shared.retain(|(check, _)| checks.contains(&Arc::as_ptr(check)));
        let hosts =
            self.running.values().map(|running| running.target.member.spec.url.host.as_str()).collect();
        self.engine.resolver.keep_only(&hosts);
    }

    /// Lends the checks the thread for at most this long, and hands every result to `sink`. Ends
    /// early when woken. Nothing runs between turns; when they are far apart, checks start late,
    /// but do not time out for that reason.
    pub fn turn(&mut self, for_at_most: Duration, sink: &mut dyn FnMut(Observation)) {
        let now = Instant::now();
        let absence = self.left_at.map_or(Duration::ZERO, |left_at| now - left_at);
        if absence > ABSENCE {
            self.engine.was_away(absence);
        }
        let Prober { local, runtime: Some(runtime), reports, waker, running, left_at, .. } = self else {
            return;
        };
        // A result may still be under way when its target is taken out.
        let mut hand_over = |(id, observation): Report| {
            if running.get(&observation.key).is_some_and(|running| running.id == id) {
                sink(observation);
            }
        };
        runtime.block_on(local.run_until(async {
            tokio::task::yield_now().await;
            let mut woken = pin!(waker.0.notified());
            let mut over = pin!(tokio::time::sleep_until(now + for_at_most.min(LONGEST_TURN)));
            let mut next = |cx: &mut Context<'_>| {
                if woken.as_mut().poll(cx).is_ready() || over.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                reports.poll_recv(cx)
            };
            while let Some(report) = poll_fn(&mut next).await {
                hand_over(report);
            }
        }));
        *left_at = Some(Instant::now());
    }

    /// The trouble that kept checks from running since this was last asked (no file descriptors,
    /// unusable settings): a matter for the log, not an observation of any member.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.engine.trouble.take()
    }

    /// Ends all checks without results, and closes their connections.
    pub fn clear(&mut self) {
        self.running.clear();
        self.forget_unused();
        self.local = LocalSet::new();
        while self.reports.try_recv().is_ok() {}
    }
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("targets", &self.running.len()).finish_non_exhaustive()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        // Connections close before the runtime that they are registered with.
        self.local = LocalSet::new();
        // The plain drop would wait for a lookup that hangs.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
