//! What of a pool's members has changed, as lines for the log.

use std::collections::HashMap;
use std::sync::Arc;

use crate::engine::weight_text;
use crate::line::status_letters;
use crate::member::Member;
use crate::status::Status;
use crate::store::Store;

/// A pool's members before a definition is applied.
pub struct Before(Option<HashMap<String, (String, Status)>>);

fn members(store: &impl Store, pool: &str) -> Option<Vec<Arc<Member>>> {
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

    /// One line for each member that the definition has added, removed or changed; of a new pool only for those that do not serve.
    /// `by`: whose definition it is.
    pub fn tell(self, store: &impl Store, pool: &str, by: &str) -> Vec<String> {
        let is_new = self.0.is_none();
        let mut gone = self.0.unwrap_or_default();
        let mut lines = Vec::new();
        for member in members(store, pool).unwrap_or_default() {
            let (spec, now) = (&member.spec, store.status(member.slot));
            let changes = match gone.remove(&spec.name) {
                Some((url, before)) => differences(before, now)
                    .into_iter()
                    .chain((url != spec.url.to_string()).then(|| format!("{url} -> {}", spec.url)))
                    .collect(),
                None if is_new => differences(now.without(Status::ADMIN), now),
                None => vec![format!("{} added, weight {}", spec.url, weight_text(spec.weight))],
            };
            lines.extend(
                changes.iter().map(|change| format!("pool {pool}: member {}: {change} ({by})", spec.name)),
            );
        }
        let mut gone: Vec<String> = gone.into_keys().collect();
        gone.sort();
        lines.extend(gone.iter().map(|name| format!("pool {pool}: member {name}: removed ({by})")));
        lines
    }
}

/// Of weight, state and what an administrator may order.
pub(crate) fn differences(before: Status, now: Status) -> Vec<String> {
    let mut found = Vec::new();
    if before.weight() != now.weight() {
        found.push(format!("weight {} -> {}", weight_text(before.weight()), weight_text(now.weight())));
    }
    let orders = |status: Status| match status_letters(status.0 & Status::ADMIN) {
        letters if letters.is_empty() => "none".to_owned(),
        letters => letters,
    };
    if before.state() != now.state() {
        found.push(format!("{} -> {}", before.state(), now.state()));
    } else if orders(before) != orders(now) {
        found.push(format!("status {} -> {}", orders(before), orders(now)));
    }
    found
}
