//! Mapping back what a member's answer says about itself: redirects and cookie domains.

use crate::url::MemberUrl;

/// How a pool's members are named, and which path of the front became which path of the backend.
#[derive(Debug, Clone)]
pub struct Names {
    /// Scheme (http or https), host, port and base path.
    members: Vec<(String, String, u16)>,
    front_prefix: Vec<u8>,
    back_prefix: Vec<u8>,
}

impl Names {
    /// From the members' URLs and the paths of one request: as the client asked, and as the member was asked (both decoded or
    /// both encoded alike). Their longest common end, from a slash on, is what the mapping left alone.
    pub fn new<'m>(members: impl Iterator<Item = &'m MemberUrl>, front: &[u8], back: &[u8]) -> Self {
        let members = members.map(|url| (plain_scheme(&url.scheme), url.host.clone(), url.port)).collect();
        let same = front.iter().rev().zip(back.iter().rev()).take_while(|(a, b)| a == b).count();
        let tail = &front[front.len() - same..];
        // The common end has to begin at a slash, or the prefixes would end inside a name.
        let cut = tail.iter().position(|byte| *byte == b'/').map_or(0, |at| tail.len() - at);
        Names {
            members,
            front_prefix: front[..front.len() - cut].to_vec(),
            back_prefix: back[..back.len() - cut].to_vec(),
        }
    }

    fn names_member(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        self.members.iter().any(|(s, h, p)| s == scheme && h.eq_ignore_ascii_case(host) && *p == port)
    }

    fn to_front(&self, path: &[u8]) -> Vec<u8> {
        match path.strip_prefix(self.back_prefix.as_slice()) {
            Some(rest) if rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(b"?") => {
                [&self.front_prefix, rest].concat()
            }
            _ => path.to_vec(),
        }
    }
}

fn plain_scheme(scheme: &str) -> String {
    if matches!(scheme, "https" | "wss" | "h2") { "https".into() } else { "http".into() }
}

/// The front's path for a Location that names a member, or that is a path under a mapped prefix. None: leave it alone.
pub fn map_location(names: &Names, location: &[u8]) -> Option<Vec<u8>> {
    if location.starts_with(b"/") && !location.starts_with(b"//") {
        let mapped = names.to_front(location);
        return (mapped != location).then_some(mapped);
    }
    let text = std::str::from_utf8(location).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = split_port(authority)?;
    if !names.names_member(&scheme, host, port) {
        return None;
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some(names.to_front(path.as_bytes()))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    if authority.contains('@') {
        return None;
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => Some((host, None)),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

/// A Set-Cookie line whose domain is a member's host, with the front's host instead. None: leave it alone.
pub fn map_cookie(names: &Names, cookie: &[u8], front_host: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(cookie).ok()?;
    let front = std::str::from_utf8(front_host).ok().filter(|host| !host.is_empty())?;
    let mut changed = false;
    let parts: Vec<String> = text
        .split(';')
        .enumerate()
        .map(|(index, part)| {
            let trimmed = part.trim_start();
            let domain = trimmed
                .split_once('=')
                .filter(|(key, _)| index > 0 && key.trim().eq_ignore_ascii_case("domain"));
            match domain {
                Some((_, value))
                    if names.members.iter().any(|(_, host, _)| {
                        host.eq_ignore_ascii_case(value.trim().trim_start_matches('.'))
                    }) =>
                {
                    changed = true;
                    format!(" Domain={front}")
                }
                _ => part.to_owned(),
            }
        })
        .collect();
    changed.then(|| parts.join(";").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(host: &str, port: u16) -> MemberUrl {
        MemberUrl { scheme: "http".into(), host: host.into(), port, path: String::new(), socket: None }
    }

    fn mapped(front: &str, back: &str, location: &str) -> Option<String> {
        let members = [member("127.0.0.1", 8081), member("back.example", 80)];
        let names = Names::new(members.iter(), front.as_bytes(), back.as_bytes());
        map_location(&names, location.as_bytes()).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn a_location_that_names_a_member_becomes_the_fronts_path() {
        assert_eq!(mapped("/x", "/x", "http://127.0.0.1:8081/login?a=1").as_deref(), Some("/login?a=1"));
        assert_eq!(mapped("/x", "/x", "http://BACK.example/").as_deref(), Some("/"));
        assert_eq!(mapped("/x", "/x", "http://back.example").as_deref(), Some("/"));
        assert_eq!(
            mapped("/app/a/b", "/path/a/b", "http://127.0.0.1:8081/path/new").as_deref(),
            Some("/app/new")
        );
        assert_eq!(mapped("/app/a", "/path/a", "/path/new").as_deref(), Some("/app/new"));
    }

    #[test]
    fn other_locations_stay() {
        for location in [
            "http://127.0.0.1:8082/",
            "https://127.0.0.1:8081/",
            "http://u@127.0.0.1:8081/",
            "mailto:x",
            "//back.example/",
            "x",
        ] {
            assert_eq!(mapped("/x", "/x", location), None, "{location}");
        }
        assert_eq!(mapped("/app/a", "/path/a", "/pathological"), None);
    }

    #[test]
    fn a_cookies_domain_is_mapped_and_nothing_else() {
        let names = Names::new([member("back.example", 80)].iter(), b"/", b"/");
        let line = map_cookie(
            &names,
            b"a=domain=back.example; Path=/; domain=.back.example; Secure",
            b"front.example",
        );
        assert_eq!(
            line.as_deref(),
            Some(b"a=domain=back.example; Path=/; Domain=front.example; Secure".as_slice())
        );
        assert_eq!(map_cookie(&names, b"a=1; domain=other.example", b"front.example"), None);
    }
}
