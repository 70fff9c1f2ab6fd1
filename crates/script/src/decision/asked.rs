// SPDX-License-Identifier: Apache-2.0
//! The questions of the running call to pools and views: a member that it returns stands for the
//! question that gave it, so that a further attempt asks the same again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use balance::api::{PoolId, View};
use balance::live::Slot;
use balance::settings::Method;

use crate::decision::picks::PICKS;

/// A question that a member was the answer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Where it was asked.
    pub pool: PoolId,
    /// Narrowed to this.
    pub view: Option<Arc<View>>,
    /// How to pick; None: as the pool says.
    pub method: Option<Method>,
    /// The key of a hash method, where the script gave one.
    pub key: Option<Box<[u8]>>,
}

/// The last question to a whole pool, by one of [`PICKS`].
#[derive(Clone, Copy)]
struct Short {
    slot: Slot,
    pool: PoolId,
    nth: usize,
}

/// The questions of the running call.
#[derive(Default)]
pub(crate) struct Asked {
    short: Cell<Option<Short>>,
    /// The key of the last one, if its method has keys.
    key: RefCell<Vec<u8>>,
    /// All others, by the member that was the answer.
    others: RefCell<HashMap<Slot, Question>>,
    /// The member of the request's session, if it was asked for last.
    session: Cell<Option<Slot>>,
}

impl Asked {
    /// A call begins.
    pub(crate) fn forget(&self) {
        if self.short.take().is_some() {
            self.session.set(None);
            self.forget_others();
        }
    }

    fn forget_others(&self) {
        let mut others = self.others.borrow_mut();
        if !others.is_empty() {
            others.clear();
        }
    }

    /// A pool was asked by the `nth` of [`PICKS`], and answered with this member.
    pub(crate) fn note(&self, slot: Slot, pool: PoolId, nth: usize, key: &[u8]) {
        if let Some(before) = self.short.get() {
            self.put_aside(before);
        }
        if !key.is_empty() {
            let mut place = self.key.borrow_mut();
            place.clear();
            place.extend_from_slice(key);
        }
        self.short.set(Some(Short { slot, pool, nth }));
    }

    #[cold]
    fn put_aside(&self, short: Short) {
        if let Some(question) = self.question(short) {
            self.others.borrow_mut().insert(short.slot, question);
        }
    }

    fn question(&self, Short { pool, nth, .. }: Short) -> Option<Question> {
        let method = PICKS.get(nth)?.1.clone();
        let key = method.is_by_key().then(|| self.key.borrow().as_slice().into());
        Some(Question { pool, view: None, method: Some(method), key })
    }

    /// Some other question was answered with this member.
    pub(crate) fn note_other(&self, slot: Slot, question: Question) {
        match self.short.get() {
            // So that `forget` knows that there is something.
            None => self.short.set(Some(Short { slot: Slot::MAX, pool: question.pool, nth: PICKS.len() })),
            Some(before) if before.slot == slot => self.short.set(Some(Short { slot: Slot::MAX, ..before })),
            Some(_) => {}
        }
        self.others.borrow_mut().insert(slot, question);
    }

    /// This member was asked for as that of the request's session.
    pub(crate) fn note_session(&self, slot: Slot) {
        if self.short.get().is_none() {
            // So that `forget` knows that there is something.
            self.short.set(Some(Short { slot: Slot::MAX, pool: PoolId(0), nth: PICKS.len() }));
        }
        self.session.set(Some(slot));
    }

    /// Whether this member was asked for so.
    pub(crate) fn is_of_session(&self, slot: Slot) -> bool {
        self.session.get() == Some(slot)
    }

    /// The question that this member was the last answer to.
    pub(crate) fn of(&self, slot: Slot) -> Option<Question> {
        match self.short.get() {
            Some(short) if short.slot == slot => self.question(short),
            Some(_) => self.others.borrow().get(&slot).cloned(),
            None => None,
        }
    }
}
