// SPDX-License-Identifier: Apache-2.0
//! The context of a state, which all its API functions share: the host, the call that is running,
//! its limits.

pub(crate) mod kept;
pub(crate) mod layers;
pub(crate) mod texts;
pub(crate) mod wait;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use balance::api::Balancer;
use balance::event::By;
use mlua::{AnyUserData, Function, Table, Value};

use crate::context::kept::Jobs;
use crate::context::layers::Strings;
use crate::context::texts::Texts;
use crate::decision::answer::{Answer, FoundNone, Peer};
use crate::decision::asked::Asked;
use crate::decision::definition::Definition;
use crate::decision::picks::Shortcuts;
use crate::error::Halt;
use crate::host::{Field, Request, Server};
use crate::limits::budget::{Budget, MOST_LINES, MOST_LOGGED};
use crate::limits::frame::{AttemptsSoFar, Frame};
use crate::limits::processor::Start;
use crate::source::library::{Library, Limits};

/// Steps of a native function between two looks at the clock.
const STEPS: u32 = 256;

/// The results of a call besides its return value.
#[derive(Default)]
pub(crate) struct Said {
    /// By `ngx.exit` and its like.
    pub(crate) answer: Option<Answer>,
    /// To `ngx.balancer`.
    pub(crate) peer: Peer,
    /// The pool whose method found no member last.
    pub(crate) found_none: Option<FoundNone>,
    /// The page that it wrote for the client itself.
    pub(crate) page: Option<Vec<u8>>,
}

/// Saved state of the outer call.
pub(crate) struct Outer {
    frame: Frame,
    limits: Limits,
    time_ms: u64,
    started: Option<Start>,
    halt: Option<Halt>,
    deadline: Option<(Instant, Halt)>,
    turn: Option<Instant>,
}

/// One for each state.
pub(crate) struct Context {
    pub(crate) server: Rc<dyn Server>,
    pub(crate) request: Rc<dyn Request>,
    pub(crate) balancer: Rc<dyn Balancer>,
    pub(crate) library: Arc<Library>,
    pub(crate) budget: Budget,
    pub(crate) frame: Cell<Frame>,
    pub(crate) attempt: Cell<AttemptsSoFar>,
    /// The running call's results besides its return value; None as long as there are none.
    pub(crate) said: RefCell<Option<Box<Said>>>,
    /// The questions of the running call to pools.
    pub(crate) asked: Asked,
    /// Modules made so far: `ngx`, `cjson` …
    pub(crate) modules: RefCell<HashMap<String, Value>>,
    /// `(table, name) -> read-only table`.
    pub(crate) protect: OnceCell<Function>,
    /// Keys are the tables that `rawset` refuses.
    pub(crate) protected: OnceCell<Table>,
    /// Member objects by slot, with the incarnation they stand for.
    pub(crate) members: RefCell<Vec<Option<(u32, AnyUserData)>>>,
    pub(crate) pools: RefCell<HashMap<String, AnyUserData>>,
    pub(crate) shortcuts: Shortcuts,
    /// In a state that judges: what the candidate defines, not applied yet.
    pub(crate) judging: Option<RefCell<Vec<Definition>>>,
    /// A script keeps something for the length of a request (`ngx.ctx`).
    pub(crate) keeps_request: Cell<bool>,
    /// In a state that runs timers and checks.
    pub(crate) jobs: Option<Jobs>,
    /// Text fields of the request.
    pub(crate) texts: Texts,
    /// Methods of strings.
    pub(crate) strings: Strings,
}

impl Context {
    /// The script that runs here, for events.
    pub(crate) fn by(&self) -> By {
        By::Script(self.frame.get().script.map(|id| self.library.label(id)))
    }

    /// The script that runs here, for the log.
    pub(crate) fn who(&self) -> String {
        self.by().to_string()
    }

    /// Starts a call; [`Context::leave`] must follow.
    pub(crate) fn enter(&self, frame: Frame, limits: Limits, time_ms: u64) -> Option<Box<Outer>> {
        let budget = &self.budget;
        let outer = (budget.depth.get() > 0).then(|| self.outer());
        if outer.is_none() {
            self.asked.forget();
        }
        self.frame.set(frame);
        if self.strings.any.get() {
            self.strings.switch(frame);
        }
        budget.limits.set(limits);
        budget.time_ms.set(time_ms);
        budget.forget();
        budget.begin(&frame);
        outer
    }

    pub(crate) fn leave(&self, outer: Option<Box<Outer>>) {
        self.budget.finish();
        match outer {
            Some(outer) => self.resume(&outer),
            None => {
                self.frame.set(Frame::default());
                self.budget.forget();
            }
        }
    }

    #[cold]
    fn outer(&self) -> Box<Outer> {
        let budget = &self.budget;
        Box::new(Outer {
            frame: self.frame.get(),
            limits: budget.limits.get(),
            time_ms: budget.time_ms.get(),
            started: budget.started.get(),
            halt: budget.halt.get(),
            deadline: budget.deadline.get(),
            turn: budget.turn.get(),
        })
    }

    #[cold]
    fn resume(&self, outer: &Outer) {
        let budget = &self.budget;
        self.frame.set(outer.frame);
        self.strings.switch(outer.frame);
        budget.limits.set(outer.limits);
        budget.time_ms.set(outer.time_ms);
        budget.started.set(outer.started);
        budget.halt.set(outer.halt);
        budget.raised.set(false);
        budget.ended_by_hook.set(false);
        budget.deadline.set(outer.deadline);
        budget.turn.set(outer.turn);
    }

    /// Notes a result of the running call.
    pub(crate) fn say<T>(&self, what: impl FnOnce(&mut Said) -> T) -> T {
        what(self.said.borrow_mut().get_or_insert_default())
    }

    /// Takes what was said, and puts something else in its place.
    pub(crate) fn exchange_said(&self, other: Option<Box<Said>>) -> Option<Box<Said>> {
        self.said.replace(other)
    }

    /// The request, or the error that scripts get without one.
    pub(crate) fn request(&self) -> mlua::Result<&dyn Request> {
        if self.request.active() {
            return Ok(&*self.request);
        }
        Err(mlua::Error::runtime(
            "no request here: r, ngx.var and their like work only while a request is handled",
        ))
    }

    /// Logs a line for a script; an error when it has logged too much.
    pub(crate) fn log(&self, level: u8, line: &str) -> mlua::Result<()> {
        if !self.budget.may_log(line.len()) {
            return Err(mlua::Error::runtime(format!(
                "more than {MOST_LINES} lines, or {} MiB of them, for the log in one call",
                MOST_LOGGED >> 20
            )));
        }
        self.server.log(level, line);
        Ok(())
    }

    /// For each step of a long native function: looks at the clock now and then. `steps` is the
    /// function's own count.
    pub(crate) fn step(&self, steps: &mut u32) -> mlua::Result<()> {
        *steps = steps.wrapping_add(1);
        match steps.is_multiple_of(STEPS) {
            true => self.budget.check().map_err(Halt::raise),
            false => Ok(()),
        }
    }

    /// Notes bytes that are made outside of Lua's memory.
    pub(crate) fn spend(&self, bytes: usize) -> mlua::Result<()> {
        self.budget.spend(bytes).map_err(Halt::raise)
    }

    /// Sets a text field of the request.
    pub(crate) fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        // The call ends with the next look at the budget.
        self.budget.spend(value.map_or(0, <[u8]>::len)).map_err(|halt| halt.to_string())?;
        self.texts.forget(field);
        self.request.set_field(field, value)
    }

    pub(crate) fn judges(&self) -> bool {
        self.judging.is_some()
    }
}
