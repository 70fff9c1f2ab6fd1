// SPDX-License-Identifier: Apache-2.0
//! A request, borrowed for the time of a hook.

use std::marker::PhantomData;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::NonNull;

use super::pool::{Kept, MemoryPool, Text};
use super::table::AprTable;
use crate::ffi;

mod asked;
mod family;

/// httpd's request_rec, alive for `'r`.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    raw: NonNull<ffi::request_rec>,
    lives: PhantomData<&'r ()>,
}

/// The roles of the proxy for a request.
pub const PROXYREQ_NONE: i32 = ffi::PROXYREQ_NONE as i32;
/// A forward proxy.
pub const PROXYREQ_PROXY: i32 = ffi::PROXYREQ_PROXY as i32;
/// A reverse proxy.
pub const PROXYREQ_REVERSE: i32 = ffi::PROXYREQ_REVERSE as i32;

macro_rules! text_fields {
    ($($name:ident),*) => {
        $(
            /// The field's bytes; None when httpd has none.
            pub fn $name(self) -> Option<&'r [u8]> {
                // SAFETY: a string field of a live request: NULL or NUL-terminated, in the
                // request's pool or longer.
                unsafe { super::bytes(self.get().$name) }
            }
        )*
    };
}

impl<'r> Request<'r> {
    /// # Safety
    /// `raw` is NULL or a request that lives for `'r`, handled by this thread.
    pub unsafe fn from_ptr(raw: *mut ffi::request_rec) -> Option<Self> {
        NonNull::new(raw).map(|raw| Request { raw, lives: PhantomData })
    }

    /// The raw request.
    pub fn as_ptr(self) -> *mut ffi::request_rec {
        self.raw.as_ptr()
    }

    fn get(self) -> &'r ffi::request_rec {
        // SAFETY: alive for 'r by `from_ptr`'s promise. The reference is used for reading one field
        // at a time.
        unsafe { &*self.raw.as_ptr() }
    }

    text_fields!(
        uri,
        args,
        filename,
        handler,
        method,
        unparsed_uri,
        hostname,
        protocol,
        the_request,
        useragent_ip,
        user,
        path_info,
        content_type,
        canonical_filename,
        log_id,
        range
    );

    /// The (decoded) path, empty when there is none.
    pub fn uri_text(self) -> Text<'r> {
        let uri = self.get().uri;
        // SAFETY: a string field of a live request, as in `text_fields`.
        if uri.is_null() { Text::from(c"") } else { unsafe { Text::from_ptr(uri) } }
    }

    /// Where `/lb://` begins in the file name, behind `proxy:` and a scheme. Asked for every
    /// proxied request, so that it looks at the colons alone.
    pub fn own_scheme_in_filename(self) -> Option<usize> {
        let filename = self.get().filename.cast_const();
        if filename.is_null() {
            return None;
        }
        let mut at = filename;
        // SAFETY: strchr reads up to the end of a NUL-terminated string. The compared bytes lie
        // behind its start and, since a NUL differs from a slash, before its end.
        unsafe {
            loop {
                at = libc::strchr(at, i32::from(b':'));
                if at.is_null() {
                    return None;
                }
                let before = at.addr() - filename.addr();
                if before >= 3
                    && std::slice::from_raw_parts(at.sub(3).cast::<u8>(), 3).eq_ignore_ascii_case(b"/lb")
                    && *at.add(1).cast::<u8>() == b'/'
                    && *at.add(2).cast::<u8>() == b'/'
                {
                    return Some(before - 3);
                }
                at = at.add(1);
            }
        }
    }

    /// A number that is another for each request that a client sends, and stays the same over its
    /// sub-requests and internal redirects.
    pub fn draw(self) -> u64 {
        let record = self.get();
        (record.request_time as u64) ^ (record.connection.addr() as u64).rotate_left(32)
    }

    /// The request's pool.
    pub fn pool(self) -> MemoryPool<'r> {
        // SAFETY: a request's pool lives as long as the request.
        unsafe { MemoryPool::from_ptr(self.get().pool) }
            .unwrap_or_else(|| unreachable!("a request has a pool"))
    }

    /// Points a string field at pool memory.
    fn put(self, place: impl FnOnce(&mut ffi::request_rec) -> &mut *mut c_char, value: Option<&[u8]>) {
        let text = value.map_or(std::ptr::null_mut(), |value| self.pool().copy(value));
        // SAFETY: alive and handled by this thread alone; no other reference is held across this
        // store.
        unsafe { *place(&mut *self.as_ptr()) = text }
    }

    /// Sets the (decoded) path.
    pub fn set_uri(self, value: &[u8]) {
        self.put(|r| &mut r.uri, Some(value));
    }

    /// Sets the query string.
    pub fn set_args(self, value: Option<&[u8]>) {
        self.put(|r| &mut r.args, value);
    }

    /// Sets the file name. None is an empty one, which no file has: httpd's modules read a name
    /// unasked once there was one.
    pub fn set_filename(self, value: Option<&[u8]>) {
        self.put(|r| &mut r.filename, Some(value.unwrap_or_default()));
    }

    /// Has httpd know what the file name stands for.
    pub fn look_at_file(self) {
        // SAFETY: a live request with a file name, handled by this thread alone.
        unsafe { ffi::lb_look_at_file(self.as_ptr()) }
    }

    /// Sets the user.
    pub fn set_user(self, value: Option<&[u8]>) {
        self.put(|r| &mut r.user, value);
    }

    /// Sets the handler.
    pub fn set_handler(self, value: Option<&[u8]>) {
        let text = value.map_or(std::ptr::null_mut(), |value| self.pool().copy(value));
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).handler = text }
    }

    /// Sets the content type.
    pub fn set_content_type(self, value: Option<&[u8]>) {
        let text = value.map_or(std::ptr::null_mut(), |value| self.pool().copy(value));
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).content_type = text }
    }

    /// Hands the request to mod_proxy as a reverse proxy request for `proxy:URL`.
    pub fn send_to_proxy(self, filename: *mut c_char) {
        // SAFETY: as in `put`; `filename` is in the request's pool, the handler's name is static.
        unsafe {
            let r = &mut *self.as_ptr();
            r.filename = filename;
            r.handler = c"proxy-server".as_ptr();
            r.proxyreq = PROXYREQ_REVERSE;
        }
    }

    /// The URL that mod_proxy is asked for, behind `proxy:`.
    pub fn proxied_url(self) -> Option<&'r [u8]> {
        self.filename()?.strip_prefix(b"proxy:")
    }

    /// The text behind the `proxy:` of a file name that begins so; none for others.
    #[inline]
    pub fn proxied(self) -> Kept {
        let name = self.get().filename.cast_const();
        // SAFETY: a NUL-terminated string, which stays in the request's pool when another is set;
        // what is behind its first bytes is within it.
        unsafe {
            if name.is_null() || libc::strncmp(name, c"proxy:".as_ptr(), 6) != 0 {
                return Kept::default();
            }
            Kept::from_ptr(name.add(6))
        }
    }

    /// Points the file name at pool memory that is there already.
    pub fn point_filename(self, filename: *mut c_char) {
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).filename = filename }
    }

    /// PROXYREQ_NONE, _PROXY, _REVERSE or _RESPONSE.
    pub fn proxyreq(self) -> i32 {
        self.get().proxyreq
    }

    /// Sets proxyreq.
    pub fn set_proxyreq(self, value: i32) {
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).proxyreq = value as c_int }
    }

    /// The status.
    pub fn status(self) -> i32 {
        self.get().status
    }

    /// Sets the status.
    pub fn set_status(self, value: i32) {
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).status = value as c_int }
    }

    /// Gives a status that httpd has no words for a status line of its own; httpd would send 500
    /// instead.
    pub fn name_status(self, status: i32) {
        // SAFETY: httpd returns a static string or one of the request's pool.
        let known =
            unsafe { super::bytes(ffi::lb_status_line(self.pool().as_ptr(), status)) }.unwrap_or_default();
        if known.starts_with(status.to_string().as_bytes())
            && !known.ends_with(format!("Status {status}").as_bytes())
        {
            return;
        }
        let words: &[u8] = if status == 418 { b"I'm a Teapot" } else { b"Unnamed" };
        let line = self.pool().concat(&[status.to_string().as_bytes(), b" ", words]);
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).status_line = line }
    }

    /// Method number (M_GET, …).
    pub fn method_number(self) -> u32 {
        self.get().method_number as u32
    }

    /// Bytes of body sent to the client so far.
    pub fn bytes_sent(self) -> i64 {
        self.get().bytes_sent
    }

    /// Microseconds since the epoch when the request came in.
    pub fn started_us(self) -> i64 {
        self.get().request_time
    }

    /// Whether its method is another than GET or HEAD, which mostly have no body.
    pub fn may_have_body(self) -> bool {
        self.method_number() != ffi::M_GET
    }

    /// Takes back that the request is one for a directory, so that mod_dir looks for no index
    /// there.
    pub fn forget_directory(self) {
        // SAFETY: as in `put`.
        unsafe {
            let kind = &mut (*self.as_ptr()).finfo.filetype;
            if *kind == ffi::APR_DIR {
                *kind = ffi::APR_NOFILE;
            }
        }
    }

    /// Whether a body comes with the request.
    pub fn has_body(self) -> bool {
        // SAFETY: a live request.
        unsafe { ffi::ap_request_has_body(self.as_ptr()) != 0 }
    }

    /// Whether the client has gone.
    pub fn aborted(self) -> bool {
        // SAFETY: a request's connection lives longer than it.
        unsafe { (*self.get().connection).aborted != 0 }
    }

    /// Says that the client has gone: nothing is sent to it any more.
    pub fn abort(self) {
        // SAFETY: as in `aborted`; this thread handles the connection.
        unsafe { (*self.get().connection).aborted = 1 }
    }

    /// How many requests the client's connection has carried before.
    pub fn keepalives(self) -> i32 {
        // SAFETY: as in `aborted`.
        unsafe { (*self.get().connection).keepalives }
    }

    /// Sets that number.
    pub fn set_keepalives(self, value: i32) {
        // SAFETY: as in `aborted`; this thread handles the connection.
        unsafe { (*self.get().connection).keepalives = value }
    }

    /// Lets the client's connection end after this request.
    pub fn end_connection_after(self) {
        // SAFETY: as in `set_keepalives`.
        unsafe { (*self.get().connection).keepalive = ffi::AP_CONN_CLOSE }
    }

    /// The server's MaxKeepAliveRequests and KeepAlive.
    pub fn keepalive_max(self) -> i32 {
        // SAFETY: a request's server lives as long as the configuration.
        unsafe { (*self.get().server).keep_alive_max }
    }

    /// Headers from the client.
    pub fn headers_in(self) -> AprTable<'r> {
        // SAFETY: a table of the request.
        unsafe { AprTable::from_ptr(self.get().headers_in) }
    }

    /// Headers of the answer.
    pub fn headers_out(self) -> AprTable<'r> {
        // SAFETY: a table of the request.
        unsafe { AprTable::from_ptr(self.get().headers_out) }
    }

    /// Headers that also error answers carry.
    pub fn err_headers_out(self) -> AprTable<'r> {
        // SAFETY: a table of the request.
        unsafe { AprTable::from_ptr(self.get().err_headers_out) }
    }

    /// Notes between modules.
    pub fn notes(self) -> AprTable<'r> {
        // SAFETY: a table of the request.
        unsafe { AprTable::from_ptr(self.get().notes) }
    }

    /// Environment, as in `%{…}e`.
    pub fn env(self) -> AprTable<'r> {
        // SAFETY: a table of the request.
        unsafe { AprTable::from_ptr(self.get().subprocess_env) }
    }

    /// The module's own per-request pointer, or NULL.
    pub fn own_record(self) -> *mut c_void {
        // SAFETY: a live request has a request_config with a place for every module.
        unsafe { ffi::lb_module_config(self.get().request_config, ffi::own_module()) }
    }

    /// Sets the module's own per-request pointer.
    pub fn set_own_record(self, value: *mut c_void) {
        // SAFETY: as in `own_record`.
        unsafe { ffi::lb_set_module_config(self.get().request_config, ffi::own_module(), value) }
    }

    /// The module's merged per-directory configuration.
    pub fn own_dir_config(self) -> *mut c_void {
        // SAFETY: a live request has a per_dir_config.
        unsafe { ffi::lb_module_config(self.get().per_dir_config, ffi::own_module()) }
    }

    /// The module's configuration of the request's virtual host.
    pub fn own_server_config(self) -> *mut c_void {
        // SAFETY: a request's server has a module_config.
        unsafe { ffi::lb_module_config((*self.get().server).module_config, ffi::own_module()) }
    }

    /// The virtual host.
    pub fn server(self) -> *mut ffi::server_rec {
        self.get().server
    }

    /// The merged per-directory configuration of all modules.
    pub fn dir_config(self) -> *mut ffi::ap_conf_vector_t {
        self.get().per_dir_config
    }

    /// A copy of it, in the request's pool.
    pub fn copied_dir_config(self) -> *mut ffi::ap_conf_vector_t {
        let pool = self.pool().as_ptr();
        // SAFETY: a live request; merged with nothing, a configuration is a copy of itself.
        unsafe { ffi::ap_merge_per_dir_configs(pool, self.dir_config(), ffi::ap_create_per_dir_config(pool)) }
    }

    /// Puts another one in its place, which lives as long as the request.
    pub fn set_dir_config(self, value: *mut ffi::ap_conf_vector_t) {
        // SAFETY: as in `put`.
        unsafe { (*self.as_ptr()).per_dir_config = value }
    }

    /// The server's address of the client's connection.
    pub fn server_addr(self) -> Option<&'r [u8]> {
        // SAFETY: a request's connection lives longer than it, and so does its text.
        unsafe { super::bytes((*self.get().connection).local_ip) }
    }
}
