// SPDX-License-Identifier: Apache-2.0
//! `lb.define_pool` and `pool:add`: tables made into what the directives would say, so that both
//! take the same way and get the same checks.

use std::collections::HashSet;
use std::rc::Rc;

use balance::names::is_name;
use mlua::{Lua, Table, Value};

use super::pool::pool_object;
use super::spec::{member, settings, weight};
use crate::context::Context;
use crate::decision::definition::Definition;

/// `lb.define_pool(name, {…})`. While judging, the definition is kept until the script is accepted;
/// in a thread, the pool is there already.
pub(crate) fn define_pool(lua: &Lua, ctx: &Rc<Context>, name: &str, table: &Table) -> mlua::Result<Value> {
    let wrong = |text: String| mlua::Error::runtime(format!("lb.define_pool(\"{name}\"): {text}"));
    if !is_name(name) {
        return Err(wrong("a name is 1 to 63 letters, digits, '_', '-' and '.'".into()));
    }
    ctx.spend(weight(table, 0))?;
    let settings = settings(table).map_err(&wrong)?;
    let mut members = Vec::with_capacity(table.raw_len());
    let mut names = HashSet::new();
    for (at, value) in table.sequence_values::<Value>().enumerate() {
        let spec = member(&value?, &|name| names.contains(name));
        let spec = spec.map_err(|text| wrong(format!("member {}: {text}", at + 1)))?;
        if !names.insert(spec.name.clone()) {
            return Err(wrong(format!(
                "there are two members named {}: give one of them another name",
                spec.name
            )));
        }
        members.push(spec);
    }
    for (at, spec) in members.iter().enumerate() {
        balance::fit::check_fits(&settings, &spec.url)
            .map_err(|text| wrong(format!("member {}: {text}", at + 1)))?;
    }
    let definition = Definition { name: name.to_owned(), settings, members };
    match &ctx.judging {
        Some(all) => {
            let mut all = all.borrow_mut();
            if ctx.library.configured.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(wrong("<LuaBalancerPool> of the configuration defines it already".into()));
            }
            if all.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
                return Err(wrong("this script defines it already".into()));
            }
            all.push(definition);
        }
        None if ctx.balancer.find(name).is_some() => {}
        None => {
            let frame = ctx.frame.get();
            let script = frame.script.and_then(|id| ctx.library.entry(id).ok());
            let version = script.map_or(frame.version, |script| script.definition(frame.version));
            let Definition { name, settings, members } = definition;
            let defined = ctx.balancer.define(&name, settings, members, version);
            defined.map_err(|error| wrong(error.to_string()))?;
        }
    }
    pool_object(lua, ctx, name)
}
