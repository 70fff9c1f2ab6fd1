// SPDX-License-Identifier: Apache-2.0
//! Members that sources have found.

use balance::settings::EmptyList;

use super::*;

const SOURCE: &str = "LuaBalancerDiscovery file:/x name=file-1\n";

/// One found member that was drained, and one that its source names no more.
fn found() -> MemoryStore {
    let store = store(SOURCE, &[]);
    for line in ["http://10.0.0.1:80 name=a discovered=file-1", "http://10.0.0.2:80 name=b discovered=file-1"]
    {
        store.add(app(&store), &spec(line)).expect("a member");
    }
    let drain =
        Order { admin: Some(AdminState::Drain), note: Some("deploy".into()), at: NOON, ..Order::default() };
    change(&store, "a", |status| status.with(Status::DRAINING));
    store.set_order(&member(&store, "a"), Some(&drain)).expect("an order");
    change(&store, "b", |status| status.with(Status::DRAINING));
    let gone = Order { gone: Some(NOON + 30), ..Order::default() };
    store.set_order(&member(&store, "b"), Some(&gone)).expect("an order");
    store
}

#[test]
fn the_last_list_is_there_at_a_start_with_its_orders() {
    let kept = read(write(&document(&found())).as_bytes()).expect("its own text");
    let names: Vec<&str> = kept.pools[0].members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["a"], "b was gone");
    assert_eq!(kept.pools[0].members[0].added.as_ref().map(|line| line.source.as_str()), Some("discovery"));
    let fresh = store(SOURCE, &[]);
    let applied = apply(&fresh, &plan(&kept, &fresh, NOON + 10), NOW);
    assert_eq!((applied.added, applied.ordered, applied.refused.len()), (1, 1, 0));
    let a = member(&fresh, "a");
    assert_eq!(a.spec.discovered.as_deref(), Some("file-1"));
    assert!(fresh.status(a.slot).has(Status::DRAINING));
}

#[test]
fn a_source_that_is_not_there_or_begins_empty_brings_nothing_back() {
    let kept = document(&found());
    let empty = format!("{} initial=empty\n", SOURCE.trim());
    for (settings, why) in
        [("", "the pool has no source file-1 now"), (&*empty, "source file-1 has initial=empty")]
    {
        let fresh = store(settings, &[]);
        let planned = plan(&kept, &fresh, NOON + 10);
        assert_eq!(planned.members, []);
        assert_eq!(planned.dropped.len(), 1, "{planned:?}");
        assert!(planned.dropped[0].to_string().contains(why), "{}", planned.dropped[0]);
    }
    let settings = PoolSettings::from_text(&empty).expect("settings");
    assert_eq!(settings.discovery[0].empty, EmptyList::Hold);
}
