// SPDX-License-Identifier: Apache-2.0
//! A member as scripts see it.

use std::rc::Rc;
use std::sync::Arc;

use balance::api::Change;
use balance::member::Member;
use balance::status::{MAX_WEIGHT_HUNDREDTHS, State, Status};
use mlua::{AnyUserData, Lua, LuaString, MetaMethod, UserData, UserDataMethods, UserDataRef, Value};

use crate::context::Context;
use crate::limits::memory::unlimited;
use crate::native::shortcuts;

/// A member object: the same one for the same member, for as long as it is in its row.
pub(crate) struct MemberHandle {
    pub(crate) member: Arc<Member>,
    ctx: Rc<Context>,
}

/// The object of a member; kept by slot, so that a pick allocates nothing.
pub(crate) fn member_object(lua: &Lua, ctx: &Rc<Context>, member: &Arc<Member>) -> mlua::Result<AnyUserData> {
    let slot = member.slot as usize;
    if let Some(Some((incarnation, object))) = ctx.members.borrow().get(slot)
        && *incarnation == member.incarnation
    {
        return Ok(object.clone());
    }
    let object = lua.create_userdata(MemberHandle { member: member.clone(), ctx: ctx.clone() })?;
    if !ctx.shortcuts.members_ready.get() {
        let field =
            |lua: &Lua, (this, key): (UserDataRef<MemberHandle>, LuaString)| this.field(lua, &key.as_bytes());
        unlimited(lua, || shortcuts::with_fields(lua, &object, lua.create_function(field)?))?;
        ctx.shortcuts.members_ready.set(true);
    }
    ctx.shortcuts.add_member(lua, slot, &object)?;
    let mut members = ctx.members.borrow_mut();
    if members.len() <= slot {
        members.resize(slot + 1, None);
    }
    members[slot] = Some((member.incarnation, object.clone()));
    Ok(object)
}

/// Hundredths as the number that people write: 1, 2.5.
pub(crate) fn weight_value(hundredths: u32) -> Value {
    if hundredths.is_multiple_of(100) {
        Value::Integer(i64::from(hundredths / 100))
    } else {
        Value::Number(f64::from(hundredths) / 100.0)
    }
}

/// The number that people write in hundredths.
pub(crate) fn weight_hundredths(weight: f64) -> Option<u32> {
    let hundredths = (weight * 100.0).round();
    (hundredths >= 0.0 && hundredths <= f64::from(MAX_WEIGHT_HUNDREDTHS)).then_some(hundredths as u32)
}

impl MemberHandle {
    fn status(&self) -> Option<Status> {
        self.ctx.balancer.status(&self.member)
    }

    fn field(&self, lua: &Lua, key: &[u8]) -> mlua::Result<Value> {
        let spec = &self.member.spec;
        let text = |text: &str| lua.create_string(text).map(Value::String);
        let optional = |value: &Option<String>| value.as_deref().map_or(Ok(Value::Nil), text);
        let stats = || self.ctx.balancer.stats(&self.member);
        match key {
            b"name" => text(&spec.name),
            b"host" => text(&spec.url.host),
            b"port" => Ok(Value::Integer(i64::from(spec.url.port))),
            b"url" => text(&spec.url.to_string()),
            b"scheme" => text(&spec.url.scheme),
            b"route" => text(&spec.route),
            b"zone" => optional(&spec.zone),
            b"weight" => Ok(self.status().map_or(Value::Integer(0), |status| weight_value(status.weight()))),
            b"inflight" => Ok(Value::Integer(i64::from(stats().inflight))),
            b"latency" => Ok(Value::Number(f64::from(stats().latency_ms))),
            b"requests" => Ok(Value::Integer(stats().requests.cast_signed())),
            b"failures" => Ok(Value::Integer(stats().failures.cast_signed())),
            b"since" => Ok(Value::Integer(stats().since.cast_signed())),
            b"state" => match self.status() {
                Some(status) => text(match status.state() {
                    State::Up => "up",
                    State::Down => "down",
                    State::Ejected => "ejected",
                    State::Draining => "draining",
                    State::Disabled => "disabled",
                }),
                None => text("removed"),
            },
            b"healthy" => Ok(Value::Boolean(self.status().is_some_and(Status::healthy))),
            b"usable" => Ok(Value::Boolean(self.ctx.balancer.is_usable(&self.member))),
            b"meta" => {
                let meta = lua.create_table()?;
                for (key, value) in &spec.meta {
                    meta.raw_set(key.as_str(), value.as_str())?;
                }
                Ok(Value::Table(meta))
            }
            _ => Ok(Value::Nil),
        }
    }

    fn change(&self, change: Change) -> mlua::Result<bool> {
        if self.ctx.judges() {
            return Ok(true);
        }
        match self.ctx.balancer.change(&self.member, change, &self.ctx.by()) {
            Ok(()) => Ok(true),
            Err(error) => Err(mlua::Error::runtime(format!("member {}: {error}", self.member.spec.name))),
        }
    }
}

impl UserData for MemberHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::NewIndex, |_, _, (key, _): (LuaString, Value)| -> mlua::Result<()> {
            Err(mlua::Error::runtime(format!(
                "a member's '{}' cannot be set; there are m:set_weight(n), m:drain(), m:disable(), m:enable()",
                crate::strings::text::line(&key.as_bytes())
            )))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.member.spec.name.clone()));
        methods.add_method("set_weight", |_, this, weight: f64| match weight_hundredths(weight) {
            Some(hundredths) => this.change(Change::SetWeight(hundredths)),
            None => Err(mlua::Error::runtime(format!(
                "set_weight: expected a number from 0 to 65535, found {weight}"
            ))),
        });
        methods.add_method("drain", |_, this, ()| this.change(Change::Drain));
        methods.add_method("disable", |_, this, ()| this.change(Change::Disable));
        methods.add_method("enable", |_, this, ()| this.change(Change::Enable));
    }
}
