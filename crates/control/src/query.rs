// SPDX-License-Identifier: Apache-2.0
//! Percent-encoding, and the query.

use std::fmt::Write;

use crate::problem::{Problem, shown};

/// A piece of a path, decoded.
pub(crate) fn decoded(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::new(400, format!("{}: no percent-encoded UTF-8", shown(text)));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| plain).ok_or_else(wrong)?);
        rest = &rest[2..];
    }
    let decoded = String::from_utf8(bytes).map_err(|_| wrong())?;
    if decoded.chars().any(char::is_control) {
        return Err(Problem::new(400, format!("{}: control characters", shown(text))));
    }
    Ok(decoded)
}

/// A piece of a path, encoded.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The parameters behind the `?`.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(&key.replace('+', " "))?, decoded(&value.replace('+', " "))?))
        });
        pairs.collect::<Result<_, _>>().map(Query)
    }

    /// A parameter's value, once.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut all = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = all.next();
        match all.next() {
            None => Ok(first),
            Some(second) => Err(Problem::value(name, second, "the parameter once")),
        }
    }

    /// A parameter that is 1 or 0.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name)? {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(other) => Err(Problem::value(name, other, "1 or 0")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_text_is_decoded_again() {
        for text in ["a", "a b", "[::1]:80", "a/b", "ü%", "~@-._"] {
            assert_eq!(decoded(&encoded(text)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn broken_codings_and_control_characters_are_refused() {
        for text in ["%", "%1", "%zz", "%+1", "%ff", "%00", "a%0ab", "%c3", "%7f", "%ü"] {
            assert_eq!(decoded(text).map_err(|problem| problem.status), Err(400), "{text}");
        }
    }

    #[test]
    fn parameters_stand_once() {
        let query = |text| Query::parse(Some(text)).map_err(|problem| problem.status);
        let all = query("a=1&b=x+y%20z&&c&a=2");
        let get = |name| all.as_ref().map(|all| all.get(name).map_err(|problem| problem.status));
        assert_eq!(get("b"), Ok(Ok(Some("x y z"))));
        assert_eq!(get("c"), Ok(Ok(Some(""))));
        assert_eq!(get("d"), Ok(Ok(None)));
        assert_eq!(get("a"), Ok(Err(422)));
        assert!(matches!(query("a=%zz"), Err(400)));
    }
}
