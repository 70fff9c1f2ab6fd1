// SPDX-License-Identifier: Apache-2.0
//! The members that may be picked at a moment, and those that are left out for what reason.

use std::fmt;
use std::sync::Arc;

use crate::status::{State, Status};

/// The candidates of a pick, and the members that are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The pool's name. None: there is no such pool any more.
    pub pool: Option<Arc<str>>,
    /// All members of the pool or view, in configured order.
    pub members: Vec<Considered>,
}

/// A member, as a pick sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Considered {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Its weight in this pick, in hundredths.
    pub weight: u32,
    /// Requests there now.
    pub inflight: u32,
    /// Why it is not a candidate. None: it is one.
    pub left_out: Option<LeftOut>,
}

/// Why a member is not a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// Its state says so.
    State,
    /// It takes no new sessions: its weight is 0.
    NoWeight,
    /// Others go first: of a lower lbset, of the pool's zone, or those that it would stand in for.
    OthersFirst,
}

impl LeftOut {
    /// The reason of a member with this status that is not a candidate.
    pub(crate) fn of(status: Status) -> Self {
        if status.usable() {
            LeftOut::OthersFirst
        } else if status.state() == State::Up {
            LeftOut::NoWeight
        } else {
            LeftOut::State
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pool) = &self.pool else { return f.write_str("unknown pool") };
        write!(f, "pool {pool}: ")?;
        for (at, member) in self.members.iter().enumerate() {
            write!(f, "{}{member}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Considered { name, state, weight, inflight, left_out } = self;
        write!(f, "{name} {state} weight {} inflight {inflight}", f64::from(*weight) / 100.0)?;
        f.write_str(if left_out.is_some() { " (not a candidate)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use crate::api::{Balancer, View, ViewStep};
    use crate::engine::{Engine, Handle};
    use crate::explanation::LeftOut;
    use crate::member::MemberSpec;
    use crate::memory::MemoryStore;
    use crate::settings::PoolSettings;
    use crate::status::Status;
    use crate::store::Store;

    #[test]
    fn everybody_is_named_with_what_counts() {
        let lines = [
            "http://a name=a weight=2.5",
            "http://b name=b status=+D",
            "http://c name=c weight=0",
            "http://d name=d lbset=1",
            "http://e name=e",
        ];
        let engine = Engine::new(MemoryStore::new(), Box::new(|_| ()));
        let handle = Handle::new(engine.clone(), 1);
        let specs = lines.iter().map(|line| MemberSpec::from_line(line).unwrap()).collect();
        let pool = handle.define("app", PoolSettings::default(), specs, 1).unwrap();
        let members = handle.membership(pool).unwrap().members.clone();
        let (a, e) = (&members[0], &members[4]);
        engine.store().set_inflight(a.slot, 3);
        engine.store().update(e.slot, e.incarnation, &mut |status| status.with(Status::CHECK_DOWN)).unwrap();
        let explanation = handle.explain(pool, None);
        assert_eq!(
            explanation.to_string(),
            "pool app: a up weight 2.5 inflight 3, b disabled weight 1 inflight 0 (not a candidate), \
             c up weight 0.01 inflight 0 (not a candidate), d up weight 1 inflight 0 (not a candidate), \
             e down weight 1 inflight 0 (not a candidate)"
        );
        let left_out: Vec<_> = explanation.members.iter().map(|member| member.left_out).collect();
        let why = [LeftOut::State, LeftOut::NoWeight, LeftOut::OthersFirst, LeftOut::State].map(Some);
        assert_eq!(left_out, [&[None], &why[..]].concat());
        let view = View { steps: vec![ViewStep::Only(vec!["d".into()])] };
        assert_eq!(handle.explain(pool, Some(&view)).to_string(), "pool app: d up weight 1 inflight 0");
        assert_eq!(handle.explain(crate::api::PoolId(9), None).to_string(), "unknown pool");
    }
}
