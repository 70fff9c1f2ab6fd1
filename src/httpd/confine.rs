// SPDX-License-Identifier: Apache-2.0
//! The confinement of a process that runs scripts which nobody has looked at yet: it gives up
//! rights, signals, descriptors, memory and time.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::ffi;

/// Ends a process that [`serve`] has set up. The MPMs do not send it to their group.
pub const END: i32 = libc::SIGUSR2;
/// The account of nobody, which reads scripts where httpd is root and its User directive names
/// nobody.
const NOBODY: u32 = 65_534;

static END_ASKED: AtomicBool = AtomicBool::new(false);

/// The account that children run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    user: u32,
    group: u32,
    name: String,
    /// ChrootDir, which holds where httpd is root.
    root: Option<CString>,
}

impl Account {
    /// httpd's User and Group where this process is root; this process's own otherwise.
    pub fn of_children() -> Self {
        // SAFETY: plain system calls.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        if user != 0 {
            return Account::new(user, group, None);
        }
        // SAFETY: httpd's own record, written while its directives are read, by this thread.
        let (user, group, root) = unsafe {
            let unixd = &raw const ffi::ap_unixd_config;
            let root = (*unixd).chroot_dir;
            let root = (!root.is_null()).then(|| CStr::from_ptr(root).to_owned());
            ((*unixd).user_id, (*unixd).group_id, root)
        };
        let usable = |id: u32| if id == 0 || id == u32::MAX { NOBODY } else { id };
        Account::new(usable(user), usable(group), root)
    }

    fn new(user: u32, group: u32, root: Option<CString>) -> Self {
        Account { user, group, name: name_of(user).unwrap_or_else(|| format!("uid {user}")), root }
    }

    /// User and group.
    pub fn numbers(&self) -> (u32, u32) {
        (self.user, self.group)
    }

    /// Whether it is within ChrootDir.
    pub fn is_confined(&self) -> bool {
        self.root.is_some()
    }

    /// For messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Becomes it for good, within ChrootDir as children are. Nothing to do where this process is
    /// not root.
    pub fn assume(&self) -> io::Result<()> {
        let done = |code: i32| if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: plain system calls; the name is a string of this frame. initgroups reads the
        // account data base.
        unsafe {
            if libc::geteuid() != 0 {
                return Ok(());
            }
            done(libc::setgid(self.group))?;
            match CString::new(self.name.as_str()) {
                Ok(name) if !name.is_empty() && !self.name.starts_with("uid ") => {
                    done(libc::initgroups(name.as_ptr(), self.group))?;
                }
                _ => done(libc::setgroups(0, std::ptr::null()))?,
            }
            if let Some(root) = &self.root {
                done(libc::chdir(root.as_ptr()))?;
                done(libc::chroot(root.as_ptr()))?;
                done(libc::chdir(c"/".as_ptr()))?;
            }
            done(libc::setuid(self.user))?;
            // Looked at again: whatever the system has done, no script is run as root.
            if libc::geteuid() == 0 || libc::getuid() == 0 || libc::setuid(0) == 0 {
                return Err(io::Error::other("the rights of root could not be given up"));
            }
            Ok(())
        }
    }
}

fn name_of(user: u32) -> Option<String> {
    // SAFETY: the configuration phase and the processes made in it have one thread; the record is
    // copied at once.
    unsafe {
        let entry = libc::getpwuid(user);
        (!entry.is_null()).then(|| CStr::from_ptr((*entry).pw_name).to_string_lossy().into_owned())
    }
}

/// Names this process in lists of processes; the system keeps 15 bytes of it.
pub fn name(name: &CStr) {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Sets up a process that makes others and waits for them: it ends with its parent, takes what its
/// children leave behind, hears [`END`] and the end of children, in [`wait`] alone, and no signal
/// that the MPM sends to its group.
pub fn serve(parent: i32) {
    // SAFETY: plain system calls with structures of this frame; the handlers have the form that is
    // wanted.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
        default_handlers();
        for (signal, handler) in [
            (END, on_end as extern "C" fn(i32) as usize),
            (libc::SIGCHLD, on_child as extern "C" fn(i32) as usize),
        ] {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
        END_ASKED.store(false, Ordering::SeqCst);
    }
    end_with(parent);
}

/// Ends this process when its parent does. To be set after a change of the account, which takes it
/// back.
fn end_with(parent: i32) {
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        if libc::getppid() != parent {
            libc::_exit(0);
        }
    }
}

extern "C" fn on_end(_: i32) {
    END_ASKED.store(true, Ordering::SeqCst);
}

extern "C" fn on_child(_: i32) {}

/// Whether [`END`] has come.
pub fn end_asked() -> bool {
    END_ASKED.load(Ordering::SeqCst)
}

/// Waits until the descriptor can be read, a child has ended, [`END`] has come, or the time is
/// over.
pub fn wait(descriptor: Option<RawFd>, time: Option<Duration>) {
    let mut one = libc::pollfd { fd: descriptor.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: i64::from(time.subsec_nanos()) as _,
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: structures of this frame. All signals are blocked but in this call, so that none is
    // missed.
    unsafe {
        let mut heard = std::mem::zeroed();
        libc::sigfillset(&mut heard);
        libc::sigdelset(&mut heard, END);
        libc::sigdelset(&mut heard, libc::SIGCHLD);
        libc::ppoll(&mut one, 1, time, &heard);
    }
}

unsafe fn default_handlers() {
    for signal in 1..32 {
        // SAFETY: a plain system call; those that cannot be changed stay.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The bounds of a process that vets a script.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of memory more than there are now.
    pub memory: u64,
    /// Seconds of processor time.
    pub processor_s: u64,
    /// Further processes.
    pub processes: u64,
}

/// Sets up a process that vets, whose answer goes to `answer`, which gets another number: it has no
/// other descriptor but the server's three of `/dev/null`, a session of its own, httpd's handlers
/// of no signal, and these bounds. It ends with `parent`.
pub fn vet(answer: OwnedFd, parent: i32, bounds: Bounds) -> io::Result<RawFd> {
    const ANSWER: RawFd = 3;
    let answer = answer.into_raw_fd();
    // SAFETY: plain system calls on descriptors that this process, which has one thread, uses for
    // nothing else from here on.
    unsafe {
        libc::setsid();
        default_handlers();
        // A closed connection and a full limit are errors of the call.
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // dup3 refuses a number that it has already.
        let kept = libc::fcntl(answer, libc::F_DUPFD_CLOEXEC, 16);
        if kept < 0 || libc::dup3(kept, ANSWER, libc::O_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    close_from(ANSWER + 1);
    end_with(parent);
    limit(bounds)?;
    Ok(ANSWER)
}

/// `/dev/null`, for [`close_all_but`]. To be opened before a change of the root folder, which need
/// not hold one.
pub fn null() -> io::Result<OwnedFd> {
    Ok(std::fs::File::options().read(true).write(true).open("/dev/null")?.into())
}

/// Closes all descriptors but one, which gets a number above the standard files'; those become
/// `null`.
pub fn close_all_but(kept: BorrowedFd<'_>, null: OwnedFd) -> io::Result<OwnedFd> {
    const FIRST: RawFd = 3;
    let (kept, null) = (kept.as_raw_fd(), null.into_raw_fd());
    // SAFETY: plain system calls; nothing in this process uses the standard files, and both
    // descriptors are open.
    let kept = unsafe {
        let kept = libc::fcntl(kept, libc::F_DUPFD_CLOEXEC, FIRST);
        let null = libc::fcntl(null, libc::F_DUPFD_CLOEXEC, FIRST);
        if kept < 0 || (0..FIRST).any(|standard| libc::dup2(null, standard) < 0) {
            return Err(io::Error::last_os_error());
        }
        kept
    };
    if kept > FIRST {
        close_range(FIRST, kept - 1);
    }
    close_from(kept + 1);
    // SAFETY: made above, and left open.
    Ok(unsafe { OwnedFd::from_raw_fd(kept) })
}

fn close_from(first: RawFd) {
    close_range(first, RawFd::MAX);
}

/// Kernels before 5.9 do not know the call: there the numbers are closed one by one, as far as they
/// may be used.
fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: plain system calls; this process has one thread, and nothing uses these descriptors
    // any more.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) == 0 {
            return;
        }
        let mut most: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut most);
        let end = RawFd::try_from(most.rlim_cur).unwrap_or(RawFd::MAX).min(1 << 20);
        for descriptor in first..=last.min(end) {
            libc::close(descriptor);
        }
    }
}

fn limit(bounds: Bounds) -> io::Result<()> {
    let set = |what, most: u64| {
        let mut limit: libc::rlimit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: structures of this frame. A limit that is lower already stays. valgrind lets
        // nobody lower what it has raised for itself: then the soft limit has to do.
        let code = unsafe {
            libc::getrlimit(what, &mut limit);
            let most = (most as libc::rlim_t).min(limit.rlim_max);
            limit.rlim_cur = most;
            match libc::setrlimit(what, &libc::rlimit { rlim_max: most, ..limit }) {
                0 => 0,
                _ => libc::setrlimit(what, &limit),
            }
        };
        if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    set(libc::RLIMIT_CORE, 0)?;
    set(libc::RLIMIT_FSIZE, 0)?;
    set(libc::RLIMIT_NOFILE, 64)?;
    set(libc::RLIMIT_CPU, bounds.processor_s)?;
    if bounds.processes == 0 {
        set(libc::RLIMIT_NPROC, 0)?;
    } else {
        set(libc::RLIMIT_NPROC, tasks_of_this_user() + bounds.processes)?;
    }
    set(libc::RLIMIT_AS, size_now().saturating_add(bounds.memory))
}

/// Bytes of address space in use.
fn size_now() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    // SAFETY: asks.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    // Without /proc nobody knows; what a large server maps.
    pages.map_or(4 << 30, |pages| pages * page)
}

/// Threads of all processes of this account, which is what the limit of processes counts.
fn tasks_of_this_user() -> u64 {
    // SAFETY: asks.
    let own = unsafe { libc::getuid() };
    let mut count = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        if field("Uid:") == Some(u64::from(own)) {
            count += field("Threads:").unwrap_or(1);
        }
    }
    count
}

/// Children of this process, as far as the system lists them.
pub fn children() -> Vec<i32> {
    let pid = std::process::id();
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
