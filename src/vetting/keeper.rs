// SPDX-License-Identifier: Apache-2.0
//! The parent's hold on its vetting server.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Asker, VettingSetup, server};
use crate::httpd::memory::SharedNumber;
use crate::httpd::process::OneThread;
use crate::httpd::{memory, process};

/// How long a server may take to end what it has started.
const PATIENCE: Duration = Duration::from_millis(300);

/// A vetting server. It ends when this value is dropped in the process that made it.
pub struct Keeper {
    owner: OneThread,
    /// 0: it has ended. Children see it as well.
    pid: Arc<SharedNumber>,
    /// Where questions are asked for, by children as well.
    client: OwnedFd,
    /// The server's own end, kept for the one that takes its place. None in children.
    server: Mutex<Option<OwnedFd>>,
}

impl Keeper {
    /// Makes a server.
    ///
    /// # Errors
    /// The system gives no process or no connection.
    pub fn start(owner: OneThread, setup: &VettingSetup) -> Result<Self, String> {
        let made = process::socket_pair(true);
        let (client, server) = made.map_err(|error| format!("no connection to vet scripts: {error}"))?;
        let pid = SharedNumber::new().map_err(|error| format!("no memory to vet scripts: {error}"))?;
        let keeper = Keeper { owner, pid: Arc::new(pid), client, server: Mutex::new(Some(server)) };
        keeper.spawn(setup, false)?;
        Ok(keeper)
    }

    /// Makes another server when the last one has ended. `late`: it waits before its first vetting,
    /// since it may end for the same reason.
    ///
    /// # Errors
    /// The system gives no process.
    pub fn start_again(&self, setup: &VettingSetup, late: bool) -> Result<(), String> {
        self.pid.store(0, Ordering::Release);
        self.spawn(setup, late)
    }

    /// Drops the questions that no server has begun: who asked for one gets no answer.
    pub fn forget_questions(&self) {
        if let Some(server) = self.server().as_ref() {
            while let process::Received::Message(..) = process::receive(server.as_raw_fd()) {}
        }
    }

    fn spawn(&self, setup: &VettingSetup, is_next: bool) -> Result<(), String> {
        let (questions, parent) = (self.server(), memory::pid());
        let questions = questions.as_ref().ok_or("no connection to vet scripts")?;
        let made =
            process::fork(self.owner, |alone| server::run(alone, setup, questions.as_fd(), parent, is_next));
        let pid = made.map_err(|error| format!("no process to vet scripts: {error}"))?;
        self.pid.store(pid, Ordering::Release);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// For asking.
    pub fn client(&self) -> Asker {
        Asker { questions: self.client.as_raw_fd(), server: self.pid.clone() }
    }

    /// In a child: lets go of the server's end, so that sending fails once the server is gone for
    /// good.
    pub fn leave_to_parent(&self) {
        if !self.owner.is_here() {
            *self.server() = None;
        }
    }

    /// Whether it lives, as far as the parent knows. One that somebody has stopped is killed:
    /// nothing else makes it go on.
    pub fn is_alive(&self) -> bool {
        let pid = self.pid();
        if pid > 0 && (process::is_stopped(pid) || memory::is_stopped(pid)) {
            self.end();
            return false;
        }
        let lives = pid > 0 && matches!(process::ended(pid), Ok(None));
        if !lives {
            self.pid.store(0, Ordering::Release);
        }
        lives
    }

    /// Ends the server, whatever it does.
    pub fn end(&self) {
        let pid = self.pid.swap(0, Ordering::AcqRel);
        if pid <= 0 {
            return;
        }
        process::ask_to_end(pid);
        if !has_ended(pid, PATIENCE) {
            process::kill(pid);
            has_ended(pid, PATIENCE);
        }
    }
}

/// Waits for the end, never for longer than this.
fn has_ended(pid: i32, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    loop {
        match process::ended(pid) {
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_micros(200)),
            Ok(None) => return false,
            _ => return true,
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.owner.is_here() {
            self.end();
        }
    }
}
