// SPDX-License-Identifier: Apache-2.0
//! Tests of the whole table.

mod children;
mod counts;
mod deeds;
mod definitions;
mod ejection;
mod garbage;
mod history;
mod model;
mod outline;
mod queue;
mod ring;
mod scripts;
mod shadows;
mod sources;
mod stopped;
mod trouble;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use balance::api::PoolId;
use balance::member::{Member, MemberSpec};
use balance::settings::PoolSettings;
use balance::store::Store;
use balance::url::MemberUrl;

use crate::{Geometry, Table};

thread_local! {
    static DEAD: RefCell<HashSet<i32>> = RefCell::new(HashSet::new());
}

/// Whether a process of this test (this thread) is alive.
pub(super) fn alive(pid: i32) -> bool {
    DEAD.with_borrow(|dead| !dead.contains(&pid))
}

pub(super) fn kill(pid: i32) {
    DEAD.with_borrow_mut(|dead| dead.insert(pid));
}

pub(super) fn geometry() -> Geometry {
    Geometry {
        members: 24,
        pools: 4,
        children: 9,
        lane_bits: 16,
        chunks: 96,
        cursors: 8,
        tickets: 4,
        scripts: 2,
        script_bytes: 256,
        decisions: 4,
    }
}

pub(super) fn table() -> Table {
    Table::on_heap(geometry()).expect("a valid geometry").with_identity(1, alive)
}

pub(super) fn spec(name: &str, port: u16, weight: u32) -> MemberSpec {
    let url =
        MemberUrl { scheme: "http".into(), host: "10.0.0.1".into(), port, path: String::new(), socket: None };
    MemberSpec { name: name.into(), weight, route: name.into(), ..MemberSpec::new(url) }
}

pub(super) fn settings() -> PoolSettings {
    PoolSettings::default()
}

pub(super) fn members(table: &Table, pool: PoolId) -> Vec<Arc<Member>> {
    table.read_pool(pool).map(|image| image.membership.members.to_vec()).unwrap_or_default()
}

pub(super) fn names(table: &Table, pool: PoolId) -> Vec<String> {
    members(table, pool).iter().map(|member| member.spec.name.clone()).collect()
}

pub(super) fn member(table: &Table, pool: PoolId, name: &str) -> Arc<Member> {
    members(table, pool).into_iter().find(|member| member.spec.name == name).expect("a member of that name")
}
