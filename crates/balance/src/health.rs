// SPDX-License-Identifier: Apache-2.0
//! Active checks: consecutive results that bring a member up or down, packed into one word of the
//! shared table.

use crate::live::Advice;
use crate::settings::HealthCheck;
use crate::status::Status;

/// Bits 0..=15 consecutive successes, 16..=31 consecutive failures, 32: checked before, 33: down;
/// what an agent has ordered: 34: drain, 35: maintenance, 36..=51: percent of the weight, less 100
/// (so that 0 is the whole), 52..=63: most requests at the same time, 0 for as configured and all
/// ones for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthState(u64);

/// The change that a result brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The member is up now.
    Up,
    /// The member is down now.
    Down,
}

const CHECKED: u64 = 1 << 32;
const DOWN: u64 = 1 << 33;
const COUNT: u64 = 0xffff;
const AGENT_DRAIN: u64 = 1 << 34;
const AGENT_MAINT: u64 = 1 << 35;
const PERCENT: u64 = COUNT << PERCENT_AT;
const PERCENT_AT: u32 = 36;
const LIMIT_AT: u32 = 52;
const LIMIT: u64 = NO_LIMIT << LIMIT_AT;
const NO_LIMIT: u64 = 0xfff;

/// An order that an agent may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentOrder {
    /// `ready`: takes the others back.
    Ready,
    /// `drain`: no new sessions.
    Drain,
    /// `maint`: no requests at all.
    Maint,
}

impl HealthState {
    /// The part of the word that an agent's orders are in.
    pub const AGENT: u64 = AGENT_DRAIN | AGENT_MAINT | PERCENT | LIMIT;

    /// With an agent's limit of requests at the same time: 0, or more than 4094, for none. None: as
    /// it ordered last.
    #[must_use]
    pub fn limited(self, most: Option<u32>) -> Self {
        let Some(most) = most else { return self };
        let field = if most == 0 { NO_LIMIT } else { u64::from(most).min(NO_LIMIT) };
        HealthState(self.0 & !LIMIT | field << LIMIT_AT)
    }

    /// The agent's wish besides a state.
    pub fn advice(self) -> Advice {
        let max_inflight = match self.0 >> LIMIT_AT {
            0 => None,
            NO_LIMIT => Some(0),
            most => Some(most as u32),
        };
        Advice { percent: self.percent(), max_inflight }
    }

    /// With an agent's orders; what it says nothing of stays as it ordered last.
    #[must_use]
    pub fn ordered(self, order: Option<AgentOrder>, percent: Option<u16>) -> Self {
        let mut bits = self.0;
        if let Some(order) = order {
            bits &= !(AGENT_DRAIN | AGENT_MAINT);
            bits |= match order {
                AgentOrder::Ready => 0,
                AgentOrder::Drain => AGENT_DRAIN,
                AgentOrder::Maint => AGENT_MAINT,
            };
        }
        if let Some(percent) = percent {
            bits = bits & !PERCENT | u64::from(percent.wrapping_sub(100)) << PERCENT_AT;
        }
        HealthState(bits)
    }

    /// Counted from 0; it stays up or down.
    #[must_use]
    pub fn recounted(self) -> Self {
        HealthState(self.0 & !(COUNT | COUNT << 16))
    }

    /// Without what an agent has ordered.
    #[must_use]
    pub fn without_orders(self) -> Self {
        HealthState(self.0 & !Self::AGENT)
    }

    /// Percent of the configured weight, by the agent.
    pub fn percent(self) -> u16 {
        ((self.0 >> PERCENT_AT & COUNT) as u16).wrapping_add(100)
    }

    /// The bits of [`Status::CHECKS`] that belong to this state.
    pub fn flags(self) -> u64 {
        let flag = |on: bool, flag: u64| if on { flag } else { 0 };
        flag(self.is_down(), Status::CHECK_DOWN)
            | flag(self.0 & AGENT_MAINT != 0, Status::AGENT_MAINT)
            | flag(self.0 & AGENT_DRAIN != 0 || self.percent() == 0, Status::AGENT_DRAIN)
    }

    /// From the table's word; 0 is a member that was never checked.
    pub fn from_bits(bits: u64) -> Self {
        HealthState(bits)
    }

    /// For the table.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// A member of which earlier checks have said that it is up, or down.
    #[must_use]
    pub fn resumed(down: bool) -> Self {
        HealthState(CHECKED | if down { DOWN } else { 0 })
    }

    /// Whether a check has been made.
    pub fn is_checked(self) -> bool {
        self.0 & CHECKED != 0
    }

    /// Whether checks say that it is down. For a member that was never checked, `initial=` says it.
    pub fn is_down(self) -> bool {
        self.0 & DOWN != 0
    }

    /// How many checks have passed in a row, and how many have failed; one of them is 0.
    pub fn row(self) -> (u32, u32) {
        ((self.0 & COUNT) as u32, (self.0 >> 16 & COUNT) as u32)
    }

    /// Takes one result in. Only consecutive results count: the opposite one starts the count anew.
    /// Before the first check a member is what `initial=` says.
    #[must_use]
    pub fn observe(self, ok: bool, check: &HealthCheck) -> (Self, Option<Transition>) {
        let was_down = if self.is_checked() { self.0 & DOWN != 0 } else { !check.initial_up };
        let (passes, fails) = (self.0 & COUNT, self.0 >> 16 & COUNT);
        let (passes, fails) = if ok { ((passes + 1).min(COUNT), 0) } else { (0, (fails + 1).min(COUNT)) };
        let rises = was_down && passes >= u64::from(check.rise.max(1));
        let falls = !was_down && fails >= u64::from(check.fall.max(1));
        let down = (was_down || falls) && !rises;
        let transition = if rises { Some(Transition::Up) } else { falls.then_some(Transition::Down) };
        let orders = self.0 & Self::AGENT;
        (HealthState(passes | fails << 16 | CHECKED | orders | if down { DOWN } else { 0 }), transition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PoolSettings;

    fn check(line: &str) -> HealthCheck {
        let mut settings = PoolSettings::default();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        settings.set_directive("LuaBalancerHealthCheck", &words).unwrap();
        settings.health.unwrap()
    }

    fn run(results: &str, check: &HealthCheck) -> String {
        let mut state = HealthState::default();
        results
            .chars()
            .map(|result| {
                let (next, transition) = state.observe(result == '+', check);
                state = HealthState::from_bits(next.to_bits());
                match transition {
                    Some(Transition::Up) => 'U',
                    Some(Transition::Down) => 'D',
                    None => '.',
                }
            })
            .collect()
    }

    #[test]
    fn only_consecutive_results_count() {
        let check = check("tcp rise=2 fall=3");
        assert_eq!(run("-+-+-+-+", &check), "........");
        assert_eq!(run("+--+---+-++", &check), "......D...U");
    }

    #[test]
    fn an_agents_orders_hold_until_it_says_otherwise() {
        let state = HealthState::default();
        assert_eq!((state.percent(), state.flags()), (100, 0));
        let state = state.ordered(Some(AgentOrder::Drain), Some(50)).observe(true, &check("agent")).0;
        assert_eq!((state.percent(), state.flags()), (50, Status::AGENT_DRAIN));
        let state = state.ordered(None, Some(65_535));
        assert_eq!((state.percent(), state.flags()), (65_535, Status::AGENT_DRAIN));
        let state = state.ordered(Some(AgentOrder::Maint), None).observe(false, &check("agent fall=1")).0;
        assert_eq!(state.flags(), Status::AGENT_MAINT | Status::CHECK_DOWN);
        let state = state.ordered(Some(AgentOrder::Ready), Some(0));
        assert_eq!(state.flags(), Status::AGENT_DRAIN | Status::CHECK_DOWN, "0 % means no new sessions");
        let state = state.ordered(None, Some(100));
        assert_eq!(state, state.without_orders());
    }

    #[test]
    fn an_agents_limit_takes_the_place_of_the_configured_one() {
        let state = HealthState::default().observe(true, &check("agent")).0;
        assert_eq!(state.advice().max_inflight, None);
        for (said, holds) in [(1, 1), (30, 30), (4094, 4094), (4095, 0), (u32::MAX, 0), (0, 0)] {
            let state = state.limited(Some(said)).limited(None).observe(false, &check("agent")).0;
            assert_eq!(state.advice(), Advice { percent: 100, max_inflight: Some(holds) }, "maxconn:{said}");
            assert_eq!(state.ordered(None, Some(50)).advice().max_inflight, Some(holds));
            assert_eq!(state.without_orders().advice(), Advice::default());
        }
    }

    #[test]
    fn a_member_that_starts_as_down_needs_its_rise() {
        assert_eq!(run("+-++", &check("tcp rise=2 initial=down")), "...U");
        assert_eq!(run("+", &check("tcp rise=1 initial=down")), "U");
    }
}
