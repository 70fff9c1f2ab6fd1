// SPDX-License-Identifier: Apache-2.0
//! The phases of a (re)start, in their order.

use std::ffi::CStr;
use std::io::{self, Write};
use std::sync::Arc;

use balance::lifecycle;
use balance::settings::Shared;
use config::{Config, Script};
use messages::Message;
use share::StorePlace;

use super::{checks, files, parent, pools, scripts, state};
use crate::httpd::config::{is_defined, runtime_relative, server_root};
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::mpm::{self, RunState};
use crate::httpd::pool::MemoryPool;
use crate::httpd::process::OneThread;
use crate::httpd::proxy::{self, Api};
use crate::keep::dicts::Dicts;
use crate::keep::doors::{self, Doors};
use crate::keep::events;
use crate::keep::geoip;
use crate::keep::reading::{self, Reading};
use crate::keep::table as kept_table;
use crate::serve::admitted::Admitted;
use crate::serve::anywhere;
use crate::serve::child;
use crate::serve::fronts::{self, FrontShelf};
use crate::serve::generation::{self, Generation, Timer};
use crate::serve::own_config::{Main, Section};
use crate::serve::store::OrderShelf;

/// The default socket of the control plane, below DefaultRuntimeDir.
const SOCKET: &str = "lua_balancer.sock";

/// Asks for the configuration as a document.
const DUMP: &CStr = c"DUMP_LUA_BALANCER";

/// The configuration is refused; why was logged.
#[derive(Debug)]
pub struct Refused;

/// Refuses with a line that also goes to the terminal.
fn refuse(pool: MemoryPool<'_>, message: &Message, text: &str) -> Refused {
    log::startup(pool, message, text);
    Refused
}

/// The faults of a configuration, all of which are told.
#[derive(Default)]
struct Wrong(Vec<(&'static Message, String)>);

impl Wrong {
    fn add(&mut self, message: &'static Message, texts: impl IntoIterator<Item = String>) {
        self.0.extend(texts.into_iter().map(|text| (message, text)));
    }

    fn refuse(&self, pool: MemoryPool<'_>) -> Result<(), Refused> {
        let mut all = Ok(());
        for (message, text) in &self.0 {
            all = Err(refuse(pool, message, text));
        }
        all
    }
}

fn is_restarting() -> bool {
    mpm::run_state() == RunState::Running && kept_table::is_there()
}

/// Whether a client's words may become a target in `lb://` by some line of the configuration.
pub fn has_open_targets() -> bool {
    checks::has_open_targets()
}

/// pre_config: forgets the last configuration and binds mod_proxy, for which `register` adds hooks.
pub fn pre_config(pool: MemoryPool<'static>, register: fn(&Api)) -> Result<(), Refused> {
    child::forget();
    geoip::forget();
    anywhere::forget();
    generation::forget();
    reading::begin(pool);
    doors::close_at_end(pool);
    if !proxy::is_loaded() {
        let missing = messages::starting::NO_MOD_PROXY;
        return Err(refuse(pool, missing, missing.form));
    }
    let idle = if is_restarting() { Vec::new() } else { checks::ways() };
    for text in &idle {
        refuse(pool, messages::starting::IDLE_LINE, text);
    }
    if !idle.is_empty() {
        return Err(Refused);
    }
    match proxy::bind() {
        Ok(api) => {
            register(&api);
            Ok(())
        }
        Err(missing) => {
            let text = format!("mod_lua_balancer cannot work with this mod_proxy: {missing}");
            Err(refuse(pool, messages::starting::OTHER_MOD_PROXY, &text))
        }
    }
}

/// check_config: finds every function that the configuration names; at `configtest` and at start a
/// script that is not there, does not compile or lacks its function refuses the configuration. At a
/// restart the last good version goes on.
pub fn check_config(pool: MemoryPool<'static>, alone: OneThread) -> Result<(), Refused> {
    let checked = reading::with(|reading| {
        let config = settle(reading).map_err(|text| refuse(pool, messages::starting::REFUSED, &text))?;
        check(pool, alone, reading, &config)
    });
    checked.unwrap_or(Err(Refused))
}

/// Everything has been read: the draft becomes the configuration.
fn settle(reading: &mut Reading) -> Result<Arc<Config>, String> {
    let config = Arc::new(std::mem::take(&mut reading.draft).finish()?);
    anywhere::note(&config);
    reading.config = Some(config.clone());
    Ok(config)
}

fn check(
    pool: MemoryPool<'_>,
    alone: OneThread,
    reading: &mut Reading,
    config: &Config,
) -> Result<(), Refused> {
    let restarting = is_restarting();
    let (databases, unusable) = geoip::load(&config.geo_files, restarting);
    reading.geo = databases;
    let mut wrong = Wrong::default();
    wrong.add(messages::addresses::UNUSABLE, unusable);
    if restarting {
        return Ok(());
    }
    let found = scripts::vet_for_check(alone, config)
        .map_err(|text| refuse(pool, messages::scripts::NOT_VETTED, &text))?;
    let mut known: std::collections::HashSet<String> =
        config.pool_names().into_iter().map(str::to_owned).collect();
    for (planned, found) in config.scripts.iter().zip(&found) {
        match found {
            Ok(candidate) => known.extend(scripts::names_in(candidate)),
            Err(error) => {
                let elsewhere = match &planned.script {
                    Script::File(path) => checks::elsewhere(path, &generation::shipped()),
                    Script::Inline { .. } => String::new(),
                };
                let text = format!("{}: {error}{elsewhere}", planned.place);
                wrong.add(messages::scripts::REFUSED, [text]);
            }
        }
    }
    reading.vetted = (mpm::run_state() == RunState::Running).then_some(found);
    wrong.add(messages::starting::WRONG_LINE, checks::all(config, &known));
    if mpm::run_state() == RunState::ConfigTest {
        let unusable = files::unusable(alone, &server_root(pool), config);
        wrong.add(messages::starting::UNUSABLE_FILE, unusable);
    }
    for text in checks::doubts(config) {
        log::startup(pool, messages::starting::DOUBT, &text);
    }
    wrong.refuse(pool)?;
    if mpm::run_state() == RunState::ConfigTest && is_defined(DUMP) {
        let failed = |error| {
            let text = format!("-D DUMP_LUA_BALANCER: {error}");
            refuse(pool, messages::starting::NOT_SHOWN, &text)
        };
        show(config).map_err(failed)?;
    }
    Ok(())
}

/// `httpd -t -D DUMP_LUA_BALANCER`: what was read, as a document at standard output.
fn show(config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", config.dump())?;
    out.flush()
}

/// post_config: the table, the pools, the scripts. `main`: what the main server has outside of
/// sections.
pub fn post_config(pool: MemoryPool<'static>, alone: OneThread, main: Section) -> Result<(), Refused> {
    if mpm::run_state() != RunState::Running {
        return Ok(());
    }
    let taken = reading::with(|reading| {
        let config = reading.config.clone()?;
        Some((config, std::mem::take(reading)))
    });
    let (config, read) = taken.flatten().ok_or(Refused)?;
    let members = config.members();
    let pools = config.pools.len();
    let vetted = read.vetted;
    let refuse = |text: String| {
        log::server(messages::starting::NOT_STARTED, &text);
        Refused
    };
    let is_first = !is_restarting();
    let default = runtime_relative(pool, SOCKET);
    let doors = doors::open(&config, default.as_deref(), is_restarting()).map_err(refuse)?;
    let read = (read.expressions.into_inner(), read.geo, doors);
    let mut generation = prepare(pool, Main { config, section: main }, read).map_err(refuse)?;
    generation.vetting = scripts::start_vetting(alone, &generation);
    let defined = scripts::load(&generation, vetted);
    generation.stale = pools::stale(&generation.table, &generation.main_config.config, &defined);
    generation.state_file = state::open(pool, &generation);
    if is_first {
        state::restore(&generation);
    }
    events::tell_all(&generation.table, lifecycle::forget_checks(&generation.table));
    fronts::spread_all(&generation.table, generation.fronts.as_deref());
    parent::tend_vetting(&generation);
    generation::publish(generation);
    state::write_at_end(pool, alone);
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("mod_lua_balancer/{version} configured, {pools} pools, {members} members");
    log::server(messages::starting::CONFIGURED, &text);
    Ok(())
}

type Read = (Vec<(String, crate::httpd::config::Expression)>, Option<Arc<geo::Databases>>, Doors);

/// The table with the pools; scripts are loaded afterwards.
fn prepare(
    pool: MemoryPool<'static>,
    main_config: Main,
    (expressions, geo, doors): Read,
) -> Result<Generation, String> {
    let config = &main_config.config;
    let (table, number) = kept_table::shared_table(pools::needs(config))?;
    let table = table.with_identity(memory::pid(), memory::alive).with_clock(memory::epoch_s);
    let dicts = Arc::new(Dicts::shared(&config.dicts)?);
    table.set_generation(number);
    table.reap_dead(&memory::alive);
    pools::define_and_tell(&table, config, u64::from(number))?;
    let admitted = Admitted::new().map_err(|error| format!("no shared memory: {error}"))?;
    let (timers, method_scripts) = (timers(config), scripts::of_methods(config));
    let server_root = server_root(pool);
    let place = config
        .store
        .place_of(&config.pools, |shared| shared.orders)
        .map(|place| StorePlace::of(place, &server_root));
    let store = place.map(|place| OrderShelf::new(place, config.store.clone())).transpose()?.map(Arc::new);
    let place = config.store.place_of(&config.pools, Shared::is_any);
    let place = place.map(|place| StorePlace::of(place, &server_root));
    let fronts = place.map(|place| FrontShelf::new(place, config.store.clone())).transpose()?.map(Arc::new);
    Ok(Generation {
        table,
        dicts,
        number,
        main_config,
        expressions,
        timers,
        method_scripts,
        geo,
        doors,
        admitted: Arc::new(admitted),
        state_file: None,
        store,
        fronts,
        server_root,
        stale: Vec::new(),
        vetting: None,
        pool,
    })
}

fn timers(config: &Config) -> Vec<Timer> {
    let timer = |timer: &config::Timer| Timer {
        script: scripts::id(timer.function.script),
        function: timer.function.function.clone(),
        every_ms: timer.every_ms,
    };
    config.timers.iter().map(timer).collect()
}
