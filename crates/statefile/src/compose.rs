// SPDX-License-Identifier: Apache-2.0
//! A snapshot as a document.

use std::collections::{BTreeMap, HashMap, HashSet};

use balance::member::MemberSpec;
use balance::order::{AdminState, Order};
use balance::snapshot::{Flag, MemberState, PoolState};
use render::member::admin;

use crate::check::MAX_PERSON;
use crate::document::{
    KeptAgent, KeptEjection, KeptHealth, KeptLine, KeptMember, KeptOrder, KeptPool, Override, Overrides,
    StateDocument,
};
use crate::text::FORMAT;
use crate::values::{AdminWord, KeptTime, ThenWord, Weight};

/// When something is written, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct WriteTime {
    /// Epoch seconds.
    pub now_s: u64,
    /// Milliseconds of the table's clock.
    pub now_ms: u64,
}

/// The document of these pools, and of members that no configuration has any more. `by`: the
/// version that writes.
pub fn compose(pools: &[PoolState], when: WriteTime, by: &str, left: &[KeptPool]) -> StateDocument {
    let kept = pools.iter().map(|pool| KeptPool {
        name: pool.name.to_string(),
        members: pool.members.iter().filter_map(|member| kept(pool, member, when)).collect(),
    });
    let mut kept: Vec<KeptPool> = kept.filter(|pool| !pool.members.is_empty()).collect();
    let there = names(pools);
    for pool in left {
        // A member that has come under such a name meanwhile is the truth.
        let names = there.get(&pool.name.to_ascii_lowercase());
        let is_left = |member: &&KeptMember| names.is_none_or(|names| !names.contains(member.name.as_str()));
        let members: Vec<KeptMember> = pool.members.iter().filter(is_left).cloned().collect();
        match kept.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&pool.name)) {
            Some(known) => known.members.extend(members),
            None if members.is_empty() => {}
            None => kept.push(KeptPool { name: pool.name.clone(), members }),
        }
    }
    StateDocument { format: FORMAT, written: KeptTime(when.now_s), by: by.to_owned(), pools: kept }
}

/// The members of a document that these pools do not have, and no start could make again: to be
/// kept for `max_age_s` from when they were missed first.
pub fn left_over(document: &StateDocument, pools: &[PoolState], now_s: u64, max_age_s: u64) -> Vec<KeptPool> {
    // Nothing of a document holds that is too old.
    if document.written.0.saturating_add(max_age_s) < now_s {
        return Vec::new();
    }
    let known = names(pools);
    let of_pool = |pool: &KeptPool| {
        let names = known.get(&pool.name.to_ascii_lowercase());
        let is_left = |member: &&KeptMember| match names {
            Some(names) => member.added.is_none() && !names.contains(member.name.as_str()),
            None => true,
        };
        let members = pool.members.iter().filter(is_left).filter_map(|member| {
            let since = member.unknown_since.unwrap_or(KeptTime(now_s));
            let is_fresh = since.0.saturating_add(max_age_s) > now_s;
            is_fresh.then(|| KeptMember { unknown_since: Some(since), health: None, ..member.clone() })
        });
        KeptPool { name: pool.name.clone(), members: members.collect() }
    };
    document.pools.iter().map(of_pool).filter(|pool| !pool.members.is_empty()).collect()
}

/// The members' names of each pool, whose own is in lower case.
fn names(pools: &[PoolState]) -> HashMap<String, HashSet<&str>> {
    let of_pool = |pool: &PoolState| pool.name.to_ascii_lowercase();
    let members = |pool| -> HashSet<&str> { member_names(pool).collect() };
    pools.iter().map(|pool| (of_pool(pool), members(pool))).collect()
}

fn member_names(pool: &PoolState) -> impl Iterator<Item = &str> {
    pool.members.iter().map(|member| member.spec.name.as_str())
}

fn kept(pool: &PoolState, member: &MemberState, when: WriteTime) -> Option<KeptMember> {
    // Its source names it no more.
    if member.order.as_ref().is_some_and(|order| order.gone.is_some()) {
        return None;
    }
    let kept = KeptMember {
        name: member.spec.name.clone(),
        url: member.spec.url.to_string(),
        added: member.added.then(|| line(member)),
        overrides: overrides(member),
        order: member.order.as_ref().map(order),
        health: Some(health(pool, member, when)).filter(|health| !health.is_empty()),
        unknown_since: None,
    };
    let is_plain =
        kept.added.is_none() && kept.overrides.is_empty() && kept.order.is_none() && kept.health.is_none();
    (!is_plain).then_some(kept)
}

/// The member's line as it was added, whatever was ordered since.
fn line(member: &MemberState) -> KeptLine {
    let mut spec: MemberSpec = (*member.spec).clone();
    if let Some(replaced) = &member.replaced {
        (spec.max_inflight, spec.meta) = (replaced.max_inflight, replaced.meta.clone());
    }
    let secret = spec.connection.secret.take();
    let source = if spec.discovered.is_some() { "discovery" } else { "api" };
    KeptLine { line: spec.to_line(), secret, source: source.to_owned() }
}

fn overrides(member: &MemberState) -> Overrides {
    let order = member.order.as_ref();
    let (state, configured) = (admin(member), AdminState::of(member.spec.flags));
    let weights = &member.weights;
    let replaced = member.replaced.as_ref();
    let limit = order.and_then(|order| order.max_inflight).zip(replaced);
    let meta = order.and_then(|order| order.meta.as_ref()).zip(replaced);
    let pairs = |all: &[(String, String)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
    Overrides {
        admin: (state != configured).then(|| Override {
            value: AdminWord(state),
            configured: AdminWord(configured),
            by_script: order.and_then(|order| order.admin) != Some(state),
        }),
        weight: (weights.ordered != weights.configured).then(|| Override {
            value: Weight(weights.ordered),
            configured: Weight(weights.configured),
            by_script: order.and_then(|order| order.weight) != Some(weights.ordered),
        }),
        max_inflight: limit.map(|(value, replaced)| Override {
            value,
            configured: replaced.max_inflight,
            by_script: false,
        }),
        meta: meta.map(|(meta, replaced)| Override {
            value: pairs(meta),
            configured: pairs(&replaced.meta),
            by_script: false,
        }),
    }
}

fn order(order: &Order) -> KeptOrder {
    let person = |text: &Option<String>| text.as_deref().map(clipped);
    KeptOrder {
        at: (order.at > 0).then_some(KeptTime(order.at)),
        by: person(&order.by),
        from: person(&order.from),
        until: order.until.map(KeptTime),
        then: order.then.map(ThenWord),
        note: order.note.clone(),
    }
}

/// A user's name, of which a document holds so much.
fn clipped(text: &str) -> String {
    let mut end = text.len().min(MAX_PERSON);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace(char::is_control, "?")
}

fn health(pool: &PoolState, member: &MemberState, when: WriteTime) -> KeptHealth {
    let has = |flag: Flag| member.why.iter().any(|cause| cause.flag == flag);
    // A start supposes this without a word.
    let supposed_down = pool.settings.health.as_ref().is_some_and(|check| !check.initial_up);
    let down = member.check.map(|check| check.down).filter(|down| *down != supposed_down);
    let agent = KeptAgent {
        maint: has(Flag::AgentMaint),
        drain: has(Flag::AgentDrain) && member.weights.agent_percent != 0,
        percent: (member.weights.agent_percent != 100).then_some(member.weights.agent_percent),
    };
    let ejected = member.outlier.until_ms.filter(|until_ms| *until_ms > when.now_ms);
    KeptHealth {
        down,
        agent: (agent != KeptAgent::default()).then_some(agent),
        ejected: ejected.map(|until_ms| KeptEjection {
            until: KeptTime(when.now_s + (until_ms - when.now_ms).div_ceil(1000)),
            times: member.outlier.ejections,
        }),
    }
}
