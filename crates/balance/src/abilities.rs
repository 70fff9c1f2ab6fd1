// SPDX-License-Identifier: Apache-2.0
//! The abilities of the httpd that serves, where its versions differ.

use std::sync::OnceLock;

use crate::error::ParseError;

/// Abilities that one httpd 2.4 has and another lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Longest URL that mod_proxy keeps without cutting it, in bytes: 383 since 2.4.53, 95 before.
    pub longest_url: usize,
    /// `secret=` of members (2.4.42).
    pub secret: bool,
    /// `addressttl=` of members (2.4.59).
    pub address_ttl: bool,
    /// mod_proxy_http upgrades connections to WebSocket (2.4.47); mod_proxy_wstunnel always has.
    pub http_upgrades: bool,
}

/// The abilities of the newest httpd.
pub const NEWEST: Abilities =
    Abilities { longest_url: 383, secret: true, address_ttl: true, http_upgrades: true };

static DECLARED: OnceLock<Abilities> = OnceLock::new();

/// Sets the abilities of the server that this process is, before any text is read. Only the first
/// call counts; without one they are those of the newest httpd.
pub fn declare(abilities: Abilities) {
    let _ = DECLARED.set(abilities);
}

/// The server's abilities.
pub(crate) fn declared() -> &'static Abilities {
    DECLARED.get().unwrap_or(&NEWEST)
}

impl Abilities {
    /// Refuses a key of a member, in lower case, that this httpd would not follow.
    pub(crate) fn check_key(&self, key: &str) -> Result<(), ParseError> {
        let needed = match key {
            "secret" if !self.secret => "2.4.42",
            "addressttl" if !self.address_ttl => "2.4.59",
            _ => return Ok(()),
        };
        Err(ParseError::NeedsNewer { key: key.to_owned(), needed })
    }

    /// Why a URL of so many bytes is too long.
    pub(crate) fn check_length(&self, bytes: usize) -> Result<(), String> {
        if bytes <= self.longest_url {
            return Ok(());
        }
        let why =
            if self.longest_url < NEWEST.longest_url { " (383 with httpd 2.4.53 or newer)" } else { "" };
        Err(format!("expected at most {} bytes{why}, found {bytes}", self.longest_url))
    }

    /// httpd's modules that can talk to a WebSocket backend.
    pub(crate) fn websocket_modules(&self) -> &'static [&'static str] {
        if self.http_upgrades { &["mod_proxy_http", "mod_proxy_wstunnel"] } else { &["mod_proxy_wstunnel"] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Abilities =
        Abilities { longest_url: 95, secret: false, address_ttl: false, http_upgrades: false };

    #[test]
    fn a_key_that_this_httpd_lacks_is_refused_with_the_version_that_has_it() {
        let refused = |key| OLD.check_key(key).unwrap_err().to_string();
        assert_eq!(refused("secret"), "secret= needs httpd 2.4.42 or newer, and the module built for it");
        assert_eq!(
            refused("addressttl"),
            "addressttl= needs httpd 2.4.59 or newer, and the module built for it"
        );
        assert_eq!(OLD.check_key("upgrade"), Ok(()));
        for key in ["secret", "addressttl"] {
            assert_eq!(NEWEST.check_key(key), Ok(()));
        }
    }

    #[test]
    fn a_url_that_this_httpd_would_cut_is_refused() {
        assert_eq!(OLD.check_length(95), Ok(()));
        let why = "expected at most 95 bytes (383 with httpd 2.4.53 or newer), found 96";
        assert_eq!(OLD.check_length(96), Err(why.to_owned()));
        assert_eq!(NEWEST.check_length(383), Ok(()));
        assert_eq!(NEWEST.check_length(384), Err("expected at most 383 bytes, found 384".to_owned()));
    }

    #[test]
    fn websocket_backends_need_the_tunnels_module_where_httpds_http_cannot_upgrade() {
        assert_eq!(OLD.websocket_modules(), ["mod_proxy_wstunnel"]);
        assert!(NEWEST.websocket_modules().contains(&"mod_proxy_http"));
    }
}
