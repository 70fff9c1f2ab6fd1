//! The parent: from directives to a running table. Keeps nothing in statics that a restart could find stale: every static
//! here is set anew in pre_config.

use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use balance::api::Balancer;
use balance::engine::{Engine, Handle};
use balance::event::By;
use balance::lifecycle;
use balance::store::Store;
use balance::told::Before;
use script::{ErrorKind, Library, ScriptError, ScriptId};
use table::{AttachError, Geometry, Needs, Origin, StalePool, Table};

use super::checks;
use super::config::{
    CodeCache, DEFAULT_LIMIT, Global, Hook, Limit, Place, Resolved, ServerConfig, Source, Timer, TimerConfig,
    Vetted,
};
use crate::directives::server_config;
use crate::ffi;
use crate::httpd::config::Expression;
use crate::httpd::confine::Account;
use crate::httpd::events;
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::mpm::{self, Phase};
use crate::httpd::pool::Pool;
use crate::httpd::proxy;
use crate::httpd::tended;
use crate::keep::dicts::Dicts;
use crate::keep::geoip;
use crate::route::canon;
use crate::serve::child;
use crate::serve::scripts;
use crate::vetting::{self, Keeper, Scope};

/// The configuration is refused; why was logged.
#[derive(Debug)]
pub struct Refused;

static GLOBAL: AtomicPtr<Global> = AtomicPtr::new(std::ptr::null_mut());
static GENERATION: AtomicPtr<Generation> = AtomicPtr::new(std::ptr::null_mut());

/// A script that the configuration uses, as the library is to know it.
#[derive(Clone)]
struct Plan {
    source: PlanSource,
    package_path: Vec<String>,
    cache: CodeCache,
    limit: Limit,
    place: Place,
    needs: Vec<String>,
}

#[derive(Clone, PartialEq)]
enum PlanSource {
    File(String),
    Inline { name: String, code: String },
}

/// One configuration, ready for its children.
pub struct Generation {
    /// The shared table.
    pub table: Table,
    /// Dictionaries.
    pub dicts: Arc<Dicts>,
    /// Grows with every (re)start.
    pub number: u32,
    /// The main server's directives.
    pub main_config: &'static ServerConfig,
    /// Parsed `key=` expressions.
    pub expressions: Vec<(String, Expression)>,
    /// `LuaBalancerTimer`.
    pub timers: Vec<Timer>,
    /// Names of its pools.
    configured: Vec<String>,
    /// Scripts of `LuaBalancerMethod lua` and checks, by path as written.
    pub method_scripts: Vec<(String, ScriptId)>,
    /// The databases of `LuaBalancerGeoIP`.
    pub geo: Option<Arc<geo::Databases>>,
    /// ServerRoot.
    pub server_root: PathBuf,
    /// Pools of earlier configurations, which go when the last child that serves by one of those has ended.
    pub stale: Vec<StalePool>,
    plans: Vec<Plan>,
    sandbox: bool,
    /// The process that vets scripts.
    pub vetting: Option<Keeper>,
    /// Where it lives.
    pool: Pool<'static>,
}

impl Generation {
    fn scope(&self) -> Scope {
        Scope {
            library: Arc::new(self.library()),
            dicts: self.dicts.clone(),
            table: self.table.clone(),
            account: Account::of_children(),
        }
    }

    /// A library for a child (or the parent): the same scripts under the same numbers every time.
    pub fn library(&self) -> Library {
        build_library(&self.plans, self.sandbox, self.configured.clone())
    }
}

/// The directives read so far, while httpd reads them.
pub fn global<'g>() -> Option<&'g mut Global> {
    // SAFETY: points into pconf between pre_config and the next one; the configuration phase has one thread.
    #[allow(unsafe_code)]
    unsafe {
        GLOBAL.load(Ordering::Acquire).as_mut()
    }
}

/// What post_config prepared.
pub fn generation() -> Option<&'static Generation> {
    // SAFETY: set by post_config to a value in pconf, which outlives the children's use of it.
    #[allow(unsafe_code)]
    unsafe {
        GENERATION.load(Ordering::Acquire).as_ref()
    }
}

/// pre_config: forgets the last configuration and binds mod_proxy.
///
/// # Safety
/// `pconf` is httpd's configuration pool.
#[allow(unsafe_code)]
pub unsafe fn pre_config(pconf: *mut ffi::apr_pool_t) -> Result<(), Refused> {
    child::forget();
    geoip::forget();
    super::config::forget_hooks();
    log::set_server(std::ptr::null_mut());
    GENERATION.store(std::ptr::null_mut(), Ordering::Release);
    // SAFETY: the caller's promise.
    let pool: Pool<'static> = unsafe { Pool::from_ptr(pconf) }.ok_or(Refused)?;
    GLOBAL.store(pool.keep(Global::default()), Ordering::Release);
    let refuse = |text: &str| {
        // SAFETY: the caller's promise.
        unsafe { log::startup(pconf, log::CRIT, text) };
        Refused
    };
    if !proxy::is_loaded() {
        return Err(refuse(
            "mod_lua_balancer needs mod_proxy, which is not loaded (Debian: a2enmod proxy proxy_http)",
        ));
    }
    canon::watch_targets(checks::has_open_targets());
    let idle = if mpm::phase() == Phase::Running && retained_exists() { Vec::new() } else { checks::ways() };
    for text in &idle {
        refuse(text);
    }
    if !idle.is_empty() {
        return Err(Refused);
    }
    match proxy::bind() {
        Ok(api) => {
            crate::hooks::register_with_proxy(&api);
            Ok(())
        }
        Err(missing) => Err(refuse(&format!("mod_lua_balancer cannot work with this mod_proxy: {missing}"))),
    }
}

/// check_config: finds every function that the configuration names; at `configtest` and at start a script that is not
/// there, does not compile or lacks its function refuses the configuration. At a restart the last good version goes on.
///
/// # Safety
/// `pconf` and `server` are httpd's configuration pool and main server.
#[allow(unsafe_code)]
pub unsafe fn check_config(pconf: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) -> Result<(), Refused> {
    let global = global().ok_or(Refused)?;
    // SAFETY: the caller's promise.
    let main = unsafe { server_config(server) }.ok_or(Refused)?;
    let refuse = |text: String| {
        // SAFETY: the caller's promise.
        unsafe { log::startup(pconf, log::CRIT, &text) };
        Refused
    };
    let (plans, _) = plan(global, main).map_err(refuse)?;
    let restarting = mpm::phase() == Phase::Running && retained_exists();
    let mut wrong = geoip::load(global, restarting);
    if restarting {
        return Ok(());
    }
    let found = vet_for_check(global, &plans).map_err(refuse)?;
    let mut known: HashSet<String> = global.pools.iter().map(|pool| pool.name.clone()).collect();
    for (plan, found) in plans.iter().zip(&found) {
        match found {
            Ok(candidate) => {
                known.extend(candidate.definitions.iter().map(|definition| definition.name.clone()))
            }
            Err(error) => {
                let elsewhere = match &plan.source {
                    PlanSource::File(path) => checks::elsewhere(path, &shipped()),
                    PlanSource::Inline { .. } => String::new(),
                };
                wrong.push(format!("{}: {error}{elsewhere}", plan.place));
            }
        }
    }
    global.vetted = (mpm::phase() == Phase::Running).then_some(found);
    wrong.extend(checks::all(global, &known));
    for text in checks::doubts(global) {
        // SAFETY: as in `refuse`.
        unsafe { log::startup(pconf, log::WARNING, &text) };
    }
    for text in &wrong {
        refuse(text.clone());
    }
    if wrong.is_empty() { Ok(()) } else { Err(Refused) }
}

/// Vets all scripts with pools and dictionaries of their own: there is no server yet, or none that this is about. The table is as
/// large as the server's would be, so that pools which find no room there are known here.
fn vet_for_check(global: &Global, plans: &[Plan]) -> Result<Vec<Vetted>, String> {
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let geometry = Geometry::for_config(with_slack(needs(global)));
    let table = Table::on_heap(geometry).map_err(|error| error.to_string())?;
    define_pools(&table, global, 1)?;
    let scope = Scope {
        library: Arc::new(build_library(plans, global.sandbox, names_of(&global.pools))),
        dicts: Arc::new(Dicts::for_test(&global.dicts)?),
        table,
        account: Account::of_children(),
    };
    let mut found = vetting::vet_all(&Keeper::start(&scope)?, &scope);
    define_found(&scope, &mut found);
    Ok(found)
}

/// Defines the pools of accepted scripts; those whose pools find no room are refused.
fn define_found(scope: &Scope, found: &mut [Vetted]) {
    let balancer = Handle::new(Engine::new(scope.table.clone(), Box::new(|_| ())), 1);
    for (id, found) in scope.library.ids().zip(found) {
        let Ok(candidate) = found else { continue };
        if let Err(error) = candidate.apply(&balancer as &dyn Balancer, 1) {
            *found = Err(ScriptError::new(ErrorKind::Load, format!("{}: {error}", scope.library.label(id))));
        }
    }
}

/// post_config: the table, the pools, the scripts.
///
/// # Safety
/// As [`check_config`].
#[allow(unsafe_code)]
pub unsafe fn post_config(pconf: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) -> Result<(), Refused> {
    log::set_server(server);
    if mpm::phase() != Phase::Running {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    let pool: Pool<'static> = unsafe { Pool::from_ptr(pconf) }.ok_or(Refused)?;
    // SAFETY: as above; the configuration lives in pconf, as long as the generation.
    let main: &'static ServerConfig = unsafe { server_config(server) }.ok_or(Refused)?;
    let global = global().ok_or(Refused)?;
    let refuse = |text: String| {
        log::server(log::CRIT, &text);
        Refused
    };
    let (plans, method_scripts) = plan(global, main).map_err(refuse)?;
    let (table, number) = shared_table(needs(global)).map_err(refuse)?;
    let table = table.with_identity(memory::pid(), memory::alive).with_clock(memory::epoch_s);
    let dicts = Arc::new(Dicts::shared(&global.dicts).map_err(refuse)?);
    table.set_generation(number);
    table.reap_dead(&memory::alive);
    let names: Vec<&str> = global.pools.iter().map(|pool| pool.name.as_str()).collect();
    let before: Vec<Before> = names.iter().map(|name| Before::of(&table, name)).collect();
    define_with_room(&table, global, &names, u64::from(number)).map_err(refuse)?;
    for (before, name) in before.into_iter().zip(&names) {
        events::tell_all(before.tell(&table, name, By::Configuration));
    }
    let mut generation = Generation {
        table,
        dicts,
        number,
        main_config: main,
        expressions: global.expressions.clone(),
        timers: timers(global),
        configured: names_of(&global.pools),
        method_scripts,
        geo: global.geo.clone(),
        server_root: crate::httpd::config::server_root(pool),
        stale: Vec::new(),
        plans,
        sandbox: global.sandbox,
        vetting: None,
        pool,
    };
    generation.vetting = start_vetting(&generation);
    let defined = load_scripts(&generation, global.vetted.take());
    let defined: Vec<&str> = defined.iter().map(String::as_str).collect();
    generation.stale = stale_pools(&generation.table, &names, &defined);
    events::tell_all(lifecycle::forget_checks(&generation.table));
    tend_vetting(&generation);
    GENERATION.store(pool.keep(generation), Ordering::Release);
    log::server(
        log::NOTICE,
        &format!(
            "mod_lua_balancer/{} configured, {} pools, {} members",
            env!("CARGO_PKG_VERSION"),
            names.len(),
            members(global)
        ),
    );
    Ok(())
}

/// Removes the pools that are neither configured nor defined by a script any more, or says which ones are to be removed
/// once no child needs them: at a graceful restart the old children go on serving by them.
fn stale_pools(table: &Table, configured: &[&str], defined: &[&str]) -> Vec<StalePool> {
    let mut stale = table.stale_pools(configured, Origin::Configuration);
    stale.extend(table.stale_pools(defined, Origin::Script));
    if table.children().is_empty() {
        table.remove_stale(&stale);
        stale.clear();
    }
    stale
}

fn timers(global: &Global) -> Vec<Timer> {
    let timer = |config: &TimerConfig| {
        let Resolved { script, function } = config.hook.resolved.get()?;
        Some(Timer {
            script: ScriptId(*script as u32),
            function: function.clone(),
            every_ms: config.every_ms,
        })
    };
    global.timers.iter().filter_map(timer).collect()
}

fn members(global: &Global) -> usize {
    global.pools.iter().map(|pool| pool.members.len()).sum()
}

/// A child has ended, however: its in-flight counts are given back.
pub fn child_ended(pid: i32) {
    if let Some(generation) = generation() {
        let given_back = generation.table.reap(pid);
        generation.table.rouse_queues(Some(pid), true, memory::monotonic_ms());
        if given_back > 0 {
            log::server(
                log::NOTICE,
                &format!("child {pid} ended with {given_back} requests in flight, given back"),
            );
        }
    }
}

/// The process that vets scripts, now and when they are saved; where there are any.
fn start_vetting(generation: &Generation) -> Option<Keeper> {
    if generation.plans.is_empty() {
        return None;
    }
    let started = Keeper::start(&generation.scope());
    started.map_err(|error| log::server(log::CRIT, &format!("{error}: saved scripts are not taken"))).ok()
}

/// In the parent, which the MPM tells of it.
fn vetting_ended() {
    let Some(generation) = generation() else { return };
    if generation.vetting.is_none() {
        return;
    }
    log::server(log::ERR, "the process that vets saved scripts has ended, another one takes its place");
    tend_vetting(generation);
}

/// Has the parent hear of the end of the process that vets. One that has ended by now is replaced: a top level may have killed it.
fn tend_vetting(generation: &Generation) {
    let Some(keeper) = &generation.vetting else { return };
    let started = if keeper.is_alive() { Ok(()) } else { keeper.start_again(&generation.scope(), true) };
    match started {
        Ok(()) => tended::tend(generation.pool, keeper.pid(), vetting_ended),
        Err(error) => log::server(log::CRIT, &format!("{error}: saved scripts are not taken")),
    }
}

/// All scripts, vetted; the answers of check_config where it has just asked.
fn vet_scripts(generation: &Generation, scope: &Scope, known: Option<Vec<Vetted>>) -> Vec<Vetted> {
    let library = &scope.library;
    match (known, &generation.vetting) {
        (Some(known), _) if known.len() == library.ids().count() => known,
        (_, Some(keeper)) => vetting::vet_all(keeper, scope),
        (_, None) => {
            let error = ScriptError::new(ErrorKind::Load, "scripts cannot be vetted");
            library.ids().map(|_| Err(error.clone())).collect()
        }
    }
}

/// Puts every script's current (or last good) version into the table. Returns the pools that scripts define.
fn load_scripts(generation: &Generation, known: Option<Vec<Vetted>>) -> Vec<String> {
    let scope = generation.scope();
    let library = &scope.library;
    let engine = Engine::new(generation.table.clone(), Box::new(events::tell));
    let balancer = Rc::new(Handle::new(engine, 1));
    let mut defined = Vec::new();
    for (id, found) in library.ids().zip(vet_scripts(generation, &scope, known)) {
        let found =
            found.and_then(|candidate| scripts::check_room(&generation.table, library, id, candidate));
        match found {
            Ok(candidate) => {
                defined.extend(candidate.definitions.iter().map(|definition| definition.name.clone()));
                let version = scripts::publish(&generation.table, library, id, &candidate.bundle);
                if let Err(error) = candidate.apply(balancer.as_ref() as &dyn Balancer, version) {
                    log::server(log::ERR, &format!("{}: {error}", library.label(id)));
                }
            }
            Err(error) => {
                log::server(
                    log::ERR,
                    &format!("{error} (the last good version, if there is one, goes on serving)"),
                );
                defined.extend(generation.table.pool_names());
            }
        }
    }
    defined
}

/// Defines the pools. Maybe there is too little room beside pools which are to go: then those go now; and then the members
/// that were added while running.
fn define_with_room(table: &Table, global: &Global, names: &[&str], version: u64) -> Result<(), String> {
    if define_pools(table, global, version).is_ok() {
        return Ok(());
    }
    table.retain_pools(names, Origin::Configuration);
    if define_pools(table, global, version).is_ok() {
        return Ok(());
    }
    let removed = table.remove_added(names);
    if !removed.is_empty() {
        log::server(
            log::WARNING,
            &format!(
                "no room for members that were added while running beside those of the configuration (LuaBalancerMaxMembers \
                 gives more): removed {}",
                removed.join(", ")
            ),
        );
    }
    define_pools(table, global, version)
}

fn define_pools(table: &Table, global: &Global, version: u64) -> Result<(), String> {
    for pool in &global.pools {
        table
            .define_from(Origin::Configuration, &pool.name, &pool.settings, &pool.members, version)
            .map_err(|error| format!("{}: pool {}: {error}", pool.place, pool.name))?;
    }
    Ok(())
}

fn needs(global: &Global) -> Needs {
    let text = |pool: &super::config::PoolConfig| {
        pool.settings.to_text().len()
            + pool.members.iter().map(|member| member.to_line().len() + 64).sum::<usize>()
    };
    Needs {
        members: members(global) as u32,
        extra_members: global.max_members,
        pools: global.pools.len() as u32,
        text_bytes: global.pools.iter().map(text).sum::<usize>() as u64,
        children: mpm::max_children(),
        one_request: !mpm::is_threaded(),
        requests: mpm::max_threads(),
        scripts: global.hooks.len() as u32
            + global.pools.iter().map(|pool| pool.scripts.len() as u32).sum::<u32>(),
    }
}

/// A new table is made larger than wanted, so that the next restarts with some members, pools or scripts more find it
/// large enough and all counts go on in one place.
fn with_slack(needs: Needs) -> Needs {
    Needs {
        members: needs.members + (needs.members / 2).max(256),
        pools: needs.pools + 64,
        text_bytes: needs.text_bytes * 3 / 2 + 65_536,
        scripts: needs.scripts + 32,
        ..needs
    }
}

/// What the parent remembers over restarts and over reloads of the module.
#[repr(C)]
struct Retained {
    base: *mut u8,
    length: usize,
    generation: u32,
}

const RETAINED: &str = "mod_lua_balancer table";

fn retained() -> Option<&'static mut Retained> {
    // SAFETY: httpd's retained block of this size, zeroed when new, used by the parent's one thread.
    #[allow(unsafe_code)]
    unsafe {
        mpm::retained(RETAINED, size_of::<Retained>()).cast::<Retained>().as_mut()
    }
}

fn retained_exists() -> bool {
    retained().is_some_and(|kept| !kept.base.is_null())
}

/// The table of the last generation when it has room, else a new one with its state.
fn shared_table(needs: Needs) -> Result<(Table, u32), String> {
    let wanted = Geometry::for_config(needs);
    let kept = retained().ok_or("httpd keeps no retained data")?;
    kept.generation = kept.generation.wrapping_add(1).max(1);
    // SAFETY: a retained base is a mapping of that length that this process made and never gave back.
    #[allow(unsafe_code)]
    let old = (!kept.base.is_null()).then(|| unsafe { Table::attach(kept.base, kept.length) });
    let old = match old {
        Some(Ok(table)) if table.geometry().fits(&wanted) => return Ok((table, kept.generation)),
        Some(Ok(table)) => Some(table),
        Some(Err(error)) => {
            if !matches!(error, AttachError::OtherLayout(_)) {
                log::server(
                    log::WARNING,
                    &format!("the table of the last configuration cannot be used, starting anew: {error}"),
                );
            }
            None
        }
        None => None,
    };
    let roomy = Geometry::for_config(with_slack(needs));
    let length = roomy.bytes();
    let base =
        memory::map_shared(length).map_err(|error| format!("no shared memory of {length} bytes: {error}"))?;
    // SAFETY: a fresh mapping of this length.
    #[allow(unsafe_code)]
    let table = unsafe { Table::create(base, length, roomy) }.map_err(|error| error.to_string())?;
    if let Some(old) = old {
        if let Err(error) = table.carry_over(&old) {
            log::server(
                log::WARNING,
                &format!("not all state of the last configuration could be kept: {error}"),
            );
        }
        // None of its children leads any more: timers and checks belong to the new ones.
        old.set_generation(kept.generation);
    } else if !kept.base.is_null() {
        take_up(&table, kept);
    }
    if !kept.base.is_null() {
        // SAFETY: mapped by an earlier generation in this process, whose users in the parent are gone; children keep
        // their own mappings.
        #[allow(unsafe_code)]
        unsafe {
            memory::unmap(kept.base, kept.length);
        }
    }
    kept.base = base;
    kept.length = length;
    Ok((table, kept.generation))
}

/// Another build of the module made the last table, with another layout: what was changed while running goes on by name.
fn take_up(table: &Table, kept: &Retained) {
    // SAFETY: the mapping that the parent keeps, of that length; it is given back after this.
    #[allow(unsafe_code)]
    let Some(old) = (unsafe { Table::foreign(kept.base, kept.length) }) else { return };
    match table.take_up(&old) {
        Ok((taken, strange)) => {
            let lost = match strange {
                0 => String::new(),
                some => format!("; {some} that were added while running have keys that it does not know"),
            };
            let text = format!(
                "the module has another version: {taken} members go on with their weight and state; counts of requests in \
                 flight and round robin sequences begin anew{lost}"
            );
            log::server(if strange > 0 { log::WARNING } else { log::NOTICE }, &text);
        }
        Err(error) => log::server(
            log::WARNING,
            &format!("not all state of the module's last version could be kept: {error}"),
        ),
    }
    old.set_generation(kept.generation);
}

type Planned = (Vec<Plan>, Vec<(String, ScriptId)>);

/// Resolves every hook; makes the list of scripts.
fn plan(global: &Global, main: &ServerConfig) -> Result<Planned, String> {
    let mut plans = Vec::new();
    for hook in &global.hooks {
        let found = resolve(global, main, hook, &mut plans)?;
        // Resolved twice in one cycle (check_config, post_config) gives the same.
        let _ = hook.resolved.set(found);
    }
    let mut method_scripts = Vec::new();
    for pool in &global.pools {
        for script in &pool.scripts {
            let index = add_file(&mut plans, &script.path, &script.function, main, main, &script.place);
            method_scripts.push((script.written.clone(), ScriptId(index as u32)));
        }
    }
    Ok((plans, method_scripts))
}

fn resolve(
    global: &Global,
    main: &ServerConfig,
    hook: &Hook,
    plans: &mut Vec<Plan>,
) -> Result<Resolved, String> {
    // SAFETY: server configurations of this cycle, noted while their directives were read.
    #[allow(unsafe_code)]
    let server =
        global.servers.get(hook.server).and_then(|server| unsafe { server.as_ref() }).unwrap_or(main);
    match &hook.source {
        Source::File { path, function } => {
            let index = add_file(plans, path, function, server, main, &hook.place);
            Ok(Resolved { script: index, function: function.clone() })
        }
        Source::Inline { code, name, beside } => {
            let source = PlanSource::Inline { name: name.clone(), code: code.clone() };
            let mut plan = new_plan(source, server, main, &hook.place);
            plan.package_path.insert(0, beside.clone());
            let index =
                plans.iter().position(|known| known.source == plan.source && known.place == plan.place);
            let index = index.unwrap_or_else(|| {
                plans.push(plan);
                plans.len() - 1
            });
            Ok(Resolved { script: index, function: name.clone() })
        }
        Source::Registered(name) => {
            let registered =
                server.registered.iter().chain(&main.registered).find(|(known, _)| known == name);
            match registered {
                Some((_, target)) => resolve(global, main, target, plans),
                None => Err(format!(
                    "{}: no function named {name} is registered: expected a script such as lua/balancer.lua, or a name that \
                     LuaRegisterFunc gives",
                    hook.place
                )),
            }
        }
    }
}

fn new_plan(source: PlanSource, server: &ServerConfig, main: &ServerConfig, place: &Place) -> Plan {
    let own = std::ptr::eq(server, main);
    let mut package_path = server.package_path.clone();
    if !own {
        package_path.extend(main.package_path.iter().cloned());
    }
    Plan {
        source,
        package_path,
        cache: server.code_cache.or(main.code_cache).unwrap_or(CodeCache::Stat),
        limit: server.limit.or(main.limit).unwrap_or(DEFAULT_LIMIT),
        place: place.clone(),
        needs: Vec::new(),
    }
}

fn add_file(
    plans: &mut Vec<Plan>,
    path: &str,
    function: &str,
    server: &ServerConfig,
    main: &ServerConfig,
    place: &Place,
) -> usize {
    let plan = new_plan(PlanSource::File(path.to_owned()), server, main, place);
    let same = |known: &Plan| {
        known.source == plan.source
            && known.package_path == plan.package_path
            && known.cache == plan.cache
            && known.limit == plan.limit
    };
    let index = plans.iter().position(same).unwrap_or_else(|| {
        plans.push(plan);
        plans.len() - 1
    });
    if !plans[index].needs.iter().any(|known| known == function) {
        plans[index].needs.push(function.to_owned());
    }
    index
}

/// Folder of the shipped scripts: fixed when the module is built, unless httpd's environment names another one.
pub fn shipped() -> PathBuf {
    const BUILT: &str = match option_env!("LUA_BALANCER_LUADIR") {
        Some(folder) => folder,
        None => "/usr/share/mod_lua_balancer/lua",
    };
    std::env::var_os("LUA_BALANCER_LUADIR").map_or_else(|| BUILT.into(), PathBuf::from)
}

fn names_of(pools: &[super::config::PoolConfig]) -> Vec<String> {
    pools.iter().map(|pool| pool.name.clone()).collect()
}

fn build_library(plans: &[Plan], sandbox: bool, configured: Vec<String>) -> Library {
    let mut builder =
        Library::builder().shipped(&shipped().to_string_lossy()).sandbox(sandbox).configured(configured);
    for plan in plans {
        let cache = match plan.cache {
            CodeCache::Stat => script::CodeCache::Stat,
            CodeCache::Forever => script::CodeCache::Forever,
            CodeCache::Never => script::CodeCache::Never,
        };
        let limits = script::Limits {
            time_ms: plan.limit.time_ms,
            memory_bytes: usize::try_from(plan.limit.memory).unwrap_or(usize::MAX),
            ..script::Limits::default()
        };
        builder = builder.limits(limits).cache(cache);
        let id = match &plan.source {
            PlanSource::File(path) => builder.file(path, &plan.package_path),
            PlanSource::Inline { name, code } => builder.inline(name, code, &plan.package_path),
        };
        for function in &plan.needs {
            builder.need(id, function);
        }
    }
    builder.build()
}
