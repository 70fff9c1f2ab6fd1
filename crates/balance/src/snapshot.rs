// SPDX-License-Identifier: Apache-2.0
//! Everything that can be shown of a running balancer, as values. A store makes it in one go;
//! pages, programs and tests read these and nothing else. Its text is for tests: one line for each
//! thing, as words and `key=value`.

use std::sync::Arc;

use crate::api::PoolId;
use crate::counts::{Histogram, MemberCounts, PoolCounts};
use crate::event::By;
use crate::health::HealthState;
use crate::history::CheckReport;
use crate::live::Latency;
use crate::member::{Member, MemberSpec, SharedSpec};
use crate::order::{AdminState, Order, Replaced};
use crate::outlier::OutlierState;
use crate::settings::{HealthCheck, PoolSettings};
use crate::status::{State, Status};
use crate::store::{ADDED, Origin, PoolImage, Vitals};
use crate::tier;

mod extent;
mod fill;
mod script;
mod server;
mod source;
mod text;

pub use extent::Extent;
pub use fill::{Fill, Room};
pub use script::{ScriptState, ScriptVerdict};
pub use server::{ChildState, DictState, LeadState};
pub use source::{SourceNote, SourceState};

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// In the order of their rows.
    pub pools: Vec<PoolState>,
    /// In the order of their rows.
    pub scripts: Vec<ScriptState>,
    /// The sources of members, in the order of their pools.
    pub sources: Vec<SourceState>,
    /// In configured order.
    pub dicts: Vec<DictState>,
    /// The child that leads. None: nobody, or there are no children.
    pub lead: Option<LeadState>,
    /// The children that take part.
    pub children: Vec<ChildState>,
    /// How full the table is. None for a store without limits.
    pub fill: Option<Fill>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolState {
    /// Its name.
    pub name: Arc<str>,
    /// The origin of its definition.
    pub origin: Origin,
    /// The settings that its directives make.
    pub settings: PoolSettings,
    /// So few members are usable that health is ignored.
    pub panic: bool,
    /// Members that picks choose among.
    pub usable: usize,
    /// Requests at its members.
    pub inflight: u32,
    /// Requests that wait for a place.
    pub queued: u32,
    /// The counts of its requests.
    pub counts: PoolCounts,
    /// How long those of the last ten minutes took.
    pub recent: Histogram,
    /// In configured order; those that were added while the server ran come last.
    pub members: Vec<MemberState>,
}

/// A member.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberState {
    /// Its line. Has secrets: `secret=`.
    pub spec: SharedSpec,
    /// In one word.
    pub state: State,
    /// Neither checks nor requests have anything against it.
    pub healthy: bool,
    /// Picks choose among it and the other usable ones.
    pub usable: bool,
    /// All that keeps it from serving like any other.
    pub why: Vec<Cause>,
    /// When it changed last: epoch seconds.
    pub since: u64,
    /// Its weights.
    pub weights: Weights,
    /// Its tier now.
    pub lbset: u8,
    /// Its role now.
    pub role: Role,
    /// Requests there now.
    pub inflight: u32,
    /// Most requests at the same time, 0 for no limit; an agent may say another number than the
    /// line.
    pub max_inflight: u32,
    /// Attempts so far.
    pub requests: u64,
    /// Failed attempts so far.
    pub failures: u64,
    /// Response times.
    pub latency: Latency,
    /// The state of active checks. None: none are made, or none was yet.
    pub check: Option<CheckState>,
    /// The finding of the last one, where that is remembered.
    pub last_check: Option<CheckReport>,
    /// The state of failures of requests.
    pub outlier: OutlierView,
    /// The counts of its attempts.
    pub counts: MemberCounts,
    /// How long those of the last ten minutes took.
    pub recent: Histogram,
    /// It was added while the server ran; no definition names it.
    pub added: bool,
    /// The order that stands for it.
    pub order: Option<Order>,
    /// The words of its line that the order replaces; None where it replaces none.
    pub replaced: Option<Replaced>,
    /// The opinions of the servers that share their health, this one among them.
    pub opinions: Vec<FrontOpinion>,
}

/// A server's word about a member.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FrontOpinion {
    /// The server's name among those that share something.
    pub front: String,
    /// `up`, `down` or `ejected`.
    pub state: String,
    /// Since when: epoch seconds.
    pub since: u64,
    /// The finding of the check that brought it about; empty where there is none.
    pub reason: String,
}

/// Something that keeps a member from serving like any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The flag.
    pub flag: Flag,
    /// On whose account.
    pub by: By,
}

/// The flags of a status, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Switched off.
    Disabled,
    /// Stopped: not even sessions reach it.
    Stopped,
    /// An agent wants no requests there.
    AgentMaint,
    /// In error by order.
    ForcedError,
    /// Checks say that it is down.
    CheckDown,
    /// Requests have failed there.
    Ejected,
    /// It keeps its sessions, and takes no new ones.
    Draining,
    /// An agent wants no new sessions there.
    AgentDrain,
    /// Its weight is 0: it takes no new sessions.
    NoWeight,
}

/// The part of a member in its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It serves.
    Active,
    /// It stands in for one that is out (`status=+R`).
    Spare,
    /// It serves when nobody else does (`status=+H`).
    Standby,
}

/// The weights of a member, in hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// By its line.
    pub configured: u32,
    /// As ordered last; the configured one, where nothing was ordered.
    pub ordered: u32,
    /// The weight that picks use.
    pub effective: u32,
    /// The step of slow start, 255 when it is over.
    pub ramp: u8,
    /// Percent that an agent wants; 100 without one.
    pub agent_percent: u16,
}

/// The state of a member's active checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckState {
    /// The last one passed.
    pub ok: bool,
    /// So many have ended alike, one after the other.
    pub row: u32,
    /// They say that the member is down.
    pub down: bool,
    /// So many passes bring it up.
    pub rise: u32,
    /// So many failures take it down.
    pub fall: u32,
}

/// The state of a member's failures of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutlierView {
    /// It is out.
    pub ejected: bool,
    /// Failures in a row.
    pub failures: u64,
    /// Ejections, without a long good time between.
    pub ejections: u64,
    /// When it gets its chance: milliseconds of the table's clock.
    pub until_ms: Option<u64>,
}

/// The pools of a store as they are now.
pub fn pools(store: &impl Vitals, extent: Extent<'_>) -> Vec<PoolState> {
    let names = store.pool_names().into_iter().filter(|name| extent.has_pool(name));
    let known = names.filter_map(|name| store.find_pool(&name));
    known.filter_map(|pool| pool_state(store, pool, extent)).collect()
}

fn pool_state(store: &impl Vitals, pool: PoolId, extent: Extent<'_>) -> Option<PoolState> {
    let PoolImage { membership, settings } = store.read_pool(pool)?;
    let origin = store.origin(pool)?;
    let members = &membership.members;
    let states: Vec<Status> = members.iter().map(|member| store.status(member.slot)).collect();
    let panic = tier::is_panic(&states, &settings.set);
    let active = tier::active(members, &states, &settings.set, panic);
    // In configured order, as the members are.
    let mut usable = active.iter().peekable();
    let (has_figures, has_own) = extent.has_figures();
    let views = members.iter().zip(&states).enumerate().filter_map(|(at, (member, status))| {
        let is_usable = usable.next_if(|next| **next == at).is_some();
        let seen = Seen { member, status: *status, check: settings.health.as_ref(), origin, has_figures };
        extent.has_member(&member.spec.name).then(|| seen.state(store, is_usable))
    });
    let views: Vec<MemberState> = views.collect();
    let (counts, recent) = match has_own {
        true => {
            let counts = store.pool_counts(pool);
            let recent = store.pool_recent(pool, &counts);
            (counts, recent)
        }
        false => Default::default(),
    };
    Some(PoolState {
        name: membership.name,
        origin,
        panic,
        usable: active.len(),
        inflight: views.iter().map(|member| member.inflight).filter(|_| has_own).fold(0, u32::saturating_add),
        queued: if has_own { store.queued(pool) } else { 0 },
        recent,
        counts,
        settings,
        members: views,
    })
}

/// The sources of a member's state, besides its words.
struct Seen<'a> {
    member: &'a Arc<Member>,
    status: Status,
    check: Option<&'a HealthCheck>,
    origin: Origin,
    /// See [`Extent::Standing`].
    has_figures: bool,
}

impl Seen<'_> {
    fn state(&self, store: &impl Vitals, usable: bool) -> MemberState {
        let (Member { slot, spec, .. }, status) = (&**self.member, self.status);
        let (stats, health) = (store.stats(*slot), HealthState::from_bits(store.health(*slot)));
        let (advice, order) = (health.advice(), store.order(*slot));
        let incarnation = self.member.incarnation;
        let (counts, recent, latency) = match self.has_figures {
            true => {
                let counts = store.member_counts(*slot);
                let recent = store.member_recent(*slot, incarnation, &counts);
                (counts, recent, store.latency(*slot))
            }
            false => Default::default(),
        };
        let check = self.check.filter(|_| health.is_checked());
        MemberState {
            state: status.state(),
            healthy: status.healthy(),
            usable,
            why: self.why(order.as_ref()),
            since: stats.since,
            weights: Weights {
                configured: spec.weight,
                ordered: status.weight(),
                effective: if status.weight() == 0 { 0 } else { status.share(advice.percent) },
                ramp: status.ramp(),
                agent_percent: advice.percent,
            },
            lbset: status.lbset(),
            role: Role::of(status),
            inflight: stats.inflight,
            max_inflight: advice.limit(spec),
            requests: stats.requests,
            failures: stats.failures,
            latency,
            check: check.map(|check| CheckState::of(health, check)),
            last_check: check.and_then(|_| store.last_check(*slot, incarnation)),
            outlier: OutlierView::of(OutlierState::from_bits(store.outlier(*slot))),
            recent,
            counts,
            added: self.member.order >= ADDED,
            replaced: order.as_ref().filter(|order| order.overlays()).and_then(|_| {
                let MemberSpec { max_inflight, meta, .. } = store.configured(*slot)?;
                Some(Replaced { max_inflight, meta })
            }),
            order,
            opinions: Vec::new(),
            spec: SharedSpec::of(self.member),
        }
    }

    fn why(&self, order: Option<&Order>) -> Vec<Cause> {
        let set = Flag::ALL.iter().filter(|(flag, bit)| match flag {
            Flag::NoWeight => self.status.weight() == 0,
            _ => self.status.has(*bit),
        });
        set.map(|(flag, bit)| Cause { flag: *flag, by: self.by(*flag, *bit, order) }).collect()
    }

    fn by(&self, flag: Flag, bit: u64, order: Option<&Order>) -> By {
        let defined = match flag {
            Flag::CheckDown => return By::Checks,
            Flag::Ejected => return By::Requests,
            Flag::AgentMaint | Flag::AgentDrain => return By::Agent,
            Flag::NoWeight => self.member.spec.weight == 0,
            _ => self.member.spec.flags & bit != 0,
        };
        let ordered = |order: &&Order| match flag {
            Flag::NoWeight => order.weight == Some(0),
            _ => order.admin.is_some_and(|admin: AdminState| admin.flags() & bit != 0),
        };
        if flag == Flag::Draining && order.is_some_and(|order| order.gone.is_some()) {
            return By::of_source(&self.member.spec);
        }
        match (defined, self.origin) {
            (false, _) => match order.filter(ordered) {
                Some(order) => By::Person(order.person()),
                None => By::Somebody,
            },
            (true, Origin::Configuration) => By::Configuration,
            (true, Origin::Script) => By::Definition,
        }
    }
}

impl Flag {
    const ALL: [(Flag, u64); 9] = [
        (Flag::Disabled, Status::DISABLED),
        (Flag::Stopped, Status::STOPPED),
        (Flag::AgentMaint, Status::AGENT_MAINT),
        (Flag::ForcedError, Status::FORCED_ERROR),
        (Flag::CheckDown, Status::CHECK_DOWN),
        (Flag::Ejected, Status::EJECTED),
        (Flag::Draining, Status::DRAINING),
        (Flag::AgentDrain, Status::AGENT_DRAIN),
        (Flag::NoWeight, 0),
    ];
}

impl Role {
    /// As tiers have it: a spare that is a standby as well is a spare.
    fn of(status: Status) -> Self {
        if status.has(Status::SPARE) {
            Role::Spare
        } else if status.has(Status::STANDBY) {
            Role::Standby
        } else {
            Role::Active
        }
    }
}

impl CheckState {
    fn of(health: HealthState, check: &HealthCheck) -> Self {
        let (passes, fails) = health.row();
        CheckState {
            ok: fails == 0,
            row: passes.max(fails),
            down: health.is_down(),
            rise: check.rise,
            fall: check.fall,
        }
    }
}

impl OutlierView {
    fn of(state: OutlierState) -> Self {
        OutlierView {
            ejected: state.is_ejected(),
            failures: state.failures(),
            ejections: state.times(),
            until_ms: state.is_ejected().then(|| state.until_ms()),
        }
    }
}
