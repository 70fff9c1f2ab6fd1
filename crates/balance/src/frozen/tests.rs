// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::api::{Balancer, Change, Query};
use crate::engine::Handle;
use crate::event::By;
use crate::memory::MemoryStore;
use crate::settings::Method;
use crate::status::State;

type Over = (Arc<Engine<MemoryStore>>, Handle<MemoryStore>, PoolId);

fn spec(line: &str) -> MemberSpec {
    MemberSpec::from_line(line).unwrap()
}

fn three() -> Over {
    let engine = Engine::new(MemoryStore::new(), Box::new(|_| ()));
    let handle = Handle::new(engine.clone(), 1);
    let specs = ["http://a name=a weight=3", "http://b name=b", "http://c name=c"].map(spec);
    let pool = handle.define("app", PoolSettings::default(), specs.to_vec(), 1).unwrap();
    (engine, handle, pool)
}

fn names(handle: &impl Balancer, pool: PoolId) -> Vec<String> {
    let members = &handle.membership(pool).unwrap().members;
    members.iter().map(|member| member.spec.name.clone()).collect()
}

#[test]
fn picks_go_on_from_where_the_store_is_and_leave_it_there() {
    let (engine, handle, pool) = three();
    let query = Query { pool, view: None, method: &Method::RoundRobin, key: b"", avoid: &[] };
    for _ in 0..50 {
        let frozen = Engine::new(Frozen::over(engine.clone()), Box::new(|_| ()));
        let other = Handle::new(frozen.clone(), 1);
        let told: Vec<String> = (0..3).map(|_| other.pick(query).unwrap().spec.name.clone()).collect();
        let first = handle.membership(pool).unwrap().members[0].clone();
        other.change(&first, Change::Disable, &By::Script(None)).unwrap();
        assert_eq!(frozen.store().changes(), ["the status of members"]);
        assert_eq!(handle.pick(query).unwrap().spec.name, told[0]);
    }
}

#[test]
fn a_call_sees_its_own_changes_as_they_would_be_below_and_the_next_one_does_not() {
    let (engine, handle, pool) = three();
    let frozen = Engine::new(Frozen::over(engine.clone()), Box::new(|_| ()));
    let own = Handle::new(frozen.clone(), 1);
    let by = By::Script(None);
    let members = handle.membership(pool).unwrap().members.clone();
    let state = |handle: &dyn Balancer, at: usize| handle.status(&members[at]).map(Status::state);
    let turns = |handle: &dyn Balancer| {
        let query = Query { pool, view: None, method: &Method::RoundRobin, key: b"", avoid: &[] };
        (0..8).map(|_| handle.pick(query).unwrap().spec.name.clone()).collect::<Vec<_>>()
    };
    let steer = |handle: &dyn Balancer| {
        handle.change(&members[0], Change::Drain, &by).unwrap();
        handle.change(&members[1], Change::SetWeight(300), &by).unwrap();
        handle.remove(pool, "c", &by).unwrap();
        let added = handle.add(pool, spec("http://d name=d weight=2"), &by).unwrap();
        handle.change(&added, Change::SetWeight(100), &by).unwrap();
        assert_eq!(
            handle.add(pool, spec("http://d name=d"), &by).unwrap_err().to_string(),
            "pool app already has a member named d"
        );
        assert!(handle.is_usable(&added) && handle.status(&added).unwrap().weight() == 100);
        added
    };
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(steer(&own));
        assert_eq!([state(&own, 0), state(&own, 2)], [Some(State::Draining), None]);
        assert_eq!(names(&own, pool), ["a", "b", "d"]);
        assert_eq!([state(&handle, 0), state(&handle, 2)], [Some(State::Up); 2]);
        let hidden = frozen.store().without_changes(|| names(&own, pool));
        assert_eq!(hidden, ["a", "b", "c"], "without its changes");
        assert_eq!(names(&own, pool), ["a", "b", "d"], "with them again");
        frozen.store().begin(u64::MAX);
        assert_eq!([state(&own, 0), state(&own, 2)], [Some(State::Up); 2]);
        assert_eq!(names(&own, pool), ["a", "b", "c"]);
        assert!(kept.iter().all(|added| !own.is_usable(added)), "kept over calls");
    }
    steer(&own);
    let told = turns(&own);
    steer(&handle);
    assert_eq!(turns(&handle), told);
    assert!(told.iter().all(|name| name == "b" || name == "d"), "{told:?}");
}

#[test]
fn a_member_that_the_request_has_added_already_is_added_beside_once_more() {
    let (engine, handle, pool) = three();
    engine.store().set_now_s(100);
    let frozen = Engine::new(Frozen::over(engine.clone()), Box::new(|_| ()));
    let own = Handle::new(frozen.clone(), 1);
    let by = By::Script(None);
    let real = handle.add(pool, spec("http://d name=d"), &by).unwrap();
    let add = |line: &str| own.add(pool, spec(line), &by).map(|member| member.slot).ok();
    for (began_s, line, found) in [
        (99, "http://d name=d", Some(real.slot)),
        (101, "http://d name=d", None),
        (99, "http://e name=d", None),
        (99, "http://a name=a", None),
    ] {
        frozen.store().begin(began_s);
        assert_eq!(add(line), found, "{began_s} {line}");
    }
}
