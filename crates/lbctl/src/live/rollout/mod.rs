// SPDX-License-Identifier: Apache-2.0
//! `lbctl rollout`: a command for member after member, each of them drained, with a gate between.

mod command;
mod journal;
mod site;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use self::command::Runner;
use self::journal::Journal;
use self::site::Fleet;
use super::args::RolloutArgs;
use super::condition::Conditions;
use super::model::SeenMember;
use super::servers::Servers;
use super::wait::duration;
use crate::out::{Exit, Failure, VerbResult, note};

/// How far a member has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It drains; the command has not begun.
    Drained,
    /// The command has begun.
    Touched,
    /// It serves again.
    Serving,
}

/// Runs the verb.
pub fn run(args: &RolloutArgs) -> VerbResult {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second signal ends the program at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let gate = args.gate.as_deref().map(Conditions::parse).transpose()?;
    let site = Fleet {
        pool: args.pool.clone(),
        servers: Servers::of(&args.login)?,
        stop,
        time: duration("--timeout", &args.timeout)?,
        hold: duration("--hold", &args.hold)?,
        gate,
    };
    let journal = Journal::open(args)?;
    let runner = Runner::new(&args.command, args.undo.as_deref());
    Rollout { site, journal, runner, most: usize::from(args.max_unavailable), held: Vec::new() }.all()
}

struct Rollout {
    site: Fleet,
    journal: Journal,
    runner: Runner,
    /// Most members that are out at the same time.
    most: usize,
    held: Vec<(SeenMember, Stage)>,
}

impl Rollout {
    fn all(&mut self) -> VerbResult {
        let (ready, others): (Vec<_>, Vec<_>) =
            self.site.members()?.into_iter().partition(|member| member.admin == "ready");
        for member in others {
            note(&format!("{} is left as it is: {}", member.full(), member.admin));
        }
        let (done, open): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|member| self.journal.has(&member.name));
        let mut changed: Vec<SeenMember> = done;
        for wave in open.chunks(self.most) {
            self.held.clear();
            if let Err(failure) = self.wave(wave) {
                self.put_back(&changed);
                return Err(failure);
            }
            for member in wave {
                self.journal.add(&member.name)?;
                changed.push(member.clone());
            }
        }
        self.journal.end();
        note(&format!("{}: {} members are done", self.site.pool, changed.len()));
        Ok(Exit::Done)
    }

    /// Some members at the same time.
    fn wave(&mut self, wave: &[SeenMember]) -> Result<(), Failure> {
        self.site.wait_for_room(wave, self.most)?;
        for member in wave {
            self.site.drain(member)?;
            self.held.push((member.clone(), Stage::Drained));
        }
        self.site.wait_until_idle(wave)?;
        let before = self.site.check_times(wave)?;
        self.reach(Stage::Touched);
        self.runner.run(wave)?;
        self.site.go_on()?;
        self.site.wait_for_checks(wave, &before)?;
        let counts = self.site.pools()?;
        for member in wave {
            self.site.put_back(member)?;
        }
        self.reach(Stage::Serving);
        self.site.hold_gate(&counts)
    }

    fn reach(&mut self, stage: Stage) {
        self.held.iter_mut().for_each(|(_, reached)| *reached = stage);
    }

    /// After a failure: nobody is left drained, but for whom it is told.
    fn put_back(&mut self, changed: &[SeenMember]) {
        let held = std::mem::take(&mut self.held);
        for (member, stage) in &held {
            if *stage == Stage::Drained {
                self.tell_end(member, self.site.put_back(member), "is as it was");
            }
        }
        let touched: Vec<&SeenMember> =
            held.iter().filter(|(_, stage)| *stage != Stage::Drained).map(|(member, _)| member).collect();
        if self.runner.has_undo() && !self.site.is_stopped() {
            let last_first = touched.into_iter().chain(changed.iter().rev());
            last_first.for_each(|member| self.undo(member));
            return;
        }
        for (member, stage) in held.iter().filter(|(_, stage)| *stage != Stage::Drained) {
            let full = member.full();
            let text = match stage {
                Stage::Serving => format!("{full} serves, with what the command has made of it"),
                _ => format!(
                    "{full} IS LEFT DRAINED: its command has begun; lbctl enable {full} brings it back"
                ),
            };
            note(&text);
        }
    }

    fn undo(&self, member: &SeenMember) {
        let one = std::slice::from_ref(member);
        let undone = self.site.drain(member).and_then(|()| {
            self.site.wait_until_idle(one)?;
            let before = self.site.check_times(one)?;
            self.runner.undo(member)?;
            self.site.wait_for_checks(one, &before)?;
            self.site.put_back(member)
        });
        if undone.is_ok() {
            self.journal.remove(&member.name);
        }
        self.tell_end(member, undone, "is undone");
    }

    fn tell_end(&self, member: &SeenMember, end: Result<(), Failure>, good: &str) {
        let full = member.full();
        match end {
            Ok(()) => note(&format!("{full} {good}")),
            Err(failure) => {
                note(&format!("{full} IS LEFT DRAINED: {}; lbctl enable {full} brings it back", failure.text))
            }
        }
    }
}
