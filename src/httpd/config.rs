// SPDX-License-Identifier: Apache-2.0
//! Things of the configuration phase.

use std::ffi::{CStr, CString, OsStr};
use std::os::raw::{c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::pool::MemoryPool;
use crate::ffi;

/// A parsed string expression; lives as long as its configuration.
#[derive(Clone, Copy)]
pub struct Expression(pub *const ffi::ap_expr_info_t);

// SAFETY: httpd evaluates one parsed expression from many threads itself (mod_headers and others);
// it is only read.
unsafe impl Send for Expression {}
// SAFETY: as above.
unsafe impl Sync for Expression {}

/// One directive being read.
#[derive(Clone, Copy)]
pub struct Command(*mut ffi::cmd_parms);

impl Command {
    /// # Safety
    /// `raw` is the record that httpd passes to a directive's function, used during that call only.
    pub unsafe fn from_ptr(raw: *mut ffi::cmd_parms) -> Self {
        Command(raw)
    }

    fn get(&self) -> &ffi::cmd_parms {
        // SAFETY: valid during the directive's call, see `from_ptr`.
        unsafe { &*self.0 }
    }

    /// Pool of the configuration.
    pub fn pool(&self) -> *mut ffi::apr_pool_t {
        self.get().pool
    }

    /// The server (virtual host) that the directive stands in.
    pub fn server(&self) -> *mut ffi::server_rec {
        self.get().server
    }

    /// Whether it stands inside a virtual host.
    pub fn in_virtual_host(&self) -> bool {
        // SAFETY: a directive's server is valid.
        unsafe { (*self.get().server).is_virtual != 0 }
    }

    /// Whether it stands inside a Location, Directory or Files section.
    pub fn in_section(&self) -> bool {
        !self.get().path.is_null()
    }

    /// The name of a section around it that httpd chooses once it knows the file, as `<Directory>`.
    /// That is too late for translate_name.
    pub fn section_of_files(&self) -> Option<&'static str> {
        const SECTIONS: [&str; 9] = [
            "<Directory",
            "<DirectoryMatch",
            "<Files",
            "<FilesMatch",
            "<If",
            "<ElseIf",
            "<Else",
            "<Proxy",
            "<ProxyMatch",
        ];
        // SAFETY: the directive tree is valid while it is being walked, and names are pool strings.
        unsafe {
            let mut around = self.get().directive.as_ref()?.parent;
            while let Some(one) = around.as_ref() {
                let name = super::text(one.directive);
                let found = SECTIONS.into_iter().find(|section| section.eq_ignore_ascii_case(&name));
                if found.is_some() {
                    return found;
                }
                around = one.parent;
            }
        }
        None
    }

    /// File and line, for messages.
    pub fn place(&self) -> (String, u32) {
        // SAFETY: a directive's record is valid during its call; its file name is a pool string.
        unsafe {
            match self.get().directive.as_ref() {
                Some(directive) => (super::text(directive.filename), directive.line_num.max(0) as u32),
                None => (String::new(), 0),
            }
        }
    }

    /// Names (and places) of the directives inside this section.
    pub fn children(&self) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        // SAFETY: the directive tree is valid while it is being walked.
        unsafe {
            let Some(directive) = self.get().directive.as_ref() else { return found };
            let mut child = directive.first_child;
            while let Some(one) = child.as_ref() {
                found.push((super::text(one.directive), one.line_num.max(0) as u32));
                child = one.next;
            }
        }
        found
    }

    /// Runs the directives inside this section. Err is httpd's message.
    pub fn walk(&self) -> Result<(), String> {
        // SAFETY: as `children`; the vector is made for this walk and thrown away.
        unsafe {
            let Some(directive) = self.get().directive.as_ref() else { return Ok(()) };
            if directive.first_child.is_null() {
                return Ok(());
            }
            let vector = ffi::ap_create_per_dir_config(self.pool());
            let error = ffi::ap_walk_config(directive.first_child, self.0, vector);
            if error.is_null() { Ok(()) } else { Err(super::text(error)) }
        }
    }

    /// Parses a string expression such as `%{REMOTE_ADDR}`.
    pub fn expression(&self, text: &str) -> Result<Expression, String> {
        let text = CString::new(text).map_err(|_| "a NUL byte in the expression".to_owned())?;
        let mut error = std::ptr::null();
        // SAFETY: httpd copies what it keeps into the configuration's pool.
        let parsed = unsafe { ffi::lb_parse_string_expr(self.0, ffi_copy(self.pool(), &text), &mut error) };
        // SAFETY: a pool string.
        if error.is_null() { Ok(Expression(parsed)) } else { Err(unsafe { super::text(error) }) }
    }

    /// A path under DefaultRuntimeDir when it is relative, which is where mod_proxy looks for
    /// sockets.
    pub fn runtime_relative(&self, path: &str) -> Option<String> {
        // SAFETY: the configuration's pool, during the directive's call.
        runtime_relative(unsafe { MemoryPool::from_ptr(self.pool()) }?, path)
    }

    /// A path under ServerRoot when it is relative.
    pub fn server_relative(&self, path: &str) -> Option<String> {
        let path = CString::new(path).ok()?;
        // SAFETY: httpd allocates the answer in the pool; NULL for an impossible path.
        let full = unsafe { ffi::ap_server_root_relative(self.pool(), path.as_ptr()) };
        // SAFETY: as above.
        (!full.is_null()).then(|| unsafe { super::text(full) })
    }
}

/// A directive of the configuration as written, of any module.
#[derive(Debug, Clone, Default)]
pub struct DirectiveLine {
    /// Its name; of a section with its `<`.
    pub directive: String,
    /// The text behind it.
    pub args: String,
    /// Number of the section that it stands in, in the list.
    pub section: Option<usize>,
    /// File and line.
    pub place: (String, u32),
}

/// All directives of the configuration that has been read, in order, a section before what stands
/// in it. Only for the configuration phase.
pub fn lines() -> Vec<DirectiveLine> {
    let mut found = Vec::new();
    // SAFETY: httpd has built the tree when it calls any module in the configuration phase, which
    // has one thread; its nodes and their texts live until the next configuration is read.
    unsafe { collect(ffi::ap_conftree, None, &mut found) };
    found
}

/// # Safety
/// `first` is NULL or a node of a directive tree that is alive and not being changed.
unsafe fn collect(first: *const ffi::ap_directive_t, section: Option<usize>, found: &mut Vec<DirectiveLine>) {
    let mut next = first;
    // SAFETY: the caller's promise; siblings and children of a node are nodes or NULL, texts are C
    // strings or NULL.
    unsafe {
        while let Some(node) = next.as_ref() {
            found.push(DirectiveLine {
                directive: super::text(node.directive),
                args: super::text(node.args),
                section,
                place: (super::text(node.filename), node.line_num.max(0) as u32),
            });
            collect(node.first_child, Some(found.len() - 1), found);
            next = node.next;
        }
    }
}

/// Whether a module is loaded or built in, by the name of its source file.
pub fn has_module(file: &CStr) -> bool {
    // SAFETY: a look-up in httpd's list of modules, which does not change after the configuration
    // was read.
    unsafe { !ffi::ap_find_linked_module(file.as_ptr()).is_null() }
}

/// Whether anything here speaks TLS to backends.
pub fn speaks_tls() -> bool {
    // Since 2.4.48 modules register with httpd itself; before, mod_ssl was the one that mod_proxy
    // asked.
    // SAFETY: a look-up by name among all loaded objects.
    let has_handlers = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"ap_ssl_has_outgoing_handlers".as_ptr()) };
    if has_handlers.is_null() {
        return has_module(c"mod_ssl.c");
    }
    // SAFETY: httpd exports this name as a function without arguments that returns an int.
    let has_handlers =
        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(has_handlers) };
    // SAFETY: it looks at registered hooks, which do not change after the configuration was read.
    unsafe { has_handlers() != 0 }
}

/// Whether `-D name` or a `Define` says so.
pub fn is_defined(name: &CStr) -> bool {
    // SAFETY: reads a list that changes only while the configuration is read, before children are
    // made.
    unsafe { ffi::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// A path under DefaultRuntimeDir when it is relative.
pub fn runtime_relative(pool: MemoryPool<'_>, path: &str) -> Option<String> {
    let path = CString::new(path).ok()?;
    // SAFETY: httpd allocates the answer in the pool; NULL for an impossible path.
    let full = unsafe { ffi::ap_runtime_dir_relative(pool.as_ptr(), path.as_ptr()) };
    // SAFETY: as above.
    (!full.is_null()).then(|| unsafe { super::text(full) })
}

/// PidFile, under DefaultRuntimeDir when it is relative.
pub fn pid_file(pool: MemoryPool<'_>) -> String {
    // SAFETY: httpd's own text, or NULL, set while its directives are read by this one thread.
    let written = unsafe { super::text(ffi::ap_pid_fname) };
    runtime_relative(pool, &written).unwrap_or(written)
}

/// ServerRoot.
pub fn server_root(pool: MemoryPool<'_>) -> PathBuf {
    // SAFETY: httpd allocates the answer in the pool; NULL for an impossible path.
    let root = unsafe { super::bytes(ffi::ap_server_root_relative(pool.as_ptr(), c".".as_ptr())) };
    PathBuf::from(OsStr::from_bytes(root.unwrap_or_default()))
}

fn ffi_copy(pool: *mut ffi::apr_pool_t, text: &CStr) -> *const std::os::raw::c_char {
    // SAFETY: a live pool, a NUL-terminated text of that length.
    unsafe { ffi::apr_pstrmemdup(pool, text.as_ptr(), text.to_bytes().len() as ffi::apr_size_t) }
}
