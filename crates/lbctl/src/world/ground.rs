// SPDX-License-Identifier: Apache-2.0
//! A world as what explanations stand on.

use std::borrow::Cow;
use std::sync::Arc;

use balance::api::NoMember;
use balance::choosing::{Circumstances, Course};
use balance::engine::{Handle, Now};
use balance::live::Slot;
use balance::member::Member;
use balance::memory::MemoryStore;
use balance::settings::PoolSettings;
use balance::sticky::Sent;
use explain::{Ground, Hook, ground};
use script::host::Request;
use script::{Library, LuaState, ScriptId};

use super::World;

impl Circumstances for World {
    type Store = MemoryStore;
    type Script = Hook;

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

    fn with_sent<T>(&self, body: impl FnOnce(Sent<'_>) -> T) -> T {
        ground::with_sent(&*self.request, body)
    }

    fn pick_by_script(
        &self,
        pool: &Now,
        script: (&str, &str),
        avoid: &[Slot],
    ) -> Result<Arc<Member>, NoMember> {
        ground::pick_by_script(self, pool, script, avoid)
    }

    fn name_again(&self, script: &Hook, course: &Course) -> Result<(Arc<str>, u32), NoMember> {
        ground::name_again(self, script, course)
    }

    fn listens(&self) -> bool {
        false
    }

    fn tell(&self, _: &str) {}
}

impl Ground for World {
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
}
