// SPDX-License-Identifier: Apache-2.0
//! As many steps of a list as there is room for: members that go or change do so even where those
//! that come do not all fit.

use crate::api::ChangeError;
use crate::event::{By, Event};
use crate::steering::Steering;
use crate::steps::{Doing, MemberStep};

/// The outcome.
#[derive(Debug, Default)]
pub struct Fitting {
    /// The events of the steps that were carried out.
    pub events: Vec<Event>,
    /// Members that are left out for want of room, in their order.
    pub left: Vec<String>,
    /// The room that is missing, where some are.
    pub why: Option<ChangeError>,
}

/// Carries all steps out; where there is no room for all, those of members that are there already,
/// and then as many others as fit. With the pen.
///
/// # Errors
/// Something else than room is missing, or there is none for the steps of members that are there:
/// then nothing was done.
pub fn carry_out(steering: &dyn Steering, steps: &[MemberStep], by: &By) -> Result<Fitting, ChangeError> {
    let mut done = Fitting::default();
    match steering.carry_out(steps, by) {
        Ok(events) => done.events = events,
        Err(ChangeError::Full { .. }) => {
            let (new, there): (Vec<_>, Vec<_>) = by_member(steps).into_iter().partition(|steps| comes(steps));
            if !there.is_empty() {
                done.events = steering.carry_out(&there.concat(), by)?;
            }
            done.fill(steering, &new, by);
        }
        Err(error) => return Err(error),
    }
    Ok(done)
}

/// The steps of each member, in the order in which members are named first.
fn by_member(steps: &[MemberStep]) -> Vec<Vec<MemberStep>> {
    let mut all: Vec<Vec<MemberStep>> = Vec::new();
    for step in steps {
        // A source names the steps of one member one after the other.
        match all.last_mut().filter(|last| last[0].member == step.member) {
            Some(last) => last.push(step.clone()),
            None => all.push(vec![step.clone()]),
        }
    }
    all
}

fn comes(steps: &[MemberStep]) -> bool {
    steps.iter().any(|step| matches!(step.what, Doing::Add(_)))
}

impl Fitting {
    /// Halves what does not fit, until that is one member. False: not all fit.
    fn fill(&mut self, steering: &dyn Steering, members: &[Vec<MemberStep>], by: &By) -> bool {
        if members.is_empty() {
            return true;
        }
        let error = match steering.carry_out(&members.concat(), by) {
            Ok(events) => {
                self.events.extend(events);
                return true;
            }
            Err(error) => error,
        };
        if let [one] = members {
            self.left.extend(one.first().map(|step| step.member.clone()));
            self.why = Some(error);
            return false;
        }
        let (first, second) = members.split_at(members.len() / 2);
        if self.fill(steering, first, by) {
            return self.fill(steering, second, by);
        }
        self.left.extend(second.iter().filter_map(|steps| Some(steps.first()?.member.clone())));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::MemberSpec;
    use proptest::prelude::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    /// Members by name, so many at most.
    struct Small {
        room: usize,
        members: RefCell<BTreeSet<String>>,
    }

    impl Steering for Small {
        fn with_pen(&self, body: &mut dyn FnMut()) -> bool {
            body();
            true
        }

        fn carry_out(&self, steps: &[MemberStep], _: &By) -> Result<Vec<Event>, ChangeError> {
            assert!(!steps.is_empty(), "nothing is done for nothing");
            let mut now = self.members.borrow().clone();
            for step in steps {
                match step.what {
                    Doing::Add(_) => now.insert(step.member.clone()),
                    _ => now.remove(&step.member),
                };
            }
            if now.len() > self.room {
                return Err(ChangeError::Full { what: "member" });
            }
            self.members.replace(now);
            Ok(Vec::new())
        }

        fn tell_all(&self, _: &[Event]) {}
    }

    fn step(name: &str, what: Doing) -> MemberStep {
        MemberStep { pool: "app".into(), member: name.into(), what }
    }

    fn add(name: &str) -> MemberStep {
        let spec = MemberSpec::from_line("http://10.0.0.1:80").expect("a line");
        step(name, Doing::Add(Box::new(spec)))
    }

    fn small(room: usize, members: &[&str]) -> Small {
        let members = members.iter().map(|name| (*name).to_owned()).collect();
        Small { room, members: RefCell::new(members) }
    }

    #[test]
    fn members_go_though_there_is_no_room_for_those_that_come() {
        let small = small(2, &["a", "b"]);
        let steps = [add("c"), add("d"), step("a", Doing::Remove)];
        let done = carry_out(&small, &steps, &By::Source("file-1".into())).expect("what fits");
        assert_eq!(small.members.borrow().iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(done.left, ["d"]);
        assert!(matches!(done.why, Some(ChangeError::Full { what: "member" })));
    }

    proptest! {
        #[test]
        fn as_many_as_fit_are_taken_in_their_order(room in 0..20usize, count in 1..40usize) {
            let small = small(room, &[]);
            let names: Vec<String> = (0..count).map(|at| format!("m{at:02}")).collect();
            let steps: Vec<MemberStep> = names.iter().map(|name| add(name)).collect();
            let done = carry_out(&small, &steps, &By::Source("file-1".into())).expect("what fits");
            let taken = count.min(room);
            prop_assert_eq!(small.members.borrow().iter().cloned().collect::<Vec<_>>(), &names[..taken]);
            prop_assert_eq!(&done.left, &names[taken..]);
            prop_assert_eq!(done.why.is_some(), taken < count);
        }
    }
}
