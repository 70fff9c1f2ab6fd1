// SPDX-License-Identifier: Apache-2.0
//! Dictionaries and the queue.

use super::*;

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

/// One of two who find a dead writer's claim puts things right, and both do what they wanted.
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

/// A request that joins the queue sees the place that is given back, or is called.
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
        // The last one who gives back makes the place: waiters that were called before look again.
        while !served && queue::answer(&line.tickets, &held) {
            served = line.has_place();
        }
        assert!(served, "a place is free and nobody knows");
    });
}

/// A call that has been answered without finding a place can be followed by another.
#[test]
fn a_waiter_that_answers_a_call_misses_none_after_it() {
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

/// A waiter that gives up hands its call on, whenever it comes.
#[test]
fn a_waiter_that_gives_up_takes_no_call_along() {
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

/// The one who frees the ticket of a dead process leaves that of the next holder alone.
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
