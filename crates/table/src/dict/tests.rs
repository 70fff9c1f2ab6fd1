// SPDX-License-Identifier: Apache-2.0
//! Tests of a dictionary in one process: against a model, with deaths at every step, with stopped
//! writers.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::primitive::crash;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000_000) };
    static DEAD: RefCell<HashSet<i32>> = RefCell::new(HashSet::new());
}

fn now() -> u64 {
    NOW.get()
}

fn pass(micros: u64) {
    NOW.set(NOW.get() + micros);
}

fn condition(process: Process) -> Condition {
    if DEAD.with_borrow(|dead| dead.contains(&process.pid)) { Condition::Dead } else { Condition::Running }
}

fn real_now() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64 + 1_000_000
}

fn process(pid: i32) -> Process {
    Process::new(pid, Some(7))
}

fn dict(size: usize) -> Dict {
    let world = World { me: process(1), condition, now_us: now };
    Dict::on_heap(size, 42, world).expect("a valid size")
}

/// With the real clock, for threads.
fn timed(size: usize) -> Dict {
    let world = World { me: process(1), condition: |_| Condition::Stopped, now_us: real_now };
    Dict::on_heap(size, 42, world).expect("a valid size")
}

/// Does it as a process of its own, which dies at that step. None: it has died.
fn dying<T>(dict: &Dict, steps: u32, operation: impl FnOnce(&Dict) -> T) -> Option<T> {
    thread_local! {
        static NEXT: Cell<i32> = const { Cell::new(1000) };
    }
    let pid = NEXT.replace(NEXT.get() + 1);
    let own = dict.clone().with_identity(process(pid));
    let outcome = crash::after(steps, || operation(&own));
    if outcome.is_none() {
        DEAD.with_borrow_mut(|dead| dead.insert(pid));
    }
    outcome
}

/// How much of something: `under_miri` where every step takes a thousand times as long.
const fn or_miri(usual: usize, under_miri: usize) -> usize {
    if cfg!(miri) { under_miri } else { usual }
}

/// Under miri as many as PROPTEST_CASES says.
fn cases(usual: u32) -> ProptestConfig {
    if cfg!(miri) { ProptestConfig::default() } else { ProptestConfig::with_cases(usual) }
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(bytes.to_vec())
}

fn set(dict: &Dict, key: &[u8], value: &Value) -> bool {
    dict.store(Store::Set, key, value, 0.0).expect("stored")
}

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
    let dict = dict.never_evicting();
    assert_eq!(dict.store(Store::Set, b"more", &Value::Bool(true), 0.0), Err(DictError::NoMemory));
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
        // Asking for the time is no use of a key.
        let young = number - chunks / 16 * 14;
        assert!(dict.ttl(&key(young)).is_ok(), "{young} of {number} is among the younger ones");
    }
    assert!(dict.room().1 < 1024, "no more goes than has to");
    dict.check().unwrap();
}

#[test]
fn what_is_over_goes_before_what_is_not() {
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
    [larger, smaller].iter().for_each(|dict| dict.check().unwrap());
}

fn dict_set_at(dict: &Dict, number: u32) {
    pass(100);
    set(dict, &number.to_le_bytes(), &Value::Integer(number.into()));
}

fn dict_expiring(dict: &Dict) {
    pass(100);
    dict.store(Store::Set, b"t", &Value::Bool(true), 5.0).unwrap();
}

#[test]
fn sizes_have_limits() {
    let open = |size| Dict::on_heap(size, 0, World { me: process(1), condition, now_us: now }).map(|_| ());
    assert_eq!(open(MIN_SIZE - 1), Err(OpenError::Size(MIN_SIZE - 1)));
    for size in [MIN_SIZE, MIN_SIZE + 1, 1 << 20, (1 << 20) + 77, (5 << 20) + 13, 70 << 20, MAX_SIZE] {
        let geometry = geometry::Geometry::of(size).unwrap();
        assert!(geometry.end() <= size && geometry.end() > size / 10 * 9, "{size}: {geometry:?}");
    }
    for size in MIN_SIZE..MIN_SIZE + 3000 {
        assert!(geometry::Geometry::of(size).unwrap().end() <= size);
    }
}

/// The operations of the model.
#[derive(Debug, Clone)]
enum Operation {
    Store(Store, u8, usize, u8, u16),
    Incr(u8, i8, Option<i8>),
    Delete(u8),
    Expire(u8, u16),
    Pass(u16),
    Clear,
    Purge,
}

fn operation() -> impl Strategy<Value = Operation> {
    let how = prop_oneof![Just(Store::Set), Just(Store::Add), Just(Store::Replace)];
    let length = prop_oneof![4 => Just(usize::MAX), 4 => 0..100usize, 1 => 0..3000usize];
    let ttl = prop_oneof![Just(0u16), 1..50u16];
    prop_oneof![
        6 => (how, 0..12u8, length, any::<u8>(), ttl.clone())
            .prop_map(|(how, key, length, byte, ttl)| Operation::Store(how, key, length, byte, ttl)),
        4 => (0..12u8, any::<i8>(), any::<Option<i8>>()).prop_map(|(k, by, init)| Operation::Incr(k, by, init)),
        2 => (0..12u8).prop_map(Operation::Delete),
        1 => (0..12u8, ttl).prop_map(|(key, ttl)| Operation::Expire(key, ttl)),
        2 => (0..20_000u16).prop_map(Operation::Pass),
        1 => Just(Operation::Clear),
        1 => Just(Operation::Purge),
    ]
}

type Model = HashMap<Vec<u8>, (Value, u64)>;

fn key_of(key: u8) -> Vec<u8> {
    vec![key; usize::from(key) * 7]
}

fn value_of(length: usize, byte: u8) -> Value {
    if length == usize::MAX { Value::Integer(byte.into()) } else { text(&vec![byte; length]) }
}

/// Does it to the dictionary; the answer in words.
fn act(dict: &Dict, operation: &Operation) -> String {
    match operation {
        Operation::Store(how, key, length, byte, ttl) => {
            let ttl = f64::from(*ttl) / 1e3;
            format!("{:?}", dict.store(*how, &key_of(*key), &value_of(*length, *byte), ttl).map(|_| ()))
        }
        Operation::Incr(key, by, init) => {
            let (by, init) = (f64::from(*by), init.map(f64::from));
            format!("{:?}", dict.incr(&key_of(*key), by, init, 0.0).map(|(value, _)| value))
        }
        Operation::Delete(key) => format!("{:?}", dict.delete(&key_of(*key))),
        Operation::Expire(key, ttl) => {
            format!("{:?}", dict.expire(&key_of(*key), f64::from(*ttl) / 1e3))
        }
        Operation::Pass(_) => String::new(),
        Operation::Clear => format!("{:?}", dict.clear()),
        Operation::Purge => format!("{:?}", dict.purge(0).map(|_| ())),
    }
}

/// Does it to the model; the answer in words.
fn act_on_model(model: &mut Model, operation: &Operation) -> String {
    let ttl = |ttl: u16| if ttl == 0 { 0 } else { now() + u64::from(ttl) * 1000 };
    model.retain(|_, (_, expiry)| *expiry == 0 || *expiry > now());
    match operation {
        Operation::Store(how, key, length, byte, seconds) => {
            let there = model.contains_key(&key_of(*key));
            match how {
                Store::Add if there => return format!("{:?}", Err::<(), _>(DictError::Exists)),
                Store::Replace if !there => return format!("{:?}", Err::<(), _>(DictError::NotFound)),
                _ => {}
            }
            model.insert(key_of(*key), (value_of(*length, *byte), ttl(*seconds)));
            format!("{:?}", Ok::<_, DictError>(()))
        }
        Operation::Incr(key, by, init) => {
            let (before, expiry) = match (model.get(&key_of(*key)), init) {
                (Some((Value::Integer(before), expiry)), _) => (*before, *expiry),
                (Some(_), _) => return format!("{:?}", Err::<Value, _>(DictError::NotANumber)),
                (None, Some(init)) => (i64::from(*init), 0),
                (None, None) => return format!("{:?}", Err::<Value, _>(DictError::NotFound)),
            };
            let value = Value::Integer(before + i64::from(*by));
            model.insert(key_of(*key), (value.clone(), expiry));
            format!("{:?}", Ok::<_, DictError>(value))
        }
        Operation::Delete(key) => {
            model.remove(&key_of(*key));
            format!("{:?}", Ok::<_, DictError>(()))
        }
        Operation::Expire(key, seconds) => match model.get_mut(&key_of(*key)) {
            Some((_, expiry)) => {
                *expiry = ttl(*seconds);
                format!("{:?}", Ok::<_, DictError>(()))
            }
            None => format!("{:?}", Err::<(), _>(DictError::NotFound)),
        },
        Operation::Pass(micros) => {
            pass(u64::from(*micros));
            String::new()
        }
        Operation::Clear => {
            model.clear();
            format!("{:?}", Ok::<_, DictError>(()))
        }
        Operation::Purge => format!("{:?}", Ok::<_, DictError>(())),
    }
}

fn compare(dict: &Dict, model: &Model) {
    let model = |key: &[u8]| {
        let found = model.get(key).filter(|(_, expiry)| *expiry == 0 || *expiry > now());
        found.map(|(value, _)| value.clone())
    };
    for key in (0..12).map(key_of) {
        assert_eq!(dict.get(&key).unwrap(), model(&key), "{key:?}");
    }
    let mut keys = dict.keys(0).unwrap();
    keys.sort();
    let expected: Vec<_> = (0..12).map(key_of).filter(|key| model(key).is_some()).collect();
    assert_eq!(keys, expected);
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
                // Whoever writes next puts it right.
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

fn compare_quietly(dict: &Dict, model: &Model) -> bool {
    (0..12).map(key_of).all(|key| {
        let found = model.get(&key).filter(|(_, expiry)| *expiry == 0 || *expiry > now());
        dict.get(&key).unwrap() == found.map(|(value, _)| value.clone())
            && (found.is_none() || dict.ttl(&key).unwrap_or(-1.0) == ttl_of(found))
    })
}

fn ttl_of(found: Option<&(Value, u64)>) -> f64 {
    match found {
        Some((_, expiry)) if *expiry != 0 => (expiry - now()).div_ceil(1000) as f64 / 1e3,
        _ => 0.0,
    }
}

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
    let world = World { condition: |_| Condition::Running, ..dict.world };
    let dict = Dict { world, ..dict };
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
