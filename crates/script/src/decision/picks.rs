// SPDX-License-Identifier: Apache-2.0
//! Picks as scripts make them most: which there are, and the objects that their short ways know.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use balance::api::{NoMember, PoolId};
use balance::member::Member;
use balance::settings::Method;
use libc::c_void;
use mlua::{AnyUserData, Lua, Table};

/// A pool's row, once it was found; its views share it.
pub(crate) type Row = Rc<Cell<Option<PoolId>>>;

/// The result of a pick that its short way leaves to [`Shortcuts::take_picked`].
pub(crate) enum Left {
    /// This one, which has no object yet.
    New(Arc<Member>),
    /// None.
    None(PoolId, NoMember),
}

/// The objects that the short ways of a state know.
#[derive(Default)]
pub(crate) struct Shortcuts {
    /// Pool objects that live as long as the state, sorted by address.
    pub(crate) pools: RefCell<Vec<(*const c_void, Row)>>,
    /// Member objects by slot + 1: Lua's own view of the context's. At 0: what gives the result of
    /// [`Shortcuts::picked`].
    members: OnceCell<Table>,
    pub(crate) picked: RefCell<Option<Left>>,
    pub(crate) pools_ready: Cell<bool>,
    pub(crate) members_ready: Cell<bool>,
}

impl Shortcuts {
    /// Has this object's picks go the short way from now on. It has to live as long as the state.
    pub(crate) fn add_pool(&self, object: &AnyUserData, row: &Row) {
        let at = object.to_pointer();
        let mut pools = self.pools.borrow_mut();
        let place = pools.partition_point(|(other, _)| *other < at);
        pools.insert(place, (at, row.clone()));
    }

    /// Shows a member's object to the picks.
    pub(crate) fn add_member(&self, lua: &Lua, slot: usize, object: &AnyUserData) -> mlua::Result<()> {
        self.members(lua)?.raw_set(slot + 1, object)
    }

    pub(crate) fn members(&self, lua: &Lua) -> mlua::Result<&Table> {
        if self.members.get().is_none() {
            self.members.set(lua.create_table()?).ok();
        }
        self.members.get().ok_or_else(|| mlua::Error::runtime("no table of members"))
    }

    pub(crate) fn take_picked(&self) -> Option<Left> {
        self.picked.take()
    }
}

/// Methods of a pool that pick by nothing else, and those that pick by a key.
pub(crate) static PICKS: [(&str, Method); 10] = [
    ("round_robin", Method::RoundRobin),
    ("random", Method::Random),
    ("least_connections", Method::LeastConnections),
    ("power_of_two", Method::PowerOfTwo),
    ("least_latency", Method::LeastLatency),
    ("first", Method::First),
    ("consistent_hash", Method::ConsistentHash { balance_factor: None }),
    ("maglev", Method::Maglev),
    ("rendezvous", Method::Rendezvous),
    ("hash", Method::Hash),
];
/// Where those by key begin.
pub(crate) const BY_KEY: usize = 6;
