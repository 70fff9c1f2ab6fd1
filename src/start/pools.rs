// SPDX-License-Identifier: Apache-2.0
//! The configuration's pools in the table.

use balance::event::By;
use balance::told::Before;
use config::{Config, Pool};
use table::{Needs, Origin, StalePool, Table};

use crate::httpd::log;
use crate::httpd::mpm;
use crate::keep::events;

/// The room that the table needs.
pub fn needs(config: &Config) -> Needs {
    let text = |pool: &Pool| {
        let lines = pool.members.iter().map(|member| member.to_line().len() + 64);
        pool.settings.to_text().len() + lines.sum::<usize>()
    };
    // One for each place that names a function, and for each pool that does.
    let of_pools = config.pools.iter().map(|pool| pool.scripts.len()).sum::<usize>();
    // And of the versions on trial.
    let on_trial = if config.has_trials() { config.scripts.len() } else { 0 };
    Needs {
        members: config.members() as u32,
        extra_members: config.max_members,
        pools: config.pools.len() as u32,
        text_bytes: config.pools.iter().map(text).sum::<usize>() as u64,
        children: mpm::max_children(),
        one_request: !mpm::is_threaded(),
        requests: mpm::max_threads(),
        scripts: (config.uses + of_pools + on_trial) as u32,
        decisions: config.sampling.size,
    }
}

/// Defines the pools.
pub fn define(table: &Table, config: &Config, version: u64) -> Result<(), String> {
    for pool in &config.pools {
        table
            .define_from(Origin::Configuration, &pool.name, &pool.settings, &pool.members, version)
            .map_err(|error| format!("{}: pool {}: {error}", pool.place, pool.name))?;
    }
    Ok(())
}

/// Defines the pools beside those of earlier configurations, and tells what has changed.
pub fn define_and_tell(table: &Table, config: &Config, version: u64) -> Result<(), String> {
    let names = config.pool_names();
    let before: Vec<Before> = names.iter().map(|name| Before::of(table, name)).collect();
    define_with_room(table, config, version)?;
    for (before, name) in before.into_iter().zip(&names) {
        events::tell_all(table, before.tell(table, name, By::Configuration));
    }
    Ok(())
}

/// Defines the pools. Maybe there is too little room beside pools which are to go: then those go
/// now; and then the members that were added while running.
fn define_with_room(table: &Table, config: &Config, version: u64) -> Result<(), String> {
    if define(table, config, version).is_ok() {
        return Ok(());
    }
    let names = config.pool_names();
    table.retain_pools(&names, Origin::Configuration);
    if define(table, config, version).is_ok() {
        return Ok(());
    }
    let removed = table.remove_added(&names);
    if !removed.is_empty() {
        log::server(
            messages::starting::MEMBERS_REMOVED,
            &format!(
                "no room for members that were added while running beside those of the configuration \
                 (LuaBalancerMaxMembers gives more): removed {}",
                removed.join(", ")
            ),
        );
    }
    define(table, config, version)
}

/// Removes the pools that are neither configured nor defined by a script any more, or says which
/// ones are to be removed once no child needs them: at a graceful restart the old children go on
/// serving by them.
pub fn stale(table: &Table, config: &Config, defined: &[String]) -> Vec<StalePool> {
    let defined: Vec<&str> = defined.iter().map(String::as_str).collect();
    let mut stale = table.stale_pools(&config.pool_names(), Origin::Configuration);
    stale.extend(table.stale_pools(&defined, Origin::Script));
    if table.children().is_empty() {
        table.remove_stale(&stale);
        stale.clear();
    }
    stale
}
