// SPDX-License-Identifier: Apache-2.0
//! mod_proxy workers by URL: made on first use, found again by members that come back, and freed
//! some time after the last member that they serve has gone. A connection with TLS belongs to the
//! settings it was made under (which certificate is shown, who is trusted), so that backends over
//! TLS have a worker for each of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use balance::belongings::{Belongings, Disposed, Over, ServedMember};
use balance::live::Slot;
use balance::member::{ConnectionSettings, Member};
use balance::target::{self, Spelled};
use parking_lot::{Mutex, RwLock};
use table::{ChildLane, Table};

use crate::httpd::log;
use crate::httpd::proxy::Api;
use crate::httpd::tls::Settings;
use crate::httpd::worker::{Worker, WorkerCell, WorkerPool};

/// Most ad-hoc targets (URLs that a script returned as text) a child keeps workers for.
pub const MAX_TARGETS: usize = 256;
/// Most workers of members beyond the table's own size: those of former ones, to which requests
/// go still.
const MAX_FORMER: usize = 4096;

/// How many are looked at in a turn of the background.
const LOOKS: usize = 32;

/// Most workers of members over TLS beyond the table's own size.
const MAX_SECURE: usize = 16_384;

/// The child's workers.
pub struct Workers {
    api: &'static Api,
    table: Table,
    lane: ChildLane,
    /// By a member's row.
    rows: Box<[WorkerRow]>,
    /// Members' workers by number. Read by those alone who have a place at the member.
    all: Box<[WorkerCell]>,
    /// Workers of members over TLS, by row, incarnation and settings; likewise.
    secure: RwLock<HashMap<SecurePlace, Worker>>,
    made: Mutex<Made>,
    said: AtomicBool,
}

/// Which worker serves a row.
#[derive(Default)]
struct WorkerRow {
    /// The incarnation of the member << 32 | the number of its worker plus one.
    word: AtomicU64,
    /// The fingerprint of its connection keys.
    connections: AtomicU32,
}

/// A member's row, its incarnation, the fingerprint of its connection keys, and the settings.
type SecurePlace = (Slot, u32, u32, Settings);

/// Why there is no worker.
pub enum NoWorker {
    /// mod_proxy refuses, in its own words.
    Refused(String),
    /// This child has as many workers as it may.
    TooMany,
}

struct Made {
    pool: WorkerPool,
    of_members: Belongings<String, Worker>,
    of_secure: Belongings<(String, Settings), Worker>,
    of_targets: HashMap<(String, Option<Settings>), Worker>,
}

/// The key by which a worker serves a member: its URL and the keys of its connections.
fn key_of(member: &Member) -> (String, String) {
    let url = member.spec.url.to_string();
    let key = format!("{url} {:?}", member.spec.connection);
    (url, key)
}

impl Workers {
    /// Workers for the members of a table, to which this child's requests go.
    pub fn new(api: &'static Api, pool: WorkerPool, (table, lane): (&Table, ChildLane)) -> Self {
        let rows = table.geometry().members as usize;
        let made = Made {
            pool,
            of_members: Belongings::new(rows + MAX_FORMER),
            of_secure: Belongings::new(rows + MAX_SECURE),
            of_targets: HashMap::new(),
        };
        Workers {
            api,
            table: table.clone(),
            lane,
            rows: (0..rows).map(|_| WorkerRow::default()).collect(),
            all: (0..rows + MAX_FORMER).map(|_| WorkerCell::default()).collect(),
            secure: RwLock::new(HashMap::new()),
            made: Mutex::new(made),
            said: AtomicBool::new(false),
        }
    }

    /// The worker of a member, for a request that has a place there. No lock once it was made.
    #[inline]
    pub fn of_member(&self, member: &Arc<Member>) -> Result<Worker, NoWorker> {
        let Some(row) = self.rows.get(member.slot as usize) else { return self.make(member) };
        let word = row.word.load(Ordering::Acquire);
        let is_its = (word >> 32) as u32 == member.incarnation
            && row.connections.load(Ordering::Relaxed) == member.connections;
        match self.all.get((word as u32 as usize).wrapping_sub(1)).and_then(WorkerCell::get) {
            Some(worker) if is_its => Ok(worker),
            _ => self.make(member),
        }
    }

    #[cold]
    fn make(&self, member: &Member) -> Result<Worker, NoWorker> {
        let Some(row) = self.rows.get(member.slot as usize) else {
            return Err(NoWorker::Refused(format!("internal error: no row {}", member.slot)));
        };
        let (url, key) = key_of(member);
        let served = (member.slot, member.incarnation);
        let mut made = self.made.lock();
        let Made { pool, of_members, .. } = &mut *made;
        let (number, worker) = match of_members.find(&key, served, self) {
            Some(known) => known,
            None => {
                let (number, given_up) = of_members.make_room(self);
                self.free(pool, given_up);
                let Some(number) = number else {
                    self.say_once(of_members.len());
                    return Err(NoWorker::TooMany);
                };
                let worker = pool.define(self.api, &url, &member.spec.connection);
                let worker = worker.map_err(NoWorker::Refused)?;
                self.all[number].set(worker);
                of_members.keep(number, key, worker, served);
                (number, worker)
            }
        };
        let word = u64::from(member.incarnation) << 32 | (number as u64 + 1);
        let before = row.word.load(Ordering::Acquire);
        if before >> 32 == word >> 32 && before != word {
            of_members.leave((before as u32 as usize).wrapping_sub(1), served);
        }
        row.connections.store(member.connections, Ordering::Relaxed);
        row.word.store(word, Ordering::Release);
        Ok(worker)
    }

    fn say_once(&self, number: usize) {
        if !self.said.swap(true, Ordering::Relaxed) {
            log::server(
                messages::requests::ALL_WORKERS_USED,
                &format!(
                    "this child has {number} workers for members, and requests are at all of them: members that are \
                     new to it get no requests from it until some of them have ended"
                ),
            );
        }
    }

    /// The worker of a member that is spoken to over TLS, with these settings; as
    /// [`Workers::of_member`] otherwise.
    pub fn of_secure_member(&self, member: &Member, settings: &Settings) -> Result<Worker, NoWorker> {
        let place = (member.slot, member.incarnation, member.connections, *settings);
        if let Some(worker) = self.secure.read().get(&place) {
            return Ok(*worker);
        }
        let (url, key) = key_of(member);
        let (key, served) = ((key, *settings), (member.slot, member.incarnation));
        let mut made = self.made.lock();
        let Made { pool, of_secure, .. } = &mut *made;
        self.note_secure(of_secure, member, &key.0);
        let worker = match of_secure.find(&key, served, self) {
            Some((_, known)) => known,
            None => {
                let (number, given_up) = of_secure.make_room(self);
                self.free_secure(pool, given_up);
                let Some(number) = number else {
                    self.say_once(of_secure.len());
                    return Err(NoWorker::TooMany);
                };
                let worker = pool.define(self.api, &url, &member.spec.connection);
                let worker = worker.map_err(NoWorker::Refused)?;
                of_secure.keep(number, key, worker, served);
                worker
            }
        };
        let mut secure = self.secure.write();
        // Members that went away are forgotten; a worker is found again by its URL.
        if secure.len() >= self.rows.len() + MAX_SECURE {
            secure.clear();
        }
        secure.insert(place, worker);
        Ok(worker)
    }

    /// Where a line was changed in place, its workers of before serve nobody else from now on.
    fn note_secure(
        &self,
        of_secure: &mut Belongings<(String, Settings), Worker>,
        member: &Member,
        own_key: &str,
    ) {
        let Some(row) = self.rows.get(member.slot as usize) else { return };
        let (slot, incarnation, connections) = (member.slot, member.incarnation, member.connections);
        let is_its = row.word.load(Ordering::Acquire) >> 32 == u64::from(incarnation);
        if is_its && row.connections.load(Ordering::Relaxed) != connections {
            of_secure.leave_where((slot, incarnation), |(key, _)| key != own_key);
            let is_before =
                |place: &SecurePlace| (place.0, place.1) == (slot, incarnation) && place.2 != connections;
            self.secure.write().retain(|place, _| !is_before(place));
        }
        row.connections.store(connections, Ordering::Relaxed);
        row.word.store(u64::from(incarnation) << 32, Ordering::Release);
    }

    fn free(&self, pool: &WorkerPool, given_up: Option<Disposed<Worker>>) {
        if let Some(Disposed { number, thing }) = given_up {
            self.all[number].clear();
            pool.free(thing);
        }
    }

    fn free_secure(&self, pool: &WorkerPool, given_up: Option<Disposed<Worker>>) {
        if let Some(Disposed { thing, .. }) = given_up {
            self.secure.write().retain(|_, worker| !thing.is(*worker));
            pool.free(thing);
        }
    }

    /// Frees a worker that nobody needs, if there is one; true: there may be more. For a thread of
    /// the background, now and then; it waits for nobody.
    pub fn tidy(&self) -> bool {
        let Some(mut made) = self.made.try_lock() else { return false };
        let Made { pool, of_members, of_secure, .. } = &mut *made;
        let (plain, secure) = (of_members.look(LOOKS, self), of_secure.look(LOOKS, self));
        let is_any = plain.is_some() || secure.is_some();
        self.free(pool, plain);
        self.free_secure(pool, secure);
        is_any
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

/// Requests have a worker in their hands only while they have a place at its member, as the table
/// counts them.
impl Over<Worker> for Workers {
    fn gone(&self, (slot, incarnation): ServedMember) -> bool {
        self.table.is_done_with(&self.lane, slot, incarnation)
    }

    fn away(&self, (slot, _): ServedMember) -> bool {
        self.table.is_away_from(&self.lane, slot)
    }

    fn idle(&self, worker: &Worker) -> bool {
        worker.is_idle()
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
