//! Who asks the vetting server: the parent for all scripts at once, a child's background thread for a saved one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use script::report::{Ended, MAX_ANSWER, Report};
use script::{Candidate, ErrorKind, Library, ScriptError, ScriptId};

use super::{Keeper, TIME, TIME_OF_ALL, WORKERS};
use crate::httpd::{log, process};

/// How long an answer is waited for, the time included that other workers take before.
const PATIENCE: Duration = Duration::from_secs(12);

/// The end of the connection that jobs are sent into.
#[derive(Debug, Clone, Copy)]
pub struct Client(pub(super) RawFd);

/// An answer that is awaited.
pub struct Pending {
    answer: OwnedFd,
    bytes: Vec<u8>,
    asked: Instant,
}

impl Client {
    /// Asks about a script.
    ///
    /// # Errors
    /// The server is gone, or has too much to do.
    pub fn ask(self, id: ScriptId) -> io::Result<Pending> {
        let (own, theirs) = process::socket_pair(false)?;
        process::send(self.0, &id.0.to_le_bytes(), &theirs)?;
        Ok(Pending { answer: own, bytes: Vec::new(), asked: Instant::now() })
    }
}

impl Pending {
    /// What to wait for.
    pub fn descriptor(&self) -> RawFd {
        self.answer.as_raw_fd()
    }

    /// Reads what is there; the answer, once it is whole or there will be none.
    pub fn look(&mut self) -> Option<(Report, Ended)> {
        let mut chunk = [0; 16 << 10];
        while self.bytes.len() <= MAX_ANSWER {
            match process::read(self.answer.as_raw_fd(), &mut chunk) {
                Ok(0) => return Some(Report::read_all(&self.bytes)),
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Report::has_verdict(&self.bytes) {
                        return Some(Report::read_all(&self.bytes));
                    }
                    return (self.asked.elapsed() > PATIENCE).then(|| (Report::default(), Ended::Unknown));
                }
                Err(_) => break,
            }
        }
        Some((Report::default(), Ended::Unknown))
    }
}

/// Writes down what the top level has logged, and accepts or refuses the version.
pub fn settle(
    library: &Library,
    id: ScriptId,
    report: Report,
    ended: Ended,
) -> Result<Candidate, ScriptError> {
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

/// Vets all scripts of a configuration, several at once. Those whose turn does not come in time are refused.
pub fn vet_all(keeper: &Keeper, library: &Library) -> Vec<Result<Candidate, ScriptError>> {
    let until = Instant::now() + TIME_OF_ALL;
    let mut open: VecDeque<ScriptId> = library.ids().collect();
    let mut found: Vec<_> = library.ids().map(|id| Err(out_of_time(library, id))).collect();
    let mut running: Vec<(ScriptId, Pending)> = Vec::new();
    while !(open.is_empty() && running.is_empty()) && Instant::now() < until {
        while running.len() < WORKERS
            && let Some(id) = open.pop_front()
        {
            match keeper.client().ask(id) {
                Ok(pending) => running.push((id, pending)),
                Err(error) => found[id.0 as usize] = Err(unasked(library, id, &error)),
            }
        }
        let descriptors: Vec<RawFd> = running.iter().map(|(_, pending)| pending.descriptor()).collect();
        process::wait_for(&descriptors, Duration::from_millis(50));
        let is_alive = keeper.is_alive();
        running.retain_mut(|(id, pending)| {
            let answer = pending.look().or_else(|| (!is_alive).then(|| (Report::default(), Ended::Unknown)));
            let Some((report, ended)) = answer else { return true };
            found[id.0 as usize] = settle(library, *id, report, ended);
            false
        });
    }
    found
}

fn out_of_time(library: &Library, id: ScriptId) -> ScriptError {
    let (one, all) = (TIME.as_secs(), TIME_OF_ALL.as_secs());
    let text = format!(
        "{}: not vetted, since the scripts of this configuration took more than {all} s together (a top level has {one} s)",
        library.label(id)
    );
    ScriptError::new(ErrorKind::Time, text)
}

fn unasked(library: &Library, id: ScriptId, error: &io::Error) -> ScriptError {
    ScriptError::new(ErrorKind::Load, format!("{}: cannot be vetted: {error}", library.label(id)))
}
