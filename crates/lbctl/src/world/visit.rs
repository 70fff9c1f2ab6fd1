// SPDX-License-Identifier: Apache-2.0
//! A visit of a request to the hooks of a world, and to mod_proxy's lines behind them.

use balance::choosing::Decision;
use balance::settings::Method;
use config::Resolved;
use explain::visit::{HookPlace, by_line, visit};
use explain::{Hook, Plan, Ruling, Visited};
use script::{FinishResult, Phase, ScriptError};

use super::World;
use super::ask::Ask;
use crate::conf::site::Scope;

impl World {
    /// Asks everybody who has a say, in the server's order. The request stays in its place.
    pub fn visit(&self, ask: &Ask) -> Visited {
        let (name, port) = ask.server();
        let scope = self.setup.site.scope(name, port, ask.path());
        let line = || self.only.is_none().then(|| scope.pass(ask.path())).flatten();
        let place = HookPlace {
            early: self.hooks(ask, &scope, Phase::Translate),
            line: &line,
            late: self.hooks(ask, &scope, Phase::Select),
            on_error: scope.on_error(&self.setup.config),
        };
        if !place.early.is_empty() || !place.late.is_empty() {
            return visit(self, &place, |phase| ask.put(&self.request, phase == Phase::Select));
        }
        let mut visited = Visited { hooks: Vec::new(), verdict: Ruling::Declined, by_line: None };
        by_line(self, &place, &mut visited);
        let finish = self.hooks(ask, &scope, Phase::Finish);
        if !finish.is_empty() || self.looks_at_requests(&visited.verdict) {
            ask.put(&self.request, true);
        }
        visited
    }

    /// Whether anything but the members decides where a request goes.
    fn looks_at_requests(&self, verdict: &Ruling) -> bool {
        let Ruling::Send(Plan { decision: Decision::Pool { pool, .. }, .. }) = verdict else { return true };
        self.handle().now(*pool).is_none_or(|now| {
            let settings = now.settings();
            settings.key.is_some()
                || settings.sticky.is_some()
                || matches!(settings.method, Method::Lua { .. })
        })
    }

    /// `LuaHookFinish`. Returns what went wrong.
    pub fn finish(&self, ask: &Ask, result: &FinishResult) -> Vec<ScriptError> {
        let (name, port) = ask.server();
        let scope = self.setup.site.scope(name, port, ask.path());
        let hooks = self.hooks(ask, &scope, Phase::Finish);
        let run = |hook: &Hook| self.state().finish(hook.id, &hook.function, result).err();
        hooks.iter().filter_map(run).collect()
    }

    fn hooks(&self, ask: &Ask, scope: &Scope<'_>, phase: Phase) -> Vec<Hook> {
        if let Some(only) = &self.only {
            let usual = if ask.user.is_some() { Phase::Select } else { Phase::Translate };
            let function = match phase {
                Phase::Finish => only.finish.clone(),
                _ => (only.phase.unwrap_or(usual) == phase).then(|| only.function.clone()),
            };
            return function.map(|function| Hook { id: only.id, function, phase }).into_iter().collect();
        }
        let of: crate::conf::site::HooksOf = match phase {
            Phase::Translate => |section| section.translate,
            Phase::Select => |section| section.select,
            _ => |section| section.finish,
        };
        let all = scope.hooks(&self.setup.config, of).iter();
        let hook = |resolved: &Resolved| {
            Some(Hook { id: self.script(resolved.script)?, function: resolved.function.clone(), phase })
        };
        all.filter_map(hook).collect()
    }
}
