// SPDX-License-Identifier: Apache-2.0
//! Where a request is to go: written once, before the relay, which only reads it.

use std::ffi::CStr;

use balance::choosing::Decision;
use config::Resolved;

use crate::httpd::pool::Kept;

/// The note of a request whose path is a file's, since its script named a handler: FastCGI gets it
/// as it is, as with `SetHandler "proxy:fcgi://…"`.
pub const OF_FILE: &CStr = c"lb-file-path";

/// A decision, and the path that goes with it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The decision.
    pub decision: Decision<Resolved>,
    /// The key that the script gave to the method that it asked; otherwise the pool's `key=` makes
    /// it.
    pub key: Option<Box<[u8]>>,
    /// The method by which the script picked the member that its decision begins with; None: it
    /// named that one.
    pub picked_by: Option<&'static str>,
    /// Whether the decision is that of a sub-request whose target the request was given.
    pub borrowed: bool,
    /// A script's choice, as it stands in the request's file name.
    pub chosen: Option<Chosen>,
    /// The path and query that members are asked for.
    pub path: Path,
}

/// The path and query that members are asked for: made once for all attempts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path {
    /// The path (encoded) and query for http-like members, with the leading slash: what is sent.
    pub tail: Kept,
    /// The path as mod_proxy gave it, for schemes whose own module canonicalises: without the
    /// leading slash.
    pub raw: Kept,
    /// The URL behind `proxy:` that `tail` was made of.
    pub url: Kept,
}

/// A script's choice on its way through mod_proxy.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    /// The URL behind `proxy:`.
    pub url: Kept,
    /// How much of its path is encoded text, from behind the first slash on. The rest is decoded.
    pub encoded: usize,
}

impl Route {
    /// For a decision, without a path as yet.
    pub fn new(decision: Decision<Resolved>) -> Self {
        Route { decision, key: None, picked_by: None, borrowed: false, chosen: None, path: Path::default() }
    }
}
