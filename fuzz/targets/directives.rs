// SPDX-License-Identifier: Apache-2.0
//! Directive values and members' lines: refused with a message, or kept so that writing and reading
//! them again changes nothing.
#![no_main]

use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::{units, url::MemberUrl, words};
use libfuzzer_sys::fuzz_target;

const DIRECTIVES: [&str; 5] =
    ["LuaBalancerMethod", "LuaBalancerHealthCheck", "LuaBalancerOutlier", "LuaBalancerSticky", "LuaBalancerSet"];

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind % 8 {
        kind @ 0..=4 => {
            let mut settings = PoolSettings::default();
            let Ok(words) = words::split(&text) else { return };
            if settings.set_directive(DIRECTIVES[usize::from(kind)], &words).is_ok() {
                let written = settings.to_text();
                let again = PoolSettings::from_text(&written);
                assert!(again.is_ok(), "{written:?}: {again:?}");
                assert_eq!(again.map(|settings| settings.to_text()), Ok(written));
            }
        }
        5 => {
            if let Ok(spec) = MemberSpec::from_line(&text) {
                let line = spec.to_line();
                assert_eq!(MemberSpec::from_line(&line), Ok(spec), "{line:?}");
            }
        }
        6 => {
            if let Ok(url) = MemberUrl::parse(&text) {
                let written = url.to_string();
                assert_eq!(MemberUrl::parse(&written), Ok(url), "{written:?}");
            }
            let _ = PoolSettings::from_text(&text);
        }
        _ => {
            let _ = (units::duration_ms(&text), units::size(&text), units::weight(&text), units::switch(&text));
            assert_eq!(words::split(&words::quote(&text)).ok(), Some(vec![text.to_string()]));
        }
    }
});
