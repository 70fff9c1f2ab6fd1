// SPDX-License-Identifier: Apache-2.0
//! How many sockets the checks may hold, so that requests served by the same process never run out
//! of file descriptors.

/// The limit of open files when the system does not tell it.
const USUAL_LIMIT: usize = 1024;

/// Bounds on open sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Checks running at the same time; further ones wait, without their timeout running.
    pub(crate) busy: usize,
    /// Connections kept between checks.
    pub(crate) idle: usize,
}

impl Sockets {
    /// Half of the process's limit of open files: a quarter for running checks, a quarter for kept
    /// connections.
    pub(crate) fn of_this_process() -> Self {
        let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self::within(soft_file_limit(&text).unwrap_or(USUAL_LIMIT))
    }

    /// A quarter of that: for a second prober, whose scripts open connections of their own.
    pub(crate) fn of_scripts() -> Self {
        let Sockets { busy, idle } = Self::of_this_process();
        Sockets { busy: (busy / 4).max(16), idle: (idle / 4).max(4) }
    }

    fn within(files: usize) -> Self {
        let quarter = (files / 4).clamp(16, 2048);
        Sockets { busy: quarter, idle: quarter }
    }
}

/// The soft limit in the text of `/proc/self/limits`; None when it is not there or `unlimited`.
fn soft_file_limit(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let text = "Limit Soft Hard Units\nMax open files            1024                 524288               files\n";
        assert_eq!(soft_file_limit(text), Some(1024));
        assert_eq!(soft_file_limit("Max open files unlimited unlimited files"), None);
        assert_eq!(soft_file_limit(""), None);
    }

    #[test]
    fn half_of_the_limit_is_left_to_requests() {
        assert_eq!(Sockets::within(1024), Sockets { busy: 256, idle: 256 });
        assert_eq!(Sockets::within(usize::MAX), Sockets { busy: 2048, idle: 2048 });
        assert_eq!(Sockets::within(0), Sockets { busy: 16, idle: 16 });
    }
}
