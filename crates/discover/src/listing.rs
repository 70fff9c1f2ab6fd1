// SPDX-License-Identifier: Apache-2.0
//! The shapes of lists: Prometheus' `file_sd`, `{"members":[…]}` or the bare list of it, and lines
//! as `LuaBalancerMember` has them.

use std::collections::HashSet;
use std::sync::Arc;

use balance::member::MemberSpec;
use balance::url::MemberUrl;
use balance::words;
use serde::de::{DeserializeOwned, DeserializeSeed as _};
use serde_json::{Map, Value};

use self::known::{Entries, Entry, Origin};
use crate::problem::{ListProblem, shown};

mod bounded;
mod known;
mod pieces;

pub use self::known::KnownEntries;

/// How lists are read.
#[derive(Debug, Clone, Copy)]
pub struct ListingRules {
    /// Wrong entries are left out. Otherwise they fail the list.
    pub skip_invalid: bool,
    /// Most members of a list, and most wrong entries.
    pub max: usize,
    /// Why this server can reach nobody at such a URL; None: it can, at all URLs of its scheme.
    pub misfit: fn(&MemberUrl) -> Option<String>,
}

/// A list, whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listed {
    /// The members, each name once.
    pub members: Vec<Arc<MemberSpec>>,
    /// The fingerprint of each ([`MemberSpec::print`]).
    pub prints: Vec<u64>,
    /// How many entries are left out.
    pub skipped: usize,
    /// Why the first of them is; empty without any.
    pub first_skipped: String,
}

impl Listed {
    /// Takes a member.
    pub(crate) fn push(&mut self, spec: MemberSpec) {
        self.prints.push(spec.print());
        self.members.push(Arc::new(spec));
    }

    /// Leaves an entry out.
    pub(crate) fn skip(&mut self, why: String) {
        if self.skipped == 0 {
            self.first_skipped = why;
        }
        self.skipped += 1;
    }
}

/// Labels of `file_sd` that are keys of a member; all others are its meta keys.
const LABELS: [&str; 5] = ["zone", "weight", "route", "lbset", "name"];
/// Most parts of an element of JSON: so many, and for each member that a list may have.
const PARTS: usize = 10_000;
const PARTS_OF_ONE: usize = 16;
/// Most characters of the error of an entry.
const MOST_WORDS: usize = 300;
const SCHEME: &str = "__scheme__";
/// The shapes of entries that are known by their text.
const LINE: u64 = 0;
const KEY: u64 = 1;

/// Reads a list.
///
/// # Errors
/// It is not a list, has a wrong entry (unless these are skipped), or too many.
pub fn read(bytes: &[u8], rules: ListingRules) -> Result<Listed, ListProblem> {
    read_again(bytes, rules, &mut KnownEntries::default())
}

/// Reads a list of a source whose list before is `known`; it becomes this one.
///
/// # Errors
/// As [`read`]: then nothing is known.
pub fn read_again(
    bytes: &[u8],
    rules: ListingRules,
    known: &mut KnownEntries,
) -> Result<Listed, ListProblem> {
    let text = std::str::from_utf8(bytes).map_err(|error| ListProblem::NoText(error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reading = Reading::new(rules, Entries::after(known));
    match text.trim_start().bytes().next() {
        None => return Err(ListProblem::Nothing),
        Some(b'<') => return Err(ListProblem::Html),
        Some(b'[' | b'{') => pieces::read(text, PARTS + PARTS_OF_ONE * rules.max, &mut |of, at, value| {
            reading.element(of, at, value)
        })?,
        Some(_) => reading.lines(text)?,
    }
    reading.entries.keep(known);
    Ok(reading.listed)
}

/// Reads JSON of another form that has at most so many parts: each takes more memory than its text.
///
/// # Errors
/// The kind and the place of what is wrong, without the value.
pub(crate) fn bounded<T: DeserializeOwned>(bytes: &[u8], mut parts: usize) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = bounded::Bounded { left: &mut parts }.deserialize(&mut json);
    let value = value.and_then(|value| json.end().map(|()| value)).and_then(serde_json::from_value);
    value.map_err(|error| ::etcd::json_words(&error))
}

/// Members that were read in another form, each with its place or the error there. Of two of one
/// name, the second is left out: sources that know instances may know one of them twice.
///
/// # Errors
/// As [`read`].
pub(crate) fn gather(
    found: impl IntoIterator<Item = (String, Result<MemberSpec, String>)>,
    rules: ListingRules,
) -> Result<Listed, ListProblem> {
    let mut reading = Reading::new(rules, Entries::after(&mut KnownEntries::default()));
    for (place, spec) in found {
        if !spec.as_ref().is_ok_and(|spec| reading.entries.is_taken(&spec.name)) {
            reading.spec(&|| place.clone(), spec.map(|spec| (spec, true)))?;
        }
    }
    Ok(reading.listed)
}

/// Reads a list of keys: the last part of a key's name is its member's name, and its value the
/// member as JSON. The source's list before is `known`; it becomes this one.
///
/// # Errors
/// A key is wrong (unless these are skipped), or there are too many: then nothing is known.
pub fn read_keys<'k>(
    keys: impl Iterator<Item = (&'k [u8], &'k [u8])>,
    rules: ListingRules,
    known: &mut KnownEntries,
) -> Result<Listed, ListProblem> {
    let mut reading = Reading::new(rules, Entries::after(known));
    let mut text = Vec::new();
    for (key, value) in keys {
        text.clear();
        for part in [&key.len().to_le_bytes(), key, value] {
            text.extend_from_slice(part);
        }
        reading.key(key, value, &text)?;
    }
    reading.entries.keep(known);
    Ok(reading.listed)
}

struct Reading {
    rules: ListingRules,
    listed: Listed,
    entries: Entries,
    /// Of members without a name of their own.
    urls: HashSet<MemberUrl>,
    /// The scheme of the last member that this server can reach.
    reached: String,
}

impl Reading {
    fn new(rules: ListingRules, entries: Entries) -> Self {
        let (members, prints) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        let listed = Listed { members, prints, ..Listed::default() };
        Reading { rules, listed, entries, urls: HashSet::new(), reached: String::new() }
    }

    /// A member with the name of its key; `text`: both.
    fn key(&mut self, key: &[u8], value: &[u8], text: &[u8]) -> Result<(), ListProblem> {
        let place = || format!("key {}", shown(&String::from_utf8_lossy(key)));
        let parts = PARTS + PARTS_OF_ONE * self.rules.max;
        let mut is_too_large = false;
        let found = self.entries.entry((KEY, text), |taken| {
            let value = pieces::read_one(value, parts).map_err(|problem| {
                is_too_large = matches!(problem, ListProblem::TooLarge { .. });
                problem.to_string()
            })?;
            Ok((control::read_member(&named(key, value)?, taken)?, true))
        });
        if is_too_large {
            return self.wrong(ListProblem::TooLarge { place: place() });
        }
        self.entry(&place, found)
    }

    /// A file of comments alone is an error too: its writer has died behind them.
    fn lines(&mut self, text: &str) -> Result<(), ListProblem> {
        let mut is_empty = true;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            is_empty = false;
            let place = || format!("line {}", at + 1);
            let found = self.entries.entry((LINE, line.as_bytes()), |taken| {
                let words = words::split(line).map_err(|error| error.to_string())?;
                let (url, keys) = words.split_first().ok_or("expected a URL")?;
                let is_named = keys.iter().any(|word| is_key(word, "name"));
                let spec = MemberSpec::parse_beside(url, keys, taken);
                spec.map(|spec| (spec, is_named)).map_err(|error| error.to_string())
            });
            self.entry(&place, found)?;
        }
        if is_empty { Err(ListProblem::Nothing) } else { Ok(()) }
    }

    /// A group of targets or a member, as its keys say. `of`: the key of the list that it is in.
    fn element(&mut self, of: &str, at: usize, value: &Value) -> Result<(), ListProblem> {
        let place = format!("{of}[{at}]");
        match value {
            Value::Object(keys) if of.is_empty() && keys.contains_key("targets") => self.group(&place, keys),
            Value::Object(keys) => {
                let is_named = keys.get("name").is_some_and(|name| !name.is_null());
                let found = control::read_member(value, |name| self.entries.is_taken(name));
                self.spec(&|| place.clone(), found.map(|spec| (spec, is_named)))
            }
            other => self.wrong(shape(&place, other, ELEMENT)),
        }
    }

    fn group(&mut self, place: &str, keys: &Map<String, Value>) -> Result<(), ListProblem> {
        let group = match Group::of(place, keys) {
            Ok(group) => group,
            Err(problem) => return self.wrong(problem),
        };
        let is_named = group.words.iter().any(|word| is_key(word, "name"));
        for (at, target) in group.targets.iter().enumerate() {
            let place = || format!("{place}.targets[{at}] ({})", shown(&target.to_string()));
            let found = match target {
                Value::String(target) => {
                    let url = format!("{}://{target}", group.scheme);
                    MemberSpec::parse_beside(&url, &group.words, |name| self.entries.is_taken(name))
                        .map_err(|error| error.to_string())
                }
                other => Err(format!("found {}, expected host:port", kind(other))),
            };
            self.spec(&place, found.map(|spec| (spec, is_named)))?;
        }
        Ok(())
    }

    /// Takes a member in; true: it has a name of its own.
    fn spec(
        &mut self,
        place: &dyn Fn() -> String,
        found: Result<(MemberSpec, bool), String>,
    ) -> Result<(), ListProblem> {
        let read = |(spec, is_named)| (self.entries.read(spec, is_named), Origin::Unkept);
        let found = found.map(read);
        self.entry(place, found)
    }

    /// Takes an entry in. One that is known was taken in before.
    fn entry(
        &mut self,
        place: &dyn Fn() -> String,
        found: Result<(Entry, Origin), String>,
    ) -> Result<(), ListProblem> {
        let wrong =
            |why: String| ListProblem::Entry { place: place(), why: net::printable(&why, MOST_WORDS) };
        let (entry, origin) = match found {
            Ok(found) => found,
            Err(why) => return self.wrong(wrong(why)),
        };
        if !matches!(origin, Origin::Known(_))
            && let Some(why) = self.misfit(&entry.spec.url)
        {
            return self.wrong(wrong(why));
        }
        if self.entries.has_name_of(&entry) {
            let name = &entry.spec.name;
            return self.wrong(wrong(format!("another entry is named {name} as well")));
        }
        // Without names of their own these would be one member twice.
        if !entry.is_named && !self.urls.insert(entry.spec.url.clone()) {
            return self.wrong(wrong(format!("{} is there twice", entry.spec.url)));
        }
        if self.listed.members.len() >= self.rules.max {
            let most = self.rules.max;
            return Err(ListProblem::TooMany { found: most + 1, most });
        }
        self.entries.take(&entry, origin);
        self.listed.prints.push(entry.print);
        self.listed.members.push(entry.spec);
        Ok(())
    }

    fn misfit(&mut self, url: &MemberUrl) -> Option<String> {
        if self.reached == url.scheme {
            return None;
        }
        let misfit = (self.rules.misfit)(url);
        if misfit.is_none() {
            self.reached.clone_from(&url.scheme);
        }
        misfit
    }

    fn wrong(&mut self, problem: ListProblem) -> Result<(), ListProblem> {
        if !self.rules.skip_invalid {
            return Err(problem);
        }
        self.listed.skip(problem.to_string());
        let most = self.rules.max;
        if self.listed.skipped > most { Err(ListProblem::TooManyWrong { most }) } else { Ok(()) }
    }
}

const ELEMENT: &str = "an object with url or targets";

/// A group of `file_sd`.
struct Group<'j> {
    scheme: &'j str,
    targets: &'j [Value],
    /// Of its labels.
    words: Vec<String>,
}

impl<'j> Group<'j> {
    fn of(place: &str, keys: &'j Map<String, Value>) -> Result<Self, ListProblem> {
        const EXPECTED: &str = "targets and labels alone";
        if let Some(key) = keys.keys().find(|key| !["targets", "labels"].contains(&key.as_str())) {
            let found = format!("the key {}", shown(key));
            return Err(ListProblem::Shape { place: place.to_owned(), found, expected: EXPECTED });
        }
        let targets = match keys.get("targets") {
            Some(Value::Array(targets)) => targets,
            other => {
                let found = other.unwrap_or(&Value::Null);
                return Err(shape(&format!("{place}.targets"), found, "a list of host:port"));
            }
        };
        let mut group = Group { scheme: "http", targets, words: Vec::new() };
        match keys.get("labels") {
            None | Some(Value::Null) => {}
            Some(Value::Object(labels)) => {
                for (label, value) in labels {
                    let Value::String(text) = value else {
                        return Err(shape(&format!("{place}.labels.{}", shown(label)), value, "a text"));
                    };
                    match label.as_str() {
                        SCHEME => group.scheme = text,
                        key if LABELS.contains(&key) => group.words.push(format!("{key}={text}")),
                        key => group.words.push(format!("meta.{key}={text}")),
                    }
                }
            }
            Some(other) => return Err(shape(&format!("{place}.labels"), other, "an object of texts")),
        }
        Ok(group)
    }
}

/// A member that is called as its key is.
fn named(key: &[u8], mut value: Value) -> Result<Value, String> {
    let last = key.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = std::str::from_utf8(last).map_err(|_| "its name is not UTF-8 text".to_owned())?;
    let Value::Object(keys) = &mut value else {
        return Err(format!("found {}, expected an object with url", kind(&value)));
    };
    match keys.get("name") {
        None | Some(Value::Null) => {
            keys.insert("name".to_owned(), name.into());
        }
        Some(Value::String(own)) if own == name => {}
        Some(own) => {
            let own = shown(&own.to_string());
            return Err(format!("its name is {own}, expected {} as the key has it, or nothing", shown(name)));
        }
    }
    Ok(value)
}

fn is_key(word: &str, key: &str) -> bool {
    word.split_once('=').is_some_and(|(known, _)| known.eq_ignore_ascii_case(key))
}

fn shape(place: &str, found: &Value, expected: &'static str) -> ListProblem {
    ListProblem::Shape { place: place.to_owned(), found: kind(found).to_owned(), expected }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object without them",
    }
}

#[cfg(test)]
mod tests;
