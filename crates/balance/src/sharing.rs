// SPDX-License-Identifier: Apache-2.0
//! Orders that several servers share by a store: the part of a member's order that is shared, and
//! the rule for an order here and another one in the store. Nothing is ever removed from the store:
//! an order that was taken back stands there without a word. So nobody has ever ordered anything of
//! a member that the store does not know.

use crate::order::{AdminState, Order, StoreRevision, Then};

/// An order in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// The revision of its last change.
    pub revision: u64,
    /// The order; without a word: it was taken back.
    pub order: Order,
    /// Made by the one who has written it, for once.
    pub nonce: u64,
}

/// The part of a member's definition that orders stand in place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defined {
    /// See [`AdminState::FLAGS`].
    pub admin: AdminState,
    /// In hundredths.
    pub weight: u32,
}

/// The deed about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// Nothing: both say the same.
    Same,
    /// This order holds here from now on; None: none does any more.
    Take(Option<Order>),
    /// This order is put in the store, if the one there has this revision still; 0: if there is
    /// none.
    Offer {
        /// The revision.
        revision: u64,
        /// The order.
        order: Order,
    },
}

/// A member's order before and after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderDraft {
    /// The pool's name.
    pub pool: String,
    /// The member's name.
    pub member: String,
    /// The definition of the member.
    pub defined: Defined,
    /// The order that it has here.
    pub before: Option<Order>,
    /// The order that it is to have.
    pub after: Option<Order>,
}

/// Why orders of a change are not in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutFailure {
    /// Another server has changed the order of a member (`pool/member`).
    Newer(String),
    /// They may not be put there, or are too many.
    Refused(String),
    /// The store has not answered, and the change is not there.
    Away(String),
    /// The store has not answered, and the change may be there: it is not to hold.
    Unknown(String),
}

/// The part of an order that is shared: state, weight, end and reason, and who has ordered them.
/// `max_inflight` and meta keys are each server's own, and so is the removal of a member, whom
/// others may not have.
pub fn shared_part(order: Option<&Order>) -> Order {
    let Some(order) = order.filter(|order| order.then != Some(Then::Removed)) else {
        return Order::default();
    };
    let part = Order {
        admin: order.admin,
        weight: order.weight,
        until: order.until,
        then: order.then,
        note: order.note.clone(),
        ..Order::default()
    };
    if part.is_empty() {
        return part;
    }
    Order { by: order.by.clone(), from: order.from.clone(), at: order.at, ..part }
}

/// Whether two orders share the same, no matter who has given them when.
pub fn shares_the_same(one: Option<&Order>, other: Option<&Order>) -> bool {
    let words = |order| Order { by: None, from: None, at: 0, ..shared_part(order) };
    words(one) == words(other)
}

/// Whether an order of the store is the one that holds here, marked or not: by its own words, or by
/// those that the definition leaves of them. `now_s`: epoch seconds.
pub fn holds_here(stored: &Order, here: Option<&Order>, defined: Defined, now_s: u64) -> bool {
    shares_the_same(Some(stored), here) || shares_the_same(Some(&holding(stored, defined, now_s)), here)
}

/// The order of the store as it holds for a member now, in place of what the definition says.
fn holding(stored: &Order, defined: Defined, now_s: u64) -> Order {
    let mut order = due(stored, now_s);
    order.admin = order.admin.filter(|admin| *admin != defined.admin);
    order.weight = order.weight.filter(|weight| *weight != defined.weight);
    order
}

/// The words of an order now: those that hold after its end once that has come.
fn due(stored: &Order, now_s: u64) -> Order {
    let mut order = shared_part(Some(stored));
    if order.until.is_some_and(|until| until <= now_s) {
        order.admin = Some(match order.then {
            Some(Then::AdminState(then)) => then,
            _ => AdminState::Ready,
        });
        (order.until, order.then, order.note) = (None, None, None);
    }
    order
}

/// An order of here as it is put in the store in place of another one. A word of the store that
/// says the same as the definition here is not in an order of here; it stays in the store, since
/// the definitions of other servers may say something else. `now_s`: epoch seconds.
pub fn put_in_place(stored: Option<&Order>, order: Option<&Order>, defined: Defined, now_s: u64) -> Order {
    let mut part = shared_part(order);
    let Some(stored) = stored.map(|stored| due(stored, now_s)) else { return part };
    let admin = stored.admin.filter(|admin| part.admin.is_none() && *admin == defined.admin);
    let weight = stored.weight.filter(|weight| part.weight.is_none() && *weight == defined.weight);
    if part.is_empty() && (admin.is_some() || weight.is_some()) {
        // These are the words of the one who has given them.
        (part.by, part.from, part.at) = (stored.by, stored.from, stored.at);
    }
    (part.admin, part.weight) = (part.admin.or(admin), part.weight.or(weight));
    part
}

/// See [`Sharing`]. `here`: the order that the member has; `store`: the store's identity; `now_s`:
/// epoch seconds.
pub fn share(
    stored: Option<&StoredOrder>,
    here: Option<&Order>,
    defined: Defined,
    store: u64,
    now_s: u64,
) -> Sharing {
    if here.is_some_and(|here| here.then == Some(Then::Removed)) {
        // It goes.
        return Sharing::Same;
    }
    let made_here = here.and_then(|here| here.local);
    let own = shared_part(here);
    let Some(stored) = stored else {
        return match (own.is_empty(), made_here) {
            (true, None) => Sharing::Same,
            (true, Some(_)) => Sharing::Take(taken(here, own)),
            (false, _) => Sharing::Offer { revision: 0, order: own },
        };
    };
    let theirs = holding(&stored.order, defined, now_s);
    if shares_the_same(Some(&theirs), here) {
        return if made_here.is_some() { Sharing::Take(taken(here, own)) } else { Sharing::Same };
    }
    match made_here {
        // Nothing newer is there than was known when it was ordered. Of another store nothing was.
        Some(known) if is_known(stored, known, store) => {
            let order = put_in_place(Some(&stored.order), here, defined, now_s);
            Sharing::Offer { revision: stored.revision, order }
        }
        _ => Sharing::Take(taken(here, theirs)),
    }
}

fn is_known(stored: &StoredOrder, known: StoreRevision, store: u64) -> bool {
    known.store == store && known.revision >= stored.revision
}

/// An order of which this is the shared part, beside what is this server's own.
fn taken(here: Option<&Order>, part: Order) -> Option<Order> {
    let own = here.cloned().unwrap_or_default();
    let order = Order { max_inflight: own.max_inflight, meta: own.meta, gone: own.gone, ..part };
    (!order.is_empty()).then_some(order)
}

#[cfg(test)]
mod tests;
