// SPDX-License-Identifier: Apache-2.0
//! The raw ring: bindings to httpd, generated, and the shim. Only `httpd`, `hooks` and `directives`
//! may look in here.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, missing_docs, unsafe_code, dead_code)]
#![allow(unsafe_op_in_unsafe_fn, clippy::all, clippy::undocumented_unsafe_blocks, unnecessary_transmutes)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

// SAFETY: httpd's module record is filled once, before any thread, by httpd itself; ours is only
// read afterwards.
unsafe impl Sync for module {}

unsafe extern "C" {
    /// The module record, which `lib` fills and exports.
    static mut lua_balancer_module: module;
}

/// The module record's address, which httpd uses as the key of the module's configuration.
pub fn own_module() -> *const module {
    &raw const lua_balancer_module
}
