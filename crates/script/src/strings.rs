//! Methods of strings. All strings of a state have one metatable, and each script its own layer over `string`: while a script
//! runs that has changed its layer, the metatable's `__index` is that layer. As long as no script has, nothing is done.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use mlua::{Function, Lua, LuaString, Table};

use crate::context::{Context, Frame};
use crate::library::ScriptId;

/// A version of a script.
type Owner = (ScriptId, u64);

/// What the prelude tells once.
struct Shared {
    metatable: Table,
    key: LuaString,
    /// What scripts have that changed nothing.
    plain: Table,
}

/// The layers that were changed.
#[derive(Default)]
pub(crate) struct Strings {
    shared: OnceCell<Shared>,
    own: RefCell<Vec<(Owner, Table)>>,
    /// Whose layer is in place; None: the plain one.
    current: Cell<Option<Owner>>,
    /// Whether any script of this state has a layer of its own.
    pub(crate) any: Cell<bool>,
}

impl Strings {
    /// Puts the layer of the script that runs now into place.
    #[cold]
    pub(crate) fn switch(&self, frame: Frame) {
        let wanted = frame.script.map(|script| (script, frame.version));
        let own = self.own.borrow();
        let layer = own.iter().find(|(owner, _)| Some(*owner) == wanted);
        let owner = layer.map(|(owner, _)| *owner);
        if owner == self.current.get() {
            return;
        }
        let Some(shared) = self.shared.get() else { return };
        let layer = layer.map_or(&shared.plain, |(_, layer)| layer);
        if shared.metatable.raw_set(&shared.key, layer).is_ok() {
            self.current.set(owner);
        }
    }

    /// A script has changed its layer.
    fn adopt(&self, owner: Owner, layer: Table, running: Frame) {
        let mut own = self.own.borrow_mut();
        own.retain(|(other, _)| *other != owner);
        own.push((owner, layer));
        drop(own);
        self.any.set(true);
        self.switch(running);
    }

    /// Forgets layers, between calls.
    pub(crate) fn forget(&self, is_gone: impl Fn(ScriptId, u64) -> bool) {
        if !self.any.get() {
            return;
        }
        self.own.borrow_mut().retain(|((script, version), _)| !is_gone(*script, *version));
        // Another one may come to have the same owner.
        if self.current.get().is_some_and(|(script, version)| is_gone(script, version)) {
            self.switch(Frame::default());
        }
    }
}

/// For the prelude: what is shared, and the notice of a change. Layers are told by script and version.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, native: &Table) -> mlua::Result<()> {
    let key = lua.create_string("__index")?;
    let own = ctx.clone();
    let share = move |_: &Lua, (metatable, plain): (Table, Table)| {
        metatable.raw_set(&key, &plain)?;
        own.strings.shared.set(Shared { metatable, key: key.clone(), plain }).ok();
        Ok(())
    };
    native.raw_set("share_strings", lua.create_function(share)?)?;
    let own = ctx.clone();
    let adopt = move |_: &Lua, (layer, script, version): (Table, u32, i64)| {
        own.strings.adopt((ScriptId(script), version.cast_unsigned()), layer, own.frame.get());
        Ok(())
    };
    let adopt: Function = lua.create_function(adopt)?;
    native.raw_set("own_strings", adopt)
}
