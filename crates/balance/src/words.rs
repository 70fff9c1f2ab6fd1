// SPDX-License-Identifier: Apache-2.0
//! A directive's arguments as words, and back. As httpd splits them: words end at blanks, a word
//! may stand in `"…"` or `'…'`, a backslash there stands before the quote or another backslash.
//! Beyond httpd, `key="value with blanks"` is one word.

use crate::error::{ParseError, shown};

/// Blanks as C's isspace has them.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Whether a quote behind `=` counts when this text stands before it.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Splits arguments into words. Fails on a quote that is not closed, or that something follows.
pub fn split(args: &str) -> Result<Vec<String>, ParseError> {
    let mut words = Vec::new();
    let mut rest = args.trim_start_matches(|c: char| c.is_ascii() && is_blank(c as u8));
    while !rest.is_empty() {
        let mut word = String::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
    }
    Ok(words)
}

fn take_word<'a>(text: &'a str, word: &mut String) -> Result<&'a str, ParseError> {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|b| is_blank(*b)).unwrap_or(bytes.len());
    let mut start = 0;
    if let Some(equals) = text[..end].find('=').filter(|at| is_key(&text[..*at])) {
        start = equals + 1;
    }
    let quote = [start, 0].into_iter().find(|at| matches!(bytes.get(*at), Some(b'"' | b'\'')));
    let after = match quote {
        Some(at) => {
            word.push_str(&text[..at]);
            take_quoted(&text[at..], word)?
        }
        None => {
            unescape(&text[..end], word);
            &text[end..]
        }
    };
    match after.bytes().next() {
        Some(byte) if !is_blank(byte) => Err(ParseError::word(after, "a blank after the closing quote")),
        _ => Ok(after.trim_start_matches(|c: char| c.is_ascii() && is_blank(c as u8))),
    }
}

/// Takes `"…"`; returns what follows the closing quote.
fn take_quoted<'a>(text: &'a str, word: &mut String) -> Result<&'a str, ParseError> {
    let mut chars = text.char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok(&text[at + 1..]);
        }
        let next = text[at + c.len_utf8()..].chars().next();
        if c == '\\' && matches!(next, Some(n) if n == quote || n == '\\') {
            word.extend(next);
            chars.next();
        } else {
            word.push(c);
        }
    }
    Err(ParseError::Word { found: shown(text), expected: format!("a closing {quote}") })
}

/// Outside of quotes, two backslashes are one.
fn unescape(text: &str, word: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' {
            chars.next_if_eq(&'\\');
        }
        word.push(c);
    }
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn is_plain(text: &str) -> bool {
    !text.starts_with(['"', '\'']) && !text.bytes().any(|b| is_blank(b) || b == b'\\')
}

/// One word, quoted where [`split`] needs it to give the same word back.
pub fn quote(word: &str) -> String {
    if !word.is_empty() && is_plain(word) && !word.contains('=') {
        return word.to_owned();
    }
    let mut out = String::with_capacity(word.len() + 2);
    quoted(word, &mut out);
    out
}

/// `key=value`, the value quoted where [`split`] needs it. The key is of letters, digits, `_ . -`.
pub fn pair(key: &str, value: &str) -> String {
    let mut out = format!("{key}=");
    if is_plain(value) {
        out.push_str(value);
    } else {
        quoted(value, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_split_as_httpd_splits_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t ", &[]),
            ("a b  c", &["a", "b", "c"]),
            (r#""a b" c"#, &["a b", "c"]),
            (r#"'a "b' "it's""#, &[r#"a "b"#, "it's"]),
            (r#""a \"b\" \\ \n""#, &[r#"a "b" \ \n"#]),
            (r"a\\b \d", &[r"a\b", r"\d"]),
            (r#"key="a b" k2='c d'"#, &["key=a b", "k2=c d"]),
            (r#"it's a"b"#, &["it's", r#"a"b"#]),
            (r#"meta.x="" y="#, &["meta.x=", "y="]),
            (r#""key=a b""#, &["key=a b"]),
            ("é=ü ß", &["é=ü", "ß"]),
        ];
        for (args, words) in cases {
            assert_eq!(
                split(args).as_deref(),
                Ok(words.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice())
            );
        }
    }

    #[test]
    fn open_quotes_are_errors() {
        for args in ["\"a", "key=\"a b", "'", "\"a\"b", "k=\"a\"b"] {
            assert!(split(args).is_err(), "{args}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_split_into_the_same_words(words in proptest::collection::vec("[ -~é\t]{0,12}", 0..5)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split(&line.join(" ")), Ok(words));
        }

        #[test]
        fn pairs_split_into_themselves(key in "[a-z_.]{1,8}", value in "[ -~é\t]{0,12}") {
            prop_assert_eq!(split(&pair(&key, &value)), Ok(vec![format!("{key}={value}")]));
        }
    }
}
