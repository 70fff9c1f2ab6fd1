// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn simple_patterns_go_direct() {
    assert_eq!(longest_direct(b"^/static/"), i64::MAX);
    assert!(longest_direct(b"sid=([^;]*)") >= 1000);
    assert!(longest_direct(b".-.-.-.-.-x") < 100);
    assert_eq!(longest_direct(&b"a?".repeat(30)), 0);
    assert!(longest_direct(b"[*+-]") > 1_000_000, "characters in a set repeat nothing");
}

/// Both matchers of the same Lua say the same.
#[test]
fn agrees_with_lua() {
    let lua = mlua::Lua::new();
    let raw: mlua::Function = lua.load("return string.find").eval().unwrap();
    let pieces = ["a", "b", ".", "%a", "%d", "[ab]", "[^a]", "[a-c]", "%w", "x", "%s", "[]]", "%f[%a]"];
    let suffixes = ["", "*", "+", "-", "?"];
    let subjects: [&[u8]; 7] =
        [b"", b"a", b"aab12", b"x.y.z", b"]ab ba", b"(a(b)c) d", b"hello world from lua"];
    let mut seed = 7_u64;
    let mut draw = move |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    for _ in 0..20_000 {
        let mut pattern = String::new();
        if draw(4) == 0 {
            pattern.push('^');
        }
        for _ in 0..=draw(3) {
            match draw(8) {
                0 => pattern.push_str("(%a*)"),
                1 => pattern.push_str("()"),
                2 => pattern.push_str("%b()"),
                _ => {
                    let piece = pieces[draw(pieces.len())];
                    pattern.push_str(piece);
                    if !piece.starts_with("%f") {
                        pattern.push_str(suffixes[draw(suffixes.len())]);
                    }
                }
            }
        }
        if draw(4) == 0 {
            pattern.push('$');
        }
        let subject = subjects[draw(subjects.len())];
        let text = lua.create_string(subject).unwrap();
        let expected: mlua::MultiValue = raw.call((text, pattern.as_str())).unwrap();
        let found = find(subject, pattern.as_bytes(), 0, true, &|| false).unwrap();
        let place = found.as_ref().map(|m| (m.start as i64 + 1, m.end as i64));
        let place_expected = expected
            .front()
            .and_then(mlua::Value::as_integer)
            .map(|start| (start, expected[1].as_integer().unwrap()));
        assert_eq!(place, place_expected, "{pattern:?} in {:?}", String::from_utf8_lossy(subject));
        for (capture, value) in found.iter().flat_map(|m| &m.captures).zip(expected.iter().skip(2)) {
            match capture {
                Capture::Position(at) => assert_eq!(value.as_integer(), Some(*at as i64)),
                Capture::Range(from, to) => {
                    assert_eq!(&*value.as_string().unwrap().as_bytes(), &subject[*from..*to], "{pattern:?}");
                }
            }
        }
    }
}

#[test]
fn broken_patterns_are_named() {
    for (pattern, text) in [
        ("%", "ends with '%'"),
        ("[a", "missing ']'"),
        ("[%", "missing ']'"),
        ("(", "unfinished capture"),
        (")", "invalid pattern capture"),
        ("%1", "invalid capture index"),
        ("%b(", "missing arguments"),
        ("%fa", "missing '['"),
    ] {
        match find(b"abc", pattern.as_bytes(), 0, true, &|| false) {
            Err(Failure::Malformed(message)) => assert!(message.contains(text), "{pattern}: {message}"),
            other => panic!("{pattern}: {other:?}"),
        }
    }
}

#[test]
fn a_catastrophic_pattern_ends_when_the_call_is_over() {
    let subject = vec![b'a'; 100_000];
    let pattern = ".-".repeat(8) + "b";
    let asked = std::cell::Cell::new(0);
    let found = find(&subject, pattern.as_bytes(), 0, true, &|| {
        asked.set(asked.get() + 1);
        asked.get() > 3
    });
    assert_eq!(found, Err(Failure::Over));
}
