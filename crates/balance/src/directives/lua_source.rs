// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery lua:…` and its keys.

use super::http_source::between;
use super::values;
use crate::error::ParseError;
use crate::settings::LuaPlace;

/// Its keys.
pub const KEYS: &[&str] = &["function", "every", "timeout"];
const EXPECTED: &str = "lua:SCRIPT [function], for example lua:discover.lua";

/// Reads the text behind `lua:`.
pub(super) fn read(word: &str, script: &str) -> Result<LuaPlace, ParseError> {
    if script.is_empty() || script.chars().any(char::is_control) {
        return Err(ParseError::word(word, EXPECTED));
    }
    Ok(LuaPlace::of(script.to_owned()))
}

/// Takes a key, if it is one of these.
pub(super) fn set(to: &mut LuaPlace, key: &str, value: &str) -> Result<bool, ParseError> {
    match key {
        "function" => to.function = values::word(key, value, 128)?,
        "every" => to.every_ms = between(key, value, (1000, 86_400_000), "1s to 24h, as 10s")?,
        "timeout" => to.timeout_ms = between(key, value, (100, 60_000), "100ms to 60s, as 5s")?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The keys that are not at their defaults, as they are written.
pub(super) fn written(of: &LuaPlace) -> Vec<(&'static str, String)> {
    let default = LuaPlace::of(String::new());
    let mut keys = Vec::new();
    keys.extend((of.function != default.function).then(|| ("function", of.function.clone())));
    keys.extend((of.every_ms != default.every_ms).then(|| ("every", values::ms(&of.every_ms))));
    keys.extend((of.timeout_ms != default.timeout_ms).then(|| ("timeout", values::ms(&of.timeout_ms))));
    keys
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{PoolSettings, SourcePlace};
    use crate::words;

    fn read_line(line: &str) -> Result<LuaPlace, String> {
        let mut settings = PoolSettings::default();
        let words = words::split(line).expect(line);
        let read = settings.set_directive("LuaBalancerDiscovery", &words);
        read.map_err(|error| error.to_string())?;
        let SourcePlace::Lua(of) = &settings.discovery[0].source else { panic!("{settings:?}") };
        Ok(of.clone())
    }

    #[test]
    fn a_script_has_a_function_of_its_own_or_the_usual_one() {
        let of = read_line("lua:lua/discover.lua members every=30s").expect("a source");
        assert_eq!(
            (of.script.as_str(), of.function.as_str(), of.every_ms),
            ("lua/discover.lua", "members", 30_000)
        );
        assert_eq!(read_line("lua:a.lua function=f timeout=1s").map(|of| of.function).as_deref(), Ok("f"));
        assert_eq!(read_line("lua:a.lua").map(|of| of.function).as_deref(), Ok("discover"));
    }

    #[test]
    fn wrong_words_behind_a_script_are_named() {
        for (line, says) in [
            ("lua:", "found lua:: expected lua:SCRIPT [function], for example lua:discover.lua"),
            ("lua:a.lua f function=g", "function= is there twice"),
            ("lua:a.lua f g", "found g: expected key=value"),
            ("file:/a f", "found f: expected key=value"),
            ("lua:a.lua every=10ms", "every=10ms: expected a duration from 1s to 24h"),
            ("lua:a.lua timeout=2m", "timeout=2m: expected a duration from 100ms to 60s"),
            ("lua:a.lua tag=x", "unknown key tag"),
        ] {
            let said = read_line(line).expect_err(says);
            assert!(said.contains(says), "{said:?} should say {says:?}");
        }
    }

    prop_compose! {
        pub(in crate::directives) fn any_place()(
            script in "[!-~][ -~é]{0,12}", function in "[a-z_]{1,12}",
            every_ms in 1000u64..86_400_000, timeout_ms in 100u64..60_000,
        ) -> SourcePlace {
            SourcePlace::Lua(LuaPlace { script, function, every_ms, timeout_ms })
        }
    }
}
