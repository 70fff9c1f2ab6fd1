// SPDX-License-Identifier: Apache-2.0
//! Values of a member's keys, with errors that name the key.

use crate::error::ParseError;
use crate::member::MAX_NAME;
use crate::names::is_dots;
use crate::units;
use crate::url::MAX_MEMBER_NAME;

/// Longest value of a zone or a meta key, in bytes.
pub const MAX_VALUE: usize = 1024;

/// A whole number in a range.
pub(super) fn number(key: &str, value: &str, least: u64, most: u64) -> Result<u64, ParseError> {
    let number = units::digits_only(value).filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| ParseError::value(key, value, format!("a number of {least} to {most}")))
}

/// A member's name.
pub(super) fn check_name(key: &str, value: &str) -> Result<String, ParseError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.:[]@~".contains(&b);
    if value.is_empty() || value.len() > MAX_MEMBER_NAME || !value.bytes().all(good) {
        return Err(ParseError::value(
            key,
            value,
            format!("1 to {MAX_MEMBER_NAME} letters, digits and _ - . : [ ] @ ~, for example name=app1"),
        ));
    }
    if is_dots(value) {
        return Err(ParseError::value(key, value, "a name that a URL can have, for example name=app1"));
    }
    Ok(value.to_owned())
}

/// Routes stand in cookies and URLs, so nothing that ends those.
pub(super) fn check_route(key: &str, value: &str) -> Result<String, ParseError> {
    if value.is_empty()
        || value.len() > MAX_NAME
        || value.contains(|c: char| c.is_whitespace() || ";,\"".contains(c))
    {
        let expected = format!(
            "1 to {MAX_NAME} bytes without blanks, commas, semicolons and quotes, for example {key}=app1"
        );
        return Err(ParseError::value(key, value, expected));
    }
    Ok(value.to_owned())
}

/// Text that is not empty.
pub(super) fn check_text(key: &str, value: &str) -> Result<String, ParseError> {
    if value.is_empty() || value.len() > MAX_VALUE {
        return Err(ParseError::value(key, value, format!("1 to {MAX_VALUE} bytes")));
    }
    Ok(value.to_owned())
}
