// SPDX-License-Identifier: Apache-2.0
//! Whether this server has the modules to reach a member.

use std::ffi::CString;

use balance::url::{MemberUrl, modules_of};

use crate::httpd::config;

/// Why no request could reach a member at this URL; None: one can.
pub fn misfit(url: &MemberUrl) -> Option<String> {
    nobody_speaks(&url.scheme).or_else(|| {
        (url.is_secure() && !config::speaks_tls()).then(|| {
            format!("no module speaks TLS to {url}: expected mod_ssl to be loaded (Debian: a2enmod ssl)")
        })
    })
}

fn nobody_speaks(scheme: &str) -> Option<String> {
    let modules = modules_of(scheme);
    if modules.iter().any(|module| is_loaded(module)) {
        return None;
    }
    Some(format!(
        "no module speaks {scheme}:// to backends: expected {} to be loaded{}",
        modules.join(" or "),
        enable(modules)
    ))
}

fn is_loaded(module: &str) -> bool {
    CString::new(format!("{module}.c")).is_ok_and(|file| config::has_module(&file))
}

fn enable(modules: &[&str]) -> String {
    let name = modules.first().and_then(|module| module.strip_prefix("mod_"));
    name.map(|name| format!(" (Debian: a2enmod {name})")).unwrap_or_default()
}
