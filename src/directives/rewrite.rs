// SPDX-License-Identifier: Apache-2.0
//! Directives of others that may name a target in `lb://`. `RewriteRule`, which is mod_rewrite's:
//! httpd shows a directive to every module that names it. Only the targets of `[P]` rules are
//! noted, to know which of them the configuration itself sends to `lb://`. Stands in `.htaccess`
//! too, and then runs for a request.

use std::ffi::CStr;
use std::os::raw::{c_char, c_void};

use balance::stock::handler::HandlerKind;
use config::Rewrites;

use super::server::server_config;
use crate::ffi;
use crate::guard::guard;
use crate::httpd;
use crate::httpd::order;
use crate::httpd::pool::MemoryPool;
use crate::serve::anywhere::OPEN_HANDLERS;
use crate::serve::own_config::Section;

const UNKNOWN: &CStr = c"Invalid command 'RewriteRule', perhaps misspelled or defined by a module not included in the server configuration";

/// The command table's entry.
pub(super) const RULE: ffi::command_rec = ffi::command_rec {
    name: c"RewriteRule".as_ptr(),
    func: ffi::cmd_func { raw_args: Some(rule) },
    cmd_data: std::ptr::null_mut(),
    req_override: ffi::OR_FILEINFO as i32,
    args_how: ffi::RAW_ARGS,
    errmsg: c"mod_rewrite's; noted for targets in lb://".as_ptr(),
};

unsafe extern "C" fn rule(cmd: *mut ffi::cmd_parms, dir: *mut c_void, args: *const c_char) -> *const c_char {
    guard(std::ptr::null(), || {
        // SAFETY: httpd's promise to a directive's function, see `command`. A server's
        // configuration is reached outside of sections alone, which is while the configuration is
        // read, by one thread; a section's is that of this directive.
        unsafe {
            if ffi::ap_find_linked_module(c"mod_rewrite.c".as_ptr()).is_null() {
                return UNKNOWN.as_ptr();
            }
            let target = httpd::bytes(args).and_then(balance::rewrite::proxied);
            let (Some(target), Some(pool)) = (target, MemoryPool::from_ptr((*cmd).pool)) else {
                return std::ptr::null();
            };
            order::note_rule();
            let place = if (*cmd).path.is_null() {
                server_config((*cmd).server).map(|server| &mut server.section.rewrites)
            } else {
                dir.cast::<Section>().as_mut().map(|section| &mut section.rewrites)
            };
            if let Some(place) = place {
                if (*cmd).path.is_null() && balance::rewrite::may_be_ours(target) {
                    order::own_rule();
                }
                *place = Some(pool.keep(Rewrites::Rule(target.to_vec(), *place)));
            }
            std::ptr::null()
        }
    })
}

/// `SetHandler`, which is httpd's own: the kind of the handler is noted for the section.
pub(super) const HANDLER: ffi::command_rec = ffi::command_rec {
    name: c"SetHandler".as_ptr(),
    func: ffi::cmd_func { raw_args: Some(handler) },
    cmd_data: std::ptr::null_mut(),
    req_override: ffi::OR_FILEINFO as i32,
    args_how: ffi::RAW_ARGS,
    errmsg: c"httpd's own; noted for targets in lb://".as_ptr(),
};

unsafe extern "C" fn handler(_: *mut ffi::cmd_parms, dir: *mut c_void, args: *const c_char) -> *const c_char {
    guard(std::ptr::null(), || {
        // SAFETY: httpd's promise to a directive's function; the section is that of this directive.
        unsafe {
            if let (Some(args), Some(section)) = (httpd::bytes(args), dir.cast::<Section>().as_mut()) {
                let kind = HandlerKind::of(args);
                if kind == HandlerKind::Open {
                    OPEN_HANDLERS.note();
                }
                section.handler = Some(kind);
            }
        }
        std::ptr::null()
    })
}
