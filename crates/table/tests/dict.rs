// SPDX-License-Identifier: Apache-2.0
//! Dictionaries between real processes, which are killed and stopped in the middle of what they do.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "what runs is measured")]
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use table::dict::{Condition, Dict, DictError, MIN_SIZE, PATIENCE, Process, Processes, Store, Value};

const CHILDREN: usize = 5;

fn condition(process: Process) -> Condition {
    // SAFETY: signal 0 only asks whether the process exists.
    if unsafe { libc::kill(process.pid, 0) } != 0 {
        return Condition::Dead;
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    match stat.rsplit(") ").next() {
        Some(rest) if rest.starts_with('T') => Condition::Stopped,
        _ => Condition::Running,
    }
}

fn now_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

fn map(bytes: usize) -> *mut u8 {
    // SAFETY: a fresh anonymous mapping; it stays until the test process ends.
    let base = unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    assert_ne!(base, libc::MAP_FAILED);
    base.cast()
}

fn shared(size: usize) -> Dict {
    let processes = Processes { me: Process::new(std::process::id() as i32, None), condition, now_us };
    let base = map(size);
    // SAFETY: a fresh mapping of that size, which stays.
    unsafe {
        drop(Dict::create(base, size, 99, processes).expect("a page is aligned"));
        Dict::attach(base, size, processes).expect("just made")
    }
}

/// Numbers that the processes share beside the dictionary.
fn numbers() -> &'static [AtomicU64] {
    // SAFETY: a fresh zeroed mapping that stays, of that size.
    unsafe { std::slice::from_raw_parts(map(4096).cast(), 512) }
}

/// Forks a child that does `work` with rising numbers until it is killed.
fn fork(dict: &Dict, work: impl Fn(&Dict, u64)) -> i32 {
    // SAFETY: the child runs on with the forking thread alone; it allocates, which glibc allows
    // after a fork, touches no lock of another thread, and is killed or leaves by _exit.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0);
        if pid > 0 {
            return pid;
        }
        libc::alarm(30);
        let dict = dict.clone().with_identity(Process::new(libc::getpid(), None));
        for round in 0.. {
            work(&dict, round);
        }
        libc::_exit(0)
    }
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: a child that this test has forked.
    unsafe { assert_eq!(libc::kill(pid, signal), 0) };
}

fn kill(pid: i32) {
    signal(pid, libc::SIGKILL);
    let mut status = 0;
    // SAFETY: as above.
    unsafe { assert_eq!(libc::waitpid(pid, &mut status, 0), pid) };
}

fn wait_until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "the children are stuck");
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// Each child counts on, in the dictionary and, afterwards, beside it: one who is killed has been
/// counted once more at most. Meanwhile it overwrites and deletes other keys.
#[test]
fn killed_children_lose_no_count_and_leave_no_claim() {
    let (dict, beside) = (shared(256 << 10), numbers());
    let work = |slot: usize| {
        move |dict: &Dict, round: u64| {
            let key = format!("count of slot {slot}");
            dict.incr(key.as_bytes(), 1.0, Some(0.0), 0.0).expect("room");
            beside[slot].fetch_add(1, SeqCst);
            dict.incr(b"all", 1.0, Some(0.0), 0.0).expect("room");
            let text = Value::Text(vec![b'a' + slot as u8; (round * 37 % 900) as usize + 1]);
            dict.store(Store::Set, b"text", &text, 0.0).expect("room");
            dict.store(Store::Set, &(round % 50).to_le_bytes(), &text, 0.0).expect("room");
            dict.delete(&(round * 7 % 50).to_le_bytes()).expect("no error");
            beside[100].fetch_add(1, SeqCst);
        }
    };
    dict.store(Store::Set, b"text", &Value::Text(vec![b'a']), 0.0).expect("room");
    let mut children: Vec<i32> = (0..CHILDREN).map(|slot| fork(&dict, work(slot))).collect();
    let mut seed = 5;
    let mut kills = 0;
    let end = Instant::now() + Duration::from_millis(2000);
    while Instant::now() < end {
        let before = beside[100].load(SeqCst);
        wait_until(|| {
            let found = dict.get(b"text").expect("readers wait for nobody");
            let Some(Value::Text(text)) = found else { panic!("a key that is only overwritten is absent") };
            assert!(text.iter().all(|byte| *byte == text[0]), "half of one text, half of another");
            beside[100].load(SeqCst) > before + 20
        });
        std::thread::sleep(Duration::from_micros(random(&mut seed) % 300));
        let slot = random(&mut seed) as usize % CHILDREN;
        kill(children[slot]);
        kills += 1;
        let key = format!("count of slot {slot}");
        let counted = dict.get(key.as_bytes()).expect("readable");
        let done = beside[slot].load(SeqCst) as i64;
        let counted = match counted {
            Some(Value::Integer(counted)) => counted,
            // It was killed before it began.
            None => 0,
            Some(other) => panic!("{other:?}"),
        };
        assert!((done..=done + 1).contains(&counted), "{counted} counted, {done} done");
        beside[slot].store(counted as u64, SeqCst);
        children[slot] = fork(&dict, work(slot));
    }
    children.into_iter().for_each(kill);
    // The next writer puts right what they left.
    dict.delete(b"nothing").expect("no error");
    dict.check().expect("consistent");
    let Ok(Some(Value::Integer(all))) = dict.get(b"all") else { panic!("no count") };
    let counts = (0..CHILDREN as u64).map(|slot| beside[slot as usize].load(SeqCst) as i64).sum::<i64>();
    assert!(
        (all - counts).abs() <= kills + CHILDREN as i64,
        "{all} in all, {counts} one by one, {kills} kills"
    );
    assert!(kills > 20, "only {kills} kills");
    dict.clear().expect("no error");
    assert!(dict.room().1 > (256 << 10) * 9 / 10);
}

#[test]
fn a_full_dictionary_outlives_its_writers() {
    let (dict, beside) = (shared(MIN_SIZE), numbers());
    let work = |number: u64| {
        move |dict: &Dict, round: u64| {
            let mut seed = number << 32 | round;
            let key = (random(&mut seed) % 100).to_le_bytes();
            let length = random(&mut seed) % if round.is_multiple_of(8) { 8000 } else { 200 };
            let text = Value::Text(vec![key[0]; length as usize]);
            let ttl = if round.is_multiple_of(3) { 0.001 } else { 0.0 };
            dict.store(Store::Set, &key, &text, ttl).expect("others go");
            beside[0].fetch_add(1, SeqCst);
        }
    };
    let mut seed = 9;
    let mut children: Vec<i32> = (0..CHILDREN as u64).map(|number| fork(&dict, work(number))).collect();
    let end = Instant::now() + Duration::from_millis(1500);
    let mut number = 100;
    while Instant::now() < end {
        let before = beside[0].load(SeqCst);
        wait_until(|| beside[0].load(SeqCst) > before + 20);
        std::thread::sleep(Duration::from_micros(random(&mut seed) % 300));
        let slot = random(&mut seed) as usize % CHILDREN;
        kill(children[slot]);
        for key in 0..100u64 {
            if let Some(Value::Text(text)) = dict.get(&key.to_le_bytes()).expect("readable") {
                assert!(text.iter().all(|byte| *byte == key as u8), "another key's value");
            }
        }
        number += 1;
        children[slot] = fork(&dict, work(number));
    }
    children.into_iter().for_each(kill);
    dict.delete(b"nothing").expect("no error");
    dict.check().expect("consistent");
    for key in 0..100u64 {
        let value = Value::Integer(key as i64);
        dict.store(Store::Set, &key.to_le_bytes(), &value, 0.0).expect("writable");
        assert_eq!(dict.get(&key.to_le_bytes()), Ok(Some(value)));
    }
    dict.clear().expect("no error");
    assert!(dict.room().1 > MIN_SIZE * 9 / 10, "space is lost");
}

/// A stopped process, perhaps in the middle of a change, holds up nobody for long, and goes on
/// later as if nothing was.
#[test]
fn a_stopped_writer_is_waited_for_and_not_for_ever() {
    let (dict, beside) = (shared(MIN_SIZE), numbers());
    let child = fork(&dict, |dict, round| {
        dict.incr(b"count", 1.0, Some(0.0), 0.0).expect("room");
        dict.store(Store::Set, b"text", &Value::Text(vec![round as u8; 2000]), 0.0).expect("room");
        beside[0].fetch_add(1, SeqCst);
    });
    wait_until(|| beside[0].load(SeqCst) > 10);
    let mut busy = 0;
    for round in 0..60 {
        if round > 8 && busy > 2 {
            break;
        }
        std::thread::sleep(Duration::from_micros(300 + 7 * round));
        signal(child, libc::SIGSTOP);
        let start = Instant::now();
        match dict.store(Store::Set, b"other", &Value::Bool(true), 0.0) {
            Ok(_) => {}
            Err(DictError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(start.elapsed() < PATIENCE * 6, "waited {:?}", start.elapsed());
        let Ok(Some(Value::Text(text))) = dict.get(b"text") else { panic!("absent while it is overwritten") };
        assert!(text.len() == 2000 && text.iter().all(|byte| *byte == text[0]));
        let before = beside[0].load(SeqCst);
        signal(child, libc::SIGCONT);
        wait_until(|| beside[0].load(SeqCst) > before);
    }
    kill(child);
    assert!(busy > 0, "it was never stopped in the middle of a change");
    dict.delete(b"nothing").expect("no error");
    dict.check().expect("consistent");
}
