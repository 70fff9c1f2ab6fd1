// SPDX-License-Identifier: Apache-2.0
//! Every kind of check against members that behave well and badly.

mod common;

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use balance::settings::{CheckKind, HealthCheck};
use common::*;
use probe::agent::{AgentAdmin, AgentHealth};

fn http() -> HealthCheck {
    check(CheckKind::Http)
}

#[test]
fn tcp_passes_when_the_member_accepts() {
    let backend = Backend::new(|_, talk| talk.hang());
    let seen = once_at(&backend, check(CheckKind::Tcp));
    assert!(seen.ok && seen.why == "connected" && seen.key == 1 << 32 | 1, "{seen:?}");
}

#[test]
fn a_refused_connection_says_so() {
    let port = closed_port();
    for kind in [CheckKind::Tcp, CheckKind::Http, CheckKind::Https, CheckKind::Agent] {
        let seen = once(url("127.0.0.1", port), check(kind));
        assert_eq!((seen.ok, seen.why), (false, format!("connect: refused (127.0.0.1:{port})")), "{kind:?}");
    }
}

#[test]
fn port_replaces_the_members_port() {
    let backend = Backend::new(|_, talk| talk.hang());
    let checked = HealthCheck { port: Some(backend.address.port()), ..check(CheckKind::Tcp) };
    assert!(once(url("127.0.0.1", closed_port()), checked).ok);
}

#[test]
fn silence_times_out_in_every_kind() {
    let backend = Backend::new(|_, talk| talk.hang());
    for (kind, phase) in [
        (CheckKind::Http, "waiting for the answer"),
        (CheckKind::Https, "in the TLS handshake"),
        (CheckKind::Agent, "waiting for the agent's line"),
    ] {
        let started = Instant::now();
        let seen = once_at(&backend, HealthCheck { timeout_ms: 150, verify: false, ..check(kind) });
        assert_eq!((seen.ok, seen.why), (false, format!("timed out after 150ms {phase}")), "{kind:?}");
        assert!(started.elapsed() < Duration::from_secs(5) && seen.millis >= 149.0);
    }
}

#[test]
fn statuses_are_judged_by_the_expected_ranges() {
    let expect = vec![(200, 399), (418, 418)];
    for (status, ok) in
        [(200, true), (204, true), (302, true), (399, true), (400, false), (418, true), (503, false)]
    {
        let backend = Backend::answering(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        let seen = once_at(&backend, HealthCheck { expect: expect.clone(), ..http() });
        assert_eq!(seen.ok, ok, "{status}");
        let why =
            if ok { format!("status {status}") } else { format!("HTTP {status}, expected 200-399,418") };
        assert_eq!(seen.why, why);
    }
}

#[test]
fn a_body_has_to_match() {
    let backend = Backend::answering(ok("status: green\n"));
    let with = |pattern: &str| HealthCheck { body: Some(pattern.into()), ..http() };
    assert!(once_at(&backend, with("status: (green|yellow)")).ok);
    let seen = once_at(&backend, with("status: red"));
    let why = "HTTP 200, but the first 64 KiB of the body do not match body=\"status: red\"";
    assert_eq!((seen.ok, seen.why.as_str()), (false, why));
    assert!(trouble(url("127.0.0.1", 1), with("(")).contains("cannot be checked: body=:"));
}

#[test]
fn a_body_must_not_match_what_is_unwanted() {
    let backend = Backend::answering(ok("status: Under maintenance\n"));
    let with = |pattern: &str| HealthCheck { not_body: Some(pattern.into()), ..http() };
    assert!(once_at(&backend, with("offline")).ok);
    let seen = once_at(&backend, with("maintenance$"));
    assert!(seen.ok, "$ is the end of the text: {}", seen.why);
    let seen = once_at(&backend, HealthCheck { body: Some("status".into()), ..with("Under m.*e") });
    let why = "HTTP 200, but the first 64 KiB of the body match not_body=\"Under m.*e\"";
    assert_eq!((seen.ok, seen.why.as_str()), (false, why));
    assert!(trouble(url("127.0.0.1", 1), with("(")).contains("cannot be checked: not_body=:"));
}

#[test]
fn only_the_first_64_kib_of_a_body_count() {
    let within = format!("{}ab{}", "x".repeat(64 * 1024 - 2), "y".repeat(200_000));
    let beyond = format!("{}ab{}", "x".repeat(64 * 1024 - 1), "y".repeat(200_000));
    let pattern = || HealthCheck { body: Some("ab".into()), ..http() };
    assert!(once_at(&Backend::answering(ok(&within)), pattern()).ok);
    assert!(!once_at(&Backend::answering(ok(&beyond)), pattern()).ok);
}

#[test]
fn an_endless_body_ends_the_check_after_64_kib() {
    let backend = Backend::new(|_, talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\n\r\n");
        while talk.say([b'x'; 4096]) {}
    });
    let seen = once_at(&backend, HealthCheck { timeout_ms: 15_000, ..http() });
    assert!(seen.ok, "{seen:?}");
}

#[test]
fn half_an_answer_fails() {
    let closed = "the connection was closed before the answer was complete";
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"]
    {
        let backend = Backend::new(move |_, talk| {
            talk.request();
            talk.say(answer);
        });
        let seen = once_at(&backend, http());
        assert_eq!((seen.ok, seen.why.as_str()), (false, closed), "{answer}");
    }
    let hanging = Backend::new(|_, talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        talk.hang();
    });
    let seen = once_at(&hanging, HealthCheck { timeout_ms: 150, ..http() });
    assert_eq!((seen.ok, seen.why.as_str()), (false, "timed out after 150ms reading the body"));
}

#[test]
fn a_slow_drip_does_not_stretch_the_timeout() {
    let backend = Backend::new(|_, talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\n");
        while talk.say("X") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let started = Instant::now();
    let seen = once_at(&backend, HealthCheck { timeout_ms: 300, ..http() });
    assert_eq!((seen.ok, seen.why.as_str()), (false, "timed out after 300ms waiting for the answer"));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_endless_header_ends_the_check() {
    for line in [format!("X: {}\r\n", "y".repeat(1000)), "z".repeat(1000), "A: b\r\n".into()] {
        let backend = Backend::new(move |_, talk| {
            talk.request();
            talk.say("HTTP/1.1 200 OK\r\n");
            while talk.say(&line) {}
        });
        let seen = once_at(&backend, http());
        assert!(!seen.ok && seen.why.contains("the answer"), "{seen:?}");
        assert!(!seen.why.contains("timed out"), "{seen:?}");
    }
}

#[test]
fn an_answer_that_is_not_http_fails() {
    let seen = once_at(&Backend::answering("220 mail.example ESMTP\r\n"), http());
    assert!(!seen.ok && seen.why.starts_with("the answer is not HTTP"), "{seen:?}");
}

#[test]
fn the_request_is_as_configured() {
    let backend = Backend::answering(ok(""));
    let port = backend.address.port();
    assert!(once_at(&backend, http()).ok);
    let head = backend.request();
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("Host: 127.0.0.1:{port}\r\n")), "{head}");
    assert!(head.contains("User-Agent: mod_lua_balancer\r\n"), "{head}");

    let headers = [("X-Probe", "1"), ("x-probe", "2"), ("User-Agent", "me")];
    let headers = headers.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    let (method, uri, host) = ("HEAD".into(), "/health?deep=1".into(), Some("app.example".into()));
    let member = balance::url::MemberUrl { path: "/app".into(), ..url("127.0.0.1", port) };
    assert!(once(member, HealthCheck { method, uri, host, headers, ..http() }).ok);
    let head = backend.request();
    assert!(head.starts_with("HEAD /app/health?deep=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Host: app.example\r\n") && head.matches("Host:").count() == 1, "{head}");
    assert!(head.contains("X-Probe: 1\r\n") && head.contains("X-Probe: 2\r\n"), "{head}");
    assert!(head.contains("User-Agent: me\r\n") && !head.contains("mod_lua_balancer"), "{head}");
}

#[test]
fn settings_that_cannot_be_used_are_named_and_count_against_no_member() {
    let bad = [
        HealthCheck { method: "G E T".into(), ..http() },
        HealthCheck { uri: "health".into(), ..http() },
        HealthCheck { headers: vec![("a b".into(), "c".into())], ..http() },
        HealthCheck { headers: vec![("a".into(), "c\r\nd: e".into())], ..http() },
        HealthCheck { headers: vec![("Content-Length".into(), "5".into())], ..http() },
        HealthCheck { host: Some("a\nb".into()), ..http() },
    ];
    for (check, key) in bad.into_iter().zip(["method=", "uri=", "header=", "header=", "header=", "host="]) {
        let told = trouble(url("127.0.0.1", 1), check);
        assert!(told.starts_with("member ") && told.contains(&format!("cannot be checked: {key}")), "{told}");
    }
}

#[test]
fn redirects_are_followed_on_the_same_member_only() {
    let backend = Backend::new(|_, talk| {
        while let Some(head) = talk.request() {
            let path = head.split(' ').nth(1).unwrap_or_default();
            let host = head.lines().find_map(|line| line.strip_prefix("Host: ")).unwrap_or_default();
            let moved =
                |to: String| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            talk.say(match path {
                "/a" => moved("b?x=1".into()),
                "/b?x=1" => moved(format!("http://{host}/c")),
                "/away" => moved("http://192.0.2.1/c".into()),
                "/loop" => moved("/loop".into()),
                _ => ok("arrived"),
            });
        }
    });
    let at = |uri: &str| HealthCheck {
        uri: uri.into(),
        follow: true,
        expect: vec![(200, 299)],
        body: Some("arrived".into()),
        ..http()
    };
    assert!(once_at(&backend, at("/a")).ok);
    assert_eq!(backend.connections(), 1);
    assert_eq!(once_at(&backend, at("/loop")).why, "more than 5 redirects");
    assert_eq!(
        once_at(&backend, at("/away")).why,
        "HTTP 302: the redirect to \"http://192.0.2.1/c\" leaves the member"
    );
    assert_eq!(
        once_at(&backend, HealthCheck { follow: false, ..at("/a") }).why,
        "HTTP 302, expected 200-299"
    );
}

/// Says something and closes.
fn saying(line: &'static str) -> Backend {
    Backend::new(move |_, talk| {
        talk.say(line);
    })
}

#[test]
fn agents_are_understood() {
    let backend = Backend::new(|_, talk| {
        talk.say("ready up 75% # fine\n");
        talk.hang();
    });
    let seen = once_at(&backend, check(CheckKind::Agent));
    let reply = seen.agent.unwrap();
    assert!(seen.ok);
    assert_eq!(
        (reply.health, reply.admin, reply.weight_percent),
        (Some(AgentHealth::Up), Some(AgentAdmin::Ready), Some(75))
    );
    assert_eq!(seen.why, "agent: up ready 75% #fine");

    let seen = once_at(&saying("down #disk"), check(CheckKind::Agent));
    assert_eq!((seen.ok, seen.why.as_str()), (false, "agent: down #disk"));
    for (line, why) in [("", "agent: empty answer"), ("hello\n", "agent: unknown word \"hello\"")] {
        let seen = once_at(&saying(line), check(CheckKind::Agent));
        assert!(!seen.ok && seen.agent.is_none() && seen.why.starts_with(why), "{seen:?}");
    }
    let endless = Backend::new(|_, talk| while talk.say([b' '; 512]) {});
    assert!(once_at(&endless, check(CheckKind::Agent)).why.contains("longer than 1024 bytes"));
}

#[test]
fn unix_sockets_are_reached() {
    let path = std::env::temp_dir().join(format!("probe-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let stream: Box<dyn Duplex> = Box::new(stream);
        let mut talk = Conversation { stream: std::io::BufReader::new(stream), heads: None };
        let head = talk.request();
        talk.say(ok(""));
        head
    });
    let socket = Some(path.to_string_lossy().into_owned());
    let member = balance::url::MemberUrl { socket, ..url("localhost", 80) };
    assert!(once(member.clone(), http()).ok);
    assert!(served.join().unwrap().unwrap().contains("Host: localhost\r\n"));
    std::fs::remove_file(&path).unwrap();
    let seen = once(member, http());
    assert_eq!(seen.why, format!("connect: no such socket ({})", path.display()));
}

#[test]
fn ipv6_is_spoken_where_there_is_any() {
    let Ok(backend) =
        Backend::bound("[::1]:0", |_, talk| while talk.request().is_some() && talk.say(ok("")) {})
    else {
        return;
    };
    assert!(once(url("::1", backend.address.port()), http()).ok);
    assert!(backend.request().contains(&format!("Host: [::1]:{}\r\n", backend.address.port())));
}

#[test]
fn names_are_looked_up_and_unknown_ones_named() {
    let backend = Backend::answering(ok(""));
    assert!(once(url("localhost", backend.address.port()), http()).ok);
    let seen = once(url("no-such-host.invalid", 80), http());
    assert!(!seen.ok && seen.why.starts_with("host name no-such-host.invalid: "), "{seen:?}");
}
