// SPDX-License-Identifier: Apache-2.0
//! The decision about a request.

use std::sync::Arc;

use crate::api::{PoolId, View};
use crate::member::Member;
use crate::settings::Method;

/// Where a request is to go. `S`: a script that runs again for every attempt.
#[derive(Debug, Clone)]
pub enum Decision<S> {
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
        script: S,
        /// The peer that it named first.
        peer: Arc<str>,
        /// Further attempts that it asked for.
        more: u32,
    },
}

impl<S> Decision<S> {
    /// The same, with another name for its script.
    pub fn with_script<T>(self, name: impl FnOnce(S) -> T) -> Decision<T> {
        match self {
            Decision::Pool { pool, view, method, first } => Decision::Pool { pool, view, method, first },
            Decision::List(members) => Decision::List(members),
            Decision::Each(choices) => Decision::Each(choices),
            Decision::Target(url) => Decision::Target(url),
            Decision::Nobody { pool, message } => Decision::Nobody { pool, message },
            Decision::Script { script, peer, more } => Decision::Script { script: name(script), peer, more },
        }
    }
}

/// One of several choices.
#[derive(Debug, Clone)]
pub enum Choice {
    /// This member, once.
    Member(PoolId, Arc<Member>),
    /// The pool, or a view of it, by the pool's method.
    Pool(PoolId, Option<Arc<View>>),
}

impl<S> Decision<S> {
    /// The pool's own method, over all of its members.
    pub fn pool(pool: PoolId) -> Self {
        Decision::Pool { pool, view: None, method: None, first: None }
    }
}
