// SPDX-License-Identifier: Apache-2.0
//! The base of `ngx.re`: httpd's regular expressions, all matches of a text in one call.

use std::ops::Range;
use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};

use crate::context::Context;
use crate::error::Halt;
use crate::host::Search;

/// Bytes that a match costs beyond its texts.
const MATCH: usize = 64;

type Places = Vec<Option<Range<usize>>>;
/// Matches, and the groups that have names.
type Found = (Vec<Places>, Vec<(usize, String)>);

/// `regex(text, pattern, flags, from, most)`: a list of matches and a list of where they are, or
/// nil and why not. A match is a table of groups from 0, and by their names; false for one that
/// took no part. Its place is `{ start, end, start, end, … }`, with 0 for such a group.
pub(super) fn install(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    type Args = (LuaString, String, String, usize, usize);
    let own = ctx.clone();
    let regex = move |lua: &Lua, (text, pattern, flags, from, most): Args| {
        let text = text.as_bytes();
        let search = Search {
            text: &text,
            from: from.saturating_sub(1),
            pattern: &pattern,
            flags: &flags,
            most: own.budget.search_time(),
        };
        let (found, names) = match all(&own, &search, most)? {
            Ok(found) => found,
            Err(why) => return Ok((Value::Nil, Value::String(lua.create_string(why)?))),
        };
        let (matches, places) = (lua.create_table()?, lua.create_table()?);
        for groups in &found {
            let (texts, ends) = (lua.create_table_with_capacity(groups.len(), 1)?, lua.create_table()?);
            for (at, group) in groups.iter().enumerate() {
                match group {
                    Some(group) => texts.raw_set(at, lua.create_string(&text[group.clone()])?)?,
                    None => texts.raw_set(at, false)?,
                }
                ends.raw_push(group.as_ref().map_or(0, |group| group.start + 1))?;
                ends.raw_push(group.as_ref().map_or(0, |group| group.end))?;
            }
            for (at, name) in &names {
                // Several groups may share a name: the one that took part counts.
                let text: Value = texts.raw_get(*at)?;
                if text != Value::Boolean(false) || texts.raw_get::<Value>(name.as_str())?.is_nil() {
                    texts.raw_set(name.as_str(), text)?;
                }
            }
            matches.raw_push(texts)?;
            places.raw_push(ends)?;
        }
        Ok((Value::Table(matches), Value::Table(places)))
    };
    table.raw_set("regex", lua.create_function(regex)?)
}

/// The inner Err is for the script; the outer one ends the call.
fn all(ctx: &Context, search: &Search<'_>, most: usize) -> mlua::Result<Result<Found, String>> {
    let mut found = Vec::new();
    let mut over: Result<(), Halt> = Ok(());
    ctx.spend(search.pattern.len())?;
    let searched = ctx.request()?.regex_each(search, &mut |groups| {
        over = ctx.budget.spend(MATCH * groups.len()).and_then(|()| ctx.budget.check());
        found.push(groups);
        over.is_ok() && found.len() < most
    });
    over.map_err(Halt::raise)?;
    Ok(searched.map(|names| (found, names)))
}
