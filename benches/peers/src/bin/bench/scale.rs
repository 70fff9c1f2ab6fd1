// SPDX-License-Identifier: Apache-2.0
//! Ten thousand members in a hundred pools: start, graceful restart, shared memory, and what pools
//! cost that a request does not use.

use std::time::{Duration, Instant};

use peers::backends::Fast;
use peers::config::proxy_pass;
use peers::memory::{self, Held, SharedMappings};
use peers::stats::median;
use peers::stop;
use peers::wrk::Load;
use server_tests::{Builder, Httpd};

use crate::cpu::{self, Contender, CpuRow};
use crate::servers::{self, Kind, PLAIN, Running, Scene};
use crate::settings::Settings;

/// Pools.
pub const POOLS: usize = 100;
/// Members of each.
pub const OF_MEMBERS: usize = 100;
/// Starts, and restarts of each, whose median counts.
const TIMES: usize = 3;

/// The findings of the step.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Times and memory of servers with this many members.
    pub rows: Vec<ScaleRow>,
    /// Requests through one pool of 100 members: alone, and beside the other 99 pools.
    pub unused_pools: Vec<CpuRow>,
}

/// One server.
#[derive(Clone, Debug)]
pub struct ScaleRow {
    /// Its name.
    pub name: String,
    /// The numbers, or why there are none.
    pub outcome: Result<Times, String>,
}

/// Times and memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// Seconds from the start of the process to the first answer through a pool.
    pub start: f64,
    /// Seconds from SIGUSR1 to the new generation, and an answer from it.
    pub graceful: f64,
    /// KiB of all processes.
    pub held: Held,
    /// KiB of shared anonymous mappings.
    pub shared: SharedMappings,
}

/// Runs it.
pub fn run(settings: &Settings) -> Result<Scale, String> {
    let backend = Fast::start(OF_MEMBERS)?;
    let scene = Scene { members: OF_MEMBERS, port: backend.port(), threads: settings.threads };
    let plain = || Httpd::builder().stock().config(&proxy_pass(&format!("http://127.0.1.1:{}", scene.port)));
    let own = |pools| {
        let config = servers::pools(&scene, pools, OF_MEMBERS) + &proxy_pass("lb://p0");
        Httpd::builder().config(&config)
    };
    let stock = || {
        let config = servers::balancers(&scene, POOLS, OF_MEMBERS) + &proxy_pass("balancer://p0");
        let modules = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"];
        modules.iter().fold(Httpd::builder().stock(), |builder, name| builder.module(name)).config(&config)
    };
    let many = POOLS * OF_MEMBERS;
    let rows = vec![
        row(settings, PLAIN.to_owned(), plain)?,
        row(settings, format!("this module, {OF_MEMBERS} members in 1 pool"), || own(1))?,
        row(settings, format!("this module, {many} members in {POOLS} pools"), || own(POOLS))?,
        row(settings, format!("mod_proxy_balancer, {many} members in {POOLS} balancers"), stock)?,
    ];
    Ok(Scale { rows, unused_pools: unused_pools(settings, own)? })
}

fn row(settings: &Settings, name: String, builder: impl Fn() -> Builder) -> Result<ScaleRow, String> {
    stop::check()?;
    eprintln!("scale: {name}");
    Ok(ScaleRow { name, outcome: servers::caught(|| times(settings, builder)) })
}

fn times(settings: &Settings, builder: impl Fn() -> Builder) -> Result<Times, String> {
    let (mut starts, mut restarts) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..TIMES {
        stop::check()?;
        drop(last.take());
        let builder = builder().threads(settings.threads).log_level("warn").without_access_log();
        let begin = Instant::now();
        let mut httpd = builder.try_start()?;
        starts.push(answered(&httpd, begin)?);
        let begin = Instant::now();
        httpd.graceful();
        restarts.push(answered(&httpd, begin)?);
        last = Some(httpd);
    }
    let httpd = last.ok_or("no start")?;
    let pid = httpd.pid();
    let (held, shared) = (memory::of(pid), memory::shared_of(pid));
    Ok(Times { start: median(&starts), graceful: median(&restarts), held, shared })
}

/// Seconds until a request is answered.
fn answered(httpd: &Httpd, begin: Instant) -> Result<f64, String> {
    let mut client = httpd.client().timeout(Duration::from_secs(20));
    let response = client.try_get("/x").map_err(|error| error.to_string())?;
    match response.status {
        200 => Ok(begin.elapsed().as_secs_f64()),
        status => Err(format!("status {status}: {}", httpd.error_log().lines().last().unwrap_or_default())),
    }
}

fn unused_pools(settings: &Settings, own: impl Fn(usize) -> Builder) -> Result<Vec<CpuRow>, String> {
    let start = |pools: usize, name: &str| {
        let builder = own(pools).threads(settings.threads).log_level("warn").without_access_log();
        let server = servers::caught(|| builder.try_start().map(|httpd| Running::Httpd(Box::new(httpd))));
        Contender::new(name, Kind::Own, server)
    };
    let mut contenders = [start(1, "alone"), start(POOLS, "beside the others")];
    let load = |seconds| Load::many_paths(seconds, settings.connections);
    cpu::compare(&mut contenders, &load(2), &load(settings.seconds), 2 * settings.rounds, "unused pools")?;
    Ok(contenders.iter().map(Contender::row).collect())
}
