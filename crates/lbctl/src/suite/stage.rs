// SPDX-License-Identifier: Apache-2.0
//! Where the cases of a test file run: the configuration, the world of the running case, results.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use balance::lifecycle::Ramps;
use balance::member::Member;
use mlua::{Table, Value};
use script::SeeLine;

use super::background::Background;
use super::clock::{CaseClock, MOST};
use super::copies::Copies;
use super::described;
use crate::world::World;
use crate::world::ask::Ask;
use crate::world::setup::Setup;
use explain::Told;

/// How long members take to answer, in seconds, if nobody says otherwise.
pub const USUAL: f64 = 0.01;

/// Why a case failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failed {
    /// The line of the test.
    pub line: Option<usize>,
    /// The expected value; None: the test itself failed.
    pub expected: Option<String>,
    /// The value that came, or the error.
    pub came: String,
    /// The decision, explained.
    pub explanation: String,
    /// The lines that were logged.
    pub log: Vec<String>,
}

/// A case that ran.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub line: usize,
    /// None: it passed.
    pub failed: Option<Failed>,
}

/// A world with what a test has done to it.
pub struct Running {
    /// The world.
    pub world: World,
    /// Slow starts.
    pub ramps: RefCell<Ramps>,
    /// Seconds that members take, by pool and name.
    pub slow: RefCell<BTreeMap<(String, String), f64>>,
    /// Timers, once time has passed.
    pub background: RefCell<Option<Background>>,
}

impl Running {
    /// Seconds that a member takes.
    pub fn took(&self, pool: &str, member: &Member) -> f64 {
        let key = (pool.to_owned(), member.spec.name.clone());
        self.slow.borrow().get(&key).copied().unwrap_or(USUAL)
    }
}

/// See the module.
pub struct Stage {
    /// The test file.
    pub file: PathBuf,
    /// Only cases whose names hold this.
    pub filter: Option<String>,
    /// Gets the lines that run.
    pub see: Option<SeeLine>,
    /// Copies of scripts.
    pub copies: Rc<Copies>,
    setup: RefCell<Option<Rc<Setup>>>,
    running: RefCell<Option<Rc<Running>>>,
    open: RefCell<Option<(String, usize)>>,
    began: Cell<Option<Instant>>,
    /// The open case has run out of time.
    late: Cell<bool>,
    noted: RefCell<Option<Failed>>,
    clock: Arc<CaseClock>,
    /// The last request of the case.
    pub last: RefCell<Option<Rc<Told>>>,
    /// The cases that ran so far.
    pub cases: RefCell<Vec<Case>>,
    /// Scripts under test.
    pub scripts: RefCell<Vec<PathBuf>>,
}

impl Stage {
    /// For a test file.
    pub fn new(
        (file, clock): (PathBuf, Arc<CaseClock>),
        filter: Option<String>,
        see: Option<SeeLine>,
        copies: Rc<Copies>,
    ) -> Self {
        Stage {
            file,
            filter,
            see,
            copies,
            setup: RefCell::default(),
            running: RefCell::default(),
            open: RefCell::default(),
            began: Cell::new(None),
            late: Cell::new(false),
            noted: RefCell::default(),
            clock,
            last: RefCell::default(),
            cases: RefCell::default(),
            scripts: RefCell::default(),
        }
    }

    /// `t.config`: for all cases from here on, or for the one that runs.
    pub fn configure(&self, what: &Value) -> Result<(), String> {
        let folder = self.file.parent().map(PathBuf::from).unwrap_or_default();
        let mut setup = described::setup(what, &folder, &self.copies)?;
        setup.see = self.see.clone();
        let mut scripts = self.scripts.borrow_mut();
        for path in setup.script_files() {
            let path = PathBuf::from(self.copies.original(&path.to_string_lossy()));
            if !scripts.contains(&path) {
                scripts.push(path);
            }
        }
        drop(scripts);
        let setup = Rc::new(setup);
        if self.open.borrow().is_some() {
            let running = start(&setup)?;
            self.running.replace(Some(running));
        } else {
            self.setup.replace(Some(setup));
        }
        Ok(())
    }

    /// The world of the running case.
    pub fn running(&self) -> Result<Rc<Running>, String> {
        if self.open.borrow().is_none() {
            return Err("nothing runs outside of t.case: move this into one".into());
        }
        if let Some(running) = &*self.running.borrow() {
            return Ok(running.clone());
        }
        let setup = self.setup.borrow().clone();
        let setup = setup.ok_or("there is no configuration: begin with t.config{ script = \"…\" }")?;
        let running = start(&setup)?;
        self.running.replace(Some(running.clone()));
        Ok(running)
    }

    /// A case begins; false when it is not wanted.
    pub fn begin(&self, name: String, line: usize) -> Result<bool, String> {
        if self.open.borrow().is_some() {
            return Err("a case cannot begin within another one".into());
        }
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return Ok(false);
        }
        self.clock.begin(&name);
        self.open.replace(Some((name, line)));
        self.last.replace(None);
        self.noted.replace(None);
        self.began.set(Some(Instant::now()));
        self.late.set(false);
        Ok(true)
    }

    /// Err when the case has taken too long.
    pub fn check_time(&self) -> Result<(), String> {
        let late = self.began.get().is_some_and(|began| began.elapsed() > MOST);
        if !late {
            return Ok(());
        }
        self.late.set(true);
        Err(format!("the case was stopped after {} s", MOST.as_secs()))
    }

    /// Notes the failure of an expectation, before it raises.
    pub fn note(&self, failed: Failed) {
        self.noted.replace(Some(failed));
    }

    /// Takes what an expectation has found last.
    pub fn noted(&self) -> Option<Failed> {
        self.noted.take()
    }

    /// The case is over.
    pub fn ended(&self, failure: Option<Failed>) {
        self.began.set(None);
        self.clock.end();
        let running = self.running.take();
        let Some((name, line)) = self.open.take() else { return };
        let mut failed = failure;
        if self.late.get() && failed.is_none() {
            failed =
                Some(Failed { came: format!("it took more than {} s", MOST.as_secs()), ..Failed::default() });
        }
        if let (Some(failed), Some(running)) = (&mut failed, running) {
            const LOUD: u8 = 4;
            let lines = running.world.server.take_lines().into_iter();
            failed.log.extend(lines.filter(|(level, _)| *level <= LOUD).map(|(_, line)| line));
            failed.log.extend(running.world.take_errors());
            failed.log.iter_mut().for_each(|line| *line = self.copies.named(line));
            failed.came = self.copies.named(&failed.came);
            failed.explanation = self.copies.named(&failed.explanation);
        }
        self.cases.borrow_mut().push(Case { name, line, failed });
    }

    /// A request as Lua describes it.
    pub fn ask(&self, path: &str, options: Option<&Table>) -> Result<Ask, String> {
        self.check_time()?;
        described::ask(path, options)
    }
}

fn start(setup: &Rc<Setup>) -> Result<Rc<Running>, String> {
    let world = World::new(setup.clone())?;
    Ok(Rc::new(Running {
        world,
        ramps: RefCell::default(),
        slow: RefCell::default(),
        background: RefCell::default(),
    }))
}
