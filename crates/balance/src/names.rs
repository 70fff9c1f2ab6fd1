// SPDX-License-Identifier: Apache-2.0
//! How pools and dictionaries may be called, wherever they are named.

/// Longest name, in bytes.
pub const MAX: usize = 63;

/// The form of a name, for messages.
pub const EXPECTED: &str = "1 to 63 letters, digits, '_', '-' or '.'";

/// Whether a pool or a dictionary may be called so.
pub fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=MAX).contains(&name.len()) && name.bytes().all(good) && !is_dots(name)
}

/// Whether a URL cannot have it as a part of its path: clients and servers take it for a step.
pub fn is_dots(name: &str) -> bool {
    name == "." || name == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "A-1_b.c", "9", "...", ".a", &"x".repeat(MAX)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ü", "a:b", "a\0", &"x".repeat(MAX + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
