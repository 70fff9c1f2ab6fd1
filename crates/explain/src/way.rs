// SPDX-License-Identifier: Apache-2.0
//! Where the attempts of a request go, as long as nobody is asked in earnest.

use std::sync::Arc;

use balance::api::NoMember;
use balance::choosing::{Chooser, Course, Goal};
use balance::live::{Live, UNBOUNDED, room};
use balance::member::Member;
use balance::relay::{Asked, Outcome};
use balance::settings::PoolSettings;

use crate::ground::{Ground, GroundCircumstances, Hook};
use crate::ruling::Plan;

/// A request on its way.
#[derive(Debug)]
pub struct Way<'p> {
    chooser: Chooser<'p, Hook>,
    /// Its course so far.
    pub course: Course,
    /// `LB_METHOD` of the attempt that was made last.
    pub method: &'static str,
}

impl<'p> Way<'p> {
    /// At its beginning.
    pub fn new(plan: &'p Plan) -> Self {
        Way { chooser: plan.chooser(), course: Course::default(), method: "" }
    }

    /// Where one that has waited goes on: what it has tried, and how many choices it is past.
    pub fn resumed(plan: &'p Plan, (course, stage): (Course, usize)) -> Self {
        Way { chooser: plan.chooser().at_stage(stage), course, method: "" }
    }

    /// The parts of the way that a wait for a place interrupts.
    pub fn interrupted(self) -> (Course, usize) {
        (self.course, self.chooser.stage())
    }

    /// The place of the next attempt, which counts as made. Full members are passed over.
    pub fn next<G: Ground>(&mut self, ground: &G) -> Result<Goal, NoMember> {
        loop {
            let looked = self.chooser.look(&GroundCircumstances(ground), &mut self.course);
            if let Ok(Goal::Member(pool, member)) = &looked {
                self.course.pool = Some(*pool);
                let store = ground.handle().store();
                let most = room(store, member.as_ref());
                if most != UNBOUNDED && store.inflight(member.slot) >= most {
                    self.course.is_full(member);
                    continue;
                }
                self.course.goes_to(member);
            }
            self.method = self.method_now(ground);
            self.course.attempts += u32::from(looked.is_ok());
            return looked;
        }
    }

    fn method_now<G: Ground>(&self, ground: &G) -> &'static str {
        let now = self.course.pool.and_then(|pool| ground.handle().now(pool));
        match &now {
            Some(now) => self.chooser.method(&self.course, now.settings()),
            None => self.chooser.method(&self.course, &PoolSettings::default()),
        }
    }

    /// An attempt at this member was made, by any choice.
    pub fn has_been_at(&mut self, member: &Arc<Member>) {
        self.course.goes_to(member);
        self.course.attempts += 1;
    }

    /// Whether another attempt follows one that ended so. Nothing of an answer is out.
    pub fn goes_on(&mut self, outcome: Outcome, idempotent: bool, settings: &PoolSettings) -> bool {
        self.course.last = Some((outcome, 0));
        let asked = Asked { idempotent, has_body: false, expects: false, answered: false, aborted: false };
        self.chooser.goes_on(&mut self.course, (outcome, asked), settings)
    }

    /// The chooser.
    pub fn chooser(&self) -> &Chooser<'p, Hook> {
        &self.chooser
    }
}
