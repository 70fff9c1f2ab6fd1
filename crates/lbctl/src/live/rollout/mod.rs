// SPDX-License-Identifier: Apache-2.0
//! `lbctl rollout`: a command for member after member, each of them drained, with a gate between.

mod command;
mod journal;
mod site;
mod told;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use self::command::Runner;
use self::journal::Journal;
use self::site::Fleet;
use self::told::RolloutEnd;
use super::args::RolloutArgs;
use super::condition::Conditions;
use super::model::SeenMember;
use super::servers::Servers;
use super::wait::duration;
use crate::out::{Exit, Failure, Out, VerbResult, note};

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

/// Runs the verb. A document, where one is wanted, comes at the end, however it ends.
pub fn run(out: &Out, args: &RolloutArgs) -> VerbResult {
    let mut told = RolloutEnd::of(&args.pool);
    let end = begin(out, args).and_then(|mut rollout| {
        let end = rollout.all(&args.take);
        told = rollout.end_of();
        end
    });
    if out.is_json() {
        told.ends(&end);
        out.json(&told)?;
    }
    end
}

/// A rollout that is about to begin.
fn begin(out: &Out, args: &RolloutArgs) -> Result<Rollout, Failure> {
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
    let runner = Runner::new(&args.command, args.undo.as_deref(), out.is_json())?;
    let journal = Journal::open(args)?;
    let most = usize::from(args.max_unavailable);
    let told = RolloutEnd::of(&args.pool);
    Ok(Rollout { site, journal, runner, most, held: Vec::new(), told })
}

struct Rollout {
    site: Fleet,
    journal: Journal,
    runner: Runner,
    /// Most members that are out at the same time.
    most: usize,
    held: Vec<(SeenMember, Stage)>,
    told: RolloutEnd,
}

impl Rollout {
    /// How far it has come, as a document.
    fn end_of(&mut self) -> RolloutEnd {
        self.told.left_drained = self.journal.out();
        std::mem::take(&mut self.told)
    }

    fn all(&mut self, take: &[String]) -> VerbResult {
        let members = self.members(take)?;
        let (done, open): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| self.journal.has(&member.name));
        let names = |members: &[SeenMember]| members.iter().map(|member| member.name.clone()).collect();
        (self.told.done, self.told.open) = (names(&done), names(&open));
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
            self.told.done.extend(names(wave));
            self.told.open.drain(..wave.len());
        }
        self.end()
    }

    /// The members whose turn may come; the others are told.
    fn members(&mut self, take: &[String]) -> Result<Vec<SeenMember>, Failure> {
        let out = self.journal.out();
        if let Some(wrong) = take.iter().find(|name| !out.contains(name)) {
            let expected = if out.is_empty() { "none".to_owned() } else { out.join(", ") };
            let text =
                format!("--take {wrong}: the stopped rollout has not left it drained; expected {expected}");
            return Err(Failure::usage(text));
        }
        let mut ready = Vec::new();
        let members = self.site.members()?;
        self.leave_one(members.len())?;
        // Somebody has removed them.
        let is_gone = |name: &&String| members.iter().all(|member| member.name != **name);
        out.iter().filter(is_gone).for_each(|name| self.journal.is_back(name));
        for mut member in members {
            match (self.journal.was_ordered(&member.name), member.admin.as_str()) {
                (Some(_), "ready") => self.journal.is_back(&member.name),
                (Some(is_ordered), _) if take.contains(&member.name) => {
                    // As before the rollout: it is put back to that.
                    member.overrides.retain(|key| is_ordered || key != "admin");
                }
                (_, "ready") => {}
                (before, admin) => {
                    let full = member.full();
                    note(&match before {
                        Some(_) => format!("{full} is still out since the rollout has stopped: {admin}"),
                        None => format!("{full} is left as it is: {admin}"),
                    });
                    if before.is_none() {
                        self.told.passes_over(&member);
                    }
                    continue;
                }
            }
            ready.push(member);
        }
        Ok(ready)
    }

    /// The last member never goes: fewer at the same time than there are, or none at all.
    fn leave_one(&mut self, count: usize) -> Result<(), Failure> {
        let pool = &self.site.pool;
        if count == 1 {
            let text =
                format!("{pool} has one member: nobody would serve while it is out; expected two or more");
            return Err(Failure { exit: Exit::No, text });
        }
        if self.most >= count && count > 0 {
            self.most = count - 1;
            note(&format!("{pool} has {count} members: at most {} are out at the same time", self.most));
        }
        Ok(())
    }

    /// Everybody has had a turn, but for members that are out since an earlier rollout.
    fn end(&self) -> VerbResult {
        let (pool, count) = (&self.site.pool, self.told.done.len());
        let out = self.journal.out();
        if out.is_empty() {
            self.journal.end();
            note(&format!("{pool}: {count} members are done"));
            return Ok(Exit::Done);
        }
        let each = |lead: &str| out.iter().map(|name| format!("{lead}{name}")).collect::<Vec<_>>().join(" ");
        let (named, taken) = (each(&format!("{pool}/")), each("--take "));
        let text = format!(
            "{pool}: {count} members are done. STILL OUT, and not done: {named}; expected --resume {taken}, \
             or lbctl enable {named} and --resume"
        );
        Err(Failure { exit: Exit::No, text })
    }

    /// Some members at the same time.
    fn wave(&mut self, wave: &[SeenMember]) -> Result<(), Failure> {
        self.site.wait_for_room(wave, self.most)?;
        for member in wave {
            self.journal.goes_out(&member.name, member.is_ordered())?;
            if let Err((is_out, failure)) = self.site.drain(member) {
                if is_out {
                    self.held.push((member.clone(), Stage::Drained));
                } else {
                    self.journal.is_back(&member.name);
                }
                return Err(failure);
            }
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
            self.back(member)?;
        }
        self.reach(Stage::Serving);
        self.site.hold_gate(&counts)
    }

    /// Takes the order back.
    fn back(&self, member: &SeenMember) -> Result<(), Failure> {
        self.site.put_back(member)?;
        self.journal.is_back(&member.name);
        Ok(())
    }

    fn reach(&mut self, stage: Stage) {
        self.held.iter_mut().for_each(|(_, reached)| *reached = stage);
    }

    /// After a failure: nobody is left drained, but for whom it is told.
    fn put_back(&mut self, changed: &[SeenMember]) {
        let held = std::mem::take(&mut self.held);
        for (member, stage) in &held {
            if *stage == Stage::Drained {
                self.tell_end(member, self.back(member), "is as it was");
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
        self.journal.remove(&member.name);
        let goes = self.journal.goes_out(&member.name, member.is_ordered());
        let undone =
            goes.and_then(|()| self.site.drain(member).map_err(|(_, failure)| failure)).and_then(|()| {
                self.site.wait_until_idle(one)?;
                let before = self.site.check_times(one)?;
                self.runner.undo(member)?;
                self.site.wait_for_checks(one, &before)?;
                self.back(member)
            });
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
