// SPDX-License-Identifier: Apache-2.0
//! Where a redirect leads, as long as it stays with the member.

/// Most redirects that one check follows.
pub(crate) const MAX_REDIRECTS: usize = 5;

/// The member itself, as an absolute `Location` names it.
pub(crate) struct Origin<'a> {
    pub(crate) https: bool,
    /// `host[:port]` as in the Host header.
    pub(crate) host: &'a str,
    /// `host:port` of the member.
    pub(crate) member: &'a str,
}

/// The path and query to ask for next (RFC 3986, section 5). Only the scheme of the check, with the
/// check's Host or the member's own address, is followed; Err says why not.
pub(crate) fn follow(location: &str, current: &str, origin: &Origin<'_>) -> Result<String, String> {
    let location = location.split('#').next().unwrap_or_default();
    let rest = match split_scheme(location) {
        Some((scheme, rest)) => {
            let ours = if origin.https { "https" } else { "http" };
            if !scheme.eq_ignore_ascii_case(ours) {
                return Err(leaves(location));
            }
            rest
        }
        None => location,
    };
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if !same_authority(authority, origin) {
                return Err(leaves(location));
            }
            if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
        }
        None => relative(rest, current),
    };
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path.as_str(), None),
    };
    let path = without_dots(path);
    Ok(query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")))
}

fn leaves(location: &str) -> String {
    format!("the redirect to \"{}\" leaves the member", net::printable(location, 100))
}

/// `http://x` → (`http`, `//x`); a colon in a relative path ends no scheme.
fn split_scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once(':')?;
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    named.then_some((scheme, rest))
}

fn same_authority(authority: &str, origin: &Origin<'_>) -> bool {
    let default = if origin.https { ":443" } else { ":80" };
    let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(origin.host) || bare(authority) == bare(origin.member)
}

fn relative(location: &str, current: &str) -> String {
    let base = current.split('?').next().unwrap_or("/");
    match location.chars().next() {
        None => current.to_owned(),
        Some('/') => location.to_owned(),
        Some('?') => format!("{base}{location}"),
        Some(_) => format!("{}/{location}", base.rsplit_once('/').map_or("", |(folder, _)| folder)),
    }
}

/// Resolves `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => {
                out.pop();
            }
            other => {
                out.push(other);
                continue;
            }
        }
        if last {
            out.push("");
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Origin<'_> = Origin { https: false, host: "app.example", member: "10.0.0.1:8080" };

    #[test]
    fn locations_that_stay_are_followed() {
        let table = [
            ("/b", "/b"),
            ("b", "/a/b"),
            ("../b?x=1", "/b?x=1"),
            ("../../../b", "/b"),
            ("./", "/a/"),
            ("..", "/"),
            ("?q", "/a/page?q"),
            ("", "/a/page?old"),
            ("#top", "/a/page?old"),
            ("http://app.example", "/"),
            ("HTTP://App.Example:80/b#x", "/b"),
            ("http://app.example?q", "/?q"),
            ("http://10.0.0.1:8080/b", "/b"),
            ("//app.example/b", "/b"),
            ("/b:c", "/b:c"),
        ];
        for (location, expected) in table {
            assert_eq!(follow(location, "/a/page?old", &HTTP).as_deref(), Ok(expected), "{location}");
        }
    }

    #[test]
    fn locations_that_leave_are_refused() {
        for location in [
            "http://other/",
            "https://app.example/",
            "http://app.example:8080/",
            "//other/b",
            "http://app.example@evil/",
            "ftp://app.example/",
            "mailto:a",
        ] {
            assert!(follow(location, "/", &HTTP).unwrap_err().contains("leaves the member"), "{location}");
        }
    }

    #[test]
    fn https_has_its_own_default_port() {
        let origin = Origin { https: true, host: "app.example", member: "[::1]:443" };
        assert_eq!(follow("https://app.example:443/x", "/", &origin).as_deref(), Ok("/x"));
        assert_eq!(follow("https://[::1]/x", "/", &origin).as_deref(), Ok("/x"));
        assert!(follow("http://app.example/x", "/", &origin).is_err());
    }
}
