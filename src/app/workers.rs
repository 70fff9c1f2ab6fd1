//! mod_proxy workers by URL: made on first use, kept until the child ends (mod_proxy cannot free one), so that removing
//! and adding a member again costs nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use balance::member::{Connection, Member};
use parking_lot::Mutex;

use crate::httpd::proxy::Api;
use crate::httpd::worker::{Worker, WorkerPool};

/// Most ad-hoc targets (URLs that a script returned as text) a child keeps workers for.
pub const MAX_TARGETS: usize = 256;
/// Most workers of former members beyond the table's own size.
const MAX_FORMER: usize = 4096;

/// A member's worker, by the member's row.
struct Entry {
    incarnation: u32,
    worker: Worker,
}

/// The child's workers.
pub struct Workers {
    api: &'static Api,
    rows: Box<[AtomicPtr<Entry>]>,
    made: Mutex<Made>,
}

struct Made {
    pool: WorkerPool,
    by_key: HashMap<String, Worker>,
    targets: usize,
    /// Entries that were replaced in `rows`; a thread may still be reading one.
    replaced: Vec<*mut Entry>,
}

// SAFETY: the raw pointers in `replaced` own their boxes and are never read through.
#[allow(unsafe_code)]
unsafe impl Send for Made {}

impl Workers {
    /// Workers for a table of that many rows.
    pub fn new(api: &'static Api, pool: WorkerPool, rows: usize) -> Self {
        Workers {
            api,
            rows: (0..rows).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect(),
            made: Mutex::new(Made { pool, by_key: HashMap::new(), targets: 0, replaced: Vec::new() }),
        }
    }

    /// The worker of a member. No lock once it was made. Err: mod_proxy's own words.
    pub fn of_member(&self, member: &Arc<Member>) -> Result<Worker, String> {
        let Some(row) = self.rows.get(member.slot as usize) else {
            return Err(format!("internal error: no row {}", member.slot));
        };
        // SAFETY: entries are never freed while the child lives: a replaced one goes to `replaced`.
        #[allow(unsafe_code)]
        if let Some(entry) = unsafe { row.load(Ordering::Acquire).as_ref() }
            && entry.incarnation == member.incarnation
        {
            return Ok(entry.worker);
        }
        self.make(member, row)
    }

    #[cold]
    fn make(&self, member: &Member, row: &AtomicPtr<Entry>) -> Result<Worker, String> {
        let url = member.spec.url.to_string();
        let key = format!("{url} {:?}", member.spec.connection);
        let mut made = self.made.lock();
        let limit = self.rows.len() + MAX_FORMER;
        let worker = made.get_or_define(self.api, &key, &url, &member.spec.connection, limit)?;
        let entry = Box::into_raw(Box::new(Entry { incarnation: member.incarnation, worker }));
        let old = row.swap(entry, Ordering::AcqRel);
        if !old.is_null() {
            made.replaced.push(old);
        }
        Ok(worker)
    }

    /// The worker of an ad-hoc target. Err when the limit of [`MAX_TARGETS`] is reached, or mod_proxy's own words.
    pub fn of_target(&self, url: &str) -> Result<Worker, String> {
        let key = format!("target {url}");
        let mut made = self.made.lock();
        if let Some(worker) = made.by_key.get(&key) {
            return Ok(*worker);
        }
        if made.targets >= MAX_TARGETS {
            return Err(format!(
                "more than {MAX_TARGETS} different targets were returned as text: make them members of a pool"
            ));
        }
        let worker = made.get_or_define(self.api, &key, url, &Connection::default(), usize::MAX)?;
        made.targets += 1;
        Ok(worker)
    }
}

impl Made {
    fn get_or_define(
        &mut self,
        api: &Api,
        key: &str,
        url: &str,
        options: &Connection,
        limit: usize,
    ) -> Result<Worker, String> {
        if let Some(worker) = self.by_key.get(key) {
            return Ok(*worker);
        }
        if self.by_key.len() >= limit {
            return Err(format!(
                "this child has made {limit} workers already, which httpd cannot free: restart gracefully"
            ));
        }
        let worker = self.pool.define(api, url, options)?;
        self.by_key.insert(key.to_owned(), worker);
        Ok(worker)
    }
}
