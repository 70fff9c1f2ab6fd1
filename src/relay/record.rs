// SPDX-License-Identifier: Apache-2.0
//! The module's record of one request, kept in the request's memory pool.

use std::cell::{Cell, OnceCell, Ref, RefCell, RefMut};
use std::os::raw::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use balance::api::PoolId;
use balance::member::Member;

use super::route::{Path, Route};
use crate::httpd::pool::Shelf;
use crate::httpd::request::Request;
use crate::httpd::{CStr, CString, own};
use balance::choosing::Decision;
use config::Resolved;

/// One request's record. The relay and the filters that run inside of it share it.
pub struct Record {
    route: RefCell<Route>,
    /// For the filter that sees the answer's headers.
    pub answer: AnswerRules,
    /// For and from the filter that sees the request's body.
    pub body: Body,
    /// How it ended.
    pub report: OnceCell<Report>,
}

/// The rules for the filter of the answer's headers.
#[derive(Default)]
pub struct AnswerRules {
    /// The pool of the last attempt.
    pub pool: Cell<Option<PoolId>>,
    /// `reverse=on` of that pool.
    pub reverse: Cell<bool>,
    /// The session's cookie, unless somebody else sets one of that name.
    pub offer: Cell<Option<Box<Offer>>>,
}

/// A cookie for a client without a session.
pub struct Offer {
    /// The cookie's name.
    pub name: String,
    /// The header's value.
    pub value: CString,
}

/// The request's body, as far as a filter has seen it.
#[derive(Default)]
pub struct Body {
    /// How long the server waited for the client to send it, microseconds.
    pub waited_us: Cell<u64>,
    /// The filter has seen its end.
    pub ended: Cell<bool>,
}

/// How a request ended, for the environment, logs and finish hooks.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The member of the last attempt.
    pub member: Option<Arc<Member>>,
    /// Attempts.
    pub attempts: u32,
    /// Microseconds that the last one took.
    pub took_us: u64,
    /// How the last one ended, in one word; empty when there was none.
    pub reason: &'static CStr,
}

/// A decision that a sub-request has left.
#[derive(Clone)]
struct Lent {
    /// Where the text of its target stands, `r->filename`: httpd hands on the pointer. Every
    /// decision of a sub-request is left here, so that one at the same place later has replaced it.
    target: usize,
    route: Route,
}

/// All decisions that sub-requests of one request have left.
#[derive(Default)]
struct AllLent(RefCell<Vec<Lent>>);

static LENT: Shelf<AllLent> = Shelf::new(c"lua_balancer decisions of sub-requests");

/// Stand in place of a record, by address, for a request that nobody has decided over.
static MARKS: [u8; 3] = [0; 3];
/// mod_rewrite's server-wide rules left the request alone, so that a target in it is not theirs.
const UNTOUCHED: usize = 0;
/// The request names a pool where only the client can have written it.
const FOREIGN: usize = 1;
/// mod_rewrite's server-wide rules are next.
const BEFORE_REWRITING: usize = 2;

/// The mark that stands in place of a record.
#[inline]
fn mark_of(place: *mut c_void) -> Option<usize> {
    let mark = place.addr().wrapping_sub(MARKS.as_ptr().addr());
    (mark < MARKS.len()).then_some(mark)
}

fn set_mark(request: Request<'_>, mark: usize) {
    request.set_own_record((&raw const MARKS[mark]).cast_mut().cast());
}

/// Whether any sub-request has left a decision, see [`Record::has_lent`].
static HAS_LENT: AtomicBool = AtomicBool::new(false);

impl AnswerRules {
    /// Whether a cookie may have to be set with the answer of the attempt that begins.
    pub fn has_offer(&self) -> bool {
        let offer = self.offer.take();
        let has = offer.is_some();
        self.offer.set(offer);
        has
    }
}

impl Record {
    /// This request's record, if it has one.
    #[inline]
    pub fn of<'r>(request: Request<'r>) -> Option<&'r Record> {
        own::get(request, |place| mark_of(place).is_some())
    }

    /// The decision, to be read.
    #[inline]
    pub fn route(&self) -> Ref<'_, Route> {
        self.route.borrow()
    }

    /// The decision, to be written: before the relay only.
    pub fn write_route(&self) -> RefMut<'_, Route> {
        self.route.borrow_mut()
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

    /// Whether translate_name ended between [`Record::mark_before_rewriting`] and
    /// [`Record::mark_untouched`]: at mod_rewrite.
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

    /// Leaves a sub-request's decision where the request that it was made for finds it, should
    /// httpd give that one the sub-request's target (`DirectoryIndex`, `FallbackResource`,
    /// mod_negotiation). Called once the target is complete.
    pub fn lend(&self, request: Request<'_>) {
        let Some(target) = request.filename() else { return };
        HAS_LENT.store(true, Ordering::Relaxed);
        let mut lent = LENT.get(request.outermost().pool()).0.borrow_mut();
        let target = target.as_ptr().addr();
        lent.retain(|one| one.target != target);
        let route = Route { path: Path::default(), picked_by: None, ..self.route().clone() };
        lent.push(Lent { target, route });
    }

    /// Whether any sub-request in this process has left a decision: most servers have none, and
    /// look no further.
    pub fn has_lent() -> bool {
        HAS_LENT.load(Ordering::Relaxed)
    }

    /// Gives a request the decision that belongs to its target. False when no sub-request has left
    /// one.
    pub fn borrow(request: Request<'_>) -> bool {
        let (Some(target), Some(lent)) = (request.filename(), LENT.find(request.outermost().pool())) else {
            return false;
        };
        let target = target.as_ptr().addr();
        let found = lent.0.borrow().iter().find(|one| one.target == target).cloned();
        let Some(Lent { mut route, .. }) = found else { return false };
        route.borrowed = true;
        Record::attach(request, route).write_route().path.url = request.proxied();
        true
    }

    /// Whether the path and query were made for what the request's file name says now. A
    /// sub-request's may have taken its place.
    pub fn is_of(&self, request: Request<'_>) -> bool {
        let made_of = self.route().path.url;
        let now = || request.filename().and_then(|name| name.strip_prefix(b"proxy:"));
        request.proxied() == made_of || made_of.bytes(request.pool()) == now()
    }

    /// Whether a script's choice still holds: nobody has sent the request elsewhere since.
    pub fn chose(&self, request: Request<'_>, url: &[u8]) -> bool {
        self.route().chosen.is_some_and(|chosen| {
            request.proxied() == chosen.url || chosen.url.bytes(request.pool()) == Some(url)
        })
    }

    /// Gives the request a record, or replaces what was decided; a path that was made before stays.
    pub fn attach<'r>(request: Request<'r>, route: Route) -> &'r Record {
        if let Some(record) = Record::of(request) {
            let path = record.route().path;
            *record.write_route() = Route { path, ..route };
            return record;
        }
        own::put(
            request,
            Record {
                route: RefCell::new(route),
                answer: AnswerRules::default(),
                body: Body::default(),
                report: OnceCell::new(),
            },
        )
    }

    /// Gives the request a record with a decision, and no path as yet.
    pub fn decide(request: Request<'_>, decision: Decision<Resolved>) -> &Record {
        Record::attach(request, Route::new(decision))
    }
}
