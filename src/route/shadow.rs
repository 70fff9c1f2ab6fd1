// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerShadow`: asks a function that decides nothing, once the decision about a request is
//! made, and compares the two.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use balance::engine::Handle;
use balance::frozen::Frozen;
use balance::packed::beginning;
use balance::relay::HookStatus;
use balance::rng::Rng;
use balance::settings::PoolSettings;
use balance::shadow::{ShadowDifference, ShadowEnd};
use balance::trial::WHOLE;
use balance::trouble::Trouble;
use config::{OnError, Resolved};
use explain::visit::{HookPlace, visit};
use explain::{Ground, Hook, Plan, Ruling};
use script::host::Request as RequestHost;
use script::{ErrorKind, Library, LuaState, Phase, ScriptError, ScriptId};
use table::Table;

use super::sameness::{self, Decided};
use crate::guard::guard;
use crate::httpd::pool::Shelf;
use crate::httpd::request::Request;
use crate::httpd::{log, memory};
use crate::relay::record::Record;
use crate::serve::child::{self, Child};
use crate::serve::scope::Scope;
use crate::serve::shadows::ShadowSeat;

/// Makes the draw of a shadow another one than that of a version on trial.
const DRAW: u64 = 0x7368_6164_6f77;

/// A path, and a query if there is one.
type Target = (Vec<u8>, Option<Vec<u8>>);

/// Path and query of a request before the hooks that decide about it.
#[derive(Default)]
struct Asked(RefCell<Option<Target>>);

static ASKED: Shelf<Asked> = Shelf::new(c"lua_balancer path before hooks");

/// Hooks are next, which may write another path: a shadow gets the one that they get.
#[cold]
pub fn keep_asked(request: Request<'_>) {
    let path = request.uri_text().bytes().to_vec();
    *ASKED.get(request.pool()).0.borrow_mut() = Some((path, request.args().map(<[u8]>::to_vec)));
}

/// Gives a copy of a request the path and query that the hooks got.
fn put_asked(request: Request<'_>, copied: Request<'_>) {
    if let Some(asked) = ASKED.find(request.pool())
        && let Some((path, args)) = &*asked.0.borrow()
    {
        copied.set_uri(path);
        copied.set_args(args.as_deref());
    }
}

/// Compares what shadows would do with what was decided: `status` is what the hooks of the request
/// have come to. Nothing of the request changes.
#[cold]
pub fn compare(request: Request<'_>, status: HookStatus) {
    guard((), || {
        let Some(child) = child::get().filter(|_| request.is_initial()) else { return };
        let Some(scope) = Scope::of(request, child) else { return };
        let shadows = scope.hooks(|section| section.shadow);
        let Some(decided) = shadows.first().and_then(|_| decided(request, child, &scope, status)) else {
            return;
        };
        for shadow in shadows {
            if is_drawn(request, &scope, shadow) {
                ask((request, child), shadow, &decided);
            }
        }
    });
}

fn is_drawn(request: Request<'_>, scope: &Scope<'_>, shadow: &Resolved) -> bool {
    let share = scope.main.config.scripts.get(shadow.script).and_then(|planned| planned.shadow);
    let share = u64::from(share.unwrap_or(0));
    share == u64::from(WHOLE) || Rng::new(request.draw() ^ DRAW).below(u64::from(WHOLE)) < share
}

/// The decision about a request. None: nobody of ours had a say.
fn decided(request: Request<'_>, child: &Child, scope: &Scope<'_>, status: HookStatus) -> Option<Decided> {
    let answered =
        |status| Decided { ruling: Ruling::Answer { status, body: None, failed: false }, by_hook: true };
    match status {
        HookStatus::Http(status) => return Some(answered(status)),
        HookStatus::Done => return Some(answered(u16::try_from(request.status()).unwrap_or(200))),
        HookStatus::Ok | HookStatus::Declined => {}
        HookStatus::Suspended | HookStatus::FilterError | HookStatus::Unknown(_) => return None,
    }
    let Some(record) = Record::of(request).filter(|record| record.is_of(request)) else {
        let has_hooks = [scope.hooks(|section| section.translate), scope.hooks(|section| section.select)];
        let asked = has_hooks.iter().any(|hooks| !hooks.is_empty());
        return asked.then_some(Decided { ruling: Ruling::Declined, by_hook: true });
    };
    let route = record.route();
    let name = |script: Resolved| Hook {
        id: child.script(script.script),
        function: script.function,
        phase: Phase::Select,
    };
    let decision = route.decision.clone().with_script(name);
    let plan = Plan { decision, key: route.key.clone(), picked_by: route.picked_by };
    Some(Decided { ruling: Ruling::Send(plan), by_hook: route.chosen.is_some() || route.borrowed })
}

/// Asks a shadow, and counts how it compares.
fn ask((request, child): (Request<'_>, &Child), shadow: &Resolved, decided: &Decided) {
    let id = child.script(shadow.script);
    let hook = Hook { id, function: shadow.function.clone(), phase: Phase::Select };
    let began_ns = memory::monotonic_ns();
    let said = child.shadows.with(request, |state, copied| {
        put_asked(request, copied);
        let standpoint = Standpoint { child, request: copied, state, failure: Cell::default() };
        let said = standpoint.ask(&hook);
        let is_declined = matches!(said, Ok(Ruling::Declined));
        let end = said.map(|ruling| {
            let is_same = sameness::is_same(&standpoint, decided, &ruling);
            (!is_same).then(|| [&decided.ruling, &ruling].map(|one| sameness::text(&standpoint, one)))
        });
        end.map(|differs| (differs, is_declined))
    });
    let said = said.and_then(|said| said);
    let took_ns = memory::monotonic_ns().saturating_sub(began_ns);
    child.count_call(id, said.as_ref().map(|(_, is_declined)| *is_declined), took_ns);
    let row = child.script_rows.get(shadow.script).copied().flatten();
    let end = match &said {
        Ok((None, _)) => ShadowEnd::Agree,
        Ok((Some(_), _)) => ShadowEnd::Differ,
        Err(_) => ShadowEnd::Failed,
    };
    if let Some(row) = row {
        child.table.count_shadow(row, end);
    }
    match said {
        Ok((None, _)) => {}
        Ok((Some([decided, shadow]), _)) => {
            if let Some(row) = row {
                note(request, child, row, [decided, shadow]);
            }
        }
        Err(error) => {
            child.note_failed(id, None, &error);
            log::request(request, messages::scripts::SHADOW_FAILED, &format!("LuaBalancerShadow: {error}"));
            if !error.traceback.is_empty() && log::logs_request(request, log::DEBUG) {
                log::request(request, messages::scripts::TRACEBACK, &error.traceback.replace('\n', " | "));
            }
        }
    }
}

fn note(request: Request<'_>, child: &Child, row: u32, [decided, shadow]: [String; 2]) {
    let url = String::from_utf8_lossy(request.unparsed_uri().unwrap_or_default());
    let path = url.split('?').next().unwrap_or_default();
    let at_s = memory::epoch_s();
    // Control characters and secrets go; a target may be any text of a script's.
    let clean = |text: &str, most: usize| beginning(&Trouble::new(at_s, text).text, most).to_owned();
    let difference = ShadowDifference {
        at_s,
        path: clean(path, ShadowDifference::PATH),
        decided: clean(&decided, ShadowDifference::DECISION),
        shadow: clean(&shadow, ShadowDifference::DECISION),
    };
    child.table.note_difference(row, &difference, memory::monotonic_ms());
}

/// A shadow's call, as the ground of its decision.
struct Standpoint<'c> {
    child: &'c Child,
    request: Request<'c>,
    state: &'c ShadowSeat,
    failure: Cell<Option<String>>,
}

impl Standpoint<'_> {
    /// The shadow's decision. Nothing is sent.
    fn ask(&self, hook: &Hook) -> Result<Ruling, ScriptError> {
        let place = HookPlace {
            early: Vec::new(),
            line: &|| None,
            late: vec![hook.clone()],
            on_error: &OnError::Error,
        };
        let mut visited = visit(self, &place, |_| {});
        if let Some(Err(error)) = visited.hooks.pop().map(|call| call.said) {
            return Err(error);
        }
        match visited.verdict {
            Ruling::Answer { failed: true, .. } => {
                let text = self.failure.take().unwrap_or_else(|| "it failed".to_owned());
                Err(ScriptError::new(ErrorKind::Answer, text))
            }
            ruling => Ok(ruling),
        }
    }
}

impl Ground for Standpoint<'_> {
    type Store = Frozen<Table>;

    fn handle(&self) -> &Handle<Frozen<Table>> {
        &self.state.handle
    }

    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]> {
        self.child.keys.of_pool(self.request, settings)
    }

    fn state(&self) -> &LuaState {
        &self.state.lua
    }

    fn request(&self) -> &dyn RequestHost {
        &*self.state.fields
    }

    fn library(&self) -> &Library {
        &self.child.library
    }

    fn method_script(&self, written: &str) -> Option<ScriptId> {
        self.child.method_script(written)
    }

    fn seconds(&self) -> Option<f64> {
        None
    }

    fn fail(&self, text: String) {
        self.failure.set(Some(text));
    }

    fn has_called(&self, _: ScriptId, _: Option<&ScriptError>) {}
}
