// SPDX-License-Identifier: Apache-2.0
//! Panics on demand, for tests that show what one costs, and a look over the shared table. Only
//! builds with the feature `faults` have them; in all others these functions are empty.

/// Panics while the file that the variable `LUA_BALANCER_FAULTS` names holds this word.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    assert!(!is_told(name), "fault {name}");
}

/// As [`point`], once in a process until the file does not hold the word any more: for what runs
/// over and over.
#[cfg(feature = "faults")]
pub fn once(name: &'static str) {
    assert!(!is_told_anew(name), "fault {name}");
}

/// Waits, as a function of C may that does not come back, while the file holds this word.
#[cfg(feature = "faults")]
pub fn nap(name: &str, seconds: u64) {
    if is_told(name) {
        std::thread::sleep(std::time::Duration::from_secs(seconds));
    }
}

/// Looks over the shared table while the file holds `check_table`, and tells in the log what it
/// found.
#[cfg(feature = "faults")]
pub fn check_table(table: &table::Table) {
    if is_told_anew("check_table") {
        let found = table
            .check()
            .map_or_else(|wrong| format!("the table is wrong: {wrong}"), |()| "the table is right".into());
        crate::httpd::log::server(messages::starting::TABLE_EXAMINED, &found);
    }
}

/// Whether the file holds the word and did not when it was asked for last.
#[cfg(feature = "faults")]
fn is_told_anew(name: &'static str) -> bool {
    use std::sync::Mutex;
    static DONE: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (before, now) = (done.contains(&name), is_told(name));
    done.retain(|other| *other != name);
    if now {
        done.push(name);
    }
    now && !before
}

#[cfg(feature = "faults")]
fn is_told(name: &str) -> bool {
    let file = std::env::var_os("LUA_BALANCER_FAULTS").unwrap_or_default();
    std::fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|word| word == name))
}

/// Nothing, in a build without faults.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_: &str) {}

/// Nothing, in a build without faults.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn nap(_: &str, _: u64) {}

/// Nothing, in a build without faults.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn once(_: &'static str) {}

/// Nothing, in a build without faults.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn check_table(_: &table::Table) {}
