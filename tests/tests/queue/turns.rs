// SPDX-License-Identifier: Apache-2.0
//! The order in which requests are served.

use super::*;

on_every_mpm!(requests_are_served_in_the_order_of_their_arrival);

fn requests_are_served_in_the_order_of_their_arrival(mpm: Mpm) {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "30s").mpm(mpm).children(3).start();
    let first = ask(&httpd, "/app/0");
    wait_until("the first request to have the place", SOON, || a.in_flight() == 1);
    let targets = ["/app/1", "/app/2", "/app/3"];
    let answers = line_up(&httpd, &targets);
    a.answer();
    assert_eq!(first.join().expect("a client"), 200);
    let statuses: Vec<u16> =
        targets.iter().map(|_| answers.recv_timeout(patience(SOON)).expect("an answer")).collect();
    assert_eq!(statuses, [200; 3], "{}", httpd.error_log());
    assert_eq!(uris(&a), ["/0", "/1", "/2", "/3"].map(|tail| tail.to_owned()));
    wait_for_queue(&httpd, 0);
    assert_eq!(httpd.inflight("app"), 0);
    httpd.assert_no_crash();
}

#[test]
fn a_place_is_taken_the_moment_it_is_free() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=2")], "60s").start();
    let held = [ask(&httpd, "/app/"), ask(&httpd, "/app/")];
    wait_until("two requests", SOON, || a.in_flight() == 2);
    let targets = ["/app/"; 10];
    let answers = line_up(&httpd, &targets);
    let began = Instant::now();
    a.answer();
    for _ in targets {
        assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    }
    // A request that is not called looks four times a second: ten turns of two at a time would take
    // more than a second.
    assert!(began.elapsed() < patience(Duration::from_millis(1000)), "{:?}", began.elapsed());
    for request in held {
        assert_eq!(request.join().expect("a client"), 200);
    }
}

#[test]
fn a_request_that_waits_in_vain_gets_on_empty_when_the_time_is_up() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "300ms").start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let began = Instant::now();
    let refused = patient(&httpd).get("/app/");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("X-Reason"), Some("queue timeout"));
    assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    httpd.wait_for_log(
        "no member for /app/: all members were at max_inflight as long as queue= allows to wait",
    );
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);
    assert_eq!(queued(&httpd), 0);
}

#[test]
fn a_newcomer_does_not_overtake_those_who_wait() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s").start();
    let held = ask(&httpd, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/waits"]);
    let load = Load::start(httpd.port(), "/app/load", 4);
    wait_for_queue(&httpd, 5);
    a.answer();
    assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    load.wait_for(20);
    load.stop().assert_all_ok();
    held.join().expect("a client");
    assert_eq!(uris(&a)[..2], ["/held", "/waits"]);
}

#[test]
fn no_more_than_half_of_the_threads_wait() {
    let a = Backend::new("a");
    a.hang();
    let (b, lines) = (Backend::new("b"), "");
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .children(1)
        .threads(8)
        .config(&pool("other", &[(&b, "")], lines))
        .config("ProxyPass /other lb://other")
        .start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/"; 4]);
    let refused = patient(&httpd).get("/app/");
    assert_eq!((refused.status, refused.header("X-Reason")), (503, Some("queue full")));
    assert_eq!(patient(&httpd).get("/other/").status, 200, "nobody is left to serve what has a place");
    a.answer();
    for _ in 0..4 {
        assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    }
    held.join().expect("a client");
}

#[test]
fn a_request_that_waits_in_another_view_holds_up_nobody() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let script = "function translate(r) return lb.pool('app'):where{ zone = r.uri:match('^/(%w+)') } end";
    let httpd = serving(&[(&a, "zone=east max_inflight=1"), (&b, "zone=west max_inflight=1")], "60s")
        .file("zone.lua", script)
        .config("<LocationMatch ^/(east|west)>\n  LuaHookTranslate zone.lua\n</LocationMatch>")
        .start();
    let held = ask(&httpd, "/east/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/east/", "/east/"]);
    let began = Instant::now();
    assert_eq!(patient(&httpd).get("/west/").backend(), "b");
    assert!(began.elapsed() < patience(SOON));
    assert_eq!(queued(&httpd), 2);
    a.answer();
    assert_eq!([(); 2].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200), Ok(200)]);
    held.join().expect("a client");
}

#[test]
fn a_script_whose_pool_method_found_every_member_full_waits_as_well() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .file("pick.lua", "function translate(r) return lb.pool('app'):least_connections() end")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>")
        .start();
    let held = ask(&httpd, "/script/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/script/1", "/script/2", "/app/3"]);
    a.answer();
    assert_eq!([(); 3].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200); 3]);
    held.join().expect("a client");
    assert_eq!(uris(&a)[1..], ["/script/1", "/script/2", "/3"]);
}

#[test]
fn a_member_that_comes_up_takes_in_those_who_wait() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let httpd =
        serving(&[(&a, "max_inflight=1"), (&b, "max_inflight=1 status=+D")], "60s").with_acts().start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/", "/app/"]);
    httpd.act("app/enable/b");
    assert_eq!([(); 2].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200); 2]);
    assert_eq!(b.requests(), 2);
    a.answer();
    held.join().expect("a client");
}

#[test]
fn waiting_takes_no_processor_time() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s").children(1).start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/"; 12]);
    let (child, before) = (httpd.children()[0], switches(httpd.children()[0]));
    let began = Instant::now();
    wait_until("a second", SOON, || began.elapsed() > Duration::from_secs(1));
    let woken = (switches(child) - before) as f64 / began.elapsed().as_secs_f64();
    // Twelve that look four times a second, and the threads that are there without them.
    assert!(woken < 300.0, "the child's threads were woken {woken} times a second");
    a.answer();
    for _ in 0..12 {
        assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    }
    held.join().expect("a client");
}

#[test]
fn a_child_that_is_killed_loses_nobody_elses_turn() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s").children(2).start();
    let [one, two] = two_children(&httpd);
    let held = ask_in(&httpd, one, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let ahead = ask_in(&httpd, one, "/app/ahead");
    wait_for_queue(&httpd, 1);
    let behind = ask_in(&httpd, two, "/app/behind");
    wait_for_queue(&httpd, 2);
    httpd.kill_child(one);
    a.answer();
    assert_eq!(behind.join().expect("a client").expect("an answer"), 200, "{}", httpd.error_log());
    assert!(held.join().expect("a client").is_err());
    assert!(ahead.join().expect("a client").is_err());
    wait_for_queue(&httpd, 0);
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

#[test]
fn a_child_that_is_stopped_holds_up_nobody_else() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let httpd = serving(&[(&a, "max_inflight=1"), (&b, "max_inflight=1")], "60s").children(2).start();
    let [one, two] = two_children(&httpd);
    let held = [ask_in(&httpd, two, "/app/held"), ask_in(&httpd, two, "/app/held")];
    wait_until("two requests", SOON, || a.in_flight() + b.in_flight() == 2);
    let stopped = ask_in(&httpd, one, "/app/stopped");
    wait_for_queue(&httpd, 1);
    let waits = ask_in(&httpd, two, "/app/waits");
    wait_for_queue(&httpd, 2);
    httpd.signal(one, Signal::SIGSTOP);
    a.answer();
    assert_eq!(waits.join().expect("a client").expect("an answer"), 200);
    httpd.signal(one, Signal::SIGCONT);
    b.answer();
    for request in held.into_iter().chain([stopped]) {
        assert_eq!(request.join().expect("a client").expect("an answer"), 200);
    }
    wait_for_queue(&httpd, 0);
}

#[test]
fn requests_in_the_queue_of_a_child_that_a_graceful_restart_ends_are_served() {
    let a = Backend::new("a");
    a.hang();
    let mut httpd = serving(&[(&a, "max_inflight=1")], "60s").start();
    let held = ask(&httpd, "/app/0");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/1", "/app/2"]);
    httpd.graceful();
    let more = line_up(&httpd, &["/app/3"]);
    a.answer();
    assert_eq!([(); 2].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200); 2]);
    assert_eq!(more.recv_timeout(patience(SOON)), Ok(200));
    held.join().expect("a client");
    assert_eq!(uris(&a), ["/0", "/1", "/2", "/3"]);
}

#[test]
fn a_request_that_waits_for_one_member_only_holds_up_nobody_else() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let script = "function translate(r) return lb.pool('app'):where{ zone = 'east' } end";
    let httpd = serving(&[(&a, "zone=east max_inflight=1"), (&b, "zone=west max_inflight=4")], "60s")
        .file("east.lua", script)
        .config("<Location /east>\n  LuaHookTranslate east.lua\n</Location>")
        .config(&pool(
            "kept",
            &[(&a, "max_inflight=1"), (&b, "max_inflight=4")],
            "LuaBalancerOutlier off\nLuaBalancerSticky cookie=SID force=on\nLuaBalancerSet queue=60s",
        ))
        .config("ProxyPass /kept lb://kept")
        .start();
    let held = ask(&httpd, "/east/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/east/"]);
    for _ in 0..10 {
        assert_eq!(patient(&httpd).get("/app/").backend(), "b", "a view of the pool holds up the rest of it");
    }
    // The same for sessions that may not leave their member.
    let at_a = || server_tests::Request::get("/kept/").header("Cookie", "SID=x.a");
    let mut clients = [patient(&httpd), patient(&httpd)];
    let threads = clients.each_mut().map(|client| {
        let mut client = std::mem::replace(client, httpd.client());
        let request = at_a();
        thread::spawn(move || client.send(&request).status)
    });
    wait_until("one to wait", SOON, || {
        let response = httpd.client().get("/--queued/kept");
        a.in_flight() == 2 && response.header("X-Queued") == Some("1")
    });
    for _ in 0..10 {
        assert_eq!(patient(&httpd).get("/kept/").backend(), "b", "a session holds up the rest of the pool");
    }
    a.answer();
    assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    for request in threads {
        assert_eq!(request.join().expect("a client"), 200);
    }
    held.join().expect("a client");
}

#[test]
fn a_script_that_refuses_in_its_own_words_is_not_overruled() {
    let a = Backend::new("a");
    a.hang();
    let script = "function translate(r)\n  local m = lb.pool('app'):least_connections()\n  if m then return m end\n  \
                  return nil, 'over quota'\nend";
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .file("quota.lua", script)
        .config("<Location /quota>\n  LuaHookTranslate quota.lua\n</Location>")
        .start();
    let held = ask(&httpd, "/quota/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    assert_eq!(httpd.client().get("/quota/").status, 503);
    httpd.wait_for_log("no member for /quota/: over quota");
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);
}

#[test]
fn a_request_that_has_only_a_full_last_resort_waits_asleep_and_no_longer_than_it_may() {
    let [a, b] = Backend::named(["a", "b"]);
    a.reset();
    let lines =
        "LuaBalancerOutlier on failures=1 ejection=5m\nLuaBalancerSet queue=700ms\nLuaBalancerMethod first";
    let httpd = Httpd::builder()
        .with_member_states()
        .children(1)
        .threads(32)
        .config(&pool("app", &[(&a, "max_inflight=1"), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    assert_eq!(httpd.client().get("/app/").backend(), "b");
    assert_eq!(httpd.member("app", "a").state, "ejected");
    a.hang();
    b.refuse();
    let held = ask(&httpd, "/app/");
    wait_until("a request at the ejected member", SOON, || a.in_flight() == 1);
    let (child, before, began) = (httpd.children()[0], processor_ms(httpd.children()[0]), Instant::now());
    assert_eq!(patient(&httpd).get("/app/").status, 503);
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    let used = processor_ms(child) - before;
    assert!(used < 200, "{used} ms of processor time to wait for {:?}", began.elapsed());
    let rescued = ask(&httpd, "/app/");
    a.answer();
    assert_eq!(rescued.join().expect("a client"), 200);
    assert_eq!(held.join().expect("a client"), 200);
}
