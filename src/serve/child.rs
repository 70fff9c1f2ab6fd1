// SPDX-License-Identifier: Apache-2.0
//! A child's own values (the table's handle, frozen configuration, workers, scripts, the background
//! thread), and those of each of its threads.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use balance::engine::{Engine, Handle};
use script::{Library, ScriptId};
use table::Table;

use crate::faults;
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::pool::{Ends, MemoryPool};
use crate::httpd::proxy::{Api, SchemeHandler};
use crate::httpd::tls::TlsModules;
use crate::httpd::worker::{Worker, WorkerPool};
use crate::keep::dicts::Dicts;
use crate::keep::doors::Doors;
use crate::keep::events;
use crate::keep::state::StateFile;
use crate::serve::admitted::Admitted;
use crate::serve::answering::Answering;
use crate::serve::background::Background;
use crate::serve::fronts::FrontShelf;
use crate::serve::generation::{Generation, Timer};
use crate::serve::keys::KeyExpressions;
use crate::serve::lists::ListDesk;
use crate::serve::lua_states::{LuaStates, Parts, Versions};
use crate::serve::own_config::Main;
use crate::serve::places::MemberPlaces;
use crate::serve::shadows::Shadows;
use crate::serve::store::OrderShelf;
use crate::serve::trials::Trials;
use crate::serve::troubles;
use crate::serve::waiting_room::WaitingRoom;
use crate::serve::workers::Workers;
use crate::vetting::Asker;

/// One child process.
pub struct Child {
    /// The shared table.
    pub table: Table,
    /// Dictionaries.
    pub dicts: Arc<Dicts>,
    /// This child's lane of in-flight counts.
    pub lane: table::ChildLane,
    /// The configuration's number.
    pub generation: u32,
    /// Picks.
    pub engine: Arc<Engine<Table>>,
    /// Scripts.
    pub library: Arc<Library>,
    /// Lua states.
    pub lua: LuaStates,
    /// Lua states of shadows.
    pub shadows: Shadows,
    /// Requests that wait for a place.
    pub room: WaitingRoom,
    /// Connection pools.
    pub workers: Workers,
    /// Where TLS settings come from.
    pub sections: TlsModules,
    /// The worker that `lb://` requests have until an attempt picks one.
    pub stand_in: Option<Worker>,
    /// mod_proxy.
    pub api: &'static Api,
    /// The schemes' handlers, in mod_proxy's order.
    pub scheme_handlers: Vec<SchemeHandler>,
    /// The configuration as it was read.
    pub main_config: &'static Main,
    /// Parsed `key=` expressions.
    pub keys: Arc<KeyExpressions>,
    /// Rows of the scripts in the table, by script.
    pub script_rows: Vec<Option<u32>>,
    /// Versions of scripts on trial, where there may be any.
    pub trials: Option<Box<Trials>>,
    /// Questions of sources for functions of scripts.
    pub lists: ListDesk,
    /// `LuaBalancerTimer`.
    pub timers: Vec<Timer>,
    /// Scripts of `LuaBalancerMethod lua` and Lua checks, by path as written.
    method_scripts: Vec<(String, ScriptId)>,
    /// The databases of `LuaBalancerGeoIP`; the parent read them, so that all children share their
    /// pages.
    pub geo: Option<Arc<geo::Databases>>,
    /// Where saved scripts are vetted.
    pub vetting: Option<Asker>,
    /// The background thread.
    pub background: Background,
    /// The sockets of the control plane.
    pub doors: Doors,
    /// The thread that answers there.
    pub answering: Answering,
    /// The counts by which all children limit their answers.
    pub admitted: Arc<Admitted>,
    /// The state file, where there is one.
    pub state_file: Option<StateFile>,
    /// Where orders are shared.
    pub store: Option<Arc<OrderShelf>>,
    /// The servers that share anything.
    pub fronts: Option<Arc<FrontShelf>>,
    /// Where the configuration names members.
    pub places: MemberPlaces,
}

/// One thread of a child.
pub struct Thread {
    /// Picks.
    pub balancer: Rc<Handle<Table>>,
}

static CHILD: AtomicPtr<Child> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    static THREAD: RefCell<Option<Rc<Thread>>> = const { RefCell::new(None) };
}

/// This child, once child_init has run.
pub fn get() -> Option<&'static Child> {
    // SAFETY: set once by `init` to a value that is never freed; NULL in the parent.
    #[allow(unsafe_code)]
    unsafe {
        CHILD.load(Ordering::Acquire).as_ref()
    }
}

/// Forgets a child that the module's statics may have kept over a reload in the parent.
pub fn forget() {
    CHILD.store(std::ptr::null_mut(), Ordering::Release);
}

/// child_init. `pool`: httpd's for this child. `own`: the module's scheme handler, which the relay
/// has to leave out. `start` starts the threads of the child.
pub fn init(pool: MemoryPool<'static>, own: SchemeHandler, start: fn(&'static Child)) {
    log::log_panics();
    faults::point("child_init");
    match build(pool, own) {
        Ok(child) => {
            let child: &'static Child = Box::leak(Box::new(child));
            CHILD.store(std::ptr::from_ref(child).cast_mut(), Ordering::Release);
            log::watch_errors(note_error);
            pool.before_clearing(child);
            start(child);
        }
        Err(why) => {
            let text = format!("this child cannot balance: {why}");
            log::server(messages::starting::CHILD_WITHOUT_BALANCER, &text);
        }
    }
}

/// Keeps a line that this child has written into the log for itself.
fn note_error(text: &str) {
    if let Some(child) = get() {
        troubles::note_own(&child.table, child.lane.index(), text);
    }
}

fn build(pool: MemoryPool<'static>, own: SchemeHandler) -> Result<Child, String> {
    let generation: &'static Generation =
        crate::serve::generation::generation().ok_or("the parent prepared nothing")?;
    let api = crate::httpd::proxy::api().ok_or("mod_proxy is missing")?;
    let pid = memory::pid();
    let counts = generation.main_config.config.metrics.counts;
    let table = generation.table.clone().with_identity(pid, memory::alive).with_clock(memory::epoch_s);
    let table = table.with_counts(counts);
    let lane = table.join(pid, generation.number).map_err(|error| error.to_string())?;
    let pool = WorkerPool::new(pool).ok_or("no pool for workers")?;
    let stand_in = pool.define(api, "http://lb.invalid", &balance::member::ConnectionSettings::default())?;
    let workers = Workers::new(api, pool, (&table, lane));
    let library = Arc::new(generation.library());
    let script_rows = crate::serve::scripts::install_stored(&table, &library);
    let engine = Engine::new(table.clone(), events::notice(&table));
    let dicts = Arc::new(generation.dicts.in_child());
    let keys = Arc::new(KeyExpressions::new(generation.expressions.clone()));
    let lua = LuaStates::new(Parts {
        engine: engine.clone(),
        library: library.clone(),
        dicts: dicts.clone(),
        keys: keys.clone(),
        lane: lane.index(),
        versions: Versions::Serving,
    });
    let parts = |library: &Arc<Library>| Parts {
        engine: engine.clone(),
        library: library.clone(),
        dicts: dicts.clone(),
        keys: keys.clone(),
        lane: lane.index(),
        versions: Versions::OnTrial,
    };
    let shadows = Shadows::new(parts(&library));
    let trials = Trials::new(generation, &table, parts).map(Box::new);
    Ok(Child {
        engine,
        table,
        dicts,
        lane,
        generation: generation.number,
        library,
        lua,
        shadows,
        keys,
        room: WaitingRoom::new(),
        workers,
        sections: TlsModules::new(),
        stand_in: Some(stand_in),
        api,
        scheme_handlers: api.scheme_handlers(own),
        main_config: &generation.main_config,
        script_rows,
        trials,
        lists: ListDesk::default(),
        timers: generation.timers.clone(),
        method_scripts: generation.method_scripts.clone(),
        geo: generation.geo.clone(),
        vetting: generation.vetting.as_ref().map(|keeper| {
            keeper.leave_to_parent();
            keeper.client()
        }),
        background: Background::new(),
        doors: generation.doors,
        answering: Answering::new(),
        admitted: generation.admitted.clone(),
        state_file: generation.state_file.clone(),
        store: generation.store.clone(),
        fronts: generation.fronts.clone(),
        places: MemberPlaces::new(&generation.main_config.config, &generation.server_root),
    })
}

/// Runs `body` with this thread's things, which are made at its first call. None while the thread
/// is ending.
pub fn with_thread<T>(child: &'static Child, body: impl FnOnce(&Thread) -> T) -> Option<T> {
    let thread = THREAD
        .try_with(|place| {
            let mut place = place.try_borrow_mut().ok()?;
            Some(place.get_or_insert_with(|| Rc::new(Thread::new(child))).clone())
        })
        .ok()
        .flatten()?;
    Some(body(&thread))
}

impl Thread {
    /// Things of one thread.
    pub fn new(child: &Child) -> Self {
        Thread { balancer: Rc::new(Handle::new(child.engine.clone(), memory::seed())) }
    }
}

impl Ends for Child {
    fn end(&'static self) {
        self.answering.end();
        self.table.note_closed(&self.lane);
        if !self.background.stop() {
            self.hand_over();
        }
        self.answering.wait();
        self.doors.end_with_child();
    }
}

impl Child {
    /// Hands the lead over at once, if this child has it. The lane of in-flight counts is given
    /// back by the parent, when the last request is gone.
    pub fn hand_over(&self) {
        self.table.resign(memory::pid());
    }

    /// A hook's script.
    pub fn script(&self, index: usize) -> ScriptId {
        ScriptId(index as u32)
    }

    /// The script of a `LuaBalancerMethod lua` or a Lua check.
    pub fn method_script(&self, path: &str) -> Option<ScriptId> {
        self.method_scripts.iter().find(|(known, _)| known == path).map(|(_, id)| *id)
    }
}
