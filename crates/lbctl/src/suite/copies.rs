// SPDX-License-Identifier: Apache-2.0
//! Copies of scripts, changed for a test, in a folder that goes with it.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Copies of one run.
#[derive(Default)]
pub struct Copies {
    folders: RefCell<Vec<PathBuf>>,
    /// Copy and original.
    made: RefCell<Vec<(String, String)>>,
}

impl Copies {
    /// Writes a copy of a file with this text.
    pub fn write(&self, original: &Path, text: &str) -> io::Result<PathBuf> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("lbctl-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        self.folders.borrow_mut().push(folder.clone());
        let path = folder.join(original.file_name().unwrap_or_default());
        fs::write(&path, text)?;
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        self.made.borrow_mut().push((shown(&path), shown(original)));
        Ok(path)
    }

    /// The file that a copy was made of; others stay.
    pub fn original(&self, path: &str) -> String {
        let made = self.made.borrow();
        made.iter().find(|(copy, _)| copy == path).map_or_else(|| path.to_owned(), |(_, own)| own.clone())
    }

    /// A text that names the originals.
    pub fn named(&self, text: &str) -> String {
        let made = self.made.borrow();
        made.iter().fold(text.to_owned(), |text, (copy, own)| text.replace(copy, own))
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        for folder in self.folders.borrow().iter() {
            fs::remove_dir_all(folder).ok();
        }
    }
}
