// SPDX-License-Identifier: Apache-2.0
//! Texts of a server on their way to a terminal: nothing in them may steer it.

use serde_json::Value;

/// A text whose control characters, and those that turn the direction of writing, are spelled out.
pub fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        if steers(letter) { clean.extend(letter.escape_unicode()) } else { clean.push(letter) }
    }
    clean
}

/// As [`text`], of several lines.
pub fn lines(text: &str) -> String {
    text.split('\n').map(self::text).collect::<Vec<_>>().join("\n")
}

/// A document, all texts of which are clean.
pub fn value(document: &Value) -> Value {
    match document {
        Value::String(own) => Value::String(text(own)),
        Value::Array(list) => Value::Array(list.iter().map(value).collect()),
        Value::Object(keys) => {
            Value::Object(keys.iter().map(|(key, inner)| (text(key), value(inner))).collect())
        }
        other => other.clone(),
    }
}

/// Whether a character does something to a terminal instead of being shown.
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn nothing_reaches_a_terminal_that_steers_it() {
        assert_eq!(text("a\x1b[2J\r\u{9b}31m"), "a\\u{1b}[2J\\u{d}\\u{9b}31m");
        assert_eq!(text("\u{202e}drain\u{2066}"), "\\u{202e}drain\\u{2066}");
        assert_eq!(text("Größe 値 <b>"), "Größe 値 <b>");
    }
}
