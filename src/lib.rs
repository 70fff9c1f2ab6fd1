// SPDX-License-Identifier: Apache-2.0
//! mod_lua_balancer: an Apache httpd module that lets Lua choose the backend. docs/ARCHITECTURE.md
//! is the drawing.

mod control;
mod directives;
mod faults;
mod ffi;
mod guard;
mod hooks;
mod httpd;
mod keep;
mod lead;
mod relay;
mod report;
mod route;
mod serve;
mod start;
mod vetting;

/// The module record, the one exported symbol.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
pub static mut lua_balancer_module: ffi::module = ffi::module {
    version: ffi::MODULE_MAGIC_NUMBER_MAJOR as i32,
    minor_version: ffi::MODULE_MAGIC_NUMBER_MINOR as i32,
    module_index: -1,
    name: c"mod_lua_balancer.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: ffi::MODULE_MAGIC_COOKIE as std::os::raw::c_ulong,
    rewrite_args: None,
    create_dir_config: Some(directives::create_dir_config),
    merge_dir_config: Some(directives::merge_dir_config),
    create_server_config: Some(directives::create_server_config),
    merge_server_config: None,
    cmds: directives::COMMANDS.as_ptr(),
    register_hooks: Some(hooks::register),
    flags: 0,
};
