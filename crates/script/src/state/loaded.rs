// SPDX-License-Identifier: Apache-2.0
//! A script in a state: its environment and the functions found in it.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::Path;
use std::rc::Rc;

use mlua::{Function, Table, Value};

use crate::error::{ErrorKind, ScriptError};
use crate::source::bundle::Source;
use crate::source::library::Limits;
use crate::source::loader::is_module_name;

/// A script in this state.
pub(crate) struct Loaded {
    pub(crate) version: u64,
    pub(crate) label: String,
    pub(crate) env: Table,
    /// The value that the top level returned: a table of functions, or the function itself.
    pub(crate) returned: Value,
    pub(crate) body: OnceCell<Rc<Function>>,
    pub(crate) main: Source,
    /// The functions that were called, by name.
    pub(crate) functions: RefCell<Vec<(Box<str>, Rc<Function>)>>,
    /// The limits of one call.
    pub(crate) limits: Limits,
    /// A newer version that failed to start here, so that it is not tried for each request.
    pub(crate) refused: Cell<u64>,
}

impl Loaded {
    /// A function by name: a global, a field of the returned table, or the inline function itself.
    pub(crate) fn look_up(&self, name: &str) -> Result<Function, ScriptError> {
        if let Value::Function(function) = &self.returned
            && (name.is_empty() || self.main.path.as_os_str() == self.label.as_str() && self.is_inline())
        {
            return Ok(function.clone());
        }
        if let Ok(function) = self.env.raw_get::<Function>(name) {
            return Ok(function);
        }
        if let Value::Table(module) = &self.returned
            && let Ok(function) = module.raw_get::<Function>(name)
        {
            return Ok(function);
        }
        if self.is_inline() {
            let text = format!(
                "{}: expected a function, for example: function(r) return lb.pool(\"app\") end",
                self.label
            );
            return Err(ScriptError::new(ErrorKind::Load, text));
        }
        let mut there = self.function_names();
        there.sort();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        Err(ScriptError::new(
            ErrorKind::Load,
            format!("{}: there is no function '{name}'; global functions found: {there}", self.label),
        ))
    }

    fn is_inline(&self) -> bool {
        self.main.text.starts_with(b"return function")
    }

    pub(crate) fn function_names(&self) -> Vec<String> {
        const OWN: [&str; 3] = ["load", "loadstring", "require"];
        let globals = self.env.pairs::<String, Value>().flatten();
        globals
            .filter(|(name, value)| value.is_function() && !OWN.contains(&name.as_str()))
            .map(|(name, _)| name)
            .collect()
    }
}

/// `file:line: function` of a function, for errors about what it returned.
pub(crate) fn place(loaded: &Loaded, function: &Function) -> String {
    match function.info().line_defined {
        Some(line) if line > 0 => format!("{}:{line}: the function", loaded.label),
        _ => format!("{}: the script", loaded.label),
    }
}

/// Modules that scripts come with and that are not here, and what to use instead.
const INSTEAD: [(&str, &str); 12] = [
    ("ffi", "there is no LuaJIT here: resty.chash, resty.lrucache, bit and string.pack do without it"),
    ("resty.http", "use lb.http or socket.http, in checks and timers"),
    ("resty.redis", "use lb.dict, or a socket in a timer"),
    ("resty.mysql", "use lb.dict, or a socket in a timer"),
    ("resty.memcached", "use lb.dict, or a socket in a timer"),
    ("resty.upstream.healthcheck", "use the directive LuaBalancerHealthCheck"),
    ("resty.healthcheck", "use the directive LuaBalancerHealthCheck"),
    ("ngx.semaphore", "use lb.dict"),
    ("ngx.process", "use ngx.worker"),
    ("ngx.ssl", "TLS is httpd's: use mod_ssl, and r:ssl_var_lookup to look at it"),
    ("ssl.https", "use lb.http with an https URL, in checks and timers"),
    ("lfs", "list folders in a timer with LuaBalancerSandbox off"),
];

/// Why `require` found nothing.
pub(crate) fn missing(name: &str, search: &str, folder: &Path) -> String {
    if !is_module_name(name) {
        return format!(
            "module '{}' not found: that is not the name of a module",
            name.escape_debug().take(200).collect::<String>()
        );
    }
    let tried = crate::source::stamp::candidates(search, name, folder);
    let inner = name.replace('.', "/");
    let c_folders = [
        "/usr/lib/x86_64-linux-gnu/lua",
        "/usr/lib/aarch64-linux-gnu/lua",
        "/usr/lib/lua",
        "/usr/local/lib/lua",
    ];
    let c_module = c_folders
        .iter()
        .flat_map(|folder| {
            ["5.1", "5.2", "5.3", "5.4"].map(|version| format!("{folder}/{version}/{inner}.so"))
        })
        .chain(tried.iter().map(|path| path.with_extension("so").to_string_lossy().into_owned()))
        .find(|path| Path::new(path).is_file());
    if let Some(path) = c_module {
        return format!(
            "module '{name}' is a C module ({path}); C modules do not load, only Lua source does"
        );
    }
    let mut text = format!("module '{name}' not found (C modules do not load); tried:");
    for path in tried {
        text.push_str("\n\tno file '");
        text.push_str(&path.to_string_lossy());
        text.push('\'');
    }
    if let Some((_, words)) = INSTEAD.iter().find(|(known, _)| *known == name) {
        text.push_str("\n\t");
        text.push_str(words);
    }
    text
}
