// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use domain::base::Rtype;
use domain::base::iana::Rcode;

use super::super::fake::{Fake, FakeQuestion, FakeRecord, name};
use super::*;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn addresses_at(servers: &[SocketAddr], of: &str, families: Families) -> Result<Resolution<IpAddr>, String> {
    run(NameLookup { servers }.addresses(&name(of), families))
}

/// The addresses that a server gives, as text, and the seconds.
fn addresses(fake: &Fake, of: &str, families: Families) -> Result<(String, Option<u32>), String> {
    addresses_at(&[fake.at], of, families).map(|answer| {
        let texts: Vec<String> = answer.found.iter().map(IpAddr::to_string).collect();
        (texts.join(" "), answer.ttl)
    })
}

fn service(fake: &Fake) -> Result<(Vec<String>, Option<u32>), String> {
    let answer = run(NameLookup { servers: &[fake.at] }.service(&name("_http._tcp.app.internal")));
    answer.map(|answer| {
        let text =
            |endpoint: &FoundAddress| format!("{} {} {}", endpoint.priority, endpoint.weight, endpoint.at);
        (answer.found.iter().map(text).collect(), answer.ttl)
    })
}

#[test]
fn both_families_are_there_with_the_smaller_time() {
    let fake = Fake::with(&[
        ("app.internal", FakeRecord::A(60, [192, 0, 2, 1])),
        ("app.internal", FakeRecord::A(40, [192, 0, 2, 2])),
        ("app.internal", FakeRecord::Aaaa(30, 1)),
        ("four.internal", FakeRecord::A(50, [192, 0, 2, 3])),
    ]);
    let found = addresses(&fake, "app.internal", Families::Both);
    assert_eq!(found, Ok(("192.0.2.1 192.0.2.2 2001:db8::1".to_owned(), Some(30))));
    let found = addresses(&fake, "app.internal", Families::Four);
    assert_eq!(found, Ok(("192.0.2.1 192.0.2.2".to_owned(), Some(40))));
    let found = addresses(&fake, "app.internal", Families::Six);
    assert_eq!(found, Ok(("2001:db8::1".to_owned(), Some(30))));
    let found = addresses(&fake, "four.internal", Families::Both);
    assert_eq!(found, Ok(("192.0.2.3".to_owned(), Some(50))), "one family is empty");
}

#[test]
fn nothing_holds_as_long_as_the_zone_says() {
    for (rcode, times, ttl) in [
        (Rcode::NXDOMAIN, [300, 20], Some(20)),
        (Rcode::NOERROR, [10, 20], Some(10)),
        (Rcode::NXDOMAIN, [u32::MAX, 20], Some(0)),
    ] {
        let fake = Fake::start(move |asked: &FakeQuestion| vec![asked.nothing(rcode, times)]);
        let found = addresses(&fake, "app.internal", Families::Both);
        assert_eq!(found, Ok((String::new(), ttl)), "{rcode} {times:?}");
    }
    let fake = Fake::with(&[]);
    assert_eq!(addresses(&fake, "app.internal", Families::Both), Ok((String::new(), None)));
}

#[test]
fn a_family_that_fails_fails_the_whole_and_is_named() {
    for (rcode, word) in [(Rcode::SERVFAIL, "SERVFAIL"), (Rcode::REFUSED, "REFUSED")] {
        let fake = Fake::start(move |asked| {
            let records: &[(&str, FakeRecord)] = &[("app.internal", FakeRecord::A(60, [192, 0, 2, 1]))];
            vec![if asked.rtype == Rtype::A { asked.records(records) } else { asked.failure(rcode) }]
        });
        let says = format!("app.internal AAAA: {word} ({})", fake.at);
        let hint = format!("{says}; with type=a it is not asked for");
        assert_eq!(addresses(&fake, "app.internal", Families::Both), Err(hint));
        assert_eq!(addresses(&fake, "app.internal", Families::Six), Err(says), "it was wanted");
        assert!(addresses(&fake, "app.internal", Families::Four).is_ok());
    }
    let fake = Fake::start(|asked| match asked.rtype {
        Rtype::A => Vec::new(),
        _ => vec![asked.nothing(Rcode::NOERROR, [60, 60])],
    });
    let says = format!("app.internal A: no answer ({})", fake.at);
    assert_eq!(addresses(&fake, "app.internal", Families::Both), Err(says), "silence");
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp() {
    let whole = |asked: &FakeQuestion| {
        let known: Vec<_> = (1..=60).map(|at| ("app.internal", FakeRecord::A(60, [192, 0, 2, at]))).collect();
        asked.records(&known)
    };
    let fake = Fake::start(move |asked| vec![if asked.is_tcp { whole(asked) } else { asked.truncated() }]);
    let found = addresses_at(&[fake.at], "app.internal", Families::Four).expect("an answer");
    assert_eq!(found.found.len(), 60);
    assert_eq!(fake.questions(), ["app.internal A", "app.internal A tcp"]);
    for (over_tcp, says) in [
        (None, "over TCP: unexpected end of file"),
        (Some(Rcode::SERVFAIL), "over TCP: SERVFAIL"),
        (Some(Rcode::NOERROR), "over TCP: it is truncated there as well"),
    ] {
        let fake = Fake::start(move |asked| match (asked.is_tcp, over_tcp) {
            (false, _) | (_, Some(Rcode::NOERROR)) => vec![asked.truncated()],
            (true, Some(rcode)) => vec![asked.failure(rcode)],
            (true, None) => Vec::new(),
        });
        let error = addresses(&fake, "app.internal", Families::Four).expect_err(says);
        assert!(
            error.contains("app.internal A: its answer is truncated, and ") && error.contains(says),
            "{error}"
        );
    }
}

#[test]
fn a_truncated_answer_without_tcp_is_an_error() {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let at = udp.local_addr().expect("an address");
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, from) = udp.recv_from(&mut buffer).expect("a question");
        // A response, truncated.
        (buffer[2], buffer[3]) = (0x83, 0x80);
        udp.send_to(&buffer[..length], from).expect("sent");
    });
    let error = addresses_at(&[at], "app.internal", Families::Four).expect_err("nobody listens");
    assert!(error.contains("truncated, and over TCP: Connection refused"), "{error}");
    answering.join().expect("no panic");
}

#[test]
fn answers_to_other_questions_and_from_others_are_nobodys() {
    let fake = Fake::start(|asked| {
        let good: &[(&str, FakeRecord)] = &[("app.internal", FakeRecord::A(60, [192, 0, 2, 1]))];
        let bad: &[(&str, FakeRecord)] = &[("app.internal", FakeRecord::A(60, [203, 0, 113, 9]))];
        let mut of_another_id = asked.records(bad);
        of_another_id[0] ^= 1;
        let mut a_question = asked.records(bad);
        a_question[2] &= 0x7f;
        let mut of_another_name = asked.records(bad);
        of_another_name[13] = b'b';
        let mut of_another_kind = asked.records(bad);
        of_another_kind[28] ^= 2;
        let garbage = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let asking = asked.from.expect("over UDP");
        stranger.send_to(&asked.records(bad), asking).expect("sent");
        vec![
            of_another_id,
            a_question,
            of_another_name,
            of_another_kind,
            garbage,
            vec![],
            asked.records(good),
        ]
    });
    let found = addresses(&fake, "app.internal", Families::Four);
    assert_eq!(found, Ok(("192.0.2.1".to_owned(), Some(60))));
}

#[test]
fn nobody_can_guess_the_number_and_the_port_of_the_next_question() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let known = seen.clone();
    let server = Fake::start(move |asked| {
        let (id, port) = (asked.message.header().id(), asked.from.map(|from| from.port()));
        known.lock().expect("a list").push((id, port));
        vec![asked.records(&[])]
    });
    for _ in 0..32 {
        addresses(&server, "app.internal", Families::Four).expect("an answer");
    }
    let seen = seen.lock().expect("a list");
    let ids: HashSet<u16> = seen.iter().map(|(id, _)| *id).collect();
    let ports: HashSet<_> = seen.iter().map(|(_, port)| *port).collect();
    assert!(ids.len() > 28 && ports.len() > 24, "{seen:?}");
    let in_a_row = seen.windows(2).filter(|pair| pair[0].0.abs_diff(pair[1].0) < 16).count();
    assert!(in_a_row < 4, "{seen:?}");
}

#[test]
fn a_broken_answer_is_an_error() {
    let fake = Fake::start(|asked| {
        let mut cut = asked.records(&[("app.internal", FakeRecord::A(60, [192, 0, 2, 1]))]);
        cut.truncate(cut.len() - 2);
        vec![cut]
    });
    let error = addresses(&fake, "app.internal", Families::Four).expect_err("half an answer");
    assert!(error.contains("app.internal A: its answer cannot be read: "), "{error}");
}

#[test]
fn a_server_that_answers_late_is_asked_once_more_and_the_late_answer_counts_for_nothing() {
    let asked_before = std::sync::Mutex::new(None);
    let fake = Fake::start(move |asked| {
        let known: &[(&str, FakeRecord)] = &[("app.internal", FakeRecord::A(60, [192, 0, 2, 1]))];
        let late: &[(&str, FakeRecord)] = &[("app.internal", FakeRecord::A(60, [203, 0, 113, 9]))];
        let first = asked_before.lock().expect("a value").replace(asked.records(late));
        match first {
            None => Vec::new(),
            // The answer to the first question, then the one to this.
            Some(first) => vec![first, asked.records(known)],
        }
    });
    let began = Instant::now();
    let found = addresses(&fake, "app.internal", Families::Four);
    assert_eq!(found, Ok(("192.0.2.1".to_owned(), Some(60))));
    assert!(began.elapsed() >= PATIENCE[0]);
    assert_eq!(fake.questions().len(), 2);
}

#[test]
fn the_next_server_is_asked_where_one_cannot_answer() {
    let dead =
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket").local_addr().expect("its address");
    let failing = Fake::start(|asked| vec![asked.failure(Rcode::SERVFAIL)]);
    let good = Fake::with(&[("app.internal", FakeRecord::A(60, [192, 0, 2, 1]))]);
    let servers = [dead, failing.at, good.at];
    let found = addresses_at(&servers, "app.internal", Families::Four).expect("an answer");
    assert_eq!(found.found, [IpAddr::from([192, 0, 2, 1])]);
    let error = addresses_at(&servers[..2], "app.internal", Families::Six).expect_err("nobody knows");
    let says = format!("Connection refused (os error 111) ({dead}), SERVFAIL ({})", failing.at);
    assert!(error.contains(&says), "{error} should say {says}");
    // The name is not there: that is an answer, and the last word.
    let good = Fake::with(&[]);
    addresses_at(&[good.at, failing.at], "app.internal", Families::Four).expect("an answer");
}

#[test]
fn aliases_are_followed_over_one_answer_and_several() {
    let fake = Fake::with(&[
        ("app.internal", FakeRecord::Cname(50, "b.internal")),
        ("b.internal", FakeRecord::Cname(20, "c.internal")),
        ("c.internal", FakeRecord::A(60, [192, 0, 2, 1])),
    ]);
    let found = addresses(&fake, "app.internal", Families::Four);
    assert_eq!(found, Ok(("192.0.2.1".to_owned(), Some(20))));
    assert_eq!(fake.questions().len(), 1);
    // Each answer has one step.
    let fake = Fake::start(|asked| {
        let known: &[(&str, FakeRecord)] = match asked.name.as_str() {
            "app.internal" => &[("app.internal", FakeRecord::Cname(50, "b.internal"))],
            "b.internal" => &[("b.internal", FakeRecord::Cname(20, "c.internal"))],
            _ => &[("c.internal", FakeRecord::A(60, [192, 0, 2, 1]))],
        };
        vec![asked.records(known)]
    });
    let found = addresses(&fake, "app.internal", Families::Both);
    assert_eq!(found, Ok(("192.0.2.1".to_owned(), Some(20))));
    assert_eq!(fake.questions().len(), 6);
}

#[test]
fn an_alias_of_nothing_is_nothing() {
    let fake = Fake::with(&[("app.internal", FakeRecord::Cname(50, "gone.internal"))]);
    assert_eq!(addresses(&fake, "app.internal", Families::Four), Ok((String::new(), Some(50))));
    let fake = Fake::start(|asked| {
        let known: &[(&str, FakeRecord)] = &[("app.internal", FakeRecord::Cname(50, "gone.internal"))];
        vec![if asked.name == "app.internal" { asked.records(known) } else { asked.failure(Rcode::SERVFAIL) }]
    });
    let says = format!("app.internal A: its alias gone.internal: SERVFAIL ({})", fake.at);
    assert_eq!(addresses(&fake, "app.internal", Families::Four), Err(says));
}

#[test]
fn circles_of_aliases_have_an_end() {
    let within = Fake::with(&[
        ("app.internal", FakeRecord::Cname(50, "b.internal")),
        ("b.internal", FakeRecord::Cname(50, "app.internal")),
    ]);
    let over_answers = Fake::start(|asked| {
        let next: &'static str = if asked.name == "app.internal" { "b.internal" } else { "app.internal" };
        vec![asked.records(&[(&asked.name, FakeRecord::Cname(50, next))])]
    });
    for fake in [within, over_answers] {
        let error = addresses(&fake, "app.internal", Families::Four).expect_err("a circle");
        assert!(error.contains("lead in a circle, or are too many"), "{error}");
        assert!(fake.questions().len() <= MOST_ALIASES + 1, "{:?}", fake.questions());
    }
}

#[test]
fn a_service_has_the_addresses_of_its_targets() {
    const SERVICE: &[(&str, FakeRecord)] = &[
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [10, 5, 8080], "a.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [20, 0, 8081], "b.internal")),
        ("a.internal", FakeRecord::A(40, [192, 0, 2, 1])),
        ("a.internal", FakeRecord::Aaaa(50, 1)),
        ("b.internal", FakeRecord::Cname(30, "c.internal")),
        ("c.internal", FakeRecord::A(70, [192, 0, 2, 2])),
    ];
    let expected = ["10 5 192.0.2.1:8080", "10 5 [2001:db8::1]:8080", "20 0 192.0.2.2:8081"];
    let fake = Fake::with(SERVICE);
    let expected: Vec<String> = expected.map(str::to_owned).to_vec();
    assert_eq!(service(&fake), Ok((expected.clone(), Some(30))));
    let fake = Fake::start(|asked| match asked.rtype {
        Rtype::SRV => vec![asked.with_beside(SERVICE, &[("a.internal", 35, [192, 0, 2, 1])])],
        _ => vec![asked.records(SERVICE)],
    });
    assert_eq!(service(&fake), Ok((expected, Some(30))));
    assert!(!fake.questions().contains(&"a.internal A".to_owned()), "{:?}", fake.questions());
}

#[test]
fn a_service_that_is_not_offered_is_empty() {
    let fake = Fake::with(&[("_http._tcp.app.internal", FakeRecord::Srv(60, [0, 0, 0], "."))]);
    assert_eq!(service(&fake), Ok((Vec::new(), Some(60))));
    assert_eq!(fake.questions(), ["_http._tcp.app.internal SRV"], "nobody is asked for the root");
    assert_eq!(service(&Fake::with(&[])), Ok((Vec::new(), None)));
}

#[test]
fn a_target_that_cannot_be_found_out_fails_the_service() {
    let fake = Fake::start(|asked| {
        let known: &[(&str, FakeRecord)] =
            &[("_http._tcp.app.internal", FakeRecord::Srv(60, [10, 5, 8080], "a.internal"))];
        vec![if asked.rtype == Rtype::SRV { asked.records(known) } else { asked.failure(Rcode::SERVFAIL) }]
    });
    let says = format!("a.internal A: SERVFAIL ({})", fake.at);
    assert_eq!(service(&fake), Err(says));
    let fake = Fake::with(&[
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [10, 5, 8080], "gone.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [10, 5, 8080], "a.internal")),
        ("a.internal", FakeRecord::A(40, [192, 0, 2, 1])),
    ]);
    let only = vec!["10 5 192.0.2.1:8080".to_owned()];
    assert_eq!(service(&fake), Ok((only, Some(40))), "a target that is not there has no address");
}
