// SPDX-License-Identifier: Apache-2.0
//! The answer of a process that vets, as bytes: records of a length (four bytes, little endian), a
//! kind and a payload. The process has run the script and is not trusted: whatever the bytes are,
//! reading them gives a [`Findings`] within bounds.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use balance::member::MemberSpec;
use balance::settings::PoolSettings;

use crate::decision::definition::Definition;
use crate::error::{ErrorKind, NOT_FINISHED, ScriptError};
use crate::host::Level;
use crate::source::bundle::Bundle;
use crate::source::stamp::Stamp;
use crate::vetting::verdict::Verdict;

/// Longest answer, in bytes.
pub const MAX_ANSWER: usize = 32 << 20;
/// Most log lines of one top level.
pub const MAX_LINES: usize = 100;
/// Most bytes of one log line, of a message, and of a path.
const MAX_TEXT: usize = 8 << 10;
const MAX_TRACEBACK: usize = 64 << 10;
const MAX_FILES: usize = 16_384;
const MAX_POOLS: usize = 4096;
const MAX_MEMBERS: usize = 65_536;
/// httpd's lowest level, trace8.
const MAX_LEVEL: u8 = 15;

const LOG: u8 = 1;
const FILE: u8 = 2;
const PLACE: u8 = 3;
const VERDICT: u8 = 4;
/// The version of a verdict's format.
const VERSION: u8 = 1;

/// The readable parts of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Log lines of the top level.
    pub lines: Vec<(Level, String)>,
    /// Files looked at, each once, for the case that there is no verdict.
    pub files: Vec<PathBuf>,
    /// `file:line` where the script was shortly before its time was over.
    pub place: Option<String>,
    /// None: the process ended before it had one, or it does not fit this version of the module.
    pub verdict: Option<Verdict>,
}

/// How a vetting process ended that gave no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It was killed since its time was over.
    Overdue,
    /// Killed by this signal.
    Signal(i32),
    /// By itself, with this code.
    Exit(i32),
    /// Nobody knows.
    Unknown,
}

/// The end of an answer, added by the process that waited for the worker. It is looked for behind
/// the last byte, since a process that was killed may have written a part of a record.
const END_MARK: [u8; 8] = *b"LBvetEND";
const END_LENGTH: usize = END_MARK.len() + 5;

/// The bytes that are added to the answer of a process that has ended.
pub fn end_of(ended: ProcessEnd) -> [u8; END_LENGTH] {
    let (kind, number) = match ended {
        ProcessEnd::Unknown => (0, 0),
        ProcessEnd::Overdue => (1, 0),
        ProcessEnd::Signal(signal) => (2, signal),
        ProcessEnd::Exit(code) => (3, code),
    };
    let mut out = [0; END_LENGTH];
    out[..8].copy_from_slice(&END_MARK);
    out[8] = kind;
    out[9..].copy_from_slice(&number.to_le_bytes());
    out
}

/// Takes that end off.
fn split_end(bytes: &[u8]) -> (&[u8], ProcessEnd) {
    let Some((body, end)) = bytes.split_last_chunk::<END_LENGTH>() else {
        return (bytes, ProcessEnd::Unknown);
    };
    let number = i32::from_le_bytes([end[9], end[10], end[11], end[12]]);
    match (end[..8] == END_MARK, end[8]) {
        (true, 1) => (body, ProcessEnd::Overdue),
        (true, 2) => (body, ProcessEnd::Signal(number)),
        (true, 3) => (body, ProcessEnd::Exit(number)),
        (true, _) => (body, ProcessEnd::Unknown),
        (false, _) => (bytes, ProcessEnd::Unknown),
    }
}

impl Findings {
    /// A whole answer, and how the process ended.
    pub fn read_all(bytes: &[u8]) -> (Self, ProcessEnd) {
        let (body, ended) = split_end(bytes);
        (Findings::read(body), ended)
    }

    /// Whether these bytes hold a whole verdict, so that the process's end need not be waited for.
    pub fn has_verdict(mut bytes: &[u8]) -> bool {
        std::iter::from_fn(|| record(&mut bytes)).any(|(kind, _)| kind == VERDICT)
    }

    /// Whether these bytes end as [`end_of`] has them end.
    pub fn has_end(bytes: &[u8]) -> bool {
        bytes.last_chunk::<END_LENGTH>().is_some_and(|end| end.starts_with(&END_MARK))
    }

    /// The records, as far as they are whole.
    pub fn read(mut bytes: &[u8]) -> Self {
        let mut report = Findings::default();
        let mut seen = HashSet::new();
        while let Some((kind, payload)) = record(&mut bytes) {
            if kind != FILE || seen.insert(payload) {
                report.take(kind, payload);
            }
        }
        report
    }

    /// A record; that of a file comes once.
    fn take(&mut self, kind: u8, payload: &[u8]) {
        match kind {
            LOG if self.lines.len() < MAX_LINES => {
                if let Some((level, text)) = payload.split_first() {
                    self.lines.push(((*level).min(MAX_LEVEL), lossy(text)));
                }
            }
            FILE if self.files.len() < MAX_FILES => self.files.extend(path(payload)),
            PLACE => self.place = Some(lossy(payload)),
            VERDICT => self.verdict = verdict(payload),
            _ => {}
        }
    }

    /// Why there is no verdict.
    pub fn missing(&self, label: &str, ended: ProcessEnd) -> ScriptError {
        let place = self.place.as_deref().unwrap_or(label);
        let kind = if ended == ProcessEnd::Overdue { ErrorKind::Time } else { ErrorKind::Load };
        let text = match ended {
            ProcessEnd::Overdue => format!("{place}: {NOT_FINISHED}"),
            ProcessEnd::Signal(signal) => {
                format!("{place}: the process that vetted it was ended by {}", signal_name(signal))
            }
            ProcessEnd::Exit(code) => {
                format!("{place}: the process that vetted it ended with code {code} before it was done")
            }
            ProcessEnd::Unknown => format!("{place}: the process that vetted it gave no answer"),
        };
        ScriptError::new(kind, text)
    }
}

fn signal_name(signal: i32) -> String {
    const SIGABRT: i32 = 6;
    const SIGXCPU: i32 = 24;
    match signal {
        SIGABRT => "signal 6 (it may have run out of memory)".to_owned(),
        SIGXCPU => "signal 24 (its processor time was over)".to_owned(),
        other => format!("signal {other}"),
    }
}

/// A log line as a record.
pub fn log_line(level: Level, text: &str) -> Vec<u8> {
    let text = cut(text, MAX_TEXT);
    framed(LOG, &[&[level], text.as_bytes()])
}

/// A file that is about to be looked at, as a record.
pub fn file(path: &Path) -> Vec<u8> {
    framed(FILE, &[path.as_os_str().as_bytes()])
}

/// A place record, made without allocation.
pub(crate) struct PlaceRecord {
    bytes: [u8; PlaceRecord::MOST],
    length: usize,
}

impl PlaceRecord {
    const MOST: usize = 1024;
    const HEAD: usize = 5;

    pub(crate) fn new() -> Self {
        PlaceRecord { bytes: [0; PlaceRecord::MOST], length: PlaceRecord::HEAD }
    }

    pub(crate) fn put(&mut self, text: &[u8]) {
        for byte in text {
            if self.length < PlaceRecord::MOST {
                self.bytes[self.length] = *byte;
                self.length += 1;
            }
        }
    }

    pub(crate) fn put_number(&mut self, number: u32) {
        let (mut digits, mut at, mut rest) = ([0; 10], 10, number);
        while at > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }

    pub(crate) fn bytes(&mut self) -> &[u8] {
        let payload = (self.length - PlaceRecord::HEAD) as u32;
        self.bytes[..4].copy_from_slice(&payload.to_le_bytes());
        self.bytes[4] = PLACE;
        &self.bytes[..self.length]
    }
}

impl Verdict {
    /// The parts of it that are more than the reader takes.
    fn excess(&self) -> Option<String> {
        if self.watch.len() > MAX_FILES {
            return Some(format!("it looks at more than {MAX_FILES} files"));
        }
        let (_, pools) = self.outcome.as_ref().ok()?;
        if pools.len() > MAX_POOLS {
            return Some(format!("it defines more than {MAX_POOLS} pools"));
        }
        let large = pools.iter().find(|pool| pool.members.len() > MAX_MEMBERS)?;
        Some(format!("pool {} has more than {MAX_MEMBERS} members", large.name))
    }

    /// A verdict on the same script that says why this one cannot be told.
    fn refused(&self, text: &str) -> Verdict {
        let script = match &self.outcome {
            Ok((bundle, _)) => Some(bundle.main.path.clone()),
            Err(_) => self.watch.first().cloned(),
        };
        let text = script.map_or_else(|| text.to_owned(), |path| format!("{}: {text}", path.display()));
        Verdict { watch: Vec::new(), stamp: None, outcome: Err(ScriptError::new(ErrorKind::Load, text)) }
    }

    /// The verdict as a record.
    pub fn to_record(&self) -> Vec<u8> {
        let mut out = vec![VERSION, u8::from(self.stamp.is_some())];
        out.extend(self.stamp.unwrap_or_default().0.to_le_bytes());
        put_count(&mut out, self.watch.len());
        self.watch.iter().for_each(|path| put(&mut out, path.as_os_str().as_bytes()));
        match &self.outcome {
            Err(error) => {
                out.extend([0, kind_code(error.kind)]);
                put(&mut out, cut(&error.message, MAX_TEXT).as_bytes());
                put(&mut out, cut(&error.traceback, MAX_TRACEBACK).as_bytes());
            }
            Ok((bundle, definitions)) => {
                out.push(1);
                put(&mut out, &bundle.to_bytes());
                put_count(&mut out, definitions.len());
                definitions.iter().for_each(|definition| put_definition(&mut out, definition));
            }
        }
        if let Some(text) = self.excess() {
            return self.refused(&text).to_record();
        }
        if out.len() > MAX_ANSWER / 2 {
            let most = MAX_ANSWER >> 21;
            let text = format!("it, its modules and its pools have more than {most} MiB");
            return self.refused(&text).to_record();
        }
        framed(VERDICT, &[&out])
    }
}

fn put_definition(out: &mut Vec<u8>, definition: &Definition) {
    put(out, definition.name.as_bytes());
    put(out, definition.settings.to_text().as_bytes());
    put_count(out, definition.members.len());
    definition.members.iter().for_each(|member| put(out, member.to_line().as_bytes()));
}

fn verdict(mut rest: &[u8]) -> Option<Verdict> {
    let rest = &mut rest;
    if byte(rest)? != VERSION {
        return None;
    }
    let is_stamped = byte(rest)? == 1;
    let (stamp, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    let stamp = is_stamped.then_some(Stamp(u64::from_le_bytes(*stamp)));
    let watch = list(rest, MAX_FILES, |rest| path(take(rest)?))?;
    let outcome = match byte(rest)? {
        0 => Err(ScriptError {
            kind: kind_of(byte(rest)?)?,
            message: one_line(text(take(rest)?, MAX_TEXT)?),
            traceback: text(take(rest)?, MAX_TRACEBACK)?,
        }),
        1 => {
            let bundle = Bundle::from_bytes(take(rest)?).ok()?;
            Ok((bundle, list(rest, MAX_POOLS, definition)?))
        }
        _ => return None,
    };
    rest.is_empty().then_some(Verdict { watch, stamp, outcome })
}

fn definition(rest: &mut &[u8]) -> Option<Definition> {
    let name = text(take(rest)?, MAX_TEXT)?;
    if !balance::names::is_name(&name) {
        return None;
    }
    let settings = PoolSettings::from_text(std::str::from_utf8(take(rest)?).ok()?).ok()?;
    let members =
        list(rest, MAX_MEMBERS, |rest| MemberSpec::from_line(std::str::from_utf8(take(rest)?).ok()?).ok())?;
    Some(Definition { name, settings, members })
}

const KINDS: [ErrorKind; 8] = [
    ErrorKind::Time,
    ErrorKind::Memory,
    ErrorKind::Stack,
    ErrorKind::Runtime,
    ErrorKind::Load,
    ErrorKind::Answer,
    ErrorKind::Stopped,
    ErrorKind::Quarantined,
];

fn kind_code(kind: ErrorKind) -> u8 {
    KINDS.iter().position(|known| *known == kind).unwrap_or_default() as u8
}

fn kind_of(code: u8) -> Option<ErrorKind> {
    KINDS.get(usize::from(code)).copied()
}

fn framed(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 5);
    out.extend((length as u32).to_le_bytes());
    out.push(kind);
    parts.iter().for_each(|part| out.extend(*part));
    out
}

fn record<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (kind, tail) = tail.split_first()?;
    let (payload, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    Some((*kind, payload))
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    put_count(out, field.len());
    out.extend(field);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

fn count(rest: &mut &[u8]) -> Option<usize> {
    let (count, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*count) as usize)
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(*first)
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = count(rest)?;
    let (field, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(field)
}

/// Each element has four bytes at least, so a count that is too high ends at the end of the bytes.
fn list<T>(rest: &mut &[u8], most: usize, element: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = count(rest)?;
    if count > most {
        return None;
    }
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(element(rest)?);
    }
    Some(all)
}

fn path(bytes: &[u8]) -> Option<PathBuf> {
    let good = !bytes.is_empty() && bytes.len() <= MAX_TEXT && !bytes.contains(&0);
    good.then(|| PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

fn text(bytes: &[u8], most: usize) -> Option<String> {
    if bytes.len() > most {
        return None;
    }
    String::from_utf8(bytes.to_vec()).ok()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]).into_owned()
}

fn one_line(text: String) -> String {
    text.replace(['\r', '\n'], " ")
}

fn cut(text: &str, most: usize) -> &str {
    let end = (0..=text.len().min(most)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
