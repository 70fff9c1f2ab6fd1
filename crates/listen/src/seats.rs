// SPDX-License-Identifier: Apache-2.0
//! The connections of a server, each with how long it has been at what.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Those of one door.
#[derive(Default)]
pub(crate) struct Seats {
    taken: RefCell<Vec<Rc<Seat>>>,
    /// One has been given back.
    pub(crate) freed: Notify,
}

/// One connection.
pub(crate) struct Seat {
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

impl Seat {
    fn new(time: Duration) -> Self {
        let now = Instant::now();
        Seat {
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

impl Seats {
    pub(crate) fn count(&self) -> usize {
        self.taken.borrow().len()
    }

    /// A seat for one more connection, which has this time for its first request. When all `most`
    /// are taken, the one leaves that waits for a request for longest, or else is at one for
    /// longest.
    pub(crate) fn take(self: &Rc<Self>, most: usize, time: Duration) -> Taken {
        let mut taken = self.taken.borrow_mut();
        if taken.len() >= most.max(1) {
            let oldest =
                taken.iter().enumerate().min_by_key(|(_, seat)| (!seat.waits.get(), seat.since.get()));
            if let Some(at) = oldest.map(|(at, _)| at) {
                taken.swap_remove(at).leave.notify_one();
            }
        }
        let seat = Rc::new(Seat::new(time));
        taken.push(seat.clone());
        Taken { seats: self.clone(), seat }
    }

    /// All end with the answer that they are at; those that never had a request, at once.
    pub(crate) fn finish(&self) {
        for seat in self.taken.borrow().iter() {
            let end = if seat.fresh.get() { &seat.leave } else { &seat.finish };
            end.notify_one();
        }
    }
}

/// A seat that is taken until this value's end.
pub(crate) struct Taken {
    seats: Rc<Seats>,
    pub(crate) seat: Rc<Seat>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.taken.borrow_mut().retain(|other| !Rc::ptr_eq(other, &self.seat));
        self.seats.freed.notify_one();
    }
}
