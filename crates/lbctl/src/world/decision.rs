// SPDX-License-Identifier: Apache-2.0
//! What was decided for a request.

use std::sync::Arc;

use balance::api::{PoolId, View};
use balance::member::Member;
use balance::settings::Method;
use script::{Answer, ScriptId};

/// Where to; the same cases as in the module's relay.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The pool's (or view's) method, perhaps one member first.
    Pool {
        /// The pool.
        pool: PoolId,
        /// Narrowed to this.
        view: Option<Arc<View>>,
        /// Not the pool's own method.
        method: Option<Method>,
        /// This one first.
        first: Option<Arc<Member>>,
        /// The key that the script gave.
        key: Option<Box<[u8]>>,
        /// How the script picked the first one; None: it named it.
        picked_by: Option<&'static str>,
    },
    /// Members in this order.
    List(Vec<(PoolId, Arc<Member>)>),
    /// Members, pools and views, each until it has nobody left.
    Each(Vec<Choice>),
    /// A backend that is in no pool.
    Target(String),
    /// Nobody, and why.
    Nobody {
        /// The pool that was asked.
        pool: Option<PoolId>,
        /// Why.
        message: String,
    },
}

/// One of several choices.
#[derive(Debug, Clone)]
pub enum Choice {
    /// This member, once.
    Member(PoolId, Arc<Member>),
    /// The pool, or a view of it.
    Pool(PoolId, Option<Arc<View>>),
}

impl Decision {
    /// The pool's own method, whoever it picks.
    pub fn pool(pool: PoolId) -> Self {
        Decision::Pool { pool, view: None, method: None, first: None, key: None, picked_by: None }
    }
}

/// A hook that was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The directive.
    pub directive: &'static str,
    /// The script.
    pub id: ScriptId,
    /// The function.
    pub function: String,
    /// What it said, or why it failed.
    pub said: Result<Answer, String>,
}

/// What all hooks, and mod_proxy's lines behind them, make of a request.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It goes there.
    Send(Decision),
    /// The script has answered, or an error has.
    Answer {
        /// The status.
        status: u16,
        /// The body, where the script has written one.
        body: Option<Vec<u8>>,
        /// The script failed.
        failed: bool,
    },
    /// Nobody of ours wants it: httpd goes on.
    Declined,
}

/// A visit to the hooks.
#[derive(Debug, Clone)]
pub struct Visited {
    /// Those that were asked, in order.
    pub hooks: Vec<Asked>,
    /// What came of it.
    pub verdict: Verdict,
    /// The line of mod_proxy that decided, where one did.
    pub by_line: Option<String>,
}
