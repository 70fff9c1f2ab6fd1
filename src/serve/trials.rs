// SPDX-License-Identifier: Apache-2.0
//! Versions of scripts on trial (`LuaBalancerRollout`): they have a library and Lua states of their
//! own, in which a share of the requests is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use balance::rng::Rng;
use balance::trial::{Rollout, TrialStage, WHOLE};
use config::Planned;
use script::{Bundle, Library, ScriptId};
use table::Table;

use crate::httpd::request::Request;
use crate::serve::generation::Generation;
use crate::serve::lua_states::{LuaStates, Parts};
use crate::serve::scripts;

/// The mark in a version's number that it is of the library of trials: the watch tells by it which
/// library a call that lasts is of. The highest bit is the library's own.
const ON_TRIAL: u64 = 1 << 62;

/// Whether a version's number is one of a version on trial.
pub fn is_on_trial(version: u64) -> bool {
    version & ON_TRIAL != 0
}

/// A script whose saved versions may be on trial.
pub struct TriedScript {
    /// The script.
    pub id: ScriptId,
    /// How its versions come into service.
    pub rollout: Rollout,
    /// The row of its versions on trial.
    pub row: u32,
    is_running: AtomicBool,
}

/// See the module.
pub struct Trials {
    library: Arc<Library>,
    lua: LuaStates,
    /// By script.
    scripts: Vec<Option<TriedScript>>,
}

/// Where a call of a version on trial runs.
pub struct OnTrial<'t> {
    /// The states.
    pub lua: &'t LuaStates,
    /// The row in which it is counted.
    pub row: u32,
}

impl Trials {
    /// The trials of a child. None: no script has any.
    pub fn new(
        generation: &Generation,
        table: &Table,
        parts: impl FnOnce(&Arc<Library>) -> Parts,
    ) -> Option<Self> {
        let config = &generation.main_config.config;
        if !config.has_trials() {
            return None;
        }
        let library = Arc::new(generation.library());
        let of = |(id, planned): (ScriptId, &Planned)| {
            let rollout = planned.rollout.filter(|_| planned.has_trials())?;
            let row = scripts::trial_row(table, &library, id)?;
            Some(TriedScript { id, rollout, row, is_running: AtomicBool::new(false) })
        };
        let scripts = library.ids().zip(&config.scripts).map(of).collect();
        let lua = LuaStates::new(parts(&library));
        let trials = Trials { library, lua, scripts };
        for script in trials.scripts() {
            trials.follow(table, script);
        }
        Some(trials)
    }

    /// The scripts whose versions may be on trial.
    pub fn scripts(&self) -> impl Iterator<Item = &TriedScript> {
        self.scripts.iter().flatten()
    }

    /// A script, if its versions may be on trial.
    pub fn script(&self, id: ScriptId) -> Option<&TriedScript> {
        self.scripts.get(id.0 as usize)?.as_ref()
    }

    /// Where this request's calls of a script run, if not where those of most do.
    #[inline]
    pub fn of(&self, id: ScriptId, request: Request<'_>) -> Option<OnTrial<'_>> {
        let script = self.script(id)?;
        if !script.is_running.load(Ordering::Acquire) {
            return None;
        }
        let is_drawn = Rng::new(request.draw()).below(u64::from(WHOLE)) < u64::from(script.rollout.share);
        is_drawn.then_some(OnTrial { lua: &self.lua, row: script.row })
    }

    /// Has requests served by what is on trial now, or by nothing of that kind.
    pub fn follow(&self, table: &Table, script: &TriedScript) {
        let is_running = table.trial(script.row).is_some_and(|trial| trial.stage == TrialStage::Running)
            && self.has_newest(table, script);
        if script.is_running.swap(is_running, Ordering::AcqRel) && !is_running {
            self.lua.clear();
        }
    }

    /// Takes the newest version, if it is not here yet.
    fn has_newest(&self, table: &Table, script: &TriedScript) -> bool {
        let here = self.library.version(script.id) & !ON_TRIAL;
        if here == table.script_version(script.row) {
            return here != 0;
        }
        let Some((version, bytes)) = table.read_script(script.row) else { return false };
        let Ok(bundle) = Bundle::from_bytes(&bytes) else { return false };
        self.library.install(script.id, bundle, ON_TRIAL | version);
        true
    }
}
