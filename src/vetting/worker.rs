// SPDX-License-Identifier: Apache-2.0
//! A worker: vets one script, tells what it found, and ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use balance::engine::{Engine, Handle};
use script::ScriptId;
use script::host::{Dict, Level, Location, Server, SharedValues};
use script::offline::{Overlay, PlainValues};
use script::report::{self, MAX_LINES};

use super::{VettingSetup, alarm, time};
use crate::faults;
use crate::httpd::confine::{self, Bounds};
use crate::httpd::{config, log, memory, mpm, process};
use crate::keep::dicts::Dicts;
use crate::keep::events;
use crate::keep::geoip;

/// Memory beside what the script may take.
const ROOM: u64 = 256 << 20;
/// Processes that a script may have outside of the sandbox.
const PROCESSES: u64 = 32;
/// Files that are told.
const MOST_FILES: usize = 4096;

static ANSWER: AtomicI32 = AtomicI32::new(-1);
static LINES: AtomicUsize = AtomicUsize::new(0);

/// In a process that was forked for it.
pub fn run(setup: &VettingSetup, id: ScriptId, answer: OwnedFd, parent: i32) {
    let bounds = Bounds {
        memory: (setup.library.limits(id).memory_bytes as u64).saturating_add(ROOM),
        processor_s: time().as_secs() + 1,
        processes: if setup.library.is_sandboxed() { 0 } else { PROCESSES },
    };
    let Ok(answer) = confine::vet(answer, parent, bounds) else { return };
    ANSWER.store(answer, Ordering::Release);
    log::divert(tell);
    log::log_panics();
    script::alarm::set(alarm(), answer);
    let verdict = vet(setup, id, answer);
    script::alarm::clear();
    // Nobody is there to hear of a failure.
    let _ = process::write_all(answer, &verdict.to_record());
}

fn vet(setup: &VettingSetup, id: ScriptId, answer: RawFd) -> script::Verdict {
    faults::point("vetting");
    let table = setup.table.clone().with_identity(memory::pid(), memory::alive);
    let engine = Engine::new(table, Box::new(events::say));
    let host = Host {
        answer,
        files: AtomicUsize::new(0),
        dicts: Arc::new(setup.dicts.in_child()),
        overlays: RefCell::default(),
        values: Rc::default(),
        account: setup.account.name().to_owned(),
    };
    script::vet(&setup.library, id, Rc::new(host), Rc::new(Handle::new(engine, 1)))
}

/// A log line becomes a part of the answer.
fn tell(level: Level, text: &str) {
    let answer = ANSWER.load(Ordering::Acquire);
    let count = LINES.fetch_add(1, Ordering::Relaxed);
    let line = match count.cmp(&(MAX_LINES - 1)) {
        std::cmp::Ordering::Less => report::log_line(level, text),
        std::cmp::Ordering::Equal => {
            let left_out = messages::scripts::LINES_LEFT_OUT;
            report::log_line(left_out.level(), &left_out.line(left_out.form))
        }
        std::cmp::Ordering::Greater => return,
    };
    let _ = process::write_all(answer, &line);
}

/// The server as a script sees it that is vetted.
struct Host {
    answer: RawFd,
    files: AtomicUsize,
    dicts: Arc<Dicts>,
    /// The dictionaries that the script has asked for: all names of one see what it writes.
    overlays: RefCell<HashMap<String, Rc<dyn Dict>>>,
    /// The dictionaries of `r:ivm_set`, which needs a request, so that no top level gets at them.
    values: Rc<PlainValues>,
    account: String,
}

impl Server for Host {
    fn log(&self, level: Level, text: &str) {
        tell(level, text);
    }

    fn logs(&self, level: Level) -> bool {
        log::logs_server(level)
    }

    fn now(&self) -> f64 {
        memory::monotonic_us() as f64 / 1e6
    }

    fn time(&self) -> f64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
    }

    fn geo(&self, address: &str) -> Result<Option<Location>, String> {
        geoip::find(address)
    }

    fn dict(&self, name: &str) -> Option<Rc<dyn Dict>> {
        if let Some(known) = self.overlays.borrow().get(name) {
            return Some(known.clone());
        }
        let overlay: Rc<dyn Dict> = Rc::new(Overlay::over(self.dicts.find(name)?));
        self.overlays.borrow_mut().insert(name.to_owned(), overlay.clone());
        Some(overlay)
    }

    fn shared(&self) -> Rc<dyn SharedValues> {
        self.values.clone()
    }

    fn worker(&self) -> u32 {
        0
    }

    fn workers(&self) -> u32 {
        mpm::children()
    }

    fn is_defined(&self, name: &str) -> bool {
        CString::new(name).is_ok_and(|name| config::is_defined(&name))
    }

    fn looks_at(&self, path: &Path) {
        if self.files.fetch_add(1, Ordering::Relaxed) < MOST_FILES {
            let _ = process::write_all(self.answer, &report::file(path));
        }
    }

    fn account(&self) -> Option<String> {
        Some(self.account.clone())
    }
}
