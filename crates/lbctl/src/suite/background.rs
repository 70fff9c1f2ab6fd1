// SPDX-License-Identifier: Apache-2.0
//! Timers of scripts, in virtual time.

use std::sync::Arc;

use script::offline::Answers;
use script::{LuaState, ScriptId};

use crate::world::World;

/// Most moments at which something is looked at in one step of time.
const MOST_MOMENTS: usize = 100_000;

/// The state that timers run in.
pub struct Background {
    state: LuaState,
    answers: Answers,
    /// `LuaBalancerTimer`: what it runs, seconds from start to start, when it is due.
    timers: Vec<(ScriptId, String, f64, f64)>,
}

impl Background {
    /// With every timer that scripts ask for at their top level.
    pub fn start(world: &World) -> Result<Self, String> {
        let state = world.background(Arc::default()).map_err(|error| error.to_string())?;
        for id in world.scripts() {
            state.load(id).map_err(|error| error.to_string())?;
        }
        let of_lines = world.setup().config.timers.iter().filter_map(|timer| {
            let every = timer.every_ms as f64 / 1e3;
            let id = world.script(timer.function.script)?;
            Some((id, timer.function.function.clone(), every, every))
        });
        Ok(Background { state, answers: Answers::default(), timers: of_lines.collect() })
    }

    fn next_due(&self) -> Option<f64> {
        let own = self.timers.iter().map(|(.., due)| *due);
        own.chain(self.state.next_due()).min_by(f64::total_cmp)
    }

    /// Runs what is due until then; `pass` lets time pass up to a moment.
    pub fn run_until(&mut self, end: f64, world: &World, pass: &mut dyn FnMut(f64)) {
        for _ in 0..MOST_MOMENTS {
            let Some(due) = self.next_due().filter(|due| *due <= end) else { break };
            pass(due.max(world.now()));
            for error in self.answers.run_due(&self.state, world.now()) {
                world.fail(format!("timer: {error}"));
            }
            for (id, function, every, due) in &mut self.timers {
                if *due > world.now() {
                    continue;
                }
                *due += *every;
                let ran = self.state.start_timer(*id, function);
                if let Err(error) = ran.and_then(|job| self.answers.finish(&self.state, job)) {
                    world.fail(format!("LuaBalancerTimer: {error}"));
                }
            }
        }
        pass(end);
    }
}
