// SPDX-License-Identifier: Apache-2.0
//! Whether a member is down where several servers decide it together (`health=quorum`): the rule,
//! and a store that goes by it. Ejections stay each server's own.

use crate::api::Membership;
use crate::ejection::is_announced;
use crate::event::{By, MemberEvent, What, Why};
use crate::health::HealthState;
use crate::lifecycle::Subject;
use crate::member::Member;
use crate::settings::HealthCheck;
use crate::slow_start;
use crate::status::Status;
use crate::store::Vitals;

/// How a server sees a member by its own checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnFinding {
    /// They say that it is up.
    Up,
    /// They say that it is down.
    Down,
    /// None was made yet.
    Unknown,
}

/// The servers that say that a member is down, this one among them, and how many are alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Of those that are alive.
    pub down: usize,
    /// At least 1.
    pub alive: usize,
}

impl OwnFinding {
    /// By the word of the member's checks.
    pub fn of(state: HealthState) -> Self {
        match (state.is_checked(), state.is_down()) {
            (false, _) => OwnFinding::Unknown,
            (true, false) => OwnFinding::Up,
            (true, true) => OwnFinding::Down,
        }
    }

    /// The word of it. None: there is nothing to say.
    pub fn word(self) -> Option<&'static str> {
        match self {
            OwnFinding::Up => Some("up"),
            OwnFinding::Down => Some("down"),
            OwnFinding::Unknown => None,
        }
    }
}

/// Whether a member is down: more than half of the servers say so, and this one does not see it up.
/// `initial_up`: what it is as long as nobody says anything.
pub fn is_down(own: OwnFinding, votes: Votes, initial_up: bool) -> bool {
    let is_most = votes.down * 2 > votes.alive;
    match own {
        OwnFinding::Up => false,
        OwnFinding::Down => is_most,
        OwnFinding::Unknown => is_most || votes.down == 0 && !initial_up,
    }
}

/// Brings the members of a pool in step with what the servers say. The last one that serves is not
/// taken. `votes` says those about a member, whom this server sees in this way.
pub fn follow(
    store: &impl Vitals,
    pool: &Membership,
    check: &HealthCheck,
    votes: &dyn Fn(&Member, OwnFinding) -> Votes,
) -> Vec<MemberEvent> {
    let mut events = Vec::new();
    for member in pool.members.iter() {
        let sight = OwnFinding::of(HealthState::from_bits(store.health(member.slot)));
        let votes = votes(member, sight);
        let wants = is_down(sight, votes, check.initial_up);
        if wants == store.status(member.slot).has(Status::CHECK_DOWN) {
            continue;
        }
        let serves_besides = || {
            pool.members.iter().any(|other| {
                other.slot != member.slot
                    && store.status(other.slot).usable()
                    && !is_announced(store, other.slot)
            })
        };
        if wants && !serves_besides() {
            continue;
        }
        let Some((before, after)) = change(store, member, wants) else { continue };
        if wants && !serves_besides() {
            // The others have gone meanwhile.
            change(store, member, false);
            continue;
        }
        let Votes { down, alive } = votes;
        let of = Subject { pool: &pool.name, member };
        let what = What::State { old: before.state(), new: after.state() };
        events.push(of.event(store.now_s(), what, Why::Fronts { down, alive }, By::Checks));
    }
    events
}

fn change(store: &impl Vitals, member: &Member, down: bool) -> Option<(Status, Status)> {
    let slow_start_ms = store.slow_start_ms(member);
    let changed = store.update(member.slot, member.incarnation, &mut |status| {
        let now = status.without(Status::CHECK_DOWN).with(if down { Status::CHECK_DOWN } else { 0 });
        let back = !status.serves_sessions() && now.serves_sessions();
        if back { slow_start::begin(now, slow_start_ms) } else { now }
    });
    changed.ok().filter(|(before, after)| before != after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::live::Live;
    use crate::member::MemberSpec;
    use crate::memory::MemoryStore;
    use crate::settings::PoolSettings;
    use crate::store::Store;

    fn sight() -> impl Strategy<Value = OwnFinding> {
        prop_oneof![Just(OwnFinding::Up), Just(OwnFinding::Down), Just(OwnFinding::Unknown)]
    }

    #[test]
    fn one_server_alone_decides_for_itself() {
        for (own, down) in [(OwnFinding::Up, 0), (OwnFinding::Down, 1)] {
            assert_eq!(is_down(own, Votes { down, alive: 1 }, true), own == OwnFinding::Down);
        }
        assert!(is_down(OwnFinding::Unknown, Votes { down: 0, alive: 3 }, false), "initial=down");
        assert!(!is_down(OwnFinding::Down, Votes { down: 1, alive: 2 }, true), "half of them are not most");
    }

    proptest! {
        #[test]
        fn a_member_that_is_seen_up_or_that_few_call_down_is_not_down(
            sights in proptest::collection::vec(sight(), 1..9), at in 0..9usize,
        ) {
            let own = sights[at % sights.len()];
            let down = sights.iter().filter(|sight| **sight == OwnFinding::Down).count();
            let is = is_down(own, Votes { down, alive: sights.len() }, true);
            prop_assert_eq!(is, own != OwnFinding::Up && down * 2 > sights.len());
        }

        #[test]
        fn the_last_member_that_serves_is_never_taken(
            votes in proptest::collection::vec((0..4usize, any::<bool>(), any::<bool>()), 1..6),
        ) {
            let store = MemoryStore::new();
            let lines: Vec<MemberSpec> = (0..votes.len())
                .map(|at| MemberSpec::parse(&format!("http://10.0.0.{at}:80"), &[] as &[&str]).expect("a member"))
                .collect();
            let settings = PoolSettings::from_text("LuaBalancerHealthCheck tcp\n").expect("settings");
            let pool = store.define("app", &settings, &lines, 1).expect("a pool");
            let image = store.read_pool(pool).expect("the pool");
            let members = &image.membership.members;
            for (member, (_, sees_down, is_disabled)) in members.iter().zip(&votes) {
                store.update_health(member.slot, member.incarnation, |_| HealthState::resumed(*sees_down).to_bits());
                if *is_disabled {
                    store
                        .update(member.slot, member.incarnation, &mut |status| status.with(Status::DISABLED))
                        .expect("there");
                }
            }
            let serving = || members.iter().filter(|member| store.status(member.slot).usable()).count();
            let before = serving();
            let check = settings.health.as_ref().expect("a check");
            let of = |member: &Member, sight: OwnFinding| {
                let at = members.iter().position(|known| known.slot == member.slot).expect("one of them");
                Votes { down: votes[at].0.max(usize::from(sight == OwnFinding::Down)), alive: 3 }
            };
            follow(&store, &image.membership, check, &of);
            prop_assert!(before == 0 || serving() > 0);
            // Told again they change nothing.
            prop_assert_eq!(follow(&store, &image.membership, check, &of), Vec::new());
        }
    }
}
