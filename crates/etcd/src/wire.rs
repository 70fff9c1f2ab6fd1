// SPDX-License-Identifier: Apache-2.0
//! Questions and answers as JSON. Integers of 64 bits are texts, keys and values are base64, and
//! whatever is 0, empty or false is left out.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::{Value, json};

/// Most bytes of an answer.
pub const MOST: usize = 24 << 20;
/// Most keys or changes of an answer.
const MOST_ENTRIES: usize = 1 << 20;
/// Most bytes of a refusal.
const MOST_REFUSAL: usize = 64 << 10;

/// The begin of each answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Header {
    /// The cluster that has answered.
    #[serde(deserialize_with = "unsigned")]
    pub cluster_id: u64,
    /// The revision of the whole store.
    #[serde(deserialize_with = "signed")]
    pub revision: i64,
}

/// A key, with what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// The key.
    #[serde(deserialize_with = "bytes")]
    pub key: Vec<u8>,
    /// Its value.
    #[serde(deserialize_with = "bytes")]
    pub value: Vec<u8>,
    /// The revision of its last change.
    #[serde(deserialize_with = "signed")]
    pub mod_revision: i64,
    /// The lease that it goes with; 0: none.
    #[serde(deserialize_with = "signed")]
    pub lease: i64,
}

/// The keys that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Range {
    pub header: Header,
    #[serde(deserialize_with = "list")]
    pub kvs: Vec<KeyValue>,
    /// There are more than were asked for.
    pub more: bool,
    /// How many there are in all.
    #[serde(deserialize_with = "signed")]
    pub count: i64,
}

/// One change of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct KeyEvent {
    #[serde(rename = "type")]
    kind: EventKind,
    pub kv: KeyValue,
}

impl KeyEvent {
    #[cfg(test)]
    pub(crate) fn of(kv: KeyValue, is_delete: bool) -> Self {
        KeyEvent { kind: if is_delete { EventKind::Delete } else { EventKind::Put }, kv }
    }

    /// The key is gone; `kv` has its name and the revision of that alone.
    pub fn is_delete(&self) -> bool {
        self.kind == EventKind::Delete
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventKind {
    #[default]
    Put,
    Delete,
}

/// One answer of a watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct WatchAnswer {
    pub header: Header,
    pub created: bool,
    pub canceled: bool,
    pub cancel_reason: String,
    /// Above 0: the revisions before it are gone, and the watch has ended.
    #[serde(deserialize_with = "signed")]
    pub compact_revision: i64,
    #[serde(deserialize_with = "list")]
    pub events: Vec<KeyEvent>,
}

/// A lease as it was granted or renewed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Granted {
    /// Its number.
    #[serde(rename = "ID", deserialize_with = "signed")]
    pub id: i64,
    /// Seconds that it lives on; 0 or less: it has ended.
    #[serde(rename = "TTL", deserialize_with = "signed")]
    pub ttl: i64,
}

/// The keys to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeQuery<'k> {
    /// One key.
    One(&'k str),
    /// At most so many that begin with this, by their names.
    Below(&'k str, usize),
    /// At most so many of those behind this key, at this revision.
    Behind(&'k str, &'k [u8], usize, i64),
    /// The number of keys that begin with this.
    Count(&'k str),
}

/// A key is as it is expected to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compare {
    /// By the revision of its last change; 0: it does not exist.
    Revision { key: String, mod_revision: i64 },
    /// By its value.
    Value { key: String, value: Vec<u8> },
}

/// One part of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Put { key: String, value: Vec<u8>, lease: i64 },
    Delete { key: String },
    Get { key: String },
}

/// All of `then` when all compare as expected, else all of `otherwise`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Transaction {
    pub compare: Vec<Compare>,
    pub then: Vec<Operation>,
    pub otherwise: Vec<Operation>,
}

/// The end of a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transacted {
    /// See [`Header`].
    pub header: Header,
    /// `then` was done.
    pub succeeded: bool,
    /// The keys that it has got.
    pub kvs: Vec<KeyValue>,
}

impl RangeQuery<'_> {
    pub(crate) fn body(&self) -> Value {
        match self {
            RangeQuery::One(key) => json!({ "key": encode(key.as_bytes()) }),
            RangeQuery::Below(prefix, limit) => json!({
                "key": encode(prefix.as_bytes()), "range_end": encode(&range_end(prefix)), "limit": limit.to_string(),
            }),
            RangeQuery::Behind(prefix, last, limit, revision) => json!({
                "key": encode(&[*last, b"\0".as_slice()].concat()), "range_end": encode(&range_end(prefix)),
                "limit": limit.to_string(), "revision": revision.to_string(),
            }),
            RangeQuery::Count(prefix) => json!({
                "key": encode(prefix.as_bytes()), "range_end": encode(&range_end(prefix)), "count_only": true,
            }),
        }
    }
}

impl Transaction {
    pub(crate) fn body(&self) -> Value {
        let compare = |compare: &Compare| match compare {
            Compare::Revision { key, mod_revision } => json!({
                "key": encode(key.as_bytes()), "target": "MOD", "result": "EQUAL",
                "mod_revision": mod_revision.to_string(),
            }),
            Compare::Value { key, value } => json!({
                "key": encode(key.as_bytes()), "target": "VALUE", "result": "EQUAL", "value": encode(value),
            }),
        };
        let operations = |all: &[Operation]| all.iter().map(Operation::body).collect::<Vec<_>>();
        json!({
            "compare": self.compare.iter().map(compare).collect::<Vec<_>>(),
            "success": operations(&self.then),
            "failure": operations(&self.otherwise),
        })
    }
}

impl Operation {
    fn body(&self) -> Value {
        match self {
            Operation::Put { key, value, lease } => json!({ "requestPut": {
                "key": encode(key.as_bytes()), "value": encode(value), "lease": lease.to_string(),
            } }),
            Operation::Delete { key } => json!({ "requestDeleteRange": { "key": encode(key.as_bytes()) } }),
            Operation::Get { key } => json!({ "requestRange": { "key": encode(key.as_bytes()) } }),
        }
    }
}

pub(crate) fn watch_body(prefix: &str, from: i64) -> Value {
    json!({ "create_request": {
        "key": encode(prefix.as_bytes()), "range_end": encode(&range_end(prefix)),
        "start_revision": from.to_string(), "progress_notify": true,
    } })
}

/// The first key behind all that begin with a prefix.
pub(crate) fn range_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    // All keys.
    vec![0]
}

/// Reads the answer of `/v3/kv/range`.
///
/// # Errors
/// It is something else. The text may be long, and quote the answer.
pub fn read_range(text: &[u8]) -> Result<Range, String> {
    read(text)
}

/// Reads one line of the answer of `/v3/watch`.
///
/// # Errors
/// It is something else, or the server says that the watch has failed. The text is as above.
pub fn read_watch(line: &[u8]) -> Result<WatchAnswer, String> {
    read_result(line)
}

/// Reads one line of an answer that is a stream.
pub(crate) fn read_result<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T, String> {
    #[derive(serde::Deserialize)]
    struct Line<T> {
        result: Option<T>,
        error: Option<Failed>,
    }
    #[derive(serde::Deserialize)]
    struct Failed {
        #[serde(default)]
        message: String,
    }
    let line: Line<T> = read(line)?;
    match (line.result, line.error) {
        (Some(result), None) => Ok(result),
        (_, Some(error)) => Err(format!("etcd says \"{}\"", error.message)),
        (None, None) => Err("the answer is not etcd's: it has no result".into()),
    }
}

pub(crate) fn read_transacted(text: &[u8]) -> Result<Transacted, String> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Answer {
        header: Header,
        succeeded: bool,
        #[serde(deserialize_with = "list")]
        responses: Vec<Response>,
    }
    #[derive(serde::Deserialize)]
    struct Response {
        #[serde(alias = "responseRange")]
        response_range: Option<Range>,
    }
    let answer: Answer = read(text)?;
    let ranges = answer.responses.into_iter().filter_map(|response| response.response_range);
    let kvs = ranges.flat_map(|range| range.kvs).collect();
    Ok(Transacted { header: answer.header, succeeded: answer.succeeded, kvs })
}

/// The number and the message of a refusal, if it is one. The message may be long, and have
/// secrets in it.
pub(crate) fn read_refusal(text: &[u8]) -> Option<(i64, String)> {
    if text.len() > MOST_REFUSAL {
        return None;
    }
    let value: Value = serde_json::from_slice(text).ok()?;
    let message = value.get("message").or_else(|| value.get("error"))?.as_str()?;
    Some((value.get("code")?.as_i64()?, message.to_owned()))
}

pub(crate) fn read<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("the answer is not etcd's: {}", json_words(&error)))
}

/// The error of a JSON text: the kind of the value and its place, and never the value itself, which
/// may be a secret or of any length.
pub fn json_words(error: &serde_json::Error) -> String {
    const EXPECTED: &str = ", expected ";
    let text = error.to_string();
    let is_of_value = ["invalid type: ", "invalid value: ", "unknown "].iter().any(|of| text.starts_with(of));
    let quoted = text.find(['"', '`']).filter(|_| is_of_value);
    match quoted.zip(text.rfind(EXPECTED)) {
        Some((from, to)) if from < to => format!("{}{}", text[..from].trim_end(), &text[to..]),
        _ => net::printable(&text, 200),
    }
}

fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    STANDARD.decode(text).map_err(|_| D::Error::custom("a key or a value is not base64"))
}

fn signed<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    integer(from)
}

fn unsigned<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    integer(from)
}

/// A text, or a number where a proxy has made one of it.
fn integer<'de, D: Deserializer<'de>, T: FromStr>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Integer(PhantomData))
}

struct Integer<T>(PhantomData<T>);

impl<T: FromStr> Visitor<'_> for Integer<T> {
    type Value = T;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an integer of 64 bits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_| E::custom("found no integer of 64 bits where one belongs"))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A list of at most [`MOST_ENTRIES`]: an entry takes far more memory than its text.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(Entries(PhantomData))
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = Vec<T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = list.next_element()? {
            if all.len() == MOST_ENTRIES {
                return Err(de::Error::custom("a list of it has too many entries"));
            }
            all.push(entry);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_behind_all_of_its_keys() {
        assert_eq!(range_end("/p/"), b"/p0");
        assert_eq!(range_end(""), [0]);
        assert!(range_end("/\u{10ffff}").as_slice() > "/\u{10ffff}z".as_bytes());
    }

    #[test]
    fn the_error_of_a_text_says_the_kind_and_the_place_of_a_value_alone() {
        let words = |text: &str| json_words(&serde_json::from_str::<Header>(text).expect_err("wrong"));
        let long = "x".repeat(1 << 20);
        for value in
            ["\"hunter2\"", "\"a, expected hunter2\"", "\"hunter2 `, expected\"", &format!("\"{long}\"")]
        {
            let said = words(value);
            let column = value.len();
            assert_eq!(
                said,
                format!("invalid type: string, expected struct Header at line 1 column {column}")
            );
        }
        assert_eq!(words("5"), "invalid type: integer, expected struct Header at line 1 column 1");
        assert!(words("nil").starts_with("expected ident at line 1"), "{}", words("nil"));
        let word = serde_json::from_str::<EventKind>("\"hunter2\"").expect_err("wrong");
        assert!(json_words(&word).starts_with("unknown variant, expected `PUT`"), "{}", json_words(&word));
    }

    #[test]
    fn a_short_text_does_not_become_a_list_without_end() {
        let text = format!("{{\"kvs\":[{}{{}}]}}", "{},".repeat(MOST_ENTRIES));
        assert!(read_range(text.as_bytes()).expect_err("too many").contains("too many entries"));
        let text = format!("{{\"count\":[{}0]}}", "0,".repeat(1000));
        assert!(read_range(text.as_bytes()).expect_err("a list").contains("integer of 64 bits"));
        assert_eq!(read_range(b"{\"count\":7}").map(|range| range.count), Ok(7));
    }
}
