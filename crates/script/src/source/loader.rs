// SPDX-License-Identifier: Apache-2.0
//! Where a state takes sources from: a bundle in memory, or the disk, with a record of every file
//! looked at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{ErrorKind, ScriptError};
use crate::host::Server;
use crate::source::bundle::{Bundle, Source};
use crate::source::library::{Entry, Origin};
use crate::source::stamp::{FileStamp, Stamp, candidates, combine, read, required, stamp_of};

/// Files that a candidate may look for: each is looked at from then on, several times a second.
const MOST_PROBES: usize = 4096;
/// Bytes of the longest name of a module.
const MOST_NAME: usize = 200;

/// The files that were read from disk for one candidate version.
#[derive(Default)]
pub(crate) struct Recorder {
    /// While vetting: who is told what is looked at.
    server: Option<Rc<dyn Server>>,
    /// Every file looked at, with its state before it was read, in order.
    probes: Vec<(PathBuf, Option<FileStamp>)>,
    /// Where each is among them.
    places: HashMap<PathBuf, usize>,
    pub(crate) modules: Vec<Source>,
}

type Text = std::io::Result<Arc<[u8]>>;

/// A file as it was found; None when it is not there.
fn look(path: &Path) -> (Option<FileStamp>, Option<Text>) {
    match FileStamp::read(path).map(|stamp| (stamp, read(path))) {
        None => (None, None),
        Some((_, Ok((text, stamp)))) => (Some(stamp), Some(Ok(text.into()))),
        Some((stamp, Err(error))) => (Some(stamp), Some(Err(error))),
    }
}

/// Whether `name` is that of a module: parts with a dot or a slash between them. So there are no
/// more names than files, and none leads out of the folders where modules are.
pub(crate) fn is_module_name(name: &str) -> bool {
    let good = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_control());
    name.len() <= MOST_NAME && name.split(['.', '/']).all(good)
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("probes", &self.probes).finish_non_exhaustive()
    }
}

impl Recorder {
    pub(crate) fn for_vetting(server: Rc<dyn Server>) -> Self {
        Recorder { server: Some(server), ..Recorder::default() }
    }

    fn probe(&mut self, path: &Path) -> Result<Option<Arc<[u8]>>, ScriptError> {
        if let Some(server) = &self.server {
            server.looks_at(path);
        }
        let (stamp, found) = look(path);
        if !self.places.contains_key(path) {
            if self.probes.len() >= MOST_PROBES {
                let text = format!("more than {MOST_PROBES} files are looked for by require");
                return Err(ScriptError::new(ErrorKind::Load, text));
            }
            self.places.insert(path.to_owned(), self.probes.len());
            self.probes.push((path.to_owned(), stamp));
        }
        found.transpose().map_err(|error| self.unreadable(path, &error))
    }

    /// The script itself.
    pub(crate) fn main(&mut self, entry: &Entry) -> Result<Source, ScriptError> {
        let (path, text) = match &entry.origin {
            Origin::Inline { name, code, .. } => {
                (PathBuf::from(name), Arc::from(format!("return {code}").into_bytes()))
            }
            Origin::File { path, .. } => {
                let text = match self.probe(path)? {
                    Some(text) => text,
                    None => {
                        let error = std::fs::metadata(path).err();
                        let error = error.unwrap_or_else(|| std::io::Error::other("not a file"));
                        return Err(self.unreadable(path, &error));
                    }
                };
                (path.clone(), text)
            }
        };
        Ok(Source { name: String::new(), path, text })
    }

    /// A module, read once. None: nowhere on the path.
    pub(crate) fn module(
        &mut self,
        search: &str,
        folder: &Path,
        name: &str,
    ) -> Result<Option<Source>, ScriptError> {
        if let Some(known) = self.modules.iter().find(|module| module.name == name) {
            return Ok(Some(known.clone()));
        }
        if !is_module_name(name) {
            return Ok(None);
        }
        for path in candidates(search, name, folder) {
            if let Some(text) = self.probe(&path)? {
                let source = Source { name: name.to_owned(), path, text };
                self.modules.push(source.clone());
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    /// Reads what the sources so far will `require` when they run, as far as their text tells.
    pub(crate) fn foresee(&mut self, main: &Source, entry: &Entry) -> Result<(), ScriptError> {
        let mut open = required(&main.text);
        open.extend(self.modules.iter().flat_map(|module| required(&module.text)));
        let mut seen = Vec::new();
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            if let Some(source) = self.module(entry.search(), entry.folder(), &name)? {
                open.extend(required(&source.text));
            }
            seen.push(name);
        }
        Ok(())
    }

    fn unreadable(&self, path: &Path, error: &std::io::Error) -> ScriptError {
        let mut unreadable = unreadable(path, error);
        let account = self.server.as_ref().and_then(|server| server.account());
        if let (std::io::ErrorKind::PermissionDenied, Some(account)) = (error.kind(), account) {
            unreadable.message.push_str(&format!(
                " (scripts are read with the rights of {account}, never as root: give that account the right to read it with \
                 chgrp and chmod g+r, and to enter its folders with chmod g+x)"
            ));
        }
        unreadable
    }

    pub(crate) fn watch(&self) -> Vec<PathBuf> {
        self.probes.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The stamp of what was read; None when a file has changed since.
    pub(crate) fn stamp(&self) -> Option<Stamp> {
        let read = combine(self.probes.iter().map(|(path, stamp)| (path.as_path(), *stamp)));
        (stamp_of(&self.watch()) == read).then_some(read)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ScriptError {
    ScriptError::new(ErrorKind::Load, format!("{}: cannot be read: {error}", path.display()))
}

/// Where a loaded script takes its modules from.
#[derive(Debug, Clone)]
pub(crate) enum Modules {
    /// Memory; what is not there was wanted by a computed name, and is read when it is wanted.
    /// Nothing is kept of it here: such names may be a client's.
    Bundle(Arc<Bundle>),
    /// The disk, on record.
    Disk(Rc<RefCell<Recorder>>),
}

impl Modules {
    pub(crate) fn find(
        &self,
        search: &str,
        folder: &Path,
        name: &str,
    ) -> Result<Option<Source>, ScriptError> {
        match self {
            Modules::Bundle(bundle) => match bundle.module(name) {
                Some(source) => Ok(Some(source.clone())),
                None => late_module(search, folder, name),
            },
            Modules::Disk(recorder) => recorder.borrow_mut().module(search, folder, name),
        }
    }
}

fn late_module(search: &str, folder: &Path, name: &str) -> Result<Option<Source>, ScriptError> {
    if !is_module_name(name) {
        return Ok(None);
    }
    for path in candidates(search, name, folder) {
        if let Some(text) = look(&path).1.transpose().map_err(|error| unreadable(&path, &error))? {
            return Ok(Some(Source { name: name.to_owned(), path, text }));
        }
    }
    Ok(None)
}
