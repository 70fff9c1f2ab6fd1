// SPDX-License-Identifier: Apache-2.0
//! Conditions of waits and rollouts: `inflight=0`, `usable>=2,errors<1%`.

use std::fmt;

use super::model::{SeenMember, SeenPool};
use crate::out::Failure;

/// Several, all of which have to hold.
#[derive(Debug, Clone)]
pub struct Conditions(Vec<Condition>);

#[derive(Debug, Clone)]
struct Condition {
    key: Key,
    compare: Compare,
    wanted: Wanted,
    written: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Less,
    AtMost,
    Equal,
    Other,
    AtLeast,
    More,
}

#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Number(f64),
    Word(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    State,
    Admin,
    Usable,
    Total,
    Inflight,
    Queued,
    Weight,
    Errors,
    P50,
    P95,
    P99,
}

const KEYS: [(&str, Key); 11] = [
    ("state", Key::State),
    ("admin", Key::Admin),
    ("usable", Key::Usable),
    ("total", Key::Total),
    ("inflight", Key::Inflight),
    ("queued", Key::Queued),
    ("weight", Key::Weight),
    ("errors", Key::Errors),
    ("p50", Key::P50),
    ("p95", Key::P95),
    ("p99", Key::P99),
];

/// The things that a condition looks at.
#[derive(Clone, Copy)]
pub enum Waited<'s> {
    /// A pool; `before` is how it was when the looking began, which errors are counted from.
    Pool {
        /// As it is now.
        now: &'s SeenPool,
        /// As it was.
        before: Option<&'s SeenPool>,
    },
    /// A member.
    Member(&'s SeenMember),
}

impl Conditions {
    /// Reads conditions with commas between.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let all: Result<Vec<Condition>, Failure> =
            text.split(',').map(|one| Condition::parse(one.trim())).collect();
        Ok(Conditions(all?))
    }

    /// Whether single members have all of it.
    pub fn vet(&self, of_members: bool) -> Result<(), Failure> {
        let of_pools = [Key::Total, Key::Queued];
        match self.0.iter().find(|one| of_members && of_pools.contains(&one.key)) {
            Some(one) => {
                Err(Failure::usage(format!("'{}': members have none; expected POOL alone", one.written)))
            }
            None => Ok(()),
        }
    }

    /// The first that does not hold, and what is there instead.
    pub fn missing(&self, subject: Waited<'_>) -> Option<String> {
        self.0.iter().find_map(|one| one.missing(subject))
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = self.0.iter().map(|one| one.written.as_str()).collect();
        f.write_str(&all.join(","))
    }
}

impl Condition {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::usage(format!(
                "'{text}': expected a condition such as inflight=0, state=up, 'usable>=2', 'errors<1%' or \
                 'p99<0.5'"
            ))
        };
        let start = text.find(['<', '>', '=', '!']).ok_or_else(wrong)?;
        let (key, rest) = text.split_at(start);
        let signs = [
            ("<=", Compare::AtMost),
            (">=", Compare::AtLeast),
            ("==", Compare::Equal),
            ("!=", Compare::Other),
            ("=", Compare::Equal),
            ("<", Compare::Less),
            (">", Compare::More),
        ];
        let (compare, value) = signs
            .iter()
            .find_map(|(sign, compare)| Some((*compare, rest.strip_prefix(sign)?.trim())))
            .ok_or_else(wrong)?;
        let key = KEYS.iter().find(|(name, _)| *name == key.trim()).ok_or_else(wrong)?.1;
        let is_word = matches!(key, Key::State | Key::Admin);
        let wanted = if is_word {
            Wanted::Word(value.to_owned())
        } else {
            Wanted::Number(number(value).ok_or_else(wrong)?)
        };
        let has_order = !matches!(compare, Compare::Equal | Compare::Other);
        if value.is_empty() || (is_word && has_order) {
            return Err(wrong());
        }
        Ok(Condition { key, compare, wanted, written: text.to_owned() })
    }

    fn missing(&self, subject: Waited<'_>) -> Option<String> {
        match (subject, self.key) {
            // A word of a pool is one of all its members.
            (Waited::Pool { now, .. }, Key::State | Key::Admin) => {
                now.members.iter().find_map(|member| self.missing(Waited::Member(member)))
            }
            (Waited::Member(member), Key::State) => self.word(&member.full(), &member.state),
            (Waited::Member(member), Key::Admin) => self.word(&member.full(), &member.admin),
            (Waited::Member(member), key) => self.number(&member.full(), of_member(member, key)),
            (Waited::Pool { now, before }, key) => self.number(&now.name, of_pool(now, before, key)),
        }
    }

    fn word(&self, of: &str, found: &str) -> Option<String> {
        let equal = matches!(&self.wanted, Wanted::Word(wanted) if wanted == found);
        let holds = equal == (self.compare == Compare::Equal);
        (!holds).then(|| format!("{of} is {found}, expected {}", self.written))
    }

    /// A number that is not known holds: there is nothing against it.
    fn number(&self, of: &str, found: Option<f64>) -> Option<String> {
        let (Some(found), Wanted::Number(wanted)) = (found, &self.wanted) else { return None };
        let holds = match self.compare {
            Compare::Less => found < *wanted,
            Compare::AtMost => found <= *wanted,
            Compare::Equal => found == *wanted,
            Compare::Other => found != *wanted,
            Compare::AtLeast => found >= *wanted,
            Compare::More => found > *wanted,
        };
        let name = KEYS.iter().find(|(_, key)| *key == self.key).map_or("", |(name, _)| name);
        let found = (found * 10_000.0).round() / 10_000.0;
        (!holds).then(|| format!("{of} has {name} {found}, expected {}", self.written))
    }
}

fn of_member(member: &SeenMember, key: Key) -> Option<f64> {
    let part = |failed: u64, asked: u64| if asked == 0 { 0.0 } else { failed as f64 / asked as f64 };
    match key {
        Key::Usable => Some(f64::from(u8::from(member.usable))),
        Key::Inflight => Some(member.inflight as f64),
        Key::Weight => Some(member.weight),
        Key::Errors => Some(part(member.failed(), member.asked())),
        Key::P50 => member.latency.p50,
        Key::P95 => member.latency.p95,
        Key::P99 => member.latency.p99,
        _ => None,
    }
}

fn of_pool(now: &SeenPool, before: Option<&SeenPool>, key: Key) -> Option<f64> {
    let (failed, asked) = before.map_or((0, 0), |before| (before.failed(), before.asked()));
    let (failed, asked) = (now.failed().saturating_sub(failed), now.asked().saturating_sub(asked));
    match key {
        Key::Usable => Some(now.usable as f64),
        Key::Total => Some(now.total as f64),
        Key::Inflight => Some(now.inflight as f64),
        Key::Queued => Some(now.queued as f64),
        Key::Weight => Some(now.members.iter().map(|member| member.weight).sum()),
        Key::Errors => Some(if asked == 0 { 0.0 } else { failed as f64 / asked as f64 }),
        Key::P50 => now.latency.p50,
        Key::P95 => now.latency.p95,
        Key::P99 => now.latency.p99,
        Key::State | Key::Admin => None,
    }
}

/// Plain, in percent, or a time in ms.
fn number(text: &str) -> Option<f64> {
    let (text, factor) = if let Some(text) = text.strip_suffix('%') {
        (text, 0.01)
    } else if let Some(text) = text.strip_suffix("ms") {
        (text, 0.001)
    } else {
        (text.strip_suffix('s').unwrap_or(text), 1.0)
    };
    let plain = !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_digit() || letter == b'.');
    plain.then(|| text.parse::<f64>().ok().map(|number| number * factor)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Waited};
    use crate::live::model::{SeenMember, SeenPool};

    #[test]
    fn conditions_hold_or_say_what_is_there_instead() {
        let member = SeenMember {
            pool: "app".into(),
            name: "a".into(),
            state: "draining".into(),
            inflight: 2,
            ..SeenMember::default()
        };
        let mut pool =
            SeenPool { name: "app".into(), usable: 2, members: vec![member.clone()], ..SeenPool::default() };
        pool.requests.insert("ok".into(), 98);
        pool.requests.insert("connect".into(), 2);
        let of_member = |text: &str| {
            Conditions::parse(text).map(|all| all.missing(Waited::Member(&member))).ok().flatten()
        };
        let of_pool = |text: &str| {
            let subject = Waited::Pool { now: &pool, before: None };
            Conditions::parse(text).map(|all| all.missing(subject)).ok().flatten()
        };
        assert_eq!(of_member("inflight<=2,state!=up"), None);
        assert_eq!(of_member("inflight=0").as_deref(), Some("app/a has inflight 2, expected inflight=0"));
        assert_eq!(of_member("state=up").as_deref(), Some("app/a is draining, expected state=up"));
        assert_eq!(of_pool("usable>=2,errors<=2%,p99<500ms,state=draining"), None);
        assert_eq!(of_pool("errors<1%").as_deref(), Some("app has errors 0.02, expected errors<1%"));
        for wrong in
            ["", "inflight", "x=1", "inflight=many", "state>up", "usable>=", "usable=>2", "errors<-1%"]
        {
            assert!(Conditions::parse(wrong).is_err(), "{wrong}");
        }
    }
}
