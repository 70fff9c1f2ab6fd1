// SPDX-License-Identifier: Apache-2.0
//! Scripts are vetted in a process of its own: nothing that a top level does holds up the server,
//! and none of it is done as root.

mod at_starts;
mod while_serving;

use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, Uid};
use server_tests::httpd::{Builder, ConfigTest};
use server_tests::{Httpd, Mpm, Request, on_every_mpm, patience, pool, wait_until};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Five seconds for the script, and what a busy machine takes.
const A_VETTING: Duration = Duration::from_secs(12);

const NOT_FINISHED: &str = "not finished after 5 s";

fn version(n: u16) -> String {
    format!(
        "function translate(r) r.headers_out['X-Version'] = '{n}' r.subprocess_env.VERSION = '{n}' return 204 end"
    )
}

/// A server whose `/v` names the version of `pick.lua`.
fn versioned(mpm: Mpm) -> Builder {
    Httpd::builder().mpm(mpm).file("pick.lua", &version(1)).config(
        "<Location /v>\n  LuaHookTranslate pick.lua\n  Header always set X-Backend \"%{VERSION}e\"\n</Location>",
    )
}

fn served(httpd: &Httpd) -> String {
    httpd.client().get("/v").backend().to_owned()
}

/// A top level that waits in C, where nothing interrupts it: outside of the sandbox a program's
/// output.
fn waits(seconds: &str) -> String {
    format!("local p = 1\nio.popen('exec sleep {seconds}'):read('a')\n{}", version(9))
}

/// A socket that sends a byte now and then, for ever.
fn drips() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                while stream.write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
    });
    port
}

/// Top levels that do not end by themselves, or not in time.
fn endless() -> Vec<(&'static str, String)> {
    let port = drips();
    vec![
        ("lua", "while true do end".to_owned()),
        ("c", "table.concat(setmetatable({}, {__index = tostring, __tostring = table.concat}), '', 1, math.maxinteger)".to_owned()),
        ("coroutine", "coroutine.wrap(function() while true do end end)()".to_owned()),
        ("pcall", "while true do pcall(function() while true do end end) end".to_owned()),
        ("sort", "local t = {} for i = 1, 2000 do t[i] = ('9'):rep(5000) .. i end while true do pcall(table.sort, t, tonumber) end".to_owned()),
        ("close", "local x <close> = setmetatable({}, { __close = function() while true do end end })".to_owned()),
        ("gc", "setmetatable({}, { __gc = function() while true do end end }) while true do local t = {} end".to_owned()),
        (
            "drip",
            format!(
                "local s = require('socket').tcp() s:connect('127.0.0.1', {port}) while true do s:receive('*a') end"
            ),
        ),
    ]
}

fn refused(what: &str, test: &ConfigTest, took: Duration, patterns: &[&str]) {
    assert!(!test.ok, "{what} is accepted: {}", test.output);
    assert!(took < patience(A_VETTING), "{what} took {took:?}: {}", test.output);
    for pattern in patterns {
        assert!(test.says(pattern), "{what}: nothing like /{pattern}/ in {}", test.output);
    }
}

fn timed_configtest(builder: Builder) -> (ConfigTest, Duration) {
    let start = Instant::now();
    let test = builder.configtest();
    (test, start.elapsed())
}

/// A file of root's own that is valid Lua.
fn secret(builder: &Builder) {
    let folder = builder.dir().join("secrets");
    fs::create_dir(&folder).expect("a folder");
    let file = folder.join("secret.lua");
    fs::write(&file, "return 'the word of root'").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
}

fn is_root(what: &str) -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        eprintln!("SKIPPED: {what} (the tests do not run as root)");
    }
    is_root
}

/// The vetting server and its workers.
fn server_and_workers(httpd: &Httpd) -> (Option<u32>, Vec<u32>) {
    let all = httpd.vetting_processes();
    let parent = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok())
    };
    let (server, workers): (Vec<u32>, Vec<u32>) =
        all.into_iter().partition(|pid| parent(pid) == Some(httpd.pid()));
    (server.first().copied(), workers)
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    signal::kill(pid, Signal::SIGKILL).expect("kill a process of the server");
}

/// Open descriptors of the parent, and its children that nobody has waited for.
fn descriptors_and_zombies(httpd: &Httpd) -> (usize, usize) {
    let open = fs::read_dir(format!("/proc/{}/fd", httpd.pid())).expect("/proc").count();
    let text = fs::read_to_string(format!("/proc/{0}/task/{0}/children", httpd.pid())).unwrap_or_default();
    let is_zombie =
        |pid: &&str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    (open, text.split_whitespace().filter(is_zombie).count())
}

/// None, with a line that says why, where there is no module that waits on demand.
fn with_faults(mpm: Mpm) -> Option<Builder> {
    let builder = Httpd::builder().mpm(mpm).with_faults();
    if builder.is_none() {
        eprintln!("SKIPPED: LUA_BALANCER_FAULTS_SO names no module with faults (scripts/test builds it)");
    }
    builder
}

const STUCK: &str = r"lua_balancer:crit.*pick\.lua: version 1 is stuck in C";
