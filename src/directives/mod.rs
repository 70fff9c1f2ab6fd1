// SPDX-License-Identifier: Apache-2.0
//! The command table: httpd's view of [`config::DIRECTIVES`]. The statements of directives go into
//! the configuration being read.
#![allow(unsafe_code)]

mod rewrite;
mod server;
mod world;

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_void};

use config::{At, Contexts, DIRECTIVES, Directive, Draft, Position, Standing, Statement};

use crate::ffi;
use crate::guard::guard;
use crate::httpd;
use crate::httpd::config::Command;
use crate::httpd::pool::MemoryPool;
use crate::keep::reading::{self, Reading};
use crate::serve::own_config::{Section, ServerConfig};
pub use server::server_config;
use world::CommandSurroundings;

const BEGUN: &str = "internal error: the configuration was not begun";

/// The directives of others, and the entry without a name that ends the table.
const MORE: usize = 3;
const COUNT: usize = DIRECTIVES.len();

/// The command table of the module record.
pub struct Commands([ffi::command_rec; COUNT + MORE]);

// SAFETY: httpd reads the table; its pointers are to static data.
unsafe impl Sync for Commands {}

/// See [`Commands`].
pub static COMMANDS: Commands = Commands(table());

impl Commands {
    /// Its first entry.
    pub const fn as_ptr(&self) -> *const ffi::command_rec {
        self.0.as_ptr()
    }
}

const fn table() -> [ffi::command_rec; COUNT + MORE] {
    let end = ffi::command_rec {
        name: std::ptr::null(),
        func: ffi::cmd_func { raw_args: None },
        cmd_data: std::ptr::null_mut(),
        req_override: 0,
        args_how: ffi::RAW_ARGS,
        errmsg: std::ptr::null(),
    };
    let mut table = [end; COUNT + MORE];
    let mut index = 0;
    while index < COUNT {
        table[index] = ffi::command_rec {
            name: DIRECTIVES[index].c_name().as_ptr(),
            func: ffi::cmd_func { raw_args: Some(command) },
            cmd_data: std::ptr::without_provenance_mut(index),
            req_override: places(DIRECTIVES[index].contexts),
            args_how: ffi::RAW_ARGS,
            errmsg: DIRECTIVES[index].c_help().as_ptr(),
        };
        index += 1;
    }
    table[COUNT] = rewrite::RULE;
    table[COUNT + 1] = rewrite::HANDLER;
    table
}

/// Where httpd lets a directive stand. It knows no difference between servers, nor pools.
const fn places(contexts: Contexts) -> c_int {
    match contexts {
        Contexts::Sections => (ffi::RSRC_CONF | ffi::ACCESS_CONF) as c_int,
        _ => ffi::RSRC_CONF as c_int,
    }
}

unsafe extern "C" fn command(
    cmd: *mut ffi::cmd_parms,
    dir: *mut c_void,
    args: *const c_char,
) -> *const c_char {
    guard(c"internal error in a mod_lua_balancer directive".as_ptr(), || {
        // SAFETY: httpd's promise to a directive's function: a valid record, this module's
        // directory configuration, a NUL-terminated argument string.
        unsafe {
            let directive = &DIRECTIVES[(*(*cmd).cmd).cmd_data.addr()];
            let pool = (*cmd).pool;
            let Err(message) = run(directive, cmd, dir.cast(), &httpd::text(args)) else {
                return std::ptr::null();
            };
            let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
            ffi::apr_pstrmemdup(pool, message.as_ptr(), message.to_bytes().len() as ffi::apr_size_t)
        }
    })
}

/// # Safety
/// As for a directive's function.
unsafe fn run(
    directive: &'static Directive,
    cmd: *mut ffi::cmd_parms,
    dir: *mut Section,
    args: &str,
) -> Result<(), String> {
    // SAFETY: the caller's promise.
    let command = unsafe { Command::from_ptr(cmd) };
    let standing = Standing { in_virtual_host: command.in_virtual_host(), in_section: command.in_section() };
    if directive.name() == "LuaHookTranslate"
        && let Some(section) = command.section_of_files()
    {
        return Err(directive.named(&format!(
            "inside {section}> it would never run, since httpd looks at that section after translate_name; expected in the \
             server, a <VirtualHost> or a <Location>, or LuaHookSelect, which runs here"
        )));
    }
    let statement = directive.read(standing, args)?;
    if let Statement::Pool(name) = statement {
        return read_pool(command, &name).map_err(|text| directive.named(&text));
    }
    // SAFETY: the server's configuration was made by `create_server_config`, the section's by
    // `create_dir_config`. The configuration phase has one thread, and nothing called from here
    // runs another directive.
    let (server, section) = unsafe { (server_config(command.server()), dir.as_mut()) };
    let server = server.ok_or("internal error: no server configuration")?;
    let done = reading::with(|Reading { draft, expressions, .. }| {
        let number = number_of(server, standing, draft);
        let section = if standing.in_section { section } else { None };
        let section = section.unwrap_or(&mut server.section);
        let mut at = At { directive, place: place(command), server: number, section };
        draft.apply(statement, &mut at, &CommandSurroundings { command, expressions })
    });
    done.ok_or(BEGUN)?
}

fn place(command: Command) -> Position {
    let (file, line) = command.place();
    Position { file, line }
}

/// The number of a server: the main one's is 0.
fn number_of(server: &mut ServerConfig, standing: Standing, draft: &mut Draft) -> usize {
    let new = || if standing.in_virtual_host { draft.new_server() } else { 0 };
    *server.number.get_or_insert_with(new)
}

/// Reads what stands inside `<LuaBalancerPool>`, with each directive on its own.
fn read_pool(command: Command, name: &str) -> Result<(), String> {
    let inside = command.children();
    reading::with(|reading| reading.draft.open_pool(name, place(command), &inside)).ok_or(BEGUN)??;
    let read = command.walk();
    reading::with(|reading| reading.draft.close_pool(read)).ok_or(BEGUN)?
}

/// Makes a server's configuration.
pub unsafe extern "C" fn create_server_config(
    pool: *mut ffi::apr_pool_t,
    _: *mut ffi::server_rec,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || new_value(pool, ServerConfig::default()))
}

/// Makes a section's configuration.
pub unsafe extern "C" fn create_dir_config(pool: *mut ffi::apr_pool_t, _: *mut c_char) -> *mut c_void {
    guard(std::ptr::null_mut(), || new_value(pool, Section::default()))
}

/// Merges two sections' configurations. Runs for requests too.
pub unsafe extern "C" fn merge_dir_config(
    pool: *mut ffi::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    guard(outer, || {
        // SAFETY: both were made by `create_dir_config` or here.
        let (outer, inner) = unsafe { (&*outer.cast::<Section>(), &*inner.cast::<Section>()) };
        let merged = Section::merged(outer, inner, |both| {
            // SAFETY: the pool that httpd merges in; what is made there lives as long as the merged
            // configuration, which 'static stands for.
            let pool: MemoryPool<'static> = unsafe { MemoryPool::from_ptr(pool) }?;
            Some(pool.keep(both))
        });
        new_value(pool, merged)
    })
}

fn new_value<T: Copy>(pool: *mut ffi::apr_pool_t, value: T) -> *mut c_void {
    const { assert!(align_of::<T>() <= 8) };
    // SAFETY: a live pool; the block has the value's size and APR's alignment, which is 8; the
    // value needs no drop.
    unsafe {
        let block = ffi::apr_palloc(pool, size_of::<T>() as ffi::apr_size_t).cast::<T>();
        block.write(value);
        block.cast()
    }
}
