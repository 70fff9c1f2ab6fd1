// SPDX-License-Identifier: Apache-2.0
//! The configuration's scripts: vetted, and put into the table for the children.

use std::rc::Rc;
use std::sync::Arc;

use balance::api::Balancer;
use balance::engine::{Engine, Handle};
use balance::journal::EventKind;
use balance::store::Store;
use config::Config;
use script::{ErrorKind, GoodVersion, ScriptError, ScriptId};
use table::{Geometry, Table};

use super::pools;
use crate::httpd::confine::Account;
use crate::httpd::log;
use crate::httpd::process::OneThread;
use crate::keep::dicts::Dicts;
use crate::keep::events;
use crate::keep::reading::Vetted;
use crate::keep::table::with_slack;
use crate::serve::generation::{Generation, library};
use crate::serve::scripts as stored;
use crate::vetting::{self, Keeper, VettingSetup};

/// The library's number of a planned script.
pub fn id(number: usize) -> ScriptId {
    ScriptId(number as u32)
}

/// Scripts of `LuaBalancerMethod lua` and checks, by path as written.
pub fn of_methods(config: &Config) -> Vec<(String, ScriptId)> {
    config.method_scripts.iter().map(|(written, number)| (written.clone(), id(*number))).collect()
}

/// Names of the pools that a version defines.
pub fn names_in(good: &GoodVersion) -> impl Iterator<Item = String> {
    good.definitions.iter().map(|definition| definition.name.clone())
}

/// The parts with which the scripts of a generation are vetted.
pub fn setup(generation: &Generation) -> VettingSetup {
    VettingSetup {
        library: Arc::new(generation.library()),
        dicts: generation.dicts.clone(),
        table: generation.table.clone(),
        account: Account::of_children(),
    }
}

/// Vets all scripts with pools and dictionaries of their own: there is no server yet, or none that
/// this is about. The table is as large as the server's would be, so that pools which find no room
/// there are known here.
pub fn vet_for_check(alone: OneThread, config: &Config) -> Result<Vec<Vetted>, String> {
    if config.scripts.is_empty() {
        return Ok(Vec::new());
    }
    let geometry = Geometry::for_config(with_slack(pools::needs(config)));
    let table = Table::on_heap(geometry).map_err(|error| error.to_string())?;
    pools::define(&table, config, 1)?;
    let setup = VettingSetup {
        library: Arc::new(library(config)),
        dicts: Arc::new(Dicts::for_test(&config.dicts)?),
        table,
        account: Account::of_children(),
    };
    let mut found = vetting::vet_all(&Keeper::start(alone, &setup)?, &setup);
    define_found(&setup, &mut found);
    Ok(found)
}

/// Defines the pools of accepted scripts; those whose pools find no room are refused.
fn define_found(setup: &VettingSetup, found: &mut [Vetted]) {
    let balancer = Handle::new(Engine::new(setup.table.clone(), Box::new(|_| ())), 1);
    for (id, found) in setup.library.ids().zip(found) {
        let Ok(good) = found else { continue };
        if let Err(error) = good.apply(&balancer as &dyn Balancer, 1) {
            let label = setup.library.label(id);
            *found = Err(ScriptError::new(ErrorKind::Load, format!("{label}: {error}")));
        }
    }
}

/// The process that vets scripts, now and when they are saved; where there are any.
pub fn start_vetting(alone: OneThread, generation: &Generation) -> Option<Keeper> {
    if generation.main_config.config.scripts.is_empty() {
        return None;
    }
    let started = Keeper::start(alone, &setup(generation));
    let failed = |error| {
        log::server(messages::scripts::NO_VETTING, &format!("{error}: saved scripts are not taken"));
    };
    started.map_err(failed).ok()
}

/// All scripts, vetted; the answers of check_config where it has just asked.
fn vet(generation: &Generation, setup: &VettingSetup, known: Option<Vec<Vetted>>) -> Vec<Vetted> {
    let library = &setup.library;
    match (known, &generation.vetting) {
        (Some(known), _) if known.len() == library.ids().count() => known,
        (_, Some(keeper)) => vetting::vet_all(keeper, setup),
        (_, None) => {
            let error = ScriptError::new(ErrorKind::Load, "scripts cannot be vetted");
            library.ids().map(|_| Err(error.clone())).collect()
        }
    }
}

fn may_try(generation: &Generation, id: ScriptId) -> bool {
    let scripts = &generation.main_config.config.scripts;
    scripts.get(id.0 as usize).is_some_and(config::Planned::has_trials)
}

/// Puts every script's current (or last good) version into the table. Returns the pools that
/// scripts define.
pub fn load(generation: &Generation, known: Option<Vec<Vetted>>) -> Vec<String> {
    let setup = setup(generation);
    let (table, library) = (&generation.table, &setup.library);
    let engine = Engine::new(table.clone(), events::notice(table));
    let balancer = Rc::new(Handle::new(engine, 1));
    let mut defined = Vec::new();
    for (id, found) in library.ids().zip(vet(generation, &setup, known)) {
        match found.and_then(|good| stored::check_room(table, library, id, good)) {
            Ok(good) if may_try(generation, id) && stored::is_held_back(table, library, id, &good.bundle) => {
                let text = format!(
                    "{}: its saved version is on trial, or was not taken: the one before goes on serving",
                    library.label(id)
                );
                log::server(messages::scripts::HELD_BACK, &text);
                defined.extend(table.pool_names());
            }
            Ok(good) => {
                defined.extend(names_in(&good));
                let version = stored::publish(table, library, id, &good.bundle);
                if let Err(error) = good.apply(balancer.as_ref() as &dyn Balancer, version) {
                    let text = format!("{}: {error}", library.label(id));
                    log::server(messages::scripts::POOLS_NOT_DEFINED, &text);
                }
            }
            Err(error) => {
                let text = format!("{error} (the last good version, if there is one, goes on serving)");
                events::note(table, EventKind::Script, messages::scripts::NOT_TAKEN_AT_RESTART, &text);
                defined.extend(table.pool_names());
            }
        }
    }
    defined
}
