// SPDX-License-Identifier: Apache-2.0
//! Methods of strings. All strings of a state have one metatable, and each script its own layer
//! over `string`: while a script runs that has changed its layer, the metatable's `__index` is that
//! layer. As long as no script has, nothing is done.

use std::cell::{Cell, OnceCell, RefCell};

use mlua::{LuaString, Table};

use crate::limits::frame::Frame;
use crate::source::library::ScriptId;

/// A version of a script.
type Owner = (ScriptId, u64);

/// The objects that the prelude hands over once.
struct Shared {
    metatable: Table,
    key: LuaString,
    /// `string` as scripts see it that have changed nothing.
    plain: Table,
}

/// The layers that were changed.
#[derive(Default)]
pub(crate) struct Strings {
    shared: OnceCell<Shared>,
    own: RefCell<Vec<(Owner, Table)>>,
    /// The script whose layer is in place; None: the plain one.
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

    /// Takes the objects that all scripts share which have changed nothing.
    pub(crate) fn share(&self, metatable: Table, key: LuaString, plain: Table) {
        self.shared.set(Shared { metatable, key, plain }).ok();
    }

    /// A script has changed its layer.
    pub(crate) fn adopt(&self, owner: Owner, layer: Table, running: Frame) {
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
