//! Where a state takes sources from: a bundle in memory, or the disk, with a record of every file looked at.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::bundle::{Bundle, Source};
use crate::error::{ErrorKind, ScriptError};
use crate::host::Server;
use crate::library::{Entry, Origin};
use crate::source::{FileStamp, Stamp, candidates, combine, read, required, stamp_of};

/// What was read from disk for one candidate version.
#[derive(Default)]
pub(crate) struct Recorder {
    /// While vetting: who is told what is looked at.
    server: Option<Rc<dyn Server>>,
    /// Every file looked at, with its state before it was read.
    probes: Vec<(PathBuf, Option<FileStamp>)>,
    pub(crate) modules: Vec<Source>,
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

    fn probe(&mut self, path: &Path) -> Option<std::io::Result<Arc<[u8]>>> {
        if let Some(server) = &self.server {
            server.looks_at(path);
        }
        let (stamp, found) = match FileStamp::read(path).map(|stamp| (stamp, read(path))) {
            None => (None, None),
            Some((_, Ok((text, stamp)))) => (Some(stamp), Some(Ok(text.into()))),
            Some((stamp, Err(error))) => (Some(stamp), Some(Err(error))),
        };
        if !self.probes.iter().any(|(known, _)| known == path) {
            self.probes.push((path.to_owned(), stamp));
        }
        found
    }

    /// The script itself.
    pub(crate) fn main(&mut self, entry: &Entry) -> Result<Source, ScriptError> {
        let (path, text) = match &entry.origin {
            Origin::Inline { name, code, .. } => {
                (PathBuf::from(name), Arc::from(format!("return {code}").into_bytes()))
            }
            Origin::File { path, .. } => {
                let text = match self.probe(path) {
                    Some(Ok(text)) => text,
                    Some(Err(error)) => return Err(self.unreadable(path, &error)),
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
        for path in candidates(search, name, folder) {
            match self.probe(&path) {
                None => {}
                Some(Err(error)) => return Err(self.unreadable(&path, &error)),
                Some(Ok(text)) => {
                    let source = Source { name: name.to_owned(), path, text };
                    self.modules.push(source.clone());
                    return Ok(Some(source));
                }
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
        let mut text = format!("{}: cannot be read: {error}", path.display());
        let account = self.server.as_ref().and_then(|server| server.account());
        if let (std::io::ErrorKind::PermissionDenied, Some(account)) = (error.kind(), account) {
            text.push_str(&format!(
                " (scripts are read with the rights of {account}, never as root: give that account the right to read it with \
                 chgrp and chmod g+r, and to enter its folders with chmod g+x)"
            ));
        }
        ScriptError::new(ErrorKind::Load, text)
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

/// Where a loaded script takes its modules from.
#[derive(Debug, Clone)]
pub(crate) enum Modules {
    /// Memory; what is not there was wanted by a computed name, and is read once for each thread and version.
    Bundle(Arc<Bundle>, Rc<RefCell<Recorder>>),
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
            Modules::Bundle(bundle, late) => match bundle.module(name) {
                Some(source) => Ok(Some(source.clone())),
                None => late.borrow_mut().module(search, folder, name),
            },
            Modules::Disk(recorder) => recorder.borrow_mut().module(search, folder, name),
        }
    }
}
