// SPDX-License-Identifier: Apache-2.0
//! Where the attempts of a request go, one after the other: the rules of the module's relay, over
//! the same picks.

use std::borrow::Cow;
use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, Query, View, ViewStep};
use balance::engine::Now;
use balance::live::{Live, Slot};
use balance::member::Member;
use balance::relay::{self, Outcome};
use balance::session::{self, Routed, Session};
use balance::settings::{Method, PoolSettings};
use balance::status::Status;
use balance::sticky::Sent;
use script::Answer;
use script::host::{Field, Request, RequestTable};

use super::World;
use super::decision::{Choice, Decision};

/// Where one attempt goes.
#[derive(Debug, Clone)]
pub enum Goal {
    /// A member of a pool.
    Member(PoolId, Arc<Member>),
    /// A backend that is in no pool.
    Target(String),
}

/// The session of a request to a sticky pool.
#[derive(Debug, Default, Clone)]
pub struct Stick {
    /// The client's, if it has one.
    pub session: Option<Session>,
    /// It has picked the member.
    pub picked: bool,
    /// Its member is full.
    pub lent: bool,
}

/// A request on its way.
#[derive(Debug)]
pub struct Course<'d> {
    decision: &'d Decision,
    /// The pool that it is at.
    pub pool: Option<PoolId>,
    /// Attempts so far.
    pub attempts: u32,
    /// Members tried, in order.
    pub tried: Vec<Slot>,
    full: Vec<Slot>,
    /// Attempts of earlier choices.
    earlier: u32,
    at: usize,
    /// Its session, in sticky pools.
    pub stick: Option<Stick>,
    last: Option<Arc<Member>>,
}

/// `LB_METHOD` of a member that a script named.
const NAMED: &str = "script";

#[derive(Clone, Copy)]
struct Question<'q> {
    pool: PoolId,
    view: Option<&'q Arc<View>>,
    method: Option<&'q Method>,
    key: Option<&'q [u8]>,
}

impl<'d> Course<'d> {
    /// At its beginning.
    pub fn new(decision: &'d Decision) -> Self {
        Course {
            decision,
            pool: None,
            attempts: 0,
            tried: Vec::new(),
            full: Vec::new(),
            earlier: 0,
            at: 0,
            stick: None,
            last: None,
        }
    }

    /// Where the next attempt goes, which counts as made. Whoever is full is passed over.
    pub fn next(&mut self, world: &World) -> Result<Goal, NoMember> {
        loop {
            let goal = match self.look(world) {
                Err(nobody) if self.attempts > 0 && !matches!(nobody, NoMember::SessionLost(_)) => {
                    self.last_resort(world).ok_or(nobody)?
                }
                other => other?,
            };
            if let Goal::Member(pool, member) = &goal {
                self.pool = Some(*pool);
                let store = world.pools.store();
                let most = store.advice(member.slot).limit(&member.spec);
                if most > 0 && store.inflight(member.slot) >= most {
                    self.full.push(member.slot);
                    if let Some(stick) = self.stick.as_mut().filter(|stick| stick.picked) {
                        stick.lent = true;
                    }
                    continue;
                }
                self.tried.push(member.slot);
                self.last = Some(member.clone());
            }
            self.attempts += 1;
            return Ok(goal);
        }
    }

    fn look(&mut self, world: &World) -> Result<Goal, NoMember> {
        match self.decision {
            Decision::Pool { pool, view, method, first, key, .. } => {
                self.pool = Some(*pool);
                if let Some(member) = first
                    && self.attempts == 0
                    && self.may_be_asked(world, member)
                {
                    return Ok(Goal::Member(*pool, member.clone()));
                }
                let question = Question {
                    pool: *pool,
                    view: view.as_ref(),
                    method: method.as_ref(),
                    key: key.as_deref(),
                };
                let of_session = first.is_none() || method.is_none();
                self.ask(world, question, of_session)
            }
            Decision::List(members) => {
                self.pool = self.pool.or(members.first().map(|(pool, _)| *pool));
                let untried = members.iter().find(|(_, member)| self.may_be_asked(world, member));
                let goal = untried.map(|(pool, member)| Goal::Member(*pool, member.clone()));
                goal.ok_or(NoMember::UnknownPool)
            }
            Decision::Each(choices) => self.next_choice(world, choices),
            Decision::Target(url) if self.attempts == 0 => Ok(Goal::Target(url.clone())),
            Decision::Target(_) => Err(NoMember::UnknownPool),
            Decision::Nobody { pool, .. } => {
                self.pool = *pool;
                Err(NoMember::UnknownPool)
            }
        }
    }

    fn next_choice(&mut self, world: &World, choices: &[Choice]) -> Result<Goal, NoMember> {
        let mut nobody = NoMember::UnknownPool;
        loop {
            let found = match choices.get(self.at) {
                None => return Err(nobody),
                Some(Choice::Member(pool, member)) => {
                    self.pool = Some(*pool);
                    let goal = Goal::Member(*pool, member.clone());
                    if self.may_be_asked(world, member) { Ok(goal) } else { Err(NoMember::UnknownPool) }
                }
                Some(Choice::Pool(pool, view)) => {
                    self.pool = Some(*pool);
                    let question = Question { pool: *pool, view: view.as_ref(), method: None, key: None };
                    self.ask(world, question, true)
                }
            };
            match found {
                Ok(goal) => return Ok(goal),
                Err(why) => nobody = why,
            }
            if !self.go_on() {
                return Err(nobody);
            }
        }
    }

    /// Goes on to the next of several choices, which has its further attempts for itself.
    fn go_on(&mut self) -> bool {
        let Decision::Each(choices) = self.decision else { return false };
        if self.at + 1 >= choices.len() {
            return false;
        }
        self.at += 1;
        self.earlier = self.attempts;
        true
    }

    /// Whether another attempt follows one that ended so. Nothing of an answer is out.
    pub fn goes_on(&mut self, outcome: Outcome, idempotent: bool, settings: &PoolSettings) -> bool {
        let asked =
            relay::Asked { idempotent, has_body: false, expects: false, answered: false, aborted: false };
        let more = if matches!(self.decision, Decision::Target(_)) { 0 } else { settings.set.retries };
        relay::again(outcome, asked, &settings.set.retry_on)
            && (self.attempts - self.earlier <= more || self.go_on())
    }

    fn avoid(&self) -> Cow<'_, [Slot]> {
        if self.full.is_empty() {
            return Cow::Borrowed(&self.tried);
        }
        Cow::Owned(self.tried.iter().chain(&self.full).copied().collect())
    }

    /// A member that was named, not picked: it may be draining, or of weight 0.
    fn may_be_asked(&self, world: &World, member: &Member) -> bool {
        !self.avoid().contains(&member.slot)
            && world.handle().status(member).is_some_and(Status::serves_sessions)
    }

    fn ask(&mut self, world: &World, question: Question<'_>, of_session: bool) -> Result<Goal, NoMember> {
        let now = world.handle().now(question.pool).ok_or(NoMember::UnknownPool)?;
        if of_session
            && now.settings().sticky.is_some()
            && let Some(member) = self.of_session(world, &now, question)?
        {
            return Ok(Goal::Member(question.pool, member));
        }
        let settings = now.settings();
        let method = question.method.unwrap_or(&settings.method);
        if let Method::Lua { script, function } = method {
            let picked = by_script(world, question.pool, (script, function), &self.avoid());
            return picked.map(|member| Goal::Member(question.pool, member));
        }
        let of_pool;
        let key = match question.key {
            Some(key) => key,
            None => {
                of_pool = world.key_of(settings);
                &*of_pool
            }
        };
        let view = question.view.map(|view| &**view);
        let query = Query { pool: question.pool, view, method, key, avoid: &self.avoid() };
        let picked = world.handle().pick_in(&now, &query)?;
        Ok(Goal::Member(question.pool, picked.into_owned()))
    }

    fn of_session(
        &mut self,
        world: &World,
        now: &Now,
        question: Question<'_>,
    ) -> Result<Option<Arc<Member>>, NoMember> {
        let Some(sticky) = &now.settings().sticky else { return Ok(None) };
        let session =
            session_of(world, (question.pool, question.view.map(|view| &**view)), now, &self.avoid());
        let stick = self.stick.get_or_insert_default();
        let routed = session.as_ref().map_or(Routed::Unknown, |session| session.routed.clone());
        stick.session = session;
        stick.picked = matches!(routed, Routed::Member(_));
        match routed {
            Routed::Member(member) => Ok(Some(member)),
            Routed::Lost if sticky.force => Err(NoMember::SessionLost(now.membership().name.clone())),
            Routed::Lost | Routed::Unknown => Ok(None),
        }
    }

    /// Everybody else has failed: one that is out for failures alone may be back.
    fn last_resort(&self, world: &World) -> Option<Goal> {
        let avoid = self.avoid();
        let is_ejected = |member: &Member| {
            let status = world.handle().status(member);
            !avoid.contains(&member.slot)
                && status.is_some_and(|s| s.has(Status::EJECTED) && s.without(Status::EJECTED).usable())
        };
        let of_pool = |pool: PoolId, view: Option<&View>, method: Option<&Method>| {
            let now = world.handle().now(pool)?;
            if matches!(method.unwrap_or(&now.settings().method), Method::Lua { .. }) {
                return None;
            }
            let mut members = now.membership().members.iter();
            let found =
                members.find(|member| view.is_none_or(|view| view.holds(member)) && is_ejected(member))?;
            Some(Goal::Member(pool, found.clone()))
        };
        match self.decision {
            Decision::Pool { pool, view, method, .. } => of_pool(*pool, view.as_deref(), method.as_ref()),
            Decision::List(members) => {
                let (pool, member) = members.iter().find(|(_, member)| is_ejected(member))?;
                Some(Goal::Member(*pool, member.clone()))
            }
            Decision::Each(choices) => choices.iter().find_map(|choice| match choice {
                Choice::Member(pool, member) => {
                    is_ejected(member).then(|| Goal::Member(*pool, member.clone()))
                }
                Choice::Pool(pool, view) => of_pool(*pool, view.as_deref(), None),
            }),
            Decision::Target(_) | Decision::Nobody { .. } => None,
        }
    }

    /// `LB_METHOD` of the attempt that was made last.
    pub fn method(&self, settings: &PoolSettings) -> &'static str {
        let by_session = self.stick.as_ref().is_some_and(|stick| stick.picked);
        match self.decision {
            Decision::Pool { .. } if by_session => "sticky",
            Decision::Pool { method, first, picked_by, .. } => {
                let is_first = self.attempts <= 1
                    && first
                        .as_ref()
                        .is_some_and(|first| self.last.as_ref().is_some_and(|last| last.slot == first.slot));
                if is_first {
                    return picked_by.unwrap_or(NAMED);
                }
                method.as_ref().unwrap_or(&settings.method).name()
            }
            Decision::Each(choices) => match choices.get(self.at) {
                Some(Choice::Pool(..)) if by_session => "sticky",
                Some(Choice::Pool(..)) => settings.method.name(),
                _ => NAMED,
            },
            Decision::List(_) | Decision::Target(_) => NAMED,
            Decision::Nobody { .. } => settings.method.name(),
        }
    }

    /// The view that the method has narrowed itself to, where there is one.
    pub fn view(&self) -> Option<&'d Arc<View>> {
        match self.decision {
            Decision::Pool { view, .. } => view.as_ref(),
            Decision::Each(choices) => match choices.get(self.at) {
                Some(Choice::Pool(_, view)) => view.as_ref(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The cookie that binds the client to this member, where the module would set one.
    pub fn cookie(&mut self, world: &World, member: &Member) -> Option<String> {
        let now = world.handle().now(self.pool?)?;
        let sticky = now.settings().sticky.as_ref()?;
        let looks = matches!(self.decision, Decision::Pool { .. });
        if self.stick.is_none() || !looks {
            let session = session_of(world, (self.pool?, None), &now, &[]);
            self.stick = Some(Stick { session, ..Stick::default() });
        }
        let stick = self.stick.as_ref()?;
        let stays = stick.session.as_ref().is_some_and(|session| session.is_of(&member.spec.route));
        let foreign = stick.session.as_ref().is_some_and(Session::is_foreign);
        if stays || stick.lent || foreign {
            return None;
        }
        let https = world.request.text(Field::Scheme).as_deref() == Some("https");
        Some(balance::sticky::set_cookie(sticky, &member.spec.route, https))
    }
}

fn session_of(
    world: &World,
    (pool, view): (PoolId, Option<&View>),
    now: &Now,
    avoid: &[Slot],
) -> Option<Session> {
    let sticky = now.settings().sticky.as_ref()?;
    let url = world.request.bytes(Field::UnparsedUri).unwrap_or_default();
    let mut cookies = Vec::new();
    world.request.get(RequestTable::HeadersIn, b"Cookie", &mut |value| {
        cookies.extend_from_slice(value.unwrap_or_default());
    });
    let client = Sent { url: &url, cookies: &cookies };
    session::find(sticky, client, &mut |route| world.handle().route(pool, view, route, avoid))
}

/// `LuaBalancerMethod lua`: the function gets `(pool, r)` and returns a member.
fn by_script(
    world: &World,
    pool: PoolId,
    (script, function): (&str, &str),
    tried: &[Slot],
) -> Result<Arc<Member>, NoMember> {
    let failed = |what: String| {
        world.fail(what);
        Err(NoMember::ScriptFailed)
    };
    let Some(id) = world.method_script(script) else {
        return failed(format!("LuaBalancerMethod lua {script}: the script is unknown"));
    };
    let now = world.handle().now(pool).ok_or(NoMember::UnknownPool)?;
    let (name, members) = (now.membership().name.clone(), &now.membership().members);
    let out = members.iter().filter(|member| tried.contains(&member.slot));
    let names: Vec<String> = out.map(|member| member.spec.name.clone()).collect();
    let left = members.len() - names.len();
    let view = (!names.is_empty()).then(|| Arc::new(View { steps: vec![ViewStep::Except(names)] }));
    match world.state().pick(id, function, &name, view) {
        Ok(Answer::Member(member))
            if !tried.contains(&member.slot) && world.handle().status(&member).is_some() =>
        {
            Ok(member)
        }
        Ok(Answer::Member(_) | Answer::Decline | Answer::NoMember { .. }) => {
            Err(NoMember::NoneUsable(name, 0, members.len()))
        }
        Ok(Answer::Full { .. }) => Err(NoMember::Full(name, left)),
        Ok(_) => failed(format!("LuaBalancerMethod lua: {function} did not return a member or nil")),
        Err(error) => failed(format!("LuaBalancerMethod lua failed: {error}")),
    }
}
