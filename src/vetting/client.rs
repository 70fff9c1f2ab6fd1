// SPDX-License-Identifier: Apache-2.0
//! Questions to the vetting server, and its answers: the parent asks about all scripts at once
//! ([`super::all`]), a child's background thread about a saved one.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use script::report::{Findings, MAX_ANSWER, ProcessEnd};
use script::{GoodVersion, Library, ScriptError, ScriptId};

use crate::httpd::memory::SharedNumber;
use crate::httpd::{log, memory, process};

/// How long an answer is waited for, the time included that other workers take before.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a server may take for an answer until somebody looks whether it has been stopped.
const A_WHILE: Duration = Duration::from_secs(1);

/// The side that asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The end of the connection that questions are asked for at.
    pub(super) questions: RawFd,
    /// The server's process, 0 when it has ended.
    pub(super) server: Arc<SharedNumber>,
}

/// The progress of a question so far.
pub enum Progress {
    /// Nothing yet.
    Awaited,
    /// The connection ended, and neither a verdict nor the server's word came before: the server
    /// itself has ended, most likely, for which this script may not be to blame.
    Lost,
    /// The findings of the process that vetted, and how it ended.
    Told(Box<Findings>, ProcessEnd),
}

/// An answer that is awaited.
pub struct Pending {
    answer: OwnedFd,
    bytes: Vec<u8>,
    asked: Instant,
    /// The server's process then.
    server: i32,
}

impl Asker {
    /// Asks about a script.
    ///
    /// # Errors
    /// The server is gone, or has too much to do.
    pub fn ask(&self, id: ScriptId) -> io::Result<Pending> {
        let (own, theirs) = process::socket_pair(false)?;
        process::send(self.questions, &id.0.to_le_bytes(), &theirs)?;
        let server = self.server.load(Ordering::Acquire);
        Ok(Pending { answer: own, bytes: Vec::new(), asked: Instant::now(), server })
    }

    /// In a child: ends a server that somebody has stopped, which has the child's account. The
    /// parent makes another one, and what was asked is asked again.
    pub fn end_if_stopped<'p>(&self, pending: impl Iterator<Item = &'p Pending>) {
        let server = self.server.load(Ordering::Acquire);
        // One that was asked of an earlier server has its end already.
        let waited = pending.filter(|one| one.server == server).map(|one| one.asked.elapsed()).max();
        if server > 0 && waited.is_some_and(|waited| waited > A_WHILE) && memory::is_stopped(server) {
            process::kill(server);
        }
    }
}

impl Pending {
    /// The descriptor to wait for.
    pub fn descriptor(&self) -> RawFd {
        self.answer.as_raw_fd()
    }

    /// Reads what is there.
    pub fn look(&mut self) -> Progress {
        let mut chunk = [0; 16 << 10];
        while self.bytes.len() <= MAX_ANSWER {
            match process::read(self.answer.as_raw_fd(), &mut chunk) {
                Ok(0) => return self.at_end(),
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let is_over = self.asked.elapsed() > PATIENCE;
                    return match Findings::has_verdict(&self.bytes) {
                        true => self.told(),
                        false if is_over => Progress::Told(Box::default(), ProcessEnd::Unknown),
                        false => Progress::Awaited,
                    };
                }
                Err(_) => return Progress::Lost,
            }
        }
        Progress::Told(Box::default(), ProcessEnd::Unknown)
    }

    fn at_end(&self) -> Progress {
        let is_told = Findings::has_verdict(&self.bytes) || Findings::has_end(&self.bytes);
        if is_told { self.told() } else { Progress::Lost }
    }

    fn told(&self) -> Progress {
        let (report, ended) = Findings::read_all(&self.bytes);
        Progress::Told(Box::new(report), ended)
    }
}

/// Writes down what the top level has logged, and accepts or refuses the version.
pub fn settle(
    library: &Library,
    id: ScriptId,
    report: Findings,
    ended: ProcessEnd,
) -> Result<GoodVersion, ScriptError> {
    let mut report = report;
    report.lines.iter().for_each(|(level, text)| log::of_script(None, *level, text));
    match report.verdict.take() {
        Some(verdict) => library.accept(id, verdict),
        None => {
            let error = report.missing(&library.label(id), ended);
            library.refuse(id, report.files, error.clone());
            Err(error)
        }
    }
}
