// SPDX-License-Identifier: Apache-2.0
//! URLs of requests, taken apart.

use hyper::Uri;
use hyper::header::HeaderValue;
use rustls::pki_types::ServerName;

use crate::dial::Reach;
use crate::failure::printable;

/// See the module.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    /// Where to connect.
    pub place: Reach,
    /// The name in the certificate; None for `http`.
    pub server_name: Option<ServerName<'static>>,
    /// `Host`.
    pub host_header: HeaderValue,
    /// The path with its query.
    pub uri: Uri,
}

impl HttpTarget {
    /// Reads an `http://` or `https://` URL.
    ///
    /// # Errors
    /// It is of another form, or names a user.
    pub fn parse(url: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            let url = printable(url, 200);
            format!("\"{url}\" {why}, expected a URL such as http://10.0.0.1:8080/health")
        };
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad("holds blanks or control characters"));
        }
        let parsed: Uri = url.parse().map_err(|_| bad("is not a URL"))?;
        let https = match parsed.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("is neither http:// nor https://")),
        };
        let authority = parsed.authority().ok_or_else(|| bad("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("names a user, which does not belong into a URL"));
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => Some(if https { 443 } else { 80 }),
            rest => {
                rest.and_then(|rest| rest.strip_prefix(':')?.parse::<u16>().ok()).filter(|port| *port > 0)
            }
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = port.ok_or_else(|| bad("has no port from 1 to 65535"))?;
        if host.is_empty() {
            return Err(bad("names no host"));
        }
        let name = || ServerName::try_from(host.to_owned()).map_err(|_| bad("names no host"));
        let server_name = if https { Some(name()?) } else { None };
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("names no host"))?;
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let uri = path.parse().map_err(|_| bad("is not a URL"))?;
        Ok(HttpTarget { place: Reach::at(host, port), server_name, host_header, uri })
    }
}
