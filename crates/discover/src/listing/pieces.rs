// SPDX-License-Identifier: Apache-2.0
//! JSON read element by element: however much of a text is wrong, one element of it is held at a
//! time.

use std::fmt;

use ::etcd::json_words;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::bounded::Bounded;
use crate::problem::{ListProblem, shown};

const MEMBERS: &str = "a list of groups with targets, a list of members, or {\"members\": [...]}";

/// Takes an element: the key of its list, its place there, and itself.
type Take<'t> = dyn FnMut(&str, usize, &Value) -> Result<(), ListProblem> + 't;

/// Reads a text that begins as a list or an object, until an element cannot be taken.
/// `parts`: most of one element.
pub(super) fn read(text: &str, parts: usize, take: &mut Take<'_>) -> Result<(), ListProblem> {
    let mut problem = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let whole = Whole { take, parts, problem: &mut problem };
    let done = json.deserialize_any(whole).and_then(|()| json.end());
    match (problem, done) {
        (Some(problem), _) => Err(problem),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.classify() == Category::Data => {
            Err(ListProblem::Entry { place: "members".to_owned(), why: json_words(&error) })
        }
        (None, Err(error)) => Err(ListProblem::NoJson(json_words(&error))),
    }
}

/// Reads the value of one key, whose place the caller knows.
pub(super) fn read_one(text: &[u8], parts: usize) -> Result<Value, ListProblem> {
    let mut left = parts;
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = Bounded { left: &mut left }.deserialize(&mut json);
    let read = read.and_then(|value| json.end().map(|()| value));
    read.map_err(|error| match left {
        0 => ListProblem::TooLarge { place: String::new() },
        _ => ListProblem::NoJson(json_words(&error)),
    })
}

/// The text: the list itself, or an object that has it.
struct Whole<'r, 't> {
    take: &'r mut Take<'t>,
    parts: usize,
    /// The reason to read no further.
    problem: &'r mut Option<ListProblem>,
}

/// The list, below a key.
struct Elements<'r, 't> {
    of: &'static str,
    whole: Whole<'r, 't>,
}

impl Whole<'_, '_> {
    fn ends<E: serde::de::Error>(&mut self, problem: ListProblem) -> E {
        *self.problem = Some(problem);
        E::custom("not read further")
    }
}

impl<'de> Visitor<'de> for Whole<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(MEMBERS)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        Elements { of: "", whole: self }.visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut keys: A) -> Result<(), A::Error> {
        let object =
            |found: String| ListProblem::Shape { place: "the object".to_owned(), found, expected: MEMBERS };
        let (mut is_there, mut other) = (false, None);
        while let Some(key) = keys.next_key::<String>()? {
            if key == "members" && !is_there {
                is_there = true;
                let whole = Whole { take: self.take, parts: self.parts, problem: self.problem };
                keys.next_value_seed(Elements { of: "members", whole })?;
            } else {
                keys.next_value::<IgnoredAny>()?;
                other.get_or_insert(key);
            }
        }
        match other {
            _ if !is_there => Err(self.ends(object("an object without them".to_owned()))),
            Some(key) => Err(self.ends(object(format!("the key {}", shown(&key))))),
            None => Ok(()),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut at = 0;
        loop {
            let mut left = self.whole.parts;
            let value = match list.next_element_seed(Bounded { left: &mut left }) {
                Err(_) if left == 0 => {
                    let place = format!("{}[{at}]", self.of);
                    return Err(self.whole.ends(ListProblem::TooLarge { place }));
                }
                value => value?,
            };
            let Some(value) = value else { return Ok(()) };
            if let Err(problem) = (self.whole.take)(self.of, at, &value) {
                return Err(self.whole.ends(problem));
            }
            at += 1;
        }
    }
}
