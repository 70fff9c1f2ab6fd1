// SPDX-License-Identifier: Apache-2.0
//! Mapping back what a member's answer says about itself: redirects, and the domains and paths of
//! cookies. Only what names a member, with its own path, is mapped. Everything is bytes: headers
//! need not be UTF-8.

use crate::url::MemberUrl;

/// How a pool's members are named.
#[derive(Debug, Clone)]
pub struct Names<'m> {
    members: Vec<Name<'m>>,
}

#[derive(Debug, Clone)]
struct Name<'m> {
    secure: bool,
    host: &'m str,
    port: u16,
    /// Its own path, without trailing slash.
    path: &'m str,
}

/// A path of the front and the path of the pool that it became, as the configuration says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathPair<'p> {
    /// As written, with the trailing slash if there is one. Empty: the path stayed as it was.
    pub front: &'p [u8],
    /// The same of the pool's URL.
    pub back: &'p [u8],
}

impl<'m> Names<'m> {
    /// The names of these members.
    pub fn new(members: impl Iterator<Item = &'m MemberUrl>) -> Self {
        let name = |url: &'m MemberUrl| Name {
            secure: matches!(&*url.scheme, "https" | "wss" | "h2"),
            host: &url.host,
            port: url.port,
            path: &url.path,
        };
        Names { members: members.map(name).collect() }
    }

    /// The rest of a URL behind the name and the own path of a member that it names; the shortest
    /// such rest.
    fn rest_of<'u>(&self, url: &'u [u8]) -> Option<&'u [u8]> {
        let (secure, rest) = scheme_of(url)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        let named = self.members.iter().filter(|member| {
            member.secure == secure
                && member.port == port
                && member.host.as_bytes().eq_ignore_ascii_case(host)
        });
        named.filter_map(|member| below(path, member.path.as_bytes())).min_by_key(|rest| rest.len())
    }
}

impl PathPair<'_> {
    /// The front's path for one of the pool, which may have a query; None when the pool's URL does
    /// not reach it.
    fn to_front(self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = below(path, self.back.strip_suffix(b"/").unwrap_or(self.back))?;
        if rest.starts_with(b"/") {
            let front = self.front.strip_suffix(b"/").unwrap_or(self.front);
            return Some([front, rest].concat());
        }
        let front = if self.front.is_empty() { b"/" } else { self.front };
        Some([front, rest].concat())
    }
}

/// The rest of a path behind a prefix that ends where a segment does.
fn below<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || matches!(rest.first(), Some(b'/' | b'?' | b'#'))).then_some(rest)
}

/// Whether it is https, and what comes behind `://`.
fn scheme_of(url: &[u8]) -> Option<(bool, &[u8])> {
    let begins = |scheme: &[u8]| {
        let head = url.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &url[scheme.len()..])
    };
    begins(b"https://").map(|rest| (true, rest)).or_else(|| begins(b"http://").map(|rest| (false, rest)))
}

fn split_port(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    if authority.contains(&b'@') {
        return None;
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']')?;
        (&rest[..end], &rest[end + 1..])
    } else {
        authority.split_at(authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len()))
    };
    match port.strip_prefix(b":") {
        // A colon with nothing behind it names no port.
        Some(b"") => Some((host, None)),
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            Some((host, Some(std::str::from_utf8(digits).ok()?.parse().ok()?)))
        }
        None if port.is_empty() => Some((host, None)),
        _ => None,
    }
}

/// The front's path for a Location that names a member. A path that the configured mapping does not
/// reach stays the path behind the member's own. None: it names no member, and is to be left alone.
pub fn map_location(names: &Names<'_>, mapping: PathPair<'_>, location: &[u8]) -> Option<Vec<u8>> {
    let rest = names.rest_of(location)?;
    let plain = || PathPair::default().to_front(rest);
    mapping.to_front(rest).or_else(plain)
}

/// The same for a line of `ProxyPassReverse`, which maps nothing else than what it names.
pub fn map_exactly(names: &Names<'_>, mapping: PathPair<'_>, location: &[u8]) -> Option<Vec<u8>> {
    mapping.to_front(names.rest_of(location)?)
}

/// A Set-Cookie line whose domain is a member's host, or whose path lies below a member's own path,
/// with the front's instead. None: leave it alone.
pub fn map_cookie(names: &Names<'_>, mapping: PathPair<'_>, cookie: &[u8], host: &[u8]) -> Option<Vec<u8>> {
    let mut changed = false;
    let mut out = Vec::with_capacity(cookie.len() + host.len());
    for (at, part) in cookie.split(|byte| *byte == b';').enumerate() {
        if at > 0 {
            out.push(b';');
        }
        match (at > 0).then(|| map_attribute(names, mapping, part, host)).flatten() {
            Some(mapped) => {
                changed = true;
                out.extend_from_slice(&mapped);
            }
            None => out.extend_from_slice(part),
        }
    }
    changed.then_some(out)
}

fn map_attribute(names: &Names<'_>, mapping: PathPair<'_>, part: &[u8], host: &[u8]) -> Option<Vec<u8>> {
    let at = part.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (part[..at].trim_ascii(), part[at + 1..].trim_ascii());
    if key.eq_ignore_ascii_case(b"domain") && !host.is_empty() {
        let own = value.strip_prefix(b".").unwrap_or(value);
        let is_member = names.members.iter().any(|member| member.host.as_bytes().eq_ignore_ascii_case(own));
        return is_member.then(|| [b" Domain=", host].concat());
    }
    if key.eq_ignore_ascii_case(b"path") {
        let own = names.members.iter().filter(|member| !member.path.is_empty());
        let rest =
            own.filter_map(|member| below(value, member.path.as_bytes())).min_by_key(|rest| rest.len())?;
        return Some([b" Path=".as_slice(), &mapping.to_front(rest)?].concat());
    }
    None
}

/// The rest of a path behind the prefix of a ProxyPass, as mod_proxy compares them: slashes stand
/// for one or more, and a prefix ends where a segment does. None: the prefix does not match.
pub fn behind_prefix<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    let slashes = |text: &[u8]| text.iter().take_while(|byte| **byte == b'/').count();
    let (mut path, mut prefix, mut ended) = (path, prefix, false);
    while let Some(byte) = prefix.first() {
        let (one, other) = match byte {
            b'/' => (slashes(prefix), slashes(path)),
            _ => (1, usize::from(path.first() == Some(byte))),
        };
        if other == 0 {
            return None;
        }
        (prefix, path, ended) = (&prefix[one..], &path[other..], *byte == b'/');
    }
    (ended || path.is_empty() || path.starts_with(b"/")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members() -> Vec<MemberUrl> {
        ["http://127.0.0.1:8081", "http://back.example", "http://inner.example/inner", "https://[::1]:8443/a"]
            .map(|url| url.parse().unwrap())
            .to_vec()
    }

    fn mapped(front: &str, back: &str, location: &[u8]) -> Option<String> {
        let members = members();
        let names = Names::new(members.iter());
        let mapping = PathPair { front: front.as_bytes(), back: back.as_bytes() };
        map_location(&names, mapping, location).map(|path| String::from_utf8_lossy(&path).into_owned())
    }

    #[test]
    fn a_location_that_names_a_member_becomes_the_fronts_path() {
        for (front, back, location, want) in [
            ("", "", "http://127.0.0.1:8081/login?a=1", "/login?a=1"),
            ("", "", "http://BACK.example/", "/"),
            ("", "", "HTTP://back.example:80", "/"),
            ("", "", "http://back.example:/x", "/x"),
            ("/app", "", "http://back.example", "/app"),
            ("/app", "", "http://back.example?x", "/app?x"),
            ("/app/", "/", "http://back.example", "/app/"),
            ("/app/", "/", "http://back.example/x", "/app/x"),
            ("/", "/", "http://back.example/x#f", "/x#f"),
            ("/app", "/path", "http://127.0.0.1:8081/path/new", "/app/new"),
            ("/app", "/path", "http://127.0.0.1:8081/path", "/app"),
            ("/app", "/path", "http://127.0.0.1:8081/pathological", "/pathological"),
            ("/app", "", "http://inner.example/inner/login", "/app/login"),
            ("/app", "/p", "http://inner.example/inner/p/login", "/app/login"),
            ("/app", "", "https://[::1]:8443/a/b", "/app/b"),
        ] {
            assert_eq!(mapped(front, back, location.as_bytes()).as_deref(), Some(want), "{location}");
        }
        let odd = mapped("/app", "", b"http://back.example/\xff\xe4").expect("bytes that are not UTF-8");
        assert!(odd.starts_with("/app/"), "{odd}");
    }

    #[test]
    fn other_locations_stay() {
        for location in [
            "http://127.0.0.1:8082/",
            "https://127.0.0.1:8081/",
            "http://u@127.0.0.1:8081/",
            "http://inner.example/",
            "http://inner.example/innermost",
            "http://back.example:80x/",
            "http://back.example:999999/",
            "http://[back.example/",
            "mailto:x",
            "//back.example/",
            "/path/new",
            "x",
            "",
        ] {
            assert_eq!(mapped("/app", "/path", location.as_bytes()), None, "{location}");
        }
    }

    #[test]
    fn a_line_of_proxypassreverse_maps_what_it_names_alone() {
        let members = members();
        let names = Names::new(members.iter());
        let mapping = PathPair { front: b"/app", back: b"/path" };
        let map = |location: &[u8]| map_exactly(&names, mapping, location);
        assert_eq!(map(b"http://back.example/path/x").as_deref(), Some(b"/app/x".as_slice()));
        assert_eq!(map(b"http://back.example/other"), None);
    }

    #[test]
    fn a_cookies_domain_and_path_are_mapped_and_nothing_else() {
        let members = members();
        let names = Names::new(members.iter());
        let mapping = PathPair { front: b"/app", back: b"" };
        let map = |cookie: &[u8]| map_cookie(&names, mapping, cookie, b"front.example");
        assert_eq!(
            map(b"a=domain=back.example; Path=/; domain=.back.example; Secure").as_deref(),
            Some(b"a=domain=back.example; Path=/; Domain=front.example; Secure".as_slice())
        );
        assert_eq!(
            map(b"a=\xff; path=/inner/x; HttpOnly").as_deref(),
            Some(b"a=\xff; Path=/app/x; HttpOnly".as_slice())
        );
        assert_eq!(map(b"a=1; domain=other.example; Path=/app"), None);
        assert_eq!(map(b"Path=/inner"), None);
    }

    #[test]
    fn a_prefix_matches_as_mod_proxys_does() {
        let behind = |path: &str, prefix: &str| {
            behind_prefix(path.as_bytes(), prefix.as_bytes())
                .map(|rest| String::from_utf8(rest.to_vec()).unwrap())
        };
        for (path, prefix, want) in [
            ("/app/x", "/app", Some("/x")),
            ("/app", "/app", Some("")),
            ("/apple", "/app", None),
            ("/app/x", "/app/", Some("x")),
            ("/app", "/app/", None),
            ("//app//x", "/app/", Some("x")),
            ("/x", "/", Some("x")),
            ("/", "/", Some("")),
            ("/ap", "/app", None),
        ] {
            assert_eq!(behind(path, prefix).as_deref(), want, "{path} {prefix}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_mapping(bytes in proptest::collection::vec(any::<u8>(), 0..60), tail in "[a-z/:@?#\\[\\].=; ]{0,30}") {
            let members = members();
            let names = Names::new(members.iter());
            let mapping = PathPair { front: b"/f/", back: b"/b" };
            for head in ["", "http://", "http://back.example", "https://[::1"] {
                let text = [head.as_bytes(), tail.as_bytes(), &bytes].concat();
                if let Some(path) = map_location(&names, mapping, &text) {
                    prop_assert!(path.starts_with(b"/"));
                }
                let _ = (map_cookie(&names, mapping, &text, b"f"), behind_prefix(&text, &bytes));
            }
        }
    }
}
