// SPDX-License-Identifier: Apache-2.0
//! The answers of an etcd: a range and the lines of a watch make a copy of its keys, and that one a
//! list of members; or one line says what is wrong.
#![no_main]

use balance::member::MemberSpec;
use discover::{KnownEntries, ListingRules};
use etcd::{Copied, KeyCopy};
use libfuzzer_sys::fuzz_target;

const LIMITS: (usize, usize) = (200, 4096);

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let range = match lines.next().map(etcd::read_range) {
        Some(Ok(range)) => range,
        Some(Err(why)) => return is_one_line(&why),
        None => return,
    };
    let mut copy = match KeyCopy::of("/p/", range, LIMITS) {
        Ok(copy) => copy,
        Err(why) => return is_one_line(&why),
    };
    for line in lines {
        let before = copy.revision();
        match etcd::read_watch(line).map(|answer| copy.take(answer)) {
            Ok(Copied::Same | Copied::Changed) => {}
            Ok(Copied::Again(why)) | Err(why) => return is_one_line(&why),
        }
        assert!(copy.revision() >= before);
    }
    assert!(copy.iter().count() <= LIMITS.0);
    assert!(copy.iter().map(|(name, _, value)| name.len() + value.len()).sum::<usize>() <= LIMITS.1);
    let keys = copy.iter().map(|(name, _, value)| (name, value));
    match discover::read_keys(keys, ListingRules { skip_invalid: true, max: 100, misfit: |_| None }, &mut KnownEntries::default()) {
        Ok(listed) => {
            is_one_line(&listed.first_skipped);
            for spec in &listed.members {
                assert_eq!(MemberSpec::from_line(&spec.to_line()).as_ref(), Ok(&**spec));
            }
        }
        Err(problem) => is_one_line(&problem.to_string()),
    }
});

fn is_one_line(why: &str) {
    assert!(!why.contains(['\n', '\r', '\0']), "{why:?}");
}
