// SPDX-License-Identifier: Apache-2.0
//! All scripts of a configuration, vetted by the parent.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use script::report::{Findings, ProcessEnd};
use script::{ErrorKind, GoodVersion, Library, ScriptError, ScriptId};

use super::client::{Pending, Progress, settle};
use super::{Keeper, VettingSetup, WORKERS, time, time_of_all};
use crate::httpd::{log, process};

/// How long the parent waits for the server's own end when an answer has ended without one.
const GRACE: Duration = Duration::from_millis(500);

/// Vets all scripts of a configuration, several at once. Scripts that are not begun in time are
/// refused. A server that ends meanwhile is replaced, and its open questions are asked again, one
/// by one: so the script that ends it is known, and no other is refused for it.
pub fn vet_all(keeper: &Keeper, setup: &VettingSetup) -> Vec<Result<GoodVersion, ScriptError>> {
    let library = &setup.library;
    let found = library.ids().map(|id| Err(out_of_time(library, id))).collect();
    let open = library.ids().collect();
    let mut all = All { keeper, setup, open, running: Vec::new(), lost: None, suspects: 0, found };
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
    setup: &'a VettingSetup,
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
            // A lost socket could be read at once, again and again.
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
                Err(error) => self.found[id.0 as usize] = Err(unasked(&self.setup.library, id, &error)),
            }
        }
    }

    /// Takes the answers. One that is lost stays among those that run until the server has ended as
    /// well; a server that does not end has lost it by itself.
    fn collect(&mut self, is_alive: bool) {
        let (library, found, suspects) = (&self.setup.library, &mut self.found, &mut self.suspects);
        let is_given_up = is_alive && self.lost.is_some_and(|since| since.elapsed() > GRACE);
        let mut has_lost = false;
        self.running.retain_mut(|(id, pending)| {
            let (report, ended) = match pending.look() {
                Progress::Told(report, ended) => (*report, ended),
                Progress::Lost if is_given_up => (Findings::default(), ProcessEnd::Unknown),
                Progress::Lost => {
                    has_lost = true;
                    return true;
                }
                Progress::Awaited => return true,
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
            self.found[id.0 as usize] =
                settle(&self.setup.library, id, Findings::default(), ProcessEnd::Unknown);
            self.suspects = self.suspects.saturating_sub(1);
        } else {
            self.suspects = self.suspects.max(self.running.len());
            self.running.iter().rev().for_each(|(id, _)| self.open.push_front(*id));
        }
        self.running.clear();
        self.lost = None;
    }

    fn replace(&self) {
        self.keeper.forget_questions();
        if let Err(error) = self.keeper.start_again(self.setup, false) {
            log::server(messages::scripts::VETTER_NOT_REPLACED, &error);
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
