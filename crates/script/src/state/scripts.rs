// SPDX-License-Identifier: Apache-2.0
//! The scripts of a state: kept current, compiled and started.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use mlua::{Function, Table, Value};

use super::call::Callee;
use super::held::LuaState;
use super::loaded::{Loaded, missing};
use crate::error::ScriptError;
use crate::limits::frame::{Frame, Phase};
use crate::native::chunk::compile;
use crate::source::bundle::Source;
use crate::source::library::{CodeCache, Entry, ScriptId};
use crate::source::loader::{Modules, Recorder};

impl LuaState {
    pub(crate) fn compile(&self, path: &str, text: &[u8]) -> Result<(), ScriptError> {
        compile(&self.lua, path, text, None).map(drop)
    }

    /// Compiles and starts a version that is not served yet, and looks for the functions wanted of
    /// it.
    pub(crate) fn load_candidate(
        &self,
        id: ScriptId,
        main: &Source,
        recorder: Rc<RefCell<Recorder>>,
    ) -> Result<(), ScriptError> {
        let entry = self.ctx.library.entry(id)?;
        let loaded = self.start(id, entry, 0, main, Modules::Disk(recorder))?;
        entry.needs.iter().try_for_each(|need| self.function(&loaded, need).map(drop))
    }

    /// The script as it is to be served now: a comparison of versions, and a rebuild when they
    /// differ.
    pub(crate) fn current(&self, id: ScriptId) -> Result<Rc<Loaded>, ScriptError> {
        let index = id.0 as usize;
        let entry = self.ctx.library.entry(id)?;
        let known = self.scripts.borrow().get(index).cloned().flatten();
        let version = entry.version_word();
        if let Some(loaded) = &known
            && self.keeps(entry)
            && version != 0
            && (loaded.version == version || loaded.refused.get() == version)
        {
            return Ok(loaded.clone());
        }
        entry.check_quarantine()?;
        let rebuilt = self.rebuild(id, entry);
        if let Some(jobs) = &self.ctx.jobs {
            jobs.keep_timers(id, rebuilt.as_ref().ok().or(known.as_deref()).map(|loaded| loaded.version));
        }
        match rebuilt {
            Ok(loaded) => {
                self.forget_strings(|script, version| script == id && version != loaded.version);
                let loaded = Rc::new(loaded);
                let mut scripts = self.scripts.borrow_mut();
                if scripts.len() <= index {
                    scripts.resize(index + 1, None);
                }
                scripts[index] = Some(loaded.clone());
                Ok(loaded)
            }
            Err(error) => match known {
                Some(loaded) if self.keeps(entry) => {
                    let serves = messages::scripts::VERSION_BEFORE_SERVES;
                    let text = format!("{error}; the version before goes on serving");
                    self.ctx.server.log(serves.level(), &serves.line(&text));
                    loaded.refused.set(version);
                    Ok(loaded)
                }
                _ => Err(error),
            },
        }
    }

    /// Whether a script is loaded once a version. With `CodeCache::Never` requests read files each
    /// time; timers have to outlive a call.
    fn keeps(&self, entry: &Entry) -> bool {
        entry.cache != CodeCache::Never || self.ctx.jobs.is_some()
    }

    fn rebuild(&self, id: ScriptId, entry: &Entry) -> Result<Loaded, ScriptError> {
        if !self.keeps(entry) {
            let recorder = Rc::new(RefCell::new(Recorder::default()));
            let main = recorder.borrow_mut().main(entry)?;
            return self.start(id, entry, self.ctx.library.version(id), &main, Modules::Disk(recorder));
        }
        let (bundle, version) = self.ctx.library.current(id)?;
        let main = bundle.main.clone();
        self.start(id, entry, version, &main, Modules::Bundle(bundle))
    }

    /// Compiles and, unless the file is only a body, runs the top level.
    fn start(
        &self,
        id: ScriptId,
        entry: &Entry,
        version: u64,
        main: &Source,
        modules: Modules,
    ) -> Result<Loaded, ScriptError> {
        let label = entry.label();
        let env = self
            .environment(id, entry, version, modules)
            .map_err(|error| ScriptError::from_lua(&error, &label))?;
        let chunk = if entry.only_body() {
            compile(&self.lua, &label, &as_body(&main.text), Some(env.clone()))?
        } else {
            compile(&self.lua, &label, &main.text, Some(env.clone()))?
        };
        let body = OnceCell::new();
        let returned = if entry.only_body() {
            body.set(Rc::new(chunk)).ok();
            Value::Nil
        } else {
            let frame = Frame { script: Some(id), version, phase: Phase::Load };
            let callee = Callee { frame, label: &label, limits: entry.limits, function: &chunk };
            self.guarded(&callee, ())?.0
        };
        let (main, functions, refused) = (main.clone(), RefCell::default(), Cell::new(0));
        Ok(Loaded { version, label, env, returned, body, main, functions, limits: entry.limits, refused })
    }

    fn environment(
        &self,
        id: ScriptId,
        entry: &Entry,
        version: u64,
        modules: Modules,
    ) -> mlua::Result<Table> {
        self.forget_strings(|script, other| (script, other) == (id, version));
        let folder = entry.folder().to_owned();
        let ctx = Rc::downgrade(&self.ctx);
        let require = self.lua.create_function(
            move |lua,
                  (env, name, search): (Table, String, String)|
                  -> mlua::Result<(Value, Option<String>)> {
                let Some(ctx) = ctx.upgrade() else { return Err(mlua::Error::CallbackDestructed) };
                if let Some(module) = crate::ngx::builtin(lua, &ctx, &name)? {
                    return Ok((module, None));
                }
                match modules.find(&search, &folder, &name) {
                    Ok(Some(source)) => {
                        let path = source.path.to_string_lossy().into_owned();
                        let chunk = compile(lua, &path, &source.text, Some(env)).map_err(|error| {
                            mlua::Error::runtime(format!("error loading module '{name}': {}", error.message))
                        })?;
                        Ok((Value::Function(chunk), Some(path)))
                    }
                    Ok(None) => Err(mlua::Error::runtime(missing(&name, &search, &folder))),
                    Err(error) => Err(mlua::Error::runtime(error.message)),
                }
            },
        )?;
        let owner = (id.0, version.cast_signed());
        let env: Table = self.sandbox.environment.call((require, entry.search(), owner.0, owner.1))?;
        self.sandbox.protected.raw_set(&env, Value::Nil)?;
        Ok(env)
    }

    pub(crate) fn function(&self, loaded: &Loaded, name: &str) -> Result<Rc<Function>, ScriptError> {
        if name == "-" {
            if let Some(body) = loaded.body.get() {
                return Ok(body.clone());
            }
            let body =
                compile(&self.lua, &loaded.label, &as_body(&loaded.main.text), Some(loaded.env.clone()))?;
            return Ok(loaded.body.get_or_init(|| Rc::new(body)).clone());
        }
        let found =
            loaded.functions.borrow().iter().find(|(known, _)| **known == *name).map(|(_, f)| f.clone());
        if let Some(function) = found {
            return Ok(function);
        }
        let function = Rc::new(loaded.look_up(name)?);
        loaded.functions.borrow_mut().push((name.into(), function.clone()));
        Ok(function)
    }
}

/// A file that is a function's body sees the request as `r`; the line numbers stay.
fn as_body(text: &[u8]) -> Vec<u8> {
    let comment = if text.starts_with(b"#") { b"--".as_slice() } else { b"" };
    [b"local r = ...; ".as_slice(), comment, text].concat()
}
