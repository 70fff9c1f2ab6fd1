// SPDX-License-Identifier: Apache-2.0
//! The connection keys: BalancerMember's names, default units and ranges.

use crate::abilities;
use crate::error::ParseError;
use crate::member::ConnectionSettings;
use crate::units::{self, Unit};

use super::values::number;

/// Largest C int.
const MAX_INT: u64 = i32::MAX as u64;
/// Longest secret and upgrade protocol, in bytes: mod_proxy's arrays of 64 and 16 count the end
/// mark.
const MAX_SECRET: usize = 63;
const MAX_UPGRADE: usize = 15;

/// Sets a key, in lower case; false when it is not one of these.
pub(super) fn set(to: &mut ConnectionSettings, key: &str, value: &str) -> Result<bool, ParseError> {
    abilities::declared().check_key(key)?;
    match key {
        "max" => to.max = Some(number(key, value, 0, MAX_INT)? as u32),
        "smax" => to.smax = Some(number(key, value, 0, MAX_INT)? as u32),
        "min" => to.min = Some(number(key, value, 0, MAX_INT)? as u32),
        "ttl" => to.ttl_ms = Some(duration(key, value, Unit::Seconds, 1000)?),
        "acquire" => to.acquire_ms = Some(duration(key, value, Unit::Milliseconds, 1)?),
        "timeout" => to.timeout_ms = Some(duration(key, value, Unit::Seconds, 1)?),
        "connectiontimeout" => to.connectiontimeout_ms = Some(duration(key, value, Unit::Seconds, 1)?),
        "ping" => to.ping_ms = Some(duration(key, value, Unit::Seconds, 1)?),
        "keepalive" => to.keepalive = Some(switch(key, value)?),
        "disablereuse" => to.disablereuse = Some(switch(key, value)?),
        "enablereuse" => to.disablereuse = Some(!switch(key, value)?),
        "flushpackets" => to.flushpackets = Some(flushpackets(key, value)?),
        "flushwait" => to.flushwait_ms = Some(flushwait(key, value)?),
        "iobuffersize" => to.iobuffersize = Some(buffer(key, value, 512)?),
        "receivebuffersize" => to.receivebuffersize = Some(buffer(key, value, 512)?),
        "responsefieldsize" => to.responsefieldsize = Some(buffer(key, value, 1)?),
        "secret" => to.secret = Some(text(key, value, MAX_SECRET)?),
        "upgrade" => to.upgrade = Some(upgrade(key, value)?),
        // httpd has one provider of that name, and no other.
        "flusher" if value == "flush" => {}
        "flusher" => return Err(ParseError::value(key, value, "flush, or no such key")),
        "addressttl" => to.addressttl_s = address_ttl(key, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Hands every key that is set to `put`.
pub(super) fn write(from: &ConnectionSettings, put: &mut impl FnMut(&str, &str)) {
    let numbers = [
        ("max", from.max),
        ("smax", from.smax),
        ("min", from.min),
        ("iobuffersize", from.iobuffersize),
        ("receivebuffersize", from.receivebuffersize),
        ("responsefieldsize", from.responsefieldsize),
        ("addressttl", from.addressttl_s),
    ];
    for (key, value) in numbers {
        if let Some(number) = value {
            put(key, &number.to_string());
        }
    }
    let durations = [
        ("ttl", from.ttl_ms),
        ("acquire", from.acquire_ms),
        ("timeout", from.timeout_ms),
        ("connectiontimeout", from.connectiontimeout_ms),
        ("ping", from.ping_ms),
        ("flushwait", from.flushwait_ms),
    ];
    for (key, value) in durations {
        if let Some(ms) = value {
            put(key, &units::write_ms(ms));
        }
    }
    for (key, value) in [("keepalive", from.keepalive), ("disablereuse", from.disablereuse)] {
        if let Some(on) = value {
            put(key, if on { "on" } else { "off" });
        }
    }
    if let Some(mode) = from.flushpackets {
        put("flushpackets", ["off", "on", "auto"].get(usize::from(mode)).unwrap_or(&"off"));
    }
    for (key, value) in [("secret", &from.secret), ("upgrade", &from.upgrade)] {
        if let Some(text) = value {
            put(key, text);
        }
    }
}

fn duration(key: &str, value: &str, unit: Unit, least_ms: u64) -> Result<u64, ParseError> {
    let ms = units::duration_ms_in(value, unit).ok().filter(|ms| *ms >= least_ms);
    let bare = if unit == Unit::Seconds { "seconds" } else { "milliseconds" };
    ms.ok_or_else(|| {
        let least = units::write_ms(least_ms);
        ParseError::value(
            key,
            value,
            format!("at least {least}, for example 500ms or 5s (a bare number is {bare})"),
        )
    })
}

fn flushwait(key: &str, value: &str) -> Result<u64, ParseError> {
    let ms = units::duration_ms_in(value, Unit::Milliseconds).ok().filter(|ms| *ms <= 1000);
    ms.ok_or_else(|| ParseError::value(key, value, "0 to 1000 milliseconds"))
}

fn switch(key: &str, value: &str) -> Result<bool, ParseError> {
    units::switch(value).ok_or_else(|| ParseError::value(key, value, "on or off"))
}

fn flushpackets(key: &str, value: &str) -> Result<u8, ParseError> {
    match units::switch(value) {
        Some(on) => Ok(u8::from(on)),
        None if value.eq_ignore_ascii_case("auto") => Ok(2),
        None => Err(ParseError::value(key, value, "on, off or auto")),
    }
}

fn buffer(key: &str, value: &str, least: u64) -> Result<u32, ParseError> {
    let size = units::size(value).ok().filter(|size| *size == 0 || (least..=MAX_INT).contains(size));
    size.map(|size| size as u32).ok_or_else(|| {
        ParseError::value(
            key,
            value,
            format!("0 for the default, or at least {least} bytes, for example 64K"),
        )
    })
}

fn text(key: &str, value: &str, most: usize) -> Result<String, ParseError> {
    if value.is_empty() || value.len() > most {
        return Err(ParseError::value(key, value, format!("1 to {most} bytes")));
    }
    Ok(value.to_owned())
}

/// mod_proxy writes `ANY` as `*`.
fn upgrade(key: &str, value: &str) -> Result<String, ParseError> {
    if value.eq_ignore_ascii_case("any") { Ok("*".into()) } else { text(key, value, MAX_UPGRADE) }
}

fn address_ttl(key: &str, value: &str) -> Result<Option<u32>, ParseError> {
    if value == "-1" {
        return Ok(None);
    }
    let ms = units::duration_ms(value).ok().filter(|ms| ms.is_multiple_of(1000) && ms / 1000 <= MAX_INT);
    ms.map(|ms| Some((ms / 1000) as u32))
        .ok_or_else(|| ParseError::value(key, value, "-1 or whole seconds, for example 60s"))
}
