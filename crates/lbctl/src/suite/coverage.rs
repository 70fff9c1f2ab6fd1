// SPDX-License-Identifier: Apache-2.0
//! The lines of the scripts under test that ran.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use script::SeeLine;

use super::bytecode::code_lines;
use super::copies::Copies;
use crate::files;

/// How often each line ran, by the script's label.
type Ran = Rc<RefCell<HashMap<String, BTreeMap<usize, u64>>>>;

/// See the module.
#[derive(Default)]
pub struct Coverage {
    ran: Ran,
    /// Lines of scripts, and how often each ran.
    files: BTreeMap<PathBuf, BTreeMap<usize, u64>>,
}

impl Coverage {
    /// Gets the lines that run.
    pub fn see(&self, copies: &Rc<Copies>) -> SeeLine {
        let (ran, copies) = (self.ran.clone(), copies.clone());
        Rc::new(move |label: &str, line: usize| {
            let mut ran = ran.borrow_mut();
            if let Some(lines) = ran.get_mut(label) {
                *lines.entry(line).or_default() += 1;
                return;
            }
            let own = copies.original(label);
            *ran.entry(own).or_default().entry(line).or_default() += 1;
        })
    }

    /// Takes in the modules that scripts have required.
    pub fn add_modules(&mut self) {
        let labels: Vec<PathBuf> = self.ran.borrow().keys().map(PathBuf::from).collect();
        labels.iter().filter(|path| path.is_file()).for_each(|path| self.add(path));
    }

    /// Takes in a script that was tested. Twice counts once.
    pub fn add(&mut self, path: &Path) {
        let Some(lines) = files::bytes(path).ok().and_then(|text| code_lines(&text)) else { return };
        let ran = self.ran.borrow();
        let ran = ran.get(&*path.to_string_lossy());
        let count = |line: usize| ran.and_then(|ran| ran.get(&line)).copied().unwrap_or(0);
        self.files.insert(path.to_owned(), lines.into_iter().map(|line| (line, count(line))).collect());
    }

    /// Files with how many of their lines ran, how many they have, and those that did not run.
    pub fn files(&self) -> impl Iterator<Item = (&Path, usize, usize, Vec<usize>)> {
        self.files.iter().map(|(path, lines)| {
            let missed: Vec<usize> =
                lines.iter().filter(|(_, count)| **count == 0).map(|(line, _)| *line).collect();
            (path.as_path(), lines.len() - missed.len(), lines.len(), missed)
        })
    }

    /// Percent of all lines.
    pub fn percent(&self) -> f64 {
        let (ran, all) = self.files().fold((0, 0), |(ran, all), (_, own, lines, _)| (ran + own, all + lines));
        if all == 0 { 100.0 } else { ran as f64 * 100.0 / all as f64 }
    }

    /// In lcov's format.
    pub fn lcov(&self) -> String {
        let mut text = String::new();
        for (path, lines) in &self.files {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "TN:\nSF:{}", path.display());
            for (line, count) in lines {
                let _ = writeln!(text, "DA:{line},{count}");
            }
            let hit = lines.values().filter(|count| **count > 0).count();
            let _ = writeln!(text, "LF:{}\nLH:{hit}\nend_of_record", lines.len());
        }
        text
    }
}
