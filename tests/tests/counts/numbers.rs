// SPDX-License-Identifier: Apache-2.0
//! Waits, sessions, checks, calls; and what the numbers outlive.

use super::*;

#[test]
fn waits_for_a_place_are_counted_with_their_time() {
    let a = Backend::new("a");
    a.hang();
    let httpd = waiting(&a, "300ms", 32);
    let held = ask(&httpd);
    wait_until("a request", SOON, || a.in_flight() == 1);
    let before = of_pool(&httpd, "app");
    assert_eq!(httpd.client().get("/app/x").status, 503);
    wait_for_more("a wait in vain", &before, "queue_timeout=1", || of_pool(&httpd, "app"));
    let of_app = of_pool(&httpd, "app");
    assert_eq!(sum(&of_app, "queue.buckets."), 1);
    assert!(of_app["queue.sum_us"] >= 300_000 && of_app["sum_us"] >= 300_000, "{of_app:?}");
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);

    let httpd = waiting(&a, "60s", 32);
    a.hang();
    let held = [ask(&httpd), ask(&httpd)];
    wait_until("a request in the queue", SOON, || {
        a.in_flight() == 1 && httpd.snapshot().lines().any(|line| line.contains(" queued=1 "))
    });
    a.answer();
    for request in held {
        assert_eq!(request.join().expect("a client"), 200);
    }
    wait_for_more("a wait", &Counts::new(), "ok=2", || of_pool(&httpd, "app"));
    assert_eq!(sum(&of_pool(&httpd, "app"), "queue.buckets."), 1, "only one has waited");
}

#[test]
fn a_full_queue_and_a_client_that_goes_from_it_are_told_apart() {
    let a = Backend::new("a");
    a.hang();
    // Two of four threads may wait.
    let httpd = waiting(&a, "60s", 4);
    let mut held = vec![ask(&httpd)];
    wait_until("a request", SOON, || a.in_flight() == 1);
    let mut gone = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    gone.write_all(b"GET /app/gone HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    held.push(ask(&httpd));
    wait_until("two in the queue", SOON, || httpd.snapshot().lines().any(|line| line.contains(" queued=2 ")));
    let before = of_pool(&httpd, "app");
    assert_eq!(httpd.client().get("/app/x").status, 503);
    wait_for_more("a full queue", &before, "queue_full=1", || of_pool(&httpd, "app"));
    let before = of_pool(&httpd, "app");
    drop(gone);
    wait_for_more("a client that goes", &before, "aborted=1", || of_pool(&httpd, "app"));
    a.answer();
    for request in held {
        assert_eq!(request.join().expect("a client"), 200);
    }
}

#[test]
fn sessions_are_kept_moved_new_and_lost() {
    let [a, b] = Backend::named(["a", "b"]);
    let sticky = |force: &str| format!("LuaBalancerSticky cookie=LB {force}\nLuaBalancerOutlier off");
    let httpd = Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", &[(&a, ""), (&b, "")], &sticky("")))
        .config(&pool("forced", &[(&a, ""), (&b, "")], &sticky("force=on")))
        .config("ProxyPass /app lb://app\nProxyPass /forced lb://forced")
        .start();
    let before = of_pool(&httpd, "app");
    assert_eq!(httpd.client().get("/app/x").status, 200);
    wait_for_more("no session", &before, "ok=1 sessions.new=1", || of_pool(&httpd, "app"));
    let with = |path: &str| httpd.client().send(&Request::get(path).header("Cookie", "LB=.a"));
    let before = of_pool(&httpd, "app");
    assert_eq!(with("/app/x").backend(), "a");
    wait_for_more("a session", &before, "ok=1 sessions.kept=1", || of_pool(&httpd, "app"));
    httpd.act("app/disable/a");
    httpd.act("forced/disable/a");
    let before = of_pool(&httpd, "app");
    assert_eq!(with("/app/x").backend(), "b");
    wait_for_more("its member is out", &before, "ok=1 sessions.moved=1", || of_pool(&httpd, "app"));
    let before = of_pool(&httpd, "forced");
    assert_eq!(with("/forced/x").status, 503);
    wait_for_more("none may have it", &before, "no_member=1 sessions.lost=1", || of_pool(&httpd, "forced"));
}

#[test]
fn ejections_changes_of_state_and_checks_are_counted() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerOutlier on failures=1 ejection=60s";
    let check = "LuaBalancerHealthCheck http uri=/health interval=50ms rise=1 fall=1";
    let httpd = Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", &[(&a, ""), (&b, "")], lines))
        .config(&pool("checked", &[(&c, "")], check))
        .config("ProxyPass /app lb://app")
        .start();
    let before = of_member(&httpd, "app/a");
    a.refuse();
    wait_until("a to be ejected", SOON, || {
        httpd.client().get("/app/");
        httpd.member("app", "a").state == "ejected"
    });
    wait_for_more("a", &before, "connect=1 ejections=1 transitions=1", || of_member(&httpd, "app/a"));
    httpd.act("app/drain/b");
    wait_until("b's change", SOON, || of_member(&httpd, "app/b")["transitions"] == 1);
    wait_until("some checks", SOON, || of_member(&httpd, "checked/c")["checks_ok"] > 2);
    c.health_status(500);
    wait_until("c to be down", SOON, || httpd.member("checked", "c").state == "down");
    let of_c = of_member(&httpd, "checked/c");
    assert!(of_c["checks_failed"] >= 1 && of_c["transitions"] == 1, "{of_c:?}");
    assert_eq!(of_c["ok"], 0, "checks do not count as attempts");
}

#[test]
fn calls_of_a_script_are_counted_by_how_they_ended() {
    let a = Backend::new("a");
    let place =
        |name: &str| format!("<Location /{name}>\n  LuaHookTranslate calls.lua {name}\n</Location>\n");
    let httpd = Httpd::builder()
        .with_member_states()
        .file("calls.lua", CALLS)
        .config(&format!("LuaBalancerScriptLimit time={}ms memory=1M", 50 * slower()))
        .config(&pool("app", &[(&a, "")], ""))
        .config(&["decided", "declined", "failed", "endless", "greedy"].map(place).concat())
        .config("<Location /finished>\n  LuaHookFinish calls.lua finished\n</Location>")
        .config("ProxyPass /finished lb://app")
        .start();
    let of_script = || counts(&httpd, "script_counts", "calls.lua");
    for (path, wanted) in [
        ("/decided", "ok=1"),
        ("/declined", "declined=1"),
        ("/failed", "error=1"),
        ("/endless", "time_limit=1"),
        ("/greedy", "memory_limit=1"),
        ("/finished", "ok=1"),
    ] {
        let before = of_script();
        httpd.client().get(path);
        wait_for_more(path, &before, wanted, of_script);
    }
    let took = of_script()["sum_us"];
    assert!((50_000..60_000_000).contains(&took), "{took}");
}

#[test]
fn timers_are_calls_as_well() {
    let httpd = Httpd::builder()
        .with_member_states()
        .file("calls.lua", CALLS)
        .config("LuaBalancerTimer calls.lua tick every=50ms")
        .start();
    wait_until("some ticks", SOON, || counts(&httpd, "script_counts", "calls.lua")["ok"] > 2);
}

on_every_mpm!(no_count_is_ever_lower_than_it_was);

fn no_count_is_ever_lower_than_it_was(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    // A child of prefork has one connection, and keeps it a while.
    let children = if mpm == Mpm::Prefork { 8 } else { 3 };
    let mut httpd = growing(&a, &b).mpm(mpm).children(children).start();
    let loads = ["/app/", "/decided/"].map(|target| Load::start(httpd.port(), target, 2));
    let mut before = all(&httpd);
    let mut look = |httpd: &Httpd, what: &str| {
        for _ in 0..5 {
            let now = all(httpd);
            for (key, count) in &before {
                assert!(now[key] >= *count, "{what}: {key} was {count} and is {}", now[key]);
            }
            before = now;
        }
    };
    for round in 0..20 {
        httpd.graceful();
        look(&httpd, &format!("graceful {round}"));
    }
    for round in 0..20 {
        let children = httpd.wait_for_children(1);
        httpd.kill_child(children[round % children.len()]);
        loads[0].wait_for(3);
        look(&httpd, &format!("kill {round}"));
    }
    httpd.restart();
    look(&httpd, "restart");
    let asked: usize = loads.into_iter().map(|load| load.stop().responses()).sum();
    let of_app = of_pool(&httpd, "app");
    // Requests of killed children are not counted, and some of them were sent twice.
    assert!(of_app["ok"] > asked as u64 / 2, "{asked} answers: {of_app:?}");
    httpd.assert_no_crash();
}

#[test]
fn a_table_that_grows_takes_the_counts_along() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = growing(&a, &b).config("LuaBalancerMaxMembers 16").start();
    for target in ["/app/x", "/decided/x"].iter().cycle().take(20) {
        assert_eq!(httpd.client().get(target).status, 200);
    }
    wait_until("all to be counted", SOON, || of_pool(&httpd, "app")["ok"] == 20);
    let before = all(&httpd);
    httpd.edit_config("LuaBalancerMaxMembers 16", "LuaBalancerMaxMembers 5000");
    httpd.restart();
    let room = |line: &str| line.split('/').nth(1)?.split(' ').next()?.parse::<u32>().ok();
    let text = httpd.snapshot();
    let members = text.lines().find_map(|line| room(line.strip_prefix("table members=")?));
    assert!(members.is_some_and(|members| members > 5000), "it has grown:\n{text}");
    let grown = more(&before, &all(&httpd));
    let kept: Vec<_> = grown.keys().filter(|key| !key.contains("checks_")).collect();
    assert!(kept.is_empty(), "no request since: {grown:?}");
}

#[test]
fn a_member_that_was_removed_and_added_again_counts_from_0() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = growing(&a, &b).with_acts().start();
    let added = Backend::new("c");
    httpd.act(&format!("app/add/c/{}", added.port()));
    wait_until("c to be asked", SOON, || {
        httpd.client().get("/app/x");
        of_member(&httpd, "app/c")["ok"] > 0
    });
    httpd.act("app/remove/c");
    assert_eq!(counts_in(&httpd.snapshot(), "member_counts", "app/c"), None);
    httpd.act(&format!("app/add/c/{}", added.port()));
    let of_c = of_member(&httpd, "app/c");
    let requests = ["ok", "connect", "2xx", "sent_bytes", "sum_us"].map(|key| of_c[key]);
    assert_eq!(requests, [0; 5], "{of_c:?}");
}

#[test]
fn every_child_counts_into_the_same_numbers() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = growing(&a, &b).children(2).start();
    let mut clients: Vec<_> = httpd.clients_in_children(2, "/--none").into_values().collect();
    for client in &mut clients {
        for _ in 0..5 {
            assert_eq!(client.get("/app/x").status, 200);
        }
    }
    wait_until("all to be counted", SOON, || of_pool(&httpd, "app")["ok"] == 10);
    for client in &mut clients {
        let text = client.get("/--state").text();
        assert_eq!(counts_in(&text, "pool_counts", "app").expect("a line")["ok"], 10, "{text}");
    }
}
