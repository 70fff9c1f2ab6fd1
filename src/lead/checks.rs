// SPDX-License-Identifier: Apache-2.0
//! Active checks: which members are checked, and what comes of the results.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::health::AgentOrder;
use balance::lifecycle::{self, AgentWords, Finding, Subject};
use balance::member::Member;
use balance::settings::{CheckKind, HealthCheck, SharedHealth};
use balance::store::PoolImage;
use probe::agent::AgentAdmin;
use probe::{CheckTarget, Observation, Prober};

use super::{Lease, Rest, TICK, Task};
use crate::httpd::{log, memory};
use crate::keep::events;
use crate::serve::child::Child;
use crate::serve::fronts::FrontShelf;
use crate::serve::generation::generation;

/// The least time between two lines about what keeps checks from running, and between two of the
/// same words.
const TROUBLE: Duration = Duration::from_secs(5);
const SAME_TROUBLE: Duration = Duration::from_secs(60);
/// How long to wait before checks are set up again that could not be.
const AGAIN: Duration = Duration::from_secs(5);

/// The task of the checks that need no Lua. It has the thread as long as nothing else is due.
pub struct NativeChecks {
    child: &'static Child,
    checks: Option<Checks>,
    failed: Option<Instant>,
}

impl NativeChecks {
    /// Made anew by the first turn of each lead.
    pub fn new(child: &'static Child) -> Self {
        NativeChecks { child, checks: None, failed: None }
    }

    fn keep(&mut self) {
        if self.checks.is_some() || self.failed.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        match Checks::new(Kinds::Native) {
            Ok(checks) => {
                self.child.background.lends_to(Some(checks.prober.waker()));
                self.checks = Some(checks);
                self.failed = None;
            }
            Err(error) => {
                log::server(messages::background::NO_CHECKS, &format!("checks cannot run: {error}"));
                self.failed = Some(Instant::now());
            }
        }
    }
}

impl Task for NativeChecks {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        self.keep();
        let checks = self.checks.as_mut()?;
        checks.turn(lease, TICK);
        Some(Instant::now())
    }

    /// For any reason: checks that ran while this process was stopped have timed out, and no member
    /// is to blame for that.
    fn rest(&mut self, _: Rest) {
        if self.checks.take().is_some() {
            self.child.background.lends_to(None);
        }
    }
}

/// The kinds of checks that run in a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// All but those in Lua.
    Native,
    /// The checks in Lua.
    Lua,
}

impl Kinds {
    fn has(self, kind: CheckKind) -> bool {
        (kind == CheckKind::Lua) == (self == Kinds::Lua)
    }
}

/// The checks of one thread.
pub struct Checks {
    kinds: Kinds,
    prober: Prober,
    /// The number of the pools when the targets were listed.
    seen: u64,
    names: Names,
    told: Option<(Instant, String)>,
}

impl Checks {
    /// Without targets; the first turn lists them.
    ///
    /// # Errors
    /// No file descriptors are left.
    pub fn new(kinds: Kinds) -> std::io::Result<Self> {
        let prober = match kinds {
            Kinds::Native => Prober::new()?,
            Kinds::Lua => Prober::for_scripts()?,
        };
        Ok(Checks { kinds, prober, seen: 0, names: HashMap::new(), told: None })
    }

    /// The prober that runs them.
    pub fn prober(&mut self) -> &mut Prober {
        &mut self.prober
    }

    /// Lends the checks the thread for this long. Results that come when the lead is over, or
    /// another's, are dropped: this process may have been stopped meanwhile, and then its checks
    /// timed out for no fault of a member.
    pub fn turn(&mut self, lease: &Lease<'_>, time: Duration) {
        self.refresh_targets(lease);
        let names = &self.names;
        self.prober.turn(time, &mut |observation| {
            if lease.holds() {
                take_in(lease.child, names, &observation);
            }
        });
        self.tell_trouble();
    }

    /// Tells the trouble that keeps checks from running: at most one line in [`TROUBLE`], the same
    /// one in [`SAME_TROUBLE`].
    fn tell_trouble(&mut self) {
        let Some(trouble) = self.prober.take_trouble() else { return };
        let quiet = match &self.told {
            Some((at, text)) => at.elapsed() < if *text == trouble { SAME_TROUBLE } else { TROUBLE },
            None => false,
        };
        if !quiet {
            log::server(messages::background::CHECKS_TROUBLED, &trouble);
            self.told = Some((Instant::now(), trouble));
        }
    }

    /// Ends all checks that are running; the next turn starts them anew.
    pub fn start_anew(&mut self) {
        self.prober.set_targets(Vec::new());
        self.seen = 0;
    }

    /// Lists the targets anew when a pool has changed.
    fn refresh_targets(&mut self, lease: &Lease<'_>) {
        if lease.pools.number() == self.seen {
            return;
        }
        self.seen = lease.pools.number();
        self.names.clear();
        let fronts = lease.child.fronts.as_deref();
        let targets = lease.pools.images().iter().flat_map(|image| self.targets_of(image, fronts)).collect();
        if self.kinds == Kinds::Native {
            // The words of checks that a leader of the configuration before has noted since it
            // ended.
            let table = &lease.child.table;
            let forget = |image: &Arc<PoolImage>| lifecycle::forget_checks_of(table, image);
            events::tell_all(table, lease.pools.images().iter().flat_map(forget));
        }
        self.prober.set_targets(targets);
    }

    fn targets_of(&mut self, image: &PoolImage, fronts: Option<&FrontShelf>) -> Vec<CheckTarget> {
        let check = image.settings.health.clone().filter(|check| self.kinds.has(check.kind));
        let Some(check) = check.map(absolute).map(Arc::new) else { return Vec::new() };
        let pool = &image.membership.name;
        let health = fronts.and_then(|fronts| fronts.health_of(&image.settings));
        let is_vote = health == Some(SharedHealth::Quorum);
        let target = |member: &Arc<Member>| {
            let key = u64::from(member.slot) << 32 | u64::from(member.incarnation);
            self.names.insert(key, (pool.clone(), member.clone(), check.clone(), is_vote));
            CheckTarget { key, pool: pool.clone(), member: member.clone(), check: check.clone() }
        };
        image.membership.members.iter().map(target).collect()
    }
}

/// `ca=` is under ServerRoot when it is relative.
fn absolute(mut check: HealthCheck) -> HealthCheck {
    if let (Some(ca), Some(generation)) = (&check.ca, generation()) {
        check.ca = Some(generation.server_root.join(ca).to_string_lossy().into_owned());
    }
    check
}

/// By the key of a target: the pool's name, the member, its check, and whether several servers
/// decide together.
type Names = HashMap<u64, (Arc<str>, Arc<Member>, Arc<HealthCheck>, bool)>;

/// One check's result.
fn take_in(child: &Child, names: &Names, observation: &Observation) {
    let Some((pool, member, check, is_vote)) = names.get(&observation.key) else { return };
    let found = Finding {
        ok: observation.ok,
        why: &observation.why,
        advice: words(observation),
        took_us: (observation.millis * 1e3) as u64,
        due_ms: memory::monotonic_ms().saturating_add(observation.next.as_millis() as u64),
    };
    let of = Subject { pool, member };
    let told = match is_vote {
        true => lifecycle::check_voted(&child.table, of, check, &found),
        false => lifecycle::check_ended(&child.table, of, check, &found),
    };
    events::tell_all(&child.table, told);
}

fn words(observation: &Observation) -> AgentWords {
    let Some(reply) = &observation.agent else { return AgentWords::default() };
    let order = reply.admin.map(|admin| match admin {
        AgentAdmin::Ready => AgentOrder::Ready,
        AgentAdmin::Drain => AgentOrder::Drain,
        AgentAdmin::Maint => AgentOrder::Maint,
    });
    AgentWords { order, percent: reply.weight_percent, max_inflight: reply.max_inflight }
}
