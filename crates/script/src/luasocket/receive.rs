// SPDX-License-Identifier: Apache-2.0
//! The wish of a socket's `receive`, and the bytes that it takes out of those that have come.

use mlua::Value;

/// Most bytes that one receive gathers.
pub(super) const MOST: usize = 1 << 20;

/// The wish of a `receive`.
pub(super) enum Wanted {
    Line,
    Bytes(usize),
    All,
}

impl Wanted {
    pub(super) fn parse(pattern: &Value) -> mlua::Result<Self> {
        Ok(match pattern {
            Value::Nil => Wanted::Line,
            Value::Integer(count) => Wanted::Bytes(usize::try_from(*count).unwrap_or(0).min(MOST)),
            Value::String(text) if text.to_string_lossy().trim_start_matches('*').starts_with('a') => {
                Wanted::All
            }
            Value::String(_) => Wanted::Line,
            other => {
                let found = other.type_name();
                return Err(mlua::Error::runtime(format!(
                    "receive: expected \"*l\", \"*a\" or a number, found a {found}"
                )));
            }
        })
    }

    /// Takes what is wanted out of the buffer, if it is all there.
    pub(super) fn take(&self, buffer: &mut Vec<u8>, closed: bool) -> Option<Vec<u8>> {
        match self {
            Wanted::Bytes(count) => (buffer.len() >= *count).then(|| buffer.drain(..count).collect()),
            Wanted::All => closed.then(|| std::mem::take(buffer)),
            Wanted::Line => {
                let end = buffer.iter().position(|byte| *byte == b'\n')?;
                let line: Vec<u8> = buffer.drain(..=end).collect();
                Some(line.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
            }
        }
    }
}
