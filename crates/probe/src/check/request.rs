//! The request of a check, made once.

use balance::settings::{CheckKind, HealthCheck};
use balance::url::MemberUrl;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};

use super::Failure;

/// What is sent, whatever the path.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub method: Method,
    pub uri: Uri,
    headers: HeaderMap,
}

impl Template {
    pub fn new(check: &HealthCheck, url: &MemberUrl) -> Result<Self, Failure> {
        let bad = |what: &str, value: &str| Failure::Settings(format!("{what}={value} cannot be sent"));
        let method = Method::from_bytes(check.method.as_bytes()).map_err(|_| bad("method", &check.method))?;
        let uri = check.uri.parse::<Uri>().ok().filter(|uri| uri.path_and_query().is_some());
        let uri = uri.ok_or_else(|| bad("uri", &check.uri))?;
        let host = host_header(check, url);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&host).map_err(|_| bad("host", &host))?);
        headers.insert(USER_AGENT, HeaderValue::from_static("mod_lua_balancer"));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        for (name, value) in &check.headers {
            let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("header", name))?;
            let value = HeaderValue::from_str(value).map_err(|_| bad("header", name))?;
            if [HOST, USER_AGENT, ACCEPT, CONNECTION].contains(&field) {
                headers.insert(field, value);
            } else {
                headers.append(field, value);
            }
        }
        Ok(Template { method, uri, headers })
    }

    /// The request for a method and path.
    pub fn request(&self, method: &Method, uri: &Uri) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The host that was asked for.
    pub fn host(&self) -> &str {
        self.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// `host=`, or the member's host with the port that is checked unless that is the scheme's.
fn host_header(check: &HealthCheck, url: &MemberUrl) -> String {
    if let Some(host) = &check.host {
        return host.clone();
    }
    let name = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let port = check.port.unwrap_or(url.port);
    if port == default_port(check.kind) { name } else { format!("{name}:{port}") }
}

/// The port that a Host header leaves out.
pub(super) fn default_port(kind: CheckKind) -> u16 {
    if kind == CheckKind::Https { 443 } else { 80 }
}

/// A host without port and brackets.
pub(super) fn bare_host(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::bare_host;

    #[test]
    fn hosts_without_port() {
        for (host, bare) in [
            ("a.b", "a.b"),
            ("a.b:80", "a.b"),
            ("[::1]:443", "::1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("[", ""),
        ] {
            assert_eq!(bare_host(host), bare);
        }
    }
}
