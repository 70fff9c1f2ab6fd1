// SPDX-License-Identifier: Apache-2.0
//! The handlers that `SetHandler` names.

use super::SCHEME;

/// The name of this module's own handler, behind `SetHandler`.
pub const HANDLER: &str = "lua-balancer";

/// The handlers that `SetHandler` names, as far as this module tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerKind {
    /// This module's own: the page, the API and the metrics.
    Own,
    /// An expression from which a client's words may make a target in `lb://`: it looks at
    /// anything, and does not write `lb://` before that.
    Open,
    /// Any other.
    Other,
}

impl HandlerKind {
    /// The handler that these arguments of `SetHandler` name.
    pub fn of(args: &[u8]) -> Self {
        let name = args.trim_ascii();
        let bare =
            [b'"', b'\''].iter().find_map(|quote| name.strip_prefix(&[*quote])?.strip_suffix(&[*quote]));
        if bare.unwrap_or(name).eq_ignore_ascii_case(HANDLER.as_bytes()) {
            HandlerKind::Own
        } else if is_open_handler(args) {
            HandlerKind::Open
        } else {
            HandlerKind::Other
        }
    }
}

fn is_open_handler(args: &[u8]) -> bool {
    let find = |what: &[u8]| args.windows(what.len()).position(|part| part.eq_ignore_ascii_case(what));
    let looks = [&b"%{"[..], b"$"].into_iter().filter_map(find).min();
    looks.is_some_and(|looks| find(SCHEME.as_bytes()).is_none_or(|ours| ours > looks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_set_handler_tell_whose_it_is() {
        for text in ["\"proxy:%{HTTP:X-Target}\"", "%{HTTP:X-Target}", "proxy:%{HTTP:X}lb://app", "$1"] {
            assert_eq!(HandlerKind::of(text.as_bytes()), HandlerKind::Open, "{text}");
        }
        for text in ["\"proxy:lb://%{HTTP:X-Pool}\"", "proxy:LB://app", "None", "text/x", ""] {
            assert_eq!(HandlerKind::of(text.as_bytes()), HandlerKind::Other, "{text}");
        }
        for text in ["lua-balancer", " \"lua-balancer\" ", "'Lua-Balancer'"] {
            assert_eq!(HandlerKind::of(text.as_bytes()), HandlerKind::Own, "{text}");
        }
        for text in ["lua-balancer2", "\"lua-balancer", "proxy:lua-balancer"] {
            assert_eq!(HandlerKind::of(text.as_bytes()), HandlerKind::Other, "{text}");
        }
    }
}
