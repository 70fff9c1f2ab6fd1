// SPDX-License-Identifier: Apache-2.0
//! CPU time of a server: of all its processes, in nanoseconds.

use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

use crate::process::tree;

/// User and system time, so far, of a process, all its threads (ended ones too) and its living
/// descendants. The same that utime and stime of /proc/PID/stat add up to, without their steps of
/// 10 ms.
pub fn time_of(root: u32) -> Duration {
    tree(root).into_iter().map(of_process).sum()
}

fn of_process(pid: u32) -> Duration {
    let pid = Pid::from_raw(pid.cast_signed());
    clock_getcpuclockid(pid).and_then(|clock| clock.now()).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time() {
        let before = time_of(std::process::id());
        server_tests::wait_until("a millisecond of CPU time", Duration::from_secs(10), || {
            std::hint::black_box((0..10_000_u64).sum::<u64>());
            time_of(std::process::id()) - before > Duration::from_millis(1)
        });
    }
}
