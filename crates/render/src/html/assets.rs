// SPDX-License-Identifier: Apache-2.0
//! The parts of the page. Their names change with what is in them, so that they may be kept for
//! good.

use std::sync::OnceLock;

/// A part of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The last piece of its path.
    pub name: String,
    /// For `Content-Type`.
    pub content_type: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Most bytes that the script may have.
pub const MOST_SCRIPT: usize = 40 << 10;

const STYLE: &str = include_str!("../../page/page.css");
const SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/page.js"));
const _: () = assert!(SCRIPT.len() <= MOST_SCRIPT, "the page's script has more than 40 KiB");

/// Style sheet and script.
pub fn assets() -> &'static [Asset; 2] {
    static ASSETS: OnceLock<[Asset; 2]> = OnceLock::new();
    ASSETS.get_or_init(|| {
        let asset = |end: &str, content_type, text: &'static str| {
            let hash = xxhash_rust::xxh64::xxh64(text.as_bytes(), 0);
            Asset { name: format!("page-{hash:016x}.{end}"), content_type, text }
        };
        [
            asset("css", "text/css; charset=utf-8", STYLE),
            asset("js", "text/javascript; charset=utf-8", SCRIPT),
        ]
    })
}

/// A part of the page by its name.
pub fn asset(name: &str) -> Option<&'static Asset> {
    assets().iter().find(|asset| asset.name == name)
}
