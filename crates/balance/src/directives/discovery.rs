// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery`. More than one of them add up.

use super::source_place;
use super::values::{self, Line};
use crate::error::ParseError;
use crate::names;
use crate::settings::{Discovery, EmptyList, SourcePlace};

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerDiscovery";
/// Its keys, besides those of a kind of source.
pub const KEYS: &[&str] =
    &["name", "stale", "empty", "shrink", "absent", "settle", "drain", "invalid", "max", "initial", "wait"];
/// Most members that a source may be allowed.
const MOST: u64 = 1_000_000;

/// Reads one more; `known` are the pool's others.
pub(super) fn read(known: &[Discovery], words: &[String]) -> Result<Discovery, ParseError> {
    let (place, keys) = words
        .split_first()
        .ok_or_else(|| ParseError::Missing(format!("a source: {}", source_place::EXAMPLES)))?;
    let source = source_place::read(place)?;
    let like = known.iter().filter(|other| other.source.kind() == source.kind()).count();
    let mut to = Discovery::of(format!("{}-{}", source.kind(), like + 1), source);
    let mut seen = Vec::new();
    for (at, word) in keys.iter().enumerate() {
        let is_function = at == 0 && matches!(to.source, SourcePlace::Lua(_)) && !word.contains('=');
        let (key, value) = if is_function { ("function", word.as_str()) } else { values::pair(word)? };
        values::once(&mut seen, key)?;
        if !source_place::set(&mut to.source, key, value)? {
            set(&mut to, key, value)?;
        }
    }
    source_place::check(&to.source)?;
    if known.iter().any(|other| other.name == to.name) {
        let expected = "a name that no other source of the pool has";
        return Err(ParseError::value("name", &to.name, expected));
    }
    Ok(to)
}

fn set(to: &mut Discovery, key: &str, value: &str) -> Result<(), ParseError> {
    match key {
        "name" if names::is_name(value) => to.name = value.to_owned(),
        "name" => return Err(ParseError::value(key, value, names::EXPECTED)),
        "stale" => {
            let is_forever = value.eq_ignore_ascii_case("forever");
            to.stale_ms = if is_forever { None } else { Some(values::some_duration(key, value)?) };
        }
        "empty" => {
            let known = EmptyList::ALL.into_iter().find(|empty| value.eq_ignore_ascii_case(empty.word()));
            to.empty = known.ok_or_else(|| ParseError::value(key, value, "hold, keep or take"))?;
        }
        "shrink" => to.shrink_percent = values::percent(key, value)?,
        "absent" => to.absent = values::number(key, value, 1, 100)?,
        "settle" => to.settle_ms = short(key, value, 10_000, "a duration of at most 10s, as 200ms")?,
        "drain" => to.drain_ms = values::duration(key, value)?,
        "invalid" => to.skip_invalid = one_of(key, value, ["refuse", "skip"])?,
        "max" => to.max = values::number(key, value, 1, MOST)?,
        "initial" => to.cache = one_of(key, value, ["empty", "cache"])?,
        "wait" => to.wait_ms = short(key, value, 60_000, "a duration of at most 60s, as 2s")?,
        _ => return Err(ParseError::unknown_key(key, &[KEYS, source_place::keys(&to.source)].concat())),
    }
    Ok(())
}

fn short(key: &str, value: &str, most_ms: u64, expected: &str) -> Result<u64, ParseError> {
    let ms = values::duration(key, value)?;
    if ms > most_ms { Err(ParseError::value(key, value, expected)) } else { Ok(ms) }
}

/// Whether it is the second of two words.
fn one_of(key: &str, value: &str, [no, yes]: [&str; 2]) -> Result<bool, ParseError> {
    match value.to_ascii_lowercase() {
        word if word == no => Ok(false),
        word if word == yes => Ok(true),
        _ => Err(ParseError::value(key, value, format!("{no} or {yes}"))),
    }
}

pub(super) fn write(of: &Discovery) -> String {
    let default = Discovery::of(String::new(), of.source.clone());
    let word = format!("{}:{}", of.source.kind(), of.source.address());
    let mut line = Line::new(DIRECTIVE).word(&word);
    for (key, value) in of.source.keys() {
        line.pair(key, &value);
    }
    line.unless(&default.name, "name", &of.name, String::clone);
    line.unless(&default.stale_ms, "stale", &of.stale_ms, |ms| {
        ms.map_or_else(|| "forever".to_owned(), |ms| values::ms(&ms))
    });
    line.unless(&default.empty, "empty", &of.empty, |empty| empty.word().to_owned());
    line.unless(&default.shrink_percent, "shrink", &of.shrink_percent, |percent| format!("{percent}%"));
    line.unless(&default.absent, "absent", &of.absent, u32::to_string);
    line.unless(&default.settle_ms, "settle", &of.settle_ms, values::ms);
    line.unless(&default.drain_ms, "drain", &of.drain_ms, values::ms);
    let choice = |[no, yes]: [&'static str; 2]| move |is: &bool| if *is { yes } else { no }.to_owned();
    line.unless(&default.skip_invalid, "invalid", &of.skip_invalid, choice(["refuse", "skip"]));
    line.unless(&default.max, "max", &of.max, u32::to_string);
    line.unless(&default.cache, "initial", &of.cache, choice(["empty", "cache"]));
    line.unless(&default.wait_ms, "wait", &of.wait_ms, values::ms);
    line.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::{
        consul_source, dns_source, etcd_source, http_source, kubernetes_source, lua_source,
    };
    use crate::settings::PoolSettings;
    use crate::words;
    use proptest::prelude::*;

    fn read_lines(lines: &[&str]) -> Result<PoolSettings, String> {
        let mut settings = PoolSettings::default();
        for line in lines {
            let words = words::split(line).map_err(|error| error.to_string())?;
            settings.set_directive(DIRECTIVE, &words).map_err(|error| error.to_string())?;
        }
        Ok(settings)
    }

    #[test]
    fn sources_add_up_and_get_names_by_kind() {
        let settings = read_lines(&["file:/a.json", "file:b.json name=own drain=0", "file:/c shrink=20"]);
        let settings = settings.expect("three sources");
        let names: Vec<&str> = settings.discovery.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["file-1", "own", "file-3"]);
        assert_eq!((settings.discovery[1].drain_ms, settings.discovery[2].shrink_percent), (0, 20));
        assert_eq!(PoolSettings::from_text(&settings.to_text()), Ok(settings));
    }

    #[test]
    fn wrong_words_are_named() {
        for (lines, says) in [
            (&[""][..], "expected a source: file:PATH, http:URL, dns:NAME:PORT, etcd:"),
            (&["/etc/lb.json"], "found /etc/lb.json: expected file:PATH"),
            (&["file:"], "found file:: expected file:PATH"),
            (&["file:/a colour=red"], "unknown key colour"),
            (&["file:/a empty=maybe"], "empty=maybe: expected hold, keep or take"),
            (&["file:/a shrink=101%"], "shrink=101%: expected a percentage"),
            (&["file:/a stale=0"], "stale=0: expected a duration above 0"),
            (&["file:/a max=0"], "max=0: expected a whole number from 1"),
            (&["file:/a initial=x"], "initial=x: expected empty or cache"),
            (&["file:/a wait=2m"], "wait=2m: expected a duration of at most 60s"),
            (&["file:/a absent=0"], "absent=0: expected a whole number from 1"),
            (&["file:/a name=a/b"], "name=a/b: expected 1 to 63 letters"),
            (&["file:/a drain=1s drain=2s"], "drain= is there twice: expected it once"),
            (&["file:/a name=x", "file:/b name=x"], "name=x: expected a name that no other source"),
        ] {
            let said = read_lines(lines).expect_err(says);
            assert!(said.contains(says), "{said:?} should say {says:?}");
        }
    }

    fn any_place() -> impl Strategy<Value = SourcePlace> {
        prop_oneof![
            "[!-~][ -~é]{0,12}".prop_map(SourcePlace::File),
            dns_source::tests::any_place(),
            http_source::tests::any_place(),
            consul_source::tests::any_place(),
            etcd_source::tests::any_place(),
            kubernetes_source::tests::any_place(),
            lua_source::tests::any_place(),
        ]
    }

    prop_compose! {
        fn any_source()(
            source in any_place(), stale_ms in proptest::option::of(1u64..9_000_000), empty in 0..3usize,
            shrink_percent in 0u8..=100, absent in 1u32..=100, settle_ms in 0u64..=10_000,
            drain_ms in 0u64..9_000_000, skip_invalid: bool, max in 1u32..=1_000_000, cache: bool,
            wait_ms in 0u64..=60_000,
        ) -> Discovery {
            let empty = EmptyList::ALL[empty];
            let name = "a-b.c_1".to_owned();
            Discovery {
                name, source, stale_ms, empty, shrink_percent, absent, settle_ms, drain_ms, skip_invalid, max,
                cache, wait_ms,
            }
        }
    }

    proptest! {
        #[test]
        fn a_source_is_read_back_as_it_was_written(source in any_source()) {
            let settings = PoolSettings { discovery: vec![source], ..PoolSettings::default() };
            let text = settings.to_text();
            prop_assert_eq!(PoolSettings::from_text(&text), Ok(settings), "{}", text);
        }
    }
}
