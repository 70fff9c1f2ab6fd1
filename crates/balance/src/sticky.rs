// SPDX-License-Identifier: Apache-2.0
//! Sessions as text: the values that a request's cookies and parameters hold, the routes that a
//! value may name, and the cookie that the module sets. Bytes, because that is what clients send.
//! Which member serves a route: [`crate::session`].

use std::borrow::Cow;

use crate::member::MAX_NAME;
use crate::settings::Sticky;

/// Most cookies of one name that are looked at. Browsers send a few when paths or domains differ.
const MOST_COOKIES: usize = 16;

/// The session parts that a client sent: both may be empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent<'a> {
    /// The request's target as it came: path and query.
    pub url: &'a [u8],
    /// The Cookie header.
    pub cookies: &'a [u8],
}

/// Where a session's value stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In a path or query parameter.
    Param,
    /// In a cookie.
    Cookie,
}

/// A route that a value may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The route.
    pub route: &'a [u8],
    /// Nothing but the route is there: `route` or `.route`, no session's identifier before it.
    pub bare: bool,
}

/// The values that may name a session, in mod_proxy_balancer's order: the URL's parameter, then
/// cookies.
pub fn values<'a>(sticky: &'a Sticky, client: Sent<'a>) -> impl Iterator<Item = (Source, &'a [u8])> {
    let param = sticky.param.as_deref().and_then(|name| url_param(client.url, name));
    let cookies = cookie_values(client.cookies, &sticky.cookie).take(MOST_COOKIES);
    let param = param.into_iter().map(|value| (Source::Param, value));
    param.chain(cookies.map(|value| (Source::Cookie, value)))
}

/// Every route that a session's value may name, the longest first: all of it, then what comes after
/// each dot. Routes may have dots of their own: the default one is an address.
pub fn named_routes(value: &[u8]) -> impl Iterator<Item = Named<'_>> {
    let first = value.len().saturating_sub(MAX_NAME);
    let starts = move |at: &usize| *at == 0 || value.get(at - 1) == Some(&b'.');
    (first..value.len()).filter(starts).filter_map(move |at| {
        let bare = at == 0 || (at == 1 && value.first() == Some(&b'.'));
        value.get(at..).map(|route| Named { route, bare })
    })
}

/// The route as mod_proxy_balancer reads it, member or not: what comes after the first dot.
pub fn claimed_route(value: &[u8]) -> Option<&[u8]> {
    let dot = value.iter().position(|byte| *byte == b'.')?;
    value.get(dot + 1..).filter(|route| !route.is_empty())
}

/// The value without `%XX`. None when there is none in it.
pub fn decoded(value: &[u8]) -> Option<Vec<u8>> {
    if !value.contains(&b'%') {
        return None;
    }
    let digit = |at: usize| value.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Some(out)
}

/// The values of the cookies of this name in a `Cookie` header that have one.
pub fn cookie_values<'a>(cookies: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    // mod_proxy_balancer takes a comma for the end of a cookie as well.
    cookies.split(|byte| matches!(byte, b';' | b',')).filter_map(move |part| {
        let (key, value) = pair(part)?;
        let value = value.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value);
        (key.trim_ascii() == name.as_bytes() && !value.is_empty()).then_some(value)
    })
}

/// A parameter of the path, or else of the query.
fn url_param<'a>(url: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let end = url.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(url.len());
    let (path, rest) = url.split_at_checked(end)?;
    let query = rest.strip_prefix(b"?").unwrap_or_default();
    path_param(path, name).or_else(|| query_param(query, name))
}

/// The value of a path parameter: `/app;name=value/more`.
pub fn path_param<'a>(path: &'a [u8], name: &str) -> Option<&'a [u8]> {
    path.split(|byte| *byte == b'/')
        .find_map(|segment| segment.split(|byte| *byte == b';').skip(1).find_map(|part| value_of(part, name)))
}

/// The value of a parameter of the query string (without its `?`).
pub fn query_param<'a>(args: &'a [u8], name: &str) -> Option<&'a [u8]> {
    args.split(|byte| matches!(byte, b'&' | b';')).find_map(|part| value_of(part, name))
}

/// The `Set-Cookie` value that binds a client to this route; `https` says how the client came. The
/// route stands after a dot, as mod_proxy_balancer wants it; bytes that no cookie may hold are
/// written as `%XX`.
pub fn set_cookie(sticky: &Sticky, route: &str, https: bool) -> String {
    let mut out = format!("{}=.{}; Path={}", sticky.cookie, encoded(route), sticky.path);
    if let Some(domain) = &sticky.domain {
        out.push_str("; Domain=");
        out.push_str(domain);
    }
    if let Some(ttl) = sticky.ttl_s {
        out.push_str(&format!("; Max-Age={ttl}"));
    }
    if sticky.secure.unwrap_or(https) {
        out.push_str("; Secure");
    }
    if sticky.httponly {
        out.push_str("; HttpOnly");
    }
    if !sticky.samesite.is_empty() {
        out.push_str("; SameSite=");
        out.push_str(&sticky.samesite);
    }
    out
}

/// Whether a `Set-Cookie` value is about the cookie of this name.
pub fn is_about(set_cookie: &[u8], name: &str) -> bool {
    let cookie = set_cookie.split(|byte| *byte == b';').next().unwrap_or_default();
    pair(cookie).is_some_and(|(key, _)| key.trim_ascii() == name.as_bytes())
}

/// RFC 6265's cookie-octets stay, `%` does not.
fn encoded(route: &str) -> Cow<'_, str> {
    let stays = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\%".contains(&byte);
    if route.bytes().all(stays) {
        return Cow::Borrowed(route);
    }
    let mut out = String::with_capacity(route.len() + 8);
    for byte in route.bytes() {
        match stays(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    Cow::Owned(out)
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn value_of<'a>(part: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (key, value) = pair(part)?;
    (key == name.as_bytes() && !value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: Option<&[u8]>) -> Option<&str> {
        value.map(|value| std::str::from_utf8(value).unwrap())
    }

    fn named(value: &str) -> Vec<(&str, bool)> {
        named_routes(value.as_bytes()).map(|n| (text(Some(n.route)).unwrap(), n.bare)).collect()
    }

    #[test]
    fn a_value_names_routes() {
        assert_eq!(named("r1"), [("r1", true)]);
        assert_eq!(named(".r1"), [(".r1", true), ("r1", true)]);
        assert_eq!(named("id.r1"), [("id.r1", true), ("r1", false)]);
        assert_eq!(named("s.10.1:80"), [("s.10.1:80", true), ("10.1:80", false), ("1:80", false)]);
        assert_eq!(named("a."), [("a.", true)]);
        assert_eq!(named(""), []);
    }

    #[test]
    fn an_endless_value_costs_no_more_than_the_longest_route() {
        let value = ".".repeat(100_000);
        assert_eq!(named_routes(value.as_bytes()).count(), MAX_NAME);
        assert!(named_routes(value.as_bytes()).all(|named| !named.bare));
        let value = format!("{}.r1", "x".repeat(100_000));
        assert_eq!(named(&value), [("r1", false)]);
    }

    #[test]
    fn a_claimed_route_comes_after_the_first_dot() {
        for (value, want) in
            [("id.r1", Some("r1")), (".a.b", Some("a.b")), ("r1", None), ("r1.", None), ("", None)]
        {
            assert_eq!(text(claimed_route(value.as_bytes())), want, "{value}");
        }
    }

    #[test]
    fn cookies() {
        for (header, want) in [
            ("LB=x.a", &["x.a"][..]),
            ("a=b; LB=x.a; c=d", &["x.a"]),
            ("a=b;LB = \"x.a\" ;c=d", &["x.a"]),
            ("a=b, LB=r", &["r"]),
            ("LB=; LB=r", &["r"]),
            ("LB=r; LB=s", &["r", "s"]),
            ("XLB=r; LBX=r; lb=r", &[]),
            ("a=LB=r", &[]),
            ("LB", &[]),
            ("LB=a=b", &["a=b"]),
            ("", &[]),
        ] {
            let found: Vec<_> =
                cookie_values(header.as_bytes(), "LB").map(|v| text(Some(v)).unwrap()).collect();
            assert_eq!(found, want, "{header}");
        }
        assert_eq!(cookie_values(b"\xff; LB=\xfe.a", "LB").next(), Some(&b"\xfe.a"[..]));
    }

    #[test]
    fn parameters() {
        for (url, want) in [
            ("/app;sid=x.a", Some("x.a")),
            ("/app;v=1;sid=x.a/more;z=1", Some("x.a")),
            ("/app;sid=x.a?sid=y", Some("x.a")),
            ("/app?sid=y", Some("y")),
            ("/sid=x/app", None),
            ("/app;xsid=r", None),
            ("/app;sid=", None),
            ("/app?a;sid=r", Some("r")),
            ("/app?b=c&sid=x.r&c", Some("x.r")),
            ("/app?asid=r", None),
            ("/app#?sid=r", None),
            ("", None),
        ] {
            assert_eq!(text(url_param(url.as_bytes(), "sid")), want, "{url}");
        }
    }

    #[test]
    fn the_url_comes_before_cookies_and_only_when_it_has_a_name() {
        let mut sticky = Sticky { cookie: "LB".into(), param: Some("sid".into()), ..Sticky::default() };
        let client = Sent { url: b"/a;sid=u", cookies: b"LB=c; LB=d" };
        let all =
            |sticky: &Sticky| values(sticky, client).map(|(_, value)| value.to_vec()).collect::<Vec<_>>();
        assert_eq!(all(&sticky), [b"u", b"c", b"d"]);
        sticky.param = None;
        assert_eq!(all(&sticky), [b"c", b"d"]);
        let many = "LB=x;".repeat(5000);
        assert_eq!(values(&sticky, Sent { url: b"/", cookies: many.as_bytes() }).count(), MOST_COOKIES);
    }

    #[test]
    fn the_cookie_has_what_the_directive_says() {
        let mut sticky = Sticky { cookie: "LB".into(), ..Sticky::default() };
        assert_eq!(set_cookie(&sticky, "a", false), "LB=.a; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set_cookie(&sticky, "a", true), "LB=.a; Path=/; Secure; HttpOnly; SameSite=Lax");
        sticky.domain = Some("example.org".into());
        assert_eq!(
            set_cookie(&sticky, "a", false),
            "LB=.a; Path=/; Domain=example.org; HttpOnly; SameSite=Lax"
        );
        sticky.domain = None;
        sticky.secure = Some(false);
        sticky.httponly = false;
        sticky.ttl_s = Some(60);
        assert_eq!(set_cookie(&sticky, "a", true), "LB=.a; Path=/; Max-Age=60; SameSite=Lax");
        assert!(set_cookie(&sticky, "a;b é\\%", true).starts_with("LB=.a%3Bb%20%C3%A9%5C%25; "));
        assert!(is_about(b"LB=x; Path=/", "LB") && is_about(b" LB =; Max-Age=0", "LB"));
        assert!(!is_about(b"LBX=x", "LB") && !is_about(b"a=b; LB=c", "LB") && !is_about(b"LB", "LB"));
    }

    proptest! {
        #[test]
        fn every_route_is_read_from_its_own_cookie(route in "\\PC{1,20}") {
            let sticky = Sticky { cookie: "LB".into(), ..Sticky::default() };
            let set = set_cookie(&sticky, &route, false);
            let cookie = set.split(';').next().unwrap();
            prop_assert!(cookie.bytes().all(|byte| byte.is_ascii_graphic()));
            let value = cookie_values(cookie.as_bytes(), "LB").next().unwrap();
            let plain = decoded(value).unwrap_or_else(|| value.to_vec());
            prop_assert!(named_routes(&plain).any(|n| n.route == route.as_bytes() && n.bare));
        }

        #[test]
        fn no_bytes_break_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let sticky = Sticky { cookie: "L".into(), param: Some("s".into()), ..Sticky::default() };
            for (_, value) in values(&sticky, Sent { url: &bytes, cookies: &bytes }) {
                prop_assert!(named_routes(value).count() <= MAX_NAME);
                let _ = (claimed_route(value), decoded(value));
            }
            let _ = is_about(&bytes, "L");
        }
    }
}
