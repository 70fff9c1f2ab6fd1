// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::event::By;
use crate::live::Live;
use crate::memory::MemoryStore;
use crate::settings::PoolSettings;
use crate::status::State;
use crate::steering;
use proptest::prelude::*;

const NOW_S: u64 = 1_000_000;

fn spec(line: &str) -> MemberSpec {
    MemberSpec::from_line(line).expect(line)
}

/// A pool `app` with these configured members.
fn store(lines: &[&str]) -> MemoryStore {
    let store = MemoryStore::new();
    let members: Vec<MemberSpec> = lines.iter().map(|line| spec(line)).collect();
    store.define("app", &PoolSettings::default(), &members, 1).expect("a pool");
    store
}

fn pool(store: &MemoryStore) -> Membership {
    store.read_pool(store.find_pool("app").expect("the pool")).expect("its members").membership
}

fn member(store: &MemoryStore, name: &str) -> Arc<Member> {
    let found = pool(store).members.iter().find(|member| member.spec.name == name).cloned();
    found.unwrap_or_else(|| panic!("{name} is not there"))
}

fn names(store: &MemoryStore) -> Vec<String> {
    pool(store).members.iter().map(|member| member.spec.name.clone()).collect()
}

fn difference(store: &MemoryStore, source: &str, lines: &[&str], drain_ms: u64) -> ListDifference {
    let members: Vec<Arc<MemberSpec>> = lines.iter().map(|line| Arc::new(spec(line))).collect();
    let listing = Listing {
        source,
        known: &["file-1", "file-2"],
        members: &members,
        prints: &members.iter().map(|spec| spec.print()).collect::<Vec<_>>(),
        absent: &HashSet::new(),
        drain_ms,
    };
    ListDifference::of(store, &pool(store), listing, NOW_S)
}

/// Takes a list; a second look finds nothing to do.
fn take(store: &MemoryStore, source: &str, lines: &[&str], drain_ms: u64) -> ListDifference {
    let found = difference(store, source, lines, drain_ms);
    let deeds = steering::deeds(store, &found.steps).expect("deeds");
    store.carry_out(&deeds).expect("carried out");
    let again = difference(store, source, lines, drain_ms).steps;
    assert_eq!(again, [], "the same list once more");
    found
}

fn order(store: &MemoryStore, name: &str, order: &Order) {
    let member = member(store, name);
    let flags = order.admin.map_or(0, AdminState::flags);
    let switched = |status: Status| Status(status.0 & !AdminState::FLAGS | flags);
    store.update(member.slot, member.incarnation, &mut { switched }).expect("a row");
    store.set_order(&member, Some(order)).expect("a row");
}

fn state(store: &MemoryStore, name: &str) -> State {
    store.status(member(store, name).slot).state()
}

#[test]
fn members_come_change_and_go_with_their_source() {
    let store = store(&[]);
    take(&store, "file-1", &["http://10.0.0.1:1 name=a", "http://10.0.0.2:1 name=b"], 0);
    assert_eq!(names(&store), ["a", "b"]);
    let (slot, incarnation) = (member(&store, "a").slot, member(&store, "a").incarnation);
    take(&store, "file-1", &["http://10.0.0.1:1 name=a weight=7 zone=eu lbset=2"], 0);
    let a = member(&store, "a");
    assert_eq!((names(&store).as_slice(), a.slot, a.incarnation), (&["a".to_owned()][..], slot, incarnation));
    assert_eq!((a.spec.zone.as_deref(), a.spec.discovered.as_deref()), (Some("eu"), Some("file-1")));
    assert_eq!((store.status(slot).weight(), store.status(slot).lbset()), (700, 2));
    take(&store, "file-1", &["http://10.0.0.9:1 name=a"], 0);
    assert_ne!(member(&store, "a").slot, slot, "another address is another member");
}

#[test]
fn a_member_that_goes_drains_and_is_the_same_when_it_is_back() {
    let store = store(&[]);
    let both = ["http://10.0.0.1:1 name=a", "http://10.0.0.2:1 name=b"];
    take(&store, "file-1", &both, 30_000);
    let slot = member(&store, "b").slot;
    let found = take(&store, "file-1", &both[..1], 30_000);
    assert_eq!((found.serving, found.gone.as_slice()), (2, &["b".to_owned()][..]));
    assert_eq!(state(&store, "b"), State::Draining);
    let kept = store.order(slot).expect("an order");
    assert_eq!((kept.gone, kept.admin), (Some(NOW_S + 30), None));
    assert_eq!(difference(&store, "file-1", &both[..1], 30_000).serving, 1, "it does not serve any more");
    take(&store, "file-1", &both, 30_000);
    assert_eq!((state(&store, "b"), store.order(slot)), (State::Up, None));
    assert_eq!(member(&store, "b").slot, slot);
}

#[test]
fn orders_outlive_lists() {
    let store = store(&[]);
    let drain =
        Order { admin: Some(AdminState::Drain), note: Some("deploy".into()), at: 5, ..Order::default() };
    let weight = Order { weight: Some(900), max_inflight: Some(3), at: 5, ..Order::default() };
    let list = |weight: u32| {
        ["a", "b"].map(|name| format!("http://10.0.0.1:1 name={name} weight={weight} max_inflight={weight}"))
    };
    let take = |weight: u32, count: usize| {
        let list = list(weight);
        let lines: Vec<&str> = list.iter().take(count).map(String::as_str).collect();
        take(&store, "file-1", &lines, 30_000);
    };
    take(1, 2);
    order(&store, "a", &drain);
    order(&store, "b", &weight);
    let b = member(&store, "b");
    store.update(b.slot, b.incarnation, &mut |status| status.with_weight(900)).expect("a row");
    take(2, 2);
    assert_eq!(
        (state(&store, "a"), store.order(member(&store, "a").slot)),
        (State::Draining, Some(drain.clone()))
    );
    let b = member(&store, "b");
    assert_eq!((store.status(b.slot).weight(), b.spec.max_inflight), (900, 3));
    assert_eq!(store.configured(b.slot).map(|spec| (spec.weight, spec.max_inflight)), Some((200, 2)));
    take(2, 0);
    assert_eq!(store.order(member(&store, "a").slot).and_then(|order| order.note), Some("deploy".into()));
    take(2, 2);
    assert_eq!((state(&store, "a"), state(&store, "b")), (State::Draining, State::Up));
    assert_eq!(store.order(member(&store, "a").slot), Some(drain));
    assert_eq!(store.order(member(&store, "b").slot), Some(weight));
}

#[test]
fn orders_outlive_another_address() {
    let store = store(&[]);
    let list = |host: &str| ["a", "b"].map(|name| format!("http://{host}:1 name={name} weight=2"));
    let take = |host: &str| {
        let list = list(host);
        take(&store, "file-1", &list.each_ref().map(String::as_str), 30_000);
    };
    take("10.0.0.1");
    let disabled =
        Order { admin: Some(AdminState::Disabled), note: Some("broken".into()), at: 5, ..Order::default() };
    let weight = Order { weight: Some(900), max_inflight: Some(3), at: 5, ..Order::default() };
    order(&store, "a", &disabled);
    order(&store, "b", &weight);
    take("10.0.0.2");
    let (a, b) = (member(&store, "a"), member(&store, "b"));
    assert_eq!((state(&store, "a"), store.order(a.slot)), (State::Disabled, Some(disabled)));
    assert_eq!((state(&store, "b"), store.order(b.slot)), (State::Up, Some(weight)));
    assert_eq!((store.status(b.slot).weight(), b.spec.max_inflight), (900, 3));
    assert_eq!(b.spec.url.to_string(), "http://10.0.0.2:1");
}

#[test]
fn sources_step_back_before_everybody_else() {
    let store = store(&["http://10.0.0.1:1 name=a weight=5"]);
    let app = store.find_pool("app").expect("the pool");
    store.add(app, &spec("http://10.0.0.2:1 name=b")).expect("room");
    let list = ["a", "b", "c"].map(|name| format!("http://10.0.0.3:1 name={name}"));
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let found = take(&store, "file-1", &list, 0);
    assert_eq!((found.shadowed.as_slice(), found.steps.len()), (&["a".to_owned(), "b".to_owned()][..], 1));
    assert_eq!(member(&store, "a").spec.weight, 500);
    assert_eq!(take(&store, "file-2", &list, 0).shadowed.len(), 3, "the first source has c");
    take(&store, "file-1", &[], 30_000);
    take(&store, "file-2", &list[2..], 0);
    assert_eq!(member(&store, "c").spec.discovered.as_deref(), Some("file-2"), "given up by the first");
    assert_eq!(state(&store, "c"), State::Up);
}

#[test]
fn a_source_of_another_name_takes_over_what_it_finds() {
    let store = store(&[]);
    take(&store, "old", &["http://10.0.0.1:1 name=a"], 0);
    let slot = member(&store, "a").slot;
    take(&store, "file-1", &["http://10.0.0.1:1 name=a weight=2"], 0);
    let a = member(&store, "a");
    assert_eq!((a.slot, a.spec.discovered.as_deref()), (slot, Some("file-1")));
}

#[test]
fn members_that_are_absent_for_a_while_stay() {
    let store = store(&[]);
    take(&store, "file-1", &["http://10.0.0.1:1 name=a"], 0);
    let absent = HashSet::from(["a"]);
    let listing =
        Listing { source: "file-1", known: &[], members: &[], prints: &[], absent: &absent, drain_ms: 0 };
    assert_eq!(ListDifference::of(&store, &pool(&store), listing, NOW_S).steps, []);
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let one = (0..6_u8, 0..3_u8, 1..4_u8, any::<bool>()).prop_map(|(name, host, weight, zoned)| {
        let zone = if zoned { " zone=eu" } else { "" };
        format!("http://10.0.0.{host}:1 name=m{name} weight={weight}{zone}")
    });
    proptest::collection::vec(one, 0..8).prop_map(|mut all| {
        let mut seen = HashSet::new();
        all.retain(|line| seen.insert(line.split(' ').nth(1).map(str::to_owned)));
        all
    })
}

proptest! {
    /// After any lists, one after the other: the last one is in service, nobody else's member
    /// is touched, and the same list once more changes nothing.
    #[test]
    fn the_last_list_is_what_serves(lists in proptest::collection::vec((lines(), any::<bool>(), 0..2_usize), 1..8)) {
        let store = store(&["http://10.9.9.9:1 name=m0 weight=5"]);
        for (list, drains, source) in lists {
            let source = ["file-1", "file-2"][source];
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let found = take(&store, source, &list, if drains { 30_000 } else { 0 });
            for line in &list {
                let wanted = spec(line);
                if !found.shadowed.contains(&wanted.name) {
                    let is = member(&store, &wanted.name);
                    prop_assert_eq!((&is.spec.url, &is.spec.zone), (&wanted.url, &wanted.zone));
                    prop_assert_eq!(store.status(is.slot).weight(), wanted.weight);
                    prop_assert_eq!(state(&store, &wanted.name), State::Up);
                }
            }
            let own = member(&store, "m0");
            prop_assert_eq!((own.spec.discovered.as_deref(), own.spec.weight), (None, 500));
            let by = By::Source(source.to_owned());
            prop_assert_eq!(by.to_string(), format!("source {source}"));
        }
    }
}
