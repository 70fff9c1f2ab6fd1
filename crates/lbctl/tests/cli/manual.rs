// SPDX-License-Identifier: Apache-2.0
//! Help, completions, manual pages.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Folder;

const VERBS: [&str; 24] = [
    "test",
    "explain",
    "simulate",
    "convert",
    "check",
    "completions",
    "man",
    "status",
    "members",
    "add",
    "remove",
    "weight",
    "drain",
    "enable",
    "disable",
    "reset",
    "wait",
    "events",
    "decisions",
    "scripts",
    "discovery",
    "state",
    "rollout",
    "top",
];

#[test]
fn every_verb_has_help_with_an_example_and_a_page() {
    let folder = Folder::new();
    folder.lbctl(&["man", "pages"]).done();
    for verb in VERBS {
        let help = folder.lbctl(&[verb, "--help"]).done().out;
        assert!(help.contains("Example") && help.contains(&format!("  lbctl {verb}")), "{help}");
        let page = folder.read(&format!("pages/lbctl-{verb}.1"));
        assert!(page.contains(&format!("lbctl {verb}")) || page.contains("lbctl"), "{page}");
    }
    let pages = std::fs::read_dir(folder.0.join("pages")).unwrap().flatten().map(|entry| entry.path());
    lint("error", &pages.collect::<Vec<_>>());
}

#[test]
fn the_modules_page_has_no_fault_of_form() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../man/mod_lua_balancer.8");
    assert!(page.exists(), "{}", page.display());
    lint("warning", &[page]);
}

/// mandoc finds nothing in these pages that is as bad as `level`. scripts/deps installs it.
fn lint(level: &str, pages: &[PathBuf]) {
    match Command::new("mandoc").args(["-T", "lint", "-W", level]).args(pages).output() {
        Ok(linted) => {
            let said = String::from_utf8_lossy(&linted.stdout);
            assert!(linted.status.success(), "{said}{}", String::from_utf8_lossy(&linted.stderr));
        }
        Err(error) => {
            let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
            assert!(!in_ci, "mandoc: {error}: `scripts/deps test` installs it");
            println!("SKIPPED: mandoc: {error}");
        }
    }
}

#[test]
fn completions_are_scripts_that_shells_take() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = folder.lbctl(&["completions", shell]).done().out;
        assert!(text.contains("fail-under"), "{shell}");
        folder.write(shell, &text);
        if let Ok(output) = Command::new(shell).arg("-n").arg(folder.0.join(shell)).output() {
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn wrong_words_are_a_usage_error() {
    let folder = Folder::new();
    assert_eq!(folder.lbctl(&["tset"]).code, 2);
    assert_eq!(folder.lbctl(&[]).code, 2);
    assert_eq!(folder.lbctl(&["test", "--fail-under", "101"]).code, 2);
    assert_eq!(folder.lbctl(&["explain", "--client", "somebody", "/"]).code, 2);
}

#[test]
fn an_option_of_servers_before_the_verb_is_told_its_place() {
    let folder = Folder::new();
    for option in ["--socket", "--url", "--user"] {
        let done = folder.lbctl(&[option, "x", "discovery"]);
        let tip = format!("options of servers stand behind the verb: lbctl VERB {option}");
        assert!(done.code == 2 && done.err.contains(&tip), "{}", done.err);
    }
    let done = folder.lbctl(&["--colour", "discovery"]);
    assert!(done.code == 2 && !done.err.contains("options of servers"), "{}", done.err);
}
