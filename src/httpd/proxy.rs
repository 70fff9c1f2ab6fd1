// SPDX-License-Identifier: Apache-2.0
//! mod_proxy, bound late: Debian loads `lua_balancer.load` before `proxy.load`, so its symbols are
//! looked up in every pre_config (their addresses may have moved) instead of by the linker.

use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use balance::abilities::Abilities;

use super::pool::Text;
use super::request::Request;
use crate::ffi;

type PreRequest = unsafe extern "C" fn(
    *mut *mut ffi::proxy_worker,
    *mut *mut ffi::proxy_balancer,
    *mut ffi::request_rec,
    *mut ffi::proxy_server_conf,
    *mut *mut c_char,
) -> c_int;
/// A scheme handler: mod_proxy's word for what talks http, ajp, fcgi … to a backend.
pub type SchemeHandler = unsafe extern "C" fn(
    *mut ffi::request_rec,
    *mut ffi::proxy_worker,
    *mut ffi::proxy_server_conf,
    *mut c_char,
    *const c_char,
    ffi::apr_port_t,
) -> c_int;
type CanonHandler = unsafe extern "C" fn(*mut ffi::request_rec, *mut c_char) -> c_int;
type Names = *const *const c_char;
type Register<F> = unsafe extern "C" fn(F, Names, Names, c_int);
type DefineWorker = unsafe extern "C" fn(
    *mut ffi::apr_pool_t,
    *mut *mut ffi::proxy_worker,
    *mut ffi::proxy_balancer,
    *mut ffi::proxy_server_conf,
    *const c_char,
    c_int,
) -> *mut c_char;
type InitializeWorker = unsafe extern "C" fn(
    *mut ffi::proxy_worker,
    *mut ffi::server_rec,
    *mut ffi::apr_pool_t,
) -> ffi::apr_status_t;
type CanonEncode =
    unsafe extern "C" fn(*mut ffi::apr_pool_t, *const c_char, c_int, c_int, c_int, c_int) -> *mut c_char;
type CanonUrl = unsafe extern "C" fn(*mut ffi::request_rec) -> c_int;

/// How a scheme's own module makes the canonical form of `r->filename`.
#[derive(Clone, Copy)]
enum Canonical {
    /// mod_proxy's function.
    Url(CanonUrl),
    /// The hook that it runs. mod_proxy has the function since 2.4.62.
    Hook(CanonHandler),
}

/// The functions of mod_proxy that the module uses.
#[derive(Clone, Copy)]
pub struct Api {
    hook_pre_request: Register<PreRequest>,
    hook_scheme_handler: Register<SchemeHandler>,
    hook_canon_handler: Register<CanonHandler>,
    get_scheme_handlers: unsafe extern "C" fn() -> *mut ffi::apr_array_header_t,
    pub(super) define_worker: DefineWorker,
    pub(super) initialize_worker: InitializeWorker,
    canon_encode: CanonEncode,
    canon_url: Canonical,
    pub(super) module: *const ffi::module,
}

// SAFETY: functions and the module record of mod_proxy, which stay while it is loaded; nothing is
// changed through them.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

static API: AtomicPtr<Api> = AtomicPtr::new(std::ptr::null_mut());

fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: a look-up by name among all loaded objects.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

macro_rules! bind {
    ($name:literal) => {
        // SAFETY: mod_proxy exports the symbol with this signature (mod_proxy.h of httpd 2.4); a
        // missing one ends in None.
        unsafe {
            std::mem::transmute::<*mut c_void, _>(
                symbol($name).ok_or(concat!("it has no ", stringify!($name)))?,
            )
        }
    };
}

// The types stand in `Api`'s fields.
#[allow(clippy::missing_transmute_annotations)]
fn look_up() -> Result<Api, &'static str> {
    Ok(Api {
        hook_pre_request: bind!(c"proxy_hook_pre_request"),
        hook_scheme_handler: bind!(c"proxy_hook_scheme_handler"),
        hook_canon_handler: bind!(c"proxy_hook_canon_handler"),
        get_scheme_handlers: bind!(c"proxy_hook_get_scheme_handler"),
        define_worker: bind!(c"ap_proxy_define_worker"),
        initialize_worker: bind!(c"ap_proxy_initialize_worker"),
        canon_encode: if symbol(c"ap_proxy_canonenc_ex").is_some() {
            bind!(c"ap_proxy_canonenc_ex")
        } else {
            // Before 2.4.57, of the same form: its flag is another, and 0 in both.
            bind!(c"ap_proxy_canonenc")
        },
        canon_url: if symbol(c"ap_proxy_canon_url").is_some() {
            Canonical::Url(bind!(c"ap_proxy_canon_url"))
        } else {
            Canonical::Hook(bind!(c"proxy_run_canon_handler"))
        },
        module: bind!(c"proxy_module"),
    })
}

/// The abilities of the httpd whose headers the module was built with.
pub fn abilities() -> Abilities {
    Abilities {
        longest_url: ffi::LB_LONGEST_URL as usize,
        secret: ffi::LB_KNOWS_SECRET != 0,
        address_ttl: ffi::LB_KNOWS_ADDRESS_TTL != 0,
        http_upgrades: ffi::LB_HTTP_UPGRADES != 0,
    }
}

/// Whether mod_proxy is loaded at all.
pub fn is_loaded() -> bool {
    symbol(c"proxy_module").is_some()
}

/// mod_proxy's record, or NULL.
pub fn module() -> *mut ffi::module {
    symbol(c"proxy_module").map_or(std::ptr::null_mut(), <*mut c_void>::cast)
}

/// Looks mod_proxy's functions up again. Err: which one is missing.
pub fn bind() -> Result<Api, &'static str> {
    let api = look_up()?;
    let old = API.swap(Box::into_raw(Box::new(api)), Ordering::AcqRel);
    if !old.is_null() {
        // SAFETY: made by Box::into_raw here; pre_config runs in the parent's only thread, nobody
        // else holds it.
        drop(unsafe { Box::from_raw(old) });
    }
    Ok(api)
}

/// The functions bound last; None when mod_proxy is missing.
pub fn api() -> Option<&'static Api> {
    // SAFETY: the box is replaced only in pre_config, when no request runs in this process.
    unsafe { API.load(Ordering::Acquire).as_ref() }
}

/// Our own hooks in mod_proxy.
pub struct ProxyHooks {
    /// Gives a worker for `lb://` requests.
    pub pre_request: PreRequest,
    /// The loop over attempts.
    pub scheme_handler: SchemeHandler,
    /// Canonical form of `lb://` URLs.
    pub canon_handler: CanonHandler,
}

impl Api {
    /// Registers our hooks, before mod_proxy_balancer's and before all real scheme handlers.
    pub fn register(&self, hooks: &ProxyHooks) {
        let before: [*const c_char; 2] = [c"mod_proxy_balancer.c".as_ptr(), std::ptr::null()];
        // SAFETY: APR copies nothing but keeps the array's names only until hooks are sorted, which
        // reads static strings; the array itself is leaked so that it stays valid until then.
        unsafe {
            let before = Box::leak(Box::new(before)).as_ptr();
            (self.hook_pre_request)(hooks.pre_request, std::ptr::null(), before, ffi::APR_HOOK_REALLY_FIRST);
            (self.hook_scheme_handler)(
                hooks.scheme_handler,
                std::ptr::null(),
                std::ptr::null(),
                ffi::APR_HOOK_REALLY_FIRST,
            );
            (self.hook_canon_handler)(
                hooks.canon_handler,
                std::ptr::null(),
                before,
                ffi::APR_HOOK_REALLY_FIRST,
            );
        }
    }

    /// All scheme handlers but `own`, in mod_proxy's order.
    pub fn scheme_handlers(&self, own: SchemeHandler) -> Vec<SchemeHandler> {
        /// httpd's `ap_LINK_scheme_handler_t`, by APR_DECLARE_EXTERNAL_HOOK.
        #[repr(C)]
        struct Link {
            function: Option<SchemeHandler>,
            name: *const c_char,
            predecessors: Names,
            successors: Names,
            order: c_int,
        }
        // SAFETY: the array holds such links; it does not change while the server runs.
        unsafe {
            let Some(array) = (self.get_scheme_handlers)().as_ref() else { return Vec::new() };
            if array.nelts <= 0 || array.elts.is_null() {
                return Vec::new();
            }
            std::slice::from_raw_parts(array.elts.cast::<Link>(), array.nelts as usize)
                .iter()
                .filter_map(|link| link.function)
                .filter(|function| !std::ptr::fn_addr_eq(*function, own))
                .collect()
        }
    }

    /// The path (without its leading slash) as mod_proxy_http encodes it for a backend. None: it
    /// may not be encoded (400).
    pub fn encode_path<'r>(&self, request: Request<'r>, path: Text<'r>) -> Option<&'r [u8]> {
        let flags = if request.keeps_encoded_slashes() { ffi::LB_CANONENC_KEEPS_SLASHES as c_int } else { 0 };
        // SAFETY: mod_proxy allocates the answer in the request's pool; NULL for an invalid path.
        unsafe {
            let encoded = (self.canon_encode)(
                request.pool().as_ptr(),
                path.as_ptr(),
                path.bytes().len() as c_int,
                ffi::enc_path as c_int,
                flags,
                request.proxyreq(),
            );
            super::bytes(encoded)
        }
    }

    /// Lets the scheme's own module canonicalise `r->filename`. Ok, or a status.
    pub fn canonicalise(&self, request: Request<'_>) -> Result<(), i32> {
        // SAFETY: a live request whose file name starts with `proxy:`, in writable memory of its
        // pool.
        let status = unsafe {
            match self.canon_url {
                Canonical::Url(canonical) => canonical(request.as_ptr()),
                Canonical::Hook(hook) => {
                    let filename = (*request.as_ptr()).filename;
                    if !super::bytes(filename).is_some_and(|name| name.starts_with(b"proxy:")) {
                        return Err(ffi::DECLINED);
                    }
                    hook(request.as_ptr(), filename.add(b"proxy:".len()))
                }
            }
        };
        if status == 0 { Ok(()) } else { Err(status) }
    }
}
