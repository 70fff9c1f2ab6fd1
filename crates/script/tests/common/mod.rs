// SPDX-License-Identifier: Apache-2.0
//! A plain server, request and balancer for tests.
#![allow(dead_code, missing_docs, clippy::type_complexity)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use balance::api::*;
use balance::event::By;
use balance::member::{Connection, Member, MemberSpec};
use balance::order::Order;
use balance::settings::{Method, PoolSettings};
use balance::status::Status;
use balance::url::MemberUrl;
use script::host::{self, Digest, Field, Number, Request, Search, Server, Table};
use script::offline::{PlainDict, PlainValues};
use script::{
    Answer, Candidate, CheckResult, Io, Job, Library, Limits, Phase, Reply, ScriptError, ScriptId, State,
    Step, judge,
};

#[derive(Default)]
pub struct TestServer {
    pub lines: RefCell<Vec<(u8, String)>>,
    pub clock: Cell<f64>,
    pub place: RefCell<Option<host::Place>>,
    pub values: Rc<PlainValues>,
}

impl Server for TestServer {
    fn log(&self, level: u8, text: &str) {
        self.lines.borrow_mut().push((level, text.to_owned()));
    }
    fn logs(&self, level: u8) -> bool {
        level <= 7
    }
    fn now(&self) -> f64 {
        self.clock.get()
    }
    fn time(&self) -> f64 {
        1_700_000_000.5
    }
    fn shared(&self) -> Rc<dyn host::SharedValues> {
        self.values.clone()
    }
    fn dict(&self, name: &str) -> Option<Rc<dyn host::Dict>> {
        (name == "d").then(|| Rc::new(PlainDict::new(Rc::default(), 1 << 20)) as Rc<dyn host::Dict>)
    }
    fn worker(&self) -> u32 {
        0
    }
    fn workers(&self) -> u32 {
        1
    }
    fn is_defined(&self, _name: &str) -> bool {
        false
    }
    fn looks_at(&self, _path: &Path) {}
    fn account(&self) -> Option<String> {
        None
    }
    fn geo(&self, _address: &str) -> Result<Option<host::Place>, String> {
        Ok(self.place.borrow().clone())
    }
}

pub struct TestRequest {
    pub active: Cell<bool>,
    pub fields: RefCell<BTreeMap<String, Vec<u8>>>,
    pub numbers: RefCell<BTreeMap<String, i64>>,
    pub tables: RefCell<Vec<(Table, Vec<u8>, Vec<u8>)>>,
    pub body: RefCell<Option<Vec<u8>>>,
}

impl Default for TestRequest {
    fn default() -> Self {
        let request = TestRequest {
            active: Cell::new(true),
            fields: RefCell::default(),
            numbers: RefCell::default(),
            tables: RefCell::default(),
            body: RefCell::default(),
        };
        request.put(Field::Method, "GET");
        request.put(Field::Uri, "/app/list");
        request.put(Field::UnparsedUri, "/app/list?a=1&b=x%20y&a=2");
        request.put(Field::Args, "a=1&b=x%20y&a=2");
        request.put(Field::Hostname, "www.example.org");
        request.put(Field::UseragentIp, "192.0.2.7");
        request.put(Field::Protocol, "HTTP/1.1");
        request.put(Field::TheRequest, "GET /app/list?a=1&b=x%20y&a=2 HTTP/1.1");
        request.put(Field::Scheme, "https");
        request.put(Field::ServerName, "example.org");
        request.put(Field::DocumentRoot, "/var/www");
        request.put(Field::LogId, "abc123");
        request.count(Number::Port, 443);
        request.count(Number::ClientPort, 50_000);
        request.count(Number::Status, 200);
        request.count(Number::Started, 1_700_000_000_000_000);
        request.count(Number::IsHttps, 1);
        request.count(Number::IsInitial, 1);
        request.header("Host", "www.example.org");
        request.header("X-Multi", "one");
        request.header("X-Multi", "two");
        request.header("Cookie", "session=abc; beta=1");
        request
    }
}

impl TestRequest {
    pub fn put(&self, field: Field, value: &str) {
        self.fields.borrow_mut().insert(format!("{field:?}"), value.into());
    }
    pub fn count(&self, field: Number, value: i64) {
        self.numbers.borrow_mut().insert(format!("{field:?}"), value);
    }
    pub fn header(&self, key: &str, value: &str) {
        self.tables.borrow_mut().push((Table::HeadersIn, key.into(), value.into()));
    }
    pub fn value(&self, table: Table, key: &str) -> Option<String> {
        let mut found = None;
        self.get(table, key.as_bytes(), &mut |value| {
            found = value.map(|value| String::from_utf8_lossy(value).into_owned());
        });
        found
    }
    pub fn text(&self, field: Field) -> Option<String> {
        let fields = self.fields.borrow();
        fields.get(&format!("{field:?}")).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

impl Request for TestRequest {
    fn active(&self) -> bool {
        self.active.get()
    }
    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.fields.borrow().get(&format!("{field:?}")).map(Vec::as_slice));
    }
    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        let mut fields = self.fields.borrow_mut();
        match value {
            Some(value) => drop(fields.insert(format!("{field:?}"), value.to_vec())),
            None => drop(fields.remove(&format!("{field:?}"))),
        }
        Ok(())
    }
    fn number(&self, field: Number) -> i64 {
        self.numbers.borrow().get(&format!("{field:?}")).copied().unwrap_or(0)
    }
    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        self.count(field, value);
        Ok(())
    }
    fn get(&self, table: Table, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        let tables = self.tables.borrow();
        let found = tables.iter().find(|(t, k, _)| *t == table && k.eq_ignore_ascii_case(key));
        f(found.map(|(_, _, value)| value.as_slice()));
    }
    fn set(&self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let mut tables = self.tables.borrow_mut();
        tables.retain(|(t, k, _)| *t != table || !k.eq_ignore_ascii_case(key));
        if let Some(value) = value {
            tables.push((table, key.to_vec(), value.to_vec()));
        }
        Ok(())
    }
    fn add(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.tables.borrow_mut().push((table, key.to_vec(), value.to_vec()));
        Ok(())
    }
    fn each(&self, table: Table, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        for (t, key, value) in self.tables.borrow().iter() {
            if *t == table && !f(key, value) {
                return;
            }
        }
    }
    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.body.borrow().as_deref().filter(|body| body.len() <= max));
    }
    fn ssl_var(&self, name: &str) -> Option<Vec<u8>> {
        (name == "SSL_PROTOCOL").then(|| b"TLSv1.3".to_vec())
    }
    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        [b"https://example.org", path].concat()
    }
    fn expr(&self, expression: &str, _restricted: bool) -> Result<bool, String> {
        match expression {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("syntax error in {other}")),
        }
    }
    fn expr_word(&self, word: &str, _restricted: bool) -> Result<Vec<u8>, String> {
        Ok(word.as_bytes().to_vec())
    }
    fn regex(&self, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        let Search { text, pattern, flags, .. } = *search;
        // Good enough for tests: a literal with one group around it.
        if pattern.contains("((") {
            return Err("unmatched parentheses".into());
        }
        let text = String::from_utf8_lossy(text).into_owned();
        let literal = pattern.replace(['(', ')'], "");
        let found = if flags.contains('i') {
            text.to_lowercase().find(&literal.to_lowercase())
        } else {
            text.find(&literal)
        };
        Ok(found.map(|at| {
            let hit = text.as_bytes()[at..at + literal.len()].to_vec();
            vec![Some(hit.clone()), Some(hit)]
        }))
    }
    fn regex_each(
        &self,
        search: &Search<'_>,
        f: &mut dyn FnMut(Vec<Option<std::ops::Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        let Search { text, pattern, from, .. } = *search;
        let text = String::from_utf8_lossy(text).into_owned();
        let named = pattern.contains("(?<name>");
        let literal = pattern.replace("?<name>", "").replace(['(', ')'], "");
        for (at, hit) in text.match_indices(&literal).filter(|(at, _)| *at >= from) {
            let place = Some(at..at + hit.len());
            if !f(vec![place.clone(), place]) {
                break;
            }
        }
        Ok(if named { vec![(1, "name".to_owned())] } else { Vec::new() })
    }
    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8> {
        let length = if kind == Digest::Md5 { 16 } else { 20 };
        (0..length).map(|at| at as u8 ^ data.len() as u8).collect()
    }
    fn expr_text(&self, expression: &str) -> Result<Vec<u8>, String> {
        Ok(expression.trim_start_matches("%{").trim_end_matches('}').as_bytes().to_vec())
    }
    fn serial(&self) -> u64 {
        self.number(Number::Started).cast_unsigned()
    }
    fn server_addr(&self) -> Option<String> {
        Some("192.0.2.1".into())
    }
    fn custom_response(&self, _status: u16, _text: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// One pool in memory; picks in turn, whatever the method.
pub struct TestPool {
    pub name: String,
    pub settings: PoolSettings,
    pub members: Vec<Arc<Member>>,
    pub version: u64,
}

#[derive(Default)]
pub struct TestBalancer {
    pub pools: RefCell<Vec<TestPool>>,
    pub status: RefCell<BTreeMap<u32, Status>>,
    pub cursor: Cell<usize>,
    pub picks: RefCell<Vec<String>>,
    pub quiet: Cell<bool>,
    pub slots: Cell<u32>,
    pub defined: Cell<u32>,
}

pub fn spec(host: &str, port: u16) -> MemberSpec {
    let url = MemberUrl { scheme: "http".into(), host: host.into(), port, path: String::new(), socket: None };
    let name = format!("{host}:{port}");
    MemberSpec {
        url,
        route: name.clone(),
        name,
        weight: 100,
        redirect: None,
        zone: None,
        lbset: 0,
        flags: 0,
        max_inflight: 0,
        slow_start_ms: None,
        first_ejection_ms: None,
        meta: Vec::new(),
        connection: Connection::default(),
    }
}

impl TestBalancer {
    pub fn with_pool(self, name: &str, specs: Vec<MemberSpec>) -> Self {
        self.define(name, PoolSettings::default(), specs, 0).unwrap();
        self.defined.set(0);
        self
    }
    fn make(&self, spec: MemberSpec) -> Arc<Member> {
        let slot = self.slots.get();
        self.slots.set(slot + 1);
        self.status.borrow_mut().insert(slot, Status::new(spec.weight, spec.lbset, spec.flags));
        Arc::new(Member { slot, incarnation: 1, order: slot, spec })
    }
    pub fn down(&self, name: &str) {
        for pool in self.pools.borrow().iter() {
            for member in pool.members.iter().filter(|member| member.spec.name == name) {
                let mut all = self.status.borrow_mut();
                let status = all[&member.slot];
                all.insert(member.slot, status.with(Status::CHECK_DOWN));
            }
        }
    }
}

pub fn takes(view: Option<&View>, member: &Member) -> bool {
    view.is_none_or(|view| {
        view.steps.iter().all(|step| match step {
            ViewStep::Where(pairs) => pairs.iter().all(|(key, value)| match key.as_str() {
                "zone" => member.spec.zone.as_ref() == Some(value),
                "name" => member.spec.name == *value,
                _ => member.spec.meta.iter().any(|(k, v)| k == key && v == value),
            }),
            ViewStep::Except(names) => !names.contains(&member.spec.name),
            ViewStep::Only(names) => names.contains(&member.spec.name),
        })
    })
}

impl Balancer for TestBalancer {
    fn find(&self, name: &str) -> Option<PoolId> {
        self.pools
            .borrow()
            .iter()
            .position(|pool| pool.name.eq_ignore_ascii_case(name))
            .map(|at| PoolId(at as u32))
    }
    fn names(&self) -> Vec<String> {
        self.pools.borrow().iter().map(|pool| pool.name.clone()).collect()
    }
    fn membership(&self, pool: PoolId) -> Option<Arc<Membership>> {
        let pools = self.pools.borrow();
        let found = pools.get(pool.0 as usize)?;
        Some(Arc::new(Membership {
            pool,
            name: found.name.as_str().into(),
            version: found.version,
            members: found.members.clone(),
        }))
    }
    fn settings(&self, pool: PoolId) -> Option<Arc<PoolSettings>> {
        self.pools.borrow().get(pool.0 as usize).map(|pool| Arc::new(pool.settings.clone()))
    }
    fn pick(&self, query: Query<'_>) -> Result<Arc<Member>, NoMember> {
        let pools = self.pools.borrow();
        let pool = pools.get(query.pool.0 as usize).ok_or(NoMember::UnknownPool)?;
        if !self.quiet.get() {
            let key = String::from_utf8_lossy(query.key).into_owned();
            self.picks.borrow_mut().push(format!("{:?} {key}", query.method).trim().to_owned());
        }
        let status = self.status.borrow();
        let turn = self.cursor.get();
        self.cursor.set(turn + 1);
        let fits = |member: &&Arc<Member>| takes(query.view, member) && status[&member.slot].usable();
        let usable = pool.members.iter().filter(fits).count();
        if usable == 0 {
            let all = pool.members.len();
            return Err(NoMember::NoneUsable(pool.name.as_str().into(), 0, all));
        }
        let nth = pool.members.iter().filter(fits).nth(turn % usable);
        nth.cloned().ok_or(NoMember::UnknownPool)
    }
    fn usable(&self, pool: PoolId, view: Option<&View>) -> usize {
        let members = self.membership(pool).map(|m| m.members.clone()).unwrap_or_default();
        members.iter().filter(|member| takes(view, member) && self.is_usable(member)).count()
    }
    fn is_usable(&self, member: &Member) -> bool {
        self.status(member).is_some_and(Status::usable)
    }
    fn status(&self, member: &Member) -> Option<Status> {
        self.status.borrow().get(&member.slot).copied()
    }
    fn stats(&self, _member: &Member) -> Stats {
        Stats { inflight: 3, latency_ms: 1.5, requests: 10, failures: 2, since: 1_700_000_000 }
    }
    fn change(&self, member: &Member, change: Change, _by: &By) -> Result<(), ChangeError> {
        let mut all = self.status.borrow_mut();
        let status = all.get_mut(&member.slot).ok_or(ChangeError::Removed)?;
        *status = match change {
            Change::SetWeight(weight) => status.with_weight(weight),
            Change::Drain => status.with(Status::DRAINING),
            Change::Disable => status.with(Status::DISABLED),
            Change::Enable => status.without(Status::DRAINING | Status::DISABLED),
            Change::Switch(_) | Change::Recount => unreachable!("no script orders that"),
        };
        Ok(())
    }
    fn order(&self, _member: &Member, _order: Option<&Order>) -> Result<(), ChangeError> {
        Err(ChangeError::Removed)
    }
    fn add(&self, pool: PoolId, spec: MemberSpec, _by: &By) -> Result<Arc<Member>, ChangeError> {
        let member = self.make(spec);
        let mut pools = self.pools.borrow_mut();
        let pool = pools.get_mut(pool.0 as usize).ok_or(ChangeError::UnknownPool)?;
        pool.members.push(member.clone());
        Ok(member)
    }
    fn remove(&self, pool: PoolId, name: &str, _by: &By) -> Result<(), ChangeError> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.get_mut(pool.0 as usize).ok_or(ChangeError::UnknownPool)?;
        let at = pool.members.iter().position(|member| member.spec.name == name);
        let at =
            at.ok_or_else(|| ChangeError::UnknownMember { pool: pool.name.clone(), name: name.to_owned() })?;
        let gone = pool.members.remove(at);
        self.status.borrow_mut().remove(&gone.slot);
        Ok(())
    }
    fn define(
        &self,
        name: &str,
        settings: PoolSettings,
        members: Vec<MemberSpec>,
        version: u64,
    ) -> Result<PoolId, ChangeError> {
        self.defined.set(self.defined.get() + 1);
        let members: Vec<_> = members.into_iter().map(|spec| self.make(spec)).collect();
        let mut pools = self.pools.borrow_mut();
        let pool = TestPool { name: name.to_owned(), settings, members, version };
        match pools.iter().position(|known| known.name == name) {
            Some(at) => {
                pools[at] = pool;
                Ok(PoolId(at as u32))
            }
            None => {
                pools.push(pool);
                Ok(PoolId(pools.len() as u32 - 1))
            }
        }
    }
}

/// A folder of its own that goes with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lb-script-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // A new file and a rename: what editors do, and never the same inode.
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Everything for one script.
pub struct World {
    pub server: Rc<TestServer>,
    pub request: Rc<TestRequest>,
    pub balancer: Rc<TestBalancer>,
    pub library: Arc<Library>,
    pub folder: Folder,
    pub id: ScriptId,
    pub version: Cell<u64>,
}

pub fn pool_of_three() -> TestBalancer {
    let mut specs = vec![spec("a", 1), spec("b", 2), spec("c", 3)];
    specs[1].zone = Some("eu".into());
    specs[2].zone = Some("eu".into());
    specs[2].meta = vec![("version".into(), "2".into())];
    TestBalancer::default().with_pool("app", specs).with_pool("api", vec![spec("x", 9)])
}

/// A builder with limits that tests can wait for.
pub fn limits() -> Limits {
    Limits { time_ms: 200, memory_bytes: 4 << 20, timer_time_ms: 400 }
}

impl World {
    pub fn new(text: &str, need: &str) -> World {
        World::with(text, &[need], |builder| builder)
    }

    pub fn with(text: &str, needs: &[&str], set: impl FnOnce(script::Builder) -> script::Builder) -> World {
        let folder = Folder::new();
        let path = folder.write("main.lua", text);
        let mut builder = set(Library::builder().limits(limits()));
        let id = builder.file(&path, &[]);
        for need in needs {
            builder.need(id, need);
        }
        World {
            server: Rc::default(),
            request: Rc::default(),
            balancer: Rc::new(pool_of_three()),
            library: Arc::new(builder.build()),
            folder,
            id,
            version: Cell::new(0),
        }
    }

    pub fn judge(&self) -> Result<Candidate, ScriptError> {
        judge(&self.library, self.id, self.server.clone(), self.balancer.clone())
    }

    /// Judges and installs.
    pub fn take(&self) -> Result<(), ScriptError> {
        let candidate = self.judge()?;
        self.version.set(self.version.get() + 1);
        candidate.apply(&*self.balancer, self.version.get()).unwrap();
        self.library.install(self.id, candidate.bundle, self.version.get());
        Ok(())
    }

    /// A state that is watched, as in a server.
    pub fn state(&self) -> State {
        script::watch::start(limits().time_ms).unwrap();
        self.unwatched()
    }

    pub fn unwatched(&self) -> State {
        State::new(self.server.clone(), self.request.clone(), self.balancer.clone(), self.library.clone())
            .unwrap()
    }

    /// A state with the script taken.
    pub fn started(&self) -> State {
        self.take().unwrap();
        self.state()
    }

    /// A state that runs timers and checks, with the script taken and loaded.
    pub fn background(&self) -> State {
        self.take().unwrap();
        let state = self.unloaded(Arc::default());
        state.load(self.id).unwrap();
        state
    }

    /// A state that runs timers and checks until `stop` is set.
    pub fn unloaded(&self, stop: Arc<AtomicBool>) -> State {
        State::background(self.server.clone(), self.balancer.clone(), self.library.clone(), stop).unwrap()
    }

    /// Everything logged so far.
    pub fn lines(&self) -> Vec<String> {
        self.server.lines.borrow().iter().map(|(_, line)| line.clone()).collect()
    }

    pub fn path(&self) -> String {
        self.folder.0.join("main.lua").to_string_lossy().into_owned()
    }
}

/// The answer of a function body.
pub fn answer(body: &str) -> Result<Answer, ScriptError> {
    let world = World::new(&format!("function f(r)\n{body}\nend"), "f");
    let state = world.started();
    state.select(world.id, "f", Phase::Translate)
}

/// The text that a function body gives as a status message: for looking at values of scripts.
pub fn value(world: &World, state: &State) -> String {
    match state.select(world.id, "f", Phase::Translate) {
        Ok(Answer::NoMember { message, .. }) => message,
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("error: {error}"),
    }
}

/// `value` of an expression.
pub fn eval(expression: &str) -> String {
    let world = World::new(&format!("function f(r) return nil, tostring({expression}) end"), "f");
    let state = world.started();
    value(&world, &state)
}

pub fn name_of(answer: &Answer) -> String {
    match answer {
        Answer::Member(member) => member.spec.name.clone(),
        other => format!("{other:?}"),
    }
}

pub fn method_names(balancer: &TestBalancer) -> Vec<String> {
    balancer.picks.borrow().clone()
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}

pub const ROUND_ROBIN: Method = Method::RoundRobin;

/// Runs a job alone to its end, over blocking sockets.
pub fn finish(state: &State, mut job: Job) -> Result<Option<CheckResult>, ScriptError> {
    let mut reply = Reply::Nothing;
    loop {
        reply = match state.resume(&mut job, reply) {
            Step::Done(result) => return result,
            Step::Again => Reply::Nothing,
            Step::Wait(io) => perform(io),
        };
    }
}

/// Does what a job waits for.
pub fn perform(io: Io) -> Reply {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    let words = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => "timeout".to_owned(),
    };
    let stream = |on: &script::Connection| on.0.clone().downcast::<TcpStream>().unwrap();
    match io {
        Io::Http(request) => panic!("not here: {request:?}"),
        Io::Resolve { host, .. } => panic!("not here: {host}"),
        Io::Sleep { timeout } => {
            std::thread::sleep(timeout);
            Reply::Slept
        }
        Io::Connect { host, port, .. } => {
            let made = TcpStream::connect((host, port)).map_err(words);
            Reply::Connected(made.map(|stream| script::Connection(Rc::new(stream))))
        }
        Io::Send { on, data, .. } => Reply::Sent((&*stream(&on)).write_all(&data).map_err(words)),
        Io::Receive { on, timeout } => {
            let stream = stream(&on);
            stream.set_read_timeout(Some(timeout)).unwrap();
            let mut chunk = vec![0; 4096];
            Reply::Received(match (&*stream).read(&mut chunk) {
                Ok(0) => Err("closed".into()),
                Ok(count) => Ok(chunk[..count].to_vec()),
                Err(error) => Err(words(error)),
            })
        }
    }
}

/// Runs the timers due at `now`; the time of the next one, and what failed.
pub fn run_timers(state: &State, now: f64) -> (Option<f64>, Vec<ScriptError>) {
    let runs = state.due(now).into_iter().map(|job| finish(state, job?));
    let failed = runs.filter_map(Result::err).collect();
    (state.next_due(), failed)
}

/// One run of a check, within a second.
pub fn check(
    state: &State,
    world: &World,
    function: &str,
    member: &Arc<Member>,
) -> Result<CheckResult, ScriptError> {
    let timeout = std::time::Duration::from_secs(1);
    finish(state, state.start_check(world.id, function, member, timeout)?).map(|result| result.unwrap())
}
