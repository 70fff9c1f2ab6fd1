// SPDX-License-Identifier: Apache-2.0
//! The decision of a script.

use std::sync::Arc;

use balance::api::{PoolId, View};
use balance::member::Member;
use balance::settings::Method;

/// The decision of a script.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// Not ours: httpd goes on as if there were no hook.
    Decline,
    /// `apache2.OK`: the script has set `r.filename` and `r.handler` itself.
    Ok,
    /// End with this status, 200 ..= 599: those below announce an answer, and a client would take
    /// the next one for it.
    Status(u16),
    /// This member first, then the pool's method among the others.
    Member(Arc<Member>),
    /// The pool's or view's method picks, for every attempt.
    Pool {
        /// The pool.
        pool: PoolId,
        /// Narrowed to this.
        view: Option<Arc<View>>,
        /// How to pick; None: as the pool says.
        method: Option<Method>,
    },
    /// These members, in this order. Never empty.
    List(Vec<Arc<Member>>),
    /// Members, pools and views, each a [`Answer::Member`] or [`Answer::Pool`], asked one after the
    /// other until each has nobody left. The list may hold values that stand for no member.
    Each(Vec<Answer>),
    /// An ad-hoc target: `scheme://host…`, as the script wrote it, of a known scheme. Its path may
    /// be the decoded text of `r.uri` and hold any byte.
    Target(Vec<u8>),
    /// No member: the pool's `on_empty`, and the message is logged.
    NoMember {
        /// The pool whose method found none, as far as is known.
        pool: Option<PoolId>,
        /// Why.
        message: String,
    },
    /// No member has a place left, as the method of a pool or view said.
    Full {
        /// The pool.
        pool: PoolId,
        /// Narrowed to this.
        view: Option<Arc<View>>,
        /// The method's words.
        message: String,
    },
    /// `ngx.balancer.set_current_peer`.
    Peer(Peer),
    /// `apache2.DONE`: what the script has set is the whole answer, without a body.
    Done,
    /// The script has written the answer itself.
    Page {
        /// Its status, if it is not `r.status`.
        status: Option<u16>,
        /// Its body.
        body: Vec<u8>,
    },
}

/// How the last method of a pool that found no member explains it.
#[derive(Debug, Clone)]
pub(crate) enum FoundNone {
    /// None is usable in this pool.
    In(Option<PoolId>),
    /// All that are usable in this pool, or view of it, are at `max_inflight`.
    /// Its words come with it.
    Full(PoolId, Option<Arc<View>>, String),
}

/// Most further attempts that scripts get for a request by `set_more_tries`.
pub const MAX_MORE_TRIES: u32 = 31;

/// A peer set through `ngx.balancer`. The script runs again for every attempt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Peer {
    /// Address, or `unix:/path`.
    pub host: String,
    /// 0: the scheme's.
    pub port: u16,
    /// Server name for TLS.
    pub tls_name: Option<String>,
    /// `set_upstream_tls`.
    pub tls: bool,
    /// Further attempts asked for.
    pub more_tries: Option<u32>,
    /// Seconds to connect, send, read.
    pub timeouts: [Option<f64>; 3],
}
