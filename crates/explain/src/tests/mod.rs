// SPDX-License-Identifier: Apache-2.0
//! Decisions over the plain host: pools in memory, a script in a text, a request of data.

mod documents;
mod ends;
mod rulings;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use balance::api::Balancer;
use balance::engine::Handle;
use balance::memory::MemoryStore;
use balance::settings::PoolSettings;
use config::OnError;
use script::host::Request;
use script::offline::{Clock, PlainRequest, PlainServer, Pools};
use script::{Library, LuaState, Phase, ScriptError, ScriptId, judge};

use crate::ended::settle;
use crate::visit::{HookPlace, visit};
use crate::{Ground, Hook, Ruling, Told};

/// Pools, a script and a request.
struct Stage {
    pools: Pools,
    request: Rc<PlainRequest>,
    library: Arc<Library>,
    script: ScriptId,
    state: LuaState,
    /// Seconds that pass with each look at the clock; None: there is none.
    tick: Option<f64>,
    looks: Cell<u32>,
    errors: RefCell<Vec<String>>,
}

/// A folder of its own that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("explain-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Two members of a pool that asks the first one.
const APP: &str = "<LuaBalancerPool app>\n\
    LuaBalancerMember http://127.0.0.1:1 name=a\n\
    LuaBalancerMember http://127.0.0.1:2 name=b\n\
    LuaBalancerMethod first\n\
    </LuaBalancerPool>\n";

impl Stage {
    fn new(pools: &str, script: &str) -> Self {
        let server = Rc::new(PlainServer::new(Rc::new(Clock::at(1e9))));
        let made = Pools::new(1);
        made.configure(pools).expect("pools");
        let mut builder = Library::builder();
        let folder = Folder::new();
        let file = folder.0.join("hooks.lua");
        std::fs::write(&file, script).expect("write the script");
        let id = builder.file(file, &[]);
        let library = Arc::new(builder.build());
        let good = judge(&library, id, server.clone(), made.balancer()).expect("a script");
        library.install(id, good.bundle, 7);
        let request = Rc::new(PlainRequest::new("GET", "/x"));
        let state = LuaState::new(server, request.clone(), made.balancer(), library.clone());
        Stage {
            pools: made,
            request,
            library,
            script: id,
            state: state.expect("a state"),
            tick: None,
            looks: Cell::new(0),
            errors: RefCell::default(),
        }
    }

    /// A translate hook with this body, over the pool of two.
    fn answering(body: &str) -> Self {
        Stage::new(APP, &format!("function translate(r)\n{body}\nend"))
    }

    fn hook(&self, function: &str, phase: Phase) -> Hook {
        Hook { id: self.script, function: function.to_owned(), phase }
    }

    /// The end of a request that this function of the script decides about.
    fn told(&self, function: &str, on_error: &OnError) -> Told {
        let early = vec![self.hook(function, Phase::Translate)];
        self.told_at(&HookPlace { early, line: &|| None, late: Vec::new(), on_error })
    }

    fn told_at(&self, place: &HookPlace<'_>) -> Told {
        let visited = visit(self, place, |_| ());
        let (ended, candidates) = settle(self, &visited);
        Told { visited, ended, candidates }
    }

    /// The same in one line: pool, member or target with the method, status, reason, message.
    fn said(&self, function: &str) -> String {
        self.line_of(&self.told(function, &OnError::Error))
    }

    fn line_of(&self, told: &Told) -> String {
        let ended = &told.ended;
        if ended.declined {
            return "declined".into();
        }
        let pool = ended.pool.and_then(|pool| self.pools.handle().now(pool));
        let is_served = ended.member.is_some() || ended.target.is_some();
        let words = [
            pool.map(|pool| pool.membership().name.to_string()),
            ended.member.as_ref().map(|member| member.spec.name.clone()),
            ended.target.clone(),
            is_served.then(|| ended.method.to_owned()),
            Some(ended.status.to_string()),
            Some(ended.reason.to_owned()),
            ended.message.clone(),
        ];
        let words: Vec<String> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
        words.join(" ")
    }

    /// Gives the pool's first member as many requests in flight.
    fn first_has(&self, count: u32) {
        let handle = self.pools.handle();
        let app = handle.find("app").and_then(|app| handle.now(app)).expect("the pool");
        self.pools.store().set_inflight(app.membership().members[0].slot, count);
    }

    /// The errors that were noted, taken.
    fn errors(&self) -> String {
        self.errors.take().join("; ")
    }
}

impl Ground for Stage {
    type Store = MemoryStore;

    fn handle(&self) -> &Handle<MemoryStore> {
        self.pools.handle()
    }

    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]> {
        let key = settings.key.as_ref().and_then(|key| self.request.expr_text(key).ok());
        Cow::Owned(key.unwrap_or_default())
    }

    fn state(&self) -> &LuaState {
        &self.state
    }

    fn request(&self) -> &dyn Request {
        &*self.request
    }

    fn library(&self) -> &Library {
        &self.library
    }

    fn method_script(&self, written: &str) -> Option<ScriptId> {
        (written == "hooks.lua").then_some(self.script)
    }

    fn seconds(&self) -> Option<f64> {
        self.looks.set(self.looks.get() + 1);
        self.tick.map(|tick| tick * f64::from(self.looks.get()))
    }

    fn fail(&self, text: String) {
        self.errors.borrow_mut().push(text);
    }

    fn has_called(&self, _: ScriptId, _: Option<&ScriptError>) {}
}
