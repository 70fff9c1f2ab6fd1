// SPDX-License-Identifier: Apache-2.0
//! A configuration while its directives are being read.

mod doors;
mod members;
mod scripts;
mod state;

use crate::directive::check_inside_pool;
use crate::kept;
use crate::parts::{Dict, GeoFile, Pool};
use crate::place::Position;
use crate::section::{AdminRule, ErrorRule};
use crate::statement::{OnError, Statement};
use crate::surroundings::Surroundings;

use state::number;
pub use state::{At, Draft, MOST_DICTS};
pub(crate) use state::{MAIN, Server, Source, Use};

impl Draft {
    /// The number of a virtual host that was not seen before.
    pub fn new_server(&mut self) -> usize {
        self.servers.push(Server::default());
        self.servers.len() - 1
    }

    /// `<LuaBalancerPool name>` begins. `inside`: the directives in it, with their lines.
    pub fn open_pool(&mut self, name: &str, place: Position, inside: &[(String, u32)]) -> Result<(), String> {
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
            Statement::Shadow { callee, share } => self.shadow(callee, share, at, world),
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
                server.time_ms = time_ms.or(server.time_ms);
                server.memory = memory.or(server.memory);
                Ok(())
            }
            Statement::Rollout(rollout) => {
                self.server(at).rollout = Some(rollout);
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
            Statement::Socket { path, mode, group } => {
                self.socket = doors::socket(path, (mode, group), at, world)?;
                Ok(())
            }
            Statement::Metrics(metrics) => {
                self.metrics = metrics;
                Ok(())
            }
            Statement::Decisions(sampling) => {
                self.sampling = sampling;
                Ok(())
            }
            Statement::Admin(admin) => {
                self.admins.push(admin);
                at.section.admin = Some(AdminRule(number(self.admins.len())?));
                Ok(())
            }
            Statement::StateFile { path, max_age_s, health_age_s } => {
                self.state_file = kept::settled(path, (max_age_s, health_age_s), &at.place, world)?;
                Ok(())
            }
            Statement::Store(place) => {
                self.store.place = Some(place);
                Ok(())
            }
            Statement::Share(shared) => {
                match self.open_pool.and_then(|index| self.pools.get_mut(index)) {
                    Some(pool) => pool.settings.share = Some(shared),
                    None => self.store.shared = shared,
                }
                Ok(())
            }
        }
    }

    fn on_error(&mut self, rule: OnError, at: &mut At<'_, '_>) -> Result<(), String> {
        self.error_rules.push((rule, at.place.clone()));
        at.section.on_error = Some(ErrorRule(number(self.error_rules.len())?));
        Ok(())
    }

    fn geoip(&mut self, files: &[String], at: &At<'_, '_>, world: &dyn Surroundings) -> Result<(), String> {
        for written in files {
            let path = world.under_root(written);
            let path = path.ok_or_else(|| format!("'{written}' is not the path of a file"))?;
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
}
