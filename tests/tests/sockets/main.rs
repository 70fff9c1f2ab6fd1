// SPDX-License-Identifier: Apache-2.0
//! The socket of the control plane, from its start to its end.

mod answers;
mod life;

use nix::sys::signal::Signal;
use server_tests::socket::{connect, file_number};
use server_tests::{Backend, Builder, Httpd, Mpm, SocketClient, on_every_mpm, pool, wait_until};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

/// Where a listening Unix socket is in the descriptors of a process: as `/proc` names it.
fn names_of_sockets(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").expect("read /proc/net/unix");
    let own = |line: &&str| line.ends_with(&format!(" {}", path.display()));
    let numbers = table.lines().filter(own).filter_map(|line| line.split_whitespace().nth(6));
    numbers.map(|number| format!("socket:[{number}]")).collect()
}

/// Whether a process has a listening socket of this path open.
fn has_open(pid: u32, names: &[String]) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| names.iter().any(|name| target.as_os_str() == name.as_str()))
}

fn is_ok(client: &mut SocketClient) -> bool {
    client.try_send(&server_tests::Request::get("/")).is_ok_and(|response| response.status == 200)
}

fn plain() -> Builder {
    Httpd::builder()
}
