// SPDX-License-Identifier: Apache-2.0
//! The rules on who may change something, and from which pages.

use std::net::IpAddr;

use crate::problem::Problem;
use crate::types::{Door, House, Request};

/// With `anonymous=on` the name that was asked for has to be this server's: a page of another name
/// could otherwise have made that name lead here.
pub(crate) fn host(request: &Request<'_>) -> Result<(), Problem> {
    let admin = &request.admin;
    if request.caller.door != Door::Handler || !admin.on || !admin.anonymous {
        return Ok(());
    }
    let host = request.header("host").map(|host| split_port(host).0);
    let host = host.map(|host| host.strip_suffix('.').unwrap_or(host));
    let is_own = |host: &&str| {
        host.eq_ignore_ascii_case("localhost")
            || is_address(host)
            || admin.names.iter().any(|name| fits(name.as_bytes(), host.as_bytes()))
    };
    if host.filter(|host| !host.is_empty()).filter(is_own).is_some() {
        return Ok(());
    }
    let detail = "the Host is neither ServerName nor ServerAlias, an address or localhost: \
                  LuaBalancerAdmin anonymous=on wants one of them";
    Err(Problem::new(421, detail))
}

/// A request that changes something, or looks like one.
pub(crate) fn change(request: &Request<'_>, house: &dyn House) -> Result<(), Problem> {
    if request.caller.door == Door::Socket {
        return Ok(());
    }
    if !request.admin.on {
        return Err(Problem::new(403, "changes are off here: LuaBalancerAdmin on allows them"));
    }
    if request.caller.user.is_none() && !request.admin.anonymous {
        let detail = "a change needs a user: let httpd ask for one (Require valid-user), \
                      or say LuaBalancerAdmin on anonymous=on";
        return Err(Problem::new(403, detail));
    }
    same_origin(request)?;
    let who = match (&request.caller.user, &request.caller.from) {
        (Some(user), _) => format!("user {user}"),
        (None, from) => format!("address {}", from.as_deref().unwrap_or_default()),
    };
    if !house.may_change(&who) {
        let detail = format!("more than {} changes a second", crate::rate::MOST);
        return Err(Problem::new(429, detail).with("Retry-After", "1"));
    }
    Ok(())
}

/// A request that changes nothing and makes the server work: everybody who may read may ask, but no
/// page of another site.
pub(crate) fn question(request: &Request<'_>) -> Result<(), Problem> {
    if request.caller.door == Door::Socket { Ok(()) } else { same_origin(request) }
}

/// Whether no page of another origin has sent this. Browsers say in `Sec-Fetch-Site` where a
/// request comes from, older ones in `Origin`; a client without either is not a browser.
pub(crate) fn same_origin(request: &Request<'_>) -> Result<(), Problem> {
    if is_allowed_origin(request) {
        return Ok(());
    }
    let mut sites = request.all("sec-fetch-site").peekable();
    if sites.peek().is_some() {
        return match sites.all(|site| matches!(site, "same-origin" | "none")) {
            true => Ok(()),
            false => Err(foreign("Sec-Fetch-Site says that the page is another site's")),
        };
    }
    let mut origins = request.all("origin").peekable();
    if origins.peek().is_none() {
        return Ok(());
    }
    let host = request.header("host").unwrap_or_default();
    match origins.all(|origin| names_host(origin, host)) {
        true => Ok(()),
        false => Err(foreign("Origin names another host than Host")),
    }
}

fn foreign(what: &str) -> Problem {
    Problem::new(403, format!("{what}: changes are taken from this server's own pages"))
}

/// The origin that `origin=` names.
pub(crate) fn is_allowed_origin(request: &Request<'_>) -> bool {
    let allowed = request.admin.origin.as_deref();
    allowed.is_some() && request.caller.door == Door::Handler && request.header("origin") == allowed
}

/// Whether an `Origin` is of the host and port that `Host` names. The scheme does not count: TLS
/// may end in front of this server.
fn names_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let plain = |text| {
        let (name, port) = split_port(text);
        (name, port.filter(|port| *port != default))
    };
    let ((name, port), (own, own_port)) = (plain(authority), plain(host));
    !own.is_empty() && name.eq_ignore_ascii_case(own) && port == own_port
}

/// `[::1]:80` and `name:80` as name and port.
fn split_port(host: &str) -> (&str, Option<&str>) {
    let end = if host.starts_with('[') { host.find(']').map(|at| at + 1) } else { host.find(':') };
    match end {
        Some(end) if end < host.len() => (&host[..end], host[end..].strip_prefix(':')),
        _ => (host, None),
    }
}

fn is_address(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

/// Whether a name fits one that may have `*` and `?`, as ServerAlias does.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where the last star stands, and what it has taken so far.
    let mut star = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[seen]) => {
                (at, seen) = (at + 1, seen + 1);
            }
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    (at, seen) = (*place + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_may_have_wildcards() {
        for (pattern, name, fit) in [
            ("lb.example.org", "LB.example.ORG", true),
            ("lb.example.org", "lb.example.org.evil", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("l?.example.org", "lb.example.org", true),
            ("l?", "l", false),
            ("*", "", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn an_origin_names_the_host_whatever_the_scheme() {
        for (origin, host, same) in [
            ("http://lb:8080", "lb:8080", true),
            ("https://LB", "lb", true),
            ("https://lb", "lb:443", true),
            ("https://lb:443", "lb", true),
            ("http://lb:80", "lb", true),
            ("https://lb:80", "lb", false),
            ("http://lb", "lb:8080", false),
            ("http://lb.evil", "lb", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://[::1]", "[::1]", true),
            ("null", "lb", false),
            ("", "", false),
            ("http://", "", false),
            ("ftp://lb", "lb", false),
            ("http://lb@evil", "lb", false),
        ] {
            assert_eq!(names_host(origin, host), same, "{origin} {host}");
        }
    }

    #[test]
    fn addresses_are_addresses() {
        for (host, is) in [
            ("127.0.0.1", true),
            ("[::1]", true),
            ("::1", false),
            ("[127.0.0.1]", false),
            ("127.0.0.1.evil", false),
            ("1", false),
        ] {
            assert_eq!(is_address(host), is, "{host}");
        }
    }
}
