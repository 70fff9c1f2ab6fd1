// SPDX-License-Identifier: Apache-2.0
//! The document as text, with a checksum in its last line but one.

use serde_json::Value;

use crate::check;
use crate::document::StateDocument;

/// The meaning of the keys in documents written here.
pub const FORMAT: u32 = 1;
/// Longest text that is read.
pub const MAX_BYTES: usize = 64 << 20;

const BEFORE: &str = ",\n  \"checksum\": \"crc32:";
const AFTER: &str = "\"\n}\n";
/// Digits of the checksum.
const DIGITS: usize = 8;

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`MAX_BYTES`].
    #[error("it has more than 64 MiB")]
    TooLong,
    /// The checksum is not where it should be.
    #[error("it does not end with a checksum: it is not whole, or no state file")]
    NoChecksum,
    /// Another text has this checksum.
    #[error("its checksum is {found}, that of its text is {expected}")]
    Checksum {
        /// As written.
        found: String,
        /// The checksum of the text.
        expected: String,
    },
    /// It is not JSON of this shape.
    #[error("it cannot be read: {0}")]
    Json(String),
    /// Its keys mean something else.
    #[error("it is of format {0}, and this version reads format {FORMAT}")]
    Format(u32),
    /// A value is not what it says.
    #[error("{0}")]
    Value(String),
}

/// The text of a document.
pub fn write(document: &StateDocument) -> String {
    // Nothing in a document can fail to be written.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.truncate(text.trim_end_matches("\n}").len());
    let sum = checksum(&text);
    text.push_str(BEFORE);
    text.push_str(&sum);
    text.push_str(AFTER);
    text
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

/// Reads what [`write()`] wrote, as something that anybody may have changed.
///
/// # Errors
/// It is not such a text, or says something that nobody could have ordered.
pub fn read(bytes: &[u8]) -> Result<StateDocument, StateError> {
    if bytes.len() > MAX_BYTES {
        return Err(StateError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| StateError::Json(error.to_string()))?;
    if text.trim().is_empty() {
        return Err(StateError::Empty);
    }
    let body = text.strip_suffix(AFTER).ok_or(StateError::NoChecksum)?;
    let (body, found) =
        body.split_at_checked(body.len().saturating_sub(DIGITS)).ok_or(StateError::NoChecksum)?;
    let body = body.strip_suffix(BEFORE).ok_or(StateError::NoChecksum)?;
    let expected = checksum(body);
    if found != expected {
        return Err(StateError::Checksum { found: found.escape_debug().to_string(), expected });
    }
    let document: StateDocument =
        serde_json::from_str(text).map_err(|error| StateError::Json(error.to_string()))?;
    if document.format != FORMAT {
        return Err(StateError::Format(document.format));
    }
    check::document(&document).map_err(StateError::Value)?;
    Ok(document)
}

/// The document for people, without secrets.
pub fn shown(document: &StateDocument) -> Value {
    let mut clean = document.clone();
    let members = clean.pools.iter_mut().flat_map(|pool| &mut pool.members);
    members.filter_map(|member| member.added.as_mut()).for_each(|added| added.secret = None);
    serde_json::to_value(&clean).unwrap_or_default()
}
