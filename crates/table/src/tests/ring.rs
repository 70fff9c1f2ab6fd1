// SPDX-License-Identifier: Apache-2.0
//! Rings beside a table: what is kept of writers that die or stop, and over a larger table.

use super::{geometry, table};
use crate::primitive::crash;
use crate::protocol::AtomicU64;
use crate::ring::{EVENTS, PATIENCE_MS, Ring, RingRead, RingShape};
use crate::{Geometry, Table};

const SHAPE: RingShape = RingShape { entries: 4, bytes: 20 };

fn memory(shape: RingShape) -> Vec<AtomicU64> {
    (0..shape.words()).map(|_| AtomicU64::new(0)).collect()
}

fn entry(letter: u8) -> RingRead {
    RingRead::Entry(vec![letter; 20])
}

#[test]
fn the_last_entries_are_there_under_their_numbers() {
    let words = memory(SHAPE);
    let ring = Ring::over(&words, SHAPE);
    assert_eq!((ring.oldest(), ring.next(), ring.read(0, 0)), (0, 0, RingRead::Ahead));
    for letter in 0..10 {
        assert_eq!(ring.append(&[letter; 20], 0), Some(u64::from(letter)));
    }
    assert_eq!((ring.oldest(), ring.next()), (6, 10));
    let all: Vec<_> = (0..11).map(|number| ring.read(number, 0)).collect();
    let expected: Vec<_> = (0..11u8)
        .map(|number| match number {
            0..6 => RingRead::Lost,
            10 => RingRead::Ahead,
            number => entry(number),
        })
        .collect();
    assert_eq!(all, expected);
}

#[test]
fn entries_have_the_length_that_they_were_written_with() {
    let words = memory(SHAPE);
    let ring = Ring::over(&words, SHAPE);
    for length in [0, 1, 5, 6, 7, 19, 20, 21, 300] {
        let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let number = ring.append(&bytes, 0).expect("room");
        assert_eq!(ring.read(number, 0), RingRead::Entry(bytes[..bytes.len().min(20)].to_vec()));
    }
}

#[test]
fn a_ring_without_entries_keeps_nothing() {
    let shape = RingShape { entries: 0, ..SHAPE };
    let words = memory(shape);
    let ring = Ring::over(&words, shape);
    assert_eq!((ring.append(b"a", 0), ring.next(), ring.read(0, 0)), (None, 0, RingRead::Ahead));
}

#[test]
fn a_larger_ring_takes_entries_over_after_any_number_of_rounds() {
    let (shape, larger) = (RingShape { entries: 2, bytes: 8 }, RingShape { entries: 3, bytes: 8 });
    let words = memory(shape);
    let ring = Ring::over(&words, shape);
    let bytes = |number: u64| number.to_le_bytes().to_vec();
    for rounds in [0, 1, 2, 32_766, 32_767, 32_768, 40_000, 65_535, 65_536, 98_305] {
        while ring.next() < 3 * rounds {
            assert_eq!(ring.append(&bytes(ring.next()), 0), Some(ring.next() - 1));
        }
        let words = memory(larger);
        let taken = Ring::over(&words, larger);
        taken.carry(ring, u64::MAX);
        let (oldest, next) = (ring.oldest(), ring.next());
        assert_eq!(taken.next(), next);
        for number in taken.oldest()..next {
            let expected = if number < oldest { RingRead::Lost } else { RingRead::Entry(bytes(number)) };
            assert_eq!(taken.read(number, 0), expected, "{number} after {rounds} rounds");
        }
        for number in next..next + 6 {
            assert_eq!(taken.append(&bytes(number), 0), Some(number), "after {rounds} rounds");
            assert_eq!(taken.read(number, 0), RingRead::Entry(bytes(number)));
        }
    }
}

#[test]
fn tags_go_round_without_an_entry_lost() {
    let shape = RingShape { entries: 1, bytes: 6 };
    let words = memory(shape);
    let ring = Ring::over(&words, shape);
    for number in 0..140_000u64 {
        assert_eq!(ring.append(&number.to_le_bytes()[..6], 0), Some(number));
        assert_eq!(ring.read(number, 0), RingRead::Entry(number.to_le_bytes()[..6].to_vec()));
    }
}

/// At each of its steps.
#[test]
fn a_writer_that_dies_costs_its_own_entry_at_most() {
    for steps in 0.. {
        let words = memory(SHAPE);
        let ring = Ring::over(&words, SHAPE);
        ring.append(&[b'a'; 20], 0);
        if crash::after(steps, || ring.append(&[b'x'; 20], 0)).is_some() {
            assert!(steps > 4, "{steps} steps");
            break;
        }
        let before = ring.next();
        for letter in *b"bcd" {
            ring.append(&[letter; 20], 0).expect("kept");
        }
        assert_eq!(ring.next(), 5, "after {before}, {steps} steps");
        let all: Vec<_> = (1..5).map(|number| ring.read(number, PATIENCE_MS)).collect();
        assert_eq!(all, [RingRead::Lost, entry(b'b'), entry(b'c'), entry(b'd')], "{steps} steps");
        assert_eq!(ring.append(&[b'e'; 20], 0), Some(5));
        assert_eq!(ring.read(5, 0), entry(b'e'), "its place is used again");
    }
}

/// At each of its steps, while the ring goes round once or twice.
#[test]
fn a_writer_that_was_stopped_takes_nothing_away() {
    for newer in 3..9u64 {
        for steps in 0.. {
            let words = memory(SHAPE);
            let ring = Ring::over(&words, SHAPE);
            let meanwhile = || {
                let numbers = (0..newer).map(|at| ring.append(&[at as u8; 20], 0).expect("kept"));
                numbers.collect::<Vec<_>>()
            };
            let (late, numbers, was_stopped) =
                crash::around(steps, || ring.append(&[b'x'; 20], 0), meanwhile);
            if !was_stopped {
                break;
            }
            for (at, number) in numbers.iter().enumerate().filter(|(_, number)| **number >= ring.oldest()) {
                assert_eq!(ring.read(*number, 0), entry(at as u8), "{steps} steps, {newer} newer");
            }
            let is_there = ring.read(0, 0) == entry(b'x');
            assert_eq!(late.is_some(), is_there || late.is_some_and(|late| late > 0), "{steps} steps");
        }
    }
}

#[test]
fn an_entry_that_is_being_written_is_waited_for() {
    let words = memory(SHAPE);
    let ring = Ring::over(&words, SHAPE);
    crash::after(3, || ring.append(&[b'x'; 20], 50_000));
    assert_eq!(ring.read(0, 50_000 + PATIENCE_MS - 1), RingRead::Pending);
    assert_eq!(ring.read(0, 50_000 + PATIENCE_MS), RingRead::Lost);
    // Another processor's clock may be a little behind.
    assert_eq!(ring.read(0, 49_999), RingRead::Pending);
}

#[test]
fn a_larger_table_has_the_events_of_the_one_before() {
    let old = table();
    for number in 0..1500u32 {
        old.events().append(&number.to_le_bytes(), 1);
    }
    crash::after(3, || old.events().append(b"half", 1));
    let new = Table::on_heap(Geometry { members: 48, ..geometry() }).expect("a valid geometry");
    new.carry_over(&old).expect("room");
    let events = new.events();
    assert_eq!((events.oldest(), events.next()), (1501 - EVENTS.entries as u64, 1501));
    for number in events.oldest()..1500 {
        assert_eq!(events.read(number, 1), RingRead::Entry((number as u32).to_le_bytes().to_vec()));
    }
    assert_eq!(events.read(1500, 1), RingRead::Lost);
    assert_eq!(events.append(b"next", 2), Some(1501));
}
