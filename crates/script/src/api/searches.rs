// SPDX-License-Identifier: Apache-2.0
//! `r:expr` and `r:regex`: httpd's expressions and patterns, within bounds of time.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};

use super::arguments::short;
use crate::context::Context;
use crate::error::Halt;
use crate::host::{self, Field, Request, Search};
use crate::strings::{expression, text};

/// Names that a table of the request may have where an expression may be costly.
const MOST_NAMES: usize = 1000;

/// Puts both among the methods of the request.
pub(super) fn install(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let expr = move |_: &Lua, (_, expression): (bool, LuaString)| {
        own.spend(expression.as_bytes().len())?;
        Ok(match expression_of(&own, &expression.as_bytes())? {
            Ok(verdict) => (verdict, None),
            Err(error) => (false, Some(error)),
        })
    };
    methods.raw_set("expr", lua.create_function(expr)?)?;
    let own = ctx.clone();
    type Asked = (bool, LuaString, LuaString, Value);
    let regex = move |lua: &Lua, (_, text, pattern, flags): Asked| match search(
        &own,
        &text.as_bytes(),
        &short(&pattern)?,
        &regex_flags(&flags),
    )? {
        Ok(Some(groups)) => {
            let table = lua.create_table_with_capacity(groups.len(), 1)?;
            for (at, group) in groups.iter().enumerate() {
                if let Some(group) = group {
                    table.raw_set(at, lua.create_string(group)?)?;
                }
            }
            Ok((Value::Table(table), None))
        }
        Ok(None) => Ok((Value::Boolean(false), None)),
        Err(error) => Ok((Value::Boolean(false), Some(error))),
    };
    methods.raw_set("regex", lua.create_function(regex)?)
}

/// Bytes of the longest text that an expression can find in the request. Headers of one name are
/// one text.
fn longest_text(request: &dyn Request) -> usize {
    let fields = [
        Field::Uri,
        Field::UnparsedUri,
        Field::Args,
        Field::TheRequest,
        Field::User,
        Field::Filename,
        Field::PathInfo,
    ];
    let mut longest = 0;
    for field in fields {
        request.field(field, &mut |text| longest = longest.max(text.map_or(0, <[u8]>::len)));
    }
    for table in [
        host::RequestTable::HeadersIn,
        host::RequestTable::HeadersOut,
        host::RequestTable::Notes,
        host::RequestTable::SubprocessEnv,
    ] {
        let mut names: Vec<(Vec<u8>, usize)> = Vec::new();
        request.each(table, &mut |name, value| {
            let name = name.to_ascii_lowercase();
            let known = names.iter_mut().find(|(known, _)| *known == name);
            match known {
                Some((_, length)) => *length += value.len() + 2,
                None => names.push((name, value.len())),
            }
            names.len() < MOST_NAMES
        });
        let of_table = names.iter().map(|(_, length)| *length).max().unwrap_or(0);
        longest = longest.max(if names.len() < MOST_NAMES { of_table } else { usize::MAX });
    }
    longest
}

/// `r:expr`. The inner Err is what the script gets as a message.
fn expression_of(ctx: &Context, text: &[u8]) -> mlua::Result<Result<bool, String>> {
    /// The bytes that httpd keeps of any expression until the request ends.
    const KEPT: usize = 1024;
    let request = ctx.request()?;
    ctx.spend(text.len() + KEPT)?;
    let verdict = verdict(ctx, request, text);
    ctx.budget.check().map_err(Halt::raise)?;
    Ok(verdict)
}

fn verdict(ctx: &Context, request: &dyn Request, text: &[u8]) -> Result<bool, String> {
    let sandbox = ctx.library.sandbox;
    let checked = expression::checked(text, sandbox)?;
    let most = ctx.budget.search_time();
    // The limit goes around a pattern, which may not end it.
    for pattern in &checked.patterns {
        request.regex(&Search { text: b"", from: 0, pattern, flags: "", most })?;
    }
    if !checked.may_be_costly() {
        return request.expr(&checked.text, sandbox);
    }
    let longest = longest_text(request);
    checked.may_make(longest)?;
    let Some(alone) = expression::alone(text) else {
        return request.expr(&checked.within(longest)?, sandbox);
    };
    let value = request.expr_word(alone.word, sandbox)?;
    let search = Search { text: &value, from: 0, pattern: alone.pattern, flags: alone.flags, most };
    Ok(request.regex(&search)?.is_some() != alone.is_negated)
}

type Groups = Vec<Option<Vec<u8>>>;

/// The inner Err is what the script gets as a message.
fn search(
    ctx: &Context,
    text: &[u8],
    pattern: &str,
    flags: &str,
) -> mlua::Result<Result<Option<Groups>, String>> {
    let search = Search { text, from: 0, pattern, flags, most: ctx.budget.search_time() };
    Ok(ctx.request()?.regex(&search))
}

/// Letters, or httpd's numbers: 1 ignores case, 2 makes ^ and $ match at line ends.
fn regex_flags(flags: &Value) -> String {
    match flags {
        Value::String(letters) => text::line(&letters.as_bytes()).into_owned(),
        Value::Integer(bits) => {
            let letters = [(1, 'i'), (2, 'm')].into_iter();
            letters.filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter).collect()
        }
        _ => String::new(),
    }
}
