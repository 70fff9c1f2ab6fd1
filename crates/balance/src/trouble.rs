// SPDX-License-Identifier: Apache-2.0
//! The last error of a script, a dictionary or a child, as it is kept and shown.

use std::ops::Range;

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
/// [`Trouble::MOST`] characters of the text. Where a secret may end at two places, it is taken to
/// end at the later one: rather too much is hidden.
pub fn shown(text: &str) -> String {
    let text: String = text.chars().take(4 * Trouble::MOST).collect();
    let line = text.replace(char::is_control, " ");
    let mut spans = users(&line);
    spans.extend(values(&line));
    hidden(&line, spans)
}

/// A text with `***` in place of these spans. Spans that overlap are one.
fn hidden(text: &str, mut spans: Vec<Range<usize>>) -> String {
    spans.sort_by_key(|span| (span.start, span.end));
    let (mut out, mut shown_to) = (String::with_capacity(text.len()), 0);
    let mut spans = spans.into_iter().peekable();
    while let Some(mut span) = spans.next() {
        while let Some(next) = spans.next_if(|next| next.start <= span.end) {
            span.end = span.end.max(next.end);
        }
        out.push_str(&text[shown_to..span.start]);
        out.push_str(HIDDEN);
        shown_to = span.end;
    }
    out.push_str(&text[shown_to..]);
    out
}

const HIDDEN: &str = "***";

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'')
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+')
}

/// Where a value ends that begins with a text: at the first space, or if it is in quotes at the
/// first one behind the closing quote.
fn end_of(text: &str, quote: Option<char>) -> usize {
    let inside = quote.map_or(0, |quote| closing(text, quote).unwrap_or(text.len()));
    let rest = text.get(inside..).unwrap_or_default();
    inside + rest.find(char::is_whitespace).unwrap_or(rest.len())
}

/// The place of the first quote without a backslash before it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let is_it = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        is_it.then_some(at)
    })
}

/// `user:password` before the `@` of each URL. A password that is not encoded may hold a slash, a
/// quote, or another `@`.
fn users(text: &str) -> Vec<Range<usize>> {
    // JSON may have a backslash before each slash.
    const MARKS: [&str; 2] = ["//", "\\/\\/"];
    let marks = MARKS.iter().flat_map(|mark| text.match_indices(mark));
    let span = |(at, mark): (usize, &str)| {
        let scheme = text[..at].trim_end_matches(':').trim_end_matches(is_of_word);
        let quote = scheme.chars().next_back().filter(|c| is_quote(*c));
        let start = at + mark.len();
        let authority = &text[start..start + end_of(&text[start..], quote)];
        Some(start..start + authority.rfind('@')?)
    };
    marks.filter_map(span).collect()
}

/// The values of `secret=`, `password=` and their like, as httpd's lines, Lua and JSON write them.
fn values(text: &str) -> Vec<Range<usize>> {
    const KEYS: [&str; 3] = ["secret", "password", "passwd"];
    // Lower case of ASCII alone keeps every byte at its place.
    let lower = text.to_ascii_lowercase();
    let keys = KEYS.iter().flat_map(|key| lower.match_indices(key));
    let span = |(at, key): (usize, &str)| {
        let after = &text[at + key.len()..];
        let value = value_of(after)?;
        // `"secret=a b"`: the quotes are those of the whole word.
        let word = text[..at].trim_end_matches(is_of_word).chars().next_back();
        let is_whole = |quote: &char| is_quote(*quote) && !ends_with_quote(after, *quote);
        let end = match word.filter(is_whole) {
            Some(quote) => end_of(value, Some(quote)),
            None => end_of_value(value),
        };
        let start = text.len() - value.len();
        Some(start..start + value[..end].trim_end_matches([',', ';', ')', '}']).len())
    };
    keys.filter_map(span).collect()
}

/// Whether a key ends here with the quote that it has begun with.
fn ends_with_quote(after: &str, quote: char) -> bool {
    after.trim_start_matches(is_of_word).trim_start_matches('\\').starts_with(quote)
}

/// The value, and all behind it, of a key that ends where a text begins. None: it is only a word.
fn value_of(after: &str) -> Option<&str> {
    let key = after.trim_start_matches(is_of_word);
    let mark = key.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ']' | '\\'));
    let encoded = ["%3d", "%3D", "%3a", "%3A"].iter().find_map(|mark_| mark.strip_prefix(mark_));
    let value = encoded.or_else(|| mark.strip_prefix(['=', ':']))?;
    let is_before = |c: char| c.is_whitespace() || matches!(c, '=' | ':' | '>' | '{' | '(' | '\\');
    let mut value = value.trim_start_matches(is_before);
    while value.starts_with('[') && long_bracket(value).is_none() {
        value = value[1..].trim_start_matches(is_before);
    }
    Some(value)
}

fn end_of_value(value: &str) -> usize {
    if let Some(end) = long_bracket(value) {
        let rest = value.get(end..).unwrap_or_default();
        return end + end_of(rest, None);
    }
    match value.chars().next().filter(|c| is_quote(*c)) {
        Some(quote) => 1 + end_of(&value[1..], Some(quote)),
        None => end_of(value, None),
    }
}

/// Where a text of Lua's form `[==[…]==]` ends that a text begins with.
fn long_bracket(text: &str) -> Option<usize> {
    let level = text.strip_prefix('[')?;
    let signs = level.len() - level.trim_start_matches('=').len();
    level[signs..].starts_with('[').then(|| {
        let end = format!("]{}]", "=".repeat(signs));
        text.find(&end).map_or(text.len(), |at| at + end.len())
    })
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
    use proptest::prelude::*;

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
            (r#"secret="ab\"HIDE" weight=2"#, "secret=*** weight=2"),
            (r"secret='ab\'HIDE' weight=2", "secret=*** weight=2"),
            ("secret=ab,HIDE;x)y weight=2", "secret=*** weight=2"),
            (r#""secret=a HIDE" weight=2"#, "\"secret=*** weight=2"),
            (r#"secret="a"HIDE weight=2"#, "secret=*** weight=2"),
            (r#"{"secret":"a HIDE","x":1} y"#, "{\"secret\":***} y"),
            (r#"{ ["my_secret"] = [[a "HIDE]] }"#, "{ [\"my_secret\"] = *** }"),
            ("secret = [==[a ]] HIDE]==], x", "secret = ***, x"),
            ("secret == 'HIDE' x", "secret == *** x"),
            ("passwd => HIDE x", "passwd => *** x"),
            ("secret: { \"HIDE\" } x", "secret: { *** } x"),
            ("/x?secret%3DHIDE y", "/x?secret%3D*** y"),
            (r#"{\"secret\":\"a HIDE\"}"#, "{\\\"secret\\\":\\***}"),
            ("http://u:p/HIDE@h:80/x", "http://***@h:80/x"),
            ("http://u:p?HIDE#x@h", "http://***@h"),
            ("http://u:'HIDE\"|x@h", "http://***@h"),
            ("'http://u:p HIDE@h' x", "'http://***@h' x"),
            ("'http://u:p'HIDE@h' x", "'http://***@h' x"),
            ("x=//u:HIDE@h y", "x=//***@h y"),
            (r#""http:\/\/u:HIDE\/x@h""#, r#""http:\/\/***@h""#),
            ("\"http://h secret=a@HIDE\"", "\"http://***"),
            ("http://u:secret=a/HIDE@h", "http://***"),
        ] {
            assert_eq!(kept(text), wanted, "{text}");
        }
    }

    /// As a text in these quotes, for which and for backslashes it has backslashes.
    fn quoted(secret: &str, quote: char) -> String {
        let escaped = secret.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"));
        format!("{quote}{escaped}{quote}")
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_however_it_is_written(
            before in "[a-z \"',:/@=(\\[{]{0,12}",
            secret in "HIDE[ -~]{0,12}HIDE",
            after in "( [ -~]{0,12})?",
            key in prop::sample::select(vec!["secret", "SECRET", "password", "my_passwd", "secret-2"]),
        ) {
            let word: String = secret.chars().map(|c| if c == ' ' { '_' } else { c }).collect();
            let bracketed = secret.replace("]=]", "]-]");
            let inside = |quote: char, text: String| {
                let quoted = quoted(&text, quote);
                quoted[1..quoted.len() - 1].to_owned()
            };
            for written in [
                format!("{key}={word}"),
                format!("x, {key}: {word}"),
                format!("{key}={}", quoted(&secret, '"')),
                format!("{key} = {}", quoted(&secret, '\'')),
                format!(" {}", quoted(&format!("{key}={secret}"), '"')),
                format!(" {}", quoted(&format!("{key}={secret}"), '\'')),
                format!("{{\"{key}\":{}}}", quoted(&secret, '"')),
                format!("[\"{key}\"] = {}", quoted(&secret, '\'')),
                format!("{key} = [=[{bracketed}]=]"),
                format!("http://u:{word}@h/x"),
                format!("https://{word}@h"),
                format!("//u:x/{word}@h"),
                format!(" {}", quoted(&format!("http://u:{secret}@h/x"), '"')),
                format!(" {}", quoted(&format!("http://u:{secret}@h/x"), '\'')),
                inside('/', format!("http://u:{word}@h")).replace("\\\\", "\\"),
            ] {
                let text = format!("{before} {written}{after}");
                let found = shown(&text);
                prop_assert!(!found.contains("HIDE"), "{text}\n{found}");
                prop_assert_eq!(&shown(&found).contains("HIDE"), &false);
            }
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
