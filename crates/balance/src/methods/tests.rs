// SPDX-License-Identifier: Apache-2.0
//! The promises of every method.

use std::sync::Arc;

use proptest::prelude::*;

use crate::api::{Balancer, NoMember, PoolId, Query};
use crate::engine::{Engine, Handle};
use crate::event::By;
use crate::live::Live;
use crate::member::{Member, MemberSpec};
use crate::memory::MemoryStore;
use crate::settings::{Method, PoolSettings};
use crate::status::Status;
use crate::store::Store;

struct Fixture {
    engine: Arc<Engine<MemoryStore>>,
    handle: Handle<MemoryStore>,
    pool: PoolId,
}

fn fixture(lines: &[&str]) -> Fixture {
    let specs: Vec<MemberSpec> = lines.iter().map(|line| MemberSpec::from_line(line).unwrap()).collect();
    let engine = Engine::new(MemoryStore::new(), Box::new(|_| ()));
    let pool = engine.store().define("app", &PoolSettings::default(), &specs, 1).unwrap();
    Fixture { handle: Handle::new(engine.clone(), 7), engine, pool }
}

fn abc(weights: [u32; 3]) -> Fixture {
    let lines: Vec<String> = weights
        .iter()
        .zip(["a", "b", "c"])
        .map(|(w, n)| format!("http://{n}.example:80 name={n} weight={w}"))
        .collect();
    fixture(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

fn methods() -> Vec<Method> {
    [
        "round_robin",
        "random",
        "least_connections",
        "power_of_two",
        "least_latency",
        "first",
        "consistent_hash",
        "maglev",
        "rendezvous",
        "hash",
    ]
    .iter()
    .map(|name| Method::from_name(name).unwrap())
    .collect()
}

impl Fixture {
    fn store(&self) -> &MemoryStore {
        self.engine.store()
    }

    fn member(&self, name: &str) -> Arc<Member> {
        let membership = self.handle.membership(self.pool).unwrap();
        membership.members.iter().find(|member| member.spec.name == name).unwrap().clone()
    }

    fn flag(&self, name: &str, flag: u64, on: bool) {
        let member = self.member(name);
        let mut change = |status: Status| if on { status.with(flag) } else { status.without(flag) };
        self.store().update(member.slot, member.incarnation, &mut change).unwrap();
    }

    fn pick_from(&self, method: &Method, key: &[u8], avoid: &[u32]) -> Result<String, NoMember> {
        let query = Query { pool: self.pool, view: None, method, key, avoid };
        self.handle.pick(query).map(|member| member.spec.name.clone())
    }

    fn sequence(&self, method: &Method, count: usize) -> String {
        (0..count).map(|i| self.pick_from(method, format!("key{i}").as_bytes(), &[]).unwrap()).collect()
    }
}

#[test]
fn an_empty_pool_has_no_member() {
    let fixture = fixture(&[]);
    for method in methods() {
        assert_eq!(fixture.pick_from(&method, b"k", &[]), Err(NoMember::Empty("app".into())), "{method:?}");
    }
}

#[test]
fn one_member_is_always_picked() {
    let fixture = fixture(&["http://a.example name=a weight=65535"]);
    for method in methods() {
        assert_eq!(fixture.sequence(&method, 5), "aaaaa", "{method:?}");
    }
}

#[test]
fn members_that_are_down_disabled_draining_or_of_weight_0_are_not_picked() {
    let fixture = fixture(&[
        "http://a.example name=a",
        "http://b.example name=b",
        "http://c.example name=c status=+D",
        "http://d.example name=d weight=0",
        "http://e.example name=e status=+N",
        "http://f.example name=f",
    ]);
    fixture.flag("a", Status::CHECK_DOWN, true);
    fixture.flag("b", Status::EJECTED, true);
    for method in methods() {
        assert_eq!(fixture.sequence(&method, 50), "f".repeat(50), "{method:?}");
    }
}

#[test]
fn all_down_or_all_weight_0_says_so() {
    let zero = abc([0, 0, 0]);
    let down = abc([1, 1, 1]);
    for name in ["a", "b", "c"] {
        down.flag(name, Status::CHECK_DOWN, true);
    }
    for method in methods() {
        assert_eq!(
            zero.pick_from(&method, b"k", &[]),
            Err(NoMember::NoneUsable("app".into(), 0, 3)),
            "{method:?}"
        );
        assert_eq!(
            down.pick_from(&method, b"k", &[]),
            Err(NoMember::NoneUsable("app".into(), 0, 3)),
            "{method:?}"
        );
    }
}

#[test]
fn tried_members_are_avoided_until_none_is_left() {
    for method in methods() {
        let fixture = abc([5, 1, 1]);
        let mut avoid = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let name = fixture.pick_from(&method, b"key", &avoid).unwrap();
            avoid.push(fixture.member(&name).slot);
            seen.push(name);
        }
        seen.sort();
        assert_eq!(seen.concat(), "abc", "{method:?}");
        assert!(fixture.pick_from(&method, b"key", &avoid).is_err(), "{method:?}");
    }
}

#[test]
fn a_full_member_is_skipped_and_all_full_says_so() {
    let fixture =
        fixture(&["http://a.example name=a max_inflight=2", "http://b.example name=b max_inflight=1"]);
    fixture.store().set_inflight(fixture.member("a").slot, 2);
    for method in methods() {
        assert_eq!(fixture.sequence(&method, 10), "b".repeat(10), "{method:?}");
    }
    fixture.store().set_inflight(fixture.member("b").slot, 1);
    for method in methods() {
        assert_eq!(fixture.pick_from(&method, b"k", &[]), Err(NoMember::Full("app".into(), 2)), "{method:?}");
    }
}

#[test]
fn round_robin_and_idle_least_connections_are_smooth() {
    assert_eq!(abc([5, 1, 1]).sequence(&Method::RoundRobin, 14), "aabacaaaabacaa");
    assert_eq!(abc([5, 1, 1]).sequence(&Method::LeastConnections, 14), "aabacaaaabacaa");
    assert_eq!(abc([4, 2, 1]).sequence(&Method::RoundRobin, 7), "abacaba");
}

#[test]
fn a_changed_weight_starts_the_sequence_anew() {
    let fixture = abc([5, 1, 1]);
    fixture.sequence(&Method::RoundRobin, 3);
    fixture
        .handle
        .change(&fixture.member("a"), crate::api::Change::SetWeight(100), &By::Script(None))
        .unwrap();
    assert_eq!(fixture.sequence(&Method::RoundRobin, 6), "abcabc");
}

#[test]
fn least_connections_takes_the_smallest_load_per_weight() {
    let fixture = abc([4, 2, 1]);
    for (name, inflight) in [("a", 4), ("b", 1), ("c", 1)] {
        fixture.store().set_inflight(fixture.member(name).slot, inflight);
    }
    assert_eq!(fixture.sequence(&Method::LeastConnections, 3), "bbb");
}

#[test]
fn power_of_two_and_least_latency_leave_the_worst_of_two() {
    let fixture = abc([1, 1, 0]);
    fixture.store().set_inflight(fixture.member("a").slot, 3);
    assert_eq!(fixture.sequence(&Method::PowerOfTwo, 20), "b".repeat(20));
    let latency = crate::live::Latency { ewma_ms: 100.0, stamp_ms: 0 };
    fixture.store().set_latency(fixture.member("b").slot, latency);
    fixture.store().set_latency(fixture.member("a").slot, crate::live::Latency { ewma_ms: 10.0, ..latency });
    assert_eq!(fixture.sequence(&Method::LeastLatency, 20), "a".repeat(20));
}

#[test]
fn first_fills_in_order() {
    let fixture = abc([1, 5, 9]);
    assert_eq!(fixture.sequence(&Method::First, 4), "aaaa");
    fixture.flag("a", Status::EJECTED, true);
    assert_eq!(fixture.sequence(&Method::First, 2), "bb");
}

#[test]
fn spares_then_standbys_then_higher_sets_come_in() {
    let fixture = fixture(&[
        "http://a.example name=a",
        "http://b.example name=b",
        "http://r.example name=r status=+R",
        "http://l.example name=l lbset=1",
        "http://h.example name=h status=+H",
    ]);
    let names = || {
        let mut names: Vec<char> = fixture.sequence(&Method::RoundRobin, 12).chars().collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().collect::<String>()
    };
    assert_eq!(names(), "ab");
    fixture.flag("a", Status::CHECK_DOWN, true);
    assert_eq!(names(), "br");
    fixture.flag("b", Status::CHECK_DOWN, true);
    assert_eq!(names(), "r");
    fixture.flag("r", Status::CHECK_DOWN, true);
    assert_eq!(names(), "h");
    fixture.flag("h", Status::CHECK_DOWN, true);
    assert_eq!(names(), "l");
}

#[test]
fn random_shares_match_weights() {
    for method in [Method::Random, Method::PowerOfTwo] {
        let fixture = abc([5, 3, 2]);
        let seen = fixture.sequence(&method, 20_000);
        let share = |name: char| seen.chars().filter(|c| *c == name).count() as f64 / 20_000.0;
        let expected =
            if method == Method::Random { [0.5, 0.3, 0.2] } else { [share('a'), share('b'), share('c')] };
        for (name, expected) in ['a', 'b', 'c'].into_iter().zip(expected) {
            assert!((share(name) - expected).abs() < 0.02, "{method:?} {name}: {}", share(name));
        }
    }
}

const KEYED: [&str; 4] = ["consistent_hash", "maglev", "rendezvous", "hash"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn removing_a_member_moves_only_its_keys(count in 2usize..20, gone in 0usize..20) {
        let lines: Vec<String> = (0..count).map(|i| format!("http://10.0.0.{i}:80 name=m{i} weight={}", 1 + i % 3)).collect();
        let fixture = fixture(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let gone = format!("m{}", gone % count);
        for name in KEYED {
            let method = Method::from_name(name).unwrap();
            let keys: Vec<String> = (0..200).map(|i| format!("user-{i}")).collect();
            let all = |f: &Fixture| -> Vec<String> { keys.iter().map(|key| f.pick_from(&method, key.as_bytes(), &[]).unwrap()).collect() };
            let before = all(&fixture);
            fixture.flag(&gone, Status::CHECK_DOWN, true);
            let without = all(&fixture);
            fixture.flag(&gone, Status::CHECK_DOWN, false);
            prop_assert_eq!(&before, &all(&fixture), "{} coming back restores the keys", name);
            for (was, is) in before.iter().zip(&without) {
                prop_assert!(is != &gone && (was == is || was == &gone), "{}: {} -> {}", name, was, is);
            }
        }
    }

    #[test]
    fn picks_end_whatever_the_loads(loads in proptest::collection::vec(0u32..70_000, 3), key in proptest::collection::vec(any::<u8>(), 0..40)) {
        let fixture = abc([3, 1, 65_535]);
        for (name, load) in ["a", "b", "c"].into_iter().zip(&loads) {
            fixture.store().set_inflight(fixture.member(name).slot, *load);
        }
        for method in methods().into_iter().chain([Method::ConsistentHash { balance_factor: Some(1.25) }]) {
            prop_assert!(fixture.pick_from(&method, &key, &[]).is_ok());
        }
    }
}

#[test]
fn bounded_loads_pass_an_overloaded_member() {
    let fixture = abc([1, 1, 1]);
    let plain = Method::ConsistentHash { balance_factor: None };
    let bounded = Method::ConsistentHash { balance_factor: Some(1.25) };
    let owner = fixture.pick_from(&plain, b"k", &[]).unwrap();
    assert_eq!(fixture.pick_from(&bounded, b"k", &[]).unwrap(), owner);
    fixture.store().set_inflight(fixture.member(&owner).slot, 10);
    assert_ne!(fixture.pick_from(&bounded, b"k", &[]).unwrap(), owner);
    assert_eq!(fixture.pick_from(&plain, b"k", &[]).unwrap(), owner);
    assert!(fixture.store().inflight(fixture.member(&owner).slot) == 10);
}
