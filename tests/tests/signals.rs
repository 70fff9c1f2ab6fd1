// SPDX-License-Identifier: Apache-2.0
//! Signals and threads stay httpd's: each promise is measured beside an httpd without the module,
//! in one run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::{Backend, Builder, Httpd, Mpm, eventually, on_every_mpm, patience, pool};

const SOON: Duration = Duration::from_secs(15);
const THREADS: usize = 4;
/// The one signal that threads which run scripts let through, as a bit of a mask in `/proc`.
const OF_THE_WATCH: u64 = 1 << (Signal::SIGURG as u64 - 1);

/// A server of two children, with or without mod_cgid.
fn server(mpm: Mpm, cgid: bool) -> Builder {
    let builder = Httpd::builder().mpm(mpm).threads(THREADS);
    if cgid { builder.module("cgid") } else { builder }
}

/// The same with the module: a pool, checks, a script, a timer, so that each of its threads exists.
fn with_the_module(mpm: Mpm, cgid: bool, backend: &Backend) -> Httpd {
    server(mpm, cgid)
        .file("s.lua", "function translate(r) return lb.pool('app'):pick(r) end\nfunction tick() end")
        .config(&pool("app", &[(backend, "")], "LuaBalancerHealthCheck tcp interval=100ms"))
        .config("<Location /script>\n  LuaHookTranslate s.lua\n</Location>")
        .config("LuaBalancerTimer s.lua tick every=100ms")
        .start()
}

/// The signals that a thread blocks, by the line of `/proc/…/status`.
fn mask(task: &Path, line: &str) -> Option<u64> {
    let status = fs::read_to_string(task.join("status")).ok()?;
    let hex = status.lines().find_map(|text| text.strip_prefix(line))?;
    u64::from_str_radix(hex.trim_start_matches(':').trim(), 16).ok()
}

/// The masks of a process, smallest first: one a thread, the module's own threads left out.
fn masks(pid: u32) -> Option<Vec<u64>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten().map(|task| task.path());
    let of_httpd = tasks.filter(|task| {
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        !name.starts_with("lua-balancer")
    });
    let mut masks: Vec<u64> = of_httpd.map(|task| mask(&task, "SigBlk")).collect::<Option<_>>()?;
    masks.sort_unstable();
    Some(masks)
}

/// How many threads a child that serves has, without the module's.
fn tasks(mpm: Mpm) -> usize {
    if mpm == Mpm::Prefork { 1 } else { THREADS + 2 }
}

/// The different sets of masks that the server's processes have, once their threads are complete
/// and no mask has changed for a while: a thread that has just been born has its maker's for a
/// moment.
fn all_masks(httpd: &Httpd, mpm: Mpm) -> BTreeSet<Vec<u64>> {
    let mut last = BTreeSet::new();
    eventually("masks that stay as they are", SOON, || {
        let sets: BTreeSet<Vec<u64>> = httpd.children().into_iter().map(masks).collect::<Option<_>>()?;
        let is_whole = sets.iter().any(|set| set.len() == tasks(mpm))
            && sets.iter().all(|set| set.len() == 1 || set.len() == tasks(mpm));
        let stays = is_whole && sets == last;
        last = sets;
        thread::sleep(Duration::from_millis(200));
        stays.then(|| last.clone())
    })
}

on_every_mpm!(threads_and_helpers_block_what_they_block_without_the_module);

fn threads_and_helpers_block_what_they_block_without_the_module(mpm: Mpm) {
    let backend = Backend::new("a");
    for cgid in [false, true] {
        let stock = all_masks(&server(mpm, cgid).stock().start(), mpm);
        let mut httpd = with_the_module(mpm, cgid, &backend);
        assert_eq!(all_masks(&httpd, mpm), stock, "{mpm:?}, mod_cgid {cgid}");
        httpd.graceful();
        assert_eq!(all_masks(&httpd, mpm), stock, "{mpm:?}, mod_cgid {cgid}, after a restart");
    }
}

on_every_mpm!(a_thread_that_runs_scripts_lets_one_more_signal_through);

fn a_thread_that_runs_scripts_lets_one_more_signal_through(mpm: Mpm) {
    let backend = Backend::new("a");
    let all_but_that = |httpd: &Httpd| -> BTreeSet<Vec<u64>> {
        let without = |set: Vec<u64>| {
            let mut set: Vec<u64> = set.into_iter().map(|mask| mask & !OF_THE_WATCH).collect();
            set.sort_unstable();
            set
        };
        all_masks(httpd, mpm).into_iter().map(without).collect()
    };
    let stock = all_but_that(&server(mpm, false).stock().start());
    let httpd = with_the_module(mpm, false, &backend);
    for _ in 0..THREADS * 8 {
        assert_eq!(httpd.client().get("/script/").status, 200);
    }
    assert_eq!(all_but_that(&httpd), stock);
}

/// The effect of a signal on a child that serves.
fn fate(httpd: &Httpd, mpm: Mpm, signal: Signal) -> &'static str {
    httpd.wait_for_children(2);
    all_masks(httpd, mpm);
    let child = *httpd.children().iter().max_by_key(|pid| httpd.threads_of(**pid)).expect("a child");
    httpd.signal(child, signal);
    let bit = 1 << (signal as u64 - 1);
    eventually("the signal's effect", SOON, || {
        if !httpd.children().contains(&child) {
            return Some("ends it");
        }
        masks(child)?.into_iter().all(|mask| mask & bit != 0).then_some("is blocked")
    })
}

on_every_mpm!(signals_to_a_child_do_what_they_do_without_the_module);

fn signals_to_a_child_do_what_they_do_without_the_module(mpm: Mpm) {
    let backend = Backend::new("a");
    let stock = server(mpm, false).stock().start();
    let httpd = with_the_module(mpm, false, &backend);
    let signals = [
        Signal::SIGQUIT,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGIO,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
    ];
    for signal in signals {
        let [expected, found] = [&stock, &httpd].map(|httpd| fate(httpd, mpm, signal));
        assert_eq!(found, expected, "{signal} to a child of {mpm:?}");
    }
}

/// How long a graceful restart with a request right after it, a restart, and the end of a server
/// took.
fn times(mut httpd: Httpd) -> [Duration; 3] {
    let start = Instant::now();
    httpd.graceful();
    eventually("an answer", SOON, || httpd.client().try_get("/nothing").ok());
    let graceful = start.elapsed();
    let start = Instant::now();
    httpd.restart();
    let restart = start.elapsed();
    [graceful, restart, httpd.stop().0]
}

on_every_mpm!(the_ends_of_a_server_take_no_longer_than_without_the_module);

fn the_ends_of_a_server_take_no_longer_than_without_the_module(mpm: Mpm) {
    let backend = Backend::new("a");
    for cgid in [false, true] {
        let stock = times(server(mpm, cgid).stock().start());
        let own = times(with_the_module(mpm, cgid, &backend));
        for ((what, stock), own) in ["graceful", "restart", "stop"].iter().zip(stock).zip(own) {
            // One and a half of the three seconds that httpd gives a deaf process are far from
            // either.
            let most = stock + patience(Duration::from_millis(1500));
            assert!(
                own < most,
                "{what} under {mpm:?}, mod_cgid {cgid}: {own:?}, {stock:?} without the module"
            );
        }
    }
}
