// SPDX-License-Identifier: Apache-2.0
//! Shared memory that children inherit by fork.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicI32, AtomicU64};

use table::dict::{Condition, Process};

/// Maps `length` bytes of zeros, shared with all later children. Pages cost nothing until they are
/// touched.
pub fn map_shared(length: usize) -> io::Result<*mut u8> {
    // SAFETY: a new anonymous mapping; nothing existing is touched.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) }
}

/// Gives a mapping back.
///
/// # Safety
/// `base` came from [`map_shared`] with this length and nothing in this process uses it any more.
pub unsafe fn unmap(base: *mut u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(base.cast(), length) };
}

/// A number that children share with the process that made it, as long as that has it.
#[derive(Debug)]
pub struct SharedNumber(*const AtomicI32);

// SAFETY: an atomic in a mapping that lives as long as this value.
unsafe impl Send for SharedNumber {}
// SAFETY: as above.
unsafe impl Sync for SharedNumber {}

impl SharedNumber {
    /// 0 at first.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new() -> io::Result<Self> {
        Ok(SharedNumber(map_shared(size_of::<AtomicI32>())?.cast()))
    }
}

/// Numbers that children share with the process that made them, as long as that has them.
#[derive(Debug)]
pub struct SharedWords<const N: usize>(*const [AtomicU64; N]);

// SAFETY: atomics in a mapping that lives as long as this value.
unsafe impl<const N: usize> Send for SharedWords<N> {}
// SAFETY: as above.
unsafe impl<const N: usize> Sync for SharedWords<N> {}

impl<const N: usize> SharedWords<N> {
    /// Bytes that they take.
    pub const BYTES: usize = size_of::<[AtomicU64; N]>();

    /// The words in a mapping of [`SharedWords::BYTES`] that somebody else gives back.
    ///
    /// # Safety
    /// `base` came from [`map_shared`] with this length, and stays mapped as long as the value is
    /// used.
    pub unsafe fn kept(base: *mut u8) -> ManuallyDrop<Self> {
        ManuallyDrop::new(SharedWords(base.cast()))
    }

    /// All 0 at first.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new() -> io::Result<Self> {
        Ok(SharedWords(map_shared(size_of::<[AtomicU64; N]>())?.cast()))
    }
}

impl<const N: usize> Deref for SharedWords<N> {
    type Target = [AtomicU64; N];

    fn deref(&self) -> &[AtomicU64; N] {
        // SAFETY: mapped by `new`, page-aligned and zeroed, until `drop`.
        unsafe { &*self.0 }
    }
}

impl<const N: usize> Drop for SharedWords<N> {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping.
        unsafe { unmap(self.0.cast_mut().cast(), size_of::<[AtomicU64; N]>()) };
    }
}

impl Deref for SharedNumber {
    type Target = AtomicI32;

    fn deref(&self) -> &AtomicI32 {
        // SAFETY: mapped by `new`, page-aligned and zeroed, until `drop`.
        unsafe { &*self.0 }
    }
}

impl Drop for SharedNumber {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody borrows the value any more.
        unsafe { unmap(self.0.cast_mut().cast(), size_of::<AtomicI32>()) };
    }
}

/// Whether a process has been stopped, by a signal or a debugger. False where nothing tells.
pub fn is_stopped(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
}

/// Whether a process exists.
pub fn alive(pid: i32) -> bool {
    // SAFETY: signal 0 asks and does nothing.
    pid > 0
        && (unsafe { libc::kill(pid, 0) } == 0
            || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH))
}

/// How a process is. Unlike [`alive`] this knows of zombies, which the parent has not asked for
/// yet, and of pids that are used again. It reads a file: not for hot paths.
pub fn condition(process: Process) -> Condition {
    if !alive(process.pid) {
        return Condition::Dead;
    }
    // Nothing to read: there is no /proc here, or it hides that process. Or it has ended just now,
    // which the next call sees.
    let Some(stat) = Stat::of(process.pid) else { return Condition::Running };
    let is_other = process.born != 0 && Process::new(process.pid, Some(stat.born)) != process;
    match stat.state {
        _ if is_other => Condition::Dead,
        // A process whose first thread has ended is a zombie while its other threads run.
        b'Z' | b'X' if stat.threads <= 1 => Condition::Dead,
        b'T' | b't' => Condition::Stopped,
        _ => Condition::Running,
    }
}

/// This process, and when it was born.
pub fn this_process() -> Process {
    Process::new(pid(), Stat::of(pid()).map(|stat| stat.born))
}

/// The facts about a process that Linux tells.
struct Stat {
    state: u8,
    threads: u64,
    /// In clock ticks since the system's start.
    born: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold anything, also blanks and brackets. The state is field 3.
        let rest = &text[text.iter().rposition(|byte| *byte == b')')? + 1..];
        let mut fields = rest.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let state = *fields.next()?.first()?;
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.trim().parse().ok();
        let threads = number(fields.nth(16)?)?;
        Some(Stat { state, threads, born: number(fields.nth(1)?)? })
    }
}

/// This process.
pub fn pid() -> i32 {
    std::process::id() as i32
}

/// Runs `body` with all signals blocked, so that a thread started in it never handles one of
/// httpd's.
pub fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: plain calls on two sets of this frame; the old set is restored afterwards.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let value = body();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        value
    }
}

/// Signals that end or restart a process of httpd.
const ENDING: [libc::c_int; 6] =
    [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGINT, libc::SIGQUIT, libc::SIGWINCH];

/// As long as it lives, the signals that end or restart a process are put off in this thread. Until
/// its threads run, a child of httpd ends inside of the handler, which frees memory whatever it has
/// interrupted: an allocation, for example.
pub struct Deferred {
    /// The signals that were not blocked before.
    added: libc::sigset_t,
}

impl Deferred {
    /// From now on.
    pub fn begin() -> Self {
        // SAFETY: plain calls on sets of this frame.
        unsafe {
            let mut ending = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigemptyset(&mut ending);
            for signal in ENDING {
                libc::sigaddset(&mut ending, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &ending, &mut before);
            for signal in ENDING.into_iter().filter(|signal| libc::sigismember(&before, *signal) == 1) {
                libc::sigdelset(&mut ending, signal);
            }
            Deferred { added: ending }
        }
    }
}

impl Drop for Deferred {
    /// A signal that came meanwhile comes now. Signals that others have blocked meanwhile stay
    /// blocked.
    fn drop(&mut self) {
        // SAFETY: a set that `begin` filled.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &self.added, std::ptr::null_mut()) };
    }
}

/// The processor that this thread is running on at this moment.
pub fn processor() -> usize {
    // SAFETY: asks, and changes nothing; -1 where the system does not know.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Milliseconds of CLOCK_MONOTONIC: the same clock in all children.
pub fn monotonic_ms() -> u64 {
    monotonic_us() / 1000
}

/// Microseconds of CLOCK_MONOTONIC.
pub fn monotonic_us() -> u64 {
    let (seconds, nanos) = monotonic();
    seconds * 1_000_000 + nanos / 1000
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    let (seconds, nanos) = monotonic();
    seconds * 1_000_000_000 + nanos
}

#[inline]
fn monotonic() -> (u64, u64) {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64, now.tv_nsec as u64)
}

/// Microseconds since the epoch, as httpd counts them.
pub fn epoch_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Seconds since the epoch.
pub fn epoch_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Milliseconds since 1970.
pub fn epoch_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Different for each call in each process.
pub fn seed() -> u64 {
    static CALLS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let call = CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    monotonic_us() ^ (u64::from(std::process::id()) << 32) ^ (call << 52 | call).rotate_left(17)
}
