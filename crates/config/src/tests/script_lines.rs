// SPDX-License-Identifier: Apache-2.0
//! The directives about how scripts come into service.

use balance::trial::Rollout;

use super::{Reader, Stand};
use crate::Config;

fn refused(line: &str) -> String {
    match Reader::default().read(Stand::Main, line) {
        Err(text) => text,
        Ok(()) => panic!("{line} is not refused"),
    }
}

fn read(lines: &[&str]) -> Config {
    let mut reader = Reader::default();
    reader.main(lines);
    reader.config()
}

#[test]
fn a_wrong_line_about_rollouts_says_what_was_expected() {
    let cases = [
        ("", "expected off, or percent=, for= and errors=, for example LuaBalancerRollout percent=10%"),
        ("on", "unknown key in 'on': expected off, or percent="),
        ("off percent=10%", "unknown key in 'off'"),
        ("percent=0%", "percent=0% gives nobody a share: expected a percentage above 0"),
        ("percent=0.001%", "percent=0.001% is not a percentage: expected a number from 0 to 100"),
        ("percent=101%", "percent=101% is not a percentage"),
        ("percent=99999999999999", "is not a percentage"),
        ("percent=-1", "percent=-1 is not a percentage"),
        ("percent=ten", "percent=ten is not a percentage"),
        ("percent=", "percent= is not a percentage"),
        ("percent=.5", "percent=.5 is not a percentage"),
        ("percent=5.", "percent=5. is not a percentage"),
        ("errors=100.01%", "errors=100.01% is not a percentage"),
        ("for=999ms", "for=999ms is too short for a trial: expected at least 1s"),
        ("for=soon", "for=:"),
        ("share=1%", "unknown key in 'share=1%'"),
    ];
    for (arguments, expected) in cases {
        let text = refused(&format!("LuaBalancerRollout {arguments}"));
        assert!(text.contains(expected), "{arguments}: {text}");
    }
}

#[test]
fn scripts_have_the_rollout_of_the_server_that_names_them_first() {
    let rollout = |lines: &[&str]| read(lines).scripts[0].rollout;
    let hook = "LuaHookTranslate /x.lua";
    assert_eq!(rollout(&[hook]), None);
    assert_eq!(rollout(&[hook, "LuaBalancerRollout off"]), None);
    let some = Rollout { share: 250, for_ms: 90_000, errors: 50 };
    assert_eq!(rollout(&["LuaBalancerRollout percent=2.5% for=90s errors=0.5%", hook]), Some(some));
    assert_eq!(rollout(&[hook, "LuaBalancerRollout percent=10"]), Some(Rollout::default()));
}

#[test]
fn only_files_that_are_watched_and_kept_have_trials() {
    let rollout = "LuaBalancerRollout percent=10%";
    let has = |lines: &[&str]| read(lines).has_trials();
    let hook = "LuaHookTranslate /x.lua";
    assert!(has(&[hook, rollout]) && !has(&[rollout]));
    for cache in ["never", "forever"] {
        assert!(!has(&[hook, rollout, &format!("LuaBalancerCodeCache {cache}")]), "{cache}");
    }
}
