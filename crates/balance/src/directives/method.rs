// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerMethod`.

use super::values::{self, Line};
use crate::error::{ParseError, unknown};
use crate::settings::Method;
use crate::units::digits_only;

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerMethod";
const NAMES: [&str; 11] = [
    "round_robin",
    "random",
    "least_connections",
    "power_of_two",
    "least_latency",
    "first",
    "consistent_hash",
    "maglev",
    "rendezvous",
    "hash",
    "lua",
];
/// Keys behind a method's name.
pub const KEYS: &[&str] = &["key", "balance_factor"];
const FUNCTION: &str = "select";

impl Method {
    /// The method of this name, with nothing else said. `lua` has no script yet.
    pub fn from_name(name: &str) -> Option<Method> {
        Some(match name {
            "round_robin" => Method::RoundRobin,
            "random" => Method::Random,
            "least_connections" => Method::LeastConnections,
            "power_of_two" => Method::PowerOfTwo,
            "least_latency" => Method::LeastLatency,
            "first" => Method::First,
            "consistent_hash" => Method::ConsistentHash { balance_factor: None },
            "maglev" => Method::Maglev,
            "rendezvous" => Method::Rendezvous,
            "hash" => Method::Hash,
            "lua" => Method::Lua { script: String::new(), function: FUNCTION.to_owned() },
            _ => return None,
        })
    }

    /// Its name in the configuration and in scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Method::RoundRobin => "round_robin",
            Method::Random => "random",
            Method::LeastConnections => "least_connections",
            Method::PowerOfTwo => "power_of_two",
            Method::LeastLatency => "least_latency",
            Method::First => "first",
            Method::ConsistentHash { .. } => "consistent_hash",
            Method::Maglev => "maglev",
            Method::Rendezvous => "rendezvous",
            Method::Hash => "hash",
            Method::Lua { .. } => "lua",
        }
    }

    fn hashes(&self) -> bool {
        matches!(self, Method::ConsistentHash { .. } | Method::Maglev | Method::Rendezvous | Method::Hash)
    }
}

/// Reads the arguments. `own`: text that the module wrote itself, where a key may stand by any
/// method (a script may give one and change the method later).
pub(super) fn read(words: &[String], own: bool) -> Result<(Method, Option<String>), ParseError> {
    let missing = || ParseError::Missing(format!("a method: one of {}", NAMES.join(", ")));
    let (name, mut rest) = words.split_first().ok_or_else(missing)?;
    let mut method =
        Method::from_name(name).ok_or_else(|| ParseError::word(name, unknown("a method", name, &NAMES)))?;
    if let Method::Lua { script, function } = &mut method {
        let (path, more) = rest.split_first().ok_or_else(|| {
            ParseError::Missing(
                "a script after lua, for example LuaBalancerMethod lua lua/pick.lua select".into(),
            )
        })?;
        *script = values::line("script", path)?;
        rest = more;
        if let Some((named, more)) = rest.split_first().filter(|(word, _)| !word.contains('=')) {
            *function = values::function("function", named)?;
            rest = more;
        }
    }
    let (mut key, mut seen) = (None, Vec::new());
    for word in rest {
        let (name, value) = values::pair(word)?;
        values::once(&mut seen, name)?;
        match name {
            "key" if own || method.hashes() => key = Some(values::line(name, value)?),
            "balance_factor" if matches!(method, Method::ConsistentHash { .. }) => {
                set_balance_factor(&mut method, value)?;
            }
            "key" => {
                let expected = "a hash method with it: consistent_hash, maglev, rendezvous or hash";
                return Err(ParseError::word(word, expected));
            }
            "balance_factor" => {
                return Err(ParseError::word(word, "consistent_hash with it, and no other method"));
            }
            _ => return Err(ParseError::unknown_key(name, KEYS)),
        }
    }
    Ok((method, key))
}

pub(super) fn set_balance_factor(method: &mut Method, value: &str) -> Result<(), ParseError> {
    let Method::ConsistentHash { balance_factor } = method else {
        return Err(ParseError::word("balance_factor", "method consistent_hash before it"));
    };
    let (whole, part) = value.split_once('.').unwrap_or((value, "0"));
    let plain = digits_only(whole).is_some() && !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let factor = value.parse::<f64>().ok().filter(|factor| plain && *factor > 1.0 && *factor <= 1000.0);
    let wrong =
        || ParseError::value("balance_factor", value, "a number above 1 and at most 1000, for example 1.25");
    *balance_factor = Some(factor.ok_or_else(wrong)?);
    Ok(())
}

pub(super) fn write(method: &Method, key: Option<&str>) -> Option<String> {
    let mut line = Line::new(DIRECTIVE).word(method.name());
    match method {
        Method::Lua { script, function } => {
            line = line.word(script);
            if function != FUNCTION {
                line = line.word(function);
            }
        }
        Method::ConsistentHash { balance_factor: Some(factor) } => {
            line.pair("balance_factor", &factor.to_string());
        }
        _ => {}
    }
    line.option("key", key);
    (*method != Method::default() || key.is_some()).then(|| line.done())
}
