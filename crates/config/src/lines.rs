// SPDX-License-Identifier: Apache-2.0
//! Lines of mod_proxy_hcheck that members name.

use crate::parse::words;

/// The words of the `ProxyHCTemplate` of this name.
pub fn template(lines: &[String], name: &str) -> Option<Vec<String>> {
    lines.iter().filter_map(|args| words(args).ok()).find_map(|words| {
        let (own, keys) = words.split_first()?;
        own.eq_ignore_ascii_case(name).then(|| keys.to_vec())
    })
}

/// The text of the `ProxyHCExpr` of this name, which stands in braces or quotes.
pub fn expression(lines: &[String], name: &str) -> Option<String> {
    lines.iter().filter_map(|args| args.trim().split_once([' ', '\t'])).find_map(|(own, text)| {
        let text = text.trim();
        let inside = [('{', '}'), ('"', '"'), ('\'', '\'')]
            .iter()
            .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
        let own = own.trim_matches(['"', '\'']);
        own.eq_ignore_ascii_case(name).then(|| inside.unwrap_or(text).trim().to_owned())
    })
}
