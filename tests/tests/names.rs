// SPDX-License-Identifier: Apache-2.0
//! Host names whose addresses change while the server runs. The names are those of an `/etc/hosts`
//! that only the server sees, which takes a mount namespace.

use std::net::Ipv4Addr;
use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Request, wait_until};

const SOON: Duration = Duration::from_secs(20);
const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// False, with a line that says why, where no server can have its own `/etc/hosts`.
fn names_can_change() -> bool {
    let denied = Httpd::own_hosts_denied();
    if let Some(why) = &denied {
        eprintln!("SKIPPED: {why}");
    }
    denied.is_none()
}

fn hosts(ip: Ipv4Addr) -> String {
    format!("127.0.0.1 localhost\n{ip} moves.lb.test\n")
}

/// One member `m` by name, at `a`'s port, with further keys; further lines of its pool.
fn by_name(a: &Backend, keys: &str, lines: &str) -> Builder {
    Httpd::builder()
        .with_member_states()
        .hosts(&hosts(FIRST))
        .config(&format!(
            "<LuaBalancerPool app>\n  LuaBalancerMember http://moves.lb.test:{} name=m {keys}\n{lines}\n</LuaBalancerPool>",
            a.port()
        ))
        .config("ProxyPass /app lb://app")
}

#[test]
fn requests_and_checks_follow_a_name_that_moves() {
    if !names_can_change() {
        return;
    }
    let a = Backend::new("a");
    let b = a.twin("b", SECOND);
    let check = "  LuaBalancerHealthCheck http uri=/health interval=200ms timeout=500ms";
    let httpd = by_name(&a, "addressttl=1", check).start();
    wait_until("checks of the first address", SOON, || a.health_checks() >= 2);
    let mut client = httpd.client();
    assert_eq!(client.get("/app/x").backend(), "a");
    httpd.write_in_place("hosts", &hosts(SECOND));
    wait_until("requests at the second address", SOON, || client.get("/app/x").backend() == "b");
    wait_until("checks of the second address", SOON, || b.health_checks() >= 2);
    // The first address is out of use in every child and for every check.
    a.refuse();
    let checks = b.health_checks();
    wait_until("more checks", SOON, || b.health_checks() >= checks + 5);
    for nth in 0..40 {
        assert_eq!(httpd.client().get("/app/y").backend(), "b", "request {nth}");
    }
    assert_eq!(httpd.member("app", "m").state, "up");
    assert_eq!(httpd.count_log(r"member m .*(down|ejected)"), 0);
    assert!(httpd.access_log().iter().all(|line| line.status < 400), "a request failed on the way");
}

#[test]
fn a_name_without_addressttl_is_looked_up_again_when_nobody_answers_there() {
    if !names_can_change() {
        return;
    }
    let a = Backend::new("a");
    let b = a.twin("b", SECOND);
    let httpd = by_name(&a, "", "").start();
    for _ in 0..20 {
        assert_eq!(httpd.client().get("/app/x").backend(), "a");
    }
    httpd.write_in_place("hosts", &hosts(SECOND));
    a.refuse();
    for nth in 0..20 {
        assert_eq!(httpd.client().get("/app/x").backend(), "b", "request {nth}");
    }
    assert_eq!(httpd.member("app", "m").state, "up");
    drop(b);
}

#[test]
fn a_name_that_is_gone_costs_no_request_while_others_serve_and_comes_back() {
    if !names_can_change() {
        return;
    }
    let a = Backend::new("a");
    let b = Backend::new("b");
    let lines = format!(
        "  LuaBalancerMember {} name=b\n  LuaBalancerMethod first\n  LuaBalancerOutlier off",
        b.url()
    );
    let httpd = by_name(&a, "addressttl=1", &lines).start();
    assert_eq!(httpd.client().get("/app/x").backend(), "a");
    httpd.write_in_place("hosts", "127.0.0.1 localhost\n");
    // A body as well: nothing of it was sent.
    wait_until("requests at the other member", SOON, || {
        httpd.client().send(&Request::post("/app/x", "body")).backend() == "b"
    });
    assert_eq!(httpd.wait_for_access("/app/x").status, 200);
    httpd.write_in_place("hosts", &hosts(FIRST));
    wait_until("requests at the name again", SOON, || httpd.client().get("/app/x").backend() == "a");
    assert!(httpd.access_log().iter().all(|line| line.status < 400), "a request failed on the way");
}
