// SPDX-License-Identifier: Apache-2.0
//! A member as somebody describes it: an object of `LuaBalancerMember`'s keys.

use balance::line::MEMBER_KEYS;
use balance::member::MemberSpec;
use balance::words;
use serde_json::{Map, Value};

use crate::problem::Problem;

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A whole number.
    Whole,
    Weight,
    /// Seconds, or a text as the directive takes it.
    Duration,
    Switch,
    /// Bytes, or a text as the directive takes it.
    Size,
    /// on, off or auto.
    Flush,
}

/// The keys, but for `url` and `meta`.
pub(crate) const KEYS: [(&str, Kind); 30] = [
    ("name", Kind::Text),
    ("weight", Kind::Weight),
    ("zone", Kind::Text),
    ("route", Kind::Text),
    ("redirect", Kind::Text),
    ("lbset", Kind::Whole),
    ("status", Kind::Text),
    ("max_inflight", Kind::Whole),
    ("slow_start", Kind::Duration),
    ("retry", Kind::Duration),
    ("max", Kind::Whole),
    ("smax", Kind::Whole),
    ("min", Kind::Whole),
    ("ttl", Kind::Duration),
    ("acquire", Kind::Duration),
    ("timeout", Kind::Duration),
    ("connectiontimeout", Kind::Duration),
    ("ping", Kind::Duration),
    ("keepalive", Kind::Switch),
    ("disablereuse", Kind::Switch),
    ("enablereuse", Kind::Switch),
    ("flushpackets", Kind::Flush),
    ("flushwait", Kind::Duration),
    ("flusher", Kind::Text),
    ("iobuffersize", Kind::Size),
    ("receivebuffersize", Kind::Size),
    ("responsefieldsize", Kind::Size),
    ("secret", Kind::Text),
    ("upgrade", Kind::Text),
    ("addressttl", Kind::Duration),
];

/// Keys that only a GET shows; left out, so that a list that was read may be put back.
pub(crate) const SHOWN: [&str; 25] = [
    "pool",
    "state",
    "healthy",
    "usable",
    "since",
    "why",
    "admin",
    "until",
    "then",
    "note",
    "local",
    "weights",
    "role",
    "inflight",
    "attempts",
    "responses",
    "sent_bytes",
    "received_bytes",
    "latency",
    "check",
    "outlier",
    "source",
    "overrides",
    "opinions",
    "href",
];

/// The member that an object describes, with the keys of `LuaBalancerMember` and `url`; `taken`
/// tells which names others have.
///
/// # Errors
/// What was found, and what was expected.
pub fn read_member(value: &Value, taken: impl Fn(&str) -> bool) -> Result<MemberSpec, String> {
    Element::of(value).and_then(|element| element.spec(taken)).map_err(|problem| problem.detail)
}

/// A member as somebody describes it.
pub(crate) struct Element<'j> {
    pub url: &'j str,
    keys: &'j Map<String, Value>,
}

impl<'j> Element<'j> {
    /// The element of an object; every key is looked at.
    pub(crate) fn of(value: &'j Value) -> Result<Self, Problem> {
        let Value::Object(keys) = value else {
            return Err(Problem::json("body", value, "an object that describes a member"));
        };
        for (key, value) in keys {
            if key == "url" || SHOWN.contains(&key.as_str()) {
                continue;
            }
            written(key, value)?;
        }
        let url = match keys.get("url") {
            Some(Value::String(url)) => url,
            Some(other) => return Err(Problem::json("url", other, URL)),
            None => return Err(Problem::value("url", "nothing", URL)),
        };
        Ok(Element { url, keys })
    }

    /// The value of a key, if it has one that is not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'j Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// As a new member; `taken` tells which names others have.
    pub(crate) fn spec(&self, taken: impl Fn(&str) -> bool) -> Result<MemberSpec, Problem> {
        let mut all = Vec::new();
        for (key, value) in self.described() {
            all.extend(written(key, value)?);
        }
        Ok(MemberSpec::parse_beside(self.url, &all, taken)?)
    }

    /// As what becomes of a member: keys that are not there stay as they are, null is the default.
    pub(crate) fn over(&self, spec: &MemberSpec) -> Result<MemberSpec, Problem> {
        let mut all = words::split(&spec.to_line())?;
        all.remove(0);
        let key_of = |word: &str| word.split('=').next().unwrap_or_default().to_ascii_lowercase();
        for (key, value) in self.described() {
            let old: &[&str] = match key {
                "weight" => &["weight", "loadfactor"],
                "disablereuse" | "enablereuse" => &["disablereuse", "enablereuse"],
                _ => &[],
            };
            all.retain(|word| {
                let known = key_of(word);
                let is_meta = key == "meta" && known.starts_with("meta.");
                !is_meta && known != key && known != "discovered" && !old.contains(&known.as_str())
            });
            all.extend(written(key, value)?);
        }
        if !all.iter().any(|word| key_of(word) == "name") {
            all.push(words::pair("name", &spec.name));
        }
        // Not quoted: these are words, no line.
        let all: Vec<String> = all.into_iter().filter(|word| key_of(word) != "name").collect();
        let name = format!("name={}", spec.name);
        let over = MemberSpec::parse(self.url, &[all, vec![name]].concat())?;
        Ok(MemberSpec { discovered: spec.discovered.clone(), ..over })
    }

    fn described(&self) -> impl Iterator<Item = (&'j str, &'j Value)> {
        let keys = self.keys.iter().map(|(key, value)| (key.as_str(), value));
        keys.filter(|(key, _)| *key != "url" && !SHOWN.contains(key))
    }
}

const URL: &str = "a URL, for example http://10.0.0.1:8080";

/// A key and its value as words of the directive's line; none for null.
fn written(key: &str, value: &Value) -> Result<Vec<String>, Problem> {
    if key == "meta" {
        return meta(value);
    }
    let known = KEYS.iter().find(|(name, _)| *name == key);
    let (_, kind) = known.ok_or_else(|| unknown(key))?;
    if value.is_null() {
        return Ok(Vec::new());
    }
    let text = kind.text(value).ok_or_else(|| Problem::json(key, value, kind.expected()))?;
    Ok(vec![format!("{key}={text}")])
}

fn unknown(key: &str) -> Problem {
    let hint: Vec<&str> = ["url", "meta"].into_iter().chain(KEYS.iter().map(|(name, _)| *name)).collect();
    let expected = format!("one of {}", hint.join(", "));
    let mut problem = Problem::value(key, "a key that is not known here", expected);
    if MEMBER_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key)) {
        problem.detail.push_str(" (in lower case, and loadfactor as weight)");
    }
    problem
}

/// Pairs of texts.
pub(crate) fn meta(value: &Value) -> Result<Vec<String>, Problem> {
    let expected = "an object of texts";
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Object(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| match value {
                Value::String(text) => Ok(format!("meta.{key}={text}")),
                other => Err(Problem::json(&format!("meta.{key}"), other, "a text")),
            });
            pairs.collect()
        }
        other => Err(Problem::json("meta", other, expected)),
    }
}

impl Kind {
    /// A value as the directive takes it; what it means is checked there.
    fn text(self, value: &Value) -> Option<String> {
        match (self, value) {
            (Kind::Text, Value::String(text)) => Some(text.clone()),
            (Kind::Whole | Kind::Size, Value::Number(number)) => number.as_u64().map(|n| n.to_string()),
            (Kind::Weight, Value::Number(number)) => decimal(number.as_f64()?),
            (Kind::Duration, Value::Number(number)) => milliseconds(number.as_f64()?),
            (Kind::Duration | Kind::Size, Value::String(text)) => Some(text.clone()),
            (Kind::Switch | Kind::Flush, Value::Bool(on)) => Some(if *on { "on" } else { "off" }.to_owned()),
            (Kind::Switch | Kind::Flush, Value::String(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Whole => "a whole number of 0 or more",
            Kind::Weight => "a number of 0 to 65535, for example 3 or 1.5",
            Kind::Duration => "seconds, or a text such as \"500ms\" or \"30s\"",
            Kind::Switch => "true or false",
            Kind::Size => "a number of bytes, or a text such as \"64K\"",
            Kind::Flush => "true, false or \"auto\"",
        }
    }
}

/// A number without an exponent; None for one that cannot be a weight.
pub(crate) fn decimal(number: f64) -> Option<String> {
    ((0.0..1e6).contains(&number)).then(|| format!("{number}"))
}

/// Seconds as milliseconds.
fn milliseconds(seconds: f64) -> Option<String> {
    let ms = (seconds * 1000.0).round();
    ((0.0..1e15).contains(&ms)).then(|| format!("{}ms", ms as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(value: Value) -> Result<String, String> {
        let element = Element::of(&value).map_err(|problem| problem.detail)?;
        element.spec(|_| false).map(|spec| spec.to_line()).map_err(|problem| problem.detail)
    }

    #[test]
    fn every_key_of_the_directive_is_one_here() {
        for key in MEMBER_KEYS.iter().filter(|key| !matches!(**key, "meta.KEY" | "loadfactor")) {
            assert!(KEYS.iter().any(|(name, _)| name == key), "{key}");
        }
        assert!(KEYS.iter().all(|(key, _)| MEMBER_KEYS.contains(key)));
    }

    #[test]
    fn values_of_json_are_those_of_the_directive() {
        let all = json!({
            "url": "http://10.0.0.1:81", "name": "a", "weight": 1.5, "zone": "eu west", "lbset": 2,
            "status": "+H", "max_inflight": 7, "slow_start": 1.5, "timeout": "2m", "acquire": 0.25,
            "keepalive": true, "disablereuse": false, "flushpackets": "auto", "iobuffersize": "64K",
            "meta": {"version": "2", "b": ""}, "redirect": null, "state": "up", "inflight": 3,
        });
        let expected = "http://10.0.0.1:81 name=a weight=1.5 zone=\"eu west\" lbset=2 max_inflight=7 \
                        status=H slow_start=1500ms meta.b= meta.version=2 iobuffersize=65536 acquire=250ms \
                        timeout=120s keepalive=on disablereuse=off flushpackets=auto";
        assert_eq!(line(all), Ok(expected.to_owned()));
    }

    #[test]
    fn wrong_values_are_named() {
        for (key, value, says) in [
            ("weight", json!("3"), "weight: found \"3\", expected a number"),
            ("weight", json!(1e300), "weight: found 1e+300, expected a number"),
            ("weight", json!(-1), "weight: found -1"),
            ("weight", json!(65536), "weight=65536: expected 0 to 65535"),
            ("weight", json!(0.001), "weight=0.001: expected"),
            ("lbset", json!(1.5), "lbset: found 1.5, expected a whole number"),
            ("lbset", json!(100), "lbset=100: expected a number of 0 to 99"),
            ("name", json!("a/b"), "name=a/b: expected 1 to 63 letters"),
            ("name", json!("a\u{0}"), "expected no control characters"),
            ("name", json!(["a"]), "name: found a list, expected a text"),
            ("zone", json!(""), "zone="),
            ("slow_start", json!(-1), "slow_start: found -1, expected seconds"),
            ("slow_start", json!(1e300), "slow_start: found 1e+300, expected seconds"),
            ("keepalive", json!(1), "keepalive: found 1, expected true or false"),
            ("meta", json!([]), "meta: found a list, expected an object of texts"),
            ("meta", json!({"a": 1}), "meta.a: found 1, expected a text"),
            ("meta", json!({"a b": "1"}), "meta.KEY of letters"),
            ("url", json!("gopher://x"), "URL gopher://x:"),
            ("url", json!(1), "url: found 1, expected a URL"),
            ("colour", json!(1), "colour: found a key that is not known here"),
            ("loadfactor", json!(1), "loadfactor as weight"),
        ] {
            let mut all = json!({"url": "http://10.0.0.1"});
            all[key] = value;
            let said = line(all).expect_err(key);
            assert!(said.contains(says), "{said:?} should say {says:?}");
        }
    }

    #[test]
    fn values_that_are_left_out_stay() {
        let before = MemberSpec::from_line("http://a:1 name=m weight=2 zone=eu meta.x=1 timeout=5s route=r");
        let before = before.expect("a line");
        let over = |value: Value| {
            let element = Element::of(&value).expect("an element");
            element.over(&before).expect("a member").to_line()
        };
        assert_eq!(over(json!({"url": "http://a:1"})), before.to_line());
        assert_eq!(
            over(json!({"url": "http://a:2", "zone": null, "weight": 3, "meta": {}})),
            "http://a:2 name=m weight=3 route=r timeout=5s"
        );
        assert_eq!(
            over(json!({"url": "http://a:1", "meta": {"y": "2"}})),
            before.to_line().replace("x=1", "y=2")
        );
    }
}
