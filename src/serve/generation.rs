// SPDX-License-Identifier: Apache-2.0
//! The values that the parent has prepared for the children of one configuration.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use config::{CodeCache, Config, Planned, Script};
use script::{Library, ScriptId};
use table::{StalePool, Table};

use crate::httpd::config::Expression;
use crate::httpd::pool::MemoryPool;
use crate::keep::dicts::Dicts;
use crate::keep::doors::Doors;
use crate::keep::state::StateFile;
use crate::serve::admitted::Admitted;
use crate::serve::fronts::FrontShelf;
use crate::serve::own_config::Main;
use crate::serve::store::OrderShelf;
use crate::vetting::Keeper;

/// A `LuaBalancerTimer`.
#[derive(Debug, Clone)]
pub struct Timer {
    /// The script.
    pub script: ScriptId,
    /// The function in it, `-` for the file as a whole.
    pub function: String,
    /// Milliseconds from start to start.
    pub every_ms: u64,
}

/// One configuration, ready for its children.
pub struct Generation {
    /// The shared table.
    pub table: Table,
    /// Dictionaries.
    pub dicts: Arc<Dicts>,
    /// Grows with every (re)start.
    pub number: u32,
    /// The configuration as it was read.
    pub main_config: Main,
    /// Parsed `key=` expressions.
    pub expressions: Vec<(String, Expression)>,
    /// `LuaBalancerTimer`.
    pub timers: Vec<Timer>,
    /// Scripts of `LuaBalancerMethod lua` and checks, by path as written.
    pub method_scripts: Vec<(String, ScriptId)>,
    /// The databases of `LuaBalancerGeoIP`.
    pub geo: Option<Arc<geo::Databases>>,
    /// The sockets of the control plane.
    pub doors: Doors,
    /// The counts by which all children limit their answers.
    pub admitted: Arc<Admitted>,
    /// The state file, where there is one.
    pub state_file: Option<StateFile>,
    /// Where orders are shared, if they are.
    pub store: Option<Arc<OrderShelf>>,
    /// The servers that share anything.
    pub fronts: Option<Arc<FrontShelf>>,
    /// ServerRoot.
    pub server_root: PathBuf,
    /// Pools of earlier configurations, which go when the last child that serves by one of those
    /// has ended.
    pub stale: Vec<StalePool>,
    /// The process that vets scripts.
    pub vetting: Option<Keeper>,
    /// The memory pool that the generation lives in.
    pub pool: MemoryPool<'static>,
}

impl Generation {
    /// A library for a child (or the parent): the same scripts under the same numbers every time.
    pub fn library(&self) -> Library {
        library(&self.main_config.config)
    }
}

static GENERATION: AtomicPtr<Generation> = AtomicPtr::new(std::ptr::null_mut());

/// The generation that post_config prepared.
pub fn generation() -> Option<&'static Generation> {
    // SAFETY: set by `publish` to a value in the configuration's pool, which outlives the
    // children's use of it; `forget` runs before the parent reads the next one.
    #[allow(unsafe_code)]
    unsafe {
        GENERATION.load(Ordering::Acquire).as_ref()
    }
}

/// post_config: children are made for this generation from now on.
pub fn publish(generation: Generation) {
    let pool = generation.pool;
    GENERATION.store(pool.keep(generation), Ordering::Release);
}

/// pre_config: the last configuration is gone.
pub fn forget() {
    GENERATION.store(std::ptr::null_mut(), Ordering::Release);
}

/// Folder of the shipped scripts: fixed when the module is built, unless httpd's environment names
/// another one.
pub fn shipped() -> PathBuf {
    const BUILT: &str = match option_env!("LUA_BALANCER_LUADIR") {
        Some(folder) => folder,
        None => "/usr/share/mod_lua_balancer/lua",
    };
    std::env::var_os("LUA_BALANCER_LUADIR").map_or_else(|| BUILT.into(), PathBuf::from)
}

/// Folder of the state files of servers that name none: fixed when the module is built, unless
/// httpd's environment names another one.
pub fn states() -> PathBuf {
    const BUILT: &str = match option_env!("LUA_BALANCER_STATEDIR") {
        Some(folder) => folder,
        None => "/var/lib/mod_lua_balancer",
    };
    std::env::var_os("LUA_BALANCER_STATEDIR").map_or_else(|| BUILT.into(), PathBuf::from)
}

/// The library of a plan of scripts.
pub fn library(config: &Config) -> Library {
    let configured = config.pool_names().into_iter().map(str::to_owned).collect();
    let shipped = shipped();
    let builder = Library::builder().shipped(&shipped.to_string_lossy());
    let mut builder = builder.sandbox(config.sandbox).configured(configured);
    for planned in &config.scripts {
        builder = builder.limits(limits(planned)).cache(cache(planned.cache));
        let add = |builder: &mut script::Builder| match &planned.script {
            Script::File(path) => builder.file(path, &planned.package_path),
            Script::Inline { name, code } => builder.inline(name, code, &planned.package_path),
        };
        let id = if planned.shadow.is_some() { builder.shadow(add) } else { add(&mut builder) };
        for function in &planned.needs {
            builder.need(id, function);
        }
    }
    builder.build()
}

fn limits(planned: &Planned) -> script::Limits {
    script::Limits {
        time_ms: planned.limit.time_ms,
        memory_bytes: usize::try_from(planned.limit.memory).unwrap_or(usize::MAX),
        ..script::Limits::default()
    }
}

fn cache(cache: CodeCache) -> script::CodeCache {
    match cache {
        CodeCache::Stat => script::CodeCache::Stat,
        CodeCache::Forever => script::CodeCache::Forever,
        CodeCache::Never => script::CodeCache::Never,
    }
}
