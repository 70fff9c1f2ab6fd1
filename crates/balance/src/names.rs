// SPDX-License-Identifier: Apache-2.0
//! How pools and dictionaries may be called, wherever they are named.

/// Longest name, in bytes.
pub const MAX: usize = 63;

/// The form of a name, for messages.
pub const EXPECTED: &str = "1 to 63 letters, digits, '_', '-' or '.'";

/// Whether a pool or a dictionary may be called so.
pub fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=MAX).contains(&name.len()) && name.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "A-1_b.c", "9", &"x".repeat(MAX)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a:b", "a\0", &"x".repeat(MAX + 1)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
