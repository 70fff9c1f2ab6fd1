// SPDX-License-Identifier: Apache-2.0
//! A decision that is asked for each attempt, those left out that were tried.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::fallback::{self, ejected_of, is_ejected};
use super::questions::{PoolQuestion, ask, ask_for_session, may_be_asked};
use super::{Choice, Circumstances, Course, Decision, Goal};
use crate::api::{NoMember, PoolId, View};
use crate::engine::Now;
use crate::live::Slot;
use crate::member::Member;
use crate::relay::{self, Asked, Outcome};
use crate::settings::{FailureKinds, Method, PoolSettings};

/// `LB_METHOD` of a member that a script named.
const NAMED: &str = "script";
const NONE_LISTED: &str = "none of the members that the script listed is usable";
/// Most further attempts of a script that names peers.
const MOST_MORE: u32 = 31;

/// The failures after which a script that uses `ngx.balancer` may ask for further tries, as nginx's
/// `proxy_next_upstream error timeout` has it.
static PEER_FAILURES: FailureKinds =
    FailureKinds { connect: true, reset: true, timeout: true, any_5xx: false, codes: Vec::new() };

/// Says for each attempt of a request where it goes.
#[derive(Debug)]
pub struct Chooser<'d, S>(Kind<'d, S>);

#[derive(Debug)]
enum Kind<'d, S> {
    Pool { question: PoolQuestion<'d>, first: Option<&'d Arc<Member>>, picked_by: Option<&'static str> },
    List(&'d [(PoolId, Arc<Member>)]),
    Each { choices: &'d [Choice], at: usize, key: Option<&'d [u8]> },
    Target(&'d Arc<str>),
    Nobody { pool: Option<PoolId>, message: &'d str },
    Script { script: &'d S, peer: Arc<str>, more: u32 },
}

impl<'d, S> Chooser<'d, S> {
    /// For a decision. `key`: what the script gave to the method that it asked. `picked_by`: how it
    /// picked the member that comes first; None: it named that one.
    pub fn of(decision: &'d Decision<S>, key: Option<&'d [u8]>, picked_by: Option<&'static str>) -> Self {
        Chooser(match decision {
            Decision::Pool { pool, view, method, first } => Kind::Pool {
                question: PoolQuestion { pool: *pool, view: view.as_ref(), method: method.as_ref(), key },
                first: first.as_ref(),
                picked_by,
            },
            Decision::List(members) => Kind::List(members),
            Decision::Each(choices) => Kind::Each { choices, at: 0, key },
            Decision::Target(url) => Kind::Target(url),
            Decision::Nobody { pool, message } => Kind::Nobody { pool: *pool, message },
            Decision::Script { script, peer, more } => {
                Kind::Script { script, peer: peer.clone(), more: *more }
            }
        })
    }

    /// Asks a pool's own method.
    pub fn of_pool(pool: PoolId) -> Self {
        let question = PoolQuestion { pool, view: None, method: None, key: None };
        Chooser(Kind::Pool { question, first: None, picked_by: None })
    }

    /// A member or target that may be asked now, as far as this request knows.
    #[inline]
    pub fn look<A: Circumstances<Script = S>>(
        &mut self,
        around: &A,
        course: &mut Course,
    ) -> Result<Goal, NoMember> {
        let looked = self.next(around, course);
        let (Err(nobody), Some((last, _))) = (&looked, course.last) else { return looked };
        let other = fallback::same_again(around, course, last).or_else(|| {
            let may_be_back = !matches!(nobody, NoMember::SessionLost(_));
            may_be_back.then(|| self.last_resort(around, course)).flatten()
        });
        other.map_or(looked, Ok)
    }

    #[inline]
    fn next<A: Circumstances<Script = S>>(
        &mut self,
        around: &A,
        course: &mut Course,
    ) -> Result<Goal, NoMember> {
        match &mut self.0 {
            Kind::Pool { question, first, .. } => next_of_pool(around, course, question, *first),
            Kind::List(members) => {
                course.pool = course.pool.or(members.first().map(|(pool, _)| *pool));
                let untried = members.iter().find(|(_, member)| may_be_asked(around, course, member));
                let goal = untried.cloned().map(|(pool, member)| Goal::Member(pool, member));
                goal.ok_or(NoMember::UnknownPool)
            }
            Kind::Each { .. } => self.next_of_each(around, course),
            Kind::Target(_) if course.attempts > 0 => Err(NoMember::UnknownPool),
            Kind::Target(url) => Ok(Goal::Target(url.clone())),
            Kind::Nobody { pool, .. } => {
                course.pool = *pool;
                Err(NoMember::UnknownPool)
            }
            Kind::Script { script, peer, more } => {
                if course.attempts > 0 {
                    let (next, wanted) = around.name_again(script, course)?;
                    (*peer, *more) = (next, more.saturating_add(wanted).min(MOST_MORE));
                }
                Ok(Goal::Target(peer.clone()))
            }
        }
    }

    fn next_of_each<A: Circumstances<Script = S>>(
        &mut self,
        around: &A,
        course: &mut Course,
    ) -> Result<Goal, NoMember> {
        let mut nobody = NoMember::UnknownPool;
        loop {
            let Kind::Each { choices, at, key } = &self.0 else { return Err(nobody) };
            let found = match choices.get(*at) {
                None => return Err(nobody),
                Some(Choice::Member(pool, member)) => {
                    course.pool = Some(*pool);
                    may_be_asked(around, course, member)
                        .then(|| Goal::Member(*pool, member.clone()))
                        .ok_or(NoMember::UnknownPool)
                }
                Some(Choice::Pool(pool, view)) => {
                    course.pool = Some(*pool);
                    let question = PoolQuestion { pool: *pool, view: view.as_ref(), method: None, key: *key };
                    let now = around.handle().now(*pool).ok_or(NoMember::UnknownPool);
                    now.and_then(|now| ask_for_session(around, course, &now, &question))
                }
            };
            match found {
                Ok(goal) => return Ok(goal),
                Err(why) => nobody = why,
            }
            if !self.go_on(course) {
                return Err(nobody);
            }
        }
    }

    /// Goes on to the next of several choices, which has its further attempts for itself. False
    /// when there is none.
    fn go_on(&mut self, course: &mut Course) -> bool {
        let Kind::Each { choices, at, .. } = &mut self.0 else { return false };
        if *at + 1 >= choices.len() {
            return false;
        }
        *at += 1;
        course.earlier = course.attempts;
        true
    }

    /// Whether another attempt follows one that ended so.
    pub fn goes_on(
        &mut self,
        course: &mut Course,
        (outcome, asked): (Outcome, Asked),
        settings: &PoolSettings,
    ) -> bool {
        let kinds = match &self.0 {
            Kind::Script { .. } => &PEER_FAILURES,
            _ => &settings.set.retry_on,
        };
        let more = match &self.0 {
            Kind::Script { more, .. } => *more,
            Kind::Target(_) | Kind::Nobody { .. } => 0,
            _ => settings.set.retries,
        };
        relay::again(outcome, asked, kinds)
            && (course.attempts - course.earlier <= more || self.go_on(course))
    }

    /// An ejected member, when all others have failed this request: it may be back, and cannot do
    /// worse than fail.
    fn last_resort<A: Circumstances<Script = S>>(&self, around: &A, course: &Course) -> Option<Goal> {
        match &self.0 {
            Kind::Pool { question: PoolQuestion { pool, view, method, .. }, .. } => {
                ejected_of(around, course, (*pool, view.map(|view| &**view)), *method)
            }
            Kind::List(members) => {
                let mut members = members.iter();
                let (pool, found) = members.find(|(_, member)| is_ejected(around, course, member))?;
                Some(Goal::Member(*pool, found.clone()))
            }
            Kind::Each { choices, .. } => choices.iter().find_map(|choice| match choice {
                Choice::Member(pool, member) => {
                    is_ejected(around, course, member).then(|| Goal::Member(*pool, member.clone()))
                }
                Choice::Pool(pool, view) => ejected_of(around, course, (*pool, view.as_deref()), None),
            }),
            Kind::Target(_) | Kind::Nobody { .. } | Kind::Script { .. } => None,
        }
    }

    /// How the member of the attempt that begins was picked, as `LB_METHOD` says it.
    pub fn method(&self, course: &Course, settings: &PoolSettings) -> &'static str {
        match &self.0 {
            Kind::Pool { .. } if course.is_by_session() => "sticky",
            Kind::Pool { question, first, picked_by } => {
                if let Some(first) = first
                    && course.attempts == 0
                    && course.member.as_ref().is_some_and(|member| member.slot == first.slot)
                {
                    return picked_by.unwrap_or(NAMED);
                }
                question.method.unwrap_or(&settings.method).name()
            }
            Kind::Each { choices, at, .. } => match choices.get(*at) {
                Some(Choice::Pool(..)) if course.is_by_session() => "sticky",
                Some(Choice::Pool(..)) => settings.method.name(),
                _ => NAMED,
            },
            Kind::List(_) | Kind::Target(_) => NAMED,
            Kind::Nobody { .. } | Kind::Script { .. } => settings.method.name(),
        }
    }

    /// The pool, and the part of it by a number, of which the request may want any member. None: it
    /// never waits for one. No number: the whole pool.
    pub fn wants(&self, course: &Course, now: &Now) -> Option<(PoolId, Option<u64>)> {
        match &self.0 {
            Kind::Pool { question, .. } => Some(self.wants_of_pool(question, course, now)),
            Kind::List(members) => {
                let (pool, _) = members.first()?;
                let slots: Vec<Slot> = members.iter().map(|(_, member)| member.slot).collect();
                Some((*pool, Some(hash(&(slots, &*course.tried)))))
            }
            Kind::Each { choices, .. } => {
                let name = |choice: &Choice| match choice {
                    Choice::Member(pool, member) => hash(&(pool, member.slot)),
                    Choice::Pool(pool, view) => hash(&(pool, view)),
                };
                let names: Vec<u64> = choices.iter().map(name).collect();
                Some((course.pool?, Some(hash(&(names, &*course.tried)))))
            }
            Kind::Target(_) | Kind::Nobody { .. } | Kind::Script { .. } => None,
        }
    }

    fn wants_of_pool(
        &self,
        question: &PoolQuestion<'_>,
        course: &Course,
        now: &Now,
    ) -> (PoolId, Option<u64>) {
        let PoolQuestion { pool, view, method, .. } = *question;
        let settings = now.settings();
        if matches!(method.unwrap_or(&settings.method), Method::Lua { .. }) {
            // Nobody knows whom the function will name: it stands in nobody's way for long.
            return (pool, Some(std::ptr::from_ref(self).addr() as u64));
        }
        // One whose session keeps it at its member waits for that one alone.
        let forced = settings.sticky.as_ref().is_some_and(|sticky| sticky.force);
        let route = if forced { course.route() } else { None };
        let narrowed = view.is_some() || !course.tried.is_empty() || route.is_some();
        (pool, narrowed.then(|| hash(&(view, &*course.tried, route))))
    }

    /// How many of several choices it is past.
    pub fn stage(&self) -> usize {
        match &self.0 {
            Kind::Each { at, .. } => *at,
            _ => 0,
        }
    }

    /// Past so many of several choices.
    pub fn at_stage(mut self, stage: usize) -> Self {
        if let Kind::Each { at, .. } = &mut self.0 {
            *at = stage;
        }
        self
    }

    /// Whether it looks for the request's session by itself, in the pool that it asks.
    pub fn looks_for_session(&self) -> bool {
        matches!(self.0, Kind::Pool { .. })
    }

    /// The view that is asked now.
    pub fn view(&self) -> Option<&'d Arc<View>> {
        match &self.0 {
            Kind::Pool { question, .. } => question.view,
            Kind::Each { choices, at, .. } => match choices.get(*at) {
                Some(Choice::Pool(_, view)) => view.as_ref(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The ad-hoc target, if that is what it chooses.
    pub fn target(&self) -> Option<&str> {
        match &self.0 {
            Kind::Target(url) => Some(url),
            Kind::Script { peer, .. } => Some(peer),
            _ => None,
        }
    }

    /// Why there is nobody, where it knows better than the pool.
    pub fn explain(&self) -> Option<&str> {
        match &self.0 {
            Kind::List(_) | Kind::Each { .. } => Some(NONE_LISTED),
            Kind::Nobody { message, .. } => Some(message),
            _ => None,
        }
    }
}

#[inline]
fn next_of_pool<A: Circumstances>(
    around: &A,
    course: &mut Course,
    question: &PoolQuestion<'_>,
    first: Option<&Arc<Member>>,
) -> Result<Goal, NoMember> {
    let pool = question.pool;
    course.pool = Some(pool);
    if let Some(member) = first
        && course.attempts == 0
        && may_be_asked(around, course, member)
    {
        return Ok(Goal::Member(pool, member.clone()));
    }
    let now = around.handle().now(pool).ok_or(NoMember::UnknownPool)?;
    // A script that has asked a method itself did not ask for the session's member.
    let of_session = first.is_none() || question.method.is_none();
    if now.settings().sticky.is_some() && of_session {
        return ask_for_session(around, course, &now, question);
    }
    ask(around, course, &now, question)
}

/// A hash that is the same in all children: the hasher has fixed keys.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
