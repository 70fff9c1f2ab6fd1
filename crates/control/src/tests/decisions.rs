// SPDX-License-Identifier: Apache-2.0
//! Sampled decisions, and which of them are asked for.

use balance::counting::Ending;
use balance::sampled::{MOST_BYTES, SampledAttempt, SampledRequest};

use super::{NOON, house, refused};

/// A request that was served at the second attempt, one that found nobody, and one to a target.
pub(super) fn sampled() -> Vec<Vec<u8>> {
    let request = SampledRequest {
        at_ms: NOON * 1000 + 500,
        took_us: 21_000,
        status: 200,
        candidates: 2,
        pool: "app",
        member: "a",
        method: "least_connections",
        reason: "ok",
        path: "/cart/<b>",
    };
    let nobody = SampledRequest {
        took_us: 0,
        status: 503,
        candidates: 0,
        pool: "api",
        member: "",
        reason: "no member",
        ..request
    };
    let target =
        SampledRequest { pool: "", member: "http://10.0.0.9:80", method: "", status: 404, ..request };
    let attempt = |member, ending| SampledAttempt { member, ending };
    let all = [
        (request, vec![attempt("b", Ending::Connect), attempt("a", Ending::Ok)]),
        (nobody, vec![]),
        (target, vec![attempt("", Ending::Ok)]),
    ];
    all.map(|(request, attempts)| request.pack(&attempts, &mut [0; MOST_BYTES]).to_vec()).to_vec()
}

#[test]
fn decisions_are_found_by_pool_member_and_reason() {
    let house = house();
    house.decisions.replace(sampled());
    // Another version has written this.
    house.decisions.borrow_mut().push(vec![7; 40]);
    let paths = |query: &str| {
        let document = house.get(&format!("/api/v1/decisions{query}"));
        document["decisions"].as_array().expect("a list").len()
    };
    for (query, count) in [
        ("", 3),
        ("?pool=app", 1),
        ("?pool=APP", 1),
        ("?pool=nobodys", 0),
        ("?member=a", 1),
        ("?member=b", 1),
        ("?reason=no%20member", 1),
        ("?reason=ok&pool=api", 0),
    ] {
        assert_eq!(paths(query), count, "{query}");
    }
    refused(&house.ask("GET", "/api/v1/decisions?pool=a&pool=b", ""), 422, "pool");
}
