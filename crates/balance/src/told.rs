// SPDX-License-Identifier: Apache-2.0
//! The changes that a definition has made to a pool's members, as events.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{By, MemberEvent, What, Why, differences};
use crate::member::Member;
use crate::status::Status;
use crate::store::Store;

/// A pool's members before a definition is applied.
pub struct Before(Option<HashMap<String, (String, Status)>>);

fn members(store: &impl Store, pool: &str) -> Option<Arc<[Arc<Member>]>> {
    let found = store.find_pool(pool)?;
    store.read_pool(found).map(|image| image.membership.members)
}

impl Before {
    /// As the pool is now; there may be none.
    pub fn of(store: &impl Store, pool: &str) -> Self {
        let seen = |member: &Arc<Member>| {
            let spec = &member.spec;
            (spec.name.clone(), (spec.url.to_string(), store.status(member.slot)))
        };
        Before(members(store, pool).map(|all| all.iter().map(seen).collect()))
    }

    /// Events of the members that the definition has added, removed or changed; of a new pool only
    /// of those that do not serve. `by`: whose definition it is.
    pub fn tell(self, store: &impl Store, pool: &str, by: By) -> Vec<MemberEvent> {
        let is_new = self.0.is_none();
        let mut gone = self.0.unwrap_or_default();
        let (at, pool_name): (u64, Arc<str>) = (store.now_s(), pool.into());
        let event = |member: &str, what: What| MemberEvent {
            pool: pool_name.clone(),
            member: member.to_owned(),
            at,
            what,
            why: Why::Order,
            by: by.clone(),
        };
        let mut events = Vec::new();
        for member in members(store, pool).unwrap_or_default().iter() {
            let (spec, now) = (&member.spec, store.status(member.slot));
            let url = spec.url.to_string();
            let changes = match gone.remove(&spec.name) {
                Some((old, before)) => {
                    let moved = (old != url).then_some(What::Url { old, new: url });
                    differences(before, now).into_iter().chain(moved).collect()
                }
                None if is_new => differences(now.without(Status::ADMIN), now),
                None => vec![What::Added { url, weight: spec.weight }],
            };
            events.extend(changes.into_iter().map(|what| event(&spec.name, what)));
        }
        let mut gone: Vec<String> = gone.into_keys().collect();
        gone.sort();
        events.extend(gone.iter().map(|name| event(name, What::Removed)));
        events
    }
}
