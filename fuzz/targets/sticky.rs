// SPDX-License-Identifier: Apache-2.0
//! Cookies, parameters and answers of others: what names a session, and what comes back as the
//! front's.
#![no_main]

use balance::reverse::{Names, PathPair, map_cookie, map_location};
use balance::settings::Sticky;
use balance::sticky::{Sent, claimed_route, decoded, is_about, named_routes, values};
use balance::url::MemberUrl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let half = data.len() / 2;
    let (url, cookies) = data.split_at(half);
    let mut settings = balance::settings::PoolSettings::default();
    let words: Vec<String> = ["cookie=id", "param=id"].map(str::to_owned).into();
    settings.set_directive("LuaBalancerSticky", &words).expect("good words");
    let Some(sticky): Option<&Sticky> = settings.sticky.as_ref() else { return };
    for (_, value) in values(sticky, Sent { url, cookies }) {
        for named in named_routes(value) {
            assert!(named.route.len() <= value.len());
        }
        let _ = (claimed_route(value), decoded(value));
    }
    let _ = is_about(data, "id");
    let member = MemberUrl::parse("http://10.0.0.1:8080/app").expect("a good URL");
    let names = Names::new([&member].into_iter());
    let pair = PathPair { front: url, back: cookies };
    for value in [data, url, cookies] {
        for mapped in [map_location(&names, pair, value), map_cookie(&names, pair, value, b"front.example")]
            .into_iter()
            .flatten()
        {
            let is_clean = |bytes: &[u8]| !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
            assert!(is_clean(&mapped) || !is_clean(value) || !is_clean(url), "{value:?} became {mapped:?}");
        }
    }
});
