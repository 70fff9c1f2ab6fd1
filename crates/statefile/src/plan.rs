// SPDX-License-Identifier: Apache-2.0
//! The parts of a document that hold in the configuration as it is now.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use balance::event::weight_text;
use balance::member::MemberSpec;
use balance::order::{AdminState, MAX_ORDER_TEXT, Order, Then};
use balance::settings::CheckKind;
use balance::snapshot::{MemberState, PoolState};

use crate::document::{KeptHealth, KeptLine, KeptMember, KeptOrder, Override, StateDocument};

/// For how long a document is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    /// Seconds for which anything of it holds.
    pub max_age_s: u64,
    /// Seconds for which what checks and requests say holds.
    pub health_age_s: u64,
}

/// When a start is, or would be.
#[derive(Debug, Clone, Copy)]
pub struct StartTime {
    /// Epoch seconds.
    pub now_s: u64,
    /// For how long the document is good.
    pub ages: Ages,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StartPlan {
    /// The parts that hold, of each member.
    pub members: Vec<MemberPlan>,
    /// The parts that do not, and why.
    pub dropped: Vec<Dropped>,
    /// Members that no configuration has now: pool, name and the parts that are kept of each.
    pub left: Vec<(String, String, Vec<&'static str>)>,
    /// The document is older than [`Ages::max_age_s`]: nothing of it holds.
    pub is_too_old: bool,
}

/// The parts of a member that hold.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberPlan {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub name: String,
    /// It is added.
    pub add: Option<Box<MemberSpec>>,
    /// Its state is this.
    pub admin: Option<AdminState>,
    /// Its weight is this, in hundredths.
    pub weight: Option<u32>,
    /// This is kept as its order.
    pub order: Option<Order>,
    /// Checks and requests say this.
    pub health: Option<KeptHealth>,
}

/// Parts of a member that do not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub member: String,
    /// The parts, and why.
    pub parts: Vec<(&'static str, String)>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: member {}: dropped ", self.pool, self.member)?;
        for (at, (part, why)) in self.parts.iter().enumerate() {
            write!(f, "{}{part} ({why})", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl StartPlan {
    /// The plan of a start with these pools, of which what was added while the server ran does not
    /// count.
    pub fn of(document: &StateDocument, pools: &[PoolState], start: &StartTime) -> Self {
        let mut plan = StartPlan::default();
        let StartTime { now_s, ages } = *start;
        plan.is_too_old = document.written.0.saturating_add(ages.max_age_s) < now_s;
        if plan.is_too_old {
            return plan;
        }
        let is_fresh = document.written.0.abs_diff(now_s) <= ages.health_age_s;
        for kept in &document.pools {
            let pool = pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(&kept.name));
            let configured = pool.into_iter().flat_map(|pool| &pool.members);
            let configured: HashMap<&str, &MemberState> = configured
                .filter(|member| !member.added)
                .map(|member| (member.spec.name.as_str(), member))
                .collect();
            for member in &kept.members {
                let name = pool.map_or(kept.name.as_str(), |pool| &pool.name);
                let mut planning =
                    Planning { pool, name, kept: member, now_s, is_fresh, dropped: Vec::new() };
                match (pool, configured.get(member.name.as_str())) {
                    (Some(_), Some(known)) => plan.members.extend(planning.configured(known)),
                    (Some(_), None) if member.added.is_some() => plan.members.extend(planning.added()),
                    _ => planning.left(ages.max_age_s, &mut plan.left),
                }
                plan.dropped.extend(planning.told());
            }
        }
        plan
    }
}

/// The configuration's values that an override may replace.
struct Base {
    admin: AdminState,
    weight: u32,
    max_inflight: u32,
    meta: BTreeMap<String, String>,
}

impl Base {
    fn of_spec(spec: &MemberSpec) -> Self {
        Base {
            admin: AdminState::of(spec.flags),
            weight: spec.weight,
            max_inflight: spec.max_inflight,
            meta: spec.meta.iter().cloned().collect(),
        }
    }

    fn of(member: &MemberState) -> Self {
        let mut base = Base::of_spec(&member.spec);
        if let Some(replaced) = &member.replaced {
            base.max_inflight = replaced.max_inflight;
            base.meta = replaced.meta.iter().cloned().collect();
        }
        base
    }
}

/// One member on its way into the plan.
struct Planning<'a> {
    pool: Option<&'a PoolState>,
    /// The pool's name.
    name: &'a str,
    kept: &'a KeptMember,
    now_s: u64,
    /// The document is young enough for what checks and requests say.
    is_fresh: bool,
    dropped: Vec<(&'static str, String)>,
}

impl Planning<'_> {
    fn told(self) -> Option<Dropped> {
        let (pool, member) = (self.name.to_owned(), self.kept.name.clone());
        (!self.dropped.is_empty()).then_some(Dropped { pool, member, parts: self.dropped })
    }

    fn drop(&mut self, part: &'static str, why: impl Into<String>) {
        self.dropped.push((part, why.into()));
    }

    /// A member that the configuration has.
    fn configured(&mut self, known: &MemberState) -> Option<MemberPlan> {
        if self.kept.added.is_some() {
            self.drop("added", "the configuration has a member of this name now");
        }
        let url = known.spec.url.to_string();
        let is_moved = url != self.kept.url;
        if is_moved {
            self.drop("health", format!("{} then, {url} now", self.kept.url));
        }
        let mut planned = self.ordered(&Base::of(known))?;
        planned.health = self.health().filter(|_| !is_moved);
        let is_plain = planned.admin.is_none()
            && planned.weight.is_none()
            && planned.order.is_none()
            && planned.health.is_none();
        (!is_plain).then_some(planned)
    }

    /// A member that was added while the server ran.
    fn added(&mut self) -> Option<MemberPlan> {
        let line = self.kept.added.as_ref()?;
        let spec = match spec(line, &self.kept.name) {
            Ok(spec) => spec,
            Err(why) => {
                self.drop("added", why);
                return None;
            }
        };
        if let Some(why) = self.uncached(&spec) {
            self.drop("added", why);
            return None;
        }
        let mut planned = self.ordered(&Base::of_spec(&spec))?;
        planned.add = Some(Box::new(spec));
        planned.health = self.health();
        Some(planned)
    }

    /// Why a member that a source has found does not come back with a start.
    fn uncached(&self, spec: &MemberSpec) -> Option<String> {
        let name = spec.discovered.as_ref()?;
        let known = self.pool.and_then(|pool| pool.settings.discovery.iter().find(|one| one.name == *name));
        match known {
            None => Some(format!("the pool has no source {name} now")),
            Some(source) if !source.cache => Some(format!("source {name} has initial=empty")),
            Some(_) => None,
        }
    }

    /// A member that no configuration has.
    fn left(&mut self, max_age_s: u64, left: &mut Vec<(String, String, Vec<&'static str>)>) {
        let is_old = |since: u64| since.saturating_add(max_age_s) <= self.now_s;
        let keys = self.kept.keys();
        if self.kept.unknown_since.is_some_and(|since| is_old(since.0)) {
            keys.into_iter().for_each(|key| self.drop(key, "missing for longer than max_age="));
        } else {
            left.push((self.name.to_owned(), self.kept.name.clone(), keys));
        }
    }

    /// The orders that hold: the configuration still says what they replaced. None: an order's time
    /// is over, and the member went with it.
    fn ordered(&mut self, base: &Base) -> Option<MemberPlan> {
        let kept = self.kept;
        let overrides = &kept.overrides;
        let admin = self.stands(
            "admin",
            overrides.admin.as_ref(),
            |admin| admin.0 == base.admin,
            |admin| admin.0.word().to_owned(),
        );
        let weight = self.stands(
            "weight",
            overrides.weight.as_ref(),
            |weight| weight.0 == base.weight,
            |weight| weight_text(weight.0),
        );
        let limit = overrides.max_inflight.as_ref();
        let limit = self.stands("max_inflight", limit, |most| *most == base.max_inflight, u32::to_string);
        let meta = self.stands("meta", overrides.meta.as_ref(), |meta| *meta == base.meta, pairs);
        let mut order = kept.order.as_ref().map(order).unwrap_or_default();
        order.admin = admin.filter(|admin| !admin.by_script).map(|admin| admin.value.0);
        order.weight = weight.filter(|weight| !weight.by_script).map(|weight| weight.value.0);
        order.max_inflight = limit.map(|most| most.value);
        order.meta = meta.map(|meta| meta.value.clone().into_iter().collect());
        if overrides.admin.is_some() && admin.is_none() {
            // They were about the state.
            (order.until, order.then, order.note) = (None, None, None);
        }
        let mut state = admin.map(|admin| admin.value.0);
        if order.until.is_some_and(|until| until <= self.now_s) {
            state = self.over(&mut order, state, base)?;
        }
        if order.to_text().len() > MAX_ORDER_TEXT {
            self.drop("note", format!("all that is ordered of a member has at most {MAX_ORDER_TEXT} bytes"));
            order = Order { admin: order.admin, weight: order.weight, ..Order::default() };
        }
        Some(MemberPlan {
            pool: self.name.to_owned(),
            name: kept.name.clone(),
            add: None,
            admin: state,
            weight: weight.map(|weight| weight.value.0),
            order: (!order.is_empty()).then_some(order),
            health: None,
        })
    }

    /// An override, if the configuration still says what it replaced.
    fn stands<'o, T>(
        &mut self,
        part: &'static str,
        kept: Option<&'o Override<T>>,
        is_now: impl Fn(&T) -> bool,
        text: impl Fn(&T) -> String,
    ) -> Option<&'o Override<T>> {
        let kept = kept?;
        if is_now(&kept.configured) {
            return Some(kept);
        }
        let (value, configured) = (text(&kept.value), text(&kept.configured));
        self.drop(
            part,
            format!("{value} was in place of {configured}, and the configuration says otherwise now"),
        );
        None
    }

    /// The time of an order is over: what it says for then is the state. None: the member is gone.
    fn over(
        &mut self,
        order: &mut Order,
        state: Option<AdminState>,
        base: &Base,
    ) -> Option<Option<AdminState>> {
        let then = order.then.unwrap_or(Then::AdminState(AdminState::Ready));
        (order.until, order.then, order.note) = (None, None, None);
        let then = match then {
            Then::Removed if self.kept.added.is_some() => {
                self.drop("added", "it was to be removed by now");
                return None;
            }
            // A start brings a configured member back.
            Then::Removed => base.admin,
            Then::AdminState(then) => then,
        };
        // A script has changed it since: that stays.
        if self.kept.overrides.admin.as_ref().is_some_and(|admin| admin.by_script) {
            return Some(state);
        }
        order.admin = Some(then).filter(|then| *then != base.admin);
        Some(order.admin)
    }

    /// The words of checks and requests, as far as this pool has checks or looks at failures.
    fn health(&self) -> Option<KeptHealth> {
        let (kept, pool) = (self.kept.health.as_ref()?, self.pool?);
        if !self.is_fresh {
            return None;
        }
        let check = pool.settings.health.as_ref();
        let has_agent = check.is_some_and(|check| check.kind == CheckKind::Agent);
        let ejected = kept.ejected.clone().filter(|ejected| ejected.until.0 > self.now_s);
        let health = KeptHealth {
            down: kept.down.filter(|_| check.is_some()),
            agent: kept.agent.clone().filter(|_| has_agent),
            ejected: ejected.filter(|_| pool.settings.outlier.on),
        };
        (!health.is_empty()).then_some(health)
    }
}

/// The member of a line that was kept.
fn spec(kept: &KeptLine, name: &str) -> Result<MemberSpec, String> {
    let mut spec = MemberSpec::from_line(&kept.line).map_err(|error| error.to_string())?;
    spec.connection.secret.clone_from(&kept.secret);
    if spec.name != name {
        return Err(format!("its line is of a member {}", spec.name));
    }
    Ok(spec)
}

fn order(kept: &KeptOrder) -> Order {
    Order {
        by: kept.by.clone(),
        from: kept.from.clone(),
        at: kept.at.map_or(0, |at| at.0),
        until: kept.until.map(|until| until.0),
        then: kept.then.filter(|_| kept.until.is_some()).map(|then| then.0),
        note: kept.note.clone(),
        ..Order::default()
    }
}

fn pairs(meta: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}

impl MemberPlan {
    /// The parts of it, by the names that messages have for them.
    pub fn keys(&self) -> Vec<&'static str> {
        let order = self.order.as_ref();
        let has = |part: fn(&Order) -> bool| order.is_some_and(part);
        let all = [
            ("added", self.add.is_some()),
            ("admin", self.admin.is_some()),
            ("weight", self.weight.is_some()),
            ("max_inflight", has(|order| order.max_inflight.is_some())),
            ("meta", has(|order| order.meta.is_some())),
            ("until", has(|order| order.until.is_some())),
            ("note", has(|order| order.note.is_some())),
            ("health", self.health.is_some()),
        ];
        all.into_iter().filter(|(_, is)| *is).map(|(key, _)| key).collect()
    }
}
