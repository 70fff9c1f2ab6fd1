// SPDX-License-Identifier: Apache-2.0
//! Scripts that are stopped by their limits again and again: a simulation does not call them any
//! more, as the server does not call a version that is stuck.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use script::{ErrorKind, Library, ScriptError, ScriptId};

/// How much a stopped call weighs: as much as a thousand others, since it costs as much time.
const STOP: u32 = 1000;
/// The weight at which a script is not called any more: twenty stopped calls in a row, or a few
/// more with others between.
const MOST: u32 = 20 * STOP;
/// The version of every script of a world.
pub(super) const VERSION: u64 = 1;

/// A script that is not called any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// Its name.
    pub script: String,
    /// How its last call ended.
    pub why: String,
    /// Calls that limits have stopped.
    pub stopped: u32,
    /// Calls that were not made since.
    pub refused: u64,
}

/// A script's stopped calls: how many, and their weight less that of the calls since.
#[derive(Default)]
struct Stops {
    count: u32,
    weight: u32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Patience {
    /// Whether it has an end.
    pub(super) is_limited: Cell<bool>,
    stops: RefCell<BTreeMap<u32, Stops>>,
    given_up: RefCell<BTreeMap<u32, GivenUp>>,
    /// The words of a call that was not made.
    refusal: RefCell<Option<String>>,
}

impl Patience {
    /// A call has ended.
    pub(super) fn note(&self, library: &Library, id: ScriptId, error: Option<&ScriptError>) {
        if !self.is_limited.get() {
            return;
        }
        match error {
            Some(error) if error.kind == ErrorKind::Quarantined => {
                if let Some(given_up) = self.given_up.borrow_mut().get_mut(&id.0) {
                    given_up.refused += 1;
                }
                self.refusal.replace(Some(error.message.clone()));
            }
            Some(error) if matches!(error.kind, ErrorKind::Time | ErrorKind::Memory | ErrorKind::Stack) => {
                let mut all = self.stops.borrow_mut();
                let stops = all.entry(id.0).or_default();
                (stops.count, stops.weight) = (stops.count + 1, stops.weight + STOP);
                if stops.weight >= MOST {
                    library.quarantine(id, VERSION);
                    let (script, why) = (library.label(id), error.message.clone());
                    let given_up = GivenUp { script, why, stopped: stops.count, refused: 0 };
                    self.given_up.borrow_mut().insert(id.0, given_up);
                }
            }
            _ => {
                if let Some(stops) = self.stops.borrow_mut().get_mut(&id.0) {
                    stops.weight = stops.weight.saturating_sub(1);
                }
            }
        }
    }

    /// Whether a text tells nothing but that a call was not made.
    pub(super) fn is_refusal(&self, text: &str) -> bool {
        self.refusal.borrow().as_ref().is_some_and(|refusal| text.ends_with(refusal.as_str()))
    }

    /// The scripts that are not called any more.
    pub(super) fn given_up(&self) -> Vec<GivenUp> {
        self.given_up.borrow().values().cloned().collect()
    }
}
