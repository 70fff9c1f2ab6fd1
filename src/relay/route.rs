// SPDX-License-Identifier: Apache-2.0
//! Where a request is to go: written once, before the relay, which only reads it.

use std::ffi::CStr;
use std::sync::Arc;

use balance::api::{PoolId, View};
use balance::member::Member;
use balance::settings::Method;
use config::Resolved;

use crate::httpd::pool::Kept;

/// The note of a request whose path is a file's, since its script named a handler: FastCGI gets it
/// as it is, as with `SetHandler "proxy:fcgi://…"`.
pub const OF_FILE: &CStr = c"lb-file-path";

/// A decision, and the path that goes with it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The decision.
    pub decision: Decision,
    /// The key that the script gave to the method that it asked; otherwise the pool's `key=` makes
    /// it.
    pub key: Option<Box<[u8]>>,
    /// The method by which the script picked the member that its decision begins with; None: it
    /// named that one.
    pub picked_by: Option<&'static str>,
    /// Whether the decision is that of a sub-request whose target the request was given.
    pub borrowed: bool,
    /// A script's choice, as it stands in the request's file name.
    pub chosen: Option<Chosen>,
    /// The path and query that members are asked for.
    pub path: Path,
}

/// The path and query that members are asked for: made once for all attempts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path {
    /// The path (encoded) and query for http-like members, with the leading slash: what is sent.
    pub tail: Kept,
    /// The path as mod_proxy gave it, for schemes whose own module canonicalises: without the
    /// leading slash.
    pub raw: Kept,
    /// The URL behind `proxy:` that `tail` was made of.
    pub url: Kept,
}

/// A script's choice on its way through mod_proxy.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    /// The URL behind `proxy:`.
    pub url: Kept,
    /// How much of its path is encoded text, from behind the first slash on. The rest is decoded.
    pub encoded: usize,
}

/// Where a request is to go.
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
    /// Members, pools and views: each is asked until it has nobody left, with the settings of its
    /// own pool.
    Each(Arc<[Choice]>),
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
        /// The script.
        script: Resolved,
        /// The peer that it named first.
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

impl Decision {
    /// The pool's own method, whoever it picks.
    pub fn pool(pool: PoolId) -> Self {
        Decision::Pool { pool, view: None, method: None, first: None }
    }
}

impl Route {
    /// For a decision, without a path as yet.
    pub fn new(decision: Decision) -> Self {
        Route { decision, key: None, picked_by: None, borrowed: false, chosen: None, path: Path::default() }
    }
}
