// SPDX-License-Identifier: Apache-2.0
//! Requests that wait for a place at a member, first come, first served.
//!
//! A request that waits has a *ticket*: its process, its wish, and a number that tells who came
//! first. Tickets lie in no order. A request that gives a place back calls the oldest ticket that
//! may want it and has not been called yet; the called one looks for a place itself. A call
//! reserves nothing, so a caller or a called one that dies keeps nothing from anybody.
//!
//! A waiter that has looked in vain and wants something else than a newcomer (another view of the
//! pool, other members tried before) does not stand in the newcomer's way: the place that is free
//! now was of no use to it.
//!
//! No call is lost: a waiter shows its ticket (or shows it as not called) first and looks for a
//! place then; a giver frees the place first and looks for tickets then, so one of them sees the
//! other. One who leaves with a call that it has not used hands it on. Now and then the first in
//! line is called without a place, should something have gone wrong; a place that becomes free
//! before it answers is still for it. One who does not answer its call for [`STALLED_MS`] is passed
//! over, with all others of its process: it is stopped.

mod call;

pub use self::call::STALLED_MS;
use self::call::{AGAIN, CallPhase, CallWord};
use crate::primitive::{AtomicU64, Ordering::SeqCst, fence, step, total_order};

/// One place to wait in. A row that is all zeros is free.
#[repr(C)]
#[derive(Debug)]
pub struct Ticket {
    /// Bit 0: shown, 1..=31 stamp (grows when the row is taken), 32..=63 pid; pid 0: free.
    owner: AtomicU64,
    /// The order of their coming.
    number: AtomicU64,
    /// See [`Wants`].
    wants: AtomicU64,
    /// See [`CallWord`].
    call: AtomicU64,
}

impl Ticket {
    /// A free row.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Ticket {
            owner: AtomicU64::new(0),
            number: AtomicU64::new(0),
            wants: AtomicU64::new(0),
            call: AtomicU64::new(0),
        }
    }

    /// The word that says whether it was called: to wait for a change of its lower half.
    pub fn call_word(&self) -> &AtomicU64 {
        &self.call
    }
}

/// The wish of a request that waits: a pool's row, and a hash of what narrows it, 0 for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants(u64);

impl Wants {
    /// Any member of a pool, or those of a view of it.
    pub fn new(pool: u32, view: Option<u64>) -> Self {
        // The hash of a view is never that of the whole pool.
        let view = view.map_or(0, |hash| (hash as u32 ^ (hash >> 32) as u32).max(1));
        Wants(u64::from(pool) << 32 | u64::from(view))
    }

    /// The pool's row.
    pub fn pool(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether one place may do for either.
    fn overlaps(self, other: Wants) -> bool {
        self.pool() == other.pool() && (self.0 == other.0 || self.0 as u32 == 0 || other.0 as u32 == 0)
    }
}

/// How often a giver looks again when tickets change under its eyes; waiters look for themselves
/// now and then.
const TRIES: usize = 8;

const SHOWN: u64 = 1;

fn pid_of(owner: u64) -> i32 {
    (owner >> 32) as i32
}

fn is_shown(owner: u64) -> bool {
    owner & SHOWN != 0 && pid_of(owner) != 0
}

fn taken_by(pid: i32, before: u64) -> u64 {
    let stamp = (before as u32 >> 1).wrapping_add(1) & ((1 << 31) - 1);
    u64::from(pid as u32) << 32 | u64::from(stamp) << 1
}

fn freed(owner: u64) -> u64 {
    owner & 0xffff_fffe
}

/// A ticket that a request holds.
#[derive(Debug, PartialEq, Eq)]
pub struct HeldTicket {
    /// Its row.
    pub row: usize,
    owner: u64,
    number: u64,
    wants: Wants,
}

impl HeldTicket {
    /// Its wish.
    pub fn wants(&self) -> Wants {
        self.wants
    }
}

/// Takes a ticket and shows it, and sets the pool's flag. None when all are taken.
pub fn join(
    tickets: &[Ticket],
    flag: &AtomicU64,
    last_number: &AtomicU64,
    pid: i32,
    wants: Wants,
) -> Option<HeldTicket> {
    for (row, ticket) in tickets.iter().enumerate() {
        let seen = ticket.owner.load(SeqCst);
        if pid_of(seen) != 0 {
            continue;
        }
        let owner = taken_by(pid, seen);
        if ticket.owner.compare_exchange(seen, owner, SeqCst, SeqCst).is_err() {
            continue;
        }
        step();
        ticket.wants.store(wants.0, SeqCst);
        let call = CallWord::load(&ticket.call).next_showing().with(CallPhase::Waiting);
        ticket.call.store(call.0 & !AGAIN, SeqCst);
        step();
        let number = last_number.fetch_add(1, SeqCst) + 1;
        ticket.number.store(number, SeqCst);
        step();
        // Fails only when somebody takes this process for dead.
        ticket.owner.compare_exchange(owner, owner | SHOWN, SeqCst, SeqCst).ok()?;
        step();
        total_order();
        flag.store(1, SeqCst);
        fence(SeqCst);
        step();
        return Some(HeldTicket { row, owner: owner | SHOWN, number, wants });
    }
    None
}

/// Whether the ticket was called. Shows it as not called again: to be done before looking for a
/// place.
pub fn answer(tickets: &[Ticket], held: &HeldTicket) -> bool {
    let Some(ticket) = tickets.get(held.row) else { return false };
    let mut seen = CallWord::load(&ticket.call);
    while seen.phase() == CallPhase::Called {
        let answered = seen.next_showing().with(CallPhase::Waiting);
        match ticket.call.compare_exchange(seen.0, answered.0, SeqCst, SeqCst) {
            Ok(_) => {
                fence(SeqCst);
                step();
                return true;
            }
            // It was called again.
            Err(now) => seen = CallWord(now),
        }
    }
    fence(SeqCst);
    false
}

/// The holder has looked in vain.
pub fn looked(tickets: &[Ticket], held: &HeldTicket) {
    let Some(ticket) = tickets.get(held.row) else { return };
    let seen = CallWord::load(&ticket.call);
    if seen.phase() == CallPhase::Waiting {
        let looked = seen.0 & !AGAIN | CallPhase::Looked as u64;
        // Failing means that it is called now.
        let _ = ticket.call.compare_exchange(seen.0, looked, SeqCst, SeqCst);
    }
}

/// Whether a ticket waits for its call: the lower half of its word then.
pub fn waiting_word(ticket: &Ticket) -> Option<u32> {
    let call = CallWord::load(&ticket.call);
    call.is_open().then_some(call.0 as u32)
}

/// Gives the ticket back. True when it had a call that it has not answered, or another one: hand it
/// on.
pub fn leave(tickets: &[Ticket], held: &HeldTicket) -> bool {
    let Some(ticket) = tickets.get(held.row) else { return false };
    let mut seen = CallWord::load(&ticket.call);
    let mut mine = ticket.owner.load(SeqCst) == held.owner;
    while mine {
        let away = seen.next_showing().with(CallPhase::Away);
        match ticket.call.compare_exchange(seen.0, away.0, SeqCst, SeqCst) {
            Ok(_) => break,
            Err(now) => seen = CallWord(now),
        }
        mine = ticket.owner.load(SeqCst) == held.owner;
    }
    step();
    // Failing means that somebody took this process for dead, and freed it.
    let left = ticket.owner.compare_exchange(held.owner, freed(held.owner), SeqCst, SeqCst).is_ok();
    left && (seen.phase() == CallPhase::Called || seen.is_again())
}

/// Frees the tickets of the dead. True when there was one: it may have had a call.
pub fn bury(tickets: &[Ticket], is_dead: &dyn Fn(i32) -> bool) -> bool {
    let mut found = false;
    let mut known = (0, false);
    for ticket in tickets {
        let owner = ticket.owner.load(SeqCst);
        let pid = pid_of(owner);
        if pid == 0 {
            continue;
        }
        if known.0 != pid {
            known = (pid, is_dead(pid));
        }
        if known.1 {
            found |= ticket.owner.compare_exchange(owner, freed(owner), SeqCst, SeqCst).is_ok();
            step();
        }
    }
    found
}

/// Whether somebody waits who came before, whom a place may do that does for `wants` too, and whose
/// process answers its calls.
pub fn is_ahead(tickets: &[Ticket], of: Option<&HeldTicket>, wants: Wants, now_ms: u32) -> bool {
    let number = of.map_or(u64::MAX, |held| held.number);
    tickets.iter().any(|ticket| {
        let owner = ticket.owner.load(SeqCst);
        is_shown(owner)
            && ticket.number.load(SeqCst) < number
            && stands_before(CallWord::load(&ticket.call), Wants(ticket.wants.load(SeqCst)), wants)
            && !is_stalled(tickets, pid_of(owner), now_ms)
    })
}

fn stands_before(call: CallWord, its: Wants, wants: Wants) -> bool {
    its == wants || call.phase() != CallPhase::Looked && wants.overlaps(its)
}

fn is_stalled(tickets: &[Ticket], pid: i32, now_ms: u32) -> bool {
    tickets.iter().any(|ticket| {
        CallWord::load(&ticket.call).is_stalled(now_ms) && pid_of(ticket.owner.load(SeqCst)) == pid
    })
}

/// Whether anybody may wait; asked after a place was freed, by a SeqCst access.
#[inline]
pub fn may_wait(flag: &AtomicU64) -> bool {
    total_order();
    flag.load(SeqCst) != 0
}

/// Says that somebody may wait.
pub fn put_up(flag: &AtomicU64) {
    flag.store(1, SeqCst);
}

/// A place is free, and somebody [may wait](may_wait) for it: calls the first in line, or takes the
/// flag down when nobody waits. Returns the row to be woken.
pub fn give(tickets: &[Ticket], flag: &AtomicU64, pool: u32, now_ms: u32) -> Option<usize> {
    for _ in 0..TRIES {
        let called = call(tickets, Who::Pool(pool), now_ms);
        if called.is_some() || call_again(tickets, pool) {
            return called;
        }
        if !waiting(tickets, pool).any(|ticket| CallWord::load(&ticket.call).is_open_to_a_place()) {
            break;
        }
    }
    if has_any(tickets, pool) {
        return None;
    }
    flag.store(0, SeqCst);
    total_order();
    step();
    // A request that joins shows its ticket first and sets the flag then: the flag is set after
    // this, or the ticket is seen here.
    if !has_any(tickets, pool) {
        return None;
    }
    flag.store(1, SeqCst);
    total_order();
    step();
    call(tickets, Who::Pool(pool), now_ms)
}

/// The tickets of those who wait for this pool.
pub fn waiting(tickets: &[Ticket], pool: u32) -> impl Iterator<Item = &Ticket> {
    let is_of = move |ticket: &Ticket| Wants(ticket.wants.load(SeqCst)).pool() == pool;
    tickets.iter().filter(move |ticket| is_shown(ticket.owner.load(SeqCst)) && is_of(ticket))
}

/// Pids of all who have a ticket, shown or not.
pub fn holders(tickets: &[Ticket]) -> impl Iterator<Item = i32> {
    tickets.iter().map(|ticket| pid_of(ticket.owner.load(SeqCst))).filter(|pid| *pid != 0)
}

fn has_any(tickets: &[Ticket], pool: u32) -> bool {
    waiting(tickets, pool).next().is_some()
}

/// The tickets that may be called.
#[derive(Debug, Clone, Copy)]
pub enum Who {
    /// Anybody who waits for this pool.
    Pool(u32),
    /// The tickets behind one that could not use its call, which want something else of the pool.
    Behind(u64, Wants),
    /// Anybody of this pool, to look round, unless the first in line was called within so many
    /// milliseconds, or has a call to answer.
    Quiet(u32, u32),
}

impl Who {
    /// The tickets behind this one that may have a use for what it had none for.
    pub fn behind(held: &HeldTicket) -> Self {
        Who::Behind(held.number, held.wants)
    }

    fn is_idle(self) -> bool {
        matches!(self, Who::Quiet(..))
    }

    /// Whether a ticket that was called so may be called.
    fn may_have(self, call: CallWord) -> bool {
        if self.is_idle() { call.is_open() } else { call.is_open_to_a_place() }
    }

    fn fits(self, number: u64, wants: Wants) -> bool {
        match self {
            Who::Pool(pool) | Who::Quiet(pool, _) => wants.pool() == pool,
            Who::Behind(after, but) => number > after && wants.pool() == but.pool() && wants != but,
        }
    }
}

/// Calls the oldest ticket that fits and was not called for a place yet. Its row, to be woken; None
/// when there is none.
pub fn call(tickets: &[Ticket], who: Who, now_ms: u32) -> Option<usize> {
    total_order();
    loop {
        let (row, owner, seen) = oldest(tickets, who, now_ms)?;
        if let Who::Quiet(pool, ms) = who
            && (seen.age_ms(now_ms) < ms || somebody_is_called(tickets, pool, row, now_ms))
        {
            return None;
        }
        let called = seen.called(who.is_idle(), now_ms);
        let ticket = &tickets[row];
        if ticket.call.compare_exchange(seen.0, called.0, SeqCst, SeqCst).is_ok() {
            step();
            // The call of one that was buried meanwhile goes to the next.
            if ticket.owner.load(SeqCst) == owner {
                return Some(row);
            }
        }
    }
}

/// Whether one who waits for this pool, and came before the ticket, has a call that it may still
/// answer: the place is its.
fn somebody_is_called(tickets: &[Ticket], pool: u32, row: usize, now_ms: u32) -> bool {
    let number = tickets[row].number.load(SeqCst);
    waiting(tickets, pool).any(|ticket| {
        ticket.number.load(SeqCst) < number
            && CallWord::load(&ticket.call).phase() == CallPhase::Called
            && !is_stalled(tickets, pid_of(ticket.owner.load(SeqCst)), now_ms)
    })
}

/// Nobody of this pool is left to be called: notes with one who has a call that there is another
/// place.
fn call_again(tickets: &[Ticket], pool: u32) -> bool {
    waiting(tickets, pool).any(|ticket| {
        let seen = CallWord::load(&ticket.call);
        let noted = seen.0 | AGAIN;
        seen.phase() == CallPhase::Called
            && ticket.call.compare_exchange(seen.0, noted, SeqCst, SeqCst).is_ok()
    })
}

fn oldest(tickets: &[Ticket], who: Who, now_ms: u32) -> Option<(usize, u64, CallWord)> {
    let any_stalled = tickets.iter().any(|ticket| CallWord::load(&ticket.call).is_stalled(now_ms));
    let mut best: Option<(u64, (usize, u64, CallWord))> = None;
    for (row, ticket) in tickets.iter().enumerate() {
        // The call first: if the ticket is another's when the rest is read, the word has changed,
        // and calling it fails.
        let call = CallWord::load(&ticket.call);
        let owner = ticket.owner.load(SeqCst);
        if !who.may_have(call)
            || !is_shown(owner)
            || any_stalled && is_stalled(tickets, pid_of(owner), now_ms)
        {
            continue;
        }
        let number = ticket.number.load(SeqCst);
        let fits = who.fits(number, Wants(ticket.wants.load(SeqCst)));
        if fits && best.is_none_or(|(before, _)| number < before) {
            best = Some((number, (row, owner, call)));
        }
    }
    best.map(|(_, found)| found)
}
