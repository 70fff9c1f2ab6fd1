// SPDX-License-Identifier: Apache-2.0
//! The state file, which anybody may have written: refused, or a document that is written and read
//! again without a change, planned and applied. The input takes the place of a piece of a good file
//! (two bytes for where it begins, one for its length), and the checksum is made right.
#![no_main]

use std::sync::LazyLock;

use balance::member::MemberSpec;
use balance::memory::MemoryStore;
use balance::settings::PoolSettings;
use balance::store::Store;
use libfuzzer_sys::fuzz_target;
use statefile::{Ages, StartPlan, StartTime, WriteTime};

/// 2026-11-29T12:00:00Z.
const NOON: u64 = 1_795_953_600;
const SETTINGS: &str = "LuaBalancerHealthCheck agent\nLuaBalancerOutlier on failures=2";
const LINES: [&str; 3] = [
    "http://10.0.0.1:80 name=a weight=5 meta.version=1",
    "http://10.0.0.2:80 name=b",
    "http://10.0.0.3:80 name=c",
];

fn store() -> MemoryStore {
    static PARTS: LazyLock<(PoolSettings, Vec<MemberSpec>)> = LazyLock::new(|| {
        let specs = LINES.map(|line| MemberSpec::from_line(line).expect("a line"));
        (PoolSettings::from_text(SETTINGS).expect("settings"), specs.to_vec())
    });
    let store = MemoryStore::new();
    store.set_now_s(NOON);
    store.define("app", &PARTS.0, &PARTS.1, 1).expect("a pool");
    store
}

/// A file's text up to its checksum, with every key that there is.
const GOOD: &str = r#"{
  "format": 1,
  "written": "2026-11-29T12:00:00Z",
  "by": "mod_lua_balancer/0.1.0",
  "pools": [
    {
      "name": "app",
      "members": [
        {"name": "a", "url": "http://10.0.0.1", "overrides": {
            "admin": {"value": "drain", "configured": "ready"}, "weight": {"value": 2.5, "configured": 5},
            "max_inflight": {"value": 7, "configured": 0},
            "meta": {"value": {"version": "3"}, "configured": {"version": "1"}}},
          "order": {"at": "2026-11-29T11:00:00Z", "by": "alice", "from": "10.0.0.5",
            "until": "2026-11-29T12:30:00Z", "then": "disabled", "note": "deploy 42"}},
        {"name": "b", "url": "http://10.0.0.2", "health": {"down": true,
            "agent": {"maint": true, "drain": true, "percent": 50},
            "ejected": {"until": "2026-11-29T12:01:00Z", "times": 3}}},
        {"name": "x", "url": "http://10.0.0.9", "added": {
            "line": "http://10.0.0.9 name=x weight=4 zone=eu", "secret": "hush", "source": "api"},
          "overrides": {"weight": {"value": 1, "configured": 4, "by_script": true}}},
        {"name": "y", "url": "http://10.0.0.8", "overrides": {}, "unknown_since": "2026-11-29T11:00:00Z"}
      ]
    },
    {"name": "gone", "members": [{"name": "z", "url": "http://10.0.0.7", "order": {"note": "why"}}]}
  ]"#;

/// A good file with a piece of it replaced, and the checksum that it should have.
fn forged(data: &[u8]) -> Option<Vec<u8>> {
    let ([high, low, length], piece) = data.split_first_chunk()?;
    let from = usize::from(u16::from_be_bytes([*high, *low])) % GOOD.len();
    let to = (from + usize::from(*length)).min(GOOD.len());
    let mut text = [&GOOD.as_bytes()[..from], piece, &GOOD.as_bytes()[to..]].concat();
    let sum = crc32fast::hash(&text);
    text.extend_from_slice(format!(",\n  \"checksum\": \"crc32:{sum:08x}\"\n}}\n").as_bytes());
    Some(text)
}

fuzz_target!(|data: &[u8]| {
    let _ = statefile::read(data);
    let Some(text) = forged(data) else { return };
    let Ok(document) = statefile::read(&text) else { return };
    let again = statefile::write(&document);
    assert_eq!(statefile::read(again.as_bytes()).as_ref(), Ok(&document), "{again}");
    let _ = statefile::shown(&document);
    let ages = Ages { max_age_s: 604_800, health_age_s: 60 };
    let (store, start) = (store(), StartTime { now_s: NOON, ages });
    let pools = store.snapshot().pools;
    let plan = StartPlan::of(&document, &pools, &start);
    let left = statefile::left_over(&document, &pools, NOON, ages.max_age_s);
    statefile::apply(&store, &plan, WriteTime { now_s: NOON, now_ms: 1_000_000 });
    let after = store.snapshot().pools;
    assert!(after[0].members.len() >= LINES.len(), "no start removes a configured member");
    // The state that holds is kept again, in a file that the next start reads.
    let kept = statefile::compose(&after, WriteTime { now_s: NOON, now_ms: 1_000_000 }, "fuzz", &left);
    let text = statefile::write(&kept);
    assert!(statefile::read(text.as_bytes()).is_ok(), "{:?}\n{text}", statefile::read(text.as_bytes()));
});
