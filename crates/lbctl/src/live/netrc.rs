// SPDX-License-Identifier: Apache-2.0
//! Names and passwords of `~/.netrc`.

use std::path::{Path, PathBuf};

use crate::files;
use crate::out::Failure;

/// Where the file is by default.
pub fn usual() -> Option<PathBuf> {
    let told = std::env::var_os("NETRC").map(PathBuf::from);
    told.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".netrc")))
}

/// The name and the password for a host: those of its `machine`, or else of `default`. `user`: of
/// this name alone.
pub fn find(path: &Path, host: &str, user: Option<&str>) -> Result<Option<(String, String)>, Failure> {
    let text = files::text(path).map_err(|error| Failure::usage(format!("{error}: expected a .netrc")))?;
    let fits = |entry: &&Entry| user.is_none_or(|user| user == entry.login);
    let all = entries(&text);
    let own = all.iter().filter(|entry| entry.machine.as_deref() == Some(host)).find(fits);
    let found = own.or_else(|| all.iter().filter(|entry| entry.machine.is_none()).find(fits));
    Ok(found.map(|entry| (entry.login.clone(), entry.password.clone())))
}

#[derive(Default)]
struct Entry {
    machine: Option<String>,
    login: String,
    password: String,
}

fn entries(text: &str) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => all.push(Entry { machine: words.next(), ..Entry::default() }),
            "default" => all.push(Entry::default()),
            key @ ("login" | "password") => {
                let value = words.next().unwrap_or_default();
                if let Some(entry) = all.last_mut() {
                    *if key == "login" { &mut entry.login } else { &mut entry.password } = value;
                }
            }
            "account" => drop(words.next()),
            _ => {}
        }
    }
    all
}

/// Words, quoted ones whole; without comments and without macros, which end at an empty line.
fn words(text: &str) -> Vec<String> {
    let (mut found, mut macro_open) = (Vec::new(), false);
    for line in text.lines() {
        macro_open = (macro_open || line.trim_start().starts_with("macdef ")) && !line.trim().is_empty();
        if macro_open || line.trim_start().starts_with('#') {
            continue;
        }
        let mut rest = line.trim();
        while !rest.is_empty() {
            let quoted = rest.strip_prefix('"').and_then(|inner| inner.split_once('"'));
            let (word, after) =
                quoted.unwrap_or_else(|| rest.split_once(char::is_whitespace).unwrap_or((rest, "")));
            found.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::entries;

    #[test]
    fn entries_are_read_as_ftp_and_curl_read_them() {
        let text = "# no\nmachine lb1 login ada password \"a b#c\"\nmacdef init\n machine x\n\n\
                    machine lb2\n  login bob\n  account z\n  password s#3\ndefault login any password p";
        let seen: Vec<_> = entries(text)
            .into_iter()
            .map(|entry| (entry.machine.unwrap_or_default(), entry.login, entry.password))
            .collect();
        let wanted = [("lb1", "ada", "a b#c"), ("lb2", "bob", "s#3"), ("", "any", "p")];
        assert_eq!(seen, wanted.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    }
}
