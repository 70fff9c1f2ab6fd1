// SPDX-License-Identifier: Apache-2.0
//! The protocols under every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p table --release
//! --test loom`.
#![cfg(loom)]
#![allow(clippy::disallowed_methods, reason = "loom has threads of its own")]

use loom::sync::Arc;
use loom::sync::atomic::Ordering::SeqCst;
use loom::thread;
use table::protocol::AtomicU64;
use table::protocol::children::{self, ChildRow, Owner};
use table::protocol::claim::{self, Claim, Process, Taken, Wait};
use table::protocol::contest::{self, Field, Verdict};
use table::protocol::lanes::{self, Lane};
use table::protocol::lead::{self, Lead, Term};
use table::protocol::life::{self, Life, Phase};
use table::protocol::queue::{self, Held, Ticket, Wants, Who};
use table::protocol::scripts::{self, ScriptRow};
use table::protocol::segment::{self, How, Item, Segment, SegmentHead, Torn, Value};
use table::protocol::text::{self, Chunk, Record};

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
    AtomicU64::new(Life::new(Phase::Live, 0, 0).0)
}

/// A request that was counted in keeps its row from being used again.
#[test]
fn a_row_is_not_used_again_under_a_request() {
    model(4, || {
        let row = Arc::new((cell(), live_row()));
        let request = {
            let row = row.clone();
            thread::spawn(move || lanes::begin(&row.0, Lane::of(1, 16), &row.1, 0))
        };
        assert!(life::retire_live(&row.1, 0));
        let reused = lanes::idle([&row.0]) && life::claim(&row.1, Life::load(&row.1), 9).is_some();
        let counted = request.join().unwrap();
        assert!(!(counted && reused), "the row was used again under a request");
        assert_eq!(row.0.load(SeqCst) != 0, counted, "a refused request leaves no count");
    });
}

/// Emptying a dead child's lane takes nothing of its neighbour's and gives back what there was,
/// once.
#[test]
fn a_reaper_leaves_the_neighbours_alone() {
    model(3, || {
        let state = Arc::new((cell(), live_row(), ChildRow::new()));
        let (dead, neighbour) = (Lane::of(0, 16), Lane::of(1, 16));
        let owner = children::take(&state.2, 7, &alive).expect("free");
        assert!(lanes::begin(&state.0, dead, &state.1, 0));
        let reap = |me: i32| {
            let state = state.clone();
            thread::spawn(move || {
                children::reap(&state.2, owner, me, &alive, &mut || lanes::clear(&state.0, dead))
            })
        };
        let other = reap(11);
        let first = {
            let state = state.clone();
            thread::spawn(move || {
                assert!(lanes::begin(&state.0, neighbour, &state.1, 0));
                lanes::subtract(&state.0, neighbour)
            })
        };
        let given_back = children::reap(&state.2, owner, 12, &alive, &mut || lanes::clear(&state.0, dead));
        assert!(first.join().unwrap());
        assert_eq!(given_back + other.join().unwrap(), 1);
        assert_eq!(state.0.load(SeqCst), 0);
    });
}

/// However slow a reaper is, it does not empty the lane of the next owner.
#[test]
fn a_slow_reaper_does_not_empty_the_next_owners_lane() {
    model(4, || {
        let state = Arc::new((cell(), ChildRow::new()));
        let lane = Lane::of(0, 16);
        let owner = children::take(&state.1, 7, &alive).expect("free");
        lanes::add(&state.0, lane);
        let slow = {
            let state = state.clone();
            thread::spawn(move || {
                children::reap(&state.1, owner, 11, &alive, &mut || lanes::clear(&state.0, lane));
            })
        };
        children::reap(&state.1, owner, 12, &alive, &mut || lanes::clear(&state.0, lane));
        if children::take(&state.1, 7, &alive).is_some() {
            lanes::clear(&state.0, lane);
            lanes::add(&state.0, lane);
            slow.join().unwrap();
            assert_eq!(lanes::held(&state.0, lane), 1);
        } else {
            slow.join().unwrap();
            assert_eq!(state.0.load(SeqCst), 0);
            assert_eq!(Owner::load(&state.1.owner).phase(), children::Phase::Free);
        }
    });
}

fn add(rows: &[AtomicU64; 2], mine: usize) -> Verdict {
    let seen = Life::load(&rows[mine]);
    let building = life::claim(&rows[mine], seen, mine as i32 + 1).expect("free");
    let announced = life::announce(&rows[mine], building).expect("mine");
    let field =
        Field { rows: 2, life: &|row| &rows[row], same_name: &|_| true, patience: u32::from(mine == 1) };
    contest::run(&field, mine, announced, &|| true)
}

/// Of two who add one name at most one succeeds, and a loser that was beaten by a live row says so
/// rightly.
#[test]
fn two_adders_of_one_name_never_both_succeed() {
    model(4, || {
        let rows = Arc::new([cell(), cell()]);
        let other = {
            let rows = rows.clone();
            thread::spawn(move || add(&rows, 1))
        };
        let verdicts = [add(&rows, 0), other.join().unwrap()];
        let live = rows.iter().filter(|row| Life::load(row).is_live()).count();
        let won = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Live(_))).count();
        assert_eq!(live, won);
        assert!(live <= 1, "{verdicts:?}");
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Taken(_))) {
            assert_eq!(live, 1, "{verdicts:?}");
        }
        for row in rows.iter() {
            assert!(matches!(Life::load(row).phase(), Phase::Live | Phase::Removed));
        }
    });
}

/// One leads, also when the lease of another ends.
#[test]
fn one_process_takes_the_lead() {
    model(4, || {
        let words = Arc::new([cell(), cell()]);
        assert_eq!(
            lead::lead(&words[0], &words[1], (7, 0), Term { now_ms: 0, lease_ms: 100 }, &alive),
            Lead::Taken
        );
        let ask = |pid: i32| {
            let words = words.clone();
            thread::spawn(move || {
                lead::lead(&words[0], &words[1], (pid, 0), Term { now_ms: 1000, lease_ms: 100 }, &alive)
            })
        };
        let others = [ask(8), ask(9)];
        let old = lead::lead(&words[0], &words[1], (7, 0), Term { now_ms: 1000, lease_ms: 100 }, &alive);
        let answers = others.map(|other| other.join().unwrap());
        let taken = answers.iter().filter(|&&answer| answer == Lead::Taken).count();
        assert_eq!(taken + usize::from(old == Lead::Kept), 1, "{old:?} {answers:?}");
    });
}

/// A reader of sources sees the old ones or the new ones.
#[test]
fn sources_are_read_whole() {
    model(3, || {
        let state = Arc::new((ScriptRow::new(), [[cell(), cell()], [cell(), cell()], [cell(), cell()]]));
        let publish = |state: &(ScriptRow, [[AtomicU64; 2]; 3]), stamp: u64| {
            let copies = [&state.1[0][..], &state.1[1], &state.1[2]];
            assert!(scripts::claim(&state.0, stamp, 1, 0, &alive));
            let sources = [stamp as u8; 16];
            assert_eq!(scripts::publish(&state.0, copies, (stamp, &sources), 1, &alive), Ok(stamp));
        };
        publish(&state, 1);
        let writer = {
            let state = state.clone();
            thread::spawn(move || {
                publish(&state, 2);
                publish(&state, 3);
            })
        };
        let copies = [&state.1[0][..], &state.1[1], &state.1[2]];
        let (version, sources) = scripts::read(&state.0, copies).expect("there always is a version");
        assert_eq!(sources, [version as u8; 16]);
        writer.join().unwrap();
    });
}

fn record(letter: u8) -> Record {
    Record { order: 0, config: u64::from(letter), text: vec![letter; 40] }
}

fn replace(chunks: &[Chunk], cell: &AtomicU64, hint: &AtomicU64, letter: u8) {
    let held = text::fill(chunks, &record(letter), 0, 1, hint);
    assert!(!held.is_empty());
    let seen = cell.load(SeqCst);
    let old = text::chain(chunks, seen);
    assert!(text::link(cell, seen, &held));
    text::settle(chunks, &held, 1);
    text::free(chunks, &old);
}

/// A reader of a text sees one text, although its chunks are used again at once.
#[test]
fn texts_are_read_whole() {
    model(2, || {
        let state = Arc::new(([Chunk::new(), Chunk::new(), Chunk::new(), Chunk::new()], cell(), cell()));
        replace(&state.0, &state.1, &state.2, b'a');
        let writer = {
            let state = state.clone();
            thread::spawn(move || {
                replace(&state.0, &state.1, &state.2, b'b');
                replace(&state.0, &state.1, &state.2, b'c');
            })
        };
        let (_, found) = text::read(&state.0, &state.1).expect("there always is a text");
        assert_eq!(found, record(found.text[0]));
        writer.join().unwrap();
    });
}

/// Two who replace one text, and one who looks for leaks: no chunk is lost, none is freed under the
/// text.
#[test]
fn chunks_are_freed_once() {
    model(3, || {
        let state = Arc::new(([Chunk::new(), Chunk::new(), Chunk::new()], cell(), cell()));
        let short = |letter: u8| Record { text: vec![letter; 8], ..record(letter) };
        let replace = move |state: &([Chunk; 3], AtomicU64, AtomicU64), letter: u8, pid: i32| {
            let held = text::fill(&state.0, &short(letter), 0, pid, &state.2);
            if held.is_empty() {
                return;
            }
            let seen = state.1.load(SeqCst);
            let old = text::chain(&state.0, seen);
            if text::link(&state.1, seen, &held) {
                text::settle(&state.0, &held, pid);
                text::free(&state.0, &old);
            } else {
                text::free(&state.0, &held);
            }
        };
        replace(&state, b'a', 1);
        let writer = {
            let state = state.clone();
            thread::spawn(move || replace(&state, b'b', 2))
        };
        let sweeper = {
            let state = state.clone();
            thread::spawn(move || {
                for index in 0..3 {
                    text::reclaim(&state.0, index, &|_| Some(&state.1), &alive);
                }
            })
        };
        let third = thread::spawn({
            let state = state.clone();
            move || replace(&state, b'c', 3)
        });
        for thread in [writer, sweeper, third] {
            thread.join().unwrap();
        }
        let (_, found) = text::read(&state.0, &state.1).expect("a text");
        assert_eq!(found, short(found.text[0]));
        assert_eq!(state.0.iter().filter(|chunk| text::is_used(chunk)).count(), 1);
    });
}

/// A dictionary's segment of one bucket and a few chunks.
struct Small {
    head: SegmentHead,
    buckets: [AtomicU64; 1],
    chunks: [segment::Chunk; 4],
    /// Whether the process that died is dead for the others.
    dead: AtomicU64,
}

const DEAD: Process = Process { pid: 66, born: 0 };

impl Small {
    fn new() -> Arc<Self> {
        let chunk = segment::Chunk::new;
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
                return Wait::TakeOver;
            }
            thread::yield_now();
            Wait::Again
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

/// A key that is overwritten is there, and its value is whole, although its chunks are used again
/// at once.
#[test]
fn overwritten_values_are_read_whole_and_are_never_absent() {
    for value in [long as fn(u8) -> Value, |byte| Value::Text(vec![byte; 16])] {
        model(2, move || {
            let small = Small::new();
            small.set(1, b"k", &value(b'a'));
            let writer = {
                let small = small.clone();
                thread::spawn(move || {
                    small.set(2, b"k", &value(b'b'));
                    small.set(2, b"k", &value(b'c'));
                })
            };
            if let Some(found) = small.get(b"k") {
                let found = found.expect("a key that is only overwritten is absent");
                assert!([b'a', b'b', b'c'].map(value).contains(&found), "{found:?}");
            }
            writer.join().unwrap();
            assert_eq!(small.get(b"k"), Some(Some(value(b'c'))));
            small.segment().check().unwrap();
        });
    }
}

/// Nobody finds another key's value, nor misses a key, because a neighbour in the bucket goes and
/// its chunk is used again.
#[test]
fn a_neighbours_chunk_is_used_again_under_a_reader() {
    model(2, || {
        let small = Small::new();
        small.set(1, b"k", &Value::Integer(1));
        // In front of the first in the only bucket.
        small.set(1, b"x", &Value::Integer(2));
        let writer = {
            let small = small.clone();
            thread::spawn(move || {
                small.write(2, |segment| segment.delete(hash(b"x"), b"x"));
                small.set(2, b"y", &Value::Integer(3));
            })
        };
        if let Some(found) = small.get(b"k") {
            assert_eq!(found, Some(Value::Integer(1)));
        }
        if let Some(Some(found)) = small.get(b"x") {
            assert_eq!(found, Value::Integer(2));
        }
        writer.join().unwrap();
        small.segment().check().unwrap();
    });
}

/// Two who count at once are both counted.
#[test]
fn counts_add_up() {
    model(3, || {
        let small = Small::new();
        let other = {
            let small = small.clone();
            thread::spawn(move || small.incr(2))
        };
        small.incr(1);
        other.join().unwrap();
        assert_eq!(small.get(b"n"), Some(Some(Value::Integer(2))));
        small.segment().check().unwrap();
    });
}

impl Small {
    /// A writer that dies half way: chunks taken and written, nothing linked, the claim kept.
    fn die_writing(&self) {
        let mine = Claim::new(DEAD, 0, 0);
        if claim::take(&self.head.claim, mine, &mut |_| Wait::GiveUp).is_some() {
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

/// Of two who find a dead writer's claim one puts things right, and both do what they wanted.
#[test]
fn a_dead_writers_claim_is_taken_over_by_one() {
    model(2, || {
        let small = Small::new();
        small.set(1, b"k", &long(b'a'));
        small.die_writing();
        let other = {
            let small = small.clone();
            thread::spawn(move || small.incr(2))
        };
        small.incr(3);
        other.join().unwrap();
        small.check_after_a_death(2);
    });
}

/// A writer dies while another one waits for it.
#[test]
fn a_claim_is_taken_over_when_its_holder_dies() {
    model(2, || {
        let small = Small::new();
        small.set(1, b"k", &long(b'a'));
        let dying = {
            let small = small.clone();
            thread::spawn(move || small.die_writing())
        };
        small.incr(3);
        dying.join().unwrap();
        small.check_after_a_death(1);
    });
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

    fn join(&self, pid: i32) -> Held {
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

    fn leave(&self, held: &Held) {
        if queue::leave(&self.tickets, held) {
            queue::call(&self.tickets, Who::Pool(0), 0);
        }
    }
}

/// Who joins the queue sees the place that is given back, or is called.
#[test]
fn a_place_is_seen_or_called_out() {
    model(4, || {
        let line = Arc::new(Line::new(1, 0));
        let giver = {
            let line = line.clone();
            thread::spawn(move || line.give_back())
        };
        let held = line.join(7);
        let seen = line.has_place();
        giver.join().unwrap();
        assert!(seen || queue::answer(&line.tickets, &held), "neither seen nor called");
    });
}

/// Also while another finds nobody waiting and takes the flag down.
#[test]
fn taking_the_flag_down_loses_no_call() {
    model(4, || {
        let line = Arc::new(Line::new(2, 1));
        let givers = [(); 2].map(|()| {
            let line = line.clone();
            thread::spawn(move || line.give_back())
        });
        let held = line.join(7);
        let mut served = line.has_place();
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        // The last one who gives back makes the place: whoever was called before looks again.
        while !served && queue::answer(&line.tickets, &held) {
            served = line.has_place();
        }
        assert!(served, "a place is free and nobody knows");
    });
}

/// A call that has been answered without finding a place can be followed by another.
#[test]
fn who_answers_a_call_misses_none_after_it() {
    model(4, || {
        let line = Arc::new(Line::new(2, 0));
        let held = line.join(7);
        let giver = {
            let line = line.clone();
            thread::spawn(move || {
                line.give_back();
                line.give_back();
            })
        };
        let mut served = queue::answer(&line.tickets, &held) && line.has_place();
        giver.join().unwrap();
        while !served && queue::answer(&line.tickets, &held) {
            served = line.has_place();
        }
        assert!(served, "a place is free and nobody knows");
    });
}

/// Who gives up hands its call on, whenever it comes.
#[test]
fn who_gives_up_takes_no_call_along() {
    model(4, || {
        let line = Arc::new(Line::new(1, 0));
        let (impatient, patient) = (line.join(7), line.join(8));
        let giver = {
            let line = line.clone();
            thread::spawn(move || line.give_back())
        };
        line.leave(&impatient);
        giver.join().unwrap();
        assert!(queue::answer(&line.tickets, &patient), "the call was lost");
    });
}

/// Whoever frees the ticket of a dead process leaves that of the next holder alone.
#[test]
fn a_slow_gravedigger_buries_nobody_else() {
    model(4, || {
        let line = Arc::new(Line::new(1, 0));
        line.join(7);
        let slow = {
            let line = line.clone();
            thread::spawn(move || {
                queue::bury(&line.tickets, &|pid| pid == 7);
            })
        };
        queue::bury(&line.tickets, &|pid| pid == 7);
        let held = line.join(8);
        slow.join().unwrap();
        line.give_back();
        assert!(queue::answer(&line.tickets, &held), "the ticket of the living was freed");
    });
}

/// Two places become free while one waits and another joins: both are served.
#[test]
fn of_two_places_none_is_forgotten() {
    model(3, || {
        let line = Arc::new(Line::new(2, 0));
        let first = line.join(7);
        let giver = {
            let line = line.clone();
            thread::spawn(move || {
                line.give_back();
                line.give_back();
            })
        };
        let second = line.join(8);
        let is_first = !queue::is_ahead(&line.tickets, Some(&second), Wants::new(0, None), 0);
        giver.join().unwrap();
        assert!(queue::answer(&line.tickets, &first), "the first one was not called");
        line.leave(&first);
        assert!(is_first || queue::answer(&line.tickets, &second), "a place is free and nobody knows");
    });
}

/// A place that becomes free while the first in line is called to look round is found by it, and
/// nobody else is called for it.
#[test]
fn a_place_that_meets_a_look_round_is_the_first_ones() {
    model(3, || {
        let line = Arc::new(Line::new(1, 0));
        let (first, second) = (line.join(7), line.join(8));
        let giver = {
            let line = line.clone();
            thread::spawn(move || line.give_back())
        };
        queue::call(&line.tickets, Who::Quiet(0, 0), 0);
        let mut served = queue::answer(&line.tickets, &first) && line.has_place();
        giver.join().unwrap();
        while !served && queue::answer(&line.tickets, &first) {
            served = line.has_place();
        }
        assert!(served, "a place is free and nobody knows");
        assert!(!queue::answer(&line.tickets, &second), "two look for one place");
    });
}
