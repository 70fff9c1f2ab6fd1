// SPDX-License-Identifier: Apache-2.0
//! The protocols under every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p table --release
//! --test loom`.
#![cfg(loom)]
#![allow(clippy::disallowed_methods, reason = "loom has threads of its own")]

mod rings;
mod rows;
mod waiting;

use loom::sync::Arc;
use loom::sync::atomic::Ordering::SeqCst;
use loom::thread;
use table::protocol::AtomicU64;
use table::protocol::children::{self, ChildRow, Owner};
use table::protocol::claim::{self, Claim, Process, Taken, WhenTaken};
use table::protocol::contest::{self, ContestEnd, Rivals};
use table::protocol::lanes::{self, Lane};
use table::protocol::lead::{self, Lead, Term};
use table::protocol::life::{self, Life, LifePhase};
use table::protocol::queue::{self, HeldTicket, Ticket, Wants, Who};
use table::protocol::scripts::{self, ScriptRow};
use table::protocol::segment::{self, How, Item, Segment, SegmentHead, Torn, Value};
use table::protocol::text::{self, RowText, TextChunk};
use table::protocol::trouble::{self, TroubleRow, TroubleWords};

fn alive(_: i32) -> bool {
    true
}

fn model(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(check);
}

fn cell() -> AtomicU64 {
    AtomicU64::new(0)
}

fn live_row() -> AtomicU64 {
    AtomicU64::new(Life::new(LifePhase::Live, 0, 0).0)
}

fn add(rows: &[AtomicU64; 2], mine: usize) -> ContestEnd {
    let seen = Life::load(&rows[mine]);
    let building = life::claim(&rows[mine], seen, mine as i32 + 1).expect("free");
    let announced = life::announce(&rows[mine], building).expect("mine");
    let field =
        Rivals { rows: 2, life: &|row| &rows[row], same_name: &|_| true, patience: u32::from(mine == 1) };
    contest::run(&field, mine, announced, &|| true)
}

fn record(letter: u8) -> RowText {
    RowText { order: 0, config: u64::from(letter), text: vec![letter; 40] }
}

fn replace(chunks: &[TextChunk], cell: &AtomicU64, hint: &AtomicU64, letter: u8) {
    let held = text::fill(chunks, &record(letter), 0, 1, hint);
    assert!(!held.is_empty());
    let seen = cell.load(SeqCst);
    let old = text::chain(chunks, seen);
    assert!(text::link(cell, seen, &held));
    text::settle(chunks, &held, 1);
    text::free(chunks, &old);
}

/// A dictionary's segment of one bucket and a few chunks.
struct Small {
    head: SegmentHead,
    buckets: [AtomicU64; 1],
    chunks: [segment::DictChunk; 4],
    /// Whether the process that died is dead for the others.
    dead: AtomicU64,
}

const DEAD: Process = Process { pid: 66, born: 0 };

impl Small {
    fn new() -> Arc<Self> {
        let chunk = segment::DictChunk::new;
        let chunks = [chunk(), chunk(), chunk(), chunk()];
        Arc::new(Small { head: SegmentHead::new(), buckets: [cell()], chunks, dead: cell() })
    }

    fn segment(&self) -> Segment<'_> {
        Segment { head: &self.head, buckets: &self.buckets, chunks: &self.chunks }
    }

    /// As a writer does it: claim, put right what a dead one left, change, let go.
    fn write<T>(&self, pid: i32, change: impl FnOnce(&Segment<'_>) -> T) -> T {
        let mine = Claim::new(Process { pid, born: 0 }, 0, 0);
        let taken = claim::take(&self.head.claim, mine, &mut |seen| {
            if seen.holder() == Some(DEAD) && self.dead.load(SeqCst) == 1 {
                return WhenTaken::TakeOver;
            }
            thread::yield_now();
            WhenTaken::Again
        });
        let segment = self.segment();
        if taken == Some(Taken::Inherited) {
            segment.recover();
        }
        let done = change(&segment);
        claim::release(&self.head.claim, mine);
        done
    }

    fn set(&self, pid: i32, key: &[u8], value: &Value) {
        let item = Item { hash: hash(key), key, expiry: 0, now: 1, evict: true };
        assert!(self.write(pid, |segment| segment.store(How::Set, &item, value)).is_ok());
    }

    fn incr(&self, pid: i32) {
        let item = Item { hash: hash(b"n"), key: b"n", expiry: 0, now: 1, evict: true };
        assert!(
            self.write(pid, |segment| segment.incr(&item, &Value::Integer(1), Some(&Value::Integer(0))))
                .is_ok()
        );
    }

    /// As a reader does it. None after some torn attempts, which says nothing.
    fn get(&self, key: &[u8]) -> Option<Option<Value>> {
        (0..3).find_map(|_| {
            let found = self.segment().find(hash(key), key);
            let value = found.and_then(|entry| entry.map(|entry| entry.value()).transpose());
            if value == Err(Torn) {
                thread::yield_now();
            }
            value.ok()
        })
    }
}

fn hash(key: &[u8]) -> u64 {
    u64::from(key[0])
}

fn long(byte: u8) -> Value {
    // Two chunks.
    Value::Text(vec![byte; 80])
}

impl Small {
    /// A writer that dies half way: chunks taken and written, nothing linked, the claim kept.
    fn die_writing(&self) {
        let mine = Claim::new(DEAD, 0, 0);
        if claim::take(&self.head.claim, mine, &mut |_| WhenTaken::GiveUp).is_some() {
            self.segment().leave_half_written(hash(b"k"), b"k", &long(b'b'));
        }
        // As the system says it to others.
        self.dead.store(1, SeqCst);
    }

    fn check_after_a_death(&self, counts: i64) {
        self.incr(4);
        assert_eq!(self.get(b"n"), Some(Some(Value::Integer(counts + 1))));
        assert_eq!(self.get(b"k"), Some(Some(long(b'a'))));
        self.segment().check().unwrap();
    }
}

/// A pool whose one place is taken, and the tickets of those who wait for it.
struct Line {
    taken: AtomicU64,
    flag: AtomicU64,
    number: AtomicU64,
    tickets: [Ticket; 2],
}

impl Line {
    fn new(taken: u64, flag: u64) -> Self {
        Line {
            taken: AtomicU64::new(taken),
            flag: AtomicU64::new(flag),
            number: cell(),
            tickets: std::array::from_fn(|_| Ticket::new()),
        }
    }

    fn join(&self, pid: i32) -> HeldTicket {
        queue::join(&self.tickets, &self.flag, &self.number, pid, Wants::new(0, None)).expect("a ticket")
    }

    /// As at the end of a request.
    fn give_back(&self) {
        self.taken.fetch_sub(1, SeqCst);
        if queue::may_wait(&self.flag) {
            queue::give(&self.tickets, &self.flag, 0, 0);
        }
    }

    fn has_place(&self) -> bool {
        self.taken.load(loom::sync::atomic::Ordering::Relaxed) == 0
    }

    fn leave(&self, held: &HeldTicket) {
        if queue::leave(&self.tickets, held) {
            queue::call(&self.tickets, Who::Pool(0), 0);
        }
    }
}
