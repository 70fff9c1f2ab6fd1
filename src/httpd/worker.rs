// SPDX-License-Identifier: Apache-2.0
//! mod_proxy's workers: connection pools to one backend, private to the module and to a child.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use balance::member::ConnectionSettings;

use super::pool::MemoryPool;
use super::proxy::Api;
use crate::ffi;

/// A worker of this child. Never freed before the child ends: mod_proxy has no way to.
#[derive(Clone, Copy)]
pub struct Worker {
    raw: *mut ffi::proxy_worker,
    url: &'static CStr,
    moved: &'static Moved,
}

/// The bytes that a worker has moved.
struct Moved {
    /// mod_proxy's words.
    sent: &'static AtomicI64,
    received: &'static AtomicI64,
    /// How many of them were asked for by [`Worker::take_moved`].
    sent_taken: AtomicI64,
    received_taken: AtomicI64,
}

/// Raises a count that others raise as well, and returns what is new. Each byte is new to one of
/// those who ask.
#[inline]
fn rise(taken: &AtomicI64, now: i64) -> u64 {
    let mut before = taken.load(Relaxed);
    while before < now {
        match taken.compare_exchange(before, now, Relaxed, Relaxed) {
            Ok(_) => return (now - before) as u64,
            Err(other) => before = other,
        }
    }
    0
}

// SAFETY: mod_proxy's workers are made to be used by all threads of a child; what changes in them
// has its own locks.
unsafe impl Send for Worker {}
// SAFETY: as above.
unsafe impl Sync for Worker {}

impl Worker {
    /// The raw worker.
    pub fn as_ptr(self) -> *mut ffi::proxy_worker {
        self.raw
    }

    /// mod_proxy's normal form of the URL, which its handlers expect; without trailing slash. For a
    /// unix socket this is the URL behind the `|`.
    pub fn url(self) -> &'static CStr {
        self.url
    }

    /// Bytes sent to the backend so far by all children, as far as the scheme's module counts them:
    /// mod_proxy_http2 does not.
    #[inline]
    pub fn sent(self) -> i64 {
        self.moved.sent.load(Relaxed)
    }

    /// Bytes that were sent and received since anybody has asked last, as mod_proxy counts them:
    /// without headers of answers, and nothing over HTTP/2. Requests that run at the same time may
    /// have some of each other's. `sent`: what [`Worker::sent`] says now.
    #[inline]
    pub fn take_moved(self, sent: i64) -> (u64, u64) {
        let moved = self.moved;
        (rise(&moved.sent_taken, sent), rise(&moved.received_taken, moved.received.load(Relaxed)))
    }

    /// Whether all of its connections are in use, and it is one that requests wait for with an end
    /// (`acquire=`).
    pub fn is_exhausted(self) -> bool {
        // SAFETY: as in `sent`; the list of connections has a lock of its own.
        unsafe { ffi::lb_worker_is_exhausted(self.raw) != 0 }
    }

    /// # Safety
    /// `raw` is a worker that lives, with its pool, until the child ends, and was initialised: its
    /// shared part stays where it is.
    unsafe fn new(raw: *mut ffi::proxy_worker, pool: *mut ffi::apr_pool_t) -> Self {
        // SAFETY: the caller's promise. The copy's place is in the pool that lives as long. The
        // counts are aligned words of the worker, read as atomics here: mod_proxy's threads write
        // them without an order among themselves, one machine word at a time.
        unsafe {
            let url = super::bytes(ffi::lb_worker_url(raw)).unwrap_or_default();
            let url = match url.iter().position(|b| *b == b'|') {
                Some(bar) if url.starts_with(b"unix:") => &url[bar + 1..],
                _ => url,
            };
            let url = url.strip_suffix(b"/").unwrap_or(url);
            let copy = ffi::apr_pstrmemdup(pool, url.as_ptr().cast(), url.len());
            // Like the worker itself, it is there until the child ends.
            let moved = Box::leak(Box::new(Moved {
                sent: AtomicI64::from_ptr(ffi::lb_worker_sent(raw)),
                received: AtomicI64::from_ptr(ffi::lb_worker_received(raw)),
                sent_taken: AtomicI64::default(),
                received_taken: AtomicI64::default(),
            }));
            Worker { raw, url: CStr::from_ptr(copy), moved }
        }
    }
}

/// The pool that a child's workers live in. Used under one lock, see `app::workers`.
pub struct WorkerPool(*mut ffi::apr_pool_t);

// SAFETY: the pool has an allocator with a mutex of its own, and `app::workers` uses it under a
// lock.
unsafe impl Send for WorkerPool {}

impl WorkerPool {
    /// Makes the pool in a child's pool.
    pub fn new(child: MemoryPool<'static>) -> Option<Self> {
        let mut allocator = std::ptr::null_mut();
        let mut mutex = std::ptr::null_mut();
        let mut pool = std::ptr::null_mut();
        // SAFETY: as httpd does for its own long-lived pools: an allocator owned by the pool, with
        // a mutex from it.
        unsafe {
            if ffi::apr_allocator_create(&mut allocator) != 0 {
                return None;
            }
            if ffi::apr_pool_create_ex(&mut pool, child.as_ptr(), None, allocator) != 0 {
                return None;
            }
            ffi::apr_allocator_owner_set(allocator, pool);
            if ffi::apr_thread_mutex_create(&mut mutex, 0, pool) == 0 {
                ffi::apr_allocator_mutex_set(allocator, mutex);
            }
        }
        Some(WorkerPool(pool))
    }

    /// Makes and initialises a worker for a URL. Err: mod_proxy's own words.
    pub fn define(&self, api: &Api, url: &str, options: &ConnectionSettings) -> Result<Worker, String> {
        let server = super::log::main_server();
        if server.is_null() {
            return Err("the server is not up yet".into());
        }
        let url = CString::new(url).map_err(|_| "a NUL byte in the URL".to_owned())?;
        let secret = c_string(options.secret.as_deref());
        let upgrade = c_string(options.upgrade.as_deref());
        let options = raw_options(options, secret.as_deref(), upgrade.as_deref());
        let mut worker = std::ptr::null_mut();
        // SAFETY: a live pool used under the caller's lock; mod_proxy copies the URL; options are
        // read during the call.
        unsafe {
            let error = (api.define_worker)(
                self.0,
                &mut worker,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                url.as_ptr(),
                0,
            );
            if !error.is_null() {
                return Err(super::text(error));
            }
            ffi::lb_worker_apply(worker, &options);
            if (api.initialize_worker)(worker, server, self.0) != 0 {
                return Err("mod_proxy could not initialise the worker".into());
            }
            ffi::lb_worker_make_usable(worker);
            Ok(Worker::new(worker, self.0))
        }
    }
}

fn c_string(text: Option<&str>) -> Option<CString> {
    text.and_then(|text| CString::new(text).ok())
}

fn number<T: Into<u64>>(value: Option<T>, scale: i64) -> i64 {
    value.map_or(-1, |v| i64::try_from(v.into()).unwrap_or(i64::MAX / scale).saturating_mul(scale))
}

fn raw_options(
    options: &ConnectionSettings,
    secret: Option<&CStr>,
    upgrade: Option<&CStr>,
) -> ffi::lb_worker_options {
    ffi::lb_worker_options {
        hmax: number(options.max, 1),
        smax: number(options.smax, 1),
        min: number(options.min, 1),
        ttl_us: number(options.ttl_ms, 1000),
        acquire_us: number(options.acquire_ms, 1000),
        timeout_us: number(options.timeout_ms, 1000),
        conn_timeout_us: number(options.connectiontimeout_ms, 1000),
        ping_us: number(options.ping_ms, 1000),
        keepalive: number(options.keepalive.map(u64::from), 1),
        disablereuse: number(options.disablereuse.map(u64::from), 1),
        flush_packets: number(options.flushpackets, 1),
        flush_wait_us: number(options.flushwait_ms, 1000),
        iobuffersize: number(options.iobuffersize, 1),
        receivebuffersize: number(options.receivebuffersize, 1),
        responsefieldsize: number(options.responsefieldsize, 1),
        addressttl_s: number(options.addressttl_s, 1),
        secret: secret.map_or(std::ptr::null(), CStr::as_ptr),
        upgrade: upgrade.map_or(std::ptr::null(), CStr::as_ptr),
    }
}
