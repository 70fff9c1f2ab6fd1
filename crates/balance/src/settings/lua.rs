// SPDX-License-Identifier: Apache-2.0
//! Members that a script's function names, as a directive says it.

/// Where `lua:` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LuaPlace {
    /// The script's file, as written.
    pub script: String,
    /// `function=`, or the word behind the file.
    pub function: String,
    /// `every=`: milliseconds from one call to the next.
    pub every_ms: u64,
    /// `timeout=`: milliseconds that a call may take, waiting included.
    pub timeout_ms: u64,
}

impl LuaPlace {
    /// With all keys at their defaults.
    pub fn of(script: String) -> Self {
        LuaPlace { script, function: "discover".to_owned(), every_ms: 10_000, timeout_ms: 5000 }
    }
}
