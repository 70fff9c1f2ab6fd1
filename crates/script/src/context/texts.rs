// SPDX-License-Identifier: Apache-2.0
//! The request's text fields as Lua strings. A text that is the same as last time is not made
//! again. Texts that scripts have asked for before are put within their reach as a call begins, so
//! that they read them without a call into the runtime.

use std::cell::{Cell, OnceCell, RefCell};

use mlua::{Lua, LuaString, Table, Value};

use crate::host::{Field, Request};
use crate::limits::memory::text_of;

/// Longer texts are not worth comparing.
const MOST: usize = 256;

/// The names that scripts have for text fields. First those that change only by `set_field` while a
/// script runs.
pub(crate) const NAMES: [(&str, Field); 22] = [
    ("uri", Field::Uri),
    ("method", Field::Method),
    ("args", Field::Args),
    ("hostname", Field::Hostname),
    ("unparsed_uri", Field::UnparsedUri),
    ("useragent_ip", Field::UseragentIp),
    ("protocol", Field::Protocol),
    ("the_request", Field::TheRequest),
    ("server_name", Field::ServerName),
    ("filename", Field::Filename),
    ("handler", Field::Handler),
    ("user", Field::User),
    ("document_root", Field::DocumentRoot),
    ("log_id", Field::LogId),
    ("path_info", Field::PathInfo),
    ("content_type", Field::ContentType),
    ("context_prefix", Field::ContextPrefix),
    ("context_document_root", Field::ContextDocumentRoot),
    ("ap_auth_type", Field::AuthType),
    ("range", Field::Range),
    ("canonical_filename", Field::CanonicalFilename),
    ("banner", Field::Banner),
];

/// How many of them are shown to scripts.
const SHOWN: usize = 9;

/// Where a field's name stands among them, by the field's number; behind all names when it is not
/// shown.
const PLACES: [usize; u32::BITS as usize] = {
    let mut places = [NAMES.len(); u32::BITS as usize];
    let mut at = 0;
    while at < SHOWN {
        places[NAMES[at].1 as usize] = at;
        at += 1;
    }
    places
};

/// The last string made for a field.
struct Made {
    bytes: Vec<u8>,
    text: LuaString,
    /// It is in the table.
    shown: bool,
}

/// One for each state.
#[derive(Default)]
pub(crate) struct Texts {
    made: RefCell<Vec<Option<Made>>>,
    /// Fields that scripts have read, by bit.
    wanted: Cell<u32>,
    /// Where reads of the request object look before they call the runtime.
    table: OnceCell<Table>,
}

impl Texts {
    /// Where to show texts; without a table none is shown.
    pub(crate) fn show_in(&self, table: Table) {
        self.table.set(table).ok();
    }

    /// A field's string.
    pub(crate) fn get(&self, lua: &Lua, field: Field, bytes: &[u8]) -> mlua::Result<LuaString> {
        self.wanted.set(self.wanted.get() | bit(field));
        if bytes.len() > MOST {
            return text_of(lua, bytes);
        }
        let mut made = self.made.borrow_mut();
        make(lua, slot(&mut made, field), bytes)
    }

    /// A call begins, with this request or none.
    pub(crate) fn refresh(&self, lua: &Lua, request: &dyn Request) {
        let wanted = self.wanted.get();
        let Some(table) = self.table.get().filter(|_| wanted != 0) else { return };
        if !request.active() {
            return self.hide(table);
        }
        let mut made = self.made.borrow_mut();
        let mut left = wanted;
        while left != 0 {
            let number = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some((name, field)) = NAMES.get(PLACES[number]) else { continue };
            let slot = slot(&mut made, *field);
            request.field(*field, &mut |bytes| show(lua, table, name, slot, bytes));
        }
    }

    /// The field has another value from here on.
    pub(crate) fn forget(&self, field: Field) {
        if let Some(table) = self.table.get()
            && let Some((name, _)) = shown().find(|(_, shown)| *shown == field)
            && let Some(Some(made)) = self.made.borrow_mut().get_mut(field as usize)
        {
            made.hide(table, name);
        }
    }

    /// Shows nothing until the next call begins: a call inside of another one may have another
    /// request.
    pub(crate) fn hide_all(&self) {
        if let Some(table) = self.table.get() {
            self.hide(table);
        }
    }

    fn hide(&self, table: &Table) {
        let mut all = self.made.borrow_mut();
        for (name, field) in shown() {
            if let Some(Some(made)) = all.get_mut(*field as usize) {
                made.hide(table, name);
            }
        }
    }
}

impl Made {
    fn hide(&mut self, table: &Table, name: &str) {
        // Taking a value out allocates nothing, so it can't fail.
        self.shown = self.shown && table.raw_set(name, Value::Nil).is_err();
    }
}

fn shown() -> impl Iterator<Item = &'static (&'static str, Field)> {
    NAMES.iter().take(SHOWN)
}

fn bit(field: Field) -> u32 {
    1 << (field as u32)
}

fn slot(made: &mut Vec<Option<Made>>, field: Field) -> &mut Option<Made> {
    let index = field as usize;
    if made.len() <= index {
        made.resize_with(index + 1, || None);
    }
    &mut made[index]
}

fn make(lua: &Lua, slot: &mut Option<Made>, bytes: &[u8]) -> mlua::Result<LuaString> {
    match slot {
        Some(made) if made.bytes == bytes => Ok(made.text.clone()),
        // A text within reach of the script stays as it was.
        Some(made) if made.shown => text_of(lua, bytes),
        Some(made) => {
            made.text = text_of(lua, bytes)?;
            made.bytes.clear();
            made.bytes.extend_from_slice(bytes);
            Ok(made.text.clone())
        }
        empty => {
            let text = text_of(lua, bytes)?;
            *empty = Some(Made { bytes: bytes.to_vec(), text: text.clone(), shown: false });
            Ok(text)
        }
    }
}

fn show(lua: &Lua, table: &Table, name: &str, slot: &mut Option<Made>, bytes: Option<&[u8]>) {
    let bytes = bytes.filter(|bytes| bytes.len() <= MOST);
    if let Some(made) = slot {
        if made.shown && bytes == Some(&made.bytes) {
            return;
        }
        made.hide(table, name);
    }
    let Some(bytes) = bytes else { return };
    // Where there is no room for a string, the script asks for it, and meets its limit there.
    if let Ok(text) = make(lua, slot, bytes)
        && table.raw_set(name, text).is_ok()
        && let Some(made) = slot
    {
        made.shown = true;
    }
}
