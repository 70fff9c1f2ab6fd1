// SPDX-License-Identifier: Apache-2.0
//! Errors as RFC 9457 has them.

use balance::ParseError;
use balance::api::ChangeError;
use serde::Serialize;
use serde_json::Value;

use crate::types::Response;

/// Why there is no other answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of error it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// The fault.
    pub detail: String,
    /// The key that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The accepted form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    #[serde(skip)]
    pub header: Option<Box<(&'static str, String)>>,
}

impl Problem {
    pub(crate) fn new(status: u16, detail: impl Into<String>) -> Self {
        let (kind, title) = ("about:blank", phrase(status));
        Problem { kind, title, status, detail: detail.into(), field: None, expected: None, header: None }
    }

    /// A value that cannot be taken: 422.
    pub(crate) fn value(field: &str, found: &str, expected: impl Into<String>) -> Self {
        let expected = expected.into();
        let detail = format!("{}: found {}, expected {expected}", shown(field), shown(found));
        Problem { field: Some(shown(field)), expected: Some(expected), ..Problem::new(422, detail) }
    }

    /// A value of JSON that cannot be taken: 422.
    pub(crate) fn json(field: &str, found: &Value, expected: impl Into<String>) -> Self {
        let found = match found {
            Value::Object(_) => "an object".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            plain => plain.to_string(),
        };
        Problem::value(field, &found, expected)
    }

    /// The same, about a part of the element `at` of a list.
    pub(crate) fn of_element(mut self, at: usize) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("[{at}].{field}"),
            None => format!("[{at}]"),
        });
        self.detail = format!("element {at}: {}", self.detail);
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some(Box::new((name, value.into())));
        self
    }

    pub(crate) fn response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut headers = vec![("Content-Type", "application/problem+json".to_owned())];
        headers.extend(self.header.map(|header| *header));
        Response { status: self.status, headers, body }
    }
}

impl From<ParseError> for Problem {
    fn from(error: ParseError) -> Self {
        let detail = error.to_string();
        let (field, expected) = match error {
            // `why` begins with what is expected, and may end with what was found.
            ParseError::Url { why, .. } => {
                let expected = why.split_once("expected ").map_or(&*why, |(_, expected)| expected);
                let expected = expected.split(", found ").next().unwrap_or_default();
                (Some("url".to_owned()), Some(expected.to_owned()))
            }
            ParseError::Value { key, expected, .. } => (Some(key), Some(expected)),
            ParseError::Word { found, expected } => (Some(found), Some(expected)),
            ParseError::UnknownKey { found, hint } => (Some(found), Some(hint)),
            ParseError::Twice(second) | ParseError::Duplicate { second, .. } => {
                (Some(second), Some("each key once".to_owned()))
            }
            ParseError::Missing(expected) => (None, Some(expected)),
            _ => (None, None),
        };
        Problem { field, expected, ..Problem::new(422, detail) }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let status = match error {
            ChangeError::Full { .. } => 507,
            ChangeError::Duplicate { .. } => 409,
            ChangeError::UnknownMember { .. } | ChangeError::Removed | ChangeError::UnknownPool => 404,
            _ => 422,
        };
        Problem::new(status, error.to_string())
    }
}

/// Longest piece of what came that is repeated, in characters.
const SHOWN: usize = 60;

/// The found text, as it may stand in a message: short, without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

/// A status in words.
fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        424 => "Failed Dependency",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Internal Server Error",
    }
}
