// SPDX-License-Identifier: Apache-2.0
//! Changes of the control plane: steps become deeds, and these are done as one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::api::{ChangeError, PoolId};
use crate::event::{By, Event};
use crate::member::Member;
use crate::status::Status;
use crate::steps::{Deed, MemberStep};
use crate::store::Store;

/// Changes that are one, however much they change.
pub trait Steering {
    /// See [`crate::store::Store::with_pen`].
    fn with_pen(&self, body: &mut dyn FnMut()) -> bool;
    /// Carries all steps out, or none of them; with the pen. Returns what the log is to be told.
    fn carry_out(&self, steps: &[MemberStep], by: &By) -> Result<Vec<Event>, ChangeError>;
    /// Tells the log. It may take a while: not to be done with the pen.
    fn tell_all(&self, events: &[Event]);
}

/// The deeds that steps come to, in the order in which members are named first. Nothing is done
/// yet.
///
/// # Errors
/// A step finds no pool, no member, or one of its name.
pub fn deeds(store: &impl Store, steps: &[MemberStep]) -> Result<Vec<Deed>, ChangeError> {
    let mut pools: HashMap<&str, Known> = HashMap::new();
    let mut deeds: Vec<Deed> = Vec::new();
    for step in steps {
        if !pools.contains_key(&*step.pool) {
            let of_pool = steps.iter().filter(|other| other.pool == step.pool);
            let named: HashSet<&str> = of_pool.map(|step| &*step.member).collect();
            pools.insert(&step.pool, Known::of(store, &step.pool, &named)?);
        }
        let Some(known) = pools.get_mut(&*step.pool) else { continue };
        let at = *known.deeds.entry(step.member.clone()).or_insert_with(|| {
            deeds.push(Deed {
                pool: known.id,
                pool_name: known.name.clone(),
                name: step.member.clone(),
                there: known.members.get(&step.member).cloned(),
                goes: false,
                comes: None,
                recount: false,
                flags: None,
                weight: None,
                order: None,
                line: None,
            });
            deeds.len() - 1
        });
        if let Some(deed) = deeds.get_mut(at) {
            deed.take(step)?;
        }
    }
    deeds.retain(|deed| deed.goes || deed.comes.is_some() || deed.stays().is_some());
    Ok(deeds)
}

/// The events of deeds that are done, and have changed the status words so.
pub fn events(deeds: &[Deed], words: &[(Status, Status)], at: u64, by: &By) -> Vec<Event> {
    deeds.iter().zip(words).flat_map(|(deed, words)| deed.events(*words, at, by)).collect()
}

/// A pool and the members that steps name, read once.
struct Known {
    id: PoolId,
    name: Arc<str>,
    members: HashMap<String, Arc<Member>>,
    /// Places of those that have a deed.
    deeds: HashMap<String, usize>,
}

impl Known {
    fn of(store: &impl Store, name: &str, named: &HashSet<&str>) -> Result<Self, ChangeError> {
        let id = store.find_pool(name).ok_or(ChangeError::UnknownPool)?;
        let (name, members) = store.named(id, named).ok_or(ChangeError::UnknownPool)?;
        let members = members.into_iter().map(|member| (member.spec.name.clone(), member)).collect();
        Ok(Known { id, name, members, deeds: HashMap::new() })
    }
}
