// SPDX-License-Identifier: Apache-2.0
//! Processes that end or stop in the middle.

use super::*;

#[test]
fn a_dead_holders_claim_is_taken_over() {
    let dict = dict(MIN_SIZE);
    set(&dict, b"k", &Value::Integer(1));
    let segment = dict.memory.segment(0);
    segment.head.claim.store(wait::next_claim(process(99)).0, SeqCst);
    DEAD.with_borrow_mut(|dead| dead.insert(99));
    assert_eq!(dict.incr(b"k", 1.0, None, 0.0).unwrap().0, Value::Integer(2));
    dict.check().unwrap();
}

#[test]
fn a_stopped_holder_is_waited_for_and_not_for_ever() {
    let dict = timed(MIN_SIZE);
    set(&dict, b"k", &Value::Integer(1));
    let segment = dict.memory.segment(0);
    let other = wait::next_claim(process(99));
    segment.head.claim.store(other.0, SeqCst);
    let start = Instant::now();
    assert_eq!(dict.incr(b"k", 1.0, None, 0.0), Err(DictError::Busy));
    assert!(start.elapsed() >= PATIENCE && start.elapsed() < LONG_PATIENCE, "{:?}", start.elapsed());
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(dict.delete(b"k"), Err(DictError::Busy));
        assert_eq!(dict.get(b"k"), Ok(Some(Value::Integer(1))), "readers wait for nobody");
    }
    let at_once = PATIENCE * or_miri(4, 20) as u32;
    assert!(start.elapsed() < at_once, "once is enough to know: {:?}", start.elapsed());
    claim::release(&segment.head.claim, other);
    assert_eq!(dict.incr(b"k", 1.0, None, 0.0).unwrap().0, Value::Integer(2));
}

#[test]
fn a_running_holder_is_waited_for_longer() {
    let dict = timed(MIN_SIZE);
    let processes = Processes { condition: |_| Condition::Running, ..dict.processes };
    let dict = Dict { processes, ..dict };
    let cell = &dict.memory.segment(0).head.claim;
    let other = wait::next_claim(process(99));
    cell.store(other.0, SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(PATIENCE * 2);
            claim::release(cell, other);
        });
        assert_eq!(dict.store(Store::Set, b"k", &Value::Integer(1), 0.0), Ok(false));
    });
}

/// Every step of every operation, with a reader and (in vain) a writer in the middle.
#[test]
fn readers_see_the_old_or_the_new_while_a_writer_is_stopped() {
    let (old, new) = (text(&[1; 500]), text(&[2; 700]));
    let mut steps = 0;
    loop {
        let dict = timed(MIN_SIZE);
        set(&dict, b"k", &old);
        set(&dict, b"other", &old);
        let (_, found, stopped) = crash::around(
            steps,
            || set(&dict, b"k", &new),
            || (dict.get(b"k").unwrap(), dict.get(b"other").unwrap(), dict.keys(0).unwrap().len()),
        );
        let (found, other, keys) = found;
        assert!(found.as_ref() == Some(&old) || found.as_ref() == Some(&new), "step {steps}: {found:?}");
        assert_eq!((other.as_ref(), keys), (Some(&old), 2), "step {steps}");
        dict.check().unwrap();
        if !stopped {
            break;
        }
        steps += 1;
    }
    assert!(steps > 10, "only {steps} steps");
}

#[test]
fn threads_count_exactly_and_read_whole_values() {
    const ROUNDS: usize = or_miri(20_000, 40);
    let dict = timed(MIN_SIZE);
    set(&dict, b"text", &text(&[b'a'; 900]));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = [b'a', b'b', b'c']
            .into_iter()
            .map(|byte| {
                let dict = dict.clone();
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        dict.incr(b"count", 1.0, Some(0.0), 0.0).unwrap();
                        if round % 4 == 0 {
                            set(&dict, b"text", &text(&vec![byte; 800 + round % 300]));
                        }
                        if round % 16 == 0 {
                            set(&dict, &[byte; 20], &text(&vec![byte; round % 200]));
                            dict.delete(&[byte; 20]).unwrap();
                        }
                    }
                })
            })
            .collect();
        let (dict, done) = (&dict, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    let Some(Value::Text(found)) = dict.get(b"text").unwrap() else {
                        panic!("a key that is only overwritten is absent")
                    };
                    assert!(found.len() >= 800 && found.iter().all(|byte| *byte == found[0]));
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, SeqCst);
    });
    assert_eq!(dict.get(b"count"), Ok(Some(Value::Integer(3 * ROUNDS as i64))));
    dict.check().unwrap();
    assert!(Duration::from_micros(real_now()) > Duration::ZERO);
}
