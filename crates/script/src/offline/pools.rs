// SPDX-License-Identifier: Apache-2.0
//! Pools in memory, with the engine that a server has.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use balance::api::{Balancer, ChangeError, PoolId};
use balance::engine::{Engine, Handle};
use balance::member::MemberSpec;
use balance::memory::MemoryStore;
use balance::settings::PoolSettings;
use balance::words;

/// Lines about changes of members.
type Notices = Arc<Mutex<Vec<String>>>;

/// Pools of one process. The same seed makes the same draws.
pub struct Pools {
    handle: Rc<Handle<MemoryStore>>,
    engine: Arc<Engine<MemoryStore>>,
    notices: Notices,
}

impl Default for Pools {
    fn default() -> Self {
        Pools::new(1)
    }
}

impl Pools {
    /// None yet.
    pub fn new(seed: u64) -> Self {
        let notices = Notices::default();
        let own = notices.clone();
        let note = move |event: &balance::event::Event| {
            own.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_string())
        };
        let engine = Engine::new(MemoryStore::new(), Box::new(note));
        Pools { handle: Rc::new(Handle::new(engine.clone(), seed)), engine, notices }
    }

    /// The balancer that scripts ask.
    pub fn balancer(&self) -> Rc<dyn Balancer> {
        self.handle.clone()
    }

    /// The engine's handle, for picks that look at members without a copy.
    pub fn handle(&self) -> &Rc<Handle<MemoryStore>> {
        &self.handle
    }

    /// The store of the pools.
    pub fn store(&self) -> &MemoryStore {
        self.engine.store()
    }

    /// Takes what was noted about members so far.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Defines a pool, or defines it anew.
    ///
    /// # Errors
    /// As [`Balancer::define`].
    pub fn define(
        &self,
        name: &str,
        settings: PoolSettings,
        members: Vec<MemberSpec>,
    ) -> Result<PoolId, ChangeError> {
        self.handle.define(name, settings, members, 0)
    }

    /// Defines the pools of a piece of configuration: sections `<LuaBalancerPool name>` and what
    /// stands in them. Other lines are not its own, and left out.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn configure(&self, text: &str) -> Result<(), String> {
        let mut open: Option<Section> = None;
        for line in text.lines().map(str::trim) {
            let lower = line.to_ascii_lowercase();
            if let Some(name) = lower.strip_prefix("<luabalancerpool") {
                let name = line[line.len() - name.len()..].trim_end_matches('>').trim();
                open = Some(Section { name: name.to_owned(), ..Section::default() });
            } else if lower.starts_with("</luabalancerpool") {
                if let Some(Section { name, settings, members }) = open.take() {
                    self.define(&name, settings, members).map_err(|error| format!("{line}: {error}"))?;
                }
            } else if let Some(section) = &mut open {
                section.take(line).map_err(|error| format!("{line}: {error}"))?;
            }
        }
        open.map_or(Ok(()), |section| Err(format!("<LuaBalancerPool {}> has no end", section.name)))
    }
}

#[derive(Default)]
struct Section {
    name: String,
    settings: PoolSettings,
    members: Vec<MemberSpec>,
}

impl Section {
    fn take(&mut self, line: &str) -> Result<(), String> {
        let words = words::split(line).map_err(|error| error.to_string())?;
        let Some((directive, words)) = words.split_first().filter(|(name, _)| !name.starts_with('#')) else {
            return Ok(());
        };
        if !directive.eq_ignore_ascii_case("LuaBalancerMember") {
            return self.settings.set_directive(directive, words).map_err(|error| error.to_string());
        }
        let (url, keys) = words.split_first().ok_or("expected a URL")?;
        let taken = |name: &str| self.members.iter().any(|other| other.name == name);
        let spec = MemberSpec::parse_beside(url, keys, taken).map_err(|error| error.to_string())?;
        if taken(&spec.name) {
            return Err(format!("there is a member named {} already", spec.name));
        }
        self.members.push(spec);
        Ok(())
    }
}
