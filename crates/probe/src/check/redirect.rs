//! Redirects, which are followed on the same member only.

use hyper::{Method, StatusCode, Uri};

/// Where the checks of a member go.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub https: bool,
    /// Hosts that mean the member: its own, and the one in the Host header. Lower case, no brackets.
    pub hosts: Vec<String>,
    /// Ports that mean the member.
    pub ports: Vec<u16>,
}

/// The path to go on with, or None for an answer that is none of ours to follow.
pub(super) fn target(origin: &Origin, from: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default().trim();
    let scheme = if origin.https { "https" } else { "http" };
    if let Some(rest) = location.strip_prefix("//") {
        return absolute(origin, &format!("{scheme}://{rest}"));
    }
    if let Some(path) = location.strip_prefix('/') {
        return format!("/{path}").parse().ok();
    }
    if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return absolute(origin, location);
    }
    if location.starts_with('?') {
        return format!("{}{location}", from.path()).parse().ok();
    }
    if location.is_empty() {
        return None;
    }
    let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    resolve(folder, location).parse().ok()
}

fn absolute(origin: &Origin, location: &str) -> Option<Uri> {
    let uri: Uri = location.parse().ok()?;
    let https = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    if https != origin.https || !origin.hosts.contains(&host) || !origin.ports.contains(&port) {
        return None;
    }
    uri.path_and_query().map(|path| Uri::from(path.clone()))
}

/// A relative path under a folder, without `.` and `..`.
fn resolve(folder: &str, location: &str) -> String {
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (location, None),
    };
    let mut parts: Vec<&str> = folder.split('/').skip(1).collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("..") || path == "." {
        parts.push("");
    }
    let path = format!("/{}", parts.join("/"));
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

/// Whether the status sends elsewhere.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The method that follows.
pub(super) fn method(status: StatusCode, method: &Method) -> Method {
    match status.as_u16() {
        303 if method != Method::HEAD => Method::GET,
        301 | 302 if method == Method::POST => Method::GET,
        _ => method.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_member_is_followed() {
        let origin =
            Origin { https: false, hosts: vec!["app.example".into(), "10.0.0.1".into()], ports: vec![8080] };
        let from: Uri = "/a/b?x=1".parse().unwrap();
        for (location, path) in [
            ("/c", Some("/c")),
            ("/c?d=e#f", Some("/c?d=e")),
            ("c", Some("/a/c")),
            ("./c/", Some("/a/c/")),
            ("../../../c?q", Some("/c?q")),
            ("..", Some("/")),
            ("?y=2", Some("/a/b?y=2")),
            ("//app.example:8080/z", Some("/z")),
            ("http://APP.example:8080/z?k", Some("/z?k")),
            ("http://10.0.0.1:8080", Some("/")),
            ("http://10.0.0.1/", None),
            ("https://10.0.0.1:8080/", None),
            ("http://other:8080/", None),
            ("//other/", None),
            ("ftp://10.0.0.1:8080/", None),
            ("mailto:a@b", None),
            ("", None),
        ] {
            let got = target(&origin, &from, location).map(|uri| uri.to_string());
            assert_eq!(got.as_deref(), path, "{location}");
        }
    }
}
