// SPDX-License-Identifier: Apache-2.0
//! Restarts with changes between them: no answer lost, nothing forgotten, nothing kept that is of
//! no use.
//!
//! `RESTARTS=100` makes the runs long.

use std::fs;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_tests::{Backend, Httpd, Load, Mpm, on_every_mpm, patience, pool, slower, wait_until};

const SOON: Duration = Duration::from_secs(15);

fn restarts() -> usize {
    std::env::var("RESTARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

/// The pools of the `round`th configuration: members come, go, change their order and weight; the
/// second pool has another name each time.
fn pools(round: usize, [a, b, c]: &[Backend; 3]) -> String {
    let heavy = format!("weight={}", 1 + round % 5);
    let members: Vec<(&Backend, &str)> = match round % 4 {
        0 => vec![(a, ""), (b, "")],
        1 => vec![(a, heavy.as_str()), (b, ""), (c, "")],
        2 => vec![(c, ""), (a, ""), (b, heavy.as_str())],
        _ => vec![(b, ""), (a, "")],
    };
    let check = "LuaBalancerHealthCheck http uri=/health interval=200ms";
    let renamed = format!("renamed-{round}");
    [
        pool("app", &members, check),
        pool(&renamed, &[(b, ""), (c, "")], ""),
        format!("ProxyPass /app lb://app\nProxyPass /renamed lb://{renamed}\n"),
    ]
    .concat()
}

/// The memory that a process has written to, and its shared writable mappings.
#[derive(Clone, Copy, Debug)]
struct Memory {
    dirty_kib: usize,
    shared_mappings: usize,
    shared_bytes: usize,
}

fn memory_of(pid: u32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("read smaps_rollup");
    let field = |name: &str| -> usize {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB")
    };
    // Pages that children still share with the parent by fork count as shared: both together are
    // the parent's memory.
    let dirty_kib = field("Private_Dirty:") + field("Shared_Dirty:");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("read maps");
    let shared: Vec<usize> = maps.lines().filter_map(bytes_if_shared).collect();
    Memory { dirty_kib, shared_mappings: shared.len(), shared_bytes: shared.iter().sum() }
}

fn bytes_if_shared(line: &str) -> Option<usize> {
    let mut fields = line.split(' ');
    let (range, mode) = (fields.next()?, fields.next()?);
    let (from, to) = range.split_once('-')?;
    let address = |hex: &str| usize::from_str_radix(hex, 16).ok();
    (mode == "rw-s").then_some(address(to)? - address(from)?)
}

on_every_mpm!(graceful_restarts_with_changes_fail_no_request);

fn graceful_restarts_with_changes_fail_no_request(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .threads(16)
        .with_member_states()
        .config("KeepAliveTimeout 1\nLuaBalancerDict kept 64K")
        .file("pick.lua", "function translate(r) return lb.pool('app'):least_connections() end")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>")
        .config(&pools(0, &backends))
        .start();
    let loads = ["/app/", "/renamed/", "/script/"].map(|target| Load::start(httpd.port(), target, 1));
    let mut warm = None;
    for round in 1..=restarts() {
        for load in &loads {
            load.wait_for(15);
        }
        httpd.edit_config(&pools(round - 1, &backends), &pools(round, &backends));
        httpd.graceful();
        if round == restarts() / 2 {
            warm = Some(memory_of(httpd.pid()));
        }
    }
    for load in loads {
        load.wait_for(30);
        load.stop().assert_all_ok();
    }
    httpd.assert_no_crash();
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    let names: Vec<String> = httpd.members("app").into_keys().collect();
    let last = if [0, 3].contains(&(restarts() % 4)) { vec!["a", "b"] } else { vec!["a", "b", "c"] };
    assert_eq!(names, last, "the members of the last configuration");
    if let Some(warm) = warm {
        assert_flat(warm, memory_of(httpd.pid()));
    }
}

/// The parent of an httpd may grow by a few pages a restart whatever its modules do; a table or a
/// configuration kept each time would be far more.
fn assert_flat(warm: Memory, now: Memory) {
    assert_eq!(now.shared_mappings, warm.shared_mappings, "shared mappings: {warm:?}, then {now:?}");
    assert_eq!(now.shared_bytes, warm.shared_bytes, "shared memory: {warm:?}, then {now:?}");
    let grown = now.dirty_kib.saturating_sub(warm.dirty_kib);
    assert!(
        slower() > 1 || grown < 1024 + restarts() * 8,
        "the parent grew by {grown} KiB: {warm:?}, then {now:?}"
    );
}

#[test]
fn a_table_that_grows_with_the_configuration_leaves_no_old_one_behind() {
    let backends = Backend::named(["a", "b", "c"]);
    let many = |n: usize| -> String {
        let member = |i: usize| format!("  LuaBalancerMember http://127.0.0.1:{} name=m{i}\n", 1000 + i);
        format!("<LuaBalancerPool many>\n{}</LuaBalancerPool>\n", (0..n).map(member).collect::<String>())
    };
    let mut httpd = Httpd::builder()
        .with_member_states()
        .config(&format!("LuaBalancerMaxMembers 16\nLuaBalancerScriptLimit time={}ms", 50 * slower()))
        .config(&pool("app", &[(&backends[0], ""), (&backends[1], "")], ""))
        .config("ProxyPass /app lb://app")
        .config(&many(10))
        .start();
    let load = Load::start(httpd.port(), "/app/", 2);
    let before = memory_of(httpd.pid());
    let mut size = 10;
    for next in [300, 900, 2500] {
        load.wait_for(20);
        httpd.edit_config(&many(size), &many(next));
        httpd.graceful();
        // An old child may answer until its listening sockets are closed.
        wait_until("the new members", Duration::from_secs(5), || httpd.members("many").len() == next);
        size = next;
    }
    let after = memory_of(httpd.pid());
    load.wait_for(50);
    load.stop().assert_all_ok();
    assert_eq!(after.shared_mappings, before.shared_mappings, "{before:?}, then {after:?}");
    assert!(after.shared_bytes > before.shared_bytes, "the table did not grow: {before:?}, then {after:?}");
    httpd.graceful();
    let again = memory_of(httpd.pid());
    assert_eq!((again.shared_mappings, again.shared_bytes), (after.shared_mappings, after.shared_bytes));
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

on_every_mpm!(a_failed_configtest_between_restarts_disturbs_nobody);

fn a_failed_configtest_between_restarts_disturbs_nobody(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let good = pool("app", &[(&a, ""), (&b, "")], "");
    let broken = [
        pool("app", &[(&a, "weight=many"), (&b, "")], ""),
        pool("app", &[(&a, ""), (&b, "name=a")], ""),
        pool("app", &[(&a, ""), (&b, "")], "LuaBalancerMethod alphabetical"),
        format!("{good}LuaHookTranslate missing.lua"),
    ];
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .threads(16)
        .with_member_states()
        .with_acts()
        .config("KeepAliveTimeout 1\nProxyPass /app lb://app")
        .config(&good)
        .start();
    httpd.act("app/set_weight/a/3");
    let shared = memory_of(httpd.pid());
    let load = Load::start(httpd.port(), "/app/", 2);
    for broken in broken {
        load.wait_for(20);
        httpd.edit_config(&good, &broken);
        assert!(!httpd.configtest().ok, "accepted: {broken}");
        assert_eq!(httpd.member("app", "a").weight, 3, "a configtest changed the running table");
        httpd.edit_config(&broken, &good);
        assert!(httpd.configtest().ok);
        httpd.graceful();
        assert_eq!(httpd.member("app", "a").weight, 3);
    }
    load.wait_for(50);
    load.stop().assert_all_ok();
    let now = memory_of(httpd.pid());
    assert_eq!((now.shared_mappings, now.shared_bytes), (shared.shared_mappings, shared.shared_bytes));
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

on_every_mpm!(hard_restarts_under_load_keep_counts_and_state);

fn hard_restarts_under_load_keep_counts_and_state(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    a.slow_every(10, Duration::from_millis(50));
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .with_acts()
        .config(&pool("app", &[(&a, ""), (&b, "")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
        .start();
    httpd.act("app/set_weight/a/5");
    for _ in 0..3 {
        let load = Load::start(httpd.port(), "/app/", 4);
        load.wait_for(30);
        httpd.restart();
        load.wait_for(60);
        let tally = load.stop();
        // A restart ends the requests that are in the children: at most one for each client, and
        // its connection may meet the old children's closing sockets once more.
        assert!(tally.errors.len() <= 8, "{tally:?}");
        assert!(tally.statuses.keys().all(|status| *status == 200), "{tally:?}");
        wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
        assert_eq!(httpd.member("app", "a").weight, 5);
        assert_eq!(httpd.client().shares("/app/", 12)["a"], 10);
    }
    httpd.assert_no_crash();
}

on_every_mpm!(a_graceful_stop_answers_what_is_in_flight);

fn a_graceful_stop_answers_what_is_in_flight(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let check = "LuaBalancerHealthCheck tcp interval=100ms";
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .config(&pool("app", &[(&a, ""), (&b, "")], check))
        .config("ProxyPass /app lb://app")
        .start();
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let mut client = httpd.client().strict();
            thread::spawn(move || client.try_get("/app/slow"))
        })
        .collect();
    wait_until("three requests", SOON, || a.in_flight() + b.in_flight() == 3);
    let answering = thread::spawn({
        let port = httpd.port();
        move || {
            let refused = || std::net::TcpStream::connect(("127.0.0.1", port)).is_err();
            wait_until("the port to close", SOON, refused);
            (a.answer(), b.answer(), a, b)
        }
    });
    let (time, status) = httpd.graceful_stop();
    for request in requests {
        assert_eq!(request.join().expect("a client thread").expect("an answer").status, 200);
    }
    assert!(status.success(), "{status}");
    assert!(time < patience(SOON), "{time:?}");
    httpd.assert_no_crash();
    drop(answering.join().expect("the thread of the backends"));
}

/// As long as it has no threads, a child of httpd ends inside of its signal handler: that must not
/// meet an allocation.
#[test]
fn restarts_that_meet_children_just_born_end_none_of_them_by_a_crash() {
    let backends = Backend::named(["a", "b"]);
    let [a, b] = &backends;
    let mut httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "")], "LuaBalancerHealthCheck tcp interval=100ms"))
        .config("ProxyPass /app lb://app")
        .start();
    for round in 0..restarts() * 10 {
        httpd.signal(httpd.pid(), Signal::SIGHUP);
        // Each time they have come another bit further.
        thread::sleep(Duration::from_micros(u64::try_from(round % 50).expect("small") * 1000));
    }
    httpd.restart();
    // A child that is being ended may take a connection still.
    wait_until("an answer", SOON, || {
        httpd.client().try_get("/app/").is_ok_and(|answer| answer.status == 200)
    });
    httpd.assert_no_crash();
}

#[test]
fn a_pool_may_move_between_configuration_and_script() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let script = |backend: &Backend| {
        format!(
            "lb.define_pool('app', {{ {{ host = '127.0.0.1', port = {} }} }})\nfunction translate(r) end",
            backend.port()
        )
    };
    let mut httpd = Httpd::builder()
        .file("s.lua", "function translate(r) end")
        .file("t.lua", "function translate(r) end")
        .config(&pool("app", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app\nLuaHookTranslate s.lua\n<Location /t>\n  LuaHookTranslate t.lua\n</Location>")
        .start();
    for _ in 0..4 {
        httpd.graceful();
    }
    assert_eq!(httpd.client().get("/app/").backend(), "a");
    httpd.edit_config("<LuaBalancerPool app>", "<LuaBalancerPool other>");
    httpd.write("s.lua", &script(&b));
    httpd.graceful();
    assert_eq!(httpd.client().get("/app/").backend(), "b", "from the configuration to a script");
    httpd.write("s.lua", "function translate(r) end");
    httpd.write("t.lua", &script(&c));
    httpd.graceful();
    assert_eq!(httpd.client().get("/app/").backend(), "c", "from a script to another one");
    httpd.edit_config("<LuaBalancerPool other>", "<LuaBalancerPool app>");
    httpd.write("t.lua", "function translate(r) end");
    httpd.graceful();
    assert_eq!(httpd.client().get("/app/").backend(), "a", "and back to the configuration");
}

#[test]
fn a_refused_script_serves_once_a_restart_brings_the_pool_that_it_wanted() {
    let [old, new] = Backend::named(["old", "new"]);
    let script = |name: &str| format!("local p = lb.pool(\"{name}\")\nfunction select(r) return p end\n");
    let mut httpd = Httpd::builder()
        .file("p.lua", &script("app"))
        .config(&pool("app", &[(&old, "")], ""))
        .config("LuaHookTranslate p.lua select")
        .start();
    assert_eq!(httpd.client().get("/").backend(), "old");
    httpd.write("p.lua", &script("later"));
    httpd.wait_for_log("LB0314: .*no pool named .*later");
    httpd.edit_config("LuaHookTranslate", &format!("{}\nLuaHookTranslate", pool("later", &[(&new, "")], "")));
    httpd.graceful();
    wait_until("the saved script to serve", SOON, || httpd.client().get("/").backend() == "new");
}
