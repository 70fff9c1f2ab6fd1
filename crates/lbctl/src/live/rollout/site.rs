// SPDX-License-Identifier: Apache-2.0
//! The pool of a rollout, at all servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::change::{MemberChange, one};
use super::super::condition::{Conditions, Waited};
use super::super::model::{SeenMember, SeenPool};
use super::super::servers::{self, Servers};
use crate::out::{Exit, Failure, note};

/// How often servers are asked.
const PAUSE: Duration = Duration::from_millis(200);
/// How long something is waited for without a word.
const SILENT: Duration = Duration::from_secs(3);

/// See the module.
pub struct Fleet {
    /// The pool's name.
    pub pool: String,
    /// All of them.
    pub servers: Servers,
    /// Somebody wants it to end.
    pub stop: Arc<AtomicBool>,
    /// How long something may take.
    pub time: Duration,
    /// How long the gate has to hold.
    pub hold: Duration,
    /// The conditions that have to hold.
    pub gate: Option<Conditions>,
}

impl Fleet {
    /// The pool, at each server.
    pub fn pools(&self) -> Result<Vec<SeenPool>, Failure> {
        let all = self.servers.ask(|link| {
            let (_, pools) = servers::pools(link)?;
            let own = pools.into_iter().find(|pool| pool.name.eq_ignore_ascii_case(&self.pool));
            own.ok_or_else(|| {
                let text = format!("{}: no pool {} (lbctl status)", link.name, self.pool);
                Failure { exit: Exit::Refused, text }
            })
        });
        Ok(all.all()?.into_iter().map(|said| said.what).collect())
    }

    /// The members; every server has to have the same.
    pub fn members(&self) -> Result<Vec<SeenMember>, Failure> {
        let pools = self.pools()?;
        let names =
            |pool: &SeenPool| pool.members.iter().map(|member| member.name.clone()).collect::<Vec<_>>();
        let first = pools.first().map(names).unwrap_or_default();
        if pools.iter().any(|pool| names(pool) != first) {
            let text = format!("{}: the servers do not have the same members (lbctl members {0})", self.pool);
            return Err(Failure { exit: Exit::No, text });
        }
        // Drained at one server is drained.
        let mut members = pools.first().map(|pool| pool.members.clone()).unwrap_or_default();
        for member in &mut members {
            let mut others = pools.iter().flat_map(|pool| &pool.members);
            if let Some(other) = others.find(|other| other.name == member.name && other.admin != "ready") {
                member.admin.clone_from(&other.admin);
            }
        }
        Ok(members)
    }

    /// Waits until these may go without more than `most` being out, and somebody stays.
    pub fn wait_for_room(&self, wave: &[SeenMember], most: usize) -> Result<(), Failure> {
        let is_in = |member: &SeenMember| wave.iter().any(|own| own.name == member.name);
        self.until("room for another member to go", |pools| {
            pools.iter().find_map(|pool| {
                let others = || pool.members.iter().filter(|member| !is_in(member));
                // A spare or standby has its turn when the others are out.
                let can_serve = |member: &SeenMember| member.usable || member.rests();
                let out = others().filter(|member| !can_serve(member) && member.admin == "ready").count();
                let stay = others().filter(|member| can_serve(member)).count();
                if stay == 0 {
                    return Some(format!("nobody else of {} is usable", pool.name));
                }
                (out > 0 && out + wave.len() > most)
                    .then(|| format!("{out} others of {} are not usable", pool.name))
            })
        })
    }

    /// Drains a member at all servers. With an error comes whether it may be out at one of them.
    pub fn drain(&self, member: &SeenMember) -> Result<(), (bool, Failure)> {
        let patch = json!({ "admin": "drain", "note": "lbctl rollout" });
        for server in 0..self.servers.all.len() {
            // A server that has refused has done nothing; one that is gone may have done it.
            self.order(server, member, "drain", patch.clone())
                .map_err(|failure| (server > 0 || failure.exit != Exit::Refused, failure))?;
        }
        Ok(())
    }

    /// Takes the order back, at every server that takes it.
    pub fn put_back(&self, member: &SeenMember) -> Result<(), Failure> {
        let admin = if member.is_ordered() { "ready".into() } else { Value::Null };
        let servers = 0..self.servers.all.len();
        let put_back = |server| self.order(server, member, "enable", json!({ "admin": admin }));
        let ends: Vec<Result<(), Failure>> = servers.map(put_back).collect();
        ends.into_iter().collect()
    }

    fn order(&self, server: usize, member: &SeenMember, verb: &str, patch: Value) -> Result<(), Failure> {
        let Some(link) = self.servers.all.get(server) else { return Ok(()) };
        let (pool, name) = (member.pool.clone(), member.name.clone());
        note(&one(link, &MemberChange { server, pool, name, verb: verb.to_owned(), patch })?);
        Ok(())
    }

    /// Waits until nothing is left at these.
    pub fn wait_until_idle(&self, wave: &[SeenMember]) -> Result<(), Failure> {
        self.until("the last request", |pools| {
            let busy = of(pools, wave).find(|member| member.inflight > 0)?;
            Some(format!("{} has {} requests in flight", busy.full(), busy.inflight))
        })
    }

    /// When these were checked last, at each server.
    pub fn check_times(&self, wave: &[SeenMember]) -> Result<BTreeMap<(usize, String), Value>, Failure> {
        let pools = self.pools()?;
        let mut times = BTreeMap::new();
        for (server, pool) in pools.iter().enumerate() {
            for member in of(std::slice::from_ref(pool), wave) {
                times.insert((server, member.name.clone()), checked(member, "at"));
            }
        }
        Ok(times)
    }

    /// Waits until these were checked anew, and passed. Members without checks are not waited for.
    pub fn wait_for_checks(
        &self,
        wave: &[SeenMember],
        before: &BTreeMap<(usize, String), Value>,
    ) -> Result<(), Failure> {
        self.until("checks to pass", |pools| {
            pools.iter().enumerate().find_map(|(server, pool)| {
                of(std::slice::from_ref(pool), wave).filter(|member| member.check.is_some()).find_map(
                    |member| {
                        let at = checked(member, "at");
                        let is_new = at.is_null() || before.get(&(server, member.name.clone())) != Some(&at);
                        let has_passed = checked(member, "ok") != Value::Bool(false) && member.healthy;
                        (!is_new || !has_passed)
                            .then(|| format!("the checks of {} have not passed", member.full()))
                    },
                )
            })
        })
    }

    /// The gate holds for its time. Errors are counted from `before` on.
    pub fn hold_gate(&self, before: &[SeenPool]) -> Result<(), Failure> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let end = Instant::now() + self.hold;
        loop {
            let now = self.pools()?;
            let missing = now
                .iter()
                .zip(before)
                .find_map(|(now, before)| gate.missing(Waited::Pool { now, before: Some(before) }));
            if let Some(missing) = missing {
                return Err(Failure { exit: Exit::No, text: format!("the gate has failed: {missing}") });
            }
            self.go_on()?;
            if Instant::now() >= end {
                return Ok(());
            }
            thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Whether somebody wants it to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A failure when somebody wants it to end.
    pub fn go_on(&self) -> Result<(), Failure> {
        let text = "interrupted; --resume goes on".to_owned();
        if self.is_stopped() { Err(Failure { exit: Exit::No, text }) } else { Ok(()) }
    }

    /// Waits until nothing is missing. A server that is away for a while is asked again.
    fn until(&self, what: &str, missing: impl Fn(&[SeenPool]) -> Option<String>) -> Result<(), Failure> {
        let (begin, mut is_told) = (Instant::now(), false);
        let end = begin + self.time;
        loop {
            self.go_on()?;
            let open = match self.pools() {
                Ok(pools) => match missing(&pools) {
                    Some(open) => open,
                    None => return Ok(()),
                },
                Err(failure) if failure.exit == Exit::Unreachable => failure.text,
                Err(failure) => return Err(failure),
            };
            if !is_told && begin.elapsed() >= SILENT {
                note(&format!("waiting for {what}: {open}"));
                is_told = true;
            }
            if Instant::now() >= end {
                let text = format!("waited for {what}, and time is up: {open}");
                return Err(Failure { exit: Exit::TimedOut, text });
            }
            thread::sleep(PAUSE);
        }
    }
}

/// The members of a wave, as they are now.
fn of<'p>(pools: &'p [SeenPool], wave: &'p [SeenMember]) -> impl Iterator<Item = &'p SeenMember> {
    let all = pools.iter().flat_map(|pool| &pool.members);
    all.filter(|member| wave.iter().any(|own| own.name == member.name))
}

fn checked(member: &SeenMember, key: &str) -> Value {
    member.check.as_ref().map(|check| check[key].clone()).unwrap_or_default()
}
