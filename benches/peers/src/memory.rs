// SPDX-License-Identifier: Apache-2.0
//! Memory of a server's processes, in KiB.

use std::fs;

use crate::process::tree;

/// The memory of all processes of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The sum of what each process has in memory; what two share is counted twice.
    pub rss: u64,
    /// The sum of each process's share: what two share is counted half each.
    pub pss: u64,
}

/// A mapping that the processes of a server share and no file is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SharedMappings {
    /// Address space.
    pub size: u64,
    /// The part of it that anybody has touched.
    pub touched: u64,
}

/// The memory of a process and its descendants (/proc/PID/smaps_rollup).
pub fn of(root: u32) -> Held {
    let rollups = tree(root).into_iter().map(|pid| read(pid, "smaps_rollup"));
    rollups.fold(Held::default(), |sum, text| Held {
        rss: sum.rss + field(&text, "Rss:"),
        pss: sum.pss + field(&text, "Pss:"),
    })
}

/// Shared anonymous mappings of a process, and what all processes of its tree have touched of them.
pub fn shared_of(root: u32) -> SharedMappings {
    let size = anonymous_shared(&read(root, "smaps")).0;
    let touched = tree(root).into_iter().map(|pid| anonymous_shared(&read(pid, "smaps")).1).sum();
    SharedMappings { size, touched }
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// The number of the first line with this name.
fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Size and share of the mappings of /dev/zero in a text like /proc/PID/smaps.
fn anonymous_shared(smaps: &str) -> (u64, u64) {
    let mut of_interest = false;
    let mut sums = (0, 0);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        match first {
            "Size:" if of_interest => sums.0 += second.parse::<u64>().unwrap_or(0),
            "Pss:" if of_interest => sums.1 += second.parse::<u64>().unwrap_or(0),
            _ if first.contains('-') => of_interest = line.contains("/dev/zero"),
            _ => {}
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_anonymous_mappings_are_summed() {
        let smaps = "7f00-7f10 rw-s 00000000 00:01 1 /dev/zero (deleted)\nSize:   64 kB\nPss:   10 kB\n\
                     7f20-7f30 r-xp 00000000 00:01 2 /lib/x.so\nSize: 900 kB\nPss:  90 kB\n\
                     7f40-7f50 rw-s 00000000 00:01 3 /dev/zero (deleted)\nSize:    4 kB\nPss:    2 kB\n";
        assert_eq!(anonymous_shared(smaps), (68, 12));
    }

    #[test]
    fn this_process_holds_memory() {
        let held = of(std::process::id());
        assert!(held.pss > 0 && held.rss >= held.pss);
    }
}
