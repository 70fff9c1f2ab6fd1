// SPDX-License-Identifier: Apache-2.0
//! The processes of a server and their tasks, as `/proc` lists them.

use std::fs;

/// All processes of this machine.
pub(super) fn all_pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process vets scripts for this httpd. The vetting server is a child of the parent by
/// its name; its workers are its children.
pub(super) fn group_of_vetting(pid: u32, httpd: u32) -> bool {
    let is_server = |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(lua-balancer") && parent_of(&stat) == Some(httpd)
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_server(pid) || parent_of(&stat).is_some_and(|parent| parent != 0 && is_server(parent))
}

/// From `/proc/PID/stat`: what follows the name, which may hold spaces, is the state and the
/// parent.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

/// Whether a process is a child of another one, and neither a zombie nor the module's own.
pub(super) fn living_child_of(pid: u32, parent: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if stat.contains("(lua-balancer") {
        return false;
    }
    let mut fields = stat.rsplit(") ").next().unwrap_or("").split(' ');
    fields.next().is_some_and(|state| state != "Z") && fields.next() == Some(parent.to_string().as_str())
}

/// The states of a child's tasks, as in `/proc`, without the module's own; None when the child has
/// gone.
pub(super) fn tasks_of(pid: u32) -> Option<Vec<char>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let stats = tasks.map(|task| fs::read_to_string(task.path().join("stat")).unwrap_or_default());
    let of_httpd = stats.filter(|stat| !stat.contains("(lua-balancer"));
    Some(of_httpd.filter_map(|stat| stat.rsplit(") ").next()?.chars().next()).collect())
}

/// Whether all tasks with these states wait.
pub(super) fn all_sleep(states: &[char]) -> bool {
    states.iter().all(|state| *state == 'S')
}
