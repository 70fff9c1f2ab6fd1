// SPDX-License-Identifier: Apache-2.0
//! Arguments of functions that make a job wait, within their bounds.

use std::time::Duration;

use mlua::Value;

/// How long `lb.http` and `lb.tcp` wait unless told otherwise.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Longest `timeout=`; the job's own limit is shorter.
pub(crate) const LONGEST: f64 = 86_400.0;
/// Most bytes of a body, or of one `send`.
pub(crate) const MOST_TEXT: usize = 4 << 20;

/// A host and a port as scripts give them.
pub(crate) fn place(name: &str, host: &Value, port: &Value) -> mlua::Result<(String, u16)> {
    let wrong = |what: &str, found: &Value| {
        let found = found.to_string().unwrap_or_else(|_| found.type_name().to_owned());
        mlua::Error::runtime(format!("{name}: expected {what}, found {found}"))
    };
    let text = match host {
        Value::String(text) => text.to_str().ok().map(|text| text.to_owned()),
        _ => None,
    };
    let good = |text: &String| {
        !text.is_empty() && text.len() <= 255 && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let text = text.filter(good).ok_or_else(|| wrong("a host name or address", host))?;
    let text = text.trim_start_matches('[').trim_end_matches(']').to_owned();
    let number = match port {
        Value::Integer(port) => u16::try_from(*port).ok(),
        Value::Number(port) if port.fract() == 0.0 && (1.0..=65_535.0).contains(port) => Some(*port as u16),
        Value::String(port) => port.to_str().ok().and_then(|port| port.parse().ok()),
        _ => None,
    };
    let number = number.filter(|port| *port > 0).ok_or_else(|| wrong("a port from 1 to 65535", port))?;
    Ok((text, number))
}

pub(super) fn seconds(name: &str, value: &Value) -> mlua::Result<Option<Duration>> {
    let number = match value {
        Value::Nil => return Ok(None),
        Value::Integer(number) => *number as f64,
        Value::Number(number) => *number,
        _ => f64::NAN,
    };
    if !(0.001..=LONGEST).contains(&number) {
        let found = value.to_string().unwrap_or_else(|_| value.type_name().to_owned());
        return Err(mlua::Error::runtime(format!(
            "{name}: expected a timeout in seconds, from 0.001 to {LONGEST}, found {found}"
        )));
    }
    Ok(Some(Duration::from_secs_f64(number)))
}
