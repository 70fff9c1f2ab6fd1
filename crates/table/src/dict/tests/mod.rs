// SPDX-License-Identifier: Apache-2.0
//! Tests of a dictionary in one process: against a model, with deaths at every step, with stopped
//! writers.

mod processes;
mod values;

use super::*;
use crate::primitive::crash;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

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
    let processes = Processes { me: process(1), condition, now_us: now };
    Dict::on_heap(size, 42, processes).expect("a valid size")
}

/// With the real clock, for threads.
fn timed(size: usize) -> Dict {
    let processes = Processes { me: process(1), condition: |_| Condition::Stopped, now_us: real_now };
    Dict::on_heap(size, 42, processes).expect("a valid size")
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

fn dict_set_at(dict: &Dict, number: u32) {
    pass(100);
    set(dict, &number.to_le_bytes(), &Value::Integer(number.into()));
}

fn dict_expiring(dict: &Dict) {
    pass(100);
    dict.store(Store::Set, b"t", &Value::Bool(true), 5.0).unwrap();
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
