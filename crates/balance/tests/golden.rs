// SPDX-License-Identifier: Apache-2.0
//! Picks by key are those of a real nginx: `golden/nginx.tsv`, written by `golden/nginx.py`.

use std::collections::BTreeMap;

use balance::api::{Balancer, Query};
use balance::engine::{Engine, Handle};
use balance::member::MemberSpec;
use balance::memory::MemoryStore;
use balance::settings::{Method, PoolSettings};
use balance::status::Status;
use balance::store::Store;

const GOLDEN: &str = include_str!("golden/nginx.tsv");

/// The name of a pool with these servers (`port*weight`, `!` behind those that are down), made when
/// it is new.
fn pool(store: &MemoryStore, servers: &str) {
    if store.find_pool(servers).is_some() {
        return;
    }
    let members: Vec<MemberSpec> = servers
        .split(',')
        .map(|server| {
            let (port, weight) = server.trim_end_matches('!').split_once('*').unwrap();
            MemberSpec::from_line(&format!("http://127.0.0.1:{port} weight={weight}")).unwrap()
        })
        .collect();
    let pool = store.define(servers, &PoolSettings::default(), &members, 1).unwrap();
    let image = store.read_pool(pool).unwrap();
    for (member, server) in image.membership.members.iter().zip(servers.split(',')) {
        if server.ends_with('!') {
            store
                .update(member.slot, member.incarnation, &mut |status| status.with(Status::CHECK_DOWN))
                .unwrap();
        }
    }
}

#[test]
fn hash_and_consistent_hash_pick_as_nginx_does() {
    let engine = Engine::new(MemoryStore::new(), Box::new(|_| ()));
    let handle = Handle::new(engine.clone(), 1);
    let mut wrong: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut lines = 0;
    for line in GOLDEN.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let [name, servers, key, port] = parts[..] else { panic!("{line}") };
        pool(engine.store(), servers);
        let method = Method::from_name(name).unwrap();
        let pool = handle.find(servers).unwrap();
        let picked = handle
            .pick(Query { pool, view: None, method: &method, key: key.as_bytes(), avoid: &[] })
            .unwrap();
        if picked.spec.url.port.to_string() != port {
            *wrong.entry((name, servers)).or_default() += 1;
        }
        lines += 1;
    }
    assert!(lines > 1000);
    assert_eq!(wrong, BTreeMap::new(), "keys that go elsewhere, by method and servers");
}
