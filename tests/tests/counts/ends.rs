// SPDX-License-Identifier: Apache-2.0
//! How attempts and requests end.

use super::*;

on_every_mpm!(each_end_of_a_request_is_counted_once);

fn each_end_of_a_request_is_counted_once(mpm: Mpm) {
    let a = Backend::new("a");
    let httpd = alone(mpm, &a);
    let answer = |code: u16| move |a: &Backend| a.status(code);
    let endless = |a: &Backend| {
        let header = "HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n";
        a.play([Step::send(header), Step::Repeat("x".repeat(65_536), 4000)]);
    };
    let go_without = |httpd: &Httpd| drop(httpd.client().try_get("/app/x"));
    let cases: [Case<'_>; 11] = [
        (&Backend::answer, get, "2xx=1 ok=1", "ok=1"),
        (&answer(302), get, "3xx=1 ok=1", "ok=1"),
        (&answer(404), get, "4xx=1 ok=1", "ok=1"),
        (&answer(500), get, "5xx=1 status=1", "status=1"),
        (&answer(503), get, "5xx=1 status=1", "status=1"),
        (&Backend::refuse, get, "connect=1", "connect=1"),
        (&Backend::answer, get, "2xx=1 ok=1", "ok=1"),
        (&Backend::close_after_accept, get, "reset=1", "reset=1"),
        (&Backend::half_body, go_without, "reset=1", "reset=1"),
        (&Backend::hang, get, "timeout=1", "timeout=1"),
        (&endless, go_away, "aborted=1", "aborted=1"),
    ];
    for (nth, (manner, ask, of_a, of_app)) in cases.into_iter().enumerate() {
        let before = (of_member(&httpd, "app/a"), of_pool(&httpd, "app"));
        manner(&a);
        ask(&httpd);
        wait_for_more(&format!("member, case {nth}"), &before.0, of_a, || of_member(&httpd, "app/a"));
        wait_for_more(&format!("pool, case {nth}"), &before.1, of_app, || of_pool(&httpd, "app"));
    }
    let (of_a, of_app) = (of_member(&httpd, "app/a"), of_pool(&httpd, "app"));
    assert_eq!((sum(&of_a, "buckets."), sum(&of_app, "buckets.")), (11, 11), "a duration for each");
    assert!(of_a["sum_us"] >= 1_000_000 && of_app["sum_us"] >= of_a["sum_us"], "{of_a:?}, {of_app:?}");
    assert_eq!(sum(&of_app, "queue.buckets."), 0, "nobody waited for a place");
    httpd.assert_no_crash();
}

#[test]
fn a_handshake_and_a_protocol_of_its_own_are_answers_as_well() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "upgrade=websocket")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
        .start();
    let before = of_member(&httpd, "app/a");
    let upgrade = Request::get("/app/x").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut client = httpd.client();
    assert_eq!(client.send(&upgrade).status, 101);
    client.disconnect();
    wait_for_more("the upgrade", &before, "1xx=1 ok=1", || of_member(&httpd, "app/a"));
}

#[test]
fn bytes_and_durations_are_those_of_the_attempts() {
    let a = Backend::new("a");
    let httpd = alone(Mpm::Event, &a);
    a.play([Step::ReadBody, Step::answer(200, &"y".repeat(20_000))]);
    let answer = httpd.client().send(&Request::post("/app/x", vec![b'x'; 7000]));
    assert_eq!(answer.body.len(), 20_000);
    wait_until("the request to be counted", SOON, || of_member(&httpd, "app/a")["ok"] == 1);
    let of_a = of_member(&httpd, "app/a");
    assert!((7000..8000).contains(&of_a["sent_bytes"]), "{of_a:?}");
    assert!((20_000..21_000).contains(&of_a["received_bytes"]), "{of_a:?}");
    // Within 0.05 s (the fifth bucket) at the very best.
    a.slow(Duration::from_millis(60));
    get(&httpd);
    wait_until("the other one to be counted", SOON, || of_member(&httpd, "app/a")["ok"] == 2);
    let of_a = of_member(&httpd, "app/a");
    let late: u64 = (5..12).map(|at| of_a[&format!("buckets.{at}")]).sum();
    assert!(late >= 1 && of_a["sum_us"] >= 60_000, "{of_a:?}");
    assert!(of_pool(&httpd, "app")["sum_us"] >= 60_000);
}

#[test]
fn members_of_one_backend_have_their_own_bytes() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "")], ""))
        .config(&pool("other", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app\nProxyPass /other lb://other")
        .start();
    a.play([Step::ReadBody, Step::answer(200, &"y".repeat(10_000))]);
    for (path, times) in [("/app/x", 1), ("/other/x", 2), ("/app/x", 1)] {
        for _ in 0..times {
            httpd.client().send(&Request::post(path, vec![b'x'; 3000]));
        }
    }
    for (name, times) in [("app/a", 2), ("other/a", 2)] {
        wait_until("all to be counted", SOON, || of_member(&httpd, name)["ok"] == times);
        let counts = of_member(&httpd, name);
        let (sent, received) = (counts["sent_bytes"], counts["received_bytes"]);
        assert!((3000..4000).contains(&(sent / times)), "{name}: {counts:?}");
        assert!((10_000..11_000).contains(&(received / times)), "{name}: {counts:?}");
    }
}

#[test]
fn an_error_document_from_another_pool_is_a_request_there() {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier off"))
        .config(&pool("excuses", &[(&b, "")], ""))
        .config("ProxyPass /app lb://app\nProxyPass /excuses lb://excuses\nErrorDocument 503 /excuses/sorry")
        .start();
    for _ in 0..3 {
        assert_eq!(httpd.client().get("/app/x").backend(), "b");
    }
    wait_for_more("the request", &Counts::new(), "connect=3", || of_pool(&httpd, "app"));
    wait_for_more("its page", &Counts::new(), "ok=3", || of_pool(&httpd, "excuses"));
    assert_eq!(of_member(&httpd, "excuses/b")["2xx"], 3);
}

#[test]
fn a_request_that_went_to_no_pool_is_counted_in_none() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = format!("function elsewhere(r) return '{}/x' end", b.url());
    let httpd = Httpd::builder()
        .with_member_states()
        .file("elsewhere.lua", &script)
        .config(&pool("app", &[(&a, "")], ""))
        .config("<Location /target>\n  LuaHookTranslate elsewhere.lua elsewhere\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/target").backend(), "b");
    wait_until("the call", SOON, || counts(&httpd, "script_counts", "elsewhere.lua")["ok"] == 1);
    assert_eq!(words(&more(&Counts::new(), &of_pool(&httpd, "app"))), "");
}

#[test]
fn further_attempts_are_counted_by_their_reason_and_the_request_once() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines =
        "LuaBalancerMethod first\nLuaBalancerOutlier off\nLuaBalancerSet retry_on=connect,reset,timeout";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "timeout=1"), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    type Manner = fn(&Backend);
    let cases: [(Manner, &str, &str); 3] = [
        (Backend::refuse, "connect", "ok=1 retries.connect=1"),
        (Backend::close_after_accept, "reset", "ok=1 retries.reset=1"),
        (Backend::hang, "timeout", "ok=1 retries.timeout=1"),
    ];
    for (manner, word, wanted) in cases {
        let of = |name: &str| of_member(&httpd, name);
        let before = (of("app/a"), of("app/b"), of_pool(&httpd, "app"));
        a.answer();
        manner(&a);
        assert_eq!(httpd.client().get("/app/x").backend(), "b", "{word}");
        wait_for_more(word, &before.0, &format!("{word}=1"), || of("app/a"));
        wait_for_more(word, &before.1, "2xx=1 ok=1", || of("app/b"));
        wait_for_more(word, &before.2, wanted, || of_pool(&httpd, "app"));
    }
    let of_app = of_pool(&httpd, "app");
    assert!(of_app["sum_us"] >= 1_000_000, "the attempt in vain belongs to the request: {of_app:?}");
}

#[test]
fn a_request_that_nobody_could_be_asked_for_says_why() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .with_acts()
        .file("fails.lua", "function pick(pool, r) error('no idea') end")
        .config(&pool("app", &[(&a, "")], ""))
        .config(&pool("scripted", &[(&a, "")], "LuaBalancerMethod lua fails.lua pick"))
        .config("ProxyPass /app lb://app\nProxyPass /scripted lb://scripted")
        .start();
    httpd.act("app/disable/a");
    let before = (of_pool(&httpd, "app"), of_pool(&httpd, "scripted"));
    assert_eq!(httpd.client().get("/app/x").status, 503);
    wait_for_more("nobody", &before.0, "no_member=1", || of_pool(&httpd, "app"));
    assert_eq!(httpd.client().get("/scripted/x").status, 500);
    wait_for_more("a script", &before.1, "script=1", || of_pool(&httpd, "scripted"));
    assert_eq!(sum(&of_member(&httpd, "app/a"), "buckets."), 0, "nobody was asked");
}
