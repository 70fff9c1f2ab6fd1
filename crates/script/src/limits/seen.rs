// SPDX-License-Identifier: Apache-2.0
//! Where a script was when it was last looked at. Lua tells no place with an error of memory, nor
//! when a run is over while it waits for its turn: the last look at the clock, or the function's
//! own beginning, is as near as can be said.

use std::cell::{Cell, RefCell};

use mlua::Function;

/// File and line at the last look.
#[derive(Default)]
pub(crate) struct Seen {
    /// 0: not looked yet.
    line: Cell<usize>,
    file: RefCell<String>,
}

impl Seen {
    /// Notes where the script is; false when that is in the runtime's own Lua or in text that it
    /// has loaded.
    pub(crate) fn note(&self, source: &str, line: usize) -> bool {
        let Some(name) = file_of(source) else { return false };
        self.line.set(line);
        let mut file = self.file.borrow_mut();
        if *file != name {
            file.clear();
            file.push_str(name);
        }
        true
    }

    /// Another call begins.
    pub(crate) fn forget(&self) {
        self.line.set(0);
    }

    /// `file:12:`.
    pub(crate) fn place(&self) -> Option<String> {
        let line = self.line.get();
        (line > 0).then(|| format!("{}:{line}:", self.file.borrow()))
    }
}

/// `file:12:`, where a function begins.
pub(crate) fn beginning(function: &Function) -> Option<String> {
    let info = function.info();
    // The main part of a file begins at line 0, says Lua.
    let line = info.line_defined?.max(1);
    Some(format!("{}:{line}:", file_of(info.source.as_deref()?)?))
}

/// Files of scripts are marked by `@`; the runtime's own Lua and text that a script has loaded are
/// not.
fn file_of(source: &str) -> Option<&str> {
    source.strip_prefix('@')
}
