// SPDX-License-Identifier: Apache-2.0
//! Requests, answers, and the house that is asked.

use std::sync::Arc;
use std::time::SystemTime;

use balance::event::Event;
use balance::guard::SourceAsk;
use balance::history::PoolHistory;
use balance::journal::{EventEntry, JournalPart};
use balance::order::StoreRevision;
use balance::settings::PoolSettings;
use balance::sharing::{OrderDraft, PutFailure};
use balance::snapshot::{Extent, LeadState, Snapshot};
use balance::steering::Steering;
use render::Facts;
use render::explained::ExplainedDoc;
use render::metrics::Options;

use crate::described::{Described, Unexplained};

/// The door at which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `SetHandler lua-balancer`.
    Handler,
    /// `LuaBalancerSocket`. Everybody who may open it may do everything.
    Socket,
    /// `LuaBalancerMetrics listen=`: metrics and health alone.
    Metrics,
}

/// The client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Through which door.
    pub door: Door,
    /// The user's name, as httpd or the socket knows it.
    pub user: Option<String>,
    /// The address.
    pub from: Option<String>,
}

/// The settings of `LuaBalancerAdmin` here; of the handler alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Changes are allowed.
    pub on: bool,
    /// Also without a user.
    pub anonymous: bool,
    /// Pages of this origin may ask as well: `https://admin.example.org`.
    pub origin: Option<String>,
    /// ServerName and ServerAlias, which may have `*` and `?`.
    pub names: Vec<String>,
}

/// A request, as the door has read it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// As written.
    pub method: &'a str,
    /// The part of the URL before `path`, without a slash at its end; empty on the socket.
    pub base: &'a str,
    /// Behind the base, still percent-encoded: begins with `/`. Empty: the base itself was asked
    /// for, without a slash at its end. See [`crate::base::split`].
    pub path: &'a str,
    /// Behind the `?`.
    pub query: Option<&'a str>,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    /// At most 1 MiB and one byte: more is not read.
    pub body: &'a [u8],
    /// The client.
    pub caller: Caller,
    /// The changes that are allowed here.
    pub admin: Admin,
}

/// An answer. It has no `Content-Length`, but for those to HEAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Each name once.
    pub headers: Vec<(&'static str, String)>,
    /// Empty for HEAD.
    pub body: Vec<u8>,
}

/// The state file, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSeen {
    /// Its path.
    pub path: String,
    /// Its content. None: there is no file yet.
    pub bytes: Result<Option<Vec<u8>>, String>,
    /// For how long it is good.
    pub ages: statefile::Ages,
    /// Why it cannot be written.
    pub trouble: Option<String>,
}

/// The store of orders that several servers share.
pub trait OrderStore {
    /// Whether the orders of a pool with these settings are shared.
    fn shares(&self, pool: &PoolSettings) -> bool;
    /// Whether it answers.
    ///
    /// # Errors
    /// The store is away: since when, in words.
    fn there(&self) -> Result<(), String>;
    /// The last revision that the store is known to have had: it was heard of, or orders of this
    /// server have made it.
    fn revision(&self) -> StoreRevision;
    /// Puts orders there, all of them or none, and waits for that until `ends` says so. Returns
    /// their revision. Nobody has the pen meanwhile.
    ///
    /// # Errors
    /// None of them is there, or none is to hold.
    fn put(&self, orders: &[OrderDraft], ends: &dyn Fn() -> bool) -> Result<u64, PutFailure>;
    /// Whether orders of this revision are to hold here now: nothing as new was taken from the
    /// store yet, and nothing older will be. With the pen.
    fn holds(&self, revision: u64) -> bool;
}

/// The server, as a child has it.
pub trait House {
    /// The state that can be shown, now; as much of it as is asked for.
    fn snapshot(&self, extent: Extent<'_>) -> Snapshot;
    /// The leading child, at little cost.
    fn lead(&self) -> Option<LeadState>;
    /// The name of a pool, which is asked for in any case, and how many of its members picks choose
    /// among, at little cost. None: there is no such pool.
    fn usable(&self, pool: &str) -> Option<(Arc<str>, usize)>;
    /// The history of a pool. None: there is no such pool.
    fn history(&self, pool: &str) -> Option<PoolHistory>;
    /// Changes pools and members, and tells the log of it.
    fn steering(&self) -> &dyn Steering;
    /// The facts about the server that the snapshot lacks.
    fn facts(&self) -> Facts;
    /// The time.
    fn now(&self) -> SystemTime;
    /// File and line of a pool's member, where the configuration names it.
    fn place(&self, pool: &str, member: &str) -> Option<String>;
    /// Whether a larger table has taken the place of the one that is asked here: a change would be
    /// lost, and what can be read is old.
    fn is_superseded(&self) -> bool;
    /// Whether this process is about to be gone: callers are answered with what is known.
    fn is_ending(&self) -> bool;
    /// Adds entries to the journal. It is quick.
    fn note(&self, entries: &[EventEntry]);
    /// Writes the lines of events, and those of entries that are of none. It may take a while: not
    /// to be done with the pen.
    fn log(&self, events: &[Event], others: &[EventEntry]);
    /// The journal from this number on, or as far back as it goes. A number that is not reached yet
    /// is of another start of the server: then it is the whole journal.
    fn journal(&self, since: Option<u64>) -> JournalPart;
    /// Sampled requests as [`balance::sampled`] packs them, oldest first.
    fn decisions(&self) -> Vec<Vec<u8>>;
    /// The number of the next entry, at little cost.
    fn next_event(&self) -> u64;
    /// Whether this user or address may make one more change now; see [`crate::rate::Rate`].
    fn may_change(&self, who: &str) -> bool;
    /// The settings of `LuaBalancerMetrics` for series.
    fn metrics(&self) -> Options;
    /// The state file as it is now. None: there is to be none.
    fn state_file(&self) -> Option<StateSeen>;
    /// Has the state file written without what no start would take.
    ///
    /// # Errors
    /// Nobody could do that in time.
    fn prune_state(&self) -> Result<(), String>;
    /// Has the leading child do something about a source of members.
    ///
    /// # Errors
    /// It has not done so in time.
    fn ask_source(&self, pool: &str, source: &str, ask: SourceAsk) -> Result<(), String>;
    /// The decision that a described request would get. Nothing moves.
    ///
    /// # Errors
    /// It cannot be said now.
    fn explain(&self, described: &Described) -> Result<ExplainedDoc, Unexplained>;
    /// Where orders are shared. None: they are this server's alone.
    fn order_store(&self) -> Option<&dyn OrderStore>;
    /// Whether series were left out of the metrics just now: it is said once in the log.
    fn metrics_reduced(&self, reduced: bool);
}

impl Request<'_> {
    /// The value of a header; None when there is none, or more than one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim());
        let first = all.next()?;
        all.next().is_none().then_some(first)
    }

    /// All values of a header.
    pub(crate) fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }
}
