// SPDX-License-Identifier: Apache-2.0
//! TLS settings for backends (`SSLProxy…`): which of them hold for an attempt, and giving them to a
//! request for its time. The TLS module's record of its directives is opaque here: compared and
//! handed on by pointer.

use std::ffi::CStr;
use std::os::raw::c_void;
use std::ptr::null_mut;

use super::exchange::Proxy;
use super::proxy;
use super::request::Request;
use super::sections::{holds, record_of, sections};
use crate::ffi;

/// Modules that speak TLS with backends and have settings of their own for `<Proxy>` sections.
const MODULES: [&CStr; 2] = [c"mod_ssl.c", c"mod_tls.c"];

/// The settings of one attempt. Equal ones are the same directives' work; they live as long as the
/// configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// The modules' records; NULL where the module is not loaded.
    records: [*mut c_void; MODULES.len()],
    /// The virtual host, where no module is known to have such records: then it makes the
    /// difference.
    server: *mut ffi::server_rec,
}

// SAFETY: the pointers are compared; what they lead to is only read, by the modules that made it,
// for as long as it lives.
unsafe impl Send for Settings {}
// SAFETY: as above.
unsafe impl Sync for Settings {}

/// mod_proxy's settings of a virtual host, and the modules whose part of them matters here.
pub struct TlsModules {
    proxy: *mut ffi::module,
    modules: [*mut ffi::module; MODULES.len()],
}

// SAFETY: records of modules that stay loaded as long as the child lives, and only read.
unsafe impl Send for TlsModules {}
// SAFETY: as above.
unsafe impl Sync for TlsModules {}

impl TlsModules {
    /// Looks the modules up.
    pub fn new() -> Self {
        // SAFETY: httpd's list of modules, which is complete before there are children.
        let modules = MODULES.map(|name| unsafe { ffi::ap_find_linked_module(name.as_ptr()) });
        TlsModules { proxy: proxy::module(), modules }
    }

    /// [`TlsModules::settings`] by what mod_proxy gave its scheme handler.
    pub fn settings_by(&self, request: Request<'_>, proxy: &Proxy, urls: &[&CStr]) -> Settings {
        // SAFETY: mod_proxy's own configuration of this request's server, which it passes to scheme
        // handlers.
        unsafe { self.settings(request, proxy.conf, urls) }
    }

    /// The settings of the virtual host, then those of the `<Proxy>` sections that hold for these
    /// URLs: the last one counts, and a later URL counts more than an earlier one.
    ///
    /// # Safety
    /// `conf` is mod_proxy's configuration of the request's virtual host.
    pub unsafe fn settings(
        &self,
        request: Request<'_>,
        conf: *mut ffi::proxy_server_conf,
        urls: &[&CStr],
    ) -> Settings {
        let server = request.server();
        // SAFETY: a server's defaults live as long as the configuration.
        let defaults = unsafe { (*server).lookup_defaults };
        let mut records = self.modules.map(|module| record_of(defaults, module));
        if self.modules.iter().all(|module| module.is_null()) {
            return Settings { records, server };
        }
        // SAFETY: the caller's promise.
        let sections = unsafe { sections(conf) };
        for url in urls {
            for section in sections {
                let own = self.modules.map(|module| record_of(*section, module));
                // SAFETY: a section's record of mod_proxy, or NULL.
                let path = unsafe { record_of(*section, self.proxy).cast::<ffi::proxy_dir_conf>().as_ref() };
                if own.iter().all(|record| record.is_null()) || !path.is_some_and(|path| holds(path, url)) {
                    continue;
                }
                let changed = records.iter_mut().zip(own).filter(|(_, own)| !own.is_null());
                changed.for_each(|(record, own)| *record = own);
            }
        }
        Settings { records, server: null_mut() }
    }

    /// Gives the request these settings until the answer is dropped.
    pub fn wear<'r>(&self, request: Request<'r>, settings: &Settings) -> Option<Worn<'r>> {
        let wanted =
            || self.modules.into_iter().zip(settings.records).filter(|(_, record)| !record.is_null());
        let before = request.dir_config();
        if wanted().all(|(module, record)| record_of(before, module) == record) {
            return None;
        }
        let own = request.copied_dir_config();
        for (module, record) in wanted() {
            // SAFETY: a copy that is this request's alone; a record of that module.
            unsafe { ffi::lb_set_module_config(own, module, record) };
        }
        request.set_dir_config(own);
        Some(Worn { request, before })
    }
}

/// Puts the request's own settings back.
pub struct Worn<'r> {
    request: Request<'r>,
    before: *mut ffi::ap_conf_vector_t,
}

impl Drop for Worn<'_> {
    fn drop(&mut self) {
        self.request.set_dir_config(self.before);
    }
}
