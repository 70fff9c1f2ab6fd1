//! What the module keeps about one request.

use std::borrow::Cow;
use std::ffi::CStr;
use std::marker::PhantomPinned;
use std::ops::Deref;
use std::os::raw::c_char;
use std::sync::Arc;

use balance::api::{PoolId, View};
use balance::live::Slot;
use balance::member::Member;
use balance::settings::Method;

use crate::app::child;
use crate::app::config::Resolved;
use crate::app::queue::{self, Wait};
use crate::app::sessions::Stick;
use crate::httpd::request::Request;

/// Where a request is to go. Made once in translate_name, fixups or pre_request; only `app::attempts` picks by it.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The pool's (or view's) method picks for every attempt; a first member may be given.
    Pool {
        /// The pool.
        pool: PoolId,
        /// Narrowed to this.
        view: Option<Arc<View>>,
        /// Not the pool's own method.
        method: Option<Method>,
        /// This one first.
        first: Option<Arc<Member>>,
    },
    /// Tried in this order; settings are those of the first one's pool.
    List(Vec<(PoolId, Arc<Member>)>),
    /// An ad-hoc target: scheme, host, port, no path.
    Target(Arc<str>),
    /// No member: the pool's `on_empty`, and the message.
    Nobody {
        /// The pool asked.
        pool: Option<PoolId>,
        /// For the log.
        message: String,
    },
    /// The script itself runs again for every attempt (`ngx.balancer`).
    Script {
        /// Which.
        script: Resolved,
        /// What it said last.
        peer: Arc<str>,
        /// Further attempts that it asked for.
        more: u32,
    },
}

/// One request's record, in the request's pool.
pub struct Record {
    /// Where to.
    pub decision: Decision,
    /// The path (encoded) and query for http-like backends, with the leading slash: what is sent.
    pub tail: *mut c_char,
    /// The path as mod_proxy gave it, for schemes whose own module canonicalises: without the leading slash.
    pub raw_path: *const c_char,
    /// Rows tried so far.
    pub tried: Tried,
    /// Rows with no place left for this request, see `max_inflight=`.
    pub full: Tried,
    /// Its wait for one, see `queue=`.
    pub wait: Wait,
    /// How often another request was faster to the last place of a member.
    pub races: u32,
    /// Attempts so far.
    pub attempts: u32,
    /// The last member is asked once more, over a fresh connection.
    pub fresh: bool,
    /// The member of the last attempt.
    pub member: Option<Arc<Member>>,
    /// The pool of the last attempt.
    pub pool: Option<PoolId>,
    /// When the last attempt began and ended, microseconds of the monotonic clock.
    pub began_us: u64,
    pub ended_us: u64,
    /// How the last attempt ended, in one word.
    pub reason: &'static CStr,
    /// The status that the last attempt ended with.
    pub last_status: u16,
    /// The in-flight count to give back if the loop is left in an unforeseen way.
    pub counted: Option<Slot>,
    /// `reverse=on` of the pool.
    pub reverse: bool,
    /// Whether the filter that maps Location back was added.
    pub filtered: bool,
    /// Whether the environment names a member already.
    pub announced: bool,
    /// The session, for requests to sticky pools.
    pub stick: Option<Box<Stick>>,
    /// The URL behind `proxy:` that `tail` was made of, in the request's pool.
    pub url: *const c_char,
    /// What a script chose, as it stands in the request's file name.
    pub chosen: Option<Chosen>,
    /// Filters read the record while the loop over attempts, which called mod_proxy, holds it: the compiler must not take the
    /// loop's reference for the only one.
    pub _pinned: PhantomPinned,
}

/// A script's choice on its way through mod_proxy: the URL behind `proxy:`, in the request's pool.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    /// Where it begins.
    pub url: *const c_char,
    /// How much of its path is encoded text, from behind the first slash on. The rest is decoded.
    pub encoded: usize,
}

/// Rows that a request has tried. A few take no allocation.
#[derive(Default)]
pub struct Tried {
    few: [Slot; 4],
    count: usize,
    /// All of them, once they are more than a few.
    many: Vec<Slot>,
}

impl Tried {
    /// Adds one.
    pub fn push(&mut self, slot: Slot) {
        if let Some(place) = self.few.get_mut(self.count) {
            *place = slot;
        } else {
            if self.many.is_empty() {
                self.many.extend_from_slice(&self.few);
            }
            self.many.push(slot);
        }
        self.count += 1;
    }
}

impl Deref for Tried {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        self.few.get(..self.count).unwrap_or(&self.many)
    }
}

/// In place of a record: mod_rewrite's server-wide rules left the request alone, so that a target in it is not theirs.
static UNTOUCHED: u8 = 1;
/// In place of a record: the request names a pool where only the client can have written it.
static FOREIGN: u8 = 2;

impl Drop for Record {
    fn drop(&mut self) {
        let Some(child) = child::get() else { return };
        queue::leave(child, self, false);
        if let Some(slot) = self.counted.take() {
            child.table.end(&child.lane, slot);
            self.pool.into_iter().for_each(|pool| queue::place_is_free(child, pool.0));
        }
    }
}

impl Record {
    /// A record for a decision.
    pub fn new(decision: Decision) -> Self {
        Record {
            decision,
            tail: std::ptr::null_mut(),
            raw_path: std::ptr::null(),
            tried: Tried::default(),
            full: Tried::default(),
            wait: Wait::default(),
            races: 0,
            attempts: 0,
            fresh: false,
            member: None,
            pool: None,
            began_us: 0,
            ended_us: 0,
            reason: c"",
            last_status: 0,
            counted: None,
            reverse: false,
            filtered: false,
            announced: false,
            stick: None,
            url: std::ptr::null(),
            chosen: None,
            _pinned: PhantomPinned,
        }
    }

    /// Rows that are not to be picked.
    pub fn avoid(&self) -> Cow<'_, [Slot]> {
        if self.full.is_empty() {
            return Cow::Borrowed(&self.tried);
        }
        Cow::Owned(self.tried.iter().chain(self.full.iter()).copied().collect())
    }

    /// Microseconds that the last attempt took.
    pub fn took_us(&self) -> u64 {
        self.ended_us.saturating_sub(self.began_us)
    }

    /// This request's record, if it has one.
    pub fn of<'r>(request: Request<'r>) -> Option<&'r mut Record> {
        let place = request.own_record();
        if place.cast_const().cast() == &raw const UNTOUCHED
            || place.cast_const().cast() == &raw const FOREIGN
        {
            return None;
        }
        #[allow(unsafe_code)]
        // SAFETY: what is neither of the marks was set by `attach`, to a record of the request's pool; a request is handled
        // by one thread. The filter of the answer's headers reaches the record while the loop that called mod_proxy holds
        // its reference: neither touches it while the other does, and `_pinned` keeps the compiler from assuming more.
        unsafe {
            place.cast::<Record>().as_mut()
        }
    }

    /// Notes that translate_name came to this module, after mod_rewrite and before ProxyPass.
    pub fn mark_untouched(request: Request<'_>) {
        if request.own_record().is_null() {
            request.set_own_record((&raw const UNTOUCHED).cast_mut().cast());
        }
    }

    /// Whether [`Record::mark_untouched`] was called, and nothing decided since.
    pub fn is_untouched(request: Request<'_>) -> bool {
        request.own_record().cast_const().cast() == &raw const UNTOUCHED
    }

    /// Notes that what looks like a rewritten target is not one.
    pub fn mark_foreign(request: Request<'_>) {
        request.set_own_record((&raw const FOREIGN).cast_mut().cast());
    }

    /// Whether [`Record::mark_foreign`] was called.
    pub fn is_foreign(request: Request<'_>) -> bool {
        request.own_record().cast_const().cast() == &raw const FOREIGN
    }

    /// Whether the path and query were made for what the request's file name says now. A sub-request's may have taken its place.
    pub fn is_of(&self, request: Request<'_>) -> bool {
        // SAFETY: a string of the request's pool, or NULL.
        #[allow(unsafe_code)]
        let url = || unsafe { crate::httpd::bytes(self.url) };
        let now = || request.filename().and_then(|name| name.strip_prefix(b"proxy:"));
        request.proxied() == self.url || url() == now()
    }

    /// Whether a script's choice still holds: nobody has sent the request elsewhere since.
    pub fn chose(&self, request: Request<'_>, url: &[u8]) -> bool {
        self.chosen.is_some_and(|chosen| {
            // SAFETY: made in the request's pool by `paths::send_path`.
            #[allow(unsafe_code)]
            let same = || unsafe { crate::httpd::bytes(chosen.url) } == Some(url);
            request.proxied() == chosen.url || same()
        })
    }

    /// Gives the request a record, or replaces what it decided.
    pub fn attach<'r>(request: Request<'r>, decision: Decision) -> &'r mut Record {
        if let Some(record) = Record::of(request) {
            record.decision = decision;
            record.chosen = None;
            return record;
        }
        let record = request.pool().keep(Record::new(decision));
        request.set_own_record(std::ptr::from_mut(record).cast());
        record
    }
}
