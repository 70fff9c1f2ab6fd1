// SPDX-License-Identifier: Apache-2.0
//! The parts of a world: a configuration, or a script with pools beside it.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use config::{CodeCache, Config, DEFAULT_LIMIT, Draft, Limit, Planned, Pool, Position, Script};
use script::{Library, Phase, ScriptId, SeeLine, host};

use super::geography::Geography;
use crate::conf::read::Read;
use crate::conf::site::{Pass, Paths, Site};
use crate::conf::surroundings::installed;

/// Seconds since the epoch at which every world begins: 2026-01-05, a Monday, 12:00 UTC.
pub const EPOCH: f64 = 1_767_614_400.0;

/// A script that is asked in the place of hooks.
#[derive(Debug, Clone)]
pub struct ScriptAlone {
    /// Its number among the planned ones.
    pub number: usize,
    /// Its selection function; None for the usual names.
    pub function: Option<String>,
    /// Its function for after the response.
    pub finish: Option<String>,
    /// The hook.
    pub phase: Option<Phase>,
}

/// See the module.
#[derive(Clone)]
pub struct Setup {
    /// Pools, scripts, dictionaries.
    pub config: Config,
    /// The settings by place.
    pub site: Site,
    /// The conditions that only httpd knows.
    pub unknown: Vec<String>,
    /// Seed of all draws.
    pub seed: u64,
    /// When it begins, seconds since the epoch.
    pub epoch: f64,
    /// The databases of `LuaBalancerGeoIP`.
    pub geography: Rc<Geography>,
    /// The locations of addresses, before those of the databases.
    pub places: Vec<(String, host::Location)>,
    /// As httpd's `-D`.
    pub defines: Vec<String>,
    /// Gets every line of a script that runs.
    pub see: Option<SeeLine>,
    /// The script that is asked in the place of hooks.
    pub only: Option<ScriptAlone>,
}

impl Setup {
    /// The setup of a configuration.
    pub fn of(read: Read) -> Self {
        let files = read.config.geo_files.iter().map(|file| file.path.clone());
        Setup {
            geography: Rc::new(Geography::of(files.collect())),
            config: read.config,
            site: read.site,
            unknown: read.unknown,
            seed: 1,
            epoch: EPOCH,
            places: Vec::new(),
            defines: Vec::new(),
            see: None,
            only: None,
        }
    }

    /// Nothing at all.
    ///
    /// # Errors
    /// Never: an empty configuration is one.
    pub fn empty() -> Result<Self, String> {
        let config = Draft::default().finish()?;
        Ok(Setup::of(Read { config, site: Site::default(), unknown: Vec::new() }))
    }

    /// A pool beside those that there are, or in the place of one.
    pub fn add_pool(&mut self, name: &str, settings: PoolSettings, members: Vec<MemberSpec>) {
        self.config.pools.retain(|known| !known.name.eq_ignore_ascii_case(name));
        self.config.pools.push(Pool {
            name: name.to_owned(),
            place: Position::default(),
            settings,
            member_places: vec![Position::default(); members.len()],
            member_checks: Vec::new(),
            members,
            scripts: Vec::new(),
        });
    }

    /// Asks this script in the place of all hooks. `function`: None for the usual names.
    pub fn ask_script(&mut self, path: &Path, function: Option<&str>, finish: Option<&str>) {
        let number = self.add_script(path);
        let own = |text: Option<&str>| text.map(str::to_owned);
        self.only = Some(ScriptAlone { number, function: own(function), finish: own(finish), phase: None });
    }

    /// Has every request go to a pool, whatever else the configuration says.
    pub fn send_all_to(&mut self, pool: &str) {
        let written = format!("ProxyPass / lb://{pool}/");
        let pass = Pass { paths: Paths::Start("/".into()), target: format!("lb://{pool}/"), written };
        self.site = Site::default();
        self.site.main.passes.push(pass);
    }

    /// Has the script look for modules in these folders too.
    pub fn look_for_modules_in(&mut self, folders: &[String]) {
        let planned = self.only.as_ref().and_then(|only| self.config.scripts.get_mut(only.number));
        if let Some(planned) = planned {
            planned.package_path.extend_from_slice(folders);
        }
    }

    /// Sets the hook that the script is asked for.
    pub fn ask_in(&mut self, phase: Phase) {
        if let Some(only) = &mut self.only {
            only.phase = Some(phase);
        }
    }

    fn add_script(&mut self, path: &Path) -> usize {
        self.config.scripts.push(planned(path.to_string_lossy().into_owned(), Position::default()));
        self.config.scripts.len() - 1
    }

    /// The files of all scripts.
    pub fn script_files(&self) -> Vec<PathBuf> {
        let files = self.config.scripts.iter().filter_map(|planned| match &planned.script {
            Script::File(path) => Some(PathBuf::from(path)),
            Script::Inline { .. } => None,
        });
        files.collect()
    }

    /// The library of the scripts, as the module makes it, and the number of each planned script
    /// in it.
    pub fn library(&self) -> (Library, Vec<ScriptId>) {
        let configured = self.config.pool_names().into_iter().map(str::to_owned).collect();
        let builder = Library::builder().shipped(&installed().to_string_lossy());
        let mut builder = builder.sandbox(self.config.sandbox).configured(configured);
        let mut ids = Vec::new();
        for planned in &self.config.scripts {
            builder = builder.limits(limits(planned.limit)).cache(script::CodeCache::Forever);
            let add = |builder: &mut script::Builder| match &planned.script {
                Script::File(path) => builder.file(path, &planned.package_path),
                Script::Inline { name, code } => builder.inline(name, code, &planned.package_path),
            };
            let id = if planned.shadow.is_some() { builder.shadow(add) } else { add(&mut builder) };
            planned.needs.iter().for_each(|function| builder.need(id, function));
            ids.push(id);
        }
        (builder.build(), ids)
    }
}

/// The script in a file, with the usual settings.
pub fn planned(path: String, place: Position) -> Planned {
    Planned {
        script: Script::File(path),
        package_path: Vec::new(),
        cache: CodeCache::Forever,
        limit: DEFAULT_LIMIT,
        rollout: None,
        shadow: None,
        place,
        needs: Vec::new(),
    }
}

/// Whether a script is the one in this file.
pub fn is_file(planned: &Planned, path: &str) -> bool {
    matches!(&planned.script, Script::File(own) if own == path)
}

fn limits(limit: Limit) -> script::Limits {
    script::Limits {
        time_ms: limit.time_ms,
        memory_bytes: usize::try_from(limit.memory).unwrap_or(usize::MAX),
        ..script::Limits::default()
    }
}
