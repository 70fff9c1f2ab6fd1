// SPDX-License-Identifier: Apache-2.0
//! A configuration that has been read: every function resolved to a script of the library. The plan
//! of scripts lists the contents of the library.

use balance::trial::Rollout;

use crate::doors::{Admin, Metrics, Socket};
use crate::draft::{Draft, MAIN, Server, Source, Use};
use crate::kept::StateSetting;
use crate::parts::{Dict, GeoFile, Pool, PoolScript};
use crate::place::Position;
use crate::sampling::Sampling;
use crate::section::{AdminRule, ErrorRule, Hooks};
use crate::shared::StoreSetting;
use crate::statement::{CodeCache, DEFAULT_LIMIT, HookKind, Limit, OnError};

/// A script of the library and a function in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Number of the script in the plan.
    pub script: usize,
    /// Function name or `-`.
    pub function: String,
}

/// A line that names a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Its directive.
    pub directive: &'static str,
    /// The function.
    pub function: Resolved,
    /// Where it is written.
    pub place: Position,
}

/// A `LuaBalancerTimer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The function that it runs.
    pub function: Resolved,
    /// Milliseconds from start to start.
    pub every_ms: u64,
}

/// The place of a script's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// A file: its full path.
    File(String),
    /// Lua in the configuration.
    Inline {
        /// Name given by `LuaRegisterFunc`.
        name: String,
        /// `function(r) … end`.
        code: String,
    },
}

/// A script that the configuration uses, as the library is to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The place of its text.
    pub script: Script,
    /// `package.path` of its own, in order.
    pub package_path: Vec<String>,
    /// How its file is watched.
    pub cache: CodeCache,
    /// The limits of its calls and states.
    pub limit: Limit,
    /// How a saved version comes into service. None: at once.
    pub rollout: Option<Rollout>,
    /// Requests for which it runs, in hundredths of a percent, where it is only looked at
    /// (`LuaBalancerShadow`).
    pub shadow: Option<u32>,
    /// The place that names it first.
    pub place: Position,
    /// Functions that have to be there.
    pub needs: Vec<String>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Config {
    /// The pools.
    pub pools: Vec<Pool>,
    /// The scripts, by their numbers.
    pub scripts: Vec<Planned>,
    /// Scripts of `LuaBalancerMethod lua` and checks: as written, and their numbers.
    pub method_scripts: Vec<(String, usize)>,
    /// The timers.
    pub timers: Vec<Timer>,
    /// The dictionaries.
    pub dicts: Vec<Dict>,
    /// `LuaBalancerGeoIP`, in order.
    pub geo_files: Vec<GeoFile>,
    /// `LuaBalancerMaxMembers`.
    pub max_members: u32,
    /// `LuaBalancerSandbox`.
    pub sandbox: bool,
    /// `LuaBalancerSocket`.
    pub socket: Socket,
    /// `LuaBalancerMetrics`.
    pub metrics: Metrics,
    /// `LuaBalancerDecisions`.
    pub sampling: Sampling,
    /// `LuaBalancerStateFile`.
    pub state_file: StateSetting,
    /// `LuaBalancerStore` and `LuaBalancerShare`.
    pub store: StoreSetting,
    /// How many places outside of pools name a function.
    pub uses: usize,
    /// These functions, and where they are named.
    pub named: Vec<Naming>,
    lists: Vec<Vec<Resolved>>,
    kinds: Vec<HookKind>,
    error_rules: Vec<(OnError, Position)>,
    admins: Vec<Admin>,
}

impl Planned {
    /// Whether its saved versions may be on trial: they have to be noticed, and served until
    /// another one is.
    pub fn has_trials(&self) -> bool {
        self.rollout.is_some() && self.cache == CodeCache::Stat
    }
}

impl Config {
    /// The functions of a list, in order.
    #[inline]
    pub fn hooks(&self, Hooks(at): Hooks) -> &[Resolved] {
        self.lists.get(at.get() as usize).map_or(&[], Vec::as_slice)
    }

    /// The settings of `LuaBalancerOnError`.
    #[inline]
    pub fn on_error(&self, ErrorRule(at): ErrorRule) -> &OnError {
        self.error_rules.get(at.get() as usize - 1).map_or(&OnError::Error, |(rule, _)| rule)
    }

    /// The settings of `LuaBalancerAdmin`.
    pub fn admin(&self, AdminRule(at): AdminRule) -> Option<&Admin> {
        self.admins.get(at.get() as usize - 1)
    }

    /// Whether there are hooks of a kind, in any place.
    pub fn has_hooks(&self, kind: HookKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Pools of `LuaBalancerOnError`, with their places.
    pub fn fallbacks(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.error_rules.iter().filter_map(|(rule, place)| match rule {
            OnError::Pool(name) => Some((name.as_str(), place)),
            _ => None,
        })
    }

    /// Whether a saved script may be on trial.
    pub fn has_trials(&self) -> bool {
        self.scripts.iter().any(Planned::has_trials)
    }

    /// The number of configured members.
    pub fn members(&self) -> usize {
        self.pools.iter().map(|pool| pool.members.len()).sum()
    }

    /// Names of the pools.
    pub fn pool_names(&self) -> Vec<&str> {
        self.pools.iter().map(|pool| pool.name.as_str()).collect()
    }
}

impl Draft {
    /// Resolves every function. Everything has been read.
    pub fn finish(self) -> Result<Config, String> {
        self.store.check(&self.pools)?;
        let mut plan = Plan { draft: &self, scripts: Vec::new() };
        let resolved =
            self.uses.iter().map(|one| plan.resolve(one, one.share)).collect::<Result<Vec<_>, _>>()?;
        let method_scripts = plan.method_scripts();
        let scripts = plan.scripts;
        let list = |list: &Vec<usize>| list.iter().filter_map(|at| resolved.get(*at).cloned()).collect();
        let naming = |(one, function): (&Use, &Resolved)| Naming {
            directive: one.directive,
            function: function.clone(),
            place: one.place.clone(),
        };
        let named = self.uses.iter().zip(&resolved).map(naming).collect();
        let lists = self.lists.iter().map(list).collect();
        let timer = |(at, every_ms): &(usize, u64)| {
            Some(Timer { function: resolved.get(*at)?.clone(), every_ms: *every_ms })
        };
        Ok(Config {
            timers: self.timers.iter().filter_map(timer).collect(),
            pools: self.pools,
            scripts,
            method_scripts,
            dicts: self.dicts,
            geo_files: self.geo_files,
            max_members: self.max_members,
            sandbox: self.sandbox,
            socket: self.socket,
            metrics: self.metrics,
            sampling: self.sampling,
            admins: self.admins,
            state_file: self.state_file,
            store: self.store,
            uses: self.uses.len(),
            named,
            lists,
            kinds: self.kinds,
            error_rules: self.error_rules,
        })
    }
}

struct Plan<'d> {
    draft: &'d Draft,
    scripts: Vec<Planned>,
}

impl<'d> Plan<'d> {
    fn server(&self, number: usize) -> &'d Server {
        &self.draft.servers[if number < self.draft.servers.len() { number } else { MAIN }]
    }

    /// `share`: of the directive that names the function, where it is a `LuaBalancerShadow`.
    fn resolve(&mut self, one: &Use, share: Option<u32>) -> Result<Resolved, String> {
        match &one.source {
            Source::File { path, function } => {
                let script = self.file((path, function), one.server, &one.place, share);
                Ok(Resolved { script, function: function.clone() })
            }
            Source::Inline { code, name, beside } => {
                let script = Script::Inline { name: name.clone(), code: code.clone() };
                let mut planned = self.planned(script, one.server, &one.place, share);
                planned.package_path.insert(0, beside.clone());
                let script = self.number_of(planned, |known, new| {
                    known.script == new.script && known.place == new.place && known.shadow == new.shadow
                });
                Ok(Resolved { script, function: name.clone() })
            }
            Source::Registered(name) => {
                let target = self.registered(name, one.server).ok_or_else(|| {
                    format!(
                        "{}: no function named {name} is registered: expected a script such as \
                         lua/balancer.lua, or a name that LuaRegisterFunc gives",
                        one.place
                    )
                })?;
                self.resolve(target, share)
            }
        }
    }

    /// The use that a name stands for, which is never another name: in its own virtual host, or
    /// else in the main server.
    fn registered(&self, name: &str, server: usize) -> Option<&'d Use> {
        let (own, main) = (self.server(server), self.server(MAIN));
        let mut known = own.registered.iter().chain(&main.registered);
        let (_, at) = known.find(|(known, _)| known == name)?;
        self.draft.uses.get(*at)
    }

    fn method_scripts(&mut self) -> Vec<(String, usize)> {
        let draft = self.draft;
        let all = draft.pools.iter().flat_map(|pool| &pool.scripts);
        let number = |one: &PoolScript| {
            let script = self.file((&one.path, &one.function), MAIN, &one.place, None);
            (one.written.clone(), script)
        };
        all.map(number).collect()
    }

    fn file(
        &mut self,
        (path, function): (&str, &str),
        server: usize,
        place: &Position,
        share: Option<u32>,
    ) -> usize {
        let planned = self.planned(Script::File(path.to_owned()), server, place, share);
        let index = self.number_of(planned, |known, new| {
            known.script == new.script
                && known.package_path == new.package_path
                && known.cache == new.cache
                && known.limit == new.limit
                && known.shadow == new.shadow
        });
        let needs = &mut self.scripts[index].needs;
        if !needs.iter().any(|known| known == function) {
            needs.push(function.to_owned());
        }
        index
    }

    fn number_of(&mut self, planned: Planned, same: impl Fn(&Planned, &Planned) -> bool) -> usize {
        self.scripts.iter().position(|known| same(known, &planned)).unwrap_or_else(|| {
            self.scripts.push(planned);
            self.scripts.len() - 1
        })
    }

    /// A script of a server: what the server does not say comes from the main one; paths add up.
    fn planned(&self, script: Script, server: usize, place: &Position, share: Option<u32>) -> Planned {
        let (own, main) = (self.server(server), self.server(MAIN));
        let mut package_path = own.package_path.clone();
        if server != MAIN {
            package_path.extend(main.package_path.iter().cloned());
        }
        Planned {
            script,
            package_path,
            cache: own.code_cache.or(main.code_cache).unwrap_or(CodeCache::Stat),
            limit: Limit {
                time_ms: own.time_ms.or(main.time_ms).unwrap_or(DEFAULT_LIMIT.time_ms),
                memory: own.memory.or(main.memory).unwrap_or(DEFAULT_LIMIT.memory),
            },
            // A shadow serves nobody, on trial or not.
            rollout: own.rollout.or(main.rollout).flatten().filter(|_| share.is_none()),
            shadow: share,
            place: place.clone(),
            needs: Vec::new(),
        }
    }
}
