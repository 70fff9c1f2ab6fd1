// SPDX-License-Identifier: Apache-2.0
//! Where httpd calls in: one file a phase, each function one call of the guard.
#![allow(unsafe_code)]

mod child;
mod configuration;
mod connection;
mod names;
mod proxy;
mod request;
mod status;
mod with_proxy;

use self::names::{
    AFTER_ENVIRONMENT, AFTER_PROXY, AFTER_REWRITE, BEFORE_BOTH, BEFORE_HEADERS, BEFORE_PROXY, BEFORE_REWRITE,
};
use crate::ffi;
use crate::guard::guard;
use crate::httpd::filter;
use crate::httpd::order;
use crate::serve::snapshot;

/// `register_hooks` of the module record.
pub unsafe extern "C" fn register(_: *mut ffi::apr_pool_t) {
    guard((), || {
        balance::abilities::declare(crate::httpd::proxy::abilities());
        // SAFETY: httpd's own registration calls; the name lists are static and end with NULL.
        unsafe {
            let none = std::ptr::null();
            ffi::ap_hook_pre_config(Some(configuration::pre_config), none, none, ffi::APR_HOOK_MIDDLE as i32);
            ffi::ap_hook_check_config(
                Some(configuration::check_config),
                none,
                none,
                ffi::APR_HOOK_MIDDLE as i32,
            );
            ffi::ap_hook_post_config(Some(configuration::post_config), none, none, ffi::APR_HOOK_LAST as i32);
            let (first, last) = (ffi::APR_HOOK_REALLY_FIRST, ffi::APR_HOOK_REALLY_LAST as i32);
            ffi::ap_hook_drop_privileges(Some(child::before_privileges), none, none, first);
            ffi::ap_hook_drop_privileges(Some(child::after_privileges), none, none, last);
            ffi::ap_hook_child_init(Some(child::init), AFTER_PROXY.as_ptr(), none, ffi::APR_HOOK_LAST as i32);
            ffi::ap_hook_child_status(Some(child::status), none, none, ffi::APR_HOOK_MIDDLE as i32);
            ffi::ap_hook_monitor(Some(child::look_round), none, none, ffi::APR_HOOK_MIDDLE as i32);
            ffi::lb_hook_child_stopping(Some(child::stopping));
            ffi::ap_hook_create_connection(Some(connection::create), none, none, ffi::APR_HOOK_REALLY_FIRST);
            ffi::ap_hook_pre_connection(Some(connection::begins), none, none, ffi::APR_HOOK_REALLY_FIRST);
            ffi::ap_hook_translate_name(
                Some(request::translate_name),
                AFTER_REWRITE.as_ptr(),
                BEFORE_PROXY.as_ptr(),
                ffi::APR_HOOK_FIRST as i32,
            );
            // One before mod_rewrite's rules of sections and mod_proxy's canonical form; one after
            // them and after all that set the environment (mod_env, mod_ssl, mod_lua), but before
            // what works on a request's end form (mod_headers, mod_dir). `with_proxy` adds one
            // between the two.
            ffi::ap_hook_fixups(
                Some(request::fixups),
                none,
                BEFORE_BOTH.as_ptr(),
                ffi::APR_HOOK_FIRST as i32,
            );
            ffi::ap_hook_fixups(
                Some(request::late_fixups),
                AFTER_ENVIRONMENT.as_ptr(),
                BEFORE_HEADERS.as_ptr(),
                ffi::APR_HOOK_LAST as i32 - 1,
            );
            if snapshot::door().is_some() {
                ffi::ap_hook_quick_handler(Some(request::door), none, none, ffi::APR_HOOK_FIRST as i32);
            }
            ffi::ap_hook_log_transaction(
                Some(request::log_transaction),
                none,
                none,
                ffi::APR_HOOK_FIRST as i32,
            );
            order::on_own_rule(watch_rewriting);
            ffi::ap_hook_handler(Some(request::handler), none, none, ffi::APR_HOOK_MIDDLE as i32);
            ffi::lb_register_status(Some(request::status));
            ffi::lb_register_body();
            filter::ANSWER.register(c"LUA_BALANCER_REVERSE", request::reverse_filter);
            filter::BODY.register_for_input(c"LUA_BALANCER_BODY", request::body_filter);
        }
    });
}

/// Has the requests marked that come to mod_rewrite: with its own place in the order, so that hooks
/// before it are over by then. Called while the directives are read, before httpd sorts the hooks.
fn watch_rewriting() {
    // SAFETY: as in `register`; httpd forgets its hooks before it reads a configuration anew.
    unsafe {
        ffi::ap_hook_translate_name(
            Some(request::before_rewriting),
            std::ptr::null(),
            BEFORE_REWRITE.as_ptr(),
            ffi::APR_HOOK_FIRST as i32,
        );
    }
}
