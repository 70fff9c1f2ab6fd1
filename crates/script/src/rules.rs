// SPDX-License-Identifier: Apache-2.0
//! The parts of a request that scripts may set, whatever server it is in.

use crate::host::{Field, Number, RequestTable};

/// Text may not hold what ends or forges a line of the protocol.
///
/// # Errors
/// Names the byte.
pub fn check_text(what: &str, value: &[u8], forbidden: &[u8]) -> Result<(), String> {
    match value.iter().find(|byte| forbidden.contains(byte)) {
        None => Ok(()),
        Some(byte) => {
            Err(format!("{what} may not hold the byte {byte:#04x} (line ends and NUL are refused)"))
        }
    }
}

/// Key and value of a table may not hold what ends or forges a line of the protocol, where the
/// table has headers.
///
/// # Errors
/// Says what is wrong with which.
pub fn check_pair(table: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String> {
    let is_header = !matches!(table, RequestTable::Notes | RequestTable::SubprocessEnv);
    check_text("the key", key, if is_header { b"\r\n\0: " } else { b"\0" })?;
    if key.is_empty() {
        return Err("an empty key".into());
    }
    check_text("the value", value, if is_header { b"\r\n\0" } else { b"\0" })
}

/// Whether a field may have this value.
///
/// # Errors
/// The field may not be set, or not to this.
pub fn check_field(field: Field, value: Option<&[u8]>) -> Result<(), String> {
    if let Some(value) = value {
        // A path is decoded text, whatever the client has encoded, and gets encoded again.
        let is_path = matches!(field, Field::Uri | Field::Filename);
        check_text("this field", value, if is_path { b"\0" } else { b"\r\n\0" })?;
    }
    match (field, value) {
        (Field::Uri, Some(value)) if value.starts_with(b"/") || value == b"*" => Ok(()),
        (Field::Uri, _) => Err("r.uri has to begin with '/'".into()),
        (Field::Args | Field::Filename | Field::Handler | Field::User | Field::ContentType, _) => Ok(()),
        (other, _) => Err(format!("{other:?} may not be set")),
    }
}

/// Whether a number may have this value; gives it as httpd has it.
///
/// # Errors
/// The field may not be set, or not to this.
pub fn check_number(field: Number, value: i64) -> Result<i32, String> {
    match (field, i32::try_from(value)) {
        (Number::Status, Ok(value)) if (200..=599).contains(&value) => Ok(value),
        (Number::Status, _) => Err(format!("r.status = {value}: expected a status from 200 to 599")),
        // A request that is taken for an answer has a body until its client goes away.
        (Number::Proxyreq, Ok(value)) if (0..=2).contains(&value) => Ok(value),
        (Number::Proxyreq, _) => Err(format!(
            "r.proxyreq = {value}: expected apache2.PROXYREQ_NONE, PROXYREQ_PROXY or PROXYREQ_REVERSE"
        )),
        (other, _) => Err(format!("{other:?} may not be set")),
    }
}
