// SPDX-License-Identifier: Apache-2.0
//! The URL that a script returns for an ad-hoc target, taken apart: what stands encoded, and what
//! is still the decoded path of the request.

/// Its parts. Put together they are the URL, without a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'u> {
    /// Scheme, host and port, and the unix socket if there is one.
    pub base: &'u [u8],
    /// The path as far as it is encoded text: used as it stands.
    pub encoded: &'u [u8],
    /// The rest of the path: the text of the request's own path, which is decoded.
    pub decoded: &'u [u8],
    /// The query behind the `?`, when there is one.
    pub query: Option<&'u [u8]>,
}

impl Target<'_> {
    /// Neither path nor query: the request's own are meant.
    pub fn is_bare(&self) -> bool {
        self.encoded.is_empty() && self.decoded.is_empty() && self.query.is_none()
    }
}

/// Takes a URL apart; `uri` is the request's path as the script sees it, decoded. A URL that ends
/// in that very text has it as its decoded part, unless a `?` or `#` stands before it.
pub fn split<'u>(url: &'u [u8], uri: &[u8]) -> Target<'u> {
    let (base, rest) = url.split_at(path_start(url, b"/?#"));
    let is_mark = |byte: &u8| matches!(byte, b'?' | b'#');
    let head = rest.strip_suffix(uri).filter(|head| uri.starts_with(b"/") && !head.iter().any(is_mark));
    if let Some(encoded) = head {
        return Target { base, encoded, decoded: &rest[encoded.len()..], query: None };
    }
    let rest = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
    let mark = rest.iter().position(|byte| *byte == b'?');
    let (encoded, query) = mark.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    Target { base, encoded, decoded: b"", query }
}

/// Where the path begins (or the first of the marks). A unix socket's path stands before it.
pub fn path_start(url: &[u8], marks: &[u8]) -> usize {
    let find = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|window| window == part);
    let socket = if url.starts_with(b"unix:") { find(url, b"|").unwrap_or(0) } else { 0 };
    let host = find(&url[socket..], b"://").map_or(socket, |at| socket + at + 3);
    url[host..].iter().position(|byte| marks.contains(byte)).map_or(url.len(), |at| host + at)
}

/// An ad-hoc target as it is kept: its URL, then a name for TLS as `name=`, then the keys of its
/// connections, with a blank before each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelled<'t> {
    /// The URL alone.
    pub url: &'t str,
    /// The name that TLS asks for, where it is not the URL's.
    pub name: Option<&'t str>,
    keys: &'t str,
}

impl<'t> Spelled<'t> {
    /// The keys of its connections.
    pub fn keys(&self) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.keys.split(' ').filter_map(|word| word.split_once('='))
    }
}

/// Takes a kept target apart.
pub fn spelled(target: &str) -> Spelled<'_> {
    let (url, keys) = target.split_once(' ').unwrap_or((target, ""));
    let name = keys.strip_prefix("name=").map(|rest| rest.split(' ').next().unwrap_or_default());
    Spelled { url, name, keys }
}

/// A URL with the name that TLS asks for.
pub fn with_name(url: &str, name: Option<&str>) -> String {
    name.map_or_else(|| url.to_owned(), |name| format!("{url} name={name}"))
}

/// Whether a text may be the name that TLS asks for: that of a host, or an address.
pub fn is_tls_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=253).contains(&text.len()) && text.bytes().all(fits);
    is_name || text.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(url: &str, uri: &str) -> (String, String, String, Option<String>) {
        let target = split(url.as_bytes(), uri.as_bytes());
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        (text(target.base), text(target.encoded), text(target.decoded), target.query.map(text))
    }

    fn want(
        base: &str,
        encoded: &str,
        decoded: &str,
        query: Option<&str>,
    ) -> (String, String, String, Option<String>) {
        (base.into(), encoded.into(), decoded.into(), query.map(Into::into))
    }

    #[test]
    fn a_url_that_ends_in_the_requests_path_has_it_decoded() {
        let h = "http://h:1";
        for (url, uri, expected) in [
            ("http://h:1", "/x", want(h, "", "", None)),
            ("http://h:1/a b", "/a b", want(h, "", "/a b", None)),
            ("http://h:1/p%20q/a b", "/a b", want(h, "/p%20q", "/a b", None)),
            ("http://h:1/a?b", "/a?b", want(h, "", "/a?b", None)),
            ("http://h:1/a#b", "/a#b", want(h, "", "/a#b", None)),
            ("http://h:1/a%20b", "/a b", want(h, "/a%20b", "", None)),
            ("http://h:1/a%2520b?q=1", "/a%20b", want(h, "/a%2520b", "", Some("q=1"))),
            ("http://h:1/x?u=/x", "/x", want(h, "/x", "", Some("u=/x"))),
            ("http://h:1/y#/x", "/x", want(h, "/y", "", None)),
            ("http://h:1?q", "/x", want(h, "", "", Some("q"))),
            ("http://h:1/y?q#f", "/x", want(h, "/y", "", Some("q"))),
            ("http://h:1/", "/", want(h, "", "/", None)),
            ("http://h:1/x", "", want(h, "/x", "", None)),
            ("http://h:1/x*", "*", want(h, "/x*", "", None)),
        ] {
            assert_eq!(parts(url, uri), expected, "{url} for {uri}");
        }
        let socket = "unix:/run/a.sock|http://localhost";
        assert_eq!(parts(&format!("{socket}/a b"), "/a b"), want(socket, "", "/a b", None));
    }

    #[test]
    fn a_name_for_tls_and_the_times_stand_behind_the_url() {
        for (kept, url, name, times) in [
            ("https://10.0.0.1:443", "https://10.0.0.1:443", None, vec![]),
            ("https://h timeout=5", "https://h", None, vec![("timeout", "5")]),
            ("https://h name=a.b", "https://h", Some("a.b"), vec![]),
            ("https://h name=a.b timeout=5", "https://h", Some("a.b"), vec![("timeout", "5")]),
        ] {
            let found = spelled(kept);
            let behind: Vec<_> = found.keys().filter(|(key, _)| *key != "name").collect();
            assert_eq!((found.url, found.name, behind), (url, name, times), "{kept}");
            assert!(kept.starts_with(&with_name(url, name)));
        }
        assert!(["a", "a.example", "10.0.0.1", "::1", "_x-1"].into_iter().all(is_tls_name));
        let wrong = ["", "a b", "a\r\nb", "a timeout=1", "*.a", "ä.example", "a/b", "a:1", "a\0"];
        assert!(!wrong.into_iter().any(is_tls_name) && !is_tls_name(&"x".repeat(254)));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(url in "(http://h|unix:/s\\|http://h)[a/?#% ]{0,12}", uri in "[/a?#% ]{0,6}") {
            let target = split(url.as_bytes(), uri.as_bytes());
            let mut whole = [target.base, target.encoded, target.decoded].concat();
            if let Some(query) = target.query {
                whole.push(b'?');
                whole.extend_from_slice(query);
            }
            prop_assert!(url.as_bytes().starts_with(&whole));
            prop_assert!(whole.len() == url.len() || url.as_bytes()[whole.len()] == b'#');
        }
    }
}
