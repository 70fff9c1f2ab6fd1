// SPDX-License-Identifier: Apache-2.0
//! mod_proxy workers by URL: made on first use, kept until the child ends (mod_proxy cannot free
//! one), so that removing and adding a member again costs nothing. A connection with TLS belongs to
//! the settings it was made under (which certificate is shown, who is trusted), so that backends
//! over TLS have a worker for each of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use balance::live::Slot;
use balance::member::{ConnectionSettings, Member};
use balance::target::{self, Spelled};
use once_cell::race::OnceBox;
use parking_lot::{Mutex, RwLock};

use crate::httpd::log;
use crate::httpd::proxy::Api;
use crate::httpd::tls::Settings;
use crate::httpd::worker::{Worker, WorkerPool};

/// Most ad-hoc targets (URLs that a script returned as text) a child keeps workers for.
pub const MAX_TARGETS: usize = 256;
/// Most workers of former members beyond the table's own size.
const MAX_FORMER: usize = 4096;

/// Most workers of members over TLS beyond the table's own size.
const MAX_SECURE: usize = 16_384;

/// The child's workers.
pub struct Workers {
    api: &'static Api,
    /// By a member's row: the incarnation of the member << 32 | the number of its worker plus one.
    rows: Box<[AtomicU64]>,
    /// Members' workers by number.
    all: Box<[OnceBox<Worker>]>,
    /// Workers of members over TLS, by row, incarnation and settings.
    secure: RwLock<HashMap<(Slot, u32, Settings), Worker>>,
    made: Mutex<Made>,
    said: AtomicBool,
}

/// Why there is no worker.
pub enum NoWorker {
    /// mod_proxy refuses, in its own words.
    Refused(String),
    /// This child has made as many workers as it may.
    TooMany,
}

struct Made {
    pool: WorkerPool,
    /// Workers of members, with their numbers.
    of_members: HashMap<String, (usize, Worker)>,
    of_secure: HashMap<(String, Settings), Worker>,
    of_targets: HashMap<(String, Option<Settings>), Worker>,
}

impl Made {
    fn new(pool: WorkerPool) -> Self {
        Made { pool, of_members: HashMap::new(), of_secure: HashMap::new(), of_targets: HashMap::new() }
    }
}

/// The key by which a worker serves a member: its URL and the keys of its connections.
fn key_of(member: &Member) -> (String, String) {
    let url = member.spec.url.to_string();
    let key = format!("{url} {:?}", member.spec.connection);
    (url, key)
}

impl Workers {
    /// Workers for a table of that many rows.
    pub fn new(api: &'static Api, pool: WorkerPool, rows: usize) -> Self {
        Workers {
            api,
            rows: (0..rows).map(|_| AtomicU64::new(0)).collect(),
            all: (0..rows + MAX_FORMER).map(|_| OnceBox::new()).collect(),
            secure: RwLock::new(HashMap::new()),
            made: Mutex::new(Made::new(pool)),
            said: AtomicBool::new(false),
        }
    }

    /// The worker of a member. No lock once it was made.
    #[inline]
    pub fn of_member(&self, member: &Arc<Member>) -> Result<Worker, NoWorker> {
        let word = self.rows.get(member.slot as usize).map_or(0, |row| row.load(Ordering::Acquire));
        let number = (word as u32 as usize).wrapping_sub(1);
        match self.all.get(number).and_then(OnceBox::get) {
            Some(worker) if (word >> 32) as u32 == member.incarnation => Ok(*worker),
            _ => self.make(member),
        }
    }

    #[cold]
    fn make(&self, member: &Member) -> Result<Worker, NoWorker> {
        let Some(row) = self.rows.get(member.slot as usize) else {
            return Err(NoWorker::Refused(format!("internal error: no row {}", member.slot)));
        };
        let (url, key) = key_of(member);
        let mut made = self.made.lock();
        let (number, worker) = match made.of_members.get(&key) {
            Some(known) => *known,
            None => {
                let number = made.of_members.len();
                let Some(place) = self.all.get(number) else {
                    self.say_once(number);
                    return Err(NoWorker::TooMany);
                };
                let worker = made.pool.define(self.api, &url, &member.spec.connection);
                let worker = worker.map_err(NoWorker::Refused)?;
                place.set(Box::new(worker)).ok();
                made.of_members.insert(key, (number, worker));
                (number, worker)
            }
        };
        row.store(u64::from(member.incarnation) << 32 | (number as u64 + 1), Ordering::Release);
        Ok(worker)
    }

    fn say_once(&self, number: usize) {
        if !self.said.swap(true, Ordering::Relaxed) {
            log::server(
                log::ERR,
                &format!(
                    "this child has made {number} workers for members already, which httpd cannot free: members that are new \
                     to it get no requests from it; restart gracefully"
                ),
            );
        }
    }

    /// The worker of a member that is spoken to over TLS, with these settings.
    pub fn of_secure_member(&self, member: &Member, settings: &Settings) -> Result<Worker, NoWorker> {
        let place = (member.slot, member.incarnation, *settings);
        if let Some(worker) = self.secure.read().get(&place) {
            return Ok(*worker);
        }
        let worker = self.make_secure(member, settings)?;
        let mut secure = self.secure.write();
        // Members that went away are forgotten; a worker is found again by its URL.
        if secure.len() >= self.most_secure() {
            secure.clear();
        }
        secure.insert(place, worker);
        Ok(worker)
    }

    fn most_secure(&self) -> usize {
        self.rows.len() + MAX_SECURE
    }

    fn make_secure(&self, member: &Member, settings: &Settings) -> Result<Worker, NoWorker> {
        let (url, key) = key_of(member);
        let mut made = self.made.lock();
        let key = (key, *settings);
        if let Some(known) = made.of_secure.get(&key) {
            return Ok(*known);
        }
        if made.of_secure.len() >= self.most_secure() {
            self.say_once(made.of_secure.len());
            return Err(NoWorker::TooMany);
        }
        let worker = made.pool.define(self.api, &url, &member.spec.connection).map_err(NoWorker::Refused)?;
        made.of_secure.insert(key, worker);
        Ok(worker)
    }

    /// The worker of an ad-hoc target, with the TLS settings that hold for it. Err when the limit
    /// of [`MAX_TARGETS`] is reached, or mod_proxy's own words.
    ///
    /// Behind the URL may stand `connectiontimeout=` and `timeout=` in milliseconds; where there is
    /// no room for a worker of these, that of the URL alone serves. A name for TLS has connections
    /// of its own, whatever the times.
    pub fn of_target(&self, target: &str, settings: Option<Settings>) -> Result<Worker, String> {
        let mut made = self.made.lock();
        let key = (target.to_owned(), settings);
        if let Some(worker) = made.of_targets.get(&key) {
            return Ok(*worker);
        }
        let Spelled { url, name, .. } = target::spelled(target);
        let is_full = made.of_targets.keys().filter(|(_, other)| *other == settings).count() >= MAX_TARGETS;
        let plain = || (target::with_name(url, name), settings);
        if is_full && let Some(worker) = made.of_targets.get(&plain()) {
            return Ok(*worker);
        }
        if is_full {
            return Err(format!(
                "more than {MAX_TARGETS} different targets were returned as text: make them members of a pool"
            ));
        }
        let worker = made.pool.define(self.api, url, &times(target))?;
        made.of_targets.insert(key, worker);
        Ok(worker)
    }
}

/// The times that stand behind a target.
fn times(target: &str) -> ConnectionSettings {
    let mut connection = ConnectionSettings::default();
    for (key, value) in target::spelled(target).keys() {
        match key {
            "connectiontimeout" => connection.connectiontimeout_ms = value.parse().ok(),
            "timeout" => connection.timeout_ms = value.parse().ok(),
            _ => (),
        }
    }
    connection
}
