// SPDX-License-Identifier: Apache-2.0
//! Hooks that mod_proxy has to be there for.

use super::names::{AFTER_REWRITE, BEFORE_PROXY};
use super::{proxy, request};
use crate::ffi;
use crate::httpd::order;
use crate::httpd::proxy::{Api, ProxyHooks};

/// Our hooks in mod_proxy and beside it, registered in every pre_config.
pub(super) fn register(api: &Api) {
    order::look();
    order::as_own_module(|| {
        api.register(&ProxyHooks {
            pre_request: proxy::pre_request,
            scheme_handler: proxy::scheme_handler,
            canon_handler: proxy::canon_handler,
        });
        if order::rewrites_before_proxy() {
            // SAFETY: as in the module's own registration.
            unsafe {
                ffi::ap_hook_fixups(
                    Some(request::rewritten_fixups),
                    AFTER_REWRITE.as_ptr(),
                    BEFORE_PROXY.as_ptr(),
                    ffi::APR_HOOK_FIRST as i32,
                );
            }
        }
    });
}
