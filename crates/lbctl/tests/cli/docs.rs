// SPDX-License-Identifier: Apache-2.0
//! docs/testing.md: its files are written, and its commands are run, as they are printed.

use crate::{Folder, Said, root};

/// Blocks: the language, and the lines.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match (open, line.strip_prefix("```")) {
            (false, Some(language)) => {
                open = true;
                found.push((language.to_owned(), Vec::new()));
            }
            (true, Some(_)) => open = false,
            (true, None) => found.last_mut().unwrap().1.push(line.to_owned()),
            (false, None) => {}
        }
    }
    found
}

/// The name in a first line such as `-- balancer.lua` or `# pools.conf`.
fn named(line: &str) -> Option<&str> {
    let name = line.strip_prefix("-- ").or_else(|| line.strip_prefix("# "))?.trim();
    (!name.contains(' ') && name.contains('.')).then_some(name)
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted, mut word) = (Vec::new(), false, String::new());
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_guide_runs_as_it_says() {
    let text = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let (folder, mut commands) = (Folder::new(), 0);
    for (language, lines) in blocks(&text) {
        if let Some(name) = lines.first().and_then(|line| named(line)) {
            folder.write(name, lines.join("\n") + "\n");
        } else if language == "sh" {
            for line in lines.iter().filter(|line| line.starts_with("lbctl ")) {
                let (command, comment) = line.split_once('#').unwrap_or((line, ""));
                let words = words(command);
                let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
                let expected = i32::from(comment.contains("exit 1"));
                let said: Said = folder.lbctl(&arguments);
                assert_eq!(said.code, expected, "{line}\n{}", said.whole());
                commands += 1;
            }
        }
    }
    assert!(commands >= 5, "only {commands} commands");
}
