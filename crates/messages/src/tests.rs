// SPDX-License-Identifier: Apache-2.0
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;

/// The part of the document that is written by hand ends with this line.
const MARK: &str = "<!-- Made from crates/messages: UPDATE_GOLDEN=1 cargo test -p messages -->\n";

fn all() -> impl Iterator<Item = &'static Message> {
    CHAPTERS.iter().flat_map(|chapter| chapter.messages).copied()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn numbers_are_those_of_one_message_each_and_rise() {
    let numbers: Vec<u16> = all().map(|message| message.number).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.iter().all(|number| (1..=9999).contains(number)));
    let hundreds: HashSet<u16> = numbers.iter().map(|number| number / 100).collect();
    assert_eq!(hundreds.len(), CHAPTERS.len(), "a chapter has its own hundred");
}

#[test]
fn messages_have_all_their_parts() {
    for message in all() {
        let Message { form, meaning, remedy, .. } = message;
        assert!(!form.is_empty() && !form.contains('\n'), "{}", message.id());
        for text in [meaning, remedy] {
            assert!(text.ends_with('.'), "{}: {text}", message.id());
        }
    }
}

#[test]
fn a_line_of_the_log_names_its_message() {
    let message = scripts::STUCK;
    assert_eq!(message.line("words"), "LB0311: words");
    let line = "[Mon Nov 30 08:00:00.1 2026] [lua_balancer:crit] [pid 7:tid 8] LB0311: a LB0312: b";
    let (found, text) = read(line).expect("an id");
    assert_eq!((found.map(|found| found.number), text), (Some(311), "a LB0312: b"));
    assert!(read("LB9999: gone").is_some_and(|(found, _)| found.is_none()));
    for none in
        ["", "LB", "LB0311", "LB311: x", "LB03é1: x", "LB+311: x", "LB0311 : x", "ALB0311: x", "x LB0311: x"]
    {
        assert!(read(none).is_none(), "{none}");
    }
}

#[test]
fn texts_fit_the_form_of_their_message_alone() {
    let down = members::DOWN;
    assert!(down.fits("pool p: member m is down: 3 checks failed, the last one: status 503"));
    assert!(down.fits("pool : member  is down:  checks failed, the last one: "));
    assert!(!down.fits("pool p: member m is up: 3 checks passed"));
    assert!(!down.fits("say: pool p: member m is down: 3 checks failed, the last one: x"));
    assert!(requests::EXPLAINED.fits("anything") && requests::EXPLAINED.fits(""));
    assert!(scripts::VETTER_ENDED.fits(scripts::VETTER_ENDED.form));
    assert!(!scripts::VETTER_ENDED.fits("the process"));
    assert!(form::fits("a \"B\" c", "a \\\"B\\\" c"), "httpd escapes quotes");
    assert!(form::fits("AB", "") && form::fits("x AB x", "x  x") && !form::fits("x AB x", "x x"));
}

#[test]
fn messages_are_all_written_somewhere() {
    let mut code = String::new();
    gather(&root().join("src"), &mut code);
    gather(&root().join("crates/script/src"), &mut code);
    for chapter in CHAPTERS {
        for message in chapter.messages {
            let home = home(message);
            let name = format!("messages::{home}::{}", message.name);
            let is_whole =
                |at: usize| !code[at + name.len()..].starts_with(|c: char| c == '_' || c.is_alphanumeric());
            let is_used = code.match_indices(&name).any(|(at, _)| is_whole(at));
            assert!(is_used, "{} ({name}) is not written by anything", message.id());
        }
    }
}

/// The module of a message.
fn home(message: &Message) -> &'static str {
    let homes = [
        "starting",
        "members",
        "requests",
        "scripts",
        "background",
        "discovery",
        "sharing",
        "statefile",
        "control",
        "addresses",
    ];
    homes[usize::from(message.number / 100)]
}

fn gather(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            gather(&entry, code);
        } else if entry.extension().is_some_and(|ending| ending == "rs") {
            code.push_str(&std::fs::read_to_string(entry).expect("a file"));
        }
    }
}

#[test]
fn the_document_has_every_message() {
    let path = root().join("docs/troubleshooting.md");
    let text = std::fs::read_to_string(&path).expect("docs/troubleshooting.md");
    let (head, _) = text.split_once(MARK).expect("the line before the messages");
    let wanted = format!("{head}{MARK}{}", document());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &wanted).expect("write the document");
    } else if text != wanted {
        let differs = text.lines().zip(wanted.lines()).find(|(is, should)| is != should);
        panic!("docs/troubleshooting.md is not that of the catalogue (UPDATE_GOLDEN=1): {differs:?}");
    }
}

fn document() -> String {
    let mut out = String::new();
    for chapter in CHAPTERS {
        let _ = write!(out, "\n## {}\n", chapter.title);
        for message in chapter.messages {
            let Message { form, meaning, remedy, .. } = message;
            let _ =
                write!(out, "\n### {} ({})\n\n```\n{form}\n```\n\n", message.id(), message.severity.word());
            let mut words = format!("{meaning}\n\n");
            if *remedy != "Nothing." {
                let _ = writeln!(words, "To do: {remedy}");
            }
            words.trim_end().split('\n').for_each(|line| wrap(line, &mut out));
        }
    }
    out
}

/// Lines of at most 120 columns.
fn wrap(text: &str, out: &mut String) {
    let mut width = 0;
    for word in text.split_whitespace() {
        if width > 0 && width + 1 + word.len() > 120 {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}
