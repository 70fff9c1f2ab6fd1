//! What the module keeps about one request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::CStr;
use std::marker::PhantomPinned;
use std::ops::Deref;
use std::os::raw::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use balance::api::{PoolId, View};
use balance::live::Slot;
use balance::member::Member;
use balance::settings::Method;

use crate::app::child;
use crate::app::config::Resolved;
use crate::app::queue::{self, Wait};
use crate::app::sessions::Stick;
use crate::httpd::pool::Shelf;
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
    /// Members, pools and views: each is asked until it has nobody left, with the settings of its own pool.
    Each {
        /// In order.
        choices: Arc<[Choice]>,
        /// Which one is asked now.
        at: usize,
    },
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

/// One of several choices.
#[derive(Debug, Clone)]
pub enum Choice {
    /// This member, once.
    Member(PoolId, Arc<Member>),
    /// The pool, or a view of it, by the pool's method.
    Pool(PoolId, Option<Arc<View>>),
}

/// One request's record, in the request's pool.
pub struct Record {
    /// Where to.
    pub decision: Decision,
    /// The key that the script gave to the method that it asked; otherwise the pool's `key=` makes it.
    pub key: Option<Box<[u8]>>,
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
    /// Those of them that earlier choices had.
    pub earlier: u32,
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
    /// The filter that sees the request's body was added.
    pub watches_body: bool,
    /// Its end was seen.
    pub body_read: bool,
    /// How long was waited for the client to send it, microseconds.
    pub body_wait_us: u64,
    /// The client may have brought the last attempt's failure about.
    pub excused: bool,
    /// Whether the environment names a member already.
    pub announced: bool,
    /// The session, for requests to sticky pools.
    pub stick: Option<Box<Stick>>,
    /// The method by which the script picked the member that its decision begins with; None: it named that one.
    pub picked_by: Option<&'static str>,
    /// Whether the decision is that of a sub-request whose target the request was given.
    pub borrowed: bool,
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
    #[inline]
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

/// A decision that a sub-request has left.
#[derive(Clone)]
struct Lent {
    /// Where the text of its target stands, `r->filename`: httpd hands on the pointer. Every decision of a sub-request is
    /// left here, so that one at the same place later has replaced it.
    target: usize,
    decision: Decision,
    key: Option<Box<[u8]>>,
    chosen: Option<Chosen>,
}

/// Those of one request.
#[derive(Default)]
struct AllLent(RefCell<Vec<Lent>>);

#[allow(unsafe_code)]
// SAFETY: the name is this module's, and used here alone.
static LENT: Shelf<AllLent> = unsafe { Shelf::new(c"lua_balancer decisions of sub-requests") };

/// In place of a record, by address: what is known of a request that nobody has decided over.
static MARKS: [u8; 3] = [0; 3];
/// mod_rewrite's server-wide rules left the request alone, so that a target in it is not theirs.
const UNTOUCHED: usize = 0;
/// The request names a pool where only the client can have written it.
const FOREIGN: usize = 1;
/// mod_rewrite's server-wide rules are next.
const BEFORE_REWRITING: usize = 2;

/// Which mark it is.
#[inline]
fn mark_of(place: *mut c_void) -> Option<usize> {
    let mark = place.addr().wrapping_sub(MARKS.as_ptr().addr());
    (mark < MARKS.len()).then_some(mark)
}

fn set_mark(request: Request<'_>, mark: usize) {
    request.set_own_record((&raw const MARKS[mark]).cast_mut().cast());
}

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

/// See [`Record::has_lent`].
static HAS_LENT: AtomicBool = AtomicBool::new(false);

impl Record {
    /// A record for a decision.
    pub fn new(decision: Decision) -> Self {
        Record {
            decision,
            key: None,
            tail: std::ptr::null_mut(),
            raw_path: std::ptr::null(),
            tried: Tried::default(),
            full: Tried::default(),
            wait: Wait::default(),
            races: 0,
            attempts: 0,
            earlier: 0,
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
            watches_body: false,
            body_read: false,
            body_wait_us: 0,
            excused: false,
            announced: false,
            stick: None,
            picked_by: None,
            borrowed: false,
            url: std::ptr::null(),
            chosen: None,
            _pinned: PhantomPinned,
        }
    }

    /// Rows that are not to be picked.
    #[inline]
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
    #[inline]
    pub fn of<'r>(request: Request<'r>) -> Option<&'r mut Record> {
        let place = request.own_record();
        if mark_of(place).is_some() {
            return None;
        }
        #[allow(unsafe_code)]
        // SAFETY: what is none of the marks was set by `attach`, to a record of the request's pool; a request is handled
        // by one thread. The filter of the answer's headers reaches the record while the loop that called mod_proxy holds
        // its reference: neither touches it while the other does, and `_pinned` keeps the compiler from assuming more.
        unsafe {
            place.cast::<Record>().as_mut()
        }
    }

    /// Notes that translate_name came to this module, after mod_rewrite and before ProxyPass.
    pub fn mark_untouched(request: Request<'_>) {
        let place = request.own_record();
        if place.is_null() || mark_of(place).is_some() {
            set_mark(request, UNTOUCHED);
        }
    }

    /// Notes that translate_name comes to mod_rewrite.
    pub fn mark_before_rewriting(request: Request<'_>) {
        if request.own_record().is_null() {
            set_mark(request, BEFORE_REWRITING);
        }
    }

    /// Whether translate_name ended between [`Record::mark_before_rewriting`] and [`Record::mark_untouched`]: at mod_rewrite.
    pub fn is_rewritten(request: Request<'_>) -> bool {
        mark_of(request.own_record()) == Some(BEFORE_REWRITING)
    }

    /// Notes that what looks like a rewritten target is not one.
    pub fn mark_foreign(request: Request<'_>) {
        set_mark(request, FOREIGN);
    }

    /// Whether [`Record::mark_foreign`] was called.
    pub fn is_foreign(request: Request<'_>) -> bool {
        mark_of(request.own_record()) == Some(FOREIGN)
    }

    /// Leaves a sub-request's decision where the request that it was made for finds it, should httpd give that one the
    /// sub-request's target (`DirectoryIndex`, `FallbackResource`, mod_negotiation). Called once the target is complete.
    pub fn lend(&self, request: Request<'_>) {
        let Some(target) = request.filename() else { return };
        HAS_LENT.store(true, Ordering::Relaxed);
        let mut lent = LENT.get(request.outermost().pool()).0.borrow_mut();
        let target = target.as_ptr().addr();
        lent.retain(|one| one.target != target);
        lent.push(Lent {
            target,
            decision: self.decision.clone(),
            key: self.key.clone(),
            chosen: self.chosen,
        });
    }

    /// Whether any sub-request in this process has left a decision: most servers have none, and look no further.
    pub fn has_lent() -> bool {
        HAS_LENT.load(Ordering::Relaxed)
    }

    /// Gives a request the decision that belongs to its target. False when no sub-request has left one.
    pub fn borrow(request: Request<'_>) -> bool {
        let (Some(target), Some(lent)) = (request.filename(), LENT.find(request.outermost().pool())) else {
            return false;
        };
        let target = target.as_ptr().addr();
        let found = lent.0.borrow().iter().find(|one| one.target == target).cloned();
        let Some(Lent { decision, key, chosen, .. }) = found else { return false };
        let record = Record::attach(request, decision);
        (record.key, record.chosen, record.borrowed) = (key, chosen, true);
        record.url = request.proxied();
        true
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
            record.key = None;
            record.picked_by = None;
            record.borrowed = false;
            record.chosen = None;
            return record;
        }
        let record = request.pool().keep(Record::new(decision));
        request.set_own_record(std::ptr::from_mut(record).cast());
        record
    }
}
