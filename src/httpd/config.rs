//! Things of the configuration phase.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::pool::Pool;
use crate::ffi;

/// A parsed string expression; lives as long as its configuration.
#[derive(Clone, Copy)]
pub struct Expression(pub *const ffi::ap_expr_info_t);

// SAFETY: httpd evaluates one parsed expression from many threads itself (mod_headers and others); it is only read.
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

    /// A path under ServerRoot when it is relative.
    pub fn server_relative(&self, path: &str) -> Option<String> {
        let path = CString::new(path).ok()?;
        // SAFETY: httpd allocates the answer in the pool; NULL for an impossible path.
        let full = unsafe { ffi::ap_server_root_relative(self.pool(), path.as_ptr()) };
        // SAFETY: as above.
        (!full.is_null()).then(|| unsafe { super::text(full) })
    }
}

/// Whether `-D name` or a `Define` says so.
pub fn is_defined(name: &CStr) -> bool {
    // SAFETY: reads a list that changes only while the configuration is read, before children are made.
    unsafe { ffi::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// ServerRoot.
pub fn server_root(pool: Pool<'_>) -> PathBuf {
    // SAFETY: httpd allocates the answer in the pool; NULL for an impossible path.
    let root = unsafe { super::bytes(ffi::ap_server_root_relative(pool.as_ptr(), c".".as_ptr())) };
    PathBuf::from(OsStr::from_bytes(root.unwrap_or_default()))
}

fn ffi_copy(pool: *mut ffi::apr_pool_t, text: &CStr) -> *const std::os::raw::c_char {
    // SAFETY: a live pool, a NUL-terminated text of that length.
    unsafe { ffi::apr_pstrmemdup(pool, text.as_ptr(), text.to_bytes().len() as ffi::apr_size_t) }
}
