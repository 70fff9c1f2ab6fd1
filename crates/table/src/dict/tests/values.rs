// SPDX-License-Identifier: Apache-2.0
//! Values that are kept, and for how long.

use super::*;

#[test]
fn values_come_back_as_they_were() {
    let dict = dict(MIN_SIZE);
    let long = vec![0xa5; 10_000];
    for value in [
        Value::Bool(true),
        Value::Bool(false),
        Value::Integer(i64::MIN),
        Value::Number(-0.5),
        text(b""),
        text(b"\0x\0"),
        text(&[b'y'; 72]),
        text(&[b'z'; 73]),
        text(&long),
        Value::Integer(1),
    ] {
        for key in [&b""[..], b"k", b"12345678", &[7; 300], b"\0"] {
            set(&dict, key, &value);
            assert_eq!(dict.get(key), Ok(Some(value.clone())), "{key:?}");
            assert_eq!(dict.ttl(key), Ok(0.0));
        }
    }
    assert_eq!(dict.keys(0).unwrap().len(), 5);
    assert_eq!(dict.keys(3).unwrap().len(), 3);
    dict.delete(b"k").unwrap();
    dict.delete(b"unknown").unwrap();
    assert_eq!(dict.get(b"k"), Ok(None));
    dict.clear().unwrap();
    assert_eq!(dict.keys(0), Ok(vec![]));
    dict.check().unwrap();
    let (all, free) = dict.room();
    assert!(all == MIN_SIZE && free > MIN_SIZE * 9 / 10, "{free}");
}

#[test]
fn add_replace_and_incr_say_why_not() {
    let dict = dict(MIN_SIZE);
    let store = |how, value: &Value| dict.store(how, b"k", value, 0.0);
    let one = Value::Integer(1);
    assert_eq!(store(Store::Replace, &one), Err(DictError::NotFound));
    assert_eq!(dict.incr(b"k", 1.0, None, 0.0), Err(DictError::NotFound));
    assert_eq!(dict.ttl(b"k"), Err(DictError::NotFound));
    assert_eq!(dict.expire(b"k", 1.0), Err(DictError::NotFound));
    assert_eq!(store(Store::Add, &one), Ok(false));
    assert_eq!(store(Store::Add, &one), Err(DictError::Exists));
    assert_eq!(store(Store::Replace, &text(b"1")), Ok(false));
    assert_eq!(dict.incr(b"k", 1.0, Some(5.0), 0.0), Err(DictError::NotANumber));
    assert_eq!(dict.store(Store::Set, &[0; MAX_KEY + 1], &one, 0.0), Err(DictError::NoMemory));
    assert_eq!(dict.store(Store::Set, b"k", &text(&[0; MIN_SIZE]), 0.0), Err(DictError::NoMemory));
    assert_eq!(dict.get(b"k"), Ok(Some(text(b"1"))), "what could not be stored changes nothing");
    dict.check().unwrap();
}

#[test]
fn whole_numbers_stay_whole() {
    let dict = dict(MIN_SIZE);
    let incr = |by, init| dict.incr(b"n", by, init, 0.0).map(|(value, _)| value);
    assert_eq!(incr(2.0, Some(40.0)), Ok(Value::Integer(42)));
    assert_eq!(incr(-43.0, None), Ok(Value::Integer(-1)));
    assert_eq!(incr(0.5, None), Ok(Value::Number(-0.5)));
    assert_eq!(incr(0.5, None), Ok(Value::Number(0.0)));
    set(&dict, b"n", &Value::Integer(i64::MAX));
    assert_eq!(dict.incr(b"n", 1.0, None, 0.0).unwrap().0, Value::Number(i64::MAX as f64 + 1.0));
    let nan = dict.incr(b"new", f64::NAN, Some(0.0), 0.0).unwrap().0;
    assert!(matches!(nan, Value::Number(number) if number.is_nan()));
}

#[test]
fn time_to_live_has_milliseconds() {
    let dict = dict(MIN_SIZE);
    dict.store(Store::Set, b"k", &Value::Bool(true), 0.010).unwrap();
    assert_eq!(dict.ttl(b"k"), Ok(0.010));
    pass(9_999);
    assert_eq!((dict.get(b"k"), dict.ttl(b"k")), (Ok(Some(Value::Bool(true))), Ok(0.001)));
    pass(1);
    assert_eq!((dict.get(b"k"), dict.ttl(b"k")), (Ok(None), Err(DictError::NotFound)));
    assert_eq!(dict.keys(0), Ok(vec![]));
    assert_eq!(dict.store(Store::Add, b"k", &Value::Integer(1), 1.0), Ok(false));
    dict.expire(b"k", 2.0).unwrap();
    assert_eq!(dict.incr(b"k", 1.0, Some(9.0), 5.0).unwrap().0, Value::Integer(2));
    assert_eq!(dict.ttl(b"k"), Ok(2.0), "incr leaves the time of what is there");
    dict.expire(b"k", 0.0).unwrap();
    assert_eq!(dict.ttl(b"k"), Ok(0.0));
    assert_eq!(dict.incr(b"new", 1.0, Some(9.0), 5.0).unwrap().0, Value::Integer(10));
    assert_eq!(dict.ttl(b"new"), Ok(5.0));
    for (ttl, expected) in [(1e300, 0.0), (f64::INFINITY, 0.0), (f64::NAN, 0.0), (-1.0, 0.0), (1e-9, 0.001)] {
        dict.store(Store::Set, b"k", &Value::Bool(true), ttl).unwrap();
        assert_eq!(dict.ttl(b"k"), Ok(expected), "{ttl}");
    }
    pass(6_000_000);
    assert_eq!(dict.purge(0), Ok(2));
    assert_eq!(dict.purge(0), Ok(0));
    dict.check().unwrap();
}

#[test]
fn the_least_recently_used_go_first() {
    let dict = dict(MIN_SIZE);
    let key = |number: usize| number.to_string().into_bytes();
    let full = (0..).find(|number| {
        pass(20);
        set(&dict, &key(*number), &text(&[b'x'; 40]))
    });
    let full = full.unwrap();
    assert!(full > 200, "{full}");
    for (oldest, new) in (0..or_miri(100, 10)).filter(|oldest| *oldest != 7).zip(full + 1..) {
        // Looking at all keys uses none of them; getting one does.
        let keys = dict.keys(0).unwrap();
        let is_there = |number: usize| keys.contains(&key(number));
        assert!(!is_there(oldest) && is_there(new - 1), "{oldest} went for {}", new - 1);
        assert!((oldest + 1..new).all(is_there), "only the oldest went");
        pass(20);
        assert!(dict.get(&key(7)).unwrap().is_some(), "used all the time");
        assert!(set(&dict, &key(new), &Value::Integer(1)));
    }
    dict.check().unwrap();
    let thrown_out = or_miri(100, 10) as u64;
    assert_eq!((dict.evictions(), dict.last_refusal()), (thrown_out, None), "that is no refusal");
    let dict = dict.never_evicting();
    assert_eq!(dict.store(Store::Set, b"more", &Value::Bool(true), 0.0), Err(DictError::NoMemory));
    for (error, noted) in [(DictError::NoMemory, true), (DictError::Busy, true), (DictError::NotFound, false)]
    {
        dict.note_refusal(error, 7);
        let last = if noted { error } else { DictError::Busy };
        assert_eq!(dict.last_refusal(), Some((last, 7)));
    }
    assert_eq!(dict.evictions(), thrown_out);
    let there = dict.keys(1).unwrap().remove(0);
    assert_eq!(dict.store(Store::Add, &there, &Value::Bool(true), 0.0), Err(DictError::Exists));
    dict.delete(&there).unwrap();
    assert_eq!(dict.store(Store::Set, b"more", &Value::Bool(true), 0.0), Ok(false));
}

#[test]
fn the_oldest_sixteenth_goes_in_a_large_dictionary() {
    let dict = dict(or_miri(1 << 20, 1 << 17));
    let key = |number: usize| number.to_string().into_bytes();
    let mut number = 0;
    while !set(&dict, &key(number), &Value::Integer(1)) {
        number += 1;
        pass(1);
    }
    let chunks = number;
    for _ in 0..chunks * 3 {
        pass(50);
        number += 1;
        assert!(dict.get(&key(5)).unwrap().is_some(), "used all the time");
        assert!(set(&dict, &key(number), &Value::Integer(1)));
        // A question for the time does not use a key.
        let young = number - chunks / 16 * 14;
        assert!(dict.ttl(&key(young)).is_ok(), "{young} of {number} is among the younger ones");
    }
    assert!(dict.room().1 < 1024, "no more goes than has to");
    dict.check().unwrap();
}

#[test]
fn expired_entries_go_before_those_that_are_not() {
    let dict = dict(MIN_SIZE);
    let key = |number: u32| number.to_le_bytes();
    (0..100).for_each(|number| {
        dict.store(Store::Set, &key(number), &text(&[1; 60]), 1.0).unwrap();
    });
    pass(1_000_000);
    let evicted = (100..300).filter(|number| set(&dict, &key(*number), &text(&[1; 60]))).count();
    assert_eq!(evicted, 0);
    dict.check().unwrap();
}

#[test]
fn large_values_replace_large_values() {
    let dict = dict(MIN_SIZE);
    for round in 0..50usize {
        let value = text(&vec![round as u8; 11_000 + round * 40]);
        dict.store(Store::Set, b"large", &value, 0.0).unwrap();
        assert_eq!(dict.get(b"large"), Ok(Some(value)));
        set(&dict, &round.to_le_bytes(), &Value::Integer(1));
    }
    dict.check().unwrap();
}

#[test]
fn another_size_takes_over_what_was_used_last() {
    let old = dict(64 << 10);
    let many = or_miri(400, 60);
    for number in 0..many as u32 {
        dict_set_at(&old, number);
    }
    dict_expiring(&old);
    let larger = dict(128 << 10);
    assert_eq!(larger.carry_over(&old), Ok((many + 1, many + 1)));
    assert_eq!(larger.ttl(b"t"), Ok(5.0));
    let smaller = dict(MIN_SIZE);
    let (found, kept) = smaller.carry_over(&old).unwrap();
    assert!(found == many + 1 && kept > many / 2, "{kept}");
    assert!(
        (many as u32 / 2..many as u32)
            .all(|number: u32| smaller.get(&number.to_le_bytes()).unwrap().is_some())
    );
    assert_eq!((larger.evictions(), smaller.evictions()), (old.evictions(), old.evictions()));
    [larger, smaller].iter().for_each(|dict| dict.check().unwrap());
}

#[test]
fn sizes_have_limits() {
    let open =
        |size| Dict::on_heap(size, 0, Processes { me: process(1), condition, now_us: now }).map(|_| ());
    assert_eq!(open(MIN_SIZE - 1), Err(OpenError::Size(MIN_SIZE - 1)));
    for size in [MIN_SIZE, MIN_SIZE + 1, 1 << 20, (1 << 20) + 77, (5 << 20) + 13, 70 << 20, MAX_SIZE] {
        let geometry = geometry::Geometry::of(size).unwrap();
        assert!(geometry.end() <= size && geometry.end() > size / 10 * 9, "{size}: {geometry:?}");
    }
    for size in MIN_SIZE..MIN_SIZE + 3000 {
        assert!(geometry::Geometry::of(size).unwrap().end() <= size);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    /// While there is room it is a map.
    #[test]
    fn it_is_a_map_with_times(operations in proptest::collection::vec(operation(), 1..or_miri(80, 6))) {
        let (dict, mut model) = (dict(or_miri(128 << 10, MIN_SIZE)), Model::new());
        for operation in &operations {
            let expected = act_on_model(&mut model, operation);
            prop_assert_eq!(act(&dict, operation), expected, "{:?}", operation);
            compare(&dict, &model);
            dict.check().unwrap();
        }
    }

    /// A writer that dies at any step leaves the old state or the new one; the next one does it
    /// again.
    #[test]
    fn a_death_leaves_the_old_or_the_new(
        operations in proptest::collection::vec((operation(), 0..14u32), 1..or_miri(40, 6)),
    ) {
        let (dict, mut model) = (dict(or_miri(128 << 10, MIN_SIZE)), Model::new());
        for (operation, step) in &operations {
            let before = model.clone();
            let expected = act_on_model(&mut model, operation);
            let Some(answer) = dying(&dict, *step, |dict| act(dict, operation)) else {
                if matches!(operation, Operation::Clear) {
                    dict.clear().unwrap();
                }
                let old = std::panic::catch_unwind(|| compare_quietly(&dict, &before));
                if matches!(old, Ok(true)) {
                    model = before;
                }
                compare(&dict, &model);
                // The next writer puts it right.
                dict.delete(b"nothing").unwrap();
                dict.check().unwrap();
                compare(&dict, &model);
                continue;
            };
            prop_assert_eq!(answer, expected);
            compare(&dict, &model);
        }
        dict.delete(b"nothing").unwrap();
        dict.check().unwrap();
    }

    /// In a full dictionary every answer is the last one stored, or nothing; nothing leaks, also
    /// when writers die.
    #[test]
    fn a_full_one_forgets_and_never_lies(
        operations in proptest::collection::vec((0..200u8, 0..2500usize, 0..60u32), 1..or_miri(300, 40)),
    ) {
        let (dict, mut stored) = (dict(MIN_SIZE), HashMap::new());
        for (key, length, step) in &operations {
            pass(20);
            let value = text(&vec![*key; *length]);
            let done = dying(&dict, *step, |dict| dict.store(Store::Set, &[*key], &value, 0.0)).is_some();
            let found = dict.get(&[*key]).unwrap();
            if done {
                prop_assert_eq!(&found, &Some(value.clone()));
            }
            let is_one = found == Some(value) || found.is_none() || found == stored.get(key).cloned();
            prop_assert!(is_one);
            stored.insert(*key, found.unwrap_or(text(b"")));
        }
        dict.delete(b"nothing").unwrap();
        dict.check().unwrap();
        dict.clear().unwrap();
        prop_assert!(dict.room().1 > MIN_SIZE * 9 / 10);
    }
}
