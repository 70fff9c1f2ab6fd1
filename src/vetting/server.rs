// SPDX-License-Identifier: Apache-2.0
//! The vetting server: makes workers and ends them. It runs no Lua and reads no file of a script.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use script::ScriptId;
use script::report::{self, ProcessEnd};

use super::{VettingSetup, WORKERS, time, worker};
use crate::httpd::process::{ExitStatus, OneThread, Received};
use crate::httpd::{confine, log, memory, process};

/// In lists of processes.
const NAME: &std::ffi::CStr = c"lua-balancer-vet";
/// How often what workers have left behind is looked for, while there is some.
const SWEEP: Duration = Duration::from_millis(10);
/// How long a server waits that takes the place of one that has ended: it may end for the same
/// reason.
const PAUSE: Duration = Duration::from_secs(1);

struct Running {
    pid: i32,
    until: Instant,
    overdue: bool,
    /// The worker's end: what comes last is written here.
    answer: OwnedFd,
}

struct Server<'s> {
    alone: OneThread,
    setup: &'s VettingSetup,
    questions: OwnedFd,
    running: Vec<Running>,
    /// So many vettings are made one by one: one of them may have ended the server before this one.
    suspects: usize,
}

/// The whole life of a vetting server, in a process that was forked for it. `is_next`: it takes
/// another one's place.
pub fn run(alone: OneThread, setup: &VettingSetup, questions: BorrowedFd<'_>, parent: i32, is_next: bool) {
    confine::name(NAME);
    let null = confine::null();
    let ready = null.and_then(|null| setup.account.assume().map(|()| null));
    let null = match ready {
        Ok(null) => null,
        Err(error) => {
            let name = setup.account.name();
            let text = format!("scripts cannot be vetted, no process becomes {name}: {error}");
            log::server(messages::scripts::NO_VETTER_ACCOUNT, &text);
            return;
        }
    };
    // httpd's log is among what is closed.
    log::divert(|_, _| ());
    let Ok(questions) = confine::close_all_but(questions, null) else { return };
    confine::serve(parent);
    let suspects = if is_next { 2 * WORKERS } else { 0 };
    let mut server = Server { alone, setup, questions, running: Vec::new(), suspects };
    if is_next {
        server.pause();
    }
    while server.turn() {}
    server.end();
}

impl Server<'_> {
    fn pause(&self) {
        let until = Instant::now() + PAUSE;
        while !confine::end_asked() && Instant::now() < until {
            confine::wait(None, Some(until.saturating_duration_since(Instant::now())));
        }
    }

    /// False when it is to end.
    fn turn(&mut self) -> bool {
        self.reap();
        if confine::end_asked() {
            return false;
        }
        let now = Instant::now();
        for vetting in self.running.iter_mut().filter(|vetting| !vetting.overdue && vetting.until <= now) {
            vetting.overdue = true;
            process::kill_group(vetting.pid);
        }
        let is_swept = self.sweep();
        let has_room = self.running.len() < if self.suspects > 0 { 1 } else { WORKERS };
        let next = self.running.iter().filter(|vetting| !vetting.overdue).map(|vetting| vetting.until).min();
        let time = next.map(|next| next.saturating_duration_since(now) + Duration::from_millis(1));
        let time = if is_swept { time } else { Some(time.map_or(SWEEP, |time| time.min(SWEEP))) };
        confine::wait(has_room.then(|| self.questions.as_raw_fd()), time);
        !has_room || self.take()
    }

    /// Begins a vetting, if one is asked for; false when nobody is left who could ask.
    fn take(&mut self) -> bool {
        match process::receive(self.questions.as_raw_fd()) {
            Received::Nothing => {}
            Received::End => return false,
            Received::Message(bytes, Some(answer)) => {
                self.suspects = self.suspects.saturating_sub(1);
                if let Ok(number) = <[u8; 4]>::try_from(bytes.as_slice()) {
                    self.start(ScriptId(u32::from_le_bytes(number)), answer);
                }
            }
            Received::Message(_, None) => {}
        }
        true
    }

    fn start(&mut self, id: ScriptId, answer: OwnedFd) {
        let (setup, own) = (self.setup, memory::pid());
        let (Ok(theirs), until) = (answer.try_clone(), Instant::now() + time()) else { return };
        let made = process::fork(self.alone, |_| worker::run(setup, id, theirs, own));
        if let Ok(pid) = made {
            self.running.push(Running { pid, until, overdue: false, answer });
        }
    }

    fn reap(&mut self) {
        while let Some(pid) = process::any_ended() {
            let vetting = self.running.iter().position(|vetting| vetting.pid == pid);
            if vetting.is_some() {
                // Processes that it has started end with it.
                process::kill_group(pid);
            }
            let status = process::ended(pid).ok().flatten();
            let Some(vetting) = vetting.map(|at| self.running.swap_remove(at)) else { continue };
            let ended = match status {
                _ if vetting.overdue => ProcessEnd::Overdue,
                Some(ExitStatus::Signal(signal)) => ProcessEnd::Signal(signal),
                Some(ExitStatus::Exit(code)) => ProcessEnd::Exit(code),
                None => ProcessEnd::Unknown,
            };
            process::write_some(vetting.answer.as_raw_fd(), &report::end_of(ended));
        }
    }

    /// Ends what workers have left behind in sessions of their own: whatever is a child of this
    /// process and no worker. False while there is something left.
    fn sweep(&self) -> bool {
        if self.setup.library.is_sandboxed() {
            return true;
        }
        let left = |pid: &i32| !self.running.iter().any(|vetting| vetting.pid == *pid);
        let left: Vec<i32> = confine::children().into_iter().filter(left).collect();
        left.iter().for_each(|pid| process::kill(*pid));
        left.is_empty() && self.running.is_empty()
    }

    fn end(&mut self) {
        const MOST_SWEEPS: u32 = 50;
        self.running.iter().for_each(|vetting| process::kill_group(vetting.pid));
        for _ in 0..MOST_SWEEPS {
            self.reap();
            if self.sweep() && self.running.is_empty() {
                return;
            }
            confine::wait(None, Some(Duration::from_millis(2)));
        }
    }
}
