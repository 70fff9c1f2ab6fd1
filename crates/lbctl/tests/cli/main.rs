// SPDX-License-Identifier: Apache-2.0
//! The program as people call it: what it prints, and how it ends.
#![allow(missing_docs)]

mod check;
mod convert;
mod docs;
mod explain;
mod files;
mod live;
mod manual;
mod odd_conversions;
mod odd_logs;
mod progress;
mod simulate;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own for a test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lbctl-test-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path.canonicalize().unwrap())
    }

    /// With these files: names and texts.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Calls the program here.
    pub fn lbctl(&self, arguments: &[&str]) -> Said {
        lbctl(&self.0, arguments)
    }

    /// Calls the program here, where a terminal has so many columns.
    pub fn lbctl_in_columns(&self, columns: u16, arguments: &[&str]) -> Said {
        lbctl_wide(&self.0, arguments, Some(columns))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The output of the program.
struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// All of it, for a snapshot.
    pub fn whole(&self) -> String {
        let err = if self.err.is_empty() { String::new() } else { format!("--- stderr\n{}", self.err) };
        format!("--- exit {}\n{}{err}", self.code, self.out)
    }

    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.whole());
        self
    }
}

/// Calls the program in a folder, whose name becomes `DIR`.
fn lbctl(folder: &Path, arguments: &[&str]) -> Said {
    lbctl_wide(folder, arguments, None)
}

fn lbctl_wide(folder: &Path, arguments: &[&str], columns: Option<u16>) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    command.args(arguments).current_dir(folder).env_remove("NO_COLOR").env_remove("COLUMNS");
    command.envs(columns.map(|columns| ("COLUMNS", columns.to_string())));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*folder.to_string_lossy(), "DIR");
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

/// The root of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
