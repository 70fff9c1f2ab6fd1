// SPDX-License-Identifier: Apache-2.0
//! The holder of the pen, with which several things are changed as one, and readings of everything
//! that see such a change as a whole or not at all ([`crate::protocol::journal`]).

use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::fence;
use std::time::{Duration, Instant};

use crate::Table;
use crate::primitive::{is_killed, pause, step};
use crate::protocol::claim::{self, Claim, Process, Taken, WhenTaken};
use crate::protocol::life::{self, Life, LifePhase};

/// How long one waits for the pen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a reader waits for a change to be whole. It reads on the thread that answers at the
/// socket.
const READERS_PATIENCE: Duration = Duration::from_millis(50);
/// How long a row's name may be held by a change that is prepared.
const HELD: Duration = Duration::from_millis(250);
/// How often a reader that was disturbed reads again before it takes the pen itself.
const READ_TRIES: u32 = 3;

/// Looks of a wait that only yield; then each one sleeps.
const YIELDS: u32 = 32;
const SLEEP: Duration = Duration::from_micros(50);

/// One wait for something that another process is at.
struct Patience {
    looks: u32,
    until: Option<Instant>,
    most: Duration,
}

impl Patience {
    fn of(most: Duration) -> Self {
        Patience { looks: 0, until: None, most }
    }

    /// Waits for a moment; false when it has lasted for long enough.
    fn wait(&mut self) -> bool {
        self.looks += 1;
        if self.looks < YIELDS {
            pause();
            return true;
        }
        #[expect(clippy::disallowed_methods, reason = "a process that waits measures real time")]
        let now = Instant::now();
        if now >= *self.until.get_or_insert(now + self.most) {
            return false;
        }
        std::thread::sleep(SLEEP);
        true
    }

    /// Whether it is time to look at other processes.
    fn is_due(&self) -> bool {
        self.looks.is_multiple_of(YIELDS)
    }
}

/// A claim that is let go when this goes out of scope, also by unwinding.
struct Holding<'t>(&'t Table, Claim);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if is_killed() {
            return;
        }
        self.0.finish_change();
        claim::release(&self.0.map.journal().claim, self.1);
    }
}

impl Table {
    /// See [`balance::store::Store::with_pen`]. Nobody has the pen of a table that is superseded.
    pub(crate) fn take_pen(&self, body: &mut dyn FnMut()) -> bool {
        let mut is_done = false;
        let mut unless_superseded = || {
            if !self.is_superseded() {
                body();
                is_done = true;
            }
        };
        self.with_pen_within(PATIENCE, &self.alive, &mut unless_superseded) && is_done
    }

    pub(crate) fn with_pen_within(
        &self,
        most: Duration,
        alive: &dyn Fn(i32) -> bool,
        body: &mut dyn FnMut(),
    ) -> bool {
        let journal = self.map.journal();
        let number = journal.number.fetch_add(1, Relaxed);
        // Bit 1 of its number is always set, see `Claim::new`.
        let mine = Claim::new(Process::new(self.pid, None), (number >> 14) as u16, (number << 2) as u16);
        let mut patience = Patience::of(most);
        let is_dead = |claim: Claim| claim.holder().is_some_and(|holder| !alive(holder.pid));
        let mut wait = |seen: Claim| {
            let goes_on = patience.wait();
            match patience.is_due() && is_dead(seen) {
                true => WhenTaken::TakeOver,
                false if goes_on => WhenTaken::Again,
                false if is_dead(seen) => WhenTaken::TakeOver,
                false => WhenTaken::GiveUp,
            }
        };
        let Some(taken) = claim::take(&journal.claim, mine, &mut wait) else { return false };
        let holding = Holding(self, mine);
        step();
        if taken == Taken::Inherited {
            self.finish_change();
        }
        body();
        drop(holding);
        true
    }

    /// Brings to an end what a dead process was changing, if there is any.
    pub(crate) fn finish_for_dead(&self, alive: &dyn Fn(i32) -> bool) {
        let holder = Claim(self.map.journal().claim.load(SeqCst)).holder();
        if holder.is_some_and(|holder| !alive(holder.pid)) {
            self.with_pen_within(READERS_PATIENCE, alive, &mut || {});
        }
    }

    /// With the pen: carries out what is written down, or lets go of what is prepared.
    pub(crate) fn finish_change(&self) {
        let journal = self.map.journal();
        if journal.author.load(SeqCst) == 0 {
            return;
        }
        if journal.sequence.load(SeqCst) % 2 == 1 {
            self.publish(&mut |_, _| {});
        }
        for (row, key) in self.map.keys()[..self.members_used()].iter().enumerate() {
            let seen = Life::load(&key.life);
            if seen.phase() == LifePhase::Held && life::retire(&key.life, seen) {
                step();
                self.recycle_member(row);
            }
        }
        journal.author.store(0, SeqCst);
        step();
    }

    /// Whether a process is alive, or has left something that is not to be cleared away yet.
    pub(crate) fn is_owner(&self, pid: i32, alive: &dyn Fn(i32) -> bool) -> bool {
        alive(pid) || self.map.journal().author.load(SeqCst) == u64::from(pid as u32)
    }

    /// Waits until a row that was held is live or gone. False when it is live, or was never held.
    pub(crate) fn await_held(&self, row: usize) -> bool {
        let Some(key) = self.map.keys().get(row) else { return false };
        let mut patience = Patience::of(HELD);
        let mut was_held = false;
        loop {
            match Life::load(&key.life).phase() {
                LifePhase::Held => was_held = true,
                LifePhase::Live => return false,
                _ => return was_held,
            }
            if !patience.wait() {
                return false;
            }
            if patience.is_due() {
                self.finish_for_dead(&self.alive);
            }
        }
    }

    /// The result of `read` on the table while no larger change is half done. A process that is
    /// stopped within one is not waited for.
    pub(crate) fn settled<T>(&self, read: &dyn Fn() -> T) -> T {
        let sequence = &self.map.journal().sequence;
        for _ in 0..READ_TRIES {
            let Some(before) = self.whole_sequence() else { return read() };
            let value = read();
            fence(Acquire);
            if sequence.load(SeqCst) == before {
                return value;
            }
        }
        let mut value = None;
        self.with_pen_within(READERS_PATIENCE, &self.alive, &mut || value = Some(read()));
        value.unwrap_or_else(read)
    }

    fn whole_sequence(&self) -> Option<u64> {
        let mut patience = Patience::of(READERS_PATIENCE);
        loop {
            let seen = self.map.journal().sequence.load(SeqCst);
            if seen.is_multiple_of(2) {
                return Some(seen);
            }
            if patience.is_due() {
                self.finish_for_dead(&self.alive);
            }
            if !patience.wait() {
                return None;
            }
        }
    }
}
