// SPDX-License-Identifier: Apache-2.0
//! Who asks the vetting server: the parent for all scripts at once, a child's background thread for
//! a saved one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use script::report::{Ended, MAX_ANSWER, Report};
use script::{ErrorKind, GoodVersion, Library, ScriptError, ScriptId};

use super::{Keeper, Scope, WORKERS, time, time_of_all};
use crate::httpd::memory::SharedNumber;
use crate::httpd::{log, memory, process};

/// How long an answer is waited for, the time included that other workers take before.
const PATIENCE: Duration = Duration::from_secs(12);

/// How long a server may take for an answer until somebody looks whether it has been stopped.
const A_WHILE: Duration = Duration::from_secs(1);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Client {
    /// The end of the connection that jobs are sent into.
    pub(super) jobs: RawFd,
    /// The server's process, 0 when it has ended.
    pub(super) server: Arc<SharedNumber>,
}

/// How long the parent waits for the server's own end when an answer has ended without one.
const GRACE: Duration = Duration::from_millis(500);

/// What has come of a question so far.
pub enum Answer {
    /// Nothing yet.
    Awaited,
    /// The connection ended, and neither a verdict nor the server's word came before: the server
    /// itself has ended, most likely, for which this script may not be to blame.
    Lost,
    /// What the process that vetted has told, and how it ended.
    Told(Report, Ended),
}

/// An answer that is awaited.
pub struct Pending {
    answer: OwnedFd,
    bytes: Vec<u8>,
    asked: Instant,
    /// The server's process then.
    server: i32,
}

impl Client {
    /// Asks about a script.
    ///
    /// # Errors
    /// The server is gone, or has too much to do.
    pub fn ask(&self, id: ScriptId) -> io::Result<Pending> {
        let (own, theirs) = process::socket_pair(false)?;
        process::send(self.jobs, &id.0.to_le_bytes(), &theirs)?;
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
    /// What to wait for.
    pub fn descriptor(&self) -> RawFd {
        self.answer.as_raw_fd()
    }

    /// Reads what is there.
    pub fn look(&mut self) -> Answer {
        let mut chunk = [0; 16 << 10];
        while self.bytes.len() <= MAX_ANSWER {
            match process::read(self.answer.as_raw_fd(), &mut chunk) {
                Ok(0) => return self.at_end(),
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let is_over = self.asked.elapsed() > PATIENCE;
                    return match Report::has_verdict(&self.bytes) {
                        true => self.told(),
                        false if is_over => Answer::Told(Report::default(), Ended::Unknown),
                        false => Answer::Awaited,
                    };
                }
                Err(_) => return Answer::Lost,
            }
        }
        Answer::Told(Report::default(), Ended::Unknown)
    }

    fn at_end(&self) -> Answer {
        let is_told = Report::has_verdict(&self.bytes) || Report::has_end(&self.bytes);
        if is_told { self.told() } else { Answer::Lost }
    }

    fn told(&self) -> Answer {
        let (report, ended) = Report::read_all(&self.bytes);
        Answer::Told(report, ended)
    }
}

/// Writes down what the top level has logged, and accepts or refuses the version.
pub fn settle(
    library: &Library,
    id: ScriptId,
    report: Report,
    ended: Ended,
) -> Result<GoodVersion, ScriptError> {
    let mut report = report;
    report.lines.iter().for_each(|(level, text)| log::server(*level, text));
    match report.verdict.take() {
        Some(verdict) => library.accept(id, verdict),
        None => {
            let error = report.missing(&library.label(id), ended);
            library.refuse(id, report.files, error.clone());
            Err(error)
        }
    }
}

/// Vets all scripts of a configuration, several at once. Those whose turn does not come in time are
/// refused. A server that ends meanwhile is replaced, and what it was at is asked about again, one
/// by one: so the script that ends it is known, and no other is refused for it.
pub fn vet_all(keeper: &Keeper, scope: &Scope) -> Vec<Result<GoodVersion, ScriptError>> {
    let library = &scope.library;
    let found = library.ids().map(|id| Err(out_of_time(library, id))).collect();
    let open = library.ids().collect();
    let mut all = All { keeper, scope, open, running: Vec::new(), lost: None, suspects: 0, found };
    let until = Instant::now() + time_of_all();
    while !all.is_done() && Instant::now() < until {
        all.turn();
    }
    if !all.running.is_empty() {
        // It was killed after its time, or does nothing any more.
        keeper.end();
        all.replace();
    }
    all.found
}

/// The scripts of a configuration while they are vetted.
struct All<'a> {
    keeper: &'a Keeper,
    scope: &'a Scope,
    open: VecDeque<ScriptId>,
    running: Vec<(ScriptId, Pending)>,
    /// When the first of those that run was lost.
    lost: Option<Instant>,
    /// So many of those that are next may have ended a server: each is asked about alone.
    suspects: usize,
    found: Vec<Result<GoodVersion, ScriptError>>,
}

impl All<'_> {
    fn is_done(&self) -> bool {
        self.open.is_empty() && self.running.is_empty()
    }

    fn turn(&mut self) {
        self.ask();
        self.wait();
        // Asked before, so that an answer which was given in time is seen.
        let is_alive = self.keeper.is_alive();
        self.collect(is_alive);
        if !is_alive && !self.is_done() {
            self.suspect();
            self.replace();
        }
    }

    fn wait(&self) {
        const A_TURN: Duration = Duration::from_millis(50);
        const UNTIL_ITS_END: Duration = Duration::from_millis(1);
        if self.lost.is_some() {
            // What is lost could be read at once, again and again.
            std::thread::sleep(UNTIL_ITS_END);
            return;
        }
        let descriptors: Vec<RawFd> = self.running.iter().map(|(_, pending)| pending.descriptor()).collect();
        process::wait_for(&descriptors, A_TURN);
    }

    fn ask(&mut self) {
        let most = if self.suspects > 0 { 1 } else { WORKERS };
        while self.running.len() < most
            && let Some(id) = self.open.pop_front()
        {
            match self.keeper.client().ask(id) {
                Ok(pending) => self.running.push((id, pending)),
                Err(error) => self.found[id.0 as usize] = Err(unasked(&self.scope.library, id, &error)),
            }
        }
    }

    /// Takes the answers. One that is lost stays among those that run until the server has ended as
    /// well; a server that does not end has lost it by itself.
    fn collect(&mut self, is_alive: bool) {
        let (library, found, suspects) = (&self.scope.library, &mut self.found, &mut self.suspects);
        let is_given_up = is_alive && self.lost.is_some_and(|since| since.elapsed() > GRACE);
        let mut has_lost = false;
        self.running.retain_mut(|(id, pending)| {
            let (report, ended) = match pending.look() {
                Answer::Told(report, ended) => (report, ended),
                Answer::Lost if is_given_up => (Report::default(), Ended::Unknown),
                Answer::Lost => {
                    has_lost = true;
                    return true;
                }
                Answer::Awaited => return true,
            };
            found[id.0 as usize] = settle(library, *id, report, ended);
            *suspects = suspects.saturating_sub(1);
            false
        });
        self.lost = if has_lost { self.lost.or_else(|| Some(Instant::now())) } else { None };
    }

    /// The server has ended: one script alone is to blame, several are asked about again.
    fn suspect(&mut self) {
        if let [(id, _)] = self.running[..] {
            self.found[id.0 as usize] = settle(&self.scope.library, id, Report::default(), Ended::Unknown);
            self.suspects = self.suspects.saturating_sub(1);
        } else {
            self.suspects = self.suspects.max(self.running.len());
            self.running.iter().rev().for_each(|(id, _)| self.open.push_front(*id));
        }
        self.running.clear();
        self.lost = None;
    }

    fn replace(&self) {
        self.keeper.forget_jobs();
        if let Err(error) = self.keeper.start_again(self.scope, false) {
            log::server(log::ERR, &error);
        }
    }
}

fn out_of_time(library: &Library, id: ScriptId) -> ScriptError {
    let (one, all) = (time().as_secs(), time_of_all().as_secs());
    let text = format!(
        "{}: not vetted, since the scripts of this configuration took more than {all} s together (a top level has {one} s)",
        library.label(id)
    );
    ScriptError::new(ErrorKind::Time, text)
}

fn unasked(library: &Library, id: ScriptId, error: &io::Error) -> ScriptError {
    ScriptError::new(ErrorKind::Load, format!("{}: cannot be vetted: {error}", library.label(id)))
}
