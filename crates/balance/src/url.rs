// SPDX-License-Identifier: Apache-2.0
//! Member URLs.

use std::borrow::Cow;
use std::fmt;

use crate::abilities;
use crate::error::{ParseError, shown};

/// Longest member name, in bytes.
pub const MAX_MEMBER_NAME: usize = 63;
/// Longest path of a unix socket, in bytes: mod_proxy's limit of 96 counts the end mark.
pub const MAX_SOCKET: usize = 95;
/// Longest host name, in bytes.
pub const MAX_HOST: usize = 253;

/// Schemes that members may have, with their default ports.
pub const SCHEMES: [(&str, u16); 10] = [
    ("http", 80),
    ("https", 443),
    ("h2", 443),
    ("h2c", 80),
    ("ajp", 8009),
    ("fcgi", 8000),
    ("scgi", 4000),
    ("uwsgi", 3031),
    ("ws", 80),
    ("wss", 443),
];

/// Where a member is. Printed by `Display` in mod_proxy's normal form: lower-case scheme and host,
/// no port that is the scheme's default, no trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MemberUrl {
    /// `http https h2 h2c ajp fcgi scgi uwsgi ws wss`.
    pub scheme: String,
    /// Host name or address, lower case; IPv6 without brackets.
    pub host: String,
    /// The port, the scheme's default when none was written.
    pub port: u16,
    /// Path that comes before the request's, without trailing slash; empty for none.
    pub path: String,
    /// Path of a unix socket: `unix:/sock|http://localhost`.
    pub socket: Option<String>,
}

/// httpd's modules that can talk to a scheme's backends: any one of them is enough.
pub fn modules_of(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "http" | "https" => &["mod_proxy_http"],
        "ws" | "wss" => abilities::declared().websocket_modules(),
        "h2" | "h2c" => &["mod_proxy_http2"],
        "ajp" => &["mod_proxy_ajp"],
        "fcgi" => &["mod_proxy_fcgi"],
        "scgi" => &["mod_proxy_scgi"],
        "uwsgi" => &["mod_proxy_uwsgi"],
        _ => &[],
    }
}

/// The port of a scheme when none is written.
pub fn default_port(scheme: &str) -> Option<u16> {
    SCHEMES.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port)
}

impl MemberUrl {
    /// Reads a URL as BalancerMember takes it. Fails on an unknown scheme, an empty host, a user, a
    /// query, a fragment, control characters and blanks, a port that is 0 or too large, more bytes
    /// than [`longest_url`](abilities::Abilities::longest_url), a socket path that is not absolute,
    /// has `..` in it or is longer than [`MAX_SOCKET`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|why| ParseError::Url { found: shown(&without_user(text)), why })
    }

    /// Without the socket: what httpd's `proxy:` file names and its Host header start from.
    pub fn base(&self) -> String {
        let mut out = String::with_capacity(abilities::NEWEST.longest_url);
        // Writing into a String cannot fail.
        let _ = self.write_base(&mut out);
        out
    }

    /// `host:port`, always with the port, IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A member's name when it has no other: `host:port`, with the end of the host left out where
    /// it is too long. Several members of a pool may have the same, see
    /// [`crate::member::MemberSpec::parse_beside`].
    pub fn default_name(&self) -> String {
        let whole = self.authority();
        if whole.len() <= MAX_MEMBER_NAME {
            return whole;
        }
        let port = format!(":{}", self.port);
        format!("{}{port}", &self.host[..MAX_MEMBER_NAME - port.len()])
    }

    /// Whether TLS is spoken there.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "wss" | "h2")
    }

    /// Whether a check of kind `http` or `https` can ask there at all.
    pub fn speaks_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https" | "ws" | "wss" | "h2" | "h2c")
    }

    fn write_base(&self, out: &mut impl fmt::Write) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "{}://[{}]", self.scheme, self.host)?;
        } else {
            write!(out, "{}://{}", self.scheme, self.host)?;
        }
        // mod_proxy does not know uwsgi's port.
        if default_port(&self.scheme) != Some(self.port) || self.scheme == "uwsgi" {
            write!(out, ":{}", self.port)?;
        }
        out.write_str(&self.path)
    }
}

impl fmt::Display for MemberUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            write!(f, "unix:{socket}|")?;
        }
        self.write_base(f)
    }
}

impl std::str::FromStr for MemberUrl {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        MemberUrl::parse(text)
    }
}

/// A URL as it may be repeated: without the user and password that it may have. A password that is
/// not encoded may hold a slash.
fn without_user(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find("//").map(|at| at + 2) else { return text.into() };
    match text[start..].rfind('@') {
        Some(at) => format!("{}…{}", &text[..start], &text[start + at..]).into(),
        None => text.into(),
    }
}

fn parse(text: &str) -> Result<MemberUrl, String> {
    abilities::declared().check_length(text.len())?;
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("expected no blanks and no control characters".into());
    }
    let (socket, rest) = match strip_prefix_ignore_case(text, "unix:") {
        Some(rest) => {
            let (socket, rest) =
                rest.split_once('|').ok_or("expected unix:/path/of.sock|http://localhost")?;
            (Some(check_socket(socket)?), rest)
        }
        None => (None, text),
    };
    let (scheme, rest) = match (rest.split_once("://"), &socket) {
        (Some(parts), _) => parts,
        // As mod_proxy has it: behind a socket, the host may be left out with its slashes.
        (None, Some(_)) => {
            let (scheme, path) = rest.split_once(':').ok_or("expected a scheme after the |")?;
            if !path.is_empty() && !path.starts_with('/') {
                return Err("expected http: or http://localhost after the |".into());
            }
            (scheme, path)
        }
        (None, None) => return Err("expected scheme://host".into()),
    };
    let scheme = scheme.to_ascii_lowercase();
    let default = default_port(&scheme).ok_or_else(|| {
        let names: Vec<&str> = SCHEMES.iter().map(|(name, _)| *name).collect();
        format!("unknown scheme {}: expected one of {}", shown(&scheme), names.join(" "))
    })?;
    if rest.contains(['?', '#']) {
        return Err("expected no query and no fragment".into());
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match (authority, &socket) {
        ("", Some(_)) => ("localhost".to_owned(), None),
        _ => parse_authority(authority)?,
    };
    let url = MemberUrl {
        scheme,
        host,
        port: port.unwrap_or(default),
        path: path.trim_end_matches('/').to_owned(),
        socket,
    };
    abilities::declared().check_length(url.to_string().len())?;
    Ok(url)
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn check_socket(path: &str) -> Result<String, String> {
    if !path.starts_with('/') || path.len() < 2 {
        return Err(
            "expected the absolute path of a unix socket, as in unix:/run/app.sock|http://localhost".into()
        );
    }
    if path.split('/').any(|piece| piece == "..") {
        return Err("expected the path of a unix socket without .. in it".into());
    }
    if path.len() > MAX_SOCKET {
        return Err(format!("expected a socket path of at most {MAX_SOCKET} bytes, found {}", path.len()));
    }
    Ok(path.to_owned())
}

fn parse_authority(authority: &str) -> Result<(String, Option<u16>), String> {
    if authority.contains('@') {
        return Err("expected no user name or password".into());
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("expected ] after an IPv6 address")?;
        host.parse::<std::net::Ipv6Addr>()
            .map_err(|_| "expected an IPv6 address in the brackets".to_owned())?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("expected : or / after an IPv6 address".into()),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        check_host(host)?;
        (host, port)
    };
    Ok((host.to_ascii_lowercase(), port.map(parse_port).transpose()?))
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("expected a host name or address".into());
    }
    if host.len() > MAX_HOST {
        return Err(format!("expected a host of at most {MAX_HOST} bytes, found {}", host.len()));
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(format!("expected letters, digits, dots and dashes as the host, found {}", shown(host)));
    }
    Ok(())
}

fn parse_port(text: &str) -> Result<u16, String> {
    let port = crate::units::digits_only(text).filter(|port| (1..=65535).contains(port));
    port.map(|port| port as u16)
        .ok_or_else(|| format!("expected a port of 1 to 65535, found {}", shown(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_printed_in_normal_form() {
        let cases = [
            ("HTTP://Example.COM:80/", "http://example.com", 80),
            ("http://h:8080/a/b/", "http://h:8080/a/b", 8080),
            ("https://h", "https://h", 443),
            ("h2://h", "h2://h", 443),
            ("h2c://h", "h2c://h", 80),
            ("ajp://h", "ajp://h", 8009),
            ("fcgi://h", "fcgi://h", 8000),
            ("scgi://h", "scgi://h", 4000),
            ("uwsgi://h", "uwsgi://h:3031", 3031),
            ("ws://h", "ws://h", 80),
            ("wss://h:443/x", "wss://h/x", 443),
            ("http://[::1]:8080/x", "http://[::1]:8080/x", 8080),
            ("http://[FE80::A]", "http://[fe80::a]", 80),
            ("unix:/run/a.sock|http://localhost/", "unix:/run/a.sock|http://localhost", 80),
            ("UNIX:/s|fcgi://Localhost/app", "unix:/s|fcgi://localhost/app", 8000),
            ("unix:/s|http:", "unix:/s|http://localhost", 80),
            ("unix:/s|http://", "unix:/s|http://localhost", 80),
            ("unix:/s|http:/app", "unix:/s|http://localhost/app", 80),
            ("unix:/s|http:///app", "unix:/s|http://localhost/app", 80),
            ("unix:/s|fcgi:", "unix:/s|fcgi://localhost", 8000),
        ];
        for (text, normal, port) in cases {
            let url = MemberUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.port), (normal, port), "{text}");
            assert_eq!(MemberUrl::parse(normal).as_ref(), Ok(&url));
        }
    }

    #[test]
    fn an_error_repeats_no_password() {
        for (text, shown) in [
            ("http://u:secret@h", "http://…@h"),
            ("http://u:secret@h:1/p", "http://…@h:1/p"),
            ("unix:/s|http://u:secret@x@h/@", "unix:/s|http://…@"),
            ("http://u:x/secret@h", "http://…@h"),
            ("//u:x/secret@h", "//…@h"),
        ] {
            let error = MemberUrl::parse(text).expect_err(text).to_string();
            assert!(!error.contains("secret") && error.contains(shown), "{error}");
        }
    }

    #[test]
    fn parts_of_a_socket_url() {
        let url = MemberUrl::parse("unix:/run/a.sock|http://localhost/x").unwrap();
        assert_eq!(url.base(), "http://localhost/x");
        assert_eq!(url.default_name(), "localhost:80");
        assert_eq!(MemberUrl::parse("http://[::1]:81").unwrap().default_name(), "[::1]:81");
        assert_eq!(MemberUrl::parse("http://h").unwrap().default_name(), "h:80");
    }

    #[test]
    fn wrong_urls_are_refused() {
        let long_host = format!("http://{}", "h".repeat(254));
        let long = format!("http://h/{}", "p".repeat(375));
        let long_socket = format!("unix:/{}|http://localhost", "s".repeat(95));
        let cases = [
            "",
            "h",
            "http:",
            "http:/h",
            "http://",
            "http://:80",
            "http:///p",
            "ftp://h",
            "://h",
            "http://h:0",
            "http://h:65536",
            "http://h:",
            "http://h:8o",
            "http://h:+1",
            "http://h:1:2",
            "http://u@h",
            "http://u:p@h",
            "http://h?q",
            "http://h/p?q",
            "http://h#f",
            "http://h/a b",
            "http://h/\n",
            "http://h\0",
            "http://[::1",
            "http://[::1]x",
            "http://[h]",
            "http://::1",
            "http://h\u{a0}",
            "http://bücher",
            "http://$1/",
            "http://*/",
            "unix:/s",
            "unix:s|http://h",
            "unix:/|http://h",
            "unix:/../../x|http://h",
            "unix:/run/..|http://h",
            "unix:/s|/p",
            "unix:/s|",
            "unix:/s|http",
            "unix:/s|http:h",
            "unix:/s|http://:80",
            "lb://pool",
            &long_host,
            &long,
            &long_socket,
        ];
        for text in cases {
            let error = MemberUrl::parse(text).expect_err(text).to_string();
            assert!(error.contains("expected") && !error.contains('\n'), "{text}: {error}");
        }
        assert!(MemberUrl::parse(&format!("http://h/{}", "p".repeat(374))).is_ok());
        assert!(MemberUrl::parse(&format!("unix:/{}|http://localhost", "s".repeat(94))).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_what_it_takes_it_prints_back(text in ".{0,40}|(http|ws|unix:/s\\|ajp)://[a-z0-9.\\[\\]:@/%]{0,30}") {
            if let Ok(url) = MemberUrl::parse(&text) {
                prop_assert_eq!(MemberUrl::parse(&url.to_string()), Ok(url));
            }
        }
    }
}
