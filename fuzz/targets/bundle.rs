// SPDX-License-Identifier: Apache-2.0
//! The bundles of scripts that children read in shared memory: whole, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use script::Bundle;

fuzz_target!(|data: &[u8]| {
    if let Ok(bundle) = Bundle::from_bytes(data) {
        let bytes = bundle.to_bytes();
        let again = Bundle::from_bytes(&bytes).expect("what was written is read");
        assert_eq!(again.to_bytes(), bytes);
    }
});
