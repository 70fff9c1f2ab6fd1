// SPDX-License-Identifier: Apache-2.0
//! Pools and members that a tool's own Lua describes: by the reader of `lb.define_pool`.

use balance::fit;
use balance::member::MemberSpec;
use mlua::{Table, Value};

use crate::api::spec;
use crate::decision::definition::Definition;

/// A pool from the table that `lb.define_pool` takes.
///
/// # Errors
/// Names what is wrong, and what was expected.
pub fn define_pool(name: &str, table: &Table) -> Result<Definition, String> {
    let settings = spec::settings(table)?;
    let mut members: Vec<MemberSpec> = Vec::new();
    for (at, value) in table.sequence_values::<Value>().enumerate() {
        let value = value.map_err(|error| error.to_string())?;
        let wrong = |text: String| format!("pool {name}, member {}: {text}", at + 1);
        let taken = |name: &str| members.iter().any(|other| other.name == name);
        let member = spec::member(&value, &taken).map_err(wrong)?;
        if taken(&member.name) {
            return Err(format!("pool {name}: there are two members named {}", member.name));
        }
        fit::check_fits(&settings, &member.url).map_err(wrong)?;
        members.push(member);
    }
    Ok(Definition { name: name.to_owned(), settings, members })
}

/// A member from what `pool:add` takes: a URL, or a table.
///
/// # Errors
/// Names what is wrong, and what was expected.
pub fn define_member(value: &Value) -> Result<MemberSpec, String> {
    spec::member(value, &|_| false)
}
