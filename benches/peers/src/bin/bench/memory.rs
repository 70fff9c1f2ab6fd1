// SPDX-License-Identifier: Apache-2.0
//! Memory of each server's processes, one server at a time.

use std::thread::sleep;
use std::time::Duration;

use peers::backends::Fast;
use peers::memory::{self, Held};
use peers::stop;
use peers::wrk::Load;

use crate::servers::{self, Scene, Way};
use crate::settings::Settings;

/// The ways whose memory is shown: one of each kind.
const WAYS: [&str; 10] = [
    "plain ProxyPass",
    "mod_proxy_balancer byrequests",
    "mod_lua, workers by hand",
    "nginx round robin",
    "nginx balancer_by_lua",
    "HAProxy roundrobin",
    "plain ProxyPass, module loaded",
    "lb:// round_robin",
    "lb:// consistent_hash",
    "LuaHookTranslate, script",
];

/// A server's memory with so many members.
#[derive(Clone, Debug)]
pub struct MemoryRow {
    /// The way.
    pub name: String,
    /// How many.
    pub members: usize,
    /// The numbers, or why there are none.
    pub outcome: Result<Memory, String>,
}

/// KiB of all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Before the first request.
    pub rest: Held,
    /// After the load.
    pub loaded: Held,
}

/// A row for each way and number of members.
pub fn run(settings: &Settings) -> Result<Vec<MemoryRow>, String> {
    let mut rows = Vec::new();
    for members in &settings.members {
        let backend = Fast::start(*members)?;
        let scene = Scene { members: *members, port: backend.port(), threads: settings.threads };
        let ways = servers::all().into_iter();
        for way in ways.filter(|way| WAYS.contains(&way.name.as_str()) && settings.wants(&way.name)) {
            stop::check()?;
            eprintln!("memory: {members} members, {}", way.name);
            let outcome = measure(&way, &scene, settings);
            rows.push(MemoryRow { name: way.name, members: *members, outcome });
        }
    }
    Ok(rows)
}

fn measure(way: &Way, scene: &Scene, settings: &Settings) -> Result<Memory, String> {
    let server = way.start(scene)?;
    let rest = settled(server.pid());
    Load::many_paths(2 + scene.members / 500, settings.connections).turn(server.pid(), server.port())?;
    Ok(Memory { rest, loaded: settled(server.pid()) })
}

/// Memory once it has stopped to grow: children start threads and states after the server serves.
fn settled(pid: u32) -> Held {
    let mut held = memory::of(pid);
    for _ in 0..10 {
        sleep(Duration::from_millis(200));
        let now = memory::of(pid);
        if now.pss.abs_diff(held.pss) < 64 {
            return now;
        }
        held = now;
    }
    held
}
