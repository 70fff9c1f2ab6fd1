// SPDX-License-Identifier: Apache-2.0
//! Pools and views as scripts see them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use balance::api::{Membership, NoMember, PoolId, Query, View, ViewStep};
use balance::member::Member;
use balance::session::Routed;
use balance::settings::Method;
use messages::Message;
use mlua::{
    AnyUserData, Lua, LuaString, MetaMethod, Table, UserData, UserDataMethods, UserDataRef, Value, Variadic,
};

use super::arguments::{MOST_SHOWN, found_none};
use super::member::member_object;
use super::spec;
use super::view::{MAX_VIEW, bytes_of, conditions, names};
use crate::context::Context;
use crate::decision::answer::FoundNone;
use crate::decision::asked::Question;
use crate::decision::picks::{Left, PICKS, Row};
use crate::limits::memory::unlimited;
use crate::native::bounds::bounded;
use crate::native::shortcuts;
use crate::strings::text::{line, session};

/// A pool, or a view of one. Known by name: a pool that is defined later, or anew, is found then.
pub(crate) struct PoolHandle {
    pub(crate) name: Rc<str>,
    pub(crate) view: Option<Arc<View>>,
    row: Row,
    ctx: Rc<Context>,
}

/// Told to authors of scripts.
const NONE: &Message = messages::scripts::NO_SUCH_MEMBER;

/// A member, or nil and the reason.
type Found = (Value, Option<String>);

/// The object of a pool; one for each, however its name is spelled.
pub(crate) fn pool_object(lua: &Lua, ctx: &Rc<Context>, name: &str) -> mlua::Result<Value> {
    if let Some(object) = ctx.pools.borrow().get(name) {
        return Ok(Value::UserData(object.clone()));
    }
    let known = ctx.balancer.find(name).and_then(|pool| ctx.balancer.membership(pool));
    let name = known.as_ref().map_or(name, |known| &*known.name);
    if let Some(object) = ctx.pools.borrow().get(name) {
        return Ok(Value::UserData(object.clone()));
    }
    let handle = PoolHandle::new(ctx, name, None);
    let row = handle.row.clone();
    let object = handle.into_object(lua)?;
    ctx.shortcuts.add_pool(&object, &row);
    ctx.pools.borrow_mut().insert(name.to_owned(), object.clone());
    Ok(Value::UserData(object))
}

/// With the first object of a state: fields for all, and short ways of picking. Done as a whole, so
/// outside of the memory limit.
fn prepare(lua: &Lua, ctx: &Rc<Context>, object: &AnyUserData) -> mlua::Result<()> {
    let field =
        |lua: &Lua, (this, key): (UserDataRef<PoolHandle>, LuaString)| this.field(lua, &key.as_bytes());
    let methods = shortcuts::with_fields(lua, object, lua.create_function(field)?)?;
    let own = ctx.clone();
    let show =
        lua.create_function(move |lua, this: UserDataRef<PoolHandle>| match own.shortcuts.take_picked() {
            Some(Left::New(member)) => Ok((Value::UserData(member_object(lua, &own, &member)?), None)),
            Some(Left::None(pool, error)) => Ok(this.found_none(pool, &error)),
            None => Ok((Value::Nil, None)),
        })?;
    for name in ["except", "only"] {
        let many = methods.raw_get(name)?;
        methods.raw_set(name, bounded(lua, "many", &many)?)?;
    }
    shortcuts::picks(lua, ctx, &methods, &show)
}

impl PoolHandle {
    pub(crate) fn new(ctx: &Rc<Context>, name: &str, view: Option<Arc<View>>) -> Self {
        let row = Rc::new(Cell::new(ctx.balancer.find(name)));
        PoolHandle { name: name.into(), view, row, ctx: ctx.clone() }
    }

    pub(crate) fn into_object(self, lua: &Lua) -> mlua::Result<AnyUserData> {
        let ctx = self.ctx.clone();
        let object = lua.create_userdata(self)?;
        if !ctx.shortcuts.pools_ready.get() {
            unlimited(lua, || prepare(lua, &ctx, &object))?;
            ctx.shortcuts.pools_ready.set(true);
        }
        Ok(object)
    }

    /// The pool's row, looked up again while there is none.
    pub(crate) fn id(&self) -> Option<PoolId> {
        if self.row.get().is_none() {
            self.row.set(self.ctx.balancer.find(&self.name));
        }
        self.row.get()
    }

    fn row(&self) -> mlua::Result<PoolId> {
        self.id().ok_or_else(|| mlua::Error::runtime(format!("pool {} is not there yet", self.name)))
    }

    fn pick(&self, lua: &Lua, method: &Method, key: &[u8]) -> mlua::Result<Found> {
        let Some(pool) = self.id() else {
            return Ok(self.none(format!("pool {} is not there yet", self.name)));
        };
        let query = Query { pool, view: self.view.as_deref(), method, key, avoid: &[] };
        let mut object = Ok(Value::Nil);
        let picked = self.ctx.balancer.pick_for(query, &mut |member| {
            self.note(member, Some(method), key);
            object = member_object(lua, &self.ctx, member).map(Value::UserData);
        });
        match picked {
            Ok(()) => Ok((object?, None)),
            Err(error) => Ok(self.found_none(pool, &error)),
        }
    }

    /// Notes that this member was the answer to a question; without a method: one that the pool's
    /// own would take the place of.
    fn note(&self, member: &Member, method: Option<&Method>, key: &[u8]) {
        let Some(pool) = self.row.get() else { return };
        let key = method.filter(|method| method.is_by_key()).map(|_| key.into());
        let question = Question { pool, view: self.view.clone(), method: method.cloned(), key };
        self.ctx.asked.note_other(member.slot, question);
    }

    /// The object of a member that was named, or is the session's. Of a whole pool there is nothing
    /// to note: its method takes over.
    fn named(&self, lua: &Lua, member: &Arc<Member>) -> mlua::Result<AnyUserData> {
        if self.view.is_some() {
            self.note(member, None, b"");
        }
        member_object(lua, &self.ctx, member)
    }

    /// The object of the session's member.
    fn of_session(&self, lua: &Lua, member: &Arc<Member>) -> mlua::Result<AnyUserData> {
        let object = self.named(lua, member)?;
        self.ctx.asked.note_session(member.slot);
        Ok(object)
    }

    fn found_none(&self, pool: PoolId, error: &NoMember) -> Found {
        let words = error.to_string();
        let none = self.none(words.clone());
        if matches!(error, NoMember::Full(..)) {
            found_none(&self.ctx, FoundNone::Full(pool, self.view.clone(), words));
        }
        none
    }

    /// A key that is missing or empty picks in turn, as nginx does it: all such requests on one
    /// member would be worse.
    fn pick_by(&self, lua: &Lua, method: &Method, key: Option<LuaString>) -> mlua::Result<Found> {
        match key {
            Some(key) if !key.as_bytes().is_empty() => self.pick(lua, method, &key.as_bytes()),
            _ => self.pick(lua, &Method::RoundRobin, b""),
        }
    }

    fn none(&self, message: String) -> Found {
        found_none(&self.ctx, FoundNone::In(self.id()));
        (Value::Nil, Some(message))
    }

    fn membership(&self) -> Option<Arc<Membership>> {
        self.ctx.balancer.membership(self.id()?)
    }

    fn members(&self) -> Vec<Arc<Member>> {
        let Some(membership) = self.membership() else { return Vec::new() };
        let inside = |member: &&Arc<Member>| self.view.as_deref().is_none_or(|view| view.holds(member));
        membership.members.iter().filter(inside).cloned().collect()
    }

    fn narrowed(&self, lua: &Lua, step: ViewStep) -> mlua::Result<AnyUserData> {
        let mut view = self.view.as_deref().cloned().unwrap_or_default();
        view.steps.push(step);
        let bytes = view.steps.iter().map(bytes_of).sum();
        if bytes > MAX_VIEW {
            return Err(mlua::Error::runtime(format!("a view by more than {} KiB of names", MAX_VIEW >> 10)));
        }
        self.ctx.spend(bytes)?;
        let handle = PoolHandle { view: Some(Arc::new(view)), ..self.again() };
        handle.into_object(lua)
    }

    /// The same pool or view once more.
    fn again(&self) -> PoolHandle {
        PoolHandle {
            name: self.name.clone(),
            view: self.view.clone(),
            row: self.row.clone(),
            ctx: self.ctx.clone(),
        }
    }

    /// `pool:pick([r])`: sticky session first, then the pool's method.
    fn pick_configured(&self, lua: &Lua) -> mlua::Result<Found> {
        match self.session() {
            Some((Routed::Member(member), _)) => {
                return Ok((Value::UserData(self.of_session(lua, &member)?), None));
            }
            Some((Routed::Lost, true)) => {
                return Ok(self.none(NoMember::SessionLost((&*self.name).into()).to_string()));
            }
            _ => {}
        }
        let Some(settings) = self.ctx.balancer.settings(self.row()?) else {
            return Ok(self.none(format!("pool {} is not there yet", self.name)));
        };
        match (&settings.method, &settings.key) {
            (Method::Lua { script, .. }, _) => Err(mlua::Error::runtime(format!(
                "pool {} picks by {script}: return the pool itself, or name another method",
                self.name
            ))),
            (method, Some(expression)) => {
                let key = self.ctx.request()?.expr_text(expression).map_err(mlua::Error::runtime)?;
                if key.is_empty() {
                    return self.pick(lua, &Method::RoundRobin, b"");
                }
                self.pick(lua, method, &key)
            }
            (method, None) if method.is_by_key() => {
                let mut key = Vec::new();
                self.ctx.request()?.field(crate::host::Field::UseragentIp, &mut |value| {
                    key.extend_from_slice(value.unwrap_or_default());
                });
                self.pick(lua, method, &key)
            }
            (method, None) => self.pick(lua, method, b""),
        }
    }

    /// The fate of the request's session, and whether the pool insists on its member.
    fn session(&self) -> Option<(Routed, bool)> {
        if !self.ctx.request.active() {
            return None;
        }
        let pool = self.id()?;
        let settings = self.ctx.balancer.settings(pool)?;
        let sticky = settings.sticky.as_ref()?;
        let view = self.view.as_deref();
        let found = session(&*self.ctx.request, sticky, &mut |route| {
            self.ctx.balancer.route(pool, view, route, &[])
        })?;
        Some((found.routed, sticky.force))
    }

    fn session_member(&self) -> Option<Arc<Member>> {
        match self.session()? {
            (Routed::Member(member), _) => Some(member),
            _ => None,
        }
    }

    fn field(&self, lua: &Lua, key: &[u8]) -> mlua::Result<Value> {
        match key {
            b"name" => Ok(Value::String(lua.create_string(&*self.name)?)),
            b"usable" => {
                let count = self.id().map_or(0, |id| self.ctx.balancer.usable(id, self.view.as_deref()));
                Ok(Value::Integer(count as i64))
            }
            b"queued" => {
                let queued = self.id().map_or(0, |id| self.ctx.balancer.queued(id));
                Ok(Value::Integer(i64::from(queued)))
            }
            b"inflight" => {
                let sum: i64 =
                    self.members().iter().map(|m| i64::from(self.ctx.balancer.stats(m).inflight)).sum();
                Ok(Value::Integer(sum))
            }
            _ => Ok(Value::Nil),
        }
    }
}

impl UserData for PoolHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        for (name, method) in PICKS.clone() {
            match name {
                "consistent_hash" => continue,
                _ if method.is_by_key() => {
                    methods.add_method(name, move |lua, this, key| this.pick_by(lua, &method, key));
                }
                _ => methods.add_method(name, move |lua, this, ()| this.pick(lua, &method, b"")),
            }
        }
        methods.add_method(
            "consistent_hash",
            |lua, this, (key, options): (Option<LuaString>, Option<Table>)| {
                let balance_factor = match &options {
                    Some(options) => options.get::<Option<f64>>("balance_factor")?,
                    None => None,
                };
                if balance_factor.is_some_and(|factor| factor.is_nan() || factor <= 1.0) {
                    return Err(mlua::Error::runtime(
                        "consistent_hash: balance_factor is a number above 1, for example 1.25",
                    ));
                }
                this.pick_by(lua, &Method::ConsistentHash { balance_factor }, key)
            },
        );
        methods.add_method("pick", |lua, this, _: Value| this.pick_configured(lua));
        methods.add_method("sticky", |lua, this, _: Value| {
            this.session_member().map(|member| this.of_session(lua, &member)).transpose()
        });
        methods.add_method("where", |lua, this, table: Table| this.narrowed(lua, conditions(&table)?));
        methods.add_method("except", |lua, this, values: Variadic<Value>| {
            let mut list = Vec::new();
            names(&values, false, &mut list)?;
            this.narrowed(lua, ViewStep::Except(list))
        });
        methods.add_method("only", |lua, this, values: Variadic<Value>| {
            let mut list = Vec::new();
            names(&values, false, &mut list)?;
            this.narrowed(lua, ViewStep::Only(list))
        });
        methods.add_method("member", |lua, this, name: Option<LuaString>| {
            // Compared as bytes: what a client sends may be anything, and may be missing.
            let Some(name) = name else { return Ok(None) };
            let bytes = name.as_bytes();
            let found = this.members().into_iter().find(|member| member.spec.name.as_bytes() == &*bytes);
            if found.is_none() && !this.ctx.judges() && this.ctx.server.logs(NONE.level()) {
                let inside = if this.view.is_some() { " in this view" } else { "" };
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST_SHOWN)]);
                let text =
                    format!("{}: pool {} has no member named {shown}{inside}", this.ctx.who(), this.name);
                this.ctx.log(NONE.level(), &NONE.line(&text))?;
            }
            found.map(|member| this.named(lua, &member)).transpose()
        });
        methods.add_method("members", |lua, this, ()| {
            let mut rest = this.members().into_iter();
            let own = this.again();
            lua.create_function_mut(move |lua, ()| {
                rest.next().map(|member| own.named(lua, &member)).transpose()
            })
        });
        methods.add_method("add", |lua, this, spec: Table| {
            this.ctx.spend(spec::weight(&spec, 0))?;
            let spec = spec::member_spec(&spec)?;
            if let Some(settings) = this.id().and_then(|pool| this.ctx.balancer.settings(pool)) {
                balance::fit::check_fits(&settings, &spec.url)
                    .map_err(|error| mlua::Error::runtime(format!("pool:add: {error}")))?;
            }
            if this.ctx.judges() {
                return Ok(Value::Nil);
            }
            let added = this.ctx.balancer.add(this.row()?, spec, &this.ctx.by());
            let member =
                added.map_err(|error| mlua::Error::runtime(format!("pool {}: {error}", this.name)))?;
            Ok(Value::UserData(member_object(lua, &this.ctx, &member)?))
        });
        methods.add_method("remove", |_, this, member: Value| {
            let mut list = Vec::new();
            if !names(&[member], false, &mut list)? {
                let text = format!("pool {}: there is no member of that name", this.name);
                return Err(mlua::Error::runtime(text));
            }
            if this.ctx.judges() {
                return Ok(true);
            }
            for name in list {
                let removed = this.ctx.balancer.remove(this.row()?, &name, &this.ctx.by());
                removed.map_err(|error| mlua::Error::runtime(format!("pool {}: {error}", this.name)))?;
            }
            Ok(true)
        });
        methods.add_meta_method(MetaMethod::Len, |_, this, ()| Ok(this.members().len()));
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.name.to_string()));
        methods.add_meta_method(
            MetaMethod::NewIndex,
            |_, this, (key, _): (LuaString, Value)| -> mlua::Result<()> {
                let bytes = key.as_bytes();
                let key = line(&bytes);
                Err(mlua::Error::runtime(format!("pool {}: '{key}' cannot be set", this.name)))
            },
        );
    }
}
