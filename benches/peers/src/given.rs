// SPDX-License-Identifier: Apache-2.0
//! The words of a benchmark's command line: `name=value`.

/// The value of a name.
pub fn word(name: &str) -> Option<String> {
    std::env::args().find_map(|arg| Some(arg.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// The same, as a number.
pub fn number(name: &str, default: u64) -> u64 {
    word(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}
