// SPDX-License-Identifier: Apache-2.0
//! The conditions that make a view of a pool.

use balance::api::ViewStep;
use mlua::{LuaString, Table, Value};

use super::member::MemberHandle;

/// Longest text that a view is made by, in bytes.
const MAX_CONDITION: usize = 4096;

/// Members or names that a view is made by, at most.
const MOST_NAMES: usize = 20_000;

/// Conditions of a view, at most.
const MOST_CONDITIONS: usize = 256;

/// Bytes of all texts that a view is made by, at most.
pub(super) const MAX_VIEW: usize = 1 << 20;

pub(super) fn bytes_of(step: &ViewStep) -> usize {
    match step {
        ViewStep::Where(pairs) => pairs.iter().map(|(key, value)| key.len() + value.len()).sum(),
        ViewStep::Except(names) | ViewStep::Only(names) => names.iter().map(String::len).sum(),
    }
}

/// A text that a member could have somewhere; None for one that none has, whatever a client has
/// sent.
fn possible(text: &LuaString) -> Option<String> {
    let bytes = text.as_bytes();
    let fits = bytes.len() <= MAX_CONDITION;
    std::str::from_utf8(&bytes).ok().filter(|_| fits).map(str::to_owned)
}

/// Names out of members, names, and lists of them. Without those that no member can have; whether
/// there were any is the answer.
pub(super) fn names(values: &[Value], inside_list: bool, out: &mut Vec<String>) -> mlua::Result<bool> {
    let mut all = true;
    for value in values {
        if out.len() > MOST_NAMES {
            return Err(mlua::Error::runtime(format!("more than {MOST_NAMES} members or names")));
        }
        if out.len() % 256 == 255 && out.iter().map(String::len).sum::<usize>() > MAX_VIEW {
            return Err(mlua::Error::runtime(format!("more than {} KiB of names", MAX_VIEW >> 10)));
        }
        match value {
            Value::String(name) => match possible(name) {
                Some(name) => out.push(name),
                None => all = false,
            },
            Value::UserData(object) => out.push(object.borrow::<MemberHandle>()?.member.spec.name.clone()),
            Value::Table(_) if inside_list => {
                return Err(mlua::Error::runtime(
                    "expected members or names of members, found a list in a list",
                ));
            }
            Value::Table(list) => {
                for inner in list.sequence_values::<Value>() {
                    all &= names(&[inner?], true, out)?;
                }
            }
            Value::Nil => {}
            other => {
                return Err(mlua::Error::runtime(format!(
                    "expected members or names of members, found a {}",
                    other.type_name()
                )));
            }
        }
    }
    Ok(all)
}

/// The properties that members of a view must have; one that no member can have leaves nobody.
pub(super) fn conditions(table: &Table) -> mlua::Result<ViewStep> {
    let mut pairs = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if pairs.len() >= MOST_CONDITIONS {
            return Err(mlua::Error::runtime(format!("where: more than {MOST_CONDITIONS} conditions")));
        }
        let (Value::String(key), false) = (&key, matches!(value, Value::Table(_) | Value::UserData(_)))
        else {
            return Err(mlua::Error::runtime(
                "where: expected text by name, for example where{zone = \"eu\"}",
            ));
        };
        let wanted = match &value {
            Value::String(text) => possible(text),
            other => Some(other.to_string()?),
        };
        match possible(key).zip(wanted) {
            Some(pair) => pairs.push(pair),
            None => return Ok(ViewStep::Only(Vec::new())),
        }
    }
    pairs.sort();
    Ok(ViewStep::Where(pairs))
}
