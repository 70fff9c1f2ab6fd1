// SPDX-License-Identifier: Apache-2.0
//! Rows, lanes, the lead, sources and texts.

use super::*;

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

/// A child gives nothing up that it keeps for a member while a request of its own uses it.
#[test]
fn a_child_is_not_done_with_a_member_under_its_request() {
    model(4, || {
        let row = Arc::new((cell(), live_row(), AtomicU64::new(1)));
        let lane = Lane::of(1, 16);
        let request = {
            let row = row.clone();
            thread::spawn(move || {
                if lanes::begin(&row.0, lane, &row.1, 0) {
                    assert_eq!(row.2.load(SeqCst), 1, "it was given up under a request");
                    lanes::subtract(&row.0, lane);
                }
            })
        };
        assert!(life::retire_live(&row.1, 0));
        if lanes::is_over(&row.0, lane, &row.1, 0) {
            row.2.store(0, SeqCst);
        }
        request.join().unwrap();
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
            assert_eq!(Owner::load(&state.1.owner).phase(), children::LanePhase::Free);
        }
    });
}

/// At most one of two who add one name succeeds, and a loser that was beaten by a live row says so
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
        let won = verdicts.iter().filter(|verdict| matches!(verdict, ContestEnd::Live(_))).count();
        assert_eq!(live, won);
        assert!(live <= 1, "{verdicts:?}");
        if verdicts.iter().any(|verdict| matches!(verdict, ContestEnd::Taken(_))) {
            assert_eq!(live, 1, "{verdicts:?}");
        }
        for row in rows.iter() {
            assert!(matches!(Life::load(row).phase(), LifePhase::Live | LifePhase::Removed));
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

/// A reader of a text sees one text, although its chunks are used again at once.
#[test]
fn texts_are_read_whole() {
    model(2, || {
        let state = Arc::new((
            [TextChunk::new(), TextChunk::new(), TextChunk::new(), TextChunk::new()],
            cell(),
            cell(),
        ));
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
        let state = Arc::new(([TextChunk::new(), TextChunk::new(), TextChunk::new()], cell(), cell()));
        let short = |letter: u8| RowText { text: vec![letter; 8], ..record(letter) };
        let replace = move |state: &([TextChunk; 3], AtomicU64, AtomicU64), letter: u8, pid: i32| {
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

/// While two write an error at once a reader sees one, whole, or none; and later ones are not kept
/// from writing.
#[test]
fn an_error_is_read_whole_and_the_next_one_can_be_written() {
    model(2, || {
        let row = Arc::new(TroubleRow::new());
        let said = |key: u64| TroubleWords { key, at_s: key, text: vec![key as u8] };
        let other = {
            let row = row.clone();
            thread::spawn(move || trouble::write(&row, &said(1), 1, 5, &alive))
        };
        trouble::write(&row, &said(2), 2, 5, &alive);
        let seen = trouble::read(&row);
        assert!(seen.is_none() || seen == Some(said(1)) || seen == Some(said(2)), "{seen:?}");
        other.join().unwrap();
        trouble::write(&row, &said(3), 3, 6, &alive);
        assert_eq!(trouble::read(&row), Some(said(3)));
    });
}
