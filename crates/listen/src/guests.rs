// SPDX-License-Identifier: Apache-2.0
//! The connections of a server, each with how long it has been at what.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The connections of one door.
#[derive(Default)]
pub(crate) struct Guests {
    present: RefCell<Vec<Rc<Guest>>>,
    /// One has left.
    pub(crate) freed: Notify,
}

/// One connection.
pub(crate) struct Guest {
    /// No head of a request is there, of its first or of its next one.
    waits: Cell<bool>,
    /// Since when it is at that.
    since: Cell<Instant>,
    /// When it ends, whatever it is at.
    until: Cell<Instant>,
    /// No request has come yet.
    fresh: Cell<bool>,
    /// It is to end at once.
    leave: Notify,
    /// It is to end with its answer.
    pub(crate) finish: Notify,
}

impl Guest {
    fn new(time: Duration) -> Self {
        let now = Instant::now();
        Guest {
            waits: Cell::new(true),
            since: Cell::new(now),
            until: Cell::new(now + time),
            fresh: Cell::new(true),
            leave: Notify::new(),
            finish: Notify::new(),
        }
    }

    /// A head has come: the rest has this time.
    pub(crate) fn begins(&self, time: Duration) {
        let now = Instant::now();
        self.waits.set(false);
        self.fresh.set(false);
        self.since.set(now);
        self.until.set(now + time);
    }

    /// The answer is made: it has this time to go, and after it the next request to come.
    pub(crate) fn answers(&self, time: Duration) {
        let now = Instant::now();
        self.waits.set(true);
        self.since.set(now);
        self.until.set(now + time);
    }

    /// Waits until its time is over, or it is to end.
    pub(crate) async fn is_over(&self) {
        let timeless = async {
            while Instant::now() < self.until.get() {
                tokio::time::sleep_until(self.until.get()).await;
            }
        };
        crate::race::first(timeless, self.leave.notified()).await;
    }
}

impl Guests {
    pub(crate) fn count(&self) -> usize {
        self.present.borrow().len()
    }

    /// Lets one more connection in, which has this time for its first request. When `most` are
    /// present, the one leaves that waits for a request for longest, or else is at one for longest.
    pub(crate) fn admit(self: &Rc<Self>, most: usize, time: Duration) -> Present {
        let mut present = self.present.borrow_mut();
        if present.len() >= most.max(1) {
            let oldest =
                present.iter().enumerate().min_by_key(|(_, guest)| (!guest.waits.get(), guest.since.get()));
            if let Some(at) = oldest.map(|(at, _)| at) {
                present.swap_remove(at).leave.notify_one();
            }
        }
        let guest = Rc::new(Guest::new(time));
        present.push(guest.clone());
        Present { guests: self.clone(), guest }
    }

    /// All end with the answer that they are at; those that never had a request, at once.
    pub(crate) fn finish(&self) {
        for guest in self.present.borrow().iter() {
            let end = if guest.fresh.get() { &guest.leave } else { &guest.finish };
            end.notify_one();
        }
    }
}

/// A guest until this value's end.
pub(crate) struct Present {
    guests: Rc<Guests>,
    pub(crate) guest: Rc<Guest>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.guests.present.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.guest));
        self.guests.freed.notify_one();
    }
}
