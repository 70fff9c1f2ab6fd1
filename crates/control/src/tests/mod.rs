// SPDX-License-Identifier: Apache-2.0
//! Requests against a house on the heap.

mod changes;
mod conditions;
mod decisions;
mod description;
mod discovery;
mod documents;
mod doors;
mod events;
mod explaining;
mod golden;
mod hostile;
mod lists;
mod promtool;
mod sharing;

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use balance::api::Balancer;
use balance::counts::Histogram;
use balance::engine::{Engine, Handle};
use balance::event::Event;
use balance::guard::SourceAsk;
use balance::history::{HistorySample, PoolHistory};
use balance::journal::{EventEntry, JournalPart};
use balance::member::MemberSpec;
use balance::memory::MemoryStore;
use balance::settings::PoolSettings;
use balance::shadow::{ShadowCounts, ShadowDifference, ShadowState};
use balance::snapshot::{
    ChildState, DictState, Extent, Fill, LeadState, Room, ScriptState, ScriptVerdict, Snapshot, SourceState,
};
use balance::steering::Steering;
use balance::store::Store;
use balance::trial::{Rollout, Trial, TrialStage};
use balance::trouble::Trouble;
use render::explained::ExplainedDoc;
use render::metrics::Options;
use serde_json::Value;

use crate::{
    Admin, Caller, Described, Door, Facts, House, OrderStore, Request, Response, StateSeen, Unexplained,
    admit, respond,
};

/// 2026-11-29T12:00:00Z.
pub(super) const NOON: u64 = 1_795_953_600;

/// A house whose pools are on the heap.
pub(super) struct Heap {
    pub engine: Arc<Engine<MemoryStore>>,
    handle: Handle<MemoryStore>,
    pub now_s: Cell<u64>,
    /// Lines of the log: of the balancer, and of the house.
    pub log: Arc<Mutex<Vec<String>>>,
    /// The journal.
    pub journal: Arc<Mutex<Vec<EventEntry>>>,
    /// From where the journal was read, each time.
    pub read_from: RefCell<Vec<Option<u64>>>,
    /// Sampled requests.
    pub decisions: RefCell<Vec<Vec<u8>>>,
    /// How many of the first events are not known any more.
    pub forgotten: Cell<u64>,
    pub lead: Cell<Option<LeadState>>,
    pub fill: Cell<Option<Fill>>,
    pub options: Cell<Options>,
    pub reduced: RefCell<Vec<bool>>,
    /// Requests that were to be explained.
    pub described: RefCell<Vec<Described>>,
    pub may_change: Cell<bool>,
    pub state: RefCell<Option<StateSeen>>,
    pub pruned: Cell<usize>,
    pub may_prune: Cell<bool>,
    /// How often everything was read.
    pub snapshots: Cell<usize>,
    /// Another table has taken the place of this house's.
    pub superseded: Cell<bool>,
    /// Members that the configuration names: all that were there at first.
    configured: RefCell<Vec<String>>,
    /// The wishes about sources that the leading child was told.
    pub asked: RefCell<Vec<(String, String, SourceAsk)>>,
    pub sources: RefCell<Vec<SourceState>>,
    /// Where orders are shared.
    pub orders: Option<sharing::FakeStore>,
}

/// Pool `app` with members a, b and c; pool `api` with nobody.
pub(super) fn house() -> Heap {
    house_of(&[
        "http://10.0.0.1:8080 name=a weight=5 zone=eu meta.version=2",
        "http://10.0.0.2:8080 name=b max_inflight=9 timeout=5s redirect=a secret=hush",
        "http://10.0.0.3:8080 name=c status=+N lbset=1",
    ])
}

pub(super) fn house_of(lines: &[&str]) -> Heap {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let journal: Arc<Mutex<Vec<EventEntry>>> = Arc::default();
    let (store, lines_of_log, entries) = (MemoryStore::new(), log.clone(), journal.clone());
    store.set_now_s(NOON);
    let settings =
        PoolSettings::from_text("LuaBalancerHealthCheck http uri=/up header=\"Authorization: x\"\n");
    let specs: Vec<MemberSpec> = lines.iter().map(|line| spec(line)).collect();
    store.define("app", &settings.expect("settings"), &specs, 1).expect("a pool");
    store.define("api", &PoolSettings::default(), &[], 1).expect("a pool");
    let notice = move |event: &balance::event::Event| {
        lines_of_log.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_string());
        entries.lock().unwrap_or_else(PoisonError::into_inner).extend(EventEntry::of(event, NOON));
    };
    let engine = Engine::new(store, Box::new(notice));
    Heap {
        handle: Handle::new(engine.clone(), 1),
        engine,
        now_s: Cell::new(NOON),
        log,
        journal,
        read_from: RefCell::default(),
        decisions: RefCell::default(),
        forgotten: Cell::new(0),
        lead: Cell::new(Some(LeadState { pid: 101, generation: 3, fresh: true, since_s: NOON - 60 })),
        fill: Cell::new(Some(fill(3, 64))),
        options: Cell::default(),
        reduced: RefCell::default(),
        described: RefCell::default(),
        may_change: Cell::new(true),
        state: RefCell::default(),
        pruned: Cell::new(0),
        may_prune: Cell::new(true),
        snapshots: Cell::default(),
        superseded: Cell::default(),
        asked: RefCell::default(),
        sources: RefCell::default(),
        orders: None,
        configured: RefCell::new(specs.into_iter().map(|spec| spec.name).collect()),
    }
}

pub(super) fn fill(used: usize, of: usize) -> Fill {
    let room = Room { used: 1, of: 64 };
    Fill { members: Room { used, of }, pools: room, children: room, text: room, scripts: room }
}

pub(super) fn spec(line: &str) -> MemberSpec {
    MemberSpec::from_line(line).expect("a member's line")
}

impl Heap {
    /// The lines of the log since the last call.
    pub fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn store(&self) -> &MemoryStore {
        self.engine.store()
    }

    /// The row of a member of pool `app`.
    pub fn slot(&self, name: &str) -> u32 {
        let pool = self.handle.find("app").expect("the pool");
        let members = self.handle.membership(pool).expect("the pool").members.clone();
        members.iter().find(|member| member.spec.name == name).expect("the member").slot
    }

    pub fn balancer(&self) -> &dyn Balancer {
        &self.handle
    }

    /// A request over the socket.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        Ask::new(method, path).body(body).of(self)
    }

    /// The document that a GET answers.
    pub fn get(&self, path: &str) -> Value {
        let response = self.ask("GET", path, "");
        assert_eq!(response.status, 200, "{path}: {}", text(&response));
        json(&response)
    }

    /// Names of the members of pool `app`.
    pub fn names(&self) -> Vec<String> {
        let members = self.get("/api/v1/pools/app/members");
        let names = members.as_array().expect("a list").iter();
        names.map(|member| member["name"].as_str().expect("a name").to_owned()).collect()
    }
}

impl House for Heap {
    fn lead(&self) -> Option<LeadState> {
        self.lead.get()
    }

    fn usable(&self, pool: &str) -> Option<(Arc<str>, usize)> {
        let found = self.handle.find(pool)?;
        Some((self.handle.membership(found)?.name.clone(), self.handle.usable(found, None)))
    }

    fn snapshot(&self, extent: Extent<'_>) -> Snapshot {
        self.snapshots.set(self.snapshots.get() + 1);
        let mut all = self.store().snapshot_of(extent);
        let counts = balance::counts::ScriptCounts {
            ok: 7,
            error: 1,
            sum_us: 1_500,
            reloads: [1, 2, 0],
            ..Default::default()
        };
        let error = |text: &str| Some(Trouble { at_s: NOON - 60, text: text.into() });
        let difference = |decided: &str, shadow: &str| ShadowDifference {
            at_s: NOON - 30,
            path: "/cart".into(),
            decided: decided.into(),
            shadow: shadow.into(),
        };
        all.scripts = vec![ScriptState {
            row: Some(0),
            label: "route.lua".into(),
            version: 2,
            verdict: ScriptVerdict::Serves,
            counts,
            trial: Some((
                Trial { stage: TrialStage::Running, began_ms: 5_000, calls: 40, failed: 0 },
                Rollout::default(),
            )),
            shadow: None,
            last_error: error("/etc/apache2/lua/route.lua:7: attempt to index a nil value"),
        }];
        all.scripts.push(ScriptState {
            row: Some(1),
            label: "next.lua (shadow)".into(),
            trial: None,
            shadow: Some(ShadowState {
                share: 1_050,
                counts: ShadowCounts { agree: 90, differ: 2, failed: 1 },
                differences: vec![
                    difference("app/a by round_robin", "app/b"),
                    difference("declined", "status 403"),
                ],
            }),
            last_error: None,
            ..all.scripts[0].clone()
        });
        all.dicts = vec![DictState {
            name: "seen".into(),
            size: 1_048_576,
            free: 1_000_000,
            evictions: 4,
            last_error: None,
        }];
        all.lead = self.lead.get();
        all.children = [101, 102].map(|pid| ChildState { pid, generation: 3, last_error: None }).to_vec();
        all.children[1].last_error = error("the history will not outlive this configuration");
        all.fill = self.fill.get();
        all.sources = self.sources.borrow().clone();
        // Members that are defined here are the configuration's.
        for pool in &mut all.pools {
            pool.origin = balance::store::Origin::Configuration;
        }
        all
    }

    fn history(&self, pool: &str) -> Option<PoolHistory> {
        let mut all = HistorySample {
            at_ms: NOON * 1000 + 400,
            span_ms: 2_000,
            errors: 1,
            retries: 2,
            inflight: 3,
            queued: 0,
            usable: 2,
            histogram: Histogram::default(),
        };
        (0..20).for_each(|at| all.histogram.observe(at * 1_000));
        let none = HistorySample { errors: 0, retries: 0, histogram: Histogram::default(), ..all };
        let later = |one: HistorySample, s: u64| HistorySample { at_ms: one.at_ms + s * 1000, ..one };
        let recent = vec![all, later(none, 2), later(HistorySample { span_ms: 8_000, ..all }, 10)];
        (pool == "app").then(|| PoolHistory { recent, day: vec![HistorySample { span_ms: 300_000, ..all }] })
    }

    fn steering(&self) -> &dyn Steering {
        &self.handle
    }

    fn facts(&self) -> Facts {
        Facts {
            version: "0.1.0",
            httpd: "Apache/2.4.99 (Test)".into(),
            lua: "Lua 5.4",
            generation: 3,
            started_s: NOON - 3_600,
            clock_ms: Some(1_000_000),
            lead_changes: Some(1),
            fronts: self.orders.as_ref().map(|_| 3),
            store: self.orders.as_ref().map(|store| (!store.away.get(), NOON)),
            unheld: vec![],
            state_trouble: self.state.borrow().as_ref().and_then(|seen| Some((seen.trouble.clone()?, NOON))),
        }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.now_s.get())
    }

    fn place(&self, _pool: &str, member: &str) -> Option<String> {
        let known = self.configured.borrow();
        known.iter().position(|name| name == member).map(|at| format!("sites-enabled/x.conf:{}", at + 12))
    }

    fn is_ending(&self) -> bool {
        false
    }

    fn is_superseded(&self) -> bool {
        self.superseded.get()
    }

    fn note(&self, entries: &[EventEntry]) {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(entries);
    }

    fn log(&self, events: &[Event], others: &[EventEntry]) {
        let lines = events.iter().map(Event::to_string);
        let lines = lines.chain(others.iter().map(|entry| entry.message.clone()));
        self.log.lock().unwrap_or_else(PoisonError::into_inner).extend(lines);
    }

    fn journal(&self, since: Option<u64>) -> JournalPart {
        self.read_from.borrow_mut().push(since);
        let all = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = self.forgotten.get();
        let next = all.len() as u64 + 1;
        let from = since.filter(|since| *since <= next).unwrap_or(1);
        let known = (1..).zip(all.iter().cloned()).skip_while(|(seq, _)| *seq < from.max(forgotten + 1));
        let lost = if since.is_some() { (forgotten + 1).saturating_sub(from.max(1)) } else { 0 };
        JournalPart { entries: known.collect(), next, lost }
    }

    fn decisions(&self) -> Vec<Vec<u8>> {
        self.decisions.borrow().clone()
    }

    fn next_event(&self) -> u64 {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).len() as u64 + 1
    }

    fn may_change(&self, _who: &str) -> bool {
        self.may_change.get()
    }

    fn metrics(&self) -> Options {
        self.options.get()
    }

    fn state_file(&self) -> Option<StateSeen> {
        self.state.borrow().clone()
    }

    fn prune_state(&self) -> Result<(), String> {
        self.pruned.set(self.pruned.get() + 1);
        if self.may_prune.get() { Ok(()) } else { Err("nobody leads".into()) }
    }

    fn ask_source(&self, pool: &str, source: &str, ask: SourceAsk) -> Result<(), String> {
        self.asked.borrow_mut().push((pool.to_owned(), source.to_owned(), ask));
        if self.may_prune.get() { Ok(()) } else { Err("nobody leads".into()) }
    }

    fn explain(&self, described: &Described) -> Result<ExplainedDoc, Unexplained> {
        self.described.borrow_mut().push(described.clone());
        match described.uri.as_str() {
            "/busy" => Err(Unexplained::Busy),
            "/broken" => Err(Unexplained::Broken("it is broken".into())),
            _ => Ok(explaining::explained()),
        }
    }

    fn order_store(&self) -> Option<&dyn OrderStore> {
        self.orders.as_ref().map(|store| store as &dyn OrderStore)
    }

    fn metrics_reduced(&self, reduced: bool) {
        self.reduced.borrow_mut().push(reduced);
    }
}

/// A request, in parts.
pub(super) struct Ask {
    method: String,
    base: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    caller: Caller,
    admin: Admin,
}

impl Ask {
    /// Over the socket, by root. A body is JSON, if no header says otherwise.
    pub fn new(method: &str, url: &str) -> Self {
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        Ask {
            method: method.into(),
            base: String::new(),
            path: path.into(),
            query: query.map(str::to_owned),
            headers: Vec::new(),
            body: Vec::new(),
            caller: Caller { door: Door::Socket, user: Some("root".into()), from: None },
            admin: Admin::default(),
        }
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Through the handler at `/lb`, by this user, where this may be changed.
    pub fn handler(mut self, user: Option<&str>, admin: Admin) -> Self {
        let from = Some("10.0.0.5".into());
        self.caller = Caller { door: Door::Handler, user: user.map(str::to_owned), from };
        (self.base, self.admin) = ("/lb".into(), admin);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            self = self.header("host", "lb.example.org");
        }
        self
    }

    pub fn door(mut self, door: Door) -> Self {
        self.caller.door = door;
        self
    }

    pub fn base(mut self, base: &str, path: &str) -> Self {
        (self.base, self.path) = (base.into(), path.into());
        self
    }

    pub fn of(mut self, house: &Heap) -> Response {
        if !self.body.is_empty() && !self.headers.iter().any(|(name, _)| name == "content-type") {
            self = self.header("content-type", "application/json");
        }
        respond(&self.request(), house)
    }

    /// The status that the head alone is refused with, 0 for one that may go on; and the head.
    pub fn admitted(self, house: &Heap) -> (u16, String) {
        let request = self.request();
        let status = admit(&request, house).map_or_else(|response| response.status, |_| 0);
        (status, format!("{} {} {:?}", self.method, self.path, self.headers))
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            base: &self.base,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            body: &self.body,
            caller: self.caller.clone(),
            admin: self.admin.clone(),
        }
    }
}

pub(super) fn on() -> Admin {
    Admin { on: true, names: vec!["lb.example.org".into()], ..Admin::default() }
}

pub(super) fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

pub(super) fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {}", text(response)))
}

pub(super) fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    let mut all = response.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    let found = all.next().map(|(_, value)| value.as_str());
    assert!(all.next().is_none(), "{name} twice");
    found
}

/// Fails unless the answer is a problem of this status that says so.
#[track_caller]
pub(super) fn refused(response: &Response, status: u16, says: &str) {
    let said = text(response);
    assert_eq!(response.status, status, "{said}");
    assert_eq!(header(response, "content-type"), Some("application/problem+json"), "{said}");
    let problem = json(response);
    assert_eq!(problem["status"], status, "{said}");
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{said}");
    let whole = problem["detail"].as_str().unwrap_or_default();
    assert!(whole.contains(says), "{said} should say {says:?}");
}
