// SPDX-License-Identifier: Apache-2.0
//! The last error of a script, a dictionary or a child, as it is kept and shown.

/// An error, with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When it happened: epoch seconds.
    pub at_s: u64,
    /// One line, at most [`Trouble::MOST`] bytes, without secrets.
    pub text: String,
}

impl Trouble {
    /// Bytes of a text at most.
    pub const MOST: usize = 464;

    /// An error that happened then. Line ends and control characters become spaces, passwords in
    /// URLs and values of `secret=` become `***`, and a text that is too long ends with dots.
    pub fn new(at_s: u64, text: &str) -> Self {
        Trouble { at_s, text: bounded(&shown(text)) }
    }
}

/// A text of a script or a member as one line that may be shown: line ends and control characters
/// become spaces, passwords in URLs and values of `secret=` become `***`. It has at most four times
/// [`Trouble::MOST`] characters of the text.
pub fn shown(text: &str) -> String {
    let text: String = text.chars().take(4 * Trouble::MOST).collect();
    let line = text.replace(char::is_control, " ");
    hide_values(&hide_users(&line))
}

/// Replaces `user:password` before the `@` of a URL.
fn hide_users(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '|');
        let authority = &after[..after.find(is_end).unwrap_or(after.len())];
        rest = match authority.rfind('@') {
            Some(end) => {
                out.push_str("***");
                &after[end..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    out
}

/// Replaces the values of `secret=`, `password=` and their like.
fn hide_values(text: &str) -> String {
    const KEYS: [&str; 3] = ["secret", "password", "passwd"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Lower case of ASCII alone keeps every byte at its place.
    while let Some((at, key)) = first_of(&rest.to_ascii_lowercase(), &KEYS) {
        let (before, after) = rest.split_at(at + key.len());
        out.push_str(before);
        let mark = after.trim_start_matches(['"', '\'', ']', ' ']);
        let Some(value) = mark.strip_prefix(['=', ':']) else {
            rest = after;
            continue;
        };
        out.push_str(&after[..after.len() - value.len()]);
        let start = value.trim_start();
        out.push_str(&value[..value.len() - start.len()]);
        rest = match start.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => start[1..].find(quote).map_or("", |end| &start[end + 2..]),
            None => &start[start.find([' ', ',', ';', ')', '}']).unwrap_or(start.len())..],
        };
        out.push_str("***");
    }
    out.push_str(rest);
    out
}

/// The first of these words in a text.
fn first_of<'k>(text: &str, words: &[&'k str]) -> Option<(usize, &'k str)> {
    words.iter().filter_map(|word| Some((text.find(word)?, *word))).min()
}

fn bounded(text: &str) -> String {
    const DOTS: &str = "…";
    if text.len() <= Trouble::MOST {
        return text.to_owned();
    }
    let room = Trouble::MOST - DOTS.len();
    let kept = (0..=room).rev().find_map(|end| text.get(..end));
    format!("{}{DOTS}", kept.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> String {
        Trouble::new(0, text).text
    }

    #[test]
    fn a_plain_message_stays_as_it_is() {
        for text in ["/etc/a.lua:7: boom", "http://a:80/x: refused, see a@b", "the secret is out", "", "ä…"]
        {
            assert_eq!(kept(text), text);
        }
    }

    #[test]
    fn secrets_are_hidden() {
        for (text, wanted) in [
            ("a.lua:1: http://u:p@h:80/x", "a.lua:1: http://***@h:80/x"),
            ("http://u:p@@h, https://v@i", "http://***@h, https://***@i"),
            ("url secret=abc weight=2", "url secret=*** weight=2"),
            ("{ secret = \"a b\", host = 1 }", "{ secret = ***, host = 1 }"),
            ("Password: x; secret='y", "Password: ***; secret=***"),
            ("secret=", "secret=***"),
            ("SECRET=a secret=b", "SECRET=*** secret=***"),
        ] {
            assert_eq!(kept(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        assert_eq!(kept("a\nb\tc\0d\u{85}e"), "a b c d e");
        for text in ["x".repeat(Trouble::MOST), "ä".repeat(Trouble::MOST), "x".repeat(1 << 20)] {
            let kept = kept(&text);
            assert!(kept.len() <= Trouble::MOST && kept.len() >= Trouble::MOST - 1, "{}", kept.len());
        }
    }
}
