//! `lb.define_pool` and `pool:add`: tables made into what the directives would say.

use std::rc::Rc;

use balance::member::{Connection, MemberSpec};
use balance::settings::PoolSettings;
use balance::url::MemberUrl;
use mlua::{Lua, Table, Value};

use super::pool_object;
use crate::context::{Context, Definition};

/// `lb.define_pool(name, {…})`. While judging, the definition is kept for later; in a thread, the pool is there already.
pub(crate) fn define_pool(lua: &Lua, ctx: &Rc<Context>, name: &str, table: &Table) -> mlua::Result<Value> {
    let mut members = Vec::new();
    for member in table.sequence_values::<Table>() {
        members.push(member_spec(&member?)?);
    }
    let settings = PoolSettings::default();
    let definition = Definition { name: name.to_owned(), settings, members };
    match &ctx.judging {
        Some(all) => all.borrow_mut().push(definition),
        None if ctx.balancer.find(name).is_some() => {}
        None => {
            let version = ctx.frame.get().version;
            let Definition { name, settings, members } = definition;
            ctx.balancer
                .define(&name, settings, members, version)
                .map_err(|error| mlua::Error::runtime(format!("lb.define_pool(\"{name}\"): {error}")))?;
        }
    }
    pool_object(lua, ctx, name)
}

/// A member as a table says it: `{url = …}` or `{host = …, port = …}`, and the keys of `LuaBalancerMember`.
pub(crate) fn member_spec(table: &Table) -> mlua::Result<MemberSpec> {
    let host: String = table.get("host")?;
    let port: u16 = table.get("port")?;
    let url = MemberUrl { scheme: "http".into(), host: host.clone(), port, path: String::new(), socket: None };
    let name = format!("{host}:{port}");
    Ok(MemberSpec {
        url,
        route: name.clone(),
        name,
        weight: 100,
        redirect: None,
        zone: None,
        lbset: 0,
        flags: 0,
        max_inflight: 0,
        slow_start_ms: None,
        first_ejection_ms: None,
        meta: Vec::new(),
        connection: Connection::default(),
    })
}
