// SPDX-License-Identifier: Apache-2.0
//! A request, as somebody describes it.

use script::host::{Field, Number};
use script::offline::PlainRequest;

/// A described request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// Its method; empty for GET.
    pub method: String,
    /// Path and query, with the leading slash.
    pub target: String,
    /// Name and perhaps port of the server that was asked.
    pub host: Option<String>,
    /// It came over TLS.
    pub https: bool,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The client's address.
    pub client: Option<String>,
    /// The user that httpd has authenticated.
    pub user: Option<String>,
}

impl Ask {
    /// A GET of a URL, or of a path.
    ///
    /// # Errors
    /// It is neither.
    pub fn of(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let https = scheme.eq_ignore_ascii_case("https");
        if scheme.is_empty() && url.starts_with('/') {
            return Ok(Ask { target: url.to_owned(), ..Ask::default() });
        }
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(format!(
                "'{url}': expected a URL such as http://www.example.org/x, or a path such as /x"
            ));
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(at);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Ask { target, host: Some(host.to_owned()), https, ..Ask::default() })
    }

    /// The server's name and port.
    pub fn server(&self) -> (&str, u16) {
        let sent = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = sent.map(|(_, value)| value.as_str()).or(self.host.as_deref()).unwrap_or_default();
        let usual = if self.https { 443 } else { 80 };
        match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
            Some((name, Ok(port))) => (name, port),
            _ => (host, usual),
        }
    }

    /// The path alone, as it is written.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Puts it where scripts look. `authenticated`: httpd knows by now who asks.
    pub fn put(&self, request: &PlainRequest, authenticated: bool) {
        request.begin(if self.method.is_empty() { "GET" } else { &self.method }, &self.target);
        let sends_host = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        if let Some(host) = self.host.as_deref().filter(|_| !sends_host) {
            request.header("Host", host);
        }
        for (name, value) in &self.headers {
            request.header(name, value);
        }
        if self.https {
            request.put(Field::Scheme, "https");
            request.count(Number::IsHttps, 1);
            request.count(Number::Port, i64::from(self.server().1));
        }
        if let Some(client) = &self.client {
            request.put(Field::UseragentIp, client.as_str());
        }
        if let Some(user) = self.user.as_deref().filter(|_| authenticated) {
            request.put(Field::User, user);
        }
    }
}
