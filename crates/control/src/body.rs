// SPDX-License-Identifier: Apache-2.0
//! JSON of a request's body: of a bounded size and depth, each key of an object once.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::problem::Problem;
use crate::types::Request;

/// Largest body, in bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;
/// Deepest nesting.
pub(crate) const MAX_DEPTH: usize = 32;

/// Looks at the length and type that a request's head tells. `may_be_empty`: it may have no body,
/// and one that says nothing of its length may be empty.
pub(crate) fn head(request: &Request<'_>, may_be_empty: bool) -> Result<(), Problem> {
    let digits = request.header("content-length").filter(|length| length.bytes().all(|b| b.is_ascii_digit()));
    // A length of other characters is refused by HTTP itself.
    let length = digits.map(|digits| digits.parse::<u64>().unwrap_or(u64::MAX));
    if length.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    if may_be_empty && length.is_none_or(|length| length == 0) { Ok(()) } else { kind(request) }
}

/// The body of a request that has to have one.
pub(crate) fn json(request: &Request<'_>) -> Result<Value, Problem> {
    if request.body.len() > MAX_BODY {
        return Err(too_large());
    }
    kind(request)?;
    parse(request.body).map_err(|error| Problem::new(400, format!("the body is not JSON: {error}")))
}

fn too_large() -> Problem {
    Problem::new(413, format!("the body has more than {MAX_BODY} bytes"))
}

/// Whether the body is said to be JSON, as it is.
fn kind(request: &Request<'_>) -> Result<(), Problem> {
    let merge = request.method == "PATCH";
    if !request.header("content-type").is_some_and(|value| is_json(value, merge)) {
        let expected = "Content-Type: application/json, in UTF-8";
        let problem = Problem::new(415, format!("expected {expected}"));
        return Err(Problem {
            field: Some("content-type".into()),
            expected: Some(expected.into()),
            ..problem
        });
    }
    if request.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::new(415, "expected a body without Content-Encoding"));
    }
    Ok(())
}

fn is_json(content_type: &str, merge: bool) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let is = |name: &str| media.eq_ignore_ascii_case(name);
    let charset = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        !name.trim().eq_ignore_ascii_case("charset")
            || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    (is("application/json") || (merge && is("application/merge-patch+json"))) && parts.all(charset)
}

/// A text as JSON.
pub(crate) fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    let mut from = serde_json::Deserializer::from_slice(text);
    let value = Within { depth: 0 }.deserialize(&mut from)?;
    from.end()?;
    Ok(value)
}

/// A value at this depth of lists and objects.
#[derive(Clone, Copy)]
struct Within {
    depth: usize,
}

impl Within {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Within { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Within {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let within = self.deeper()?;
        let mut all = Vec::new();
        while let Some(value) = from.next_element_seed(within)? {
            all.push(value);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let within = self.deeper()?;
        let mut all = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let value = from.next_value_seed(within)?;
            if all.contains_key(&key) {
                return Err(A::Error::custom(format!("the key {} twice", crate::problem::shown(&key))));
            }
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn depth_keys_and_numbers_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        for text in [
            &nested(MAX_DEPTH + 1),
            &nested(100_000),
            "",
            " ",
            "{",
            "{\"a\":1,\"a\":2}",
            "NaN",
            "1e999",
            "[1,]",
            "{} x",
            "'a'",
            "\u{feff}{}",
            "\"\\ud800\"",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{}", crate::problem::shown(text));
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(b"\xff\xfe{\0}\0").is_err());
    }

    proptest! {
        #[test]
        fn the_same_texts_are_taken_as_by_serde(text in "[\\[\\]{}:,\"a0-9.e truefalsnul-]{0,40}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
            }
        }
    }
}
