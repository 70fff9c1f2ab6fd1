// SPDX-License-Identifier: Apache-2.0
//! In which order httpd runs the hooks of other modules.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::bytes;
use crate::ffi;

/// Whether mod_rewrite's rules of sections run before mod_proxy's fixup, as they do since httpd
/// 2.4.63.
static REWRITES_FIRST: AtomicBool = AtomicBool::new(false);

/// See [`rewrites`].
static REWRITES: AtomicBool = AtomicBool::new(false);

/// httpd's `ap_LINK_fixups_t`, by APR_DECLARE_EXTERNAL_HOOK.
#[repr(C)]
struct Link {
    function: *const c_char,
    name: *const c_char,
    predecessors: *const *const c_char,
    successors: *const *const c_char,
    order: c_int,
}

/// Looks what mod_rewrite asks for, for [`rewrites_before_proxy`], and forgets the rules of an
/// earlier configuration. For pre_config, when every module has registered its hooks.
pub fn look() {
    // SAFETY: the array holds such links; their names are static strings and their lists end with
    // NULL.
    let first = unsafe {
        let links = ffi::ap_hook_get_fixups().as_ref().filter(|array| !array.elts.is_null());
        let links = links.map_or(&[][..], |array| {
            std::slice::from_raw_parts(array.elts.cast::<Link>(), array.nelts.max(0) as usize)
        });
        let mut own = links.iter().filter(|link| bytes(link.name) == Some(b"mod_rewrite.c"));
        own.any(|link| lists(link.successors, c"mod_proxy.c"))
    };
    REWRITES.store(false, Ordering::Relaxed);
    REWRITES_FIRST.store(first, Ordering::Release);
}

/// Notes that there is a rule that makes targets for mod_proxy. One of `.htaccess` is seen by the
/// process that reads it for a request, before the request's fixups.
pub fn note_rule() {
    REWRITES.store(true, Ordering::Relaxed);
}

/// The function that [`on_own_rule`] was given.
static ON_OWN_RULE: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Names the function that is called when a rule of a server may lead to `lb://`. The registration
/// of the module's hooks calls this.
pub fn on_own_rule(react: fn()) {
    ON_OWN_RULE.store(react as *mut (), Ordering::Release);
}

/// A rule of a server may lead to `lb://`. For the directive, before httpd sorts the hooks.
pub fn own_rule() {
    let react = ON_OWN_RULE.load(Ordering::Acquire);
    if !react.is_null() {
        // SAFETY: stored by `on_own_rule` from a function of this type.
        unsafe { std::mem::transmute::<*mut (), fn()>(react)() };
    }
}

/// Whether this process has seen a rule that makes targets for mod_proxy, so that a request's
/// target may be mod_rewrite's work. Most servers have none, and look no further.
pub fn rewrites() -> bool {
    REWRITES.load(Ordering::Relaxed)
}

/// Whether mod_rewrite's rules of sections run before mod_proxy's fixup.
pub fn rewrites_before_proxy() -> bool {
    REWRITES_FIRST.load(Ordering::Acquire)
}

/// # Safety
/// `list` is NULL or ends with NULL, and holds NUL-terminated strings.
unsafe fn lists(list: *const *const c_char, name: &CStr) -> bool {
    let mut at = list;
    // SAFETY: the caller's promise.
    unsafe {
        while !at.is_null() && !(*at).is_null() {
            if CStr::from_ptr(*at) == name {
                return true;
            }
            at = at.add(1);
        }
    }
    false
}

/// Registers hooks under the module's own name. httpd sets it only while it loads the module; hooks
/// that come later, in pre_config, would go by the name of whatever module was loaded last.
pub fn as_own_module(register: impl FnOnce()) {
    // SAFETY: pre_config runs in the process's only thread, and the name is static.
    unsafe {
        let before = ffi::apr_hook_debug_current;
        ffi::apr_hook_debug_current = c"mod_lua_balancer.c".as_ptr();
        register();
        ffi::apr_hook_debug_current = before;
    }
}
