// SPDX-License-Identifier: Apache-2.0
//! A balancer of a few pools in memory.

use super::*;

/// One pool in memory; picks in turn, whatever the method.
pub struct TestPool {
    pub name: String,
    pub settings: PoolSettings,
    pub members: Vec<Arc<Member>>,
    pub version: u64,
}

#[derive(Default)]
pub struct TestBalancer {
    pub pools: RefCell<Vec<TestPool>>,
    pub status: RefCell<BTreeMap<u32, Status>>,
    pub cursor: Cell<usize>,
    pub picks: RefCell<Vec<String>>,
    pub quiet: Cell<bool>,
    pub slots: Cell<u32>,
    pub defined: Cell<u32>,
}

pub fn spec(host: &str, port: u16) -> MemberSpec {
    let url = MemberUrl { scheme: "http".into(), host: host.into(), port, path: String::new(), socket: None };
    let name = format!("{host}:{port}");
    MemberSpec { route: name.clone(), name, ..MemberSpec::new(url) }
}

impl TestBalancer {
    pub fn with_pool(self, name: &str, specs: Vec<MemberSpec>) -> Self {
        self.define(name, PoolSettings::default(), specs, 0).unwrap();
        self.defined.set(0);
        self
    }
    fn make(&self, spec: MemberSpec) -> Arc<Member> {
        let slot = self.slots.get();
        self.slots.set(slot + 1);
        self.status.borrow_mut().insert(slot, Status::new(spec.weight, spec.lbset, spec.flags));
        Arc::new(Member::new((slot, 1), slot, spec))
    }
    pub fn down(&self, name: &str) {
        for pool in self.pools.borrow().iter() {
            for member in pool.members.iter().filter(|member| member.spec.name == name) {
                let mut all = self.status.borrow_mut();
                let status = all[&member.slot];
                all.insert(member.slot, status.with(Status::CHECK_DOWN));
            }
        }
    }
}

pub fn takes(view: Option<&View>, member: &Member) -> bool {
    view.is_none_or(|view| {
        view.steps.iter().all(|step| match step {
            ViewStep::Where(pairs) => pairs.iter().all(|(key, value)| match key.as_str() {
                "zone" => member.spec.zone.as_ref() == Some(value),
                "name" => member.spec.name == *value,
                _ => member.spec.meta.iter().any(|(k, v)| k == key && v == value),
            }),
            ViewStep::Except(names) => !names.contains(&member.spec.name),
            ViewStep::Only(names) => names.contains(&member.spec.name),
        })
    })
}

impl Balancer for TestBalancer {
    fn find(&self, name: &str) -> Option<PoolId> {
        self.pools
            .borrow()
            .iter()
            .position(|pool| pool.name.eq_ignore_ascii_case(name))
            .map(|at| PoolId(at as u32))
    }
    fn names(&self) -> Vec<String> {
        self.pools.borrow().iter().map(|pool| pool.name.clone()).collect()
    }
    fn membership(&self, pool: PoolId) -> Option<Arc<Membership>> {
        let pools = self.pools.borrow();
        let found = pools.get(pool.0 as usize)?;
        Some(Arc::new(Membership {
            pool,
            name: found.name.as_str().into(),
            version: found.version,
            members: found.members.clone().into(),
        }))
    }
    fn settings(&self, pool: PoolId) -> Option<Arc<PoolSettings>> {
        self.pools.borrow().get(pool.0 as usize).map(|pool| Arc::new(pool.settings.clone()))
    }
    fn pick(&self, query: Query<'_>) -> Result<Arc<Member>, NoMember> {
        let pools = self.pools.borrow();
        let pool = pools.get(query.pool.0 as usize).ok_or(NoMember::UnknownPool)?;
        if !self.quiet.get() {
            let key = String::from_utf8_lossy(query.key).into_owned();
            self.picks.borrow_mut().push(format!("{:?} {key}", query.method).trim().to_owned());
        }
        let status = self.status.borrow();
        let turn = self.cursor.get();
        self.cursor.set(turn + 1);
        let fits = |member: &&Arc<Member>| takes(query.view, member) && status[&member.slot].usable();
        let usable = pool.members.iter().filter(fits).count();
        if usable == 0 {
            let all = pool.members.len();
            return Err(NoMember::NoneUsable(pool.name.as_str().into(), 0, all));
        }
        let nth = pool.members.iter().filter(fits).nth(turn % usable);
        nth.cloned().ok_or(NoMember::UnknownPool)
    }
    fn pick_for(&self, query: Query<'_>, body: &mut dyn FnMut(&Arc<Member>)) -> Result<(), NoMember> {
        self.pick(query).map(|member| body(&member))
    }
    fn route(&self, pool: PoolId, view: Option<&View>, route: &[u8], avoid: &[Slot]) -> Routed {
        let Some(membership) = self.membership(pool) else { return Routed::Unknown };
        let members = &membership.members;
        let status = |place: usize| self.status(&members[place]).unwrap_or_default();
        let search = session::SessionSearch {
            members,
            routes: &Routes::of(members),
            inside: &|place| takes(view, &members[place]),
            standby: &|place| status(place).has(Status::STANDBY),
            serves: &|place| !avoid.contains(&members[place].slot) && status(place).serves_sessions(),
        };
        search.route(route)
    }
    fn usable(&self, pool: PoolId, view: Option<&View>) -> usize {
        let members = self.membership(pool).map(|m| m.members.clone()).unwrap_or_default();
        members.iter().filter(|member| takes(view, member) && self.is_usable(member)).count()
    }
    fn queued(&self, _pool: PoolId) -> u32 {
        0
    }
    fn is_usable(&self, member: &Member) -> bool {
        self.status(member).is_some_and(Status::usable)
    }
    fn status(&self, member: &Member) -> Option<Status> {
        self.status.borrow().get(&member.slot).copied()
    }
    fn stats(&self, _member: &Member) -> Stats {
        Stats { inflight: 3, latency_ms: 1.5, requests: 10, failures: 2, since: 1_700_000_000 }
    }
    fn change(&self, member: &Member, change: Change, _by: &By) -> Result<(), ChangeError> {
        let mut all = self.status.borrow_mut();
        let status = all.get_mut(&member.slot).ok_or(ChangeError::Removed)?;
        *status = match change {
            Change::SetWeight(weight) => status.with_weight(weight),
            Change::Drain => status.with(Status::DRAINING),
            Change::Disable => status.with(Status::DISABLED),
            Change::Enable => status.without(Status::DRAINING | Status::DISABLED),
            Change::Switch(_) | Change::Recount => unreachable!("no script orders that"),
        };
        Ok(())
    }
    fn order(&self, _member: &Member, _order: Option<&Order>) -> Result<(), ChangeError> {
        Err(ChangeError::Removed)
    }
    fn add(&self, pool: PoolId, spec: MemberSpec, _by: &By) -> Result<Arc<Member>, ChangeError> {
        let member = self.make(spec);
        let mut pools = self.pools.borrow_mut();
        let pool = pools.get_mut(pool.0 as usize).ok_or(ChangeError::UnknownPool)?;
        pool.members.push(member.clone());
        Ok(member)
    }
    fn remove(&self, pool: PoolId, name: &str, _by: &By) -> Result<(), ChangeError> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.get_mut(pool.0 as usize).ok_or(ChangeError::UnknownPool)?;
        let at = pool.members.iter().position(|member| member.spec.name == name);
        let at =
            at.ok_or_else(|| ChangeError::UnknownMember { pool: pool.name.clone(), name: name.to_owned() })?;
        let gone = pool.members.remove(at);
        self.status.borrow_mut().remove(&gone.slot);
        Ok(())
    }
    fn define(
        &self,
        name: &str,
        settings: PoolSettings,
        members: Vec<MemberSpec>,
        version: u64,
    ) -> Result<PoolId, ChangeError> {
        self.defined.set(self.defined.get() + 1);
        let members: Vec<_> = members.into_iter().map(|spec| self.make(spec)).collect();
        let mut pools = self.pools.borrow_mut();
        let pool = TestPool { name: name.to_owned(), settings, members, version };
        match pools.iter().position(|known| known.name == name) {
            Some(at) => {
                pools[at] = pool;
                Ok(PoolId(at as u32))
            }
            None => {
                pools.push(pool);
                Ok(PoolId(pools.len() as u32 - 1))
            }
        }
    }
}
