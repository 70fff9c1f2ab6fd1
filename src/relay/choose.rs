// SPDX-License-Identifier: Apache-2.0
//! Where an attempt goes: what was decided, asked again for each, those left out that were tried.

use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, Query, View};
use balance::engine::Now;
use balance::live::Slot;
use balance::member::Member;
use balance::settings::{Method, PoolSettings};
use balance::status::Status;
use table::Wants;

use super::by_script::{self, ScriptChooser};
use super::chooser::{Chooser, hash};
use super::fallback;
use super::journey::{Goal, Journey, Turn};
use super::route::{Choice, Decision, Route};
use super::session;
use crate::httpd::log;

/// `LB_METHOD` of a member that a script named.
const NAMED: &str = "script";

/// The chooser of a decision: one variant for each kind.
pub enum AnyChooser<'r> {
    Pool(PoolChooser<'r>),
    List(ListChooser<'r>),
    Each(EachChooser<'r>),
    Target(TargetChooser<'r>),
    Nobody(Nobody<'r>),
    Script(ScriptChooser<'r>),
}

impl<'r> AnyChooser<'r> {
    /// The chooser for a route.
    pub fn of(route: &'r Route) -> Self {
        match &route.decision {
            Decision::Pool { pool, view, method, first } => AnyChooser::Pool(PoolChooser {
                question: Question {
                    pool: *pool,
                    view: view.as_ref(),
                    method: method.as_ref(),
                    key: route.key.as_deref(),
                },
                first: first.as_ref(),
                picked_by: route.picked_by,
            }),
            Decision::List(members) => AnyChooser::List(ListChooser { members }),
            Decision::Each(choices) => {
                AnyChooser::Each(EachChooser { choices, at: 0, key: route.key.as_deref() })
            }
            Decision::Target(url) => AnyChooser::Target(TargetChooser { url }),
            Decision::Nobody { pool, message } => AnyChooser::Nobody(Nobody { pool: *pool, message }),
            Decision::Script { script, peer, more } => {
                AnyChooser::Script(ScriptChooser::new(script, peer.clone(), *more))
            }
        }
    }

    /// The chooser that asks a pool's own method.
    pub fn of_pool(pool: PoolId) -> Self {
        let question = Question { pool, view: None, method: None, key: None };
        AnyChooser::Pool(PoolChooser { question, first: None, picked_by: None })
    }

    /// The chooser within.
    #[inline]
    pub fn get(&mut self) -> &mut dyn Chooser {
        match self {
            AnyChooser::Pool(chooser) => chooser,
            AnyChooser::List(chooser) => chooser,
            AnyChooser::Each(chooser) => chooser,
            AnyChooser::Target(chooser) => chooser,
            AnyChooser::Nobody(chooser) => chooser,
            AnyChooser::Script(chooser) => chooser,
        }
    }
}

/// A question to a pool. Without a method: its own.
#[derive(Clone, Copy)]
pub struct Question<'r> {
    pool: PoolId,
    view: Option<&'r Arc<View>>,
    method: Option<&'r Method>,
    key: Option<&'r [u8]>,
}

/// A pool or view, by a method; perhaps one member first.
pub struct PoolChooser<'r> {
    question: Question<'r>,
    first: Option<&'r Arc<Member>>,
    picked_by: Option<&'static str>,
}

impl Chooser for PoolChooser<'_> {
    fn next(&mut self, turn: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember> {
        let pool = self.question.pool;
        journey.pool = Some(pool);
        if let Some(member) = self.first
            && journey.attempts == 0
            && may_be_asked(turn, journey, member)
        {
            return Ok(Goal::Member(pool, member.clone()));
        }
        let now = turn.thread.balancer.now(pool).ok_or(NoMember::UnknownPool)?;
        // A script that has asked a method itself did not ask for the session's member.
        let of_session = self.first.is_none() || self.question.method.is_none();
        if now.settings().sticky.is_some() && of_session {
            return ask_for_session(turn, journey, &now, &self.question);
        }
        ask(turn, journey, &now, &self.question)
    }

    fn last_resort(&self, turn: Turn<'_>, journey: &Journey) -> Option<Goal> {
        let Question { pool, view, method, .. } = self.question;
        fallback::ejected_of(turn, journey, (pool, view.map(|view| &**view)), method)
    }

    fn wants(&self, journey: &Journey, pool: &Now) -> Option<Wants> {
        let Question { pool: id, view, method, .. } = self.question;
        let settings = pool.settings();
        if matches!(method.unwrap_or(&settings.method), Method::Lua { .. }) {
            // Nobody knows whom the function will name: it stands in nobody's way for long.
            return Some(Wants::new(id.0, Some(std::ptr::from_ref(self).addr() as u64)));
        }
        // One whose session keeps it at its member waits for that one alone.
        let forced = settings.sticky.as_ref().is_some_and(|sticky| sticky.force);
        let route = if forced { session::route_of(journey) } else { None };
        let narrowed = view.is_some() || !journey.tried.is_empty() || route.is_some();
        Some(Wants::new(id.0, narrowed.then(|| hash(&(view, &*journey.tried, route)))))
    }

    fn method(&self, journey: &Journey, settings: &PoolSettings) -> &'static str {
        if journey.stick.as_ref().is_some_and(|stick| stick.picked) {
            return "sticky";
        }
        if let Some(first) = self.first
            && journey.attempts == 0
            && journey.member.as_ref().is_some_and(|member| member.slot == first.slot)
        {
            return self.picked_by.unwrap_or(NAMED);
        }
        self.question.method.unwrap_or(&settings.method).name()
    }

    fn looks_for_session(&self) -> bool {
        true
    }
}

/// Members that a script named, in this order.
pub struct ListChooser<'r> {
    members: &'r [(PoolId, Arc<Member>)],
}

impl Chooser for ListChooser<'_> {
    fn next(&mut self, turn: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember> {
        journey.pool = journey.pool.or(self.members.first().map(|(pool, _)| *pool));
        let untried = self.members.iter().find(|(_, member)| may_be_asked(turn, journey, member));
        untried.cloned().map(|(pool, member)| Goal::Member(pool, member)).ok_or(NoMember::UnknownPool)
    }

    fn last_resort(&self, turn: Turn<'_>, journey: &Journey) -> Option<Goal> {
        let mut members = self.members.iter();
        let (pool, found) = members.find(|(_, member)| fallback::is_ejected(turn, journey, member))?;
        Some(Goal::Member(*pool, found.clone()))
    }

    fn wants(&self, journey: &Journey, _: &Now) -> Option<Wants> {
        let (id, _) = self.members.first()?;
        let slots: Vec<Slot> = self.members.iter().map(|(_, member)| member.slot).collect();
        Some(Wants::new(id.0, Some(hash(&(slots, &*journey.tried)))))
    }

    fn method(&self, _: &Journey, _: &PoolSettings) -> &'static str {
        NAMED
    }

    fn explain(&self) -> Option<&str> {
        Some(NONE_LISTED)
    }
}

const NONE_LISTED: &str = "none of the members that the script listed is usable";

/// Several choices: each is asked until it has nobody left.
pub struct EachChooser<'r> {
    choices: &'r [Choice],
    at: usize,
    key: Option<&'r [u8]>,
}

impl Chooser for EachChooser<'_> {
    fn next(&mut self, turn: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember> {
        let mut nobody = NoMember::UnknownPool;
        loop {
            let found = match self.choices.get(self.at) {
                None => return Err(nobody),
                Some(Choice::Member(pool, member)) => {
                    journey.pool = Some(*pool);
                    may_be_asked(turn, journey, member)
                        .then(|| Goal::Member(*pool, member.clone()))
                        .ok_or(NoMember::UnknownPool)
                }
                Some(Choice::Pool(pool, view)) => {
                    journey.pool = Some(*pool);
                    let question = Question { pool: *pool, view: view.as_ref(), method: None, key: self.key };
                    let now = turn.thread.balancer.now(*pool).ok_or(NoMember::UnknownPool);
                    now.and_then(|now| ask_for_session(turn, journey, &now, &question))
                }
            };
            match found {
                Ok(goal) => return Ok(goal),
                Err(why) => nobody = why,
            }
            if !self.go_on(journey) {
                return Err(nobody);
            }
        }
    }

    fn go_on(&mut self, journey: &mut Journey) -> bool {
        if self.at + 1 >= self.choices.len() {
            return false;
        }
        self.at += 1;
        journey.earlier = journey.attempts;
        true
    }

    fn last_resort(&self, turn: Turn<'_>, journey: &Journey) -> Option<Goal> {
        self.choices.iter().find_map(|choice| match choice {
            Choice::Member(pool, member) => {
                fallback::is_ejected(turn, journey, member).then(|| Goal::Member(*pool, member.clone()))
            }
            Choice::Pool(pool, view) => fallback::ejected_of(turn, journey, (*pool, view.as_deref()), None),
        })
    }

    fn wants(&self, journey: &Journey, _: &Now) -> Option<Wants> {
        let name = |choice: &Choice| match choice {
            Choice::Member(pool, member) => hash(&(pool, member.slot)),
            Choice::Pool(pool, view) => hash(&(pool, view)),
        };
        let names: Vec<u64> = self.choices.iter().map(name).collect();
        Some(Wants::new(journey.pool?.0, Some(hash(&(names, &*journey.tried)))))
    }

    fn method(&self, journey: &Journey, settings: &PoolSettings) -> &'static str {
        match self.choices.get(self.at) {
            Some(Choice::Pool(..)) if journey.stick.as_ref().is_some_and(|stick| stick.picked) => "sticky",
            Some(Choice::Pool(..)) => settings.method.name(),
            _ => NAMED,
        }
    }

    fn explain(&self) -> Option<&str> {
        Some(NONE_LISTED)
    }
}

/// An ad-hoc target, once.
pub struct TargetChooser<'r> {
    url: &'r Arc<str>,
}

impl Chooser for TargetChooser<'_> {
    fn next(&mut self, _: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember> {
        if journey.attempts > 0 {
            return Err(NoMember::UnknownPool);
        }
        Ok(Goal::Target(self.url.clone()))
    }

    fn more(&self, _: &PoolSettings) -> u32 {
        0
    }

    fn method(&self, _: &Journey, _: &PoolSettings) -> &'static str {
        NAMED
    }

    fn target(&self) -> Option<&str> {
        Some(self.url)
    }
}

/// Nobody: the script found no member, or failed.
pub struct Nobody<'r> {
    pool: Option<PoolId>,
    message: &'r str,
}

impl Chooser for Nobody<'_> {
    fn next(&mut self, _: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember> {
        journey.pool = self.pool;
        Err(NoMember::UnknownPool)
    }

    fn more(&self, _: &PoolSettings) -> u32 {
        0
    }

    fn method(&self, _: &Journey, settings: &PoolSettings) -> &'static str {
        settings.method.name()
    }

    fn explain(&self) -> Option<&str> {
        Some(self.message)
    }
}

/// A member that was named, not picked: it may be draining, or of weight 0.
fn may_be_asked(turn: Turn<'_>, journey: &Journey, member: &Member) -> bool {
    !journey.avoid().contains(&member.slot)
        && turn.thread.balancer.status(member).is_some_and(Status::serves_sessions)
}

/// The member of the request's session, in a sticky pool; or else whom the method picks.
fn ask_for_session(
    turn: Turn<'_>,
    journey: &mut Journey,
    now: &Now,
    question: &Question<'_>,
) -> Result<Goal, NoMember> {
    let at = (question.pool, question.view.map(|view| &**view));
    if let Some(sticky) = &now.settings().sticky
        && let Some(member) = session::pick(turn, journey, at, sticky)?
    {
        if log::logs_request(turn.request, log::TRACE2) {
            trace(turn, at, "the session", Ok(&*member));
        }
        return Ok(Goal::Member(question.pool, member));
    }
    ask(turn, journey, now, question)
}

#[inline]
fn ask(turn: Turn<'_>, journey: &mut Journey, now: &Now, question: &Question<'_>) -> Result<Goal, NoMember> {
    let Turn { request, thread, .. } = turn;
    let (pool, view, settings) = (question.pool, question.view.map(|view| &**view), now.settings());
    let method = question.method.unwrap_or(&settings.method);
    if let Method::Lua { script, function } = method {
        let picked = by_script::pick(turn, pool, (script, function), &journey.avoid());
        if log::logs_request(request, log::TRACE2) {
            trace(turn, (pool, view), script, picked.as_deref());
        }
        return picked.map(|member| Goal::Member(pool, member));
    }
    let of_pool;
    let key = match question.key {
        Some(key) => key,
        None => {
            of_pool = turn.child.keys.of_pool(request, settings);
            &*of_pool
        }
    };
    let avoid = journey.avoid();
    let query = Query { pool, view, method, key, avoid: &avoid };
    let picked = thread.balancer.pick_in(now, &query);
    if log::logs_request(request, log::TRACE2) {
        let found = picked.as_ref().map(|member| &***member);
        trace(turn, (pool, view), method.name(), found);
    }
    picked.map(|member| Goal::Member(pool, member.into_owned()))
}

/// A pick at `LogLevel trace2`: the pool, its candidates, who picked, and whom.
#[cold]
fn trace(
    turn: Turn<'_>,
    (pool, view): (PoolId, Option<&View>),
    by: &str,
    picked: Result<&Member, &NoMember>,
) {
    let choice = picked.map_or_else(NoMember::to_string, |member| member.spec.name.clone());
    let state = turn.thread.balancer.explain(pool, view);
    log::request(turn.request, log::TRACE2, &format!("{state}: {by} picked {choice}"));
}
