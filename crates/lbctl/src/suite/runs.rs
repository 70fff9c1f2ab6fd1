// SPDX-License-Identifier: Apache-2.0
//! The results of tests.

use super::coverage::Coverage;
use super::stage::Case;

/// A file of tests that was run.
pub struct FileRun {
    /// How messages call it.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
    /// Why it ended before its end.
    pub error: Option<String>,
}

impl FileRun {
    /// Cases that failed, and the file itself.
    pub fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.failed.is_some()).count() + usize::from(self.error.is_some())
    }
}

/// Everything that was run.
pub struct Runs {
    /// By file.
    pub files: Vec<FileRun>,
    /// Lines that ran, where that was asked for.
    pub coverage: Option<Coverage>,
}

impl Runs {
    /// Cases that passed, and those (and files) that failed.
    pub fn count(&self) -> (usize, usize) {
        let all: usize = self.files.iter().map(|file| file.cases.len()).sum();
        let failed: usize = self.files.iter().map(FileRun::failures).sum();
        let broken = self.files.iter().filter(|file| file.error.is_some()).count();
        (all + broken - failed, failed)
    }
}
