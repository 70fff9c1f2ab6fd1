// SPDX-License-Identifier: Apache-2.0
//! The text of `LuaBalancerDecisions`, read into a [`Statement`].

use balance::units;

use crate::parse::{each_key_once, words};
use crate::sampling::Sampling;
use crate::script_lines::percentage;
use crate::statement::Statement;

const MOST: u64 = 65_536;

pub(crate) fn decisions(_: &str, args: &str) -> Result<Statement, String> {
    const EXAMPLE: &str = "for example LuaBalancerDecisions size=512 sample=1% always=errors,retries";
    let all = words(args)?;
    let mut sampling = Sampling::default();
    match all.as_slice() {
        [] => return Err(format!("expected off, or size=, sample= and always=, {EXAMPLE}")),
        [word] if word.eq_ignore_ascii_case("off") => return Ok(Statement::Decisions(Sampling::OFF)),
        _ => {}
    }
    each_key_once(&all, EXAMPLE)?;
    for word in &all {
        match word.split_once('=') {
            Some(("size", value)) => sampling.size = size(value)?,
            Some(("sample", value)) => sampling.share = percentage("sample", value)?,
            Some(("always", value)) => (sampling.errors, sampling.retries) = always(value)?,
            _ => {
                return Err(format!(
                    "unknown key in '{word}': expected off, or size=, sample= and always=, {EXAMPLE}"
                ));
            }
        }
    }
    Ok(Statement::Decisions(sampling))
}

fn size(value: &str) -> Result<u32, String> {
    let found = units::digits_only(value).filter(|size| (1..=MOST).contains(size));
    let found = found.and_then(|size| u32::try_from(size).ok());
    found.ok_or_else(|| format!("size={value}: expected a number of decisions from 1 to {MOST}"))
}

/// Errors, and retries.
fn always(value: &str) -> Result<(bool, bool), String> {
    let (mut errors, mut retries) = (false, false);
    for word in value.split(',') {
        match word {
            "errors" => errors = true,
            "retries" => retries = true,
            "none" if value == "none" => {}
            other => {
                return Err(format!(
                    "always={value}: expected errors, retries, both with a comma, or none, found '{other}'"
                ));
            }
        }
    }
    Ok((errors, retries))
}
