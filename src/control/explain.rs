// SPDX-License-Identifier: Apache-2.0
//! `POST /api/v1/explain`: what would be decided for a described request. Its scripts run in a
//! state of their own, over members and dictionaries of which nothing moves.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use balance::engine::{Engine, Handle};
use balance::frozen::Frozen;
use balance::settings::PoolSettings;
use config::{OnError, Resolved};
use control::{Described, Unexplained};
use explain::ended::settle;
use explain::visit::{HookPlace, visit};
use explain::{Ground, Hook, Told, document};
use render::explained::{DecisionDoc, ExplainedDoc};
use script::host::Request as RequestHost;
use script::{Library, LuaState, Phase, ScriptError, ScriptId};
use table::Table;

use crate::httpd::described::{DescribedParts, DescribedRequest};
use crate::httpd::memory;
use crate::httpd::order;
use crate::httpd::request::Request;
use crate::serve::child::Child;
use crate::serve::host::{CurrentRequest, HttpdServer};
use crate::serve::read_only::{ReadOnlyServer, UnsentFields};
use crate::serve::scope::Scope;

/// Explanations that a child makes at the same time. A script that takes as long as it may holds up
/// no more than these.
const MOST: u32 = 2;

static RUNNING: AtomicU32 = AtomicU32::new(0);

/// One of those at the same time.
struct Running;

impl Running {
    fn begin() -> Option<Self> {
        let room = |running: u32| (running < MOST).then_some(running + 1);
        RUNNING.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok().map(|_| Running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Explains what would become of a request.
pub fn explain(child: &Child, described: &Described) -> Result<ExplainedDoc, Unexplained> {
    let _running = Running::begin().ok_or(Unexplained::Busy)?;
    let parts = DescribedParts {
        method: &described.method,
        uri: &described.uri,
        headers: &described.headers,
        client: described.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        port: described.port.unwrap_or(0),
        is_secure: described.uri.starts_with("https://"),
    };
    let made = DescribedRequest::new(&parts).ok_or(Unexplained::NoMemory)?;
    let request = made.request().ok_or(Unexplained::NoMemory)?;
    if made.refused != 0 {
        return Ok(refused(made.refused));
    }
    let current = Rc::new(CurrentRequest::new(child.keys.clone()));
    let _entered = current.enter(request);
    Standpoint::new(child, request, current.clone())?.explain(described)
}

/// httpd answers the request before anybody is asked.
fn refused(status: u16) -> ExplainedDoc {
    ExplainedDoc {
        hook: None,
        decision: DecisionDoc {
            pool: None,
            view: None,
            method: None,
            member: None,
            status: Some(status),
            because: "httpd refuses the URL or the Host before any hook".to_owned(),
        },
        candidates: Vec::new(),
        session: None,
        then: Vec::new(),
        unknown: Vec::new(),
    }
}

/// A child as the ground of one explanation.
struct Standpoint<'c> {
    child: &'c Child,
    request: Request<'c>,
    fields: Rc<UnsentFields>,
    engine: Arc<Engine<Frozen<Table>>>,
    handle: Rc<Handle<Frozen<Table>>>,
    state: LuaState,
    errors: RefCell<Vec<String>>,
    unknown: RefCell<Vec<String>>,
}

impl<'c> Standpoint<'c> {
    fn new(child: &'c Child, request: Request<'c>, current: Rc<CurrentRequest>) -> Result<Self, Unexplained> {
        let engine = Engine::new(Frozen::over(child.engine.clone()), Box::new(|_| ()));
        let handle = Rc::new(Handle::new(engine.clone(), memory::seed()));
        let server = HttpdServer::new(current.clone(), child.lane.index(), child.dicts.clone());
        let fields = Rc::new(UnsentFields::of(current));
        let server = Rc::new(ReadOnlyServer::over(server));
        let state = LuaState::new(server, fields.clone(), handle.clone(), child.library.clone());
        let state = state.map_err(|error| Unexplained::Broken(error.to_string()))?;
        let (errors, unknown) = (RefCell::default(), RefCell::default());
        Ok(Standpoint { child, request, fields, engine, handle, state, errors, unknown })
    }

    fn explain(&self, described: &Described) -> Result<ExplainedDoc, Unexplained> {
        let scope = Scope::of(self.request, self.child);
        let scope = scope.ok_or_else(|| Unexplained::Broken("there is no configuration here".to_owned()))?;
        let hooks = |all: &[Resolved], phase| -> Vec<Hook> {
            let hook = |hook: &Resolved| Hook {
                id: self.child.script(hook.script),
                function: hook.function.clone(),
                phase,
            };
            all.iter().map(hook).collect()
        };
        let on_error: &OnError = scope.on_error();
        let line = || self.line();
        let place = HookPlace {
            early: hooks(scope.hooks(|section| section.translate), Phase::Translate),
            line: &line,
            late: hooks(scope.hooks(|section| section.select), Phase::Select),
            on_error,
        };
        let visited = visit(self, &place, |phase| {
            if phase == Phase::Select
                && let Some(user) = &described.user
            {
                self.request.set_user(Some(user.as_bytes()));
            }
        });
        let (ended, candidates) = settle(self, &visited);
        let failed = ended.reason == "script";
        let told = Told { visited, ended, candidates };
        let mut document = document::of(self, &told, Vec::new());
        if failed && let Some(error) = self.errors.borrow().first() {
            document.decision.because = explain::words::bounded(error);
        }
        document.unknown = self.all_unknown(&scope);
        Ok(document)
    }

    /// Where mod_proxy sends the request, and the line that says so.
    fn line(&self) -> Option<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some((url, line, unknown)) = self.child.api.mapped(self.request) {
            if unknown {
                self.note("variables in the target of ProxyPass (ProxyPassInterpolateEnv)");
            }
            let directive = if line.is_pattern { "ProxyPassMatch" } else { "ProxyPass" };
            return Some((text(&url), format!("{directive} {} {}", text(line.front), text(line.url))));
        }
        let target = self.request.set_handler_here()?.strip_prefix(b"proxy:")?;
        Some((text(target), format!("SetHandler \"proxy:{}\"", text(target))))
    }

    fn note(&self, what: &str) {
        self.unknown.borrow_mut().push(what.to_owned());
    }

    fn all_unknown(&self, scope: &Scope<'_>) -> Vec<String> {
        let mut all = self.unknown.take();
        let mut note = |is: bool, what: &str| all.extend(is.then(|| what.to_owned()));
        let rewrites = order::rewrites() || scope.rewrites().iter().any(Option::is_some);
        note(rewrites, "mod_rewrite: its rules were not applied");
        note(self.request.has_conditions(), "<If>: conditions of sections were not evaluated");
        note(self.fields.asked_tls.get(), "TLS: its variables are those of a connection without it");
        note(self.fields.asked_body.get(), "the body: it was taken for none");
        for what in self.engine.store().changes() {
            all.push(format!("{what}: the script changes them, which this explanation alone sees"));
        }
        all.dedup();
        all
    }
}

impl Ground for Standpoint<'_> {
    type Store = Frozen<Table>;

    fn handle(&self) -> &Handle<Frozen<Table>> {
        &self.handle
    }

    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]> {
        if let Some(key) = &settings.key {
            self.fields.looks_at(key);
        }
        self.child.keys.of_pool(self.request, settings)
    }

    fn state(&self) -> &LuaState {
        &self.state
    }

    fn request(&self) -> &dyn RequestHost {
        &*self.fields
    }

    fn library(&self) -> &Library {
        &self.child.library
    }

    fn method_script(&self, written: &str) -> Option<ScriptId> {
        self.child.method_script(written)
    }

    fn seconds(&self) -> Option<f64> {
        Some(memory::monotonic_us() as f64 / 1e6)
    }

    fn fail(&self, text: String) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < 8 {
            errors.push(text);
        }
    }

    fn has_called(&self, _: ScriptId, _: Option<&ScriptError>) {}
}
