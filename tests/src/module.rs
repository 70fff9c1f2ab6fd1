// SPDX-License-Identifier: Apache-2.0
//! The module under test: `LUA_BALANCER_SO`, or the root package built once for the whole test run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};

/// The path of `mod_lua_balancer.so`; panics with cargo's words when it cannot be built.
pub fn shared_object() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("LUA_BALANCER_SO") {
        Some(path) => {
            fs::canonicalize(&path).unwrap_or_else(|error| panic!("LUA_BALANCER_SO={path:?}: {error}"))
        }
        None => build_once(),
    })
}

/// The module with the feature `faults`, which `scripts/test` builds and names in
/// `LUA_BALANCER_FAULTS_SO`; None without.
pub fn with_faults() -> Option<PathBuf> {
    let path = std::env::var_os("LUA_BALANCER_FAULTS_SO")?;
    Some(fs::canonicalize(&path).unwrap_or_else(|error| panic!("LUA_BALANCER_FAULTS_SO={path:?}: {error}")))
}

/// The module with another layout of the shared table, which `scripts/test` builds and names in
/// `LUA_BALANCER_MOVED_SO`; None without.
pub fn with_moved_table() -> Option<PathBuf> {
    let path = std::env::var_os("LUA_BALANCER_MOVED_SO")?;
    Some(fs::canonicalize(&path).unwrap_or_else(|error| panic!("LUA_BALANCER_MOVED_SO={path:?}: {error}")))
}

/// One process of a test run builds; the others wait for the lock and read the path that it left.
fn build_once() -> PathBuf {
    let stamp = std::env::temp_dir().join(format!("lua-balancer-so-{}", run_id()));
    let lock = File::create(stamp.with_extension("lock")).expect("create the build's lock file");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).expect("lock the build's lock file");
    if let Some(path) = fs::read_to_string(&stamp).ok().map(PathBuf::from).filter(|path| path.exists()) {
        return path;
    }
    let path = build();
    fs::write(&stamp, path.to_str().expect("a path in UTF-8")).expect("write the build's stamp");
    path
}

/// Nextest names its run; under `cargo test` the parent process is the run.
fn run_id() -> String {
    std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::os::unix::process::parent_id().to_string())
}

fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--lib", "-p", "mod_lua_balancer", "--message-format=json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"));
    let output = cargo.stderr(Stdio::inherit()).output().expect("run cargo");
    assert!(output.status.success(), "cargo build of the module failed");
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifact = messages.lines().filter(|line| line.contains("\"compiler-artifact\"")).find_map(|line| {
        line.split('"').find(|word| word.ends_with("libmod_lua_balancer.so")).map(PathBuf::from)
    });
    artifact.expect("cargo names libmod_lua_balancer.so")
}
