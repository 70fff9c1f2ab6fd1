// SPDX-License-Identifier: Apache-2.0
//! Every document as it was looked at: `crates/control/src/tests/golden/`. `UPDATE_GOLDEN=1` writes
//! them anew, to be looked at again.

use std::path::Path;

use balance::counting::{AttemptEnd, Counters, Ending, RequestEnd};
use balance::history::CheckReport;
use balance::live::Latency;
use balance::store::{Store, Vitals};

use super::{Ask, Heap, house, text};

/// Compares a text with the file of that name.
#[track_caller]
pub(super) fn compare(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        std::fs::write(&path, found).expect("the file");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, known, "{}", path.display());
}

/// A house in which something has happened.
pub(super) fn busy() -> Heap {
    let house = house();
    let (a, b) = (house.slot("a"), house.slot("b"));
    house.store().set_inflight(a, 2);
    house.store().set_latency(a, Latency { ewma_ms: 12.345, stamp_ms: 1 });
    (0..5).for_each(|at| house.store().record(a, 1, at == 0, None));
    let check = house.store().read_pool(balance::api::PoolId(0)).and_then(|image| image.settings.health);
    let check = check.expect("checks");
    house.store().update_health(a, 1, |word| {
        balance::health::HealthState::from_bits(word).observe(true, &check).0.to_bits()
    });
    let detail = "status 200".to_owned();
    let report = CheckReport { at_s: super::NOON - 2, took_us: 3_210, due_ms: 1_003_100, detail };
    house.store().note_check(a, 1, &report);
    for took_us in [1_500, 3_000, 8_000, 40_000] {
        let (ending, answered) = (Ending::Ok, Some(200));
        let attempt = AttemptEnd { ending, answered, took_us, sent: 100, received: 1_000 };
        house.store().count_attempt(a, 1, &attempt);
        let request =
            RequestEnd { ending, took_us: took_us + 100, waited_us: None, retries: [0; 3], session: None };
        house.store().count_request(balance::api::PoolId(0), &request);
    }
    house.store().update_outlier(b, 1, |_| {
        let state = balance::outlier::OutlierState::default();
        let outlier = balance::settings::Outlier { failures: 1, ..Default::default() };
        state.failed(&outlier, Some(90_000), 1_000_000, true).0.to_bits()
    });
    let patch = r#"{"admin":"drain","until":"2026-11-29T13:00:00Z","note":"deploy 42","weight":3}"#;
    let response = Ask::new("PATCH", "/api/v1/pools/app/members/a")
        .body(patch)
        .handler(Some("alice"), super::on())
        .of(&house);
    assert_eq!(response.status, 200, "{}", text(&response));
    house.ask("POST", "/api/v1/pools/app/members", r#"{"url":"http://[::1]:9000","meta":{"x":"<b>"}}"#);
    house.decisions.replace(super::decisions::sampled());
    house
}

#[test]
fn every_document_is_as_it_was_looked_at() {
    let house = busy();
    for (path, name) in [
        ("/api/v1/", "links.json"),
        ("/api/v1/status", "status.json"),
        ("/api/v1/pools", "pools.json"),
        ("/api/v1/pools/app", "pool.json"),
        ("/api/v1/pools/app/members", "members.json"),
        ("/api/v1/pools/app/members/a", "member.json"),
        ("/api/v1/pools/app/members/a?fields=name,why.by,attempts.ok", "fields.json"),
        ("/api/v1/pools?state=draining&fields=pools.name,pools.members.name", "state.json"),
        ("/api/v1/pools/app/history", "history.json"),
        ("/api/v1/events", "events.json"),
        ("/api/v1/decisions", "decisions.json"),
        ("/api/v1/scripts", "scripts.json"),
        ("/api/v1/dicts", "dicts.json"),
        ("/api/v1/children", "children.json"),
        ("/health", "health.json"),
        ("/health?pool=app&min=1", "health_pool.json"),
    ] {
        let response = house.ask("GET", path, "");
        // As it is written, but for the line ends: the order of keys is a part of it.
        let mut spread = String::new();
        let mut depth = 0;
        let mut quoted = false;
        let whole = text(&response);
        let mut before = ' ';
        for c in whole.chars() {
            quoted ^= c == '"' && before != '\\';
            before = c;
            match c {
                '{' | '[' if !quoted => depth += 1,
                '}' | ']' if !quoted => depth -= 1,
                _ => {}
            }
            spread.push(c);
            if !quoted && (c == ',' && depth < 5 || c == '{' && depth < 4) {
                spread.push('\n');
            }
        }
        compare(name, &format!("{}\n", spread));
    }
}

#[test]
fn the_page_and_the_table_are_as_they_were_looked_at() {
    let house = busy();
    compare("page.html", &text(&house.ask("GET", "/", "")));
    let table = Ask::new("GET", "/").header("accept", "text/plain").of(&house);
    compare("table.txt", &text(&table));
}

#[test]
fn metrics_are_as_they_were_looked_at() {
    let house = busy();
    compare("metrics.txt", &text(&house.ask("GET", "/metrics", "")));
    let open = Ask::new("GET", "/metrics").header("accept", "application/openmetrics-text").of(&house);
    compare("openmetrics.txt", &text(&open));
}
