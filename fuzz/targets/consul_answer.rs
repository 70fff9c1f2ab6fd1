// SPDX-License-Identifier: Apache-2.0
//! The bytes that come back for a service of Consul: members that can be kept, or one line that
//! says what is wrong.
#![no_main]

use balance::member::MemberSpec;
use discover::{ListingRules, consul_answer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (skip_invalid, data) = data.split_first().map_or((false, data), |(first, rest)| (first % 2 == 1, rest));
    match consul_answer::read(data, ListingRules { skip_invalid, max: 100, misfit: |_| None }) {
        Ok(listed) => {
            assert!(listed.members.len() <= 100);
            for spec in &listed.members {
                assert_eq!(MemberSpec::from_line(&spec.to_line()).as_ref(), Ok(&**spec));
            }
        }
        Err(problem) => assert!(!problem.contains(['\n', '\r', '\0'])),
    }
});
