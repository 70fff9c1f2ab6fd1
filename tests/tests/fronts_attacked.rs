// SPDX-License-Identifier: Apache-2.0
//! Servers that share limits and health by an etcd whose keys others write as they like, and that
//! are stopped, restarted and changed meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{Backend, Etcd, Httpd, Load, Request, front, pool, wait_for_each_other, wait_until};

const SOON: Duration = Duration::from_secs(20);

fn fronts_of(httpd: &Httpd) -> Option<f64> {
    httpd.metric("luabalancer_fronts")
}

fn member(httpd: &Httpd, name: &str) -> Value {
    let response = httpd.socket().get(&format!("/api/v1/pools/app/members/{name}"));
    serde_json::from_str(&response.text()).expect("JSON")
}

fn patch(httpd: &Httpd, name: &str, body: &str) {
    let request = Request::post(&format!("/api/v1/pools/app/members/{name}"), body);
    let request = request.header("Content-Type", "application/json");
    let answer = httpd.socket().send(&request.with_method("PATCH"));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The lines of a pool of two members at `/app`, with checks every 200 ms.
fn checked(members: [&Backend; 2]) -> String {
    let [a, b] = members.map(Backend::port);
    format!(
        "<LuaBalancerPool app>\nLuaBalancerHealthCheck http uri=/health interval=200ms fall=2 rise=1\n\
         LuaBalancerMember http://127.0.0.1:{a} name=a\nLuaBalancerMember http://127.0.0.1:{b} name=b\n\
         </LuaBalancerPool>\nProxyPass /app lb://app\n"
    )
}

/// The keys below a prefix of the store.
fn keys(etcd: &Etcd, below: &str) -> Vec<Value> {
    let text = etcd.control(&["get", "--prefix", "-w", "json", &format!("/lb/test/{below}")]);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    document["kvs"].as_array().cloned().unwrap_or_default()
}

fn names(etcd: &Etcd, below: &str) -> Vec<String> {
    let text = etcd.control(&["get", "--prefix", "--keys-only", &format!("/lb/test/{below}")]);
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn opinions_go_when_a_server_does_not_share_them_any_more() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let lines = checked([&a, &b]);
    let mut one = front(&etcd, "health=quorum", &lines);
    a.health_status(500);
    wait_until("its opinions", SOON, || keys(&etcd, "health/").len() == 2);
    wait_until("it to be down", SOON, || member(&one, "a")["state"] == "down");
    one.edit_config("LuaBalancerShare health=quorum", "LuaBalancerShare limits");
    one.graceful();
    one.wait_for_fronts(1);
    wait_until("its opinions to go", SOON, || keys(&etcd, "health/").is_empty());
    a.health_status(200);
    wait_until("it to be up", SOON, || member(&one, "a")["state"] == "up");
    one.edit_config("LuaBalancerShare limits", "LuaBalancerShare health=quorum");
    one.graceful();
    wait_until("its opinions again", SOON, || keys(&etcd, "health/").len() == 2);
    let none = lines.replace("<LuaBalancerPool app>", "<LuaBalancerPool app>\nLuaBalancerShare none");
    one.edit_config(&lines, &none);
    one.graceful();
    wait_until("its opinions to go", SOON, || keys(&etcd, "health/").is_empty());
    one.assert_no_crash();
}

#[test]
fn opinions_stay_over_restarts_and_another_leader() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let mut one = front(&etcd, "health=quorum", &checked([&a, &b]));
    a.health_status(500);
    let down = || keys(&etcd, "health/").len() == 2 && member(&one, "a")["state"] == "down";
    wait_until("its opinions", SOON, down);
    let created = || -> Vec<Value> {
        let all = keys(&etcd, "").into_iter();
        all.filter(|key| key["lease"].is_i64()).map(|key| key["create_revision"].clone()).collect()
    };
    let before = created();
    assert_eq!(before.len(), 3);
    for round in 0..4 {
        if round % 2 == 0 {
            one.graceful()
        } else {
            one.restart()
        }
        one.wait_for_fronts(1);
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(created(), before, "round {round}");
        assert_eq!(member(&one, "a")["state"], "down");
    }
}

#[test]
fn keys_that_somebody_has_written_by_hand_are_not_servers() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd, "limits", &checked([&a, &b])));
    wait_for_each_other(&fronts);
    let own = names(&etcd, "fronts/");
    for name in ["", "x", "a/b", "../0", "00000000deadbeef"] {
        etcd.put(&format!("/lb/test/fronts/{name}"), "{");
    }
    // The key of one of them is another's now; its server has it as its own again.
    etcd.put(&own[0], "mine");
    let leased = || keys(&etcd, "fronts/").iter().filter(|key| key["lease"].is_i64()).count();
    wait_until("its key to be its own", SOON, || leased() == 2);
    wait_for_each_other(&fronts);
    let lease = etcd.control(&["lease", "grant", "600"]);
    let lease = lease.split_whitespace().nth(1).expect("a lease").to_owned();
    etcd.control(&["put", &format!("--lease={lease}"), "--", &own[1], "mine"]);
    let is_mine = || keys(&etcd, "fronts/").iter().any(|key| key["value"] == "bWluZQ==");
    wait_until("its key to be its own", SOON, || !is_mine());
    std::thread::sleep(Duration::from_secs(1));
    fronts.iter().for_each(|front| assert_eq!(fronts_of(front), Some(2.0)));
    let [one, mut two] = fronts;
    two.stop();
    one.wait_for_fronts(1);
    one.assert_no_crash();
}

#[test]
fn opinions_that_somebody_has_written_by_hand_do_no_harm() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd, "health=quorum", &checked([&a, &b])));
    wait_for_each_other(&fronts);
    wait_until("all opinions", SOON, || keys(&etcd, "health/").len() == 4);
    let most = u64::MAX;
    let down = format!(r#"{{"state":"down","since":{most},"reason":"{}"}}"#, "x".repeat(500));
    for name in ["x", "y", "z", "<b>", &"n".repeat(100_000)] {
        etcd.put(&format!("/lb/test/health/app/a/{name}"), &down);
    }
    etcd.put("/lb/test/health/app/a", &down);
    etcd.put("/lb/test/health/none/none/none", &down);
    let own = names(&etcd, "fronts/");
    let id = own[0].rsplit('/').next().expect("an id").to_owned();
    etcd.put(&format!("/lb/test/health/app/a/{id}"), &down);
    a.health_status(500);
    for front in &fronts {
        wait_until("it to be down", SOON, || member(front, "a")["state"] == "down");
    }
    a.health_status(200);
    for front in &fronts {
        wait_until("it to be up", SOON, || member(front, "a")["state"] == "up");
        let page = front.socket().get("/api/v1/pools/app/members/a").text();
        assert!(page.len() < 20_000, "{} bytes", page.len());
        assert_eq!(front.socket().get("/api/v1/pools").status, 200);
    }
    let leased = || keys(&etcd, "health/app/a/").iter().filter(|key| key["lease"].is_i64()).count();
    wait_until("their opinions to be their own", SOON, || leased() == 2);
    fronts.iter().for_each(Httpd::assert_no_crash);
}

#[test]
fn too_many_bytes_of_opinions_take_no_limits_away() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd, "health=quorum limits", &checked([&a, &b])));
    wait_for_each_other(&fronts);
    a.health_status(500);
    for front in &fronts {
        wait_until("it to be down", SOON, || member(front, "a")["state"] == "down");
    }
    let file = etcd.folder().join("large");
    std::fs::write(&file, "x".repeat(1_000_000)).expect("written");
    for at in 0..34 {
        let line = format!("etcdctl --endpoints={} put /lb/test/health/app/x/{at} < large", etcd.endpoint());
        let done = std::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir(etcd.folder())
            .env("ETCDCTL_API", "3")
            .output();
        assert!(done.expect("sh").status.success());
    }
    let three = front(&etcd, "health=quorum limits", &checked([&a, &b]));
    for front in fronts.iter().chain([&three]) {
        front.wait_for_fronts(3);
    }
    // Each goes by its own checks then.
    for front in fronts.iter().chain([&three]) {
        front.wait_for_log("the opinions of other servers about members cannot be heard");
        wait_until("it to be down", SOON, || member(front, "a")["state"] == "down");
    }
    etcd.control(&["del", "--prefix", "/lb/test/health/app/x/"]);
    for front in fronts.iter().chain([&three]) {
        let shown = || member(front, "a")["opinions"].as_array().is_some_and(|shown| shown.len() == 3);
        wait_until("the opinions to be shown", Duration::from_secs(60), shown);
    }
}

#[test]
fn a_limit_of_one_over_three_servers_is_one_servers() {
    let [a, b] = Backend::named(["a", "b"]);
    a.slow(Duration::from_millis(20));
    b.slow(Duration::from_millis(20));
    let etcd = Etcd::start();
    let lines: String = checked([&a, &b])
        .lines()
        .filter(|line| !line.contains("Check"))
        .fold(String::new(), |all, line| all + &line.replace("name=", "max_inflight=1 name=") + "\n");
    let fronts = [0; 3].map(|_| front(&etcd, "limits", &lines));
    wait_for_each_other(&fronts);
    std::thread::sleep(Duration::from_secs(2));
    let loads = fronts.each_ref().map(|front| Load::start(front.port(), "/app/", 8));
    wait_until("requests", SOON, || a.in_flight() > 0 && b.in_flight() > 0);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((a.most_at_work(), b.most_at_work()), (1, 1));
    // Changes of it meanwhile.
    for limit in [5, 2, 3] {
        fronts.iter().for_each(|front| patch(front, "a", &format!("{{\"max_inflight\":{limit}}}")));
        wait_until("all places to be used", SOON, || a.in_flight() >= limit);
        assert!(a.in_flight() <= 5, "{}", a.in_flight());
    }
    assert!(a.most_at_work() <= 5, "{}", a.most_at_work());
    for load in loads {
        drop(load.stop());
    }
}

#[test]
fn a_leader_that_was_stopped_for_longer_than_the_lease_takes_nothing_when_it_goes_on() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let endpoint = etcd.endpoint();
    let lines = checked([&a, &b]);
    let config =
        format!("LuaBalancerStore etcd:{endpoint}/lb/test\nLuaBalancerShare health=quorum limits\n{lines}");
    let one = Httpd::builder().children(2).config(&config).start();
    let two = front(&etcd, "health=quorum limits", &lines);
    one.wait_for_fronts(2);
    two.wait_for_fronts(2);
    wait_until("opinions", SOON, || keys(&etcd, "health/").len() == 4);
    let before = keys(&etcd, "fronts/");
    let leader = || {
        let text = one.socket().get("/api/v1/status").text();
        let status: Value = serde_json::from_str(&text).expect("JSON");
        status["leader"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    };
    let led = leader().expect("a leader");
    one.signal(led, Signal::SIGSTOP);
    wait_until("another leader", SOON, || leader().is_some_and(|leader| leader != led));
    // Longer than the lease would live that it has renewed.
    std::thread::sleep(Duration::from_secs(11));
    one.signal(led, Signal::SIGCONT);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((fronts_of(&one), fronts_of(&two)), (Some(2.0), Some(2.0)));
    assert_eq!(keys(&etcd, "health/").len(), 4);
    let lease = |keys: &[Value]| keys.iter().map(|key| key["lease"].clone()).collect::<Vec<_>>();
    assert_eq!(lease(&keys(&etcd, "fronts/")), lease(&before));
    one.assert_no_crash();
}

#[test]
fn a_store_that_lets_a_server_share_orders_alone_is_said_to_be_so() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut etcd = Etcd::start();
    for arguments in [
        &["user", "add", "root:secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "lb"],
        &["role", "grant-permission", "lb", "--prefix=true", "readwrite", "/lb/test/orders/"],
        &["role", "grant-permission", "lb", "readwrite", "/lb/test/store"],
        &["user", "add", "lb:word"],
        &["user", "grant-role", "lb", "lb"],
        &["auth", "enable"],
    ] {
        etcd.control(arguments);
    }
    etcd.set_options(&["--user=root:secret"]);
    let config = format!(
        "LuaBalancerStore etcd:{}/lb/test user=lb password_file=word\nLuaBalancerShare orders limits\n{}",
        etcd.endpoint(),
        checked([&a, &b])
    );
    let one = Httpd::builder().file("word", "word\n").config(&config).start();
    wait_until("the store to be there", SOON, || one.metric("luabalancer_store_up") == Some(1.0));
    one.wait_for_log("the store of what servers share is away, parts stay as they are");
    etcd.control(&["role", "grant-permission", "lb", "--prefix=true", "readwrite", "/lb/test/fronts/"]);
    one.wait_for_fronts(1);
}

/// A way to an etcd on which each question takes so long.
fn slow_way(etcd: &Etcd, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, to) =
        (listener.local_addr().expect("an address").port(), etcd.endpoint().replace("http://", ""));
    let copy = move |mut from: TcpStream, mut into: TcpStream, delay: Duration| {
        let mut buffer = [0; 65536];
        while let Ok(size @ 1..) = from.read(&mut buffer) {
            std::thread::sleep(delay);
            if into.write_all(&buffer[..size]).is_err() {
                break;
            }
        }
        let _ = into.shutdown(Shutdown::Both);
    };
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&to) else { continue };
            let (from, into) = (client.try_clone().expect("a clone"), server.try_clone().expect("a clone"));
            std::thread::spawn(move || copy(from, into, Duration::ZERO));
            std::thread::spawn(move || copy(server, client, delay));
        }
    });
    port
}

#[test]
fn a_slow_store_that_is_told_many_opinions_keeps_the_server_among_the_others() {
    const MEMBERS: usize = 3000;
    let etcd = Etcd::start();
    let port = slow_way(&etcd, Duration::from_millis(450));
    let members = (0..MEMBERS).fold(String::new(), |all, at| {
        let (high, low) = (at / 250, at % 250 + 1);
        all + &format!("LuaBalancerMember http://127.1.{high}.{low}:1 name=m{at}\n")
    });
    let config = format!(
        "LuaBalancerStore etcd:http://127.0.0.1:{port}/lb/test\nLuaBalancerShare health\n\
         <LuaBalancerPool app>\nLuaBalancerHealthCheck tcp interval=1s fall=1 rise=1 timeout=1s\n{members}\
         </LuaBalancerPool>\nProxyPass /app lb://app\n"
    );
    let one = Httpd::builder().config(&config).start();
    wait_until("a lease", SOON, || keys(&etcd, "fronts/").len() == 1);
    let lease = || keys(&etcd, "fronts/").first().map(|key| key["lease"].clone());
    let before = lease();
    let count = || names(&etcd, "health/").len();
    wait_until("all opinions", Duration::from_secs(60), || {
        assert_eq!(lease(), before, "it was given up with {} opinions", count());
        count() == MEMBERS
    });
    one.assert_no_crash();
}

#[test]
fn a_server_that_does_not_decide_with_the_others_any_more_goes_by_its_own_checks() {
    let [a, b] = Backend::named(["a", "b"]);
    let [eye] = Backend::named(["eye"]);
    let etcd = Etcd::start();
    let lines = checked([&a, &b]);
    let lone = lines.replace("interval=200ms", &format!("interval=200ms port={}", eye.port()));
    let mut one = front(&etcd, "health=quorum", &lone);
    let two = front(&etcd, "health=quorum", &lines);
    one.wait_for_fronts(2);
    two.wait_for_fronts(2);
    wait_until("all opinions", SOON, || keys(&etcd, "health/").len() == 4);
    eye.health_status(500);
    let called = || {
        member(&two, "a")["opinions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["state"] == "down"))
    };
    wait_until("one to call it down", SOON, called);
    assert_eq!(member(&one, "a")["state"], "up");
    one.edit_config("LuaBalancerShare health=quorum", "LuaBalancerShare health");
    one.graceful();
    wait_until("it to be down", SOON, || member(&one, "a")["state"] == "down");
}

#[test]
fn a_store_that_is_wiped_again_and_again_gives_no_server_more_than_its_part() {
    const LIMIT: usize = 30;
    let [a] = Backend::named(["a"]);
    a.slow(Duration::from_millis(50));
    let mut etcd = Etcd::start();
    let lines = pool("app", &[(&a, &format!("max_inflight={LIMIT}"))], "LuaBalancerSet queue=30s");
    let lines = lines + "ProxyPass /app lb://app\n";
    // One of them is among the others again two seconds later than these.
    let way = slow_way(&etcd, Duration::from_millis(450));
    let config =
        format!("LuaBalancerStore etcd:http://127.0.0.1:{way}/lb/test\nLuaBalancerShare limits\n{lines}");
    let slow = Httpd::builder().threads(40).config(&config).start();
    let fronts = [front(&etcd, "limits", &lines), front(&etcd, "limits", &lines), slow];
    wait_for_each_other(&fronts);
    // Parts hold as a whole a second later.
    std::thread::sleep(Duration::from_secs(2));
    let loads = fronts.each_ref().map(|front| Load::start(front.port(), "/app/", LIMIT / 2));
    loads.iter().for_each(|load| load.wait_for(50));
    a.measure(LIMIT);
    for round in 0..3 {
        etcd.kill();
        etcd.wipe();
        if round == 1 {
            let away = || fronts.iter().all(|front| front.metric("luabalancer_store_up") == Some(0.0));
            wait_until("the store to be away", SOON, away);
        }
        etcd.start_again();
        wait_until("all to be there again", SOON, || keys(&etcd, "fronts/").len() == 3);
        wait_for_each_other(&fronts);
        loads.iter().for_each(|load| load.wait_for(250));
        let measure = a.measured();
        println!("{measure:?}");
        assert!(measure.most <= LIMIT, "round {round}: {measure:?}");
    }
    assert!(a.measured().average() >= 0.8 * LIMIT as f64, "{:?}", a.measured());
    for load in loads {
        assert_eq!(load.stop().errors, Vec::<String>::new());
    }
    fronts.iter().for_each(Httpd::assert_no_crash);
}
