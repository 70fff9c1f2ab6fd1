// SPDX-License-Identifier: Apache-2.0
//! mod_proxy's workers: connection pools to one backend, private to the module and to a child.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicI64, AtomicPtr};

use balance::member::ConnectionSettings;

use super::pool::MemoryPool;
use super::proxy::Api;
use crate::ffi;

/// Bytes of workers that were freed which are kept for others.
const MOST_FREE: usize = 1 << 20;

/// A worker of this child, with connections and memory of its own.
///
/// It is there until [`WorkerPool::free`], which is for workers that no request has in its hand.
#[derive(Clone, Copy)]
pub struct Worker(NonNull<Made>);

/// A worker's parts.
struct Made {
    raw: *mut ffi::proxy_worker,
    /// All that mod_proxy has made for it lies here.
    pool: *mut ffi::apr_pool_t,
    url: Box<[u8]>,
    /// mod_proxy's words.
    sent: *const AtomicI64,
    received: *const AtomicI64,
    /// How many of the bytes were asked for by [`Worker::take_moved`].
    sent_taken: AtomicI64,
    received_taken: AtomicI64,
}

/// A place for a worker, read without a lock.
#[derive(Default)]
pub struct WorkerCell(AtomicPtr<Made>);

impl WorkerCell {
    /// The worker that was put here last.
    #[inline]
    pub fn get(&self) -> Option<Worker> {
        NonNull::new(self.0.load(Acquire)).map(Worker)
    }

    /// Puts a worker here.
    pub fn set(&self, worker: Worker) {
        self.0.store(worker.0.as_ptr(), Release);
    }

    /// Takes it away.
    pub fn clear(&self) {
        self.0.store(std::ptr::null_mut(), Release);
    }
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
    #[inline]
    fn made(&self) -> &Made {
        // SAFETY: it is there as long as anybody has it in his hand, see the type.
        unsafe { self.0.as_ref() }
    }

    /// Whether both are the same.
    pub fn is(self, other: Worker) -> bool {
        self.0 == other.0
    }

    /// The raw worker.
    pub fn as_ptr(self) -> *mut ffi::proxy_worker {
        self.made().raw
    }

    /// mod_proxy's normal form of the URL, which its handlers expect; without trailing slash. For a
    /// unix socket this is the URL behind the `|`.
    pub fn url(&self) -> &[u8] {
        &self.made().url
    }

    /// Bytes sent to the backend so far by all children, as far as the scheme's module counts them:
    /// mod_proxy_http2 does not.
    #[inline]
    pub fn sent(self) -> i64 {
        // SAFETY: an aligned word of the worker, which mod_proxy's threads write without an order
        // among themselves, one machine word at a time.
        unsafe { &*self.made().sent }.load(Relaxed)
    }

    /// Bytes that were sent and received since anybody has asked last, as mod_proxy counts them:
    /// without headers of answers, and nothing over HTTP/2. Requests that run at the same time may
    /// have some of each other's. `sent`: what [`Worker::sent`] says now.
    #[inline]
    pub fn take_moved(self, sent: i64) -> (u64, u64) {
        let made = self.made();
        // SAFETY: as in `sent`.
        let received = unsafe { &*made.received }.load(Relaxed);
        (rise(&made.sent_taken, sent), rise(&made.received_taken, received))
    }

    /// Whether all of its connections are in use, and it is one that requests wait for with an end
    /// (`acquire=`).
    pub fn is_exhausted(self) -> bool {
        // SAFETY: as in `sent`; the list of connections has a lock of its own.
        unsafe { ffi::lb_worker_is_exhausted(self.as_ptr()) != 0 }
    }

    /// Whether none of its connections is in use.
    pub fn is_idle(self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::lb_worker_is_idle(self.as_ptr()) != 0 }
    }

    /// # Safety
    /// `raw` was made in this pool, and initialised: its shared part stays where it is. Nobody
    /// destroys the pool but [`WorkerPool::free`], or the end of the child.
    unsafe fn new(raw: *mut ffi::proxy_worker, pool: *mut ffi::apr_pool_t) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let url = super::bytes(ffi::lb_worker_url(raw)).unwrap_or_default();
            let url = match url.iter().position(|b| *b == b'|') {
                Some(bar) if url.starts_with(b"unix:") => &url[bar + 1..],
                _ => url,
            };
            let made = Box::new(Made {
                raw,
                pool,
                url: url.strip_suffix(b"/").unwrap_or(url).into(),
                sent: ffi::lb_worker_sent(raw).cast(),
                received: ffi::lb_worker_received(raw).cast(),
                sent_taken: AtomicI64::default(),
                received_taken: AtomicI64::default(),
            });
            Worker(NonNull::from(Box::leak(made)))
        }
    }
}

/// The pool that a child's workers live in. Used under one lock, see `serve::workers`.
pub struct WorkerPool(*mut ffi::apr_pool_t);

// SAFETY: the pool has an allocator with a mutex of its own, and `serve::workers` uses it under
// a lock.
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
            ffi::apr_allocator_max_free_set(allocator, MOST_FREE);
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
        // SAFETY: a live pool used under the caller's lock, and one below it with the same
        // allocator; mod_proxy copies the URL; options are read during the call.
        unsafe {
            let mut pool = std::ptr::null_mut();
            if ffi::apr_pool_create_ex(&mut pool, self.0, None, std::ptr::null_mut()) != 0 {
                return Err("no memory for another worker".into());
            }
            let error = (api.define_worker)(
                pool,
                &mut worker,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                url.as_ptr(),
                0,
            );
            if !error.is_null() {
                let error = super::text(error);
                ffi::apr_pool_destroy(pool);
                return Err(error);
            }
            ffi::lb_worker_apply(worker, &options);
            if (api.initialize_worker)(worker, server, pool) != 0 {
                ffi::apr_pool_destroy(pool);
                return Err("mod_proxy could not initialise the worker".into());
            }
            ffi::lb_worker_make_usable(worker);
            Ok(Worker::new(worker, pool))
        }
    }

    /// Closes a worker's connections and frees all of it. No request has it in its hand, and none
    /// of its connections is in use.
    pub fn free(&self, worker: Worker) {
        // SAFETY: made by `define` with a pool of its own below this one, in a box; the caller
        // gives up the last copy.
        unsafe {
            let made = Box::from_raw(worker.0.as_ptr());
            ffi::apr_pool_destroy(made.pool);
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
