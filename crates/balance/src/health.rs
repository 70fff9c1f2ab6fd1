//! Active checks: consecutive results that bring a member up or down, packed into one word of the shared table.

use crate::settings::HealthCheck;

/// Bits 0..=15 consecutive successes, 16..=31 consecutive failures, 32: checked before, 33: down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthState(u64);

/// What a result changed.
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

impl HealthState {
    /// From the table's word; 0 is a member that was never checked.
    pub fn from_bits(bits: u64) -> Self {
        HealthState(bits)
    }

    /// For the table.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Whether a check has been made.
    pub fn is_checked(self) -> bool {
        self.0 & CHECKED != 0
    }

    /// Whether checks say that it is down. For a member that was never checked, `initial=` says it.
    pub fn is_down(self) -> bool {
        self.0 & DOWN != 0
    }

    /// Takes one result in. Only consecutive results count: the opposite one starts the count anew. Before the first check a
    /// member is what `initial=` says.
    #[must_use]
    pub fn observe(self, ok: bool, check: &HealthCheck) -> (Self, Option<Transition>) {
        let was_down = if self.is_checked() { self.0 & DOWN != 0 } else { !check.initial_up };
        let (passes, fails) = (self.0 & COUNT, self.0 >> 16 & COUNT);
        let (passes, fails) = if ok { ((passes + 1).min(COUNT), 0) } else { (0, (fails + 1).min(COUNT)) };
        let rises = was_down && passes >= u64::from(check.rise.max(1));
        let falls = !was_down && fails >= u64::from(check.fall.max(1));
        let down = (was_down || falls) && !rises;
        let transition = if rises { Some(Transition::Up) } else { falls.then_some(Transition::Down) };
        (HealthState(passes | fails << 16 | CHECKED | if down { DOWN } else { 0 }), transition)
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
    fn a_member_that_starts_as_down_needs_its_rise() {
        assert_eq!(run("+-++", &check("tcp rise=2 initial=down")), "...U");
        assert_eq!(run("+", &check("tcp rise=1 initial=down")), "U");
    }
}
