// SPDX-License-Identifier: Apache-2.0
//! All scripts of a child: which there are, how they are limited, and the version that is served.
//!
//! A thread compares one number a call; when it differs, it takes the bundle from memory. Files are
//! read by the background thread alone, see [`crate::judge()`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use balance::store::SOURCE_SHIFT;
use parking_lot::Mutex;

use crate::error::{ErrorKind, ScriptError};
use crate::source::bundle::Bundle;
use crate::source::stamp::{Stamp, stamp_of, templates};

/// A script of the [`Library`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScriptId(pub u32);

/// `LuaBalancerCodeCache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodeCache {
    /// A changed file is judged and taken within a second.
    #[default]
    Stat,
    /// Files are read at the start only.
    Forever,
    /// Files are read for each call; for development.
    Never,
}

/// `LuaBalancerScriptLimit`: what one call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds, > 0.
    pub time_ms: u64,
    /// Bytes by which a call may make its state grow, > 0.
    pub memory_bytes: usize,
    /// Milliseconds for timers, checks and a script's top level, > 0.
    pub timer_time_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { time_ms: 50, memory_bytes: 16 << 20, timer_time_ms: 5000 }
    }
}

/// The origin of a script.
#[derive(Debug)]
pub(crate) enum Origin {
    File { path: PathBuf, search: String },
    Inline { name: String, code: String, search: String },
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) origin: Origin,
    pub(crate) limits: Limits,
    pub(crate) cache: CodeCache,
    /// Functions that the configuration names.
    pub(crate) needs: Vec<String>,
    /// Nothing comes of what it decides, defines or starts.
    pub(crate) shadow: bool,
    /// The version served, and [`QUARANTINED`].
    version: AtomicU64,
    live: Mutex<Live>,
}

/// The mark in a version's number that it is not called. A thread that compares the version with
/// the one that it has loaded sees a difference, so a plain call does not look for this.
const QUARANTINED: u64 = 1 << 63;

#[derive(Debug, Default)]
struct Live {
    bundle: Option<Arc<Bundle>>,
    failure: Option<ScriptError>,
    /// Files of the version judged last, good or not.
    watch: Vec<PathBuf>,
    judged: Option<Stamp>,
    pending: Option<Stamp>,
}

impl Entry {
    /// Whether the file is only ever a body (`-`): then its top level is not run at load.
    pub(crate) fn only_body(&self) -> bool {
        matches!(self.origin, Origin::File { .. })
            && !self.needs.is_empty()
            && self.needs.iter().all(|name| name == "-")
    }

    /// The version's number as it is compared before a call.
    pub(crate) fn version_word(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Err when the version that is served is in quarantine.
    pub(crate) fn check_quarantine(&self) -> Result<(), ScriptError> {
        let word = self.version_word();
        if word & QUARANTINED == 0 {
            return Ok(());
        }
        let text = format!(
            "{}: version {} is not called, since it was stuck in C; it is tried again when it is saved anew",
            self.label(),
            word & !QUARANTINED
        );
        Err(ScriptError::new(ErrorKind::Quarantined, text))
    }

    /// Its name in messages.
    pub(crate) fn label(&self) -> String {
        match &self.origin {
            Origin::File { path, .. } => path.to_string_lossy().into_owned(),
            Origin::Inline { name, .. } => name.clone(),
        }
    }

    /// The number of this script's definitions of pools: the version, which each script counts for
    /// itself, behind a mark of the script. See `balance::store::Store::define`.
    pub(crate) fn definition(&self, version: u64) -> u64 {
        let mark = xxhash_rust::xxh64::xxh64(self.label().as_bytes(), 0) | 1 << SOURCE_SHIFT;
        mark >> SOURCE_SHIFT << SOURCE_SHIFT | version & ((1 << SOURCE_SHIFT) - 1)
    }

    /// `package.path`.
    pub(crate) fn search(&self) -> &str {
        match &self.origin {
            Origin::File { search, .. } | Origin::Inline { search, .. } => search,
        }
    }

    /// Folder of relative templates.
    pub(crate) fn folder(&self) -> &Path {
        match &self.origin {
            Origin::File { path, .. } => path.parent().unwrap_or(Path::new("/")),
            Origin::Inline { .. } => Path::new("/"),
        }
    }
}

/// The scripts of a child, frozen but for their versions.
#[derive(Debug)]
pub struct Library {
    pub(crate) entries: Vec<Entry>,
    pub(crate) sandbox: bool,
    /// Pools that no script may define: the configuration does.
    pub(crate) configured: Vec<String>,
}

/// Makes a [`Library`].
#[derive(Debug, Default)]
pub struct Builder {
    entries: Vec<Entry>,
    limits: Limits,
    cache: CodeCache,
    open: bool,
    shipped: Option<String>,
    shadow: bool,
    configured: Vec<String>,
}

impl Builder {
    /// Names of pools that no script may define, since the configuration does.
    #[must_use]
    pub fn configured(mut self, names: Vec<String>) -> Self {
        self.configured = names;
        self
    }

    /// The folder of the scripts that come with the module; before [`Builder::file`].
    #[must_use]
    pub fn shipped(mut self, folder: &str) -> Self {
        self.shipped = Some(folder.to_owned());
        self
    }

    /// `LuaBalancerSandbox`, default on.
    #[must_use]
    pub fn sandbox(mut self, on: bool) -> Self {
        self.open = !on;
        self
    }

    /// Limits of the scripts added from here on.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Code cache of the scripts added from here on.
    #[must_use]
    pub fn cache(mut self, cache: CodeCache) -> Self {
        self.cache = cache;
        self
    }

    /// Adds a script file. `path` is absolute; `package_path` are folders or templates
    /// (`/x/?.lua`). The same file with the same settings has one id.
    pub fn file(&mut self, path: impl Into<PathBuf>, package_path: &[String]) -> ScriptId {
        let path = path.into();
        let own = templates(&path.parent().unwrap_or(Path::new("/")).to_string_lossy());
        let search = self.search(Some(own), package_path);
        let known = self.entries.iter().position(|entry| {
            // Two shadows of one file are told apart by those who count.
            !self.shadow
                && !entry.shadow
                && entry.limits == self.limits
                && entry.cache == self.cache
                && matches!(&entry.origin, Origin::File { path: p, search: s } if *p == path && *s == search)
        });
        match known {
            Some(index) => ScriptId(index as u32),
            None => self.push(Origin::File { path, search }),
        }
    }

    /// Adds `LuaRegisterFunc name function(r) … end`; quotes around it are taken away.
    pub fn inline(&mut self, name: &str, code: &str, package_path: &[String]) -> ScriptId {
        let code = code.trim();
        let bare = [('"', '"'), ('\'', '\'')]
            .iter()
            .find_map(|&(open, close)| code.strip_prefix(open)?.strip_suffix(close))
            .unwrap_or(code);
        let search = self.search(None, package_path);
        self.push(Origin::Inline { name: name.to_owned(), code: bare.to_owned(), search })
    }

    /// Says that the configuration names this function (`-`: the file itself is the body): judging
    /// then expects it.
    pub fn need(&mut self, id: ScriptId, function: &str) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize)
            && !entry.needs.iter().any(|known| known == function)
        {
            entry.needs.push(function.to_owned());
        }
    }

    /// Adds a script of which nothing comes but a comparison, beside any other of the same file.
    pub fn shadow(&mut self, add: impl FnOnce(&mut Self) -> ScriptId) -> ScriptId {
        self.shadow = true;
        let id = add(self);
        self.shadow = false;
        id
    }

    /// The library.
    pub fn build(self) -> Library {
        Library { entries: self.entries, sandbox: !self.open, configured: self.configured }
    }

    fn search(&self, own: Option<String>, package_path: &[String]) -> String {
        let shipped = self.shipped.as_deref().map(templates);
        let given = package_path.iter().map(|entry| templates(entry));
        own.into_iter().chain(given).chain(shipped).collect::<Vec<_>>().join(";")
    }

    fn push(&mut self, origin: Origin) -> ScriptId {
        let id = ScriptId(self.entries.len() as u32);
        self.entries.push(Entry {
            origin,
            limits: self.limits,
            cache: self.cache,
            needs: Vec::new(),
            shadow: self.shadow,
            version: AtomicU64::new(0),
            live: Mutex::default(),
        });
        id
    }
}

impl Library {
    /// Whether nothing comes of what a script decides, defines or starts: it is a shadow.
    pub fn is_shadow(&self, id: ScriptId) -> bool {
        self.entry(id).is_ok_and(|entry| entry.shadow)
    }

    /// Starts one.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `LuaBalancerSandbox`.
    pub fn is_sandboxed(&self) -> bool {
        self.sandbox
    }

    /// All scripts.
    pub fn ids(&self) -> impl Iterator<Item = ScriptId> + use<> {
        (0..self.entries.len() as u32).map(ScriptId)
    }

    /// The limits of a call of this script.
    pub fn limits(&self, id: ScriptId) -> Limits {
        self.entry(id).map_or_else(|_| Limits::default(), |entry| entry.limits)
    }

    /// The shortest time limit of a call, in milliseconds; None without scripts.
    pub fn shortest_time_ms(&self) -> Option<u64> {
        self.entries.iter().map(|entry| entry.limits.time_ms.min(entry.limits.timer_time_ms)).min()
    }

    /// This script's name in messages: its path, or the registered name.
    pub fn label(&self, id: ScriptId) -> String {
        self.entry(id).map_or_else(|_| format!("script {}", id.0), Entry::label)
    }

    /// The version served, 0 for none yet. One load.
    pub fn version(&self, id: ScriptId) -> u64 {
        self.entry(id).map_or(0, |entry| entry.version_word() & !QUARANTINED)
    }

    /// Has this version not called any more, if it is the one that is served.
    pub fn quarantine(&self, id: ScriptId, version: u64) {
        let Ok(entry) = self.entry(id) else { return };
        let _held = entry.live.lock();
        if version != 0 && entry.version_word() == version {
            entry.version.store(version | QUARANTINED, Ordering::Release);
        }
    }

    /// The version that is served now.
    pub fn bundle(&self, id: ScriptId) -> Option<Arc<Bundle>> {
        self.entry(id).ok()?.live.lock().bundle.clone()
    }

    /// Whether the files differ from those judged last, and have been as they are now over two
    /// calls of this: then their stamp, once for each state of the files. To be called every 200 ms
    /// or so; never under `CodeCache::Forever`.
    pub fn changed(&self, id: ScriptId) -> Option<Stamp> {
        let entry = self.entry(id).ok()?;
        if !matches!(entry.origin, Origin::File { .. }) && entry.live.lock().watch.is_empty() {
            return None;
        }
        let watch = self.watched(entry);
        let now = stamp_of(&watch);
        let mut live = entry.live.lock();
        if live.judged == Some(now) {
            live.pending = None;
            return None;
        }
        let stable = live.pending == Some(now);
        live.pending = Some(now);
        stable.then_some(now)
    }

    /// Has the files looked at anew, though they were judged in this process before.
    pub fn judge_again(&self, id: ScriptId) {
        if let Ok(entry) = self.entry(id) {
            entry.live.lock().judged = None;
        }
    }

    /// Serves this bundle from now on, in every thread at its next call. Versions grow; an older or
    /// equal one is ignored.
    pub fn install(&self, id: ScriptId, bundle: Bundle, version: u64) {
        let Ok(entry) = self.entry(id) else { return };
        let mut live = entry.live.lock();
        if version <= entry.version_word() & !QUARANTINED {
            return;
        }
        if live.watch.is_empty() {
            live.watch.clone_from(&bundle.watch);
            live.judged = Some(bundle.stamp);
        }
        live.failure = None;
        live.bundle = Some(Arc::new(bundle));
        entry.version.store(version, Ordering::Release);
    }

    /// Whether the files are to be watched: not under `CodeCache::Forever`. Under
    /// `CodeCache::Never` requests read them anyway, but timers and checks go on with what was
    /// loaded.
    pub fn is_watched(&self, id: ScriptId) -> bool {
        self.entry(id).is_ok_and(|entry| entry.cache != CodeCache::Forever)
    }

    /// The last verdict that was not good, while no later one was.
    pub fn failure(&self, id: ScriptId) -> Option<ScriptError> {
        self.entry(id).ok()?.live.lock().failure.clone()
    }

    pub(crate) fn entry(&self, id: ScriptId) -> Result<&Entry, ScriptError> {
        self.entries.get(id.0 as usize).ok_or_else(|| {
            ScriptError::new(
                ErrorKind::Load,
                format!("script {} is unknown, there are {}", id.0, self.entries.len()),
            )
        })
    }

    /// Bundle and version of the same moment.
    pub(crate) fn current(&self, id: ScriptId) -> Result<(Arc<Bundle>, u64), ScriptError> {
        let entry = self.entry(id)?;
        let live = entry.live.lock();
        match (&live.bundle, &live.failure) {
            (Some(bundle), _) => Ok((bundle.clone(), entry.version_word() & !QUARANTINED)),
            (None, Some(failure)) => Err(failure.clone()),
            (None, None) => {
                Err(ScriptError::new(ErrorKind::Load, format!("{}: not loaded yet", entry.label())))
            }
        }
    }

    /// Remembers what was judged, so that the same state of the files is judged once.
    pub(crate) fn judged(
        &self,
        id: ScriptId,
        watch: Vec<PathBuf>,
        stamp: Stamp,
        failure: Option<ScriptError>,
    ) {
        let Ok(entry) = self.entry(id) else { return };
        let mut live = entry.live.lock();
        (live.watch, live.judged, live.pending, live.failure) = (watch, Some(stamp), None, failure);
    }

    pub(crate) fn watched(&self, entry: &Entry) -> Vec<PathBuf> {
        let watch = entry.live.lock().watch.clone();
        match &entry.origin {
            Origin::File { path, .. } if watch.is_empty() => vec![path.clone()],
            _ => watch,
        }
    }
}
