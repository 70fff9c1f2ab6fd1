// SPDX-License-Identifier: Apache-2.0
//! The table against a plain model, with processes that die in the middle of what they do.
//!
//! After a death the process is reaped, and another one does the same thing again. The outcome must
//! be as if it had been done once, nothing may be left over, and a reader who goes by versions must
//! see everything.

use std::collections::BTreeMap;

use balance::api::{ChangeError, PoolId};
use balance::live::Live;
use balance::status::Status;
use balance::steering;
use balance::steps::{Doing, MemberStep};
use balance::store::Store;
use proptest::prelude::*;

use super::*;
use crate::primitive::crash;
use crate::{ChildLane, Origin};

const POOL_NAMES: [&str; 2] = ["app", "api"];
const MEMBER_NAMES: [&str; 5] =
    ["a", "b", "c", "d", "a-name-that-takes-more-than-one-chunk-of-the-shared-table-01234"];

#[derive(Debug, Clone)]
enum Operation {
    Define { pool: usize, members: Vec<(usize, u16, u32)>, newer: bool },
    Add { pool: usize, name: usize },
    Remove { pool: usize, name: usize },
    SetWeight { pool: usize, name: usize, weight: u32 },
    Line { pool: usize, name: usize, weight: u32 },
    Begin { pool: usize, name: usize },
    End { at: usize },
    Retain { kept: usize },
    Sweep,
    Reap,
    Leave,
}

fn operation() -> impl Strategy<Value = Operation> {
    let (pool, name) = (0..2usize, 0..MEMBER_NAMES.len());
    let member = (name.clone(), 1..3u16, prop_oneof![Just(100u32), Just(200)]);
    prop_oneof![
        4 => (pool.clone(), proptest::collection::vec(member, 0..5), any::<bool>())
            .prop_map(|(pool, members, newer)| Operation::Define { pool, members, newer }),
        3 => (pool.clone(), name.clone()).prop_map(|(pool, name)| Operation::Add { pool, name }),
        2 => (pool.clone(), name.clone()).prop_map(|(pool, name)| Operation::Remove { pool, name }),
        2 => (pool.clone(), name.clone(), 1..9u32)
            .prop_map(|(pool, name, weight)| Operation::SetWeight { pool, name, weight }),
        2 => (pool.clone(), name.clone(), 1..9u32)
            .prop_map(|(pool, name, weight)| Operation::Line { pool, name, weight }),
        4 => (pool, name).prop_map(|(pool, name)| Operation::Begin { pool, name }),
        3 => any::<usize>().prop_map(|at| Operation::End { at }),
        1 => (0..2usize).prop_map(|kept| Operation::Retain { kept }),
        1 => Just(Operation::Sweep),
        1 => Just(Operation::Reap),
        1 => Just(Operation::Leave),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct ModelMember {
    port: u16,
    configured: u32,
    weight: u32,
    added: bool,
}

#[derive(Debug, Clone, Default)]
struct ModelPool {
    version: u64,
    definition: Vec<(usize, u16, u32)>,
    order: Vec<usize>,
    members: BTreeMap<usize, ModelMember>,
}

struct Process {
    table: Table,
    child: ChildLane,
    requests: Vec<(u32, u32)>,
}

struct World {
    parent: Table,
    processes: Vec<Process>,
    next_pid: i32,
    pools: BTreeMap<usize, ModelPool>,
    versions: u64,
    /// The copy of a reader that reads again only when the version grows.
    cached: BTreeMap<usize, (u64, Vec<String>)>,
}

impl World {
    fn new() -> Self {
        DEAD.with_borrow_mut(|dead| dead.clear());
        let mut world = World {
            parent: table(),
            processes: Vec::new(),
            next_pid: 100,
            pools: BTreeMap::new(),
            versions: 0,
            cached: BTreeMap::new(),
        };
        for _ in 0..3 {
            world.fork();
        }
        world
    }

    fn fork(&mut self) {
        let table = forgetful(&self.parent.clone().with_identity(self.next_pid, alive));
        let child = table.join(self.next_pid, 1).expect("a lane");
        self.next_pid += 1;
        self.processes.push(Process { table, child, requests: Vec::new() });
    }

    fn die(&mut self, at: usize) {
        let process = self.processes.remove(at);
        let pid = process.table.identity();
        kill(pid);
        // The first who reaps dies as well.
        let clumsy = self.parent.clone().with_identity(self.next_pid, alive);
        self.next_pid += 1;
        crash::after(2 + pid as u32 % 5, || clumsy.reap_dead(&alive));
        kill(clumsy.identity());
        self.parent.reap(pid);
        self.parent.sweep();
        self.parent.check().expect("consistent without the second try");
        self.fork();
    }

    fn pool_id(&self, pool: usize) -> Option<PoolId> {
        self.parent.find_pool(POOL_NAMES[pool])
    }

    fn member(&self, pool: usize, name: usize) -> Option<Arc<Member>> {
        let members = members(&self.parent, self.pool_id(pool)?);
        members.into_iter().find(|member| member.spec.name == MEMBER_NAMES[name])
    }

    /// Does it in process `by`, which dies after so many steps if there are as many; then another
    /// does it again.
    fn run(&mut self, operation: &Operation, by: usize, death: Option<u32>) {
        let operation = self.settle(operation);
        if let Some(steps) = death {
            let process = &mut self.processes[by];
            let (table, child) = (process.table.clone(), process.child);
            let requests = process.requests.clone();
            let finished = crash::after(steps, || act(&table, child, &requests, &operation)).is_some();
            if !finished {
                self.die(by);
                if matches!(operation, Operation::Begin { .. } | Operation::End { .. } | Operation::Leave) {
                    return;
                }
                let table = self.processes[0].table.clone();
                let child = self.processes[0].child;
                act(&table, child, &[], &operation);
            }
        } else {
            let process = &self.processes[by];
            act(&process.table.clone(), process.child, &process.requests.clone(), &operation);
        }
        self.note(&operation, by);
    }

    /// Fills in what is to be the same for the second try.
    fn settle(&mut self, operation: &Operation) -> Operation {
        let Operation::Define { pool, members, newer } = operation else { return operation.clone() };
        let mut seen = HashSet::new();
        let mut members = members.clone();
        members.retain(|member| seen.insert(member.0));
        if !newer && let Some(model) = self.pools.get(pool) {
            VERSION.set(model.version);
            return Operation::Define { pool: *pool, members: model.definition.clone(), newer: false };
        }
        self.versions += 1;
        VERSION.set(self.versions);
        Operation::Define { pool: *pool, members, newer: true }
    }

    fn note(&mut self, operation: &Operation, by: usize) {
        match *operation {
            Operation::Define { pool, ref members, newer } => self.note_define(pool, members, newer),
            Operation::Add { pool, name } => {
                if let Some(model) = self.pools.get_mut(&pool)
                    && !model.members.contains_key(&name)
                {
                    model.order.push(name);
                    model
                        .members
                        .insert(name, ModelMember { port: 9, configured: 100, weight: 100, added: true });
                }
            }
            Operation::Remove { pool, name } => {
                if let Some(model) = self.pools.get_mut(&pool) {
                    model.members.remove(&name);
                    model.order.retain(|&other| other != name);
                }
            }
            Operation::SetWeight { pool, name, weight } => {
                if let Some(member) = self.pools.get_mut(&pool).and_then(|m| m.members.get_mut(&name)) {
                    member.weight = weight;
                }
            }
            Operation::Line { pool, name, weight } => {
                if let Some(member) = self.pools.get_mut(&pool).and_then(|m| m.members.get_mut(&name)) {
                    (member.configured, member.weight) = (weight, weight);
                }
            }
            Operation::Begin { pool, name } => {
                if let Some(member) = self.member(pool, name) {
                    self.processes[by].requests.push((member.slot, member.incarnation));
                }
            }
            Operation::End { at } => {
                let requests = &mut self.processes[by].requests;
                if !requests.is_empty() {
                    requests.remove(at % requests.len());
                }
            }
            Operation::Retain { kept } => self.pools.retain(|&pool, _| pool == kept),
            Operation::Leave => {
                self.processes.remove(by);
                self.fork();
            }
            Operation::Sweep | Operation::Reap => {}
        }
    }

    fn note_define(&mut self, pool: usize, members: &[(usize, u16, u32)], newer: bool) {
        if !newer {
            return;
        }
        let model = self.pools.entry(pool).or_default();
        model.version = self.versions;
        model.definition = members.to_vec();
        let before = std::mem::replace(&mut model.order, members.iter().map(|member| member.0).collect());
        let mut old = std::mem::take(&mut model.members);
        for &(name, port, weight) in members {
            let kept = old.remove(&name).filter(|member| member.port == port);
            let member = match kept {
                Some(member) if member.configured == weight => member,
                _ => ModelMember { port, configured: weight, weight, added: false },
            };
            model.members.insert(name, member);
        }
        for name in before {
            if let Some(member) = old.remove(&name).filter(|member| member.added) {
                model.order.push(name);
                model.members.insert(name, member);
            }
        }
    }

    /// Processes read in different moments, and each remembers what it has read itself.
    fn compare(&mut self) {
        self.parent.check().expect("consistent");
        for (pool, pool_name) in POOL_NAMES.iter().enumerate() {
            let model = self.pools.get(&pool);
            let id = self.pool_id(pool);
            let found = id.map(|id| names(&self.parent, id));
            let expected: Option<Vec<String>> =
                model.map(|model| model.order.iter().map(|&name| MEMBER_NAMES[name].to_owned()).collect());
            assert_eq!(found, expected, "{pool_name}");
            let (Some(id), Some(model)) = (id, model) else { continue };
            for (&name, expected) in &model.members {
                let member = self.member(pool, name).expect("a member");
                let weight = self.parent.status(member.slot).weight();
                assert_eq!(
                    (member.spec.url.port, member.spec.weight, weight),
                    (expected.port, expected.configured, expected.weight)
                );
            }
            let version = self.parent.version(id);
            let cached = self.cached.entry(id.0 as usize).or_default();
            if cached.0 != version {
                *cached = (version, names(&self.parent, id));
            }
            assert_eq!(Some(&cached.1), expected.as_ref(), "a change was not announced");
            let read = forgetful(&self.parent).read_pool(id);
            for process in &self.processes {
                assert_eq!(process.table.read_pool(id), read, "what a process remembers is not so");
            }
        }
        self.compare_inflight();
    }

    fn compare_inflight(&self) {
        let mut expected = BTreeMap::new();
        for (slot, _) in self.processes.iter().flat_map(|process| &process.requests) {
            *expected.entry(*slot).or_insert(0) += 1;
        }
        for slot in 0..geometry().members {
            assert_eq!(self.parent.inflight(slot), expected.get(&slot).copied().unwrap_or(0), "slot {slot}");
        }
    }
}

/// A handle that has read nothing.
fn forgetful(table: &Table) -> Table {
    Table { seen: Arc::default(), ..table.clone() }
}

thread_local! {
    static VERSION: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn act(table: &Table, child: ChildLane, requests: &[(u32, u32)], operation: &Operation) {
    match *operation {
        Operation::Define { pool, ref members, .. } => {
            let specs: Vec<_> =
                members.iter().map(|&(name, port, weight)| spec(MEMBER_NAMES[name], port, weight)).collect();
            let version = VERSION.get();
            let id = table.define_from(Origin::Configuration, POOL_NAMES[pool], &settings(), &specs, version);
            id.expect("room for all");
        }
        Operation::Add { pool, name } => {
            if let Some(id) = table.find_pool(POOL_NAMES[pool]) {
                let added = table.add(id, &spec(MEMBER_NAMES[name], 9, 100));
                assert!(matches!(added, Ok(_) | Err(ChangeError::Duplicate { .. })), "{added:?}");
            }
        }
        Operation::Remove { pool, name } => {
            if let Some(id) = table.find_pool(POOL_NAMES[pool]) {
                let removed = table.remove(id, MEMBER_NAMES[name]);
                assert!(matches!(removed, Ok(()) | Err(ChangeError::UnknownMember { .. })), "{removed:?}");
            }
        }
        Operation::SetWeight { pool, name, weight } => {
            if let Some(member) = find(table, pool, name) {
                table
                    .update(member.slot, member.incarnation, &mut |s: Status| s.with_weight(weight))
                    .unwrap();
            }
        }
        Operation::Line { pool, name, weight } => {
            if let Some(member) = find(table, pool, name) {
                let spec = MemberSpec { weight, ..member.spec.clone() };
                let what = Doing::Line(Box::new(spec));
                let step =
                    MemberStep { pool: POOL_NAMES[pool].into(), member: MEMBER_NAMES[name].into(), what };
                let done = table.with_pen(&mut || {
                    let deeds = steering::deeds(table, std::slice::from_ref(&step)).expect("a member");
                    table.carry_out(&deeds).expect("room");
                });
                assert!(done, "nobody who lives has the pen");
            }
        }
        Operation::Begin { pool, name } => {
            if let Some(member) = find(table, pool, name) {
                assert!(table.begin(&child, member.slot, member.incarnation));
            }
        }
        Operation::End { at } => {
            if !requests.is_empty() {
                table.end(&child, requests[at % requests.len()].0);
            }
        }
        Operation::Retain { kept } => table.retain_pools(&[POOL_NAMES[kept]], Origin::Configuration),
        Operation::Sweep => {
            table.sweep();
        }
        Operation::Reap => {
            assert_eq!(table.reap_dead(&alive), 0);
        }
        Operation::Leave => {
            assert_eq!(table.leave(child) as usize, requests.len());
        }
    }
}

fn find(table: &Table, pool: usize, name: usize) -> Option<Arc<Member>> {
    let id = table.find_pool(POOL_NAMES[pool])?;
    members(table, id).into_iter().find(|member| member.spec.name == MEMBER_NAMES[name])
}

proptest! {
    #[test]
    fn a_death_at_any_step_leaves_nothing_wrong(
        steps in proptest::collection::vec((operation(), 0..3usize, proptest::option::of(0..40u32)), 1..if cfg!(miri) { 10 } else { 40 })
    ) {
        let mut world = World::new();
        for (operation, by, death) in steps {
            world.run(&operation, by, death);
            world.compare();
        }
    }
}
