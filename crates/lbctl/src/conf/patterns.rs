// SPDX-License-Identifier: Apache-2.0
//! Names with wildcards, as httpd matches them.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Whether a text has wildcards.
pub fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The whole of a text, where `*` and `?` stand for anything but a slash.
pub fn wildcard(pattern: &str) -> Option<Regex> {
    let mut text = String::from("^");
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' => {
                let inside: String = letters.by_ref().take_while(|letter| *letter != ']').collect();
                let inside = inside.replacen('!', "^", usize::from(inside.starts_with('!')));
                text.push_str(&format!("[{inside}]"));
            }
            other => text.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&(text + "$")).ok()
}

/// The files of an Include: one, those of a folder, or those that match; in order of their names.
pub fn files(pattern: &Path) -> Vec<PathBuf> {
    if pattern.is_file() {
        return vec![pattern.to_owned()];
    }
    if pattern.is_dir() {
        let mut all: Vec<PathBuf> = listed(pattern).into_iter().flat_map(|path| files(&path)).collect();
        all.sort();
        return all;
    }
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components().skip(1) {
        let part = part.as_os_str().to_string_lossy().into_owned();
        found = match has_wildcards(&part).then(|| wildcard(&part)).flatten() {
            None => found.iter().map(|folder| folder.join(&part)).filter(|path| path.exists()).collect(),
            Some(matcher) => {
                let named = |path: &PathBuf| {
                    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                    name.is_some_and(|name| !name.starts_with('.') && matcher.is_match(&name))
                };
                found.iter().flat_map(|folder| listed(folder)).filter(named).collect()
            }
        };
    }
    found.sort();
    found.into_iter().filter(|path| path.is_file()).collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
