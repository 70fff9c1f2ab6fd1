// SPDX-License-Identifier: Apache-2.0
//! Real processes on a real shared mapping, killed in the middle of what they do.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "what runs is measured")]
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use balance::live::Live;
use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::store::{Store, Vitals};
use balance::url::MemberUrl;
use table::{Geometry, Table};

const CHILDREN: usize = 6;

fn is_alive(pid: i32) -> bool {
    // SAFETY: signal 0 only asks whether the process exists.
    unsafe { libc::kill(pid, 0) == 0 }
}

fn shared(geometry: Geometry) -> Table {
    // SAFETY: a fresh anonymous mapping of that size; it stays until the test process ends.
    unsafe {
        let len = geometry.bytes();
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let base = libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(base, libc::MAP_FAILED);
        drop(Table::create(base.cast(), len, geometry).expect("a page is aligned"));
        Table::attach(base.cast(), len).expect("just made")
    }
    .with_identity(std::process::id() as i32, is_alive)
}

fn spec(number: u16) -> MemberSpec {
    let url = MemberUrl {
        scheme: "http".into(),
        host: "127.0.0.1".into(),
        port: number + 1,
        path: String::new(),
        socket: None,
    };
    MemberSpec { name: format!("m{number}"), route: format!("m{number}"), ..MemberSpec::new(url) }
}

/// Forks a child that does `work` until it is killed.
fn fork(table: &Table, work: fn(&Table, u64)) -> i32 {
    // SAFETY: the child runs on with the forking thread alone; it allocates, which glibc allows
    // after a fork, touches no lock of another thread, and is killed or leaves by _exit.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0);
        if pid > 0 {
            return pid;
        }
        libc::alarm(20);
        let mut table = table.clone();
        table.set_identity(libc::getpid());
        for round in 0.. {
            work(&table, round);
        }
        libc::_exit(0)
    }
}

fn kill(pid: i32) {
    let mut status = 0;
    // SAFETY: both concern a child that this test has forked.
    unsafe {
        assert_eq!(libc::kill(pid, libc::SIGKILL), 0);
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
    }
}

fn pause_until(end: Instant, condition: impl Fn() -> bool) -> bool {
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

fn count(table: &Table, _: u64) {
    let child = table.join(table.identity(), 1).expect("a lane");
    let mut random = table.identity() as u32;
    loop {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let slot = random >> 16 & 3;
        table.begin(&child, slot, 0);
        table.begin(&child, slot, 0);
        table.record(slot, 0, false, None);
        table.end(&child, slot);
        table.end(&child, slot);
    }
}

fn edit(table: &Table, round: u64) {
    if round == 0 {
        table.join(table.identity(), 1).expect("a lane");
    }
    let seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(table.identity() as u32 & 63);
    let numbers = (0..6).filter(|bit| seed >> bit & 1 == 1);
    let members: Vec<_> = numbers.map(spec).collect();
    let version = table.find_pool("app").map_or(0, |pool| table.version(pool));
    let pool = table.define("app", &PoolSettings::default(), &members, version).expect("room");
    let _ = table.add(pool, &spec(7));
    let _ = table.remove(pool, "m7");
}

#[test]
fn killed_children_leave_no_request_behind() {
    let geometry = Geometry {
        members: 4,
        pools: 1,
        children: 8,
        lane_bits: 16,
        chunks: 16,
        cursors: 1,
        tickets: 4,
        scripts: 0,
        script_bytes: 0,
        decisions: 0,
    };
    let table = shared(geometry);
    let members: Vec<_> = (0..4).map(spec).collect();
    table.define("app", &PoolSettings::default(), &members, 1).expect("room");
    let total = || (0..4).map(|slot| table.inflight(slot)).sum::<u32>();
    let mut children: Vec<i32> = (0..CHILDREN).map(|_| fork(&table, count)).collect();
    let end = Instant::now() + Duration::from_millis(900);
    let mut given_back = 0;
    for kills in 0.. {
        let victim = children.remove(0);
        let before = table.stats(0).requests;
        assert!(pause_until(end + Duration::from_secs(15), || table.stats(0).requests > before + 50));
        kill(victim);
        given_back += if kills % 2 == 0 { table.reap(victim) } else { table.reap_dead(&is_alive) };
        if Instant::now() > end {
            break;
        }
        children.push(fork(&table, count));
    }
    for child in children {
        kill(child);
        given_back += table.reap(child);
    }
    assert_eq!(total(), 0);
    assert!(given_back > 0, "no child was killed with a request");
    table.check().expect("consistent");
}

#[test]
fn killed_editors_leave_a_consistent_table() {
    let geometry = Geometry {
        members: 32,
        pools: 2,
        children: 8,
        lane_bits: 16,
        chunks: 128,
        cursors: 1,
        tickets: 4,
        scripts: 0,
        script_bytes: 0,
        decisions: 0,
    };
    let table = shared(geometry);
    let mut editors: Vec<i32> = (0..3).map(|_| fork(&table, edit)).collect();
    let end = Instant::now() + Duration::from_millis(900);
    let version = || table.find_pool("app").map_or(0, |pool| table.version(pool));
    while Instant::now() < end {
        let victim = editors.remove(0);
        let before = version();
        let moved = pause_until(Instant::now() + Duration::from_secs(15), || version() > before + 3);
        assert!(moved, "the editors are stuck at version {before}");
        kill(victim);
        table.reap(victim);
        editors.push(fork(&table, edit));
    }
    for editor in editors {
        kill(editor);
        table.reap(editor);
    }
    table.sweep();
    table.check().expect("consistent");
    let members = [spec(0), spec(9)];
    let pool = table.define("app", &PoolSettings::default(), &members, u64::MAX).expect("room");
    let image = table.read_pool(pool).expect("a pool");
    let names: Vec<_> = image.membership.members.iter().map(|member| member.spec.name.as_str()).collect();
    assert_eq!(names, ["m0", "m9"]);
    table.check().expect("consistent");
}
