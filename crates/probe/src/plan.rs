// SPDX-License-Identifier: Apache-2.0
//! Settings made ready: what every check of a pool, and every check of one member, would otherwise
//! work out again.

use std::net::Ipv6Addr;
use std::rc::Rc;
use std::sync::Arc;

use balance::settings::{CheckKind, HealthCheck};
use balance::url::MemberUrl;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use net::{Reach, printable};
use regex::bytes::Regex;
use rustls::pki_types::ServerName;

use crate::failure::Failure;

const USER_AGENT: HeaderValue = HeaderValue::from_static("mod_lua_balancer");

/// One pool's check.
pub(crate) struct CheckPlan {
    pub(crate) method: Method,
    /// All headers but Host.
    headers: HeaderMap,
    /// `host=`, or a Host among `header=`.
    host: Option<HeaderValue>,
    pub(crate) body: Option<Regex>,
    pub(crate) not_body: Option<Regex>,
}

impl CheckPlan {
    /// Err: a setting cannot be used, for administrators.
    pub(crate) fn new(check: &HealthCheck) -> Result<Self, String> {
        let method = Method::from_bytes(check.method.as_bytes()).map_err(|_| {
            format!("method={}: not a method, expected one such as GET", printable(&check.method, 40))
        })?;
        let mut headers = HeaderMap::new();
        let mut host = check.host.as_deref().map(|host| value("host=", host)).transpose()?;
        for (name, text) in &check.headers {
            let bad = || format!("header=\"{}: …\": not a header name", printable(name, 40));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            let text = value("header=", text)?;
            match name {
                header::HOST => host = Some(text),
                header::CONTENT_LENGTH | header::TRANSFER_ENCODING => {
                    return Err(format!("header=\"{name}: …\": checks send no body"));
                }
                _ => {
                    headers.append(name, text);
                }
            }
        }
        headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
        let pattern = |key: &str, text: &Option<String>| {
            let pattern = text.as_deref().map(Regex::new).transpose();
            pattern.map_err(|error| format!("{key}=: {error}"))
        };
        let (body, not_body) = (pattern("body", &check.body)?, pattern("not_body", &check.not_body)?);
        Ok(CheckPlan { method, headers, host, body, not_body })
    }
}

fn value(key: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        format!("{key}\"{}\": not a header value, it has control characters", printable(text, 40))
    })
}

/// The check of one member.
pub(crate) struct Plan {
    pub(crate) check: Arc<HealthCheck>,
    pub(crate) place: Reach,
    /// For http and https.
    pub(crate) http: Result<Option<HttpPlan>, String>,
}

/// The request of one member's check.
pub(crate) struct HttpPlan {
    pub(crate) shared: Rc<CheckPlan>,
    pub(crate) uri: Uri,
    /// All headers.
    pub(crate) headers: HeaderMap,
    /// `host:port` of the member, as in a URL.
    pub(crate) authority: String,
    /// For https.
    pub(crate) server_name: Option<ServerName<'static>>,
}

/// Where the check connects to: `port=` beats the member's port, and its unix socket too.
fn reach(url: &MemberUrl, check: &HealthCheck) -> Reach {
    if let (Some(socket), None) = (&url.socket, check.port) {
        return Reach::Unix(socket.into());
    }
    Reach::at(&url.host, check.port.unwrap_or(url.port))
}

impl Plan {
    pub(crate) fn new(
        url: &MemberUrl,
        check: &Arc<HealthCheck>,
        shared: &Result<Rc<CheckPlan>, String>,
    ) -> Self {
        let place = reach(url, check);
        let http = match check.kind {
            CheckKind::Http | CheckKind::Https => {
                shared.clone().and_then(|shared| HttpPlan::new(url, check, shared)).map(Some)
            }
            _ => Ok(None),
        };
        Plan { check: check.clone(), place, http }
    }

    /// The request, for a check that has one.
    pub(crate) fn http(&self) -> Result<&HttpPlan, Failure> {
        match &self.http {
            Ok(Some(plan)) => Ok(plan),
            Ok(None) => Err(net::Failure::Settings("the check has no request".into()).into()),
            Err(why) => Err(net::Failure::Settings(why.clone()).into()),
        }
    }
}

impl HttpPlan {
    fn new(url: &MemberUrl, check: &HealthCheck, shared: Rc<CheckPlan>) -> Result<Self, String> {
        let https = check.kind == CheckKind::Https;
        let port = check.port.unwrap_or(url.port);
        let host = bracketed(&url.host);
        let default = if https { 443 } else { 80 };
        let default_host = if port == default { host.clone() } else { format!("{host}:{port}") };
        let host_header = match &shared.host {
            Some(host) => host.clone(),
            None => value("the member's host ", &default_host)?,
        };
        let mut headers = HeaderMap::with_capacity(shared.headers.len() + 1);
        headers.insert(header::HOST, host_header);
        headers.extend(shared.headers.clone());
        let server_name = if https { Some(server_name(url, check)?) } else { None };
        let uri = request_uri(&url.path, &check.uri)?;
        Ok(HttpPlan { shared, uri, headers, authority: format!("{host}:{port}"), server_name })
    }

    /// The Host header's text.
    pub(crate) fn host(&self) -> &str {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }
}

/// `uri=` below the member's own path, as mod_proxy_hcheck's `hcuri`.
fn request_uri(path: &str, uri: &str) -> Result<Uri, String> {
    let bad =
        |text: &str| format!("uri={}: not a path, expected one such as /health?full=1", printable(text, 100));
    if uri == "*" {
        return Ok(Uri::from_static("*"));
    }
    if !uri.starts_with('/') {
        return Err(bad(uri));
    }
    let whole = format!("{path}{uri}");
    whole.parse().map_err(|_| bad(&whole))
}

/// `sni=`, else `host=` without its port, else the member's host.
fn server_name(url: &MemberUrl, check: &HealthCheck) -> Result<ServerName<'static>, String> {
    let name = match (&check.sni, &check.host) {
        (Some(sni), _) => sni.as_str(),
        (None, Some(host)) => without_port(host),
        (None, None) => &url.host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("\"{}\" cannot be the certificate's name, set sni=", printable(name, 100)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn bracketed(host: &str) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_digits_are_no_part_of_the_servers_name() {
        for (host, name) in [
            ("a.example", "a.example"),
            ("a.example:8443", "a.example"),
            ("[::1]:443", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn uris_go_below_the_members_path() {
        let text = |path, uri| request_uri(path, uri).map(|uri| uri.to_string());
        assert_eq!(text("", "/health?a=1").as_deref(), Ok("/health?a=1"));
        assert_eq!(text("/app", "/health").as_deref(), Ok("/app/health"));
        assert_eq!(text("/app", "*").as_deref(), Ok("*"));
        for bad in ["", "health", "http://h/", "/a b", "/\n"] {
            assert!(text("", bad).unwrap_err().starts_with("uri="), "{bad}");
        }
    }
}
