// SPDX-License-Identifier: Apache-2.0
//! Memory that holds anything at all does no harm.

use std::sync::atomic::Ordering::Relaxed;

use balance::live::Live;
use balance::store::Store;
use proptest::prelude::*;

use super::*;
use crate::AttachError;

#[test]
fn an_impossible_geometry_is_refused() {
    for bad in [
        Geometry { members: 0, ..geometry() },
        Geometry { lane_bits: 32, ..geometry() },
        Geometry { pools: 70_000, ..geometry() },
        Geometry { script_bytes: u32::MAX, ..geometry() },
    ] {
        assert!(matches!(Table::on_heap(bad), Err(AttachError::BadGeometry(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 64 }, ..ProptestConfig::default() })]
    #[test]
    fn damaged_words_never_cause_a_panic_or_an_endless_loop(
        damage in proptest::collection::vec((0usize..100_000, prop_oneof![any::<u64>(), 0u64..8, Just(u64::MAX)]), 1..200)
    ) {
        let table = table();
        let pool = table.define("app", &settings(), &[spec("a", 1, 100), spec("b", 2, 100)], 1).unwrap();
        let child = table.join(100, 1).unwrap();
        for (at, word) in damage {
            let keys = table.map.keys().iter().flat_map(|k| [&k.life, &k.place, &k.name, &k.url]);
            let members = table.map.members().iter().flat_map(|m| [&m.text, &m.status, &m.health]);
            let chunks = table.map.chunks().iter().flat_map(|c| [&c.owner, &c.link, &c.data[0], &c.data[1]]);
            let pools = table.map.pools().iter().flat_map(|p| [&p.life, &p.key, &p.name[0], &p.text, &p.wanted]);
            let children = table.map.children().iter().flat_map(|c| [&c.owner, &c.reapers[0]]);
            let scripts = table.map.scripts().iter().flat_map(|s| [&s.current, &s.claim, &s.size[0], &s.writer[1]]);
            let header = table.map.header();
            let header = [&header.lanes_used, &header.members_used, &header.pools_used, &header.chunk_hint, &header.leader];
            let cells: Vec<_> = keys.chain(members).chain(chunks).chain(pools).chain(children).chain(scripts)
                .chain(header).chain(table.map.lanes()).collect();
            cells[at % cells.len()].store(word, Relaxed);
        }
        table.read_pool(pool);
        table.begin(&child, 0, 0);
        table.inflight(0);
        let _ = table.define("app", &settings(), &[spec("c", 1, 100), spec("b", 2, 300)], 2);
        let _ = table.add(pool, &spec("d", 4, 100));
        let _ = table.remove(pool, "b");
        table.reap_dead(&alive);
        table.sweep();
        let _ = table.check();
        let _ = table.join(101, 1);
        table.lead(100, 1, 0, 1000, &alive);
        if let Some(row) = table.script_row(3) {
            table.read_script(row);
            table.claim_judgement(row, 9, 100, 0, &alive);
            let _ = table.publish_script(row, 100, 9, b"x");
        }
    }
}
