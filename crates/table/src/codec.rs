// SPDX-License-Identifier: Apache-2.0
//! Members and settings as the text that is kept in the chunks: the directives' own syntax.

use balance::api::ChangeError;
use balance::member::MemberSpec;
use balance::order::Order;
use balance::settings::PoolSettings;

/// The line of a member. A line that would not be read back the same is refused here.
pub(crate) fn line(spec: &MemberSpec) -> Result<String, ChangeError> {
    let line = spec.to_line();
    match MemberSpec::from_line(&line) {
        Ok(read) if read == *spec => Ok(line),
        Ok(_) => Err(ChangeError::Invalid(format!("the member {} cannot be kept: {line}", spec.name))),
        Err(error) => Err(ChangeError::Invalid(format!("the member {} cannot be kept: {error}", spec.name))),
    }
}

/// A member's text: its line, and behind a line's end what was ordered of it.
fn parts(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&text[..end], Some(&text[end + 1..])),
        None => (text, None),
    }
}

/// The member of a text, with what was ordered in place of what its line says; None when the line
/// is damaged.
pub(crate) fn member(text: &[u8]) -> Option<MemberSpec> {
    let mut spec = configured(text)?;
    if let Some(order) = order(text) {
        order.overlay(&mut spec);
    }
    Some(spec)
}

/// The member of a text, as its line has it.
pub(crate) fn configured(text: &[u8]) -> Option<MemberSpec> {
    let (line, _) = parts(text);
    MemberSpec::from_line(std::str::from_utf8(line).ok()?).ok()
}

/// The order in a member's text.
pub(crate) fn order(text: &[u8]) -> Option<Order> {
    Order::from_text(std::str::from_utf8(parts(text).1?).ok()?).ok()
}

/// The same text with another order.
pub(crate) fn with_order(text: &[u8], order: Option<&str>) -> Vec<u8> {
    let mut text = parts(text).0.to_vec();
    if let Some(order) = order {
        text.push(b'\n');
        text.extend_from_slice(order.as_bytes());
    }
    text
}

/// Another line, with the order that stands in the text before.
pub(crate) fn with_line(line: &[u8], before: &[u8]) -> Vec<u8> {
    let mut text = line.to_vec();
    if let Some(order) = parts(before).1 {
        text.push(b'\n');
        text.extend_from_slice(order);
    }
    text
}

/// The same text with the order that stands in another one.
pub(crate) fn with_order_of(text: &[u8], other: &[u8]) -> Vec<u8> {
    with_line(parts(text).0, other)
}

/// The text of a pool's settings.
pub(crate) fn text(settings: &PoolSettings) -> Result<String, ChangeError> {
    let text = settings.to_text();
    match PoolSettings::from_text(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(ChangeError::Invalid(format!("the pool's settings cannot be kept: {error}"))),
    }
}

/// The settings of a text; None when it is damaged.
pub(crate) fn settings(text: &[u8]) -> Option<PoolSettings> {
    PoolSettings::from_text(std::str::from_utf8(text).ok()?).ok()
}
