//! Texts for administrators. What a peer sent never gets into a log with control characters or at great length.

use std::error::Error;
use std::io;
use std::time::Duration;

/// Longest text taken from a peer or an error, in characters.
const LONGEST: usize = 200;

/// One line, no control characters, bounded.
pub fn clean(text: &str) -> String {
    let mut clean: String =
        text.trim().chars().take(LONGEST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        clean.push('…');
    }
    clean
}

/// `connection refused` rather than `Connection refused (os error 111)`.
pub fn io_error(error: &io::Error) -> String {
    let full = error.to_string();
    let text = full.split(" (os error ").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    clean(&first.into_iter().chain(chars).collect::<String>())
}

/// An error with its causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = match next.downcast_ref::<io::Error>() {
            Some(error) => io_error(error),
            None => next.to_string(),
        };
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = next.source();
    }
    clean(&text)
}

/// `2s`, `1500ms`.
pub fn duration(time: Duration) -> String {
    let millis = time.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// `200-399,418`.
pub fn ranges(ranges: &[(u16, u16)]) -> String {
    let words: Vec<String> = ranges
        .iter()
        .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(io_error(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(duration(Duration::from_secs(2)), "2s");
        assert_eq!(duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(ranges(&[(200, 399), (418, 418)]), "200-399,418");
        assert_eq!(clean("a\r\nb\u{1b}[0m "), "a??b?[0m");
        assert_eq!(clean(&"x".repeat(500)).chars().count(), LONGEST + 1);
    }
}
