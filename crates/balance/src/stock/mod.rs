// SPDX-License-Identifier: Apache-2.0
//! Lines of mod_proxy and mod_proxy_balancer as people bring them: what of them means the same here
//! is taken, for the rest there is the line to write.

pub mod handler;
mod hcexpr;
pub mod hcheck;
pub mod parameters;
pub mod ways;

/// Whether a URL is one of this module's, in any case.
fn is_ours(url: &str) -> bool {
    url.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

const SCHEME: &str = "lb://";
