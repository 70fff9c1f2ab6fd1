// SPDX-License-Identifier: Apache-2.0
//! Children tell each other about scripts through the table: the versions, and those that are
//! stuck.

use balance::counting::ReloadEnd;
use balance::trial::TrialStage;
use script::{Bundle, ErrorKind, GoodVersion, Library, ScriptError, ScriptId};
use table::Table;

use crate::httpd::log;
use crate::httpd::memory;
use crate::serve::troubles::note_failed;

/// The table's key of a script: its label, and how many scripts before it have the same one.
fn key(library: &Library, id: ScriptId) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let label = library.label(id);
    let same =
        library.ids().take_while(|other| *other != id).filter(|other| library.label(*other) == label).count();
    let mut hasher = DefaultHasher::new();
    (label, same).hash(&mut hasher);
    hasher.finish().max(1)
}

/// The mark that tells the key of a script's versions on trial from the script's own.
const ON_TRIAL: u64 = 0x7261_6c74_0000_0001;

/// Row of a script's versions on trial, if there is room.
pub fn trial_row(table: &Table, library: &Library, id: ScriptId) -> Option<u32> {
    table.script_row((key(library, id) ^ ON_TRIAL).max(1))
}

/// Row of a script in the table, if there is room.
pub fn script_row(table: &Table, library: &Library, id: ScriptId) -> Option<u32> {
    table.script_row(key(library, id))
}

/// Refuses a version whose pools find no room: it would fail in each child that loads it.
pub fn check_room(
    table: &Table,
    library: &Library,
    id: ScriptId,
    good: GoodVersion,
) -> Result<GoodVersion, ScriptError> {
    let wanted = good.definitions.iter().map(|pool| (pool.name.as_str(), pool.members.len()));
    let Err(error) = table.check_room(wanted) else { return Ok(good) };
    let error = ScriptError::new(ErrorKind::Load, format!("{}: {error}", library.label(id)));
    library.refuse(id, Vec::new(), error.clone());
    Err(error)
}

/// Whether the version of these files is on trial, or was not taken after one: then the version
/// before goes on serving.
pub fn is_held_back(table: &Table, library: &Library, id: ScriptId, bundle: &Bundle) -> bool {
    let [row, on_trial] = [script_row(table, library, id), trial_row(table, library, id)];
    let (Some(row), Some(on_trial)) = (row, on_trial) else { return false };
    let is_open = table.trial(on_trial).is_some_and(|trial| trial.stage != TrialStage::Passed);
    let serving = || table.read_script(row).and_then(|(_, bytes)| Bundle::from_bytes(&bytes).ok());
    is_open
        && table.judged_stamp(on_trial) == bundle.stamp().0
        && serving().is_some_and(|serving| serving.stamp() != bundle.stamp())
}

/// Stores a version that is good in the configuration that is being read, whatever children of an
/// earlier one say of it: they may have refused it for want of a pool or a function that there is
/// now. Returns its number, 1 when the table has no room for it.
pub fn publish(table: &Table, library: &Library, id: ScriptId, bundle: &Bundle) -> u64 {
    let Some(row) = script_row(table, library, id) else {
        log::server(
            messages::scripts::NO_ROOM_TO_KEEP,
            &format!("{}: no room to keep its last good version for later children", library.label(id)),
        );
        return 1;
    };
    let bytes = bundle.to_bytes();
    if let Some((version, stored)) = table.read_script(row)
        && stored == bytes
    {
        return version;
    }
    table.take_over_judgement(row, memory::pid(), memory::monotonic_ms());
    let version = publish_judged((table, library), id, row, bundle.stamp().0, bundle);
    if version > 1 {
        table.count_reload(row, ReloadEnd::Ok);
    }
    version
}

/// Stores a version that was just judged good.
pub fn publish_judged(
    (table, library): (&Table, &Library),
    id: ScriptId,
    row: u32,
    stamp: u64,
    bundle: &Bundle,
) -> u64 {
    match table.publish_script(row, memory::pid(), stamp, &bundle.to_bytes()) {
        Ok(version) => version,
        Err(error) => {
            let text = format!("{}: {error}", library.label(id));
            log::server(messages::scripts::VERSION_NOT_KEPT, &text);
            table.script_version(row).max(library.version(id)) + 1
        }
    }
}

/// Gives a new child's library the versions that the table holds. Returns each script's row.
pub fn install_stored(table: &Table, library: &Library) -> Vec<Option<u32>> {
    library
        .ids()
        .map(|id| {
            let row = script_row(table, library, id);
            if let Some(row) = row {
                install_newer(table, library, id, row);
            }
            row
        })
        .collect()
}

/// Takes a newer version out of the table, if there is one, and lets go of one that is in
/// quarantine.
pub fn install_newer(table: &Table, library: &Library, id: ScriptId, row: u32) {
    take_newer(table, library, id, row);
    library.quarantine(id, table.quarantined_version(row));
}

/// Puts a version that was stuck in C into quarantine: no child calls it any more. The first child
/// that sees it writes one line. `late`: the time beyond its limit.
pub fn quarantine(
    (table, library): (&Table, &Library),
    row: Option<u32>,
    (id, version): (ScriptId, u64),
    late: &str,
) {
    let is_new = row.map_or_else(
        || library.version(id) == version,
        |row| table.quarantined_version(row) < version && table.quarantine_script(row, version),
    );
    library.quarantine(id, version);
    if is_new {
        let label = library.label(id);
        let text = format!(
            "{label}: version {version} is stuck in C, {late}: no child calls it any more until it is saved anew, and its thread \
             is lost while that lasts"
        );
        if let Some(row) = row {
            note_failed(table, row, version, &text);
        }
        log::server(messages::scripts::STUCK, &text);
    }
}

fn take_newer(table: &Table, library: &Library, id: ScriptId, row: u32) {
    if table.script_version(row) <= library.version(id) {
        return;
    }
    let Some((version, bytes)) = table.read_script(row) else { return };
    match Bundle::from_bytes(&bytes) {
        Ok(bundle) => library.install(id, bundle, version),
        Err(error) => {
            let text = format!("{}: stored version {version}: {error}", library.label(id));
            log::server(messages::scripts::STORED_UNREADABLE, &text);
        }
    }
}
