//! Sessions: which route a request's cookie or parameter names, and the cookie that the module sets. Bytes, because
//! that is what clients send.

use crate::settings::Sticky;

/// The route in a session's value: what comes after the last dot, or all of it when it has none. Routes may have dots
/// of their own (the default one is an address); [`routes_of`] finds these too.
pub fn route_of(value: &[u8]) -> &[u8] {
    value.rsplit(|byte| *byte == b'.').next().unwrap_or(value)
}

/// Every route that a session's value may name, the longest first: all of it, then what comes after each dot.
pub fn routes_of(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let after_dots = value.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_dots).filter_map(|at| value.get(at..)).filter(|route| !route.is_empty())
}

/// The value of the cookie of this name in a `Cookie` header: of the first one that has a value.
pub fn session_value<'a>(cookies: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // mod_proxy_balancer takes a comma for the end of a cookie as well.
    cookies.split(|byte| matches!(byte, b';' | b',')).find_map(|part| {
        let (key, value) = pair(part)?;
        let value = value.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value);
        (key.trim_ascii() == name.as_bytes() && !value.is_empty()).then_some(value)
    })
}

/// The value of a path parameter: `/app;name=value/more`.
pub fn path_param<'a>(path: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(path);
    path.split(|byte| *byte == b'/')
        .find_map(|segment| segment.split(|byte| *byte == b';').skip(1).find_map(|part| value_of(part, name)))
}

/// The value of a parameter of the query string (without its `?`).
pub fn query_param<'a>(args: &'a [u8], name: &str) -> Option<&'a [u8]> {
    args.split(|byte| matches!(byte, b'&' | b';')).find_map(|part| value_of(part, name))
}

/// The `Set-Cookie` value that binds a client to this route; `https` says how the client came.
pub fn set_cookie(sticky: &Sticky, route: &str, https: bool) -> String {
    let mut out = format!("{}={route}; Path={}", sticky.cookie, sticky.path);
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

    fn text(value: Option<&[u8]>) -> Option<&str> {
        value.map(|value| std::str::from_utf8(value).unwrap())
    }

    #[test]
    fn routes() {
        for (value, want) in
            [("abc.r1", "r1"), ("r1", "r1"), (".r1", "r1"), ("a.b.c", "c"), ("a.", ""), ("", "")]
        {
            assert_eq!(route_of(value.as_bytes()), want.as_bytes(), "{value}");
        }
        let all: Vec<_> = routes_of(b"s.10.1:80").collect();
        assert_eq!(all, [&b"s.10.1:80"[..], b"10.1:80", b"1:80"]);
        assert_eq!(routes_of(b"").count(), 0);
    }

    #[test]
    fn cookies() {
        for (header, want) in [
            ("LB=x.a", Some("x.a")),
            ("a=b; LB=x.a; c=d", Some("x.a")),
            ("a=b;LB = \"x.a\" ;c=d", Some("x.a")),
            ("a=b, LB=r", Some("r")),
            ("LB=; LB=r", Some("r")),
            ("XLB=r; LBX=r; lb=r", None),
            ("a=LB=r", None),
            ("LB", None),
            ("LB=a=b", Some("a=b")),
            ("", None),
        ] {
            assert_eq!(text(session_value(header.as_bytes(), "LB")), want, "{header}");
        }
        assert_eq!(session_value(b"\xff; LB=\xfe.a", "LB"), Some(&b"\xfe.a"[..]));
    }

    #[test]
    fn parameters() {
        for (path, want) in [
            ("/app;sid=x.a", Some("x.a")),
            ("/app;v=1;sid=x.a/more;z=1", Some("x.a")),
            ("/app;sid=x.a?sid=y", Some("x.a")),
            ("/sid=x/app", None),
            ("/app;xsid=r", None),
            ("/app;sid=", None),
            ("/app?a;sid=r", None),
        ] {
            assert_eq!(text(path_param(path.as_bytes(), "sid")), want, "{path}");
        }
        for (args, want) in
            [("sid=r", Some("r")), ("a=b&sid=x.r&c", Some("x.r")), ("a;sid=r", Some("r")), ("asid=r", None)]
        {
            assert_eq!(text(query_param(args.as_bytes(), "sid")), want, "{args}");
        }
    }

    #[test]
    fn cookie_set() {
        let mut sticky = Sticky {
            cookie: "LB".into(),
            param: None,
            ttl_s: None,
            path: "/".into(),
            secure: None,
            httponly: true,
            samesite: "Lax".into(),
            force: false,
        };
        assert_eq!(set_cookie(&sticky, "a", false), "LB=a; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set_cookie(&sticky, "a", true), "LB=a; Path=/; Secure; HttpOnly; SameSite=Lax");
        sticky.secure = Some(false);
        sticky.httponly = false;
        sticky.ttl_s = Some(60);
        assert_eq!(set_cookie(&sticky, "a", true), "LB=a; Path=/; Max-Age=60; SameSite=Lax");
    }
}
