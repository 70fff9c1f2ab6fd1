// SPDX-License-Identifier: Apache-2.0
//! A list of EndpointSlices and the events of a watch, a line each: members that can be kept, or
//! one line that says what is wrong.
#![no_main]

use balance::member::MemberSpec;
use discover::ListingRules;
use discover::endpoint_slices::Slices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (skip_invalid, data) = data.split_first().map_or((false, data), |(first, rest)| (first % 2 == 1, rest));
    let rules = ListingRules { skip_invalid, max: 100, misfit: |_| None };
    let mut slices = Slices::default();
    for (at, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let heard = if at == 0 { slices.page(line).map(|_| ()) } else { slices.event(line).map(|_| ()) };
        let found = heard.and_then(|()| slices.members(if at % 2 == 0 { "http" } else { "80" }, rules));
        match found {
            Ok(listed) => {
                assert!(listed.members.len() <= 100);
                for spec in &listed.members {
                    assert_eq!(MemberSpec::from_line(&spec.to_line()).as_ref(), Ok(&**spec));
                }
            }
            Err(problem) => assert!(!problem.contains(['\n', '\r', '\0'])),
        }
    }
});
