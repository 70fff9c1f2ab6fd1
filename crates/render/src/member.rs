// SPDX-License-Identifier: Apache-2.0
//! The document of a member.

use balance::counts::{Histogram, MemberCounts};
use balance::event::By;
use balance::live::Latency;
use balance::order::{AdminState, Order, Then};
use balance::settings::CheckKind;
use balance::snapshot::{Cause, Flag, FrontOpinion, MemberState, PoolState, Role};
use balance::status::State;
use balance::store::Origin;
use serde::Serialize;

use crate::Shown;
use crate::time::Time;
use crate::value::{Figure, Pairs};

/// A member.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Member"))]
pub struct MemberDoc<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// Unique in its pool.
    pub name: &'a str,
    /// Its URL.
    pub url: String,
    /// In one word: disabled, down, ejected, draining or up.
    pub state: &'static str,
    /// Neither checks nor requests have anything against it.
    pub healthy: bool,
    /// A new request may go there.
    pub usable: bool,
    /// When its state changed last.
    pub since: Option<Time>,
    /// All that keeps it from serving like any other.
    pub why: Vec<WhyDoc<'a>>,
    /// The ordered state: ready, drain or disabled.
    pub admin: &'static str,
    /// When `then` holds.
    pub until: Option<Time>,
    /// The state that holds then: ready, drain, disabled or removed.
    pub then: Option<&'static str>,
    /// Why it is ordered, in words.
    pub note: Option<&'a str>,
    /// True: it was ordered with local=1, and the other servers do not know of it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// As ordered last.
    pub weight: Figure,
    /// All that its weight is made of.
    pub weights: WeightsDoc,
    /// Its tier.
    pub lbset: u8,
    /// Its zone.
    pub zone: Option<&'a str>,
    /// The name that sessions know it by.
    pub route: &'a str,
    /// active, spare or standby.
    pub role: &'static str,
    /// The meta keys of its line, for scripts and people.
    pub meta: Pairs<'a>,
    /// Requests there now.
    pub inflight: u32,
    /// Most requests at the same time, 0 for no limit.
    pub max_inflight: u32,
    /// How attempts ended.
    pub attempts: AttemptsDoc,
    /// Answers by class.
    pub responses: ResponsesDoc,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Response times, in seconds.
    pub latency: LatencyDoc,
    /// The state of active checks; null where there are none.
    pub check: Option<CheckDoc<'a>>,
    /// The state of failures of requests.
    pub outlier: OutlierDoc,
    /// Its source.
    pub source: SourceDoc,
    /// The keys in which an order replaces the configuration.
    pub overrides: Vec<&'static str>,
    /// The opinions of the servers that share their health; null where none does.
    pub opinions: Option<Vec<OpinionDoc<'a>>>,
}

/// A server's word about a member.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Opinion"))]
pub struct OpinionDoc<'a> {
    /// The server's name among those that share something.
    pub front: &'a str,
    /// up, down or ejected.
    pub state: &'a str,
    /// Since when.
    pub since: Option<Time>,
    /// The finding of the check that brought it about.
    pub reason: Option<&'a str>,
}

impl<'a> OpinionDoc<'a> {
    fn of(opinion: &'a FrontOpinion) -> Self {
        OpinionDoc {
            front: &opinion.front,
            state: &opinion.state,
            since: Time::noted(opinion.since),
            reason: Some(&*opinion.reason).filter(|reason| !reason.is_empty()),
        }
    }
}

/// Something that keeps a member from serving like any other.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Why"))]
pub struct WhyDoc<'a> {
    /// The flag.
    pub flag: String,
    /// A user's name, or checks, agent, requests, configuration, script; null when nobody knows.
    pub by: Option<&'a str>,
    /// The address of who has ordered it.
    pub from: Option<&'a str>,
    /// When it was ordered.
    pub at: Option<Time>,
    /// Until when.
    pub until: Option<Time>,
    /// Why, in words.
    pub note: Option<&'a str>,
}

/// The parts of a member's weight.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Weights"))]
pub struct WeightsDoc {
    /// By its line.
    pub configured: Figure,
    /// As ordered last.
    pub ordered: Figure,
    /// The weight that picks use.
    pub effective: Figure,
    /// The part that slow start gives, up to 1.
    pub ramp: Figure,
    /// Percent that an agent wants.
    pub agent_percent: Option<u16>,
}

/// How attempts ended.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Attempts"))]
pub struct AttemptsDoc {
    /// Complete answers below 500.
    pub ok: u64,
    /// No connection.
    pub connect: u64,
    /// The connection ended before or within the answer.
    pub reset: u64,
    /// No answer in time.
    pub timeout: u64,
    /// Complete answers of 500 and more.
    pub status: u64,
    /// The client went away.
    pub aborted: u64,
}

/// Answers by class.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Responses"))]
#[allow(missing_docs)]
pub struct ResponsesDoc {
    #[serde(rename = "1xx")]
    pub informational: u64,
    #[serde(rename = "2xx")]
    pub success: u64,
    #[serde(rename = "3xx")]
    pub redirection: u64,
    #[serde(rename = "4xx")]
    pub client_error: u64,
    #[serde(rename = "5xx")]
    pub server_error: u64,
}

/// Response times, in seconds; the parts are those of the last ten minutes.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Latency"))]
pub struct LatencyDoc {
    /// The moving average that least_latency goes by.
    pub ewma: Option<Figure>,
    /// Half of the answers took no longer.
    pub p50: Option<Figure>,
    /// 95 % took no longer.
    pub p95: Option<Figure>,
    /// 99 % took no longer.
    pub p99: Option<Figure>,
}

/// The state of active checks.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Check"))]
pub struct CheckDoc<'a> {
    /// tcp, http, https, agent or lua.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The last one passed; null before the first one.
    pub ok: Option<bool>,
    /// When it ended.
    pub at: Option<Time>,
    /// How long it took.
    pub seconds: Option<Figure>,
    /// So many have ended alike, one after the other.
    pub row: u32,
    /// So many passes bring the member up.
    pub rise: u32,
    /// So many failures take it down.
    pub fall: u32,
    /// The finding, in words.
    pub detail: Option<&'a str>,
    /// Seconds until the next one.
    pub next: Option<Figure>,
}

/// The state of failures of requests.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Outlier"))]
pub struct OutlierDoc {
    /// It is out.
    pub ejected: bool,
    /// Failures in a row.
    pub failures: u64,
    /// Ejections without a long good time between.
    pub ejections: u64,
    /// When it gets its chance.
    pub until: Option<Time>,
}

/// The source of a member.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Source"))]
pub struct SourceDoc {
    /// config, script, api, or the kind of the source that has found it: file.
    pub kind: &'static str,
    /// File and line, or where the source is.
    #[serde(rename = "where")]
    pub place: Option<String>,
}

impl Shown<'_> {
    /// A member's document.
    pub fn member<'a>(&self, pool: &'a PoolState, member: &'a MemberState) -> MemberDoc<'a> {
        let (spec, order) = (&member.spec, member.order.as_ref());
        MemberDoc {
            pool: &pool.name,
            name: &spec.name,
            url: spec.url.to_string(),
            state: state_word(member.state),
            healthy: member.healthy,
            usable: member.usable,
            since: Time::noted(member.since),
            why: member.why.iter().map(|cause| why(cause, order)).collect(),
            admin: admin(member).word(),
            until: order.and_then(|order| order.until).map(Time),
            then: order.filter(|order| order.until.is_some()).map(|order| then(order).word()),
            note: order.and_then(|order| order.note.as_deref()),
            local: order.and_then(|order| order.local).map(|_| true),
            weight: Figure::weight(member.weights.ordered),
            weights: WeightsDoc::of(member),
            lbset: member.lbset,
            zone: spec.zone.as_deref(),
            route: &spec.route,
            role: role_word(member.role),
            meta: Pairs(&spec.meta),
            inflight: member.inflight,
            max_inflight: member.max_inflight,
            attempts: AttemptsDoc::of(&member.counts),
            responses: ResponsesDoc::of(&member.counts),
            sent_bytes: member.counts.sent_bytes,
            received_bytes: member.counts.received_bytes,
            latency: LatencyDoc::of(Some(member.latency), &member.recent),
            check: self.check(pool, member),
            outlier: OutlierDoc {
                ejected: member.outlier.ejected,
                failures: member.outlier.failures,
                ejections: member.outlier.ejections,
                until: member.outlier.until_ms.and_then(|until_ms| self.on_calendar(until_ms)),
            },
            source: self.source(pool, member),
            overrides: overrides(member),
            opinions: (!member.opinions.is_empty())
                .then(|| member.opinions.iter().map(OpinionDoc::of).collect()),
        }
    }

    fn check<'a>(&self, pool: &PoolState, member: &'a MemberState) -> Option<CheckDoc<'a>> {
        let settings = pool.settings.health.as_ref()?;
        let (seen, last) = (member.check, member.last_check.as_ref());
        let left_ms = |due_ms: u64| {
            let now_ms = self.facts.clock_ms.filter(|_| due_ms > 0)?;
            Some(Figure::seconds(due_ms.saturating_sub(now_ms)))
        };
        Some(CheckDoc {
            kind: kind_word(settings.kind),
            ok: seen.map(|check| check.ok),
            at: last.and_then(|last| Time::noted(last.at_s)),
            seconds: last.map(|last| Figure::measured(last.took_us as f64 / 1e6)),
            row: seen.map_or(0, |check| check.row),
            rise: settings.rise,
            fall: settings.fall,
            detail: last.map(|last| last.detail.as_str()),
            next: last.and_then(|last| left_ms(last.due_ms)),
        })
    }

    /// The source of a member.
    pub fn source(&self, pool: &PoolState, member: &MemberState) -> SourceDoc {
        if let Some(name) = &member.spec.discovered {
            let found = pool.settings.discovery.iter().find(|source| source.name == *name);
            let kind = found.map_or("discovery", |source| source.source.kind());
            return SourceDoc { kind, place: found.map(|source| source.source.address().to_owned()) };
        }
        match (member.added, pool.origin) {
            (true, _) => SourceDoc { kind: "api", place: None },
            (false, Origin::Script) => SourceDoc { kind: "script", place: None },
            (false, Origin::Configuration) => {
                SourceDoc { kind: "config", place: (self.place)(&pool.name, &member.spec.name) }
            }
        }
    }
}

/// The state of a member that is ordered, or configured.
pub fn admin(member: &MemberState) -> AdminState {
    let set = member.why.iter().map(|cause| match cause.flag {
        Flag::Disabled | Flag::Stopped | Flag::ForcedError => AdminState::Disabled.flags(),
        Flag::Draining => AdminState::Drain.flags(),
        _ => 0,
    });
    AdminState::of(set.fold(0, |flags, flag| flags | flag))
}

/// The state that holds when the time of an order has passed.
pub fn then(order: &Order) -> Then {
    order.then.unwrap_or(Then::AdminState(AdminState::Ready))
}

/// The keys in which an order replaces the configuration.
pub fn overrides(member: &MemberState) -> Vec<&'static str> {
    let order = member.order.as_ref();
    // Nobody has ordered that.
    let is_leaving = order.is_some_and(|order| order.gone.is_some() && order.admin.is_none());
    let all = [
        ("admin", admin(member) != AdminState::of(member.spec.flags) && !is_leaving),
        ("weight", member.weights.ordered != member.weights.configured),
        ("max_inflight", order.is_some_and(|order| order.max_inflight.is_some())),
        ("meta", order.is_some_and(|order| order.meta.is_some())),
    ];
    all.into_iter().filter(|(_, is)| *is).map(|(key, _)| key).collect()
}

fn why<'a>(cause: &'a Cause, order: Option<&'a Order>) -> WhyDoc<'a> {
    let person = match &cause.by {
        By::Person(person) => Some(person),
        _ => None,
    };
    let gone = order.filter(|_| matches!(cause.by, By::Source(_))).and_then(|order| order.gone);
    let order = order.filter(|_| person.is_some());
    WhyDoc {
        flag: cause.flag.to_string(),
        by: cause.by.word(),
        from: person.and_then(|person| person.from.as_deref()),
        at: order.and_then(|order| Time::noted(order.at)),
        until: order.and_then(|order| order.until).or(gone).map(Time),
        note: person.and_then(|person| person.note.as_deref()),
    }
}

pub(crate) fn kind_word(kind: CheckKind) -> &'static str {
    match kind {
        CheckKind::Tcp => "tcp",
        CheckKind::Http => "http",
        CheckKind::Https => "https",
        CheckKind::Agent => "agent",
        CheckKind::Lua => "lua",
    }
}

/// All states, in the order in which they count.
pub const STATES: [State; 5] = [State::Disabled, State::Down, State::Ejected, State::Draining, State::Up];

/// A state's word.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Down => "down",
        State::Ejected => "ejected",
        State::Draining => "draining",
        State::Disabled => "disabled",
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Active => "active",
        Role::Spare => "spare",
        Role::Standby => "standby",
    }
}

impl WeightsDoc {
    fn of(member: &MemberState) -> Self {
        let weights = &member.weights;
        let ramp = (f64::from(weights.ramp) + 1.0) / 256.0;
        WeightsDoc {
            configured: Figure::weight(weights.configured),
            ordered: Figure::weight(weights.ordered),
            effective: Figure::weight(weights.effective),
            ramp: Figure((ramp * 1000.0).round() / 1000.0),
            agent_percent: (weights.agent_percent != 100).then_some(weights.agent_percent),
        }
    }
}

impl AttemptsDoc {
    pub(crate) fn of(counts: &MemberCounts) -> Self {
        let MemberCounts { ok, connect, reset, timeout, status, aborted, .. } = *counts;
        AttemptsDoc { ok, connect, reset, timeout, status, aborted }
    }
}

impl ResponsesDoc {
    pub(crate) fn of(counts: &MemberCounts) -> Self {
        let [informational, success, redirection, client_error, server_error] = counts.responses;
        ResponsesDoc { informational, success, redirection, client_error, server_error }
    }
}

impl LatencyDoc {
    pub(crate) fn of(average: Option<Latency>, recent: &Histogram) -> Self {
        let average = average.filter(|latency| latency.ewma_ms > 0.0);
        let part = |part| recent.quantile(part).map(Figure::measured);
        LatencyDoc {
            ewma: average.map(|latency| Figure::measured(f64::from(latency.ewma_ms) / 1000.0)),
            p50: part(0.5),
            p95: part(0.95),
            p99: part(0.99),
        }
    }
}
