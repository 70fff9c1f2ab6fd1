// SPDX-License-Identifier: Apache-2.0
//! How far a rollout has come, for the one that goes on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::args::RolloutArgs;
use crate::files;
use crate::out::{Exit, Failure, note};

/// A file with the members that are done, and those that are out.
pub struct Journal {
    path: Option<PathBuf>,
    notes: RefCell<Notes>,
}

#[derive(Default, Serialize, Deserialize)]
struct Notes {
    pool: String,
    command: Vec<String>,
    #[serde(default)]
    done: BTreeSet<String>,
    /// Members that are out because of this rollout, and whether an order held for them before.
    #[serde(default)]
    out: BTreeMap<String, bool>,
}

impl Notes {
    /// An object with these keys: a list of as many values is something else.
    fn read(text: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(text).map_err(|error| format!("no JSON ({error})"))?;
        if !document.is_object() {
            return Err("other JSON than an object".into());
        }
        serde_json::from_value(document).map_err(|error| format!("other keys ({error})"))
    }
}

impl Journal {
    /// A new one, or that of the rollout that goes on.
    pub fn open(args: &RolloutArgs) -> Result<Self, Failure> {
        let path = args.journal.clone().or_else(|| usual(&args.pool));
        let (pool, command) = (args.pool.clone(), args.command.clone());
        let fresh = Notes { pool, command, ..Notes::default() };
        if !args.resume {
            let journal = Journal { path, notes: RefCell::new(fresh) };
            journal.write()?;
            return Ok(journal);
        }
        let wrong = |text: String| Failure { exit: Exit::Usage, text: format!("--resume: {text}") };
        let file = path.clone().ok_or_else(|| wrong("there is no HOME; expected --journal FILE".into()))?;
        let text = files::text(&file)
            .map_err(|error| wrong(format!("{error}: no rollout of {} has stopped", args.pool)))?;
        let notes = Notes::read(&text).map_err(|error| {
            wrong(format!("{}: found {error}; expected what a rollout has noted", file.display()))
        })?;
        if notes.pool != args.pool || notes.command != args.command {
            let command = notes.command.join(" ");
            return Err(wrong(format!("the rollout that has stopped is of {} with: {command}", notes.pool)));
        }
        Ok(Journal { path, notes: RefCell::new(notes) })
    }

    /// Whether this member is done.
    pub fn has(&self, member: &str) -> bool {
        self.notes.borrow().done.contains(member)
    }

    /// This member is done.
    pub fn add(&self, member: &str) -> Result<(), Failure> {
        self.notes.borrow_mut().done.insert(member.to_owned());
        self.write()
    }

    /// This member goes out. Noted ahead of it: a rollout that is killed has said so.
    pub fn goes_out(&self, member: &str, is_ordered: bool) -> Result<(), Failure> {
        self.notes.borrow_mut().out.insert(member.to_owned(), is_ordered);
        self.write()
    }

    /// This member serves again.
    pub fn is_back(&self, member: &str) {
        if self.notes.borrow_mut().out.remove(member).is_some() {
            self.write().unwrap_or_else(|failure| note(&failure.text));
        }
    }

    /// The members that this rollout has taken out and not brought back.
    pub fn out(&self) -> Vec<String> {
        self.notes.borrow().out.keys().cloned().collect()
    }

    /// Whether an order held for this member before it went out; None: it is not out.
    pub fn was_ordered(&self, member: &str) -> Option<bool> {
        self.notes.borrow().out.get(member).copied()
    }

    /// This member is undone, or about to be.
    pub fn remove(&self, member: &str) {
        self.notes.borrow_mut().done.remove(member);
        self.write().unwrap_or_else(|failure| note(&failure.text));
    }

    /// All are done.
    pub fn end(&self) {
        if let Some(path) = &self.path {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }

    fn write(&self) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_string_pretty(&*self.notes.borrow()).map_err(std::io::Error::other)?;
        let beside = path.with_extension("new");
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| fs::write(&beside, text)).and_then(|()| fs::rename(&beside, path));
        written.map_err(|error| Failure { exit: Exit::No, text: format!("{}: {error}", path.display()) })
    }
}

fn usual(pool: &str) -> Option<PathBuf> {
    let set = std::env::var_os("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let name: String =
        pool.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    Some(set.or_else(home)?.join("lbctl").join(format!("rollout-{name}.json")))
}
