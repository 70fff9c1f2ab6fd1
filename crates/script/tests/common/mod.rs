// SPDX-License-Identifier: Apache-2.0
//! A plain server, request and balancer for tests.
#![allow(dead_code, missing_docs, clippy::type_complexity)]

use std::cell::{Cell, RefCell};
mod balancer;
mod request;

pub use balancer::*;
pub use request::*;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use balance::api::*;
use balance::event::By;
use balance::live::Slot;
use balance::member::{Member, MemberSpec};
use balance::order::Order;
use balance::session::{self, Routed, Routes};
use balance::settings::{Method, PoolSettings};
use balance::status::Status;
use balance::url::MemberUrl;
use script::host::{self, Digest, Field, Number, Request, RequestTable, Search, Server};
use script::offline::{PlainDict, PlainValues};
use script::{
    Answer, CheckResult, GoodVersion, Io, Job, JobResult, Library, Limits, LuaState, Phase, Reply,
    ScriptError, ScriptId, Step, judge,
};

#[derive(Default)]
pub struct TestServer {
    pub lines: RefCell<Vec<(u8, String)>>,
    pub clock: Cell<f64>,
    pub place: RefCell<Option<host::Location>>,
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
    fn geo(&self, _address: &str) -> Result<Option<host::Location>, String> {
        Ok(self.place.borrow().clone())
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

    pub fn judge(&self) -> Result<GoodVersion, ScriptError> {
        judge(&self.library, self.id, self.server.clone(), self.balancer.clone())
    }

    /// Judges and installs.
    pub fn take(&self) -> Result<(), ScriptError> {
        let good = self.judge()?;
        self.version.set(self.version.get() + 1);
        good.apply(&*self.balancer, self.version.get()).unwrap();
        self.library.install(self.id, good.bundle, self.version.get());
        Ok(())
    }

    /// A state that is watched, as in a server.
    pub fn state(&self) -> LuaState {
        script::watch::start(limits().time_ms).unwrap();
        self.unwatched()
    }

    pub fn unwatched(&self) -> LuaState {
        LuaState::new(self.server.clone(), self.request.clone(), self.balancer.clone(), self.library.clone())
            .unwrap()
    }

    /// A state with the script taken.
    pub fn started(&self) -> LuaState {
        self.take().unwrap();
        self.state()
    }

    /// A state that runs timers and checks, with the script taken and loaded.
    pub fn background(&self) -> LuaState {
        self.take().unwrap();
        let state = self.unloaded(Arc::default());
        state.load(self.id).unwrap();
        state
    }

    /// A state that runs timers and checks until `stop` is set.
    pub fn unloaded(&self, stop: Arc<AtomicBool>) -> LuaState {
        LuaState::background(self.server.clone(), self.balancer.clone(), self.library.clone(), stop).unwrap()
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
pub fn value(world: &World, state: &LuaState) -> String {
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
pub fn finish(state: &LuaState, mut job: Job) -> Result<Option<JobResult>, ScriptError> {
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
pub fn run_timers(state: &LuaState, now: f64) -> (Option<f64>, Vec<ScriptError>) {
    let runs = state.due(now).into_iter().map(|job| finish(state, job?));
    let failed = runs.filter_map(Result::err).collect();
    (state.next_due(), failed)
}

/// One run of a check, within a second.
pub fn check(
    state: &LuaState,
    world: &World,
    function: &str,
    member: &Arc<Member>,
) -> Result<CheckResult, ScriptError> {
    let timeout = std::time::Duration::from_secs(1);
    match finish(state, state.start_check(world.id, function, member, timeout)?)? {
        Some(JobResult::Check(result)) => Ok(result),
        other => panic!("not a check's: {other:?}"),
    }
}
