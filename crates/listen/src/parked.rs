// SPDX-License-Identifier: Apache-2.0
//! Answers that wait for something, beside all other connections and without a thread.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::Outgoing;
use crate::ender::{Ender, Step};
use crate::line::Line;

/// How often a waiting answer is looked at.
const TICK: Duration = Duration::from_millis(40);

/// The answer to a request, now or later.
pub enum AnswerWhen {
    /// It is answered.
    Now(Outgoing),
    /// Its answer waits.
    Later(Parked),
}

impl From<Outgoing> for AnswerWhen {
    fn from(outgoing: Outgoing) -> Self {
        AnswerWhen::Now(outgoing)
    }
}

/// An answer that waits until there is something to say, its time is over, its client has hung up,
/// or the server is about to end.
pub struct Parked {
    /// How long at most.
    pub wait: Duration,
    /// Makes the answer; None: there is nothing to say yet. It is called on the server's thread
    /// again and again, so that it has to be quick while there is nothing.
    pub look: Box<dyn FnMut() -> Option<Outgoing>>,
    /// Makes the answer when nothing has happened.
    pub give_up: Box<dyn FnOnce() -> Outgoing>,
}

impl Parked {
    /// Without waiting.
    pub(crate) fn answer_now(mut self) -> Outgoing {
        (self.look)().unwrap_or_else(self.give_up)
    }

    pub(crate) async fn answer(mut self, ender: &Ender, line: &dyn Line) -> Outgoing {
        let until = Instant::now() + self.wait;
        loop {
            if let Some(outgoing) = (self.look)() {
                return outgoing;
            }
            let is_over = Instant::now() >= until || ender.has_come_to(Step::Leaves);
            if is_over || poll_fn(|cx| Poll::Ready(line.is_dead(cx))).await {
                return (self.give_up)();
            }
            tokio::time::sleep_until(until.min(Instant::now() + TICK)).await;
        }
    }
}
