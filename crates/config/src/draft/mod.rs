// SPDX-License-Identifier: Apache-2.0
//! A configuration while its directives are being read.

mod members;
mod scripts;

use crate::directive::{Directive, check_inside_pool};
use crate::place::Place;
use crate::section::{ErrorRule, Hooks, Section};
use crate::statement::{CodeCache, HookKind, Limit, OnError, Statement};
use crate::surroundings::Surroundings;
use crate::{Dict, GeoFile, Pool};

/// Dictionaries that a configuration may have.
pub const MOST_DICTS: usize = 256;
/// Number of the main server.
pub(crate) const MAIN: usize = 0;

/// Where a statement stands.
pub struct At<'a, 'p> {
    /// Its directive.
    pub directive: &'static Directive,
    /// File and line.
    pub place: Place,
    /// Number of its virtual host, 0 for the main server.
    pub server: usize,
    /// What its section, or its server, has for requests.
    pub section: &'a mut Section<'p>,
}

/// Directives of one server (virtual host). None: not given, the main server's holds.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// `LuaRegisterFunc`: names, with numbers of uses.
    pub(crate) registered: Vec<(String, usize)>,
    /// `LuaBalancerPackagePath`, in order.
    pub(crate) package_path: Vec<String>,
    /// `LuaBalancerCodeCache`.
    pub(crate) code_cache: Option<CodeCache>,
    /// `LuaBalancerScriptLimit`.
    pub(crate) limit: Option<Limit>,
}

/// One use of a function.
#[derive(Debug)]
pub(crate) struct Use {
    /// The function.
    pub(crate) source: Source,
    /// Where it is written.
    pub(crate) place: Place,
    /// The virtual host it stands in.
    pub(crate) server: usize,
}

/// Where a function comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file (full path) and a function in it.
    File { path: String, function: String },
    /// Lua in the configuration. `beside`: where it looks for modules first.
    Inline { code: String, name: String, beside: String },
    /// A name that `LuaRegisterFunc` gave.
    Registered(String),
}

/// See the module.
#[derive(Debug)]
pub struct Draft {
    pub(crate) pools: Vec<Pool>,
    /// The section being read.
    open_pool: Option<usize>,
    /// The first is the main server.
    pub(crate) servers: Vec<Server>,
    /// Every use of a function, in order.
    pub(crate) uses: Vec<Use>,
    /// Lists of hooks, as numbers of uses. The first stays empty.
    pub(crate) lists: Vec<Vec<usize>>,
    pub(crate) kinds: Vec<HookKind>,
    /// Uses, and milliseconds from start to start.
    pub(crate) timers: Vec<(usize, u64)>,
    pub(crate) dicts: Vec<Dict>,
    pub(crate) geo_files: Vec<GeoFile>,
    /// `LuaBalancerOnError`, with their places.
    pub(crate) error_rules: Vec<(OnError, Place)>,
    /// `key=` expressions that are kept.
    expressions: Vec<String>,
    pub(crate) max_members: u32,
    pub(crate) sandbox: bool,
}

impl Default for Draft {
    /// What holds without any directive.
    fn default() -> Self {
        Draft {
            pools: Vec::new(),
            open_pool: None,
            servers: vec![Server::default()],
            uses: Vec::new(),
            lists: vec![Vec::new()],
            kinds: Vec::new(),
            timers: Vec::new(),
            dicts: Vec::new(),
            geo_files: Vec::new(),
            error_rules: Vec::new(),
            expressions: Vec::new(),
            max_members: 1024,
            sandbox: true,
        }
    }
}

impl Draft {
    /// The number of a virtual host that was not seen before.
    pub fn new_server(&mut self) -> usize {
        self.servers.push(Server::default());
        self.servers.len() - 1
    }

    /// `<LuaBalancerPool name>` begins. `inside`: the directives in it, with their lines.
    pub fn open_pool(&mut self, name: &str, place: Place, inside: &[(String, u32)]) -> Result<(), String> {
        if self.open_pool.is_some() {
            return Err("pools cannot stand inside one another".into());
        }
        if let Some(other) = self.pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(name)) {
            return Err(format!("pool {name} is defined already, at {}", other.place));
        }
        check_inside_pool(inside)?;
        self.open_pool = Some(self.pools.len());
        self.pools.push(Pool {
            name: name.to_owned(),
            place,
            settings: balance::settings::PoolSettings::default(),
            members: Vec::new(),
            member_places: Vec::new(),
            member_checks: Vec::new(),
            scripts: Vec::new(),
        });
        Ok(())
    }

    /// `</LuaBalancerPool>`. `read`: how reading it went.
    pub fn close_pool(&mut self, read: Result<(), String>) -> Result<(), String> {
        let index = self.open_pool.take();
        read?;
        match index.and_then(|index| self.pools.get_mut(index)) {
            Some(pool) => members::settle_check(pool),
            None => Ok(()),
        }
    }

    /// Takes a statement. The error has the directive's name in front.
    pub fn apply(
        &mut self,
        statement: Statement,
        at: &mut At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        self.take(statement, at, world).map_err(|text| at.directive.named(&text))
    }

    fn take(
        &mut self,
        statement: Statement,
        at: &mut At<'_, '_>,
        world: &dyn Surroundings,
    ) -> Result<(), String> {
        match statement {
            // Its directive opens and closes it, and reads what is inside.
            Statement::Pool(_) => Ok(()),
            Statement::Member { url, checks, keys } => self.member(&url, &checks, &keys, (at, world)),
            Statement::Setting(words) => self.setting(&words, at, world),
            Statement::Hook(kind, callee) => self.hook(kind, callee, at, world),
            Statement::Timer { callee, every_ms } => {
                let number = self.add_use(callee, String::new(), at, world)?;
                self.timers.push((number, every_ms));
                Ok(())
            }
            Statement::Register { name, callee } => self.register(name, callee, at, world),
            Statement::PackagePath(parts) => self.package_path(&parts, at, world),
            Statement::CodeCache(cache) => {
                self.server(at).code_cache = Some(cache);
                Ok(())
            }
            Statement::ScriptLimit { time_ms, memory } => {
                let server = self.server(at);
                let before = server.limit.unwrap_or(crate::statement::DEFAULT_LIMIT);
                server.limit = Some(Limit {
                    time_ms: time_ms.unwrap_or(before.time_ms),
                    memory: memory.unwrap_or(before.memory),
                });
                Ok(())
            }
            Statement::OnError(rule) => self.on_error(rule, at),
            Statement::Sandbox(on) => {
                self.sandbox = on;
                Ok(())
            }
            Statement::GeoIp(files) => self.geoip(&files, at, world),
            Statement::Dict { name, size } => self.dict(name, size, at),
            Statement::MaxMembers(number) => {
                self.max_members = number;
                Ok(())
            }
        }
    }

    pub(crate) fn server(&mut self, at: &At<'_, '_>) -> &mut Server {
        let known = if at.server < self.servers.len() { at.server } else { MAIN };
        &mut self.servers[known]
    }

    fn on_error(&mut self, rule: OnError, at: &mut At<'_, '_>) -> Result<(), String> {
        self.error_rules.push((rule, at.place.clone()));
        at.section.on_error = Some(ErrorRule(number(self.error_rules.len())?));
        Ok(())
    }

    fn geoip(&mut self, files: &[String], at: &At<'_, '_>, world: &dyn Surroundings) -> Result<(), String> {
        for written in files {
            let path = world.under_root(written);
            let path = path.ok_or_else(|| format!("'{written}' is no path of a file"))?;
            let file = GeoFile { path: path.into(), place: at.place.clone() };
            // Named twice it knows no more than once.
            if !self.geo_files.iter().any(|known| known.path == file.path) {
                self.geo_files.push(file);
            }
        }
        Ok(())
    }

    fn dict(&mut self, name: String, size: usize, at: &At<'_, '_>) -> Result<(), String> {
        if let Some(known) = self.dicts.iter().find(|known| known.name == name) {
            return Err(format!("dictionary {name} is defined already, on {}", known.place));
        }
        if self.dicts.len() == MOST_DICTS {
            return Err(format!("there may be {MOST_DICTS} dictionaries, {name} is one more"));
        }
        self.dicts.push(Dict { name, size, place: at.place.clone() });
        Ok(())
    }

    /// A list of hooks with one more. The list before stays as it is: others may have it.
    pub(crate) fn longer(&mut self, before: Option<Hooks>, number_of_use: usize) -> Result<Hooks, String> {
        let before = before.and_then(|Hooks(at)| self.lists.get(at.get() as usize));
        let mut list = before.cloned().unwrap_or_default();
        list.push(number_of_use);
        let hooks = Hooks(number(self.lists.len())?);
        self.lists.push(list);
        Ok(hooks)
    }
}

fn number(count: usize) -> Result<std::num::NonZeroU32, String> {
    let number = u32::try_from(count).ok().and_then(std::num::NonZeroU32::new);
    number.ok_or_else(|| "there are too many directives of this kind".to_owned())
}
