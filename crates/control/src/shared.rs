// SPDX-License-Identifier: Apache-2.0
//! Orders that several servers share go to their store first. With `?local=1` they are given here
//! alone, and marked, so that they are put there later.

use balance::order::{AdminState, Order, Then};
use balance::sharing::{Defined, OrderDraft, PutFailure, shares_the_same};
use balance::steps::{Doing, MemberStep};

use crate::asked::{Asked, epoch_s, person};
use crate::draft::Draft;
use crate::problem::Problem;
use crate::types::OrderStore;

/// A change that waits for the store.
pub(crate) struct SharedSteps {
    /// The orders that go there.
    pub orders: Vec<OrderDraft>,
    /// All steps.
    pub steps: Vec<MemberStep>,
    /// For the log.
    pub note: Option<String>,
}

/// The orders of a draft that have to be in the store first. None: there are none, or they hold
/// here alone for now, and are marked.
pub(crate) fn orders(asked: &Asked<'_>, draft: &mut Draft) -> Result<Option<Vec<OrderDraft>>, Problem> {
    let is_local = asked.query.switch("local")?;
    let Some(store) = asked.house.order_store() else { return Ok(None) };
    let orders = changed(store, draft);
    let known = store.revision();
    let by = person(asked.request, None);
    for order in orders.iter().filter(|_| is_local) {
        let at = epoch_s(asked.house);
        let none = Order { by: by.name.clone(), from: by.from.clone(), at, ..Order::default() };
        let after = Order { local: Some(known), ..order.after.clone().unwrap_or(none) };
        draft.reorder(&order.pool, &order.member, Some(after));
    }
    Ok((!is_local && !orders.is_empty()).then_some(orders))
}

/// Puts orders in the store. Returns the revision that they have there.
pub(crate) fn put(asked: &Asked<'_>, shared: &SharedSteps) -> Result<u64, Problem> {
    let away = |why: String| {
        let detail = format!("orders are shared, and their store is away: {why}; ?local=1 orders here alone");
        Problem::new(503, detail).with("Retry-After", "2")
    };
    let store = asked.house.order_store().ok_or_else(|| away("it is gone".into()))?;
    store.there().map_err(away)?;
    store.put(&shared.orders, &|| asked.house.is_ending()).map_err(|failure| match failure {
        PutFailure::Newer(member) => {
            Problem::new(412, format!("another server has just changed the order of {member}: look again"))
        }
        PutFailure::Refused(why) => Problem::new(409, format!("the store has not taken the order: {why}")),
        PutFailure::Away(why) => away(why),
        PutFailure::Unknown(why) => away(format!("{why}; should it have taken the order, it is taken back")),
    })
}

/// The steps of a change whose orders are in the store at this revision; with the pen. Where
/// something newer holds here already, that stays.
pub(crate) fn steps_after(
    asked: &Asked<'_>,
    draft: &mut Draft,
    shared: &SharedSteps,
    revision: u64,
) -> Vec<MemberStep> {
    let is_over = asked.house.order_store().is_some_and(|store| !store.holds(revision));
    let is_shared = |step: &MemberStep| {
        shared.orders.iter().any(|order| order.pool == step.pool && order.member == step.member)
    };
    let mut steps = Vec::with_capacity(shared.steps.len());
    for step in &shared.steps {
        let mut step = step.clone();
        if is_shared(&step) {
            match &mut step.what {
                Doing::Switch(_) | Doing::Weigh(_) if is_over => continue,
                Doing::Order(order) => {
                    let here = draft.member(&step.pool, &step.member).ok();
                    let here = here.and_then(|(_, state)| state.order.clone()).filter(|_| is_over);
                    *order = settled(order.take(), is_over, here);
                }
                _ => {}
            }
        }
        steps.push(step);
    }
    steps
}

/// An order that the store has: it is not marked any more. With `is_over` its shared part is the
/// one of the order that holds here.
fn settled(order: Option<Order>, is_over: bool, here: Option<Order>) -> Option<Order> {
    let own = order.unwrap_or_default();
    let order = match is_over {
        false => Order { local: None, ..own },
        true => Order { max_inflight: own.max_inflight, meta: own.meta, ..here.unwrap_or_default() },
    };
    (!order.is_empty()).then_some(order)
}

/// The orders that others are to have as well.
fn changed(store: &dyn OrderStore, draft: &mut Draft) -> Vec<OrderDraft> {
    let is_shared = |before: Option<&Order>, after: Option<&Order>| {
        let is_removal = after.is_some_and(|after| after.then == Some(Then::Removed));
        !is_removal && !shares_the_same(before, after)
    };
    let all = draft.all_orders().filter(|(_, _, before, after)| is_shared(*before, *after));
    let own = |order: Option<&Order>| order.cloned();
    let all: Vec<_> = all
        .map(|(pool, member, before, after)| (pool.to_owned(), member.to_owned(), own(before), own(after)))
        .collect();
    let mut orders: Vec<OrderDraft> = Vec::new();
    for (pool, member, before, after) in all {
        // One that goes has no order any more.
        let Ok((of, state)) = draft.member(&pool, &member) else { continue };
        if !store.shares(&of.settings) {
            continue;
        }
        let admin = AdminState::of(state.spec.flags & AdminState::FLAGS);
        let defined = Defined { admin, weight: state.weights.configured };
        orders.push(OrderDraft { pool, member, defined, before, after });
    }
    orders.sort_by(|one, other| (&one.pool, &one.member).cmp(&(&other.pool, &other.member)));
    orders
}
