// SPDX-License-Identifier: Apache-2.0
//! A world as the ground of explanations.

use std::borrow::Cow;

use balance::engine::Handle;
use balance::memory::MemoryStore;
use balance::settings::PoolSettings;
use explain::Ground;
use script::host::Request;
use script::{Library, LuaState, ScriptError, ScriptId};

use super::World;

impl Ground for World {
    type Store = MemoryStore;

    #[inline]
    fn handle(&self) -> &Handle<MemoryStore> {
        self.pools.handle()
    }

    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]> {
        let Some(key) = &settings.key else { return Cow::Borrowed(b"") };
        match self.request.expr_text(key) {
            Ok(text) => Cow::Owned(text),
            Err(error) => {
                self.fail(format!("key=\"{key}\": {error}"));
                Cow::Borrowed(b"")
            }
        }
    }

    fn state(&self) -> &LuaState {
        World::state(self)
    }

    fn request(&self) -> &dyn Request {
        &*self.request
    }

    fn library(&self) -> &Library {
        &self.library
    }

    fn method_script(&self, written: &str) -> Option<ScriptId> {
        let known = self.setup.config.method_scripts.iter().find(|(known, _)| known == written);
        self.script(known?.1)
    }

    /// Virtual time stands still while a script runs.
    fn seconds(&self) -> Option<f64> {
        None
    }

    fn fail(&self, text: String) {
        World::fail(self, text);
    }

    fn has_called(&self, script: ScriptId, error: Option<&ScriptError>) {
        self.patience.note(&self.library, script, error);
    }
}
