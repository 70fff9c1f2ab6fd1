// SPDX-License-Identifier: Apache-2.0
use std::time::Duration;

use balance::settings::{DnsPlace, DnsRecords};

use super::fake::{Fake, FakeRecord};
use super::*;
use crate::http::tests::pause;

const RULES: ListingRules = ListingRules { skip_invalid: false, max: 100, misfit: |_| None };

fn source(fake: &Fake, place: &str, records: DnsRecords) -> DnsSource {
    let place = DnsPlace { records, resolver: Some(fake.at), ..DnsPlace::of(place.to_owned()) };
    DnsSource::new(place, RULES)
}

fn look(source: &mut DnsSource) -> Look {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(source.look())
}

/// The members as lines, and the pause.
fn members(source: &mut DnsSource) -> Result<(Vec<String>, Duration), String> {
    match look(source) {
        Look::List(list, pause) => Ok((list.members.iter().map(|spec| spec.to_line()).collect(), pause)),
        Look::Failed(why) | Look::Unmended(why) => Err(why),
    }
}

#[test]
fn each_address_is_a_member_of_its_name() {
    let fake = Fake::with(&[
        ("app.internal", FakeRecord::A(60, [192, 0, 2, 9])),
        ("app.internal", FakeRecord::A(60, [192, 0, 2, 1])),
        ("app.internal", FakeRecord::A(60, [192, 0, 2, 1])),
        ("app.internal", FakeRecord::Aaaa(20, 1)),
    ]);
    let mut both = source(&fake, "app.internal:8080", DnsRecords::Any);
    let first = look(&mut both).found().expect("a list");
    let names: Vec<&str> = first.members.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["192.0.2.1:8080", "192.0.2.9:8080", "[2001:db8::1]:8080"]);
    let second = look(&mut both);
    assert_eq!(pause(&second), Duration::from_secs(20));
    assert!(Arc::ptr_eq(&first, &second.found().expect("a list")), "the same list");
}

#[test]
fn a_service_says_weights_and_sets() {
    let fake = Fake::with(&[
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [10, 5, 8080], "a.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [20, 0, 8081], "a.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [30, 7, 8080], "a.internal")),
        ("a.internal", FakeRecord::A(40, [192, 0, 2, 1])),
    ]);
    let (lines, pause) =
        members(&mut source(&fake, "_http._tcp.app.internal", DnsRecords::Srv)).expect("a list");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("http://192.0.2.1:8080 ") && lines[0].contains("weight=5"), "{lines:?}");
    assert!(lines[0].contains("lbset=10") && lines[1].contains("lbset=20"), "{lines:?}");
    assert!(!lines[1].contains("weight=0"), "{lines:?}");
    assert_eq!(pause, Duration::from_secs(40));
}

#[test]
fn priorities_beyond_the_sets_are_ranks() {
    let fake = Fake::with(&[
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [1000, 1, 1], "a.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [5, 1, 2], "a.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [1000, 1, 3], "a.internal")),
        ("a.internal", FakeRecord::A(40, [192, 0, 2, 1])),
    ]);
    let list = look(&mut source(&fake, "_http._tcp.app.internal", DnsRecords::Srv)).found().expect("a list");
    let sets: Vec<u8> = list.members.iter().map(|spec| spec.lbset).collect();
    assert_eq!(sets, [1, 0, 1]);
}

#[test]
fn the_next_look_keeps_within_bounds() {
    for (ttl, [least, most], pause_ms) in [
        (0, [1000, 300_000], 1000),
        (7, [1000, 300_000], 7000),
        (7, [10_000, 300_000], 10_000),
        (86_400, [1000, 300_000], 300_000),
        (u32::MAX, [1000, 300_000], 1000),
    ] {
        let fake = Fake::start(move |asked| {
            vec![asked.records(&[("app.internal", FakeRecord::A(ttl, [192, 0, 2, 1]))])]
        });
        let mut of = source(&fake, "app.internal:80", DnsRecords::A);
        (of.place.min_ttl_ms, of.place.max_ttl_ms) = (least, most);
        assert_eq!(pause(&look(&mut of)), Duration::from_millis(pause_ms), "{ttl}");
    }
    let nothing = Fake::with(&[]);
    let look = look(&mut source(&nothing, "app.internal:80", DnsRecords::Any));
    assert_eq!(look, Look::List(Arc::default(), Duration::from_secs(UNSAID_S.into())));
}

#[test]
fn wrong_entries_and_too_many_are_refused() {
    let fake = Fake::with(&[
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [1, 1, 0], "a.internal")),
        ("_http._tcp.app.internal", FakeRecord::Srv(60, [1, 1, 80], "a.internal")),
        ("a.internal", FakeRecord::A(40, [192, 0, 2, 1])),
    ]);
    let mut of = source(&fake, "_http._tcp.app.internal", DnsRecords::Srv);
    assert_eq!(look(&mut of).found(), Err("192.0.2.1:0: found port 0, expected 1 to 65535".to_owned()));
    of.rules.skip_invalid = true;
    let list = look(&mut of).found().expect("a list");
    assert_eq!((list.members.len(), list.skipped), (1, 1));
    of.rules.max = 1;
    let error = look(&mut of).found().expect_err("too many");
    assert!(error.contains("it names 2 members: at most 1 are taken"), "{error}");
}
