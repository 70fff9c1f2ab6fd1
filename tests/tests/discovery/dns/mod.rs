// SPDX-License-Identifier: Apache-2.0
//! Members by the names of DNS, of real servers.

mod servers;

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_tests::{Backend, Builder, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

use self::servers::DnsServer;
use super::{SOON, member, source, states, up, wait_for_state, wait_for_up};

/// Its records hold for a second; and another until it is in service.
const TTL_AND_A_SECOND: Duration = Duration::from_secs(2);

/// A pool `app` with a source at a server.
fn found(place: &str, server: &DnsServer, keys: &str) -> Builder {
    let resolver = server.resolver();
    let pool = format!(
        "<LuaBalancerPool app>\n  LuaBalancerDiscovery dns:{place} {resolver} {keys}\n</LuaBalancerPool>\n"
    );
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app")
}

/// Three backends at one port of three addresses, and their port.
fn at_one_port() -> ([Backend; 3], u16) {
    let a = Backend::new("a");
    let (b, c) = (a.twin("b", Ipv4Addr::new(127, 0, 0, 2)), a.twin("c", Ipv4Addr::new(127, 0, 0, 3)));
    let port = a.port();
    ([a, b, c], port)
}

/// The last numbers of the addresses that a name has.
fn hosts(numbers: &[u8]) -> String {
    numbers.iter().map(|number| format!("127.0.0.{number} app.internal\n")).collect()
}

/// The same as members.
fn members(numbers: &[u8], port: u16) -> String {
    let names = numbers.iter().map(|number| format!("127.0.0.{number}:{port}"));
    names.collect::<Vec<_>>().join(" ")
}

on_every_mpm!(a_change_is_in_service_within_its_time_to_live_and_a_second);

fn a_change_is_in_service_within_its_time_to_live_and_a_second(mpm: Mpm) {
    let (_backends, port) = at_one_port();
    let server = DnsServer::dnsmasq(&hosts(&[1, 2]), "");
    let httpd = found(&format!("app.internal:{port}"), &server, "").mpm(mpm).start();
    wait_for_up(&httpd, &members(&[1, 2], port));
    let load = Load::start(httpd.port(), "/app/", 4);
    load.wait_for(20);
    server.set_hosts(&hosts(&[1, 2, 3]));
    let added = wait_for_up(&httpd, &members(&[1, 2, 3], port));
    assert!(added <= patience(TTL_AND_A_SECOND), "{added:?}");
    server.set_hosts(&hosts(&[2, 3]));
    // Two answers have to lack it.
    let removed = wait_for_up(&httpd, &members(&[2, 3], port));
    assert!(removed <= patience(2 * TTL_AND_A_SECOND), "{removed:?}");
    load.wait_for(20);
    load.stop().assert_all_ok();
    let row = source(&httpd);
    assert_eq!((&row["state"], &row["updates"]["failed"]), (&"ok".into(), &0.into()), "{row}");
    let member = member(&httpd, &format!("127.0.0.2:{port}"));
    let place = format!("app.internal:{port}");
    assert_eq!((&member["source"]["kind"], &member["source"]["where"]), (&"dns".into(), &place.into()));
    httpd.assert_no_crash();
}

#[test]
fn an_answer_that_does_not_fit_is_whole_all_the_same() {
    let (_backends, port) = at_one_port();
    let numbers: Vec<u8> = (1..=60).collect();
    let server = DnsServer::dnsmasq(&hosts(&numbers), "");
    let httpd = found(&format!("app.internal:{port}"), &server, "type=a").start();
    wait_until("sixty members", SOON, || states(&httpd).len() == 60);
    let row = wait_for_state(&httpd, "ok");
    assert_eq!((&row["listed"], &row["updates"]["failed"]), (&60.into(), &0.into()), "{row}");
}

#[test]
fn a_name_that_is_gone_is_an_empty_list_and_held() {
    let (_backends, port) = at_one_port();
    let server = DnsServer::dnsmasq(&hosts(&[1, 2]), "");
    let place = format!("app.internal:{port}");
    let httpd = found(&place, &server, "max_ttl=1s").start();
    wait_for_up(&httpd, &members(&[1, 2], port));
    server.set_hosts("");
    let row = wait_for_state(&httpd, "held");
    assert_eq!((&row["held"]["why"], &row["listed"]), (&"empty".into(), &0.into()), "{row}");
    assert_eq!(up(&httpd), members(&[1, 2], port));
    server.set_hosts(&hosts(&[2]));
    wait_for_state(&httpd, "ok");
    wait_for_up(&httpd, &members(&[2], port));
}

#[test]
fn a_server_that_is_stopped_silent_or_gone_leaves_the_last_list() {
    let (_backends, port) = at_one_port();
    let mut server = DnsServer::dnsmasq(&hosts(&[1, 2]), "");
    let httpd = found(&format!("app.internal:{port}"), &server, "").start();
    let both = members(&[1, 2], port);
    wait_for_up(&httpd, &both);
    let load = Load::start(httpd.port(), "/app/", 2);
    server.signal(Signal::SIGSTOP);
    let row = wait_for_state(&httpd, "stale");
    let error = row["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(error.starts_with("app.internal A") && error.contains(": no answer (127.0.0.1:"), "{error}");
    assert_eq!(up(&httpd), both);
    server.signal(Signal::SIGCONT);
    wait_for_state(&httpd, "ok");
    server.end();
    let row = wait_for_state(&httpd, "stale");
    let error = row["last_error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("Connection refused"), "{error}");
    assert_eq!(up(&httpd), both);
    assert_eq!(httpd.count_log("source dns-1: .*its last list stays"), 2, "one warning each time");
    server.start();
    server.set_hosts(&hosts(&[1, 2, 3]));
    wait_for_state(&httpd, "ok");
    wait_for_up(&httpd, &members(&[1, 2, 3], port));
    load.stop().assert_all_ok();
}

#[test]
fn weights_and_priorities_of_a_service_are_those_of_its_members() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = format!(
        "srv-host=_http._tcp.app.internal,one.internal,{},10,3\n\
         srv-host=_http._tcp.app.internal,one.internal,{},10,1\n\
         srv-host=_http._tcp.app.internal,one.internal,{},20,0\n",
        a.port(),
        b.port(),
        c.port()
    );
    let server = DnsServer::dnsmasq("127.0.0.1 one.internal\n", &lines);
    let httpd = found("_http._tcp.app.internal", &server, "type=srv").start();
    wait_until("three members", SOON, || states(&httpd).len() == 3);
    for (backend, weight, lbset) in [(&a, 3, 10), (&b, 1, 10), (&c, 1, 20)] {
        let member = member(&httpd, &format!("127.0.0.1:{}", backend.port()));
        assert_eq!((&member["weight"], &member["lbset"]), (&weight.into(), &lbset.into()), "{member}");
    }
    let mut client = httpd.client();
    for _ in 0..40 {
        assert_eq!(client.get("/app/").status, 200);
    }
    assert_eq!([a.requests(), b.requests(), c.requests()], [30, 10, 0]);
}

#[test]
fn a_zone_says_how_long_nothing_holds_and_other_weights_are_taken() {
    let [a, b] = Backend::named(["a", "b"]);
    let server = DnsServer::knot("");
    let httpd = found("_http._tcp.app.internal", &server, "type=srv").start();
    let row = wait_for_state(&httpd, "ok");
    assert_eq!(row["listed"], 0, "{row}");
    let zone = |weight: u16| {
        let (first, second) = (a.port(), b.port());
        format!(
            "_http._tcp.app SRV 10 {weight} {first} one\n_http._tcp.app SRV 10 1 {second} two\n\
             one A 127.0.0.1\ntwo CNAME three\nthree A 127.0.0.1"
        )
    };
    server.set_zone(&zone(5));
    let both = wait_until("two members", SOON, || states(&httpd).len() == 2);
    assert!(both <= patience(TTL_AND_A_SECOND), "{both:?}");
    let weight = || member(&httpd, &format!("127.0.0.1:{}", a.port()))["weight"].clone();
    assert_eq!(weight(), 5);
    server.set_zone(&zone(9));
    wait_until("another weight", SOON, || weight() == 9);
}

#[test]
fn a_start_without_a_server_serves_the_last_answer() {
    let (_backends, port) = at_one_port();
    let mut server = DnsServer::dnsmasq(&hosts(&[1, 2]), "");
    let place = format!("app.internal:{port}");
    let mut httpd = found(&place, &server, "").config("LuaBalancerStateFile kept/state.json").start();
    let both = members(&[1, 2], port);
    wait_for_up(&httpd, &both);
    let state = httpd.dir().join("kept/state.json");
    wait_until("the answer in the state file", SOON, || {
        fs::read_to_string(&state).is_ok_and(|text| text.contains("discovered=dns-1"))
    });
    httpd.stop();
    server.end();
    httpd.start_again();
    assert_eq!(up(&httpd), both);
    wait_for_state(&httpd, "stale");
    assert_eq!(httpd.client().get("/app/").status, 200);
    server.start();
    server.set_hosts(&hosts(&[1, 2, 3]));
    wait_for_up(&httpd, &members(&[1, 2, 3], port));
}

#[test]
fn a_script_may_name_it() {
    let (_backends, port) = at_one_port();
    let server = DnsServer::dnsmasq(&hosts(&[1, 2]), "");
    let resolver = server.resolver().replace('=', "='") + "'";
    let script = format!(
        "lb.define_pool('app', {{ discovery = {{ source = 'dns:app.internal:{port}', type = 'a', {resolver}, \
         max_ttl = '1s' }} }})\nfunction translate(r) return lb.pool('app') end"
    );
    let httpd = Httpd::builder().file("pick.lua", &script).config("LuaHookTranslate pick.lua").start();
    wait_for_up(&httpd, &members(&[1, 2], port));
    assert_eq!(httpd.client().get("/").status, 200);
    assert_eq!(source(&httpd)["where"], format!("app.internal:{port}"));
    let shown = httpd.lbctl(&["discovery"]).done();
    assert!(shown.out.contains("dns-1"), "{}", shown.out);
}
