// SPDX-License-Identifier: Apache-2.0
//! Where the URLs of a handler begin.

/// Splits the path of a URL, still percent-encoded, at the place where the API begins. The base has
/// no slash at its end; the rest begins with one, or is empty when the path has none at its end.
///
/// The base is what stands before the first `/api/v1/`; else before a final `/assets/FILE`,
/// `/metrics` or `/health`; else the whole path.
pub fn split(path: &str) -> (&str, &str) {
    let end = path.find("/api/v1/").or_else(|| asset(path)).or_else(|| {
        let known = ["/metrics", "/health"].into_iter().find(|name| path.ends_with(name))?;
        Some(path.len() - known.len())
    });
    path.split_at(end.unwrap_or_else(|| path.strip_suffix('/').map_or(path.len(), str::len)))
}

/// Where a final `/assets/FILE` begins.
fn asset(path: &str) -> Option<usize> {
    let file = path.rfind('/')?;
    let folder = path[..file].strip_suffix("/assets")?;
    (file + 1 < path.len()).then_some(folder.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_what_stands_before_the_api() {
        for (path, base, rest) in [
            ("/", "", "/"),
            ("/lb", "/lb", ""),
            ("/lb/", "/lb", "/"),
            ("/api/v1/", "", "/api/v1/"),
            ("/lb/api/v1/pools/app", "/lb", "/api/v1/pools/app"),
            ("/a/api/v1/pools/api/v1/x", "/a", "/api/v1/pools/api/v1/x"),
            ("/lb/assets/page.css", "/lb", "/assets/page.css"),
            ("/lb/assets/", "/lb/assets", "/"),
            ("/assets/x", "", "/assets/x"),
            ("/lb/metrics", "/lb", "/metrics"),
            ("/health", "", "/health"),
            ("/lb/healthy", "/lb/healthy", ""),
            ("/lb/api/v1", "/lb/api/v1", ""),
            ("/lb/api/v1/metrics", "/lb", "/api/v1/metrics"),
            ("", "", ""),
        ] {
            assert_eq!(split(path), (base, rest), "{path}");
        }
    }
}
