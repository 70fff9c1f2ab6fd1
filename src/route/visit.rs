// SPDX-License-Identifier: Apache-2.0
//! A script's visit to a request.

use script::Phase;

use crate::httpd::request::Request;
use crate::relay::journey::Serving;
use crate::serve::scope::Scope;

/// A request that a hook's script looks at.
#[derive(Clone, Copy)]
pub struct Visit<'r> {
    /// The request, and where it runs.
    pub serving: Serving<'r>,
    /// The directives that hold for it.
    pub scope: Scope<'r>,
    /// Its fields before the script.
    pub before: FieldsBefore<'r>,
}

/// The fields of a request that a script sets in mod_lua's manner, as they were before the script.
#[derive(Clone, Copy)]
pub struct FieldsBefore<'r> {
    /// `r.filename`.
    pub filename: Option<&'r [u8]>,
    /// `r.handler`.
    pub handler: Option<&'r [u8]>,
    /// `r.proxyreq`.
    pub proxyreq: i32,
    /// The hook.
    pub phase: Phase,
}

impl<'r> FieldsBefore<'r> {
    /// The fields as they are now.
    pub fn of(request: Request<'r>, phase: Phase) -> Self {
        let (filename, handler) = (request.filename(), request.handler());
        FieldsBefore { filename, handler, proxyreq: request.proxyreq(), phase }
    }

    /// The file name, when it was set since.
    pub fn new_filename(self, request: Request<'r>) -> Option<&'r [u8]> {
        let now = request.filename().filter(|now| !now.is_empty());
        now.filter(|now| self.filename.map(<[u8]>::as_ptr) != Some(now.as_ptr()))
    }

    /// The handler, when it was set since.
    pub fn new_handler(self, request: Request<'r>) -> Option<&'r [u8]> {
        request.handler().filter(|now| self.handler.map(<[u8]>::as_ptr) != Some(now.as_ptr()))
    }

    /// Takes back the fields that a script has set before it failed, so that httpd goes on without
    /// them.
    pub fn restore(self, request: Request<'r>) {
        match self.filename {
            Some(_) => request.set_filename(self.filename),
            None => request.point_filename(std::ptr::null_mut()),
        }
        request.set_handler(self.handler);
        request.set_proxyreq(self.proxyreq);
    }
}
