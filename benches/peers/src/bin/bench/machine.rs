// SPDX-License-Identifier: Apache-2.0
//! Where and with what a run was made. No names of hosts, no paths.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

/// Packages whose versions matter.
const PACKAGES: [&str; 6] =
    ["apache2-bin", "nginx", "libnginx-mod-http-lua", "lua-resty-core", "haproxy", "wrk"];

/// A line about the machine.
pub fn machine() -> String {
    let model = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = available_parallelism().map_or(0, usize::from);
    let memory = after(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    let system = read("/etc/os-release");
    let system =
        system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown system");
    format!(
        "{model}, {cores} cores, {} GiB of memory; Linux {}; {}",
        memory.unwrap_or(0).div_ceil(1024 * 1024),
        // A suffix that a builder appends names builders, not kernels.
        read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or_default(),
        system.trim_matches('"')
    )
}

/// The load of the last minute.
pub fn load() -> String {
    read("/proc/loadavg").split(' ').next().unwrap_or("unknown").to_owned()
}

/// The versions of everything.
pub fn versions() -> String {
    let said = run(Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version}\\n"]).args(PACKAGES));
    let commit = run(Command::new("git").args(["rev-parse", "--short", "HEAD"]));
    let own = format!("mod_lua_balancer {} ({})", env!("CARGO_PKG_VERSION"), commit.trim());
    let others = said.lines().filter(|line| line.contains(' ')).map(str::trim);
    std::iter::once(own.as_str()).chain(others).collect::<Vec<_>>().join(", ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn run(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}

/// The text after `name:`.
fn after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
