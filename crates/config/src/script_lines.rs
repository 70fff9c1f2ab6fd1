// SPDX-License-Identifier: Apache-2.0
//! The texts of the directives about how scripts come into service, read into a [`Statement`].

use balance::trial::{Rollout, WHOLE};
use balance::units;

use crate::parse::{callee, each_key_once, words};
use crate::statement::Statement;

type Read = Result<Statement, String>;

pub(crate) fn rollout(_: &str, args: &str) -> Read {
    const EXAMPLE: &str = "for example LuaBalancerRollout percent=10% for=60s errors=1%";
    let all = words(args)?;
    let mut rollout = Rollout::default();
    match all.as_slice() {
        [] => return Err(format!("expected off, or percent=, for= and errors=, {EXAMPLE}")),
        [word] if word.eq_ignore_ascii_case("off") => return Ok(Statement::Rollout(None)),
        _ => {}
    }
    each_key_once(&all, EXAMPLE)?;
    for word in &all {
        match word.split_once('=') {
            Some(("percent", value)) => rollout.share = share("percent", value)?,
            Some(("errors", value)) => rollout.errors = percentage("errors", value)?,
            Some(("for", value)) => rollout.for_ms = duration(value)?,
            _ => {
                return Err(format!(
                    "unknown key in '{word}': expected off, or percent=, for= and errors=, {EXAMPLE}"
                ));
            }
        }
    }
    Ok(Statement::Rollout(Some(rollout)))
}

pub(crate) fn shadow(directive: &str, args: &str) -> Read {
    const EXAMPLE: &str = "for example LuaBalancerShadow lua/next.lua select sample=10%";
    let (keys, words): (Vec<String>, Vec<String>) =
        words(args)?.into_iter().partition(|word| word.contains('='));
    let mut sample = None;
    for word in &keys {
        match word.split_once('=') {
            Some(("sample", _)) if sample.is_some() => {
                return Err(format!("sample= is given twice, {EXAMPLE}"));
            }
            Some(("sample", value)) => sample = Some(percentage("sample", value)?),
            _ => return Err(format!("unknown key in '{word}': expected sample=, {EXAMPLE}")),
        }
    }
    Ok(Statement::Shadow { callee: callee(directive, &words, "select")?, share: sample.unwrap_or(WHOLE) })
}

fn duration(value: &str) -> Result<u64, String> {
    match units::duration_ms(value).map_err(|error| format!("for=: {error}"))? {
        ms @ 1000.. => Ok(ms),
        _ => Err(format!("for={value} is too short for a trial: expected at least 1s")),
    }
}

/// A share above nothing.
fn share(key: &str, value: &str) -> Result<u32, String> {
    match percentage(key, value)? {
        0 => Err(format!("{key}={value} gives nobody a share: expected a percentage above 0, as 10%")),
        share => Ok(share),
    }
}

/// Hundredths of a percent: a number with at most two decimals, and perhaps a percent sign.
pub(crate) fn percentage(key: &str, value: &str) -> Result<u32, String> {
    let number = value.strip_suffix('%').unwrap_or(value);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| units::digits_only(text).and_then(|number| u32::try_from(number).ok());
    let hundredths = match part.len() {
        1 => digits(part).map(|tenths| tenths * 10),
        2 => digits(part),
        _ => None,
    };
    let found = digits(whole).zip(hundredths);
    let found = found.and_then(|(whole, part)| whole.checked_mul(100)?.checked_add(part));
    found.filter(|found| *found <= WHOLE).ok_or_else(|| {
        format!("{key}={value} is not a percentage: expected a number from 0 to 100, as 10% or 0.5%")
    })
}
