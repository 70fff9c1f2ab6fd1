// SPDX-License-Identifier: Apache-2.0
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::source::bundle::Source;

fn good() -> Verdict {
    let source =
        |name: &str| Source { name: name.into(), path: "/l/x.lua".into(), text: b"return 1"[..].into() };
    let bundle = Bundle {
        stamp: Stamp(7),
        main: source(""),
        modules: vec![source("m")],
        watch: vec!["/l/x.lua".into()],
    };
    let member = |line: &str| MemberSpec::from_line(line).expect("a member");
    let definition = Definition {
        name: "app".into(),
        settings: PoolSettings::default(),
        members: vec![member("http://h:1 weight=3 meta.v=2"), member("http://h:2")],
    };
    Verdict {
        watch: vec!["/l/x.lua".into(), "/l/gone.lua".into()],
        stamp: Some(Stamp(7)),
        outcome: Ok((bundle, vec![definition])),
    }
}

fn bad() -> Verdict {
    let mut error = ScriptError::new(ErrorKind::Runtime, "/l/x.lua:3: boom");
    error.traceback = "stack traceback:\n\t/l/x.lua:3: in main chunk".into();
    Verdict { watch: Vec::new(), stamp: None, outcome: Err(error) }
}

#[test]
fn an_answer_comes_back_as_it_was() {
    for verdict in [good(), bad()] {
        let bytes = [log_line(4, "one\u{fc}"), file(Path::new("/l/x.lua")), verdict.to_record()].concat();
        let report = Findings::read(&bytes);
        assert_eq!(report.lines, [(4, "one\u{fc}".to_owned())]);
        assert_eq!(report.files, [PathBuf::from("/l/x.lua")]);
        assert_eq!(report.verdict, Some(verdict));
    }
}

#[test]
fn a_place_is_a_record() {
    let mut place = PlaceRecord::new();
    place.put(b"/l/x.lua:");
    place.put_number(1207);
    assert_eq!(Findings::read(place.bytes()).place.as_deref(), Some("/l/x.lua:1207"));
    let mut long = PlaceRecord::new();
    long.put(&[b'x'; 5000]);
    assert_eq!(
        Findings::read(long.bytes()).place.map(|text| text.len()),
        Some(PlaceRecord::MOST - PlaceRecord::HEAD)
    );
}

#[test]
fn a_verdict_that_is_cut_or_changed_is_none_or_a_whole_one() {
    let bytes = good().to_record();
    assert!(Findings::has_verdict(&[log_line(3, "x"), bytes.clone()].concat()));
    for end in 0..bytes.len() {
        assert!(!Findings::has_verdict(&bytes[..end]));
        assert_eq!(Findings::read(&bytes[..end]).verdict, None, "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        // A change of the sources breaks their checksum; elsewhere the same rules as for a
        // configuration hold.
        if let Some(Verdict { outcome: Ok((bundle, definitions)), .. }) = Findings::read(&bytes).verdict {
            assert_eq!(bundle.main.text[..], b"return 1"[..]);
            assert!(definitions.iter().all(|found| balance::names::is_name(&found.name)));
        }
    }
}

#[test]
fn a_report_that_no_configuration_would_take_is_not_a_verdict() {
    let changed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = good().to_record();
        // The last place, behind the sources.
        let at = bytes.windows(from.len()).rposition(|part| part == from.as_bytes()).expect("there");
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        Findings::read(&bytes).verdict
    };
    assert!(changed("app", "apx").is_some());
    assert_eq!(changed("app", "a/p"), None);
    assert_eq!(changed("weight=3", "weight=x"), None);
    assert_eq!(changed("http://h:2", "hxxp://h:2"), None);
}

#[test]
fn lines_are_bounded_in_number_and_length() {
    let line = log_line(200, &"\u{20ac}".repeat(MAX_TEXT));
    let bytes: Vec<u8> = std::iter::repeat_n(line, MAX_LINES + 50).flatten().collect();
    let report = Findings::read(&bytes);
    assert_eq!(report.lines.len(), MAX_LINES);
    assert!(report.lines.iter().all(|(level, text)| *level == 15 && text.len() <= MAX_TEXT));
}

#[test]
fn an_answer_that_is_too_large_says_so() {
    let mut verdict = good();
    if let Ok((bundle, _)) = &mut verdict.outcome {
        bundle.main.text = vec![b' '; MAX_ANSWER / 2 + 1].into();
    }
    let found = Findings::read(&verdict.to_record()).verdict.expect("a verdict");
    assert!(found.outcome.unwrap_err().message.contains("more than 16 MiB"));
}

#[test]
fn no_verdict_is_told_with_the_place_that_is_known() {
    let report = Findings { place: Some("/l/x.lua:4".into()), ..Findings::default() };
    let text = report.missing("/l/x.lua", ProcessEnd::Overdue).message;
    assert_eq!(text, "/l/x.lua:4: not finished after 5 s, the time that a script's top level has");
    let text = Findings::default().missing("/l/x.lua", ProcessEnd::Signal(9)).message;
    assert_eq!(text, "/l/x.lua: the process that vetted it was ended by signal 9");
}

#[test]
fn the_end_is_found_behind_half_a_record() {
    let half = &good().to_record()[..50];
    for ended in [ProcessEnd::Overdue, ProcessEnd::Signal(9), ProcessEnd::Exit(3), ProcessEnd::Unknown] {
        let bytes = [&log_line(3, "x"), half, end_of(ended).as_slice()].concat();
        let (report, found) = Findings::read_all(&bytes);
        assert_eq!((report.lines.len(), report.verdict, found), (1, None, ended));
    }
    assert_eq!(
        Findings::read_all(&good().to_record()),
        (Findings::read(&good().to_record()), ProcessEnd::Unknown)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in vec(any::<u8>(), 0..2000)) {
        let (report, _) = Findings::read_all(&bytes);
        prop_assert!(report.lines.len() <= MAX_LINES);
    }

    #[test]
    fn any_payload_of_any_kind_is_read_without_harm(kind in 0u8..6, payload in vec(any::<u8>(), 0..600)) {
        let _ = Findings::read(&framed(kind, &[&payload]));
    }

    #[test]
    fn a_verdict_with_a_piece_replaced_is_read_without_harm(
        at in 0usize..400, piece in vec(any::<u8>(), 1..40)
    ) {
        let mut bytes = good().to_record();
        for (place, byte) in bytes.iter_mut().skip(at).zip(piece) {
            *place = byte;
        }
        let _ = Findings::read(&bytes);
    }
}

#[test]
fn a_verdict_beyond_what_is_read_says_so() {
    let definition = |nth: usize, members: usize| Definition {
        name: format!("p{nth}"),
        settings: PoolSettings::default(),
        members: vec![MemberSpec::from_line("http://h:1").expect("a member"); members],
    };
    let pools: Vec<Definition> = (0..=MAX_POOLS).map(|nth| definition(nth, 0)).collect();
    for (pools, text) in [
        (pools, "/l/x.lua: it defines more than 4096 pools"),
        (vec![definition(0, MAX_MEMBERS + 1)], "/l/x.lua: pool p0 has more than 65536 members"),
    ] {
        let mut verdict = good();
        verdict.outcome = verdict.outcome.map(|(bundle, _)| (bundle, pools));
        let read = Findings::read(&verdict.to_record()).verdict.expect("a verdict");
        assert_eq!(read.outcome.expect_err("refused").message, text);
    }
}

#[test]
fn files_are_told_once_and_many_of_them_take_no_time() {
    let name = |nth: usize| PathBuf::from(format!("/a/very/long/folder/of/modules/m{nth}.lua"));
    let mut bytes: Vec<u8> = (0..2 * MAX_FILES).flat_map(|nth| file(&name(nth))).collect();
    bytes.extend((0..MAX_FILES).flat_map(|nth| file(&name(nth))));
    let start = std::time::Instant::now();
    let report = Findings::read(&bytes);
    let took = start.elapsed();
    assert_eq!(report.files, (0..MAX_FILES).map(name).collect::<Vec<_>>());
    assert!(took < std::time::Duration::from_millis(500), "{took:?}");
}
