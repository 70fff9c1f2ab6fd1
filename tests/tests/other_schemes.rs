// SPDX-License-Identifier: Apache-2.0
//! Members of other schemes than HTTP: their modules say less about how an attempt ended, and no
//! request is repeated for that.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use server_tests::client::{BodyEncoding, Request};
use server_tests::{Backend, Httpd, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// A backend that reads the beginning of each request and ends the connection.
fn ends_connections() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let met = Arc::new(AtomicUsize::new(0));
    let count = met.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream;
            let _: Result<usize, _> = stream.read(&mut [0; 64]);
        }
    });
    (port, met)
}

/// An application that begins an answer and ends within it.
fn breaks_off() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A header is version, kind, request (2), length of the content (2), padding, unused.
            let mut head = [0; 8];
            while stream.read_exact(&mut head).is_ok() {
                let length = u64::from(head[4]) << 8 | u64::from(head[5]);
                let rest = length + u64::from(head[6]);
                let _ = std::io::copy(&mut (&stream).take(rest), &mut std::io::sink());
                if head[1] == STDIN && length == 0 {
                    break;
                }
            }
            let some = "Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nsome of it";
            let _ = stream.write_all(&[1, STDOUT, 0, 1, 0, some.len() as u8, 0, 0]);
            let _ = stream.write_all(some.as_bytes());
        }
    });
    port
}

/// An application that has the same beginning of an answer for everything, and ends within it.
fn begins(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _: Result<usize, _> = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(&answer);
        }
    });
    port
}

/// An AJP packet from an application: a mark, the length, and these bytes.
fn ajp(body: &[u8]) -> Vec<u8> {
    [b"AB", &(body.len() as u16).to_be_bytes()[..], body].concat()
}

/// FastCGI's kinds of records.
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

fn members(scheme: &str, ports: [u16; 2]) -> String {
    let lines = ports.map(|port| format!("  LuaBalancerMember {scheme}://127.0.0.1:{port}\n")).concat();
    format!(
        "<LuaBalancerPool app>\n  LuaBalancerMethod first\n{lines}</LuaBalancerPool>\nProxyPass /app lb://app"
    )
}

fn server(scheme: &str, ports: [u16; 2]) -> Httpd {
    let builder = Httpd::builder();
    let builder = match scheme {
        "h2c" => builder.module("http2").module("proxy_http2"),
        scheme => builder.module(&format!("proxy_{scheme}")),
    };
    builder.config(&members(scheme, ports)).start()
}

const SCHEMES: [&str; 4] = ["ajp", "fcgi", "scgi", "uwsgi"];

#[test]
fn a_post_that_reached_a_member_is_not_repeated_at_another() {
    for scheme in SCHEMES {
        let [(first, at_first), (second, at_second)] = [ends_connections(), ends_connections()];
        let httpd = server(scheme, [first, second]);
        let answer = httpd.client().send(&Request::post("/app/x", "a body"));
        assert!((500..600).contains(&answer.status), "{scheme}: {}", answer.status);
        let met = [&at_first, &at_second].map(|count| count.load(Ordering::SeqCst));
        assert_eq!(met, [1, 0], "{scheme}");
        let line = httpd.wait_for_access("/app/x");
        assert_eq!(line.env["LB_ATTEMPTS"], "1", "{scheme}");
        assert_eq!(line.env["LB_REASON"], "reset", "{scheme}");
    }
}

#[test]
fn a_get_that_a_member_ended_goes_to_another() {
    for scheme in SCHEMES.into_iter().chain(["h2c"]) {
        let [(first, at_first), (second, at_second)] = [ends_connections(), ends_connections()];
        let httpd = server(scheme, [first, second]);
        httpd.client().get("/app/x");
        let met = [&at_first, &at_second].map(|count| count.load(Ordering::SeqCst) > 0);
        assert_eq!(met, [true, true], "{scheme}");
    }
}

#[test]
fn a_post_to_a_member_that_refuses_goes_to_another() {
    for scheme in SCHEMES {
        let refusing = Backend::refusing("nobody");
        let (second, at_second) = ends_connections();
        let httpd = server(scheme, [refusing.port(), second]);
        httpd.client().send(&Request::post("/app/x", "a body"));
        wait_until("the second member to be met", SOON, || at_second.load(Ordering::SeqCst) == 1);
        assert_eq!(httpd.wait_for_access("/app/x").env["LB_ATTEMPTS"], "2", "{scheme}");
    }
}

#[test]
fn an_answer_over_fastcgi_that_breaks_off_counts_against_the_member_and_is_not_repeated() {
    let (second, at_second) = ends_connections();
    let lines = "  LuaBalancerOutlier on failures=2\n</LuaBalancerPool>";
    let config = members("fcgi", [breaks_off(), second]).replace("</LuaBalancerPool>", lines);
    let httpd = Httpd::builder().with_member_states().module("proxy_fcgi").config(&config).start();
    for nth in 1..=2 {
        let last = Request::get(&format!("/app/{nth}")).header("Connection", "close");
        let _ = httpd.client().try_send(&last);
        assert_eq!(httpd.wait_for_access(&format!("/app/{nth}")).env["LB_REASON"], "reset");
    }
    let states = || httpd.members("app").into_values().filter(|member| member.state == "ejected").count();
    wait_until("the member to be ejected", SOON, || states() == 1);
    assert_eq!(at_second.load(Ordering::SeqCst), 0);
}

/// SCGI and uwsgi tell the length before the body.
#[test]
fn a_body_of_unknown_length_is_refused_and_counts_against_no_member() {
    for scheme in ["scgi", "uwsgi"] {
        let [(first, _), (second, _)] = [ends_connections(), ends_connections()];
        let lines = "  LuaBalancerOutlier on failures=1\n</LuaBalancerPool>";
        let config = members(scheme, [first, second]).replace("</LuaBalancerPool>", lines);
        let module = format!("proxy_{scheme}");
        let httpd = Httpd::builder().with_member_states().module(&module).config(&config).start();
        let body = Request::post("/app/x", "a body").encoding(BodyEncoding::Chunked);
        assert_eq!(httpd.client().send(&body).status, 411, "{scheme}");
        let line = httpd.wait_for_access("/app/x");
        assert_eq!((&*line.env["LB_REASON"], &*line.env["LB_ATTEMPTS"]), ("request", "1"), "{scheme}");
        assert!(httpd.members("app").into_values().all(|member| member.state == "up"), "{scheme}");
    }
}

#[test]
fn an_answer_over_ajp_that_breaks_off_counts_against_the_member_and_is_not_repeated() {
    // 200, "OK", no headers; then the beginning of a body.
    let answer = [ajp(b"\x04\x00\xc8\x00\x02OK\x00\x00\x00"), ajp(b"\x03\x00\x04some\x00")].concat();
    let (second, at_second) = ends_connections();
    let httpd = server("ajp", [begins(answer), second]);
    let last = Request::get("/app/x").header("Connection", "close");
    assert!(httpd.client().try_send(&last).is_err());
    let line = httpd.wait_for_access("/app/x");
    assert_eq!((&*line.env["LB_REASON"], line.status), ("reset", 200));
    assert_eq!(at_second.load(Ordering::SeqCst), 0);
}

/// mod_proxy_http2 says the same of everything, so that a request may have been begun with.
#[test]
fn a_post_over_http2_goes_to_no_other_member_whatever_has_failed() {
    let refusing = Backend::refusing("nobody");
    let (second, at_second) = ends_connections();
    let httpd = server("h2c", [refusing.port(), second]);
    assert_eq!(httpd.client().send(&Request::post("/app/x", "a body")).status, 503);
    let line = httpd.wait_for_access("/app/x");
    assert_eq!((&*line.env["LB_REASON"], &*line.env["LB_ATTEMPTS"]), ("reset", "1"));
    assert_eq!(at_second.load(Ordering::SeqCst), 0);
}
