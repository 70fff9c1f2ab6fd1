// SPDX-License-Identifier: Apache-2.0
//! The fields of forms and query strings, as mod_lua's `parseargs` and `parsebody` take them.

use crate::strings::text::unescape;

type Pair = (Vec<u8>, Vec<u8>);

/// Pairs of a query string, unescaped. A key without `=` has the value `1`, as in mod_lua.
pub(crate) fn of_query(text: &[u8]) -> impl Iterator<Item = Pair> {
    fields(text).map(|field| match split(field, b"=") {
        Some((key, value)) => (unescape(key), unescape(value)),
        None => (unescape(field), b"1".to_vec()),
    })
}

/// Pairs of a posted form; none where the body is not a form.
pub(crate) fn of_body<'t>(kind: &[u8], body: &'t [u8]) -> Box<dyn Iterator<Item = Pair> + 't> {
    let is = |name: &[u8]| kind.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
    if is(b"application/x-www-form-urlencoded") {
        return Box::new(fields(body).filter_map(|field| {
            let (key, value) = split(field, b"=")?;
            Some((unescape(key), unescape(value)))
        }));
    }
    match boundary(kind).filter(|_| is(b"multipart/form-data")) {
        Some(boundary) => Box::new(Parts { rest: Some(body), boundary }),
        None => Box::new(std::iter::empty()),
    }
}

fn fields(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'&').filter(|field| !field.is_empty())
}

/// The line that stands before each part. At most 70 bytes may be one.
fn boundary(kind: &[u8]) -> Option<Vec<u8>> {
    let value = parameter(kind, b"boundary=")?;
    (1..=70).contains(&value.len()).then(|| [b"--", value].concat())
}

/// A parameter of a header, with quotes or without.
fn parameter<'t>(header: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let value = header.split(|byte| *byte == b';').skip(1).find_map(|parameter| {
        let parameter = parameter.trim_ascii();
        let (head, value) = parameter.split_at_checked(name.len())?;
        head.eq_ignore_ascii_case(name).then_some(value)
    })?;
    let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    Some(bare.unwrap_or(value))
}

/// The parts of a `multipart/form-data` body that have a name. One that does not end, as the body
/// was longer, is left out.
struct Parts<'t> {
    rest: Option<&'t [u8]>,
    boundary: Vec<u8>,
}

impl Iterator for Parts<'_> {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        loop {
            let (_, rest) = split(self.rest?, &self.boundary)?;
            self.rest = Some(rest);
            let (part, _) = split(rest, &[b"\r\n", self.boundary.as_slice()].concat())?;
            let Some((head, value)) = split(part, b"\r\n\r\n") else { continue };
            let name = head.split(|byte| *byte == b'\n').find_map(|line| {
                let (name, value) = split(line, b":")?;
                name.trim_ascii().eq_ignore_ascii_case(b"content-disposition").then_some(value)
            });
            if let Some(name) = name.and_then(|value| parameter(value, b"name=")) {
                return Some((name.to_vec(), value.to_vec()));
            }
        }
    }
}

/// The parts before and behind the first `mark`.
fn split<'t>(text: &'t [u8], mark: &[u8]) -> Option<(&'t [u8], &'t [u8])> {
    let at = match mark {
        [byte] => text.iter().position(|other| other == byte)?,
        _ => text.windows(mark.len()).position(|part| part == mark)?,
    };
    Some((&text[..at], &text[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use super::{of_body, of_query};

    fn shown(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> String {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        pairs.map(|(key, value)| format!("{}={};", text(key), text(value))).collect()
    }

    #[test]
    fn a_key_alone_is_1_in_a_query_and_nothing_in_a_form() {
        assert_eq!(shown(of_query(b"a&b=&=c&&d=x%20y+z")), "a=1;b=;=c;d=x y z;");
        let kind = b"Application/x-www-form-urlencoded; charset=utf-8";
        assert_eq!(shown(of_body(kind, b"a&b=&=c&&d=x%20y+z")), "b=;=c;d=x y z;");
    }

    #[test]
    fn a_body_that_is_no_form_says_nothing() {
        for kind in
            ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "text/plain"]
        {
            assert_eq!(shown(of_body(kind.as_bytes(), b"{\"a\":\"b=c&d=e\"}")), "", "{kind}");
        }
    }

    #[test]
    fn parts_of_a_form_are_its_pairs() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nhe\r\nllo\r\n--B\r\ncontent-disposition: \
            form-data; name=f; filename=\"x;y\"\r\nContent-Type: a/b\r\n\r\n\0z\r\n--B\r\nX: y\r\n\r\nnobody\r\n--B\r\n\
            Content-Disposition: form-data; name=\"cut\"\r\n\r\nwithout an end";
        for kind in ["multipart/form-data; boundary=B", "Multipart/Form-Data; charset=x; Boundary=\"B\""] {
            assert_eq!(shown(of_body(kind.as_bytes(), body)), "q=he\r\nllo;f=\0z;", "{kind}");
        }
        let many = b"--B\r\n".repeat(10_000);
        assert_eq!(shown(of_body(b"multipart/form-data; boundary=B", &many)), "");
    }
}
