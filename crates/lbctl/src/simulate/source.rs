// SPDX-License-Identifier: Apache-2.0
//! The requests of logs in order of their arrival, with as little in memory as that takes.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::format::{LineFormat, Record, of_json, usual};
use super::progress::Progress;

/// Requests that are held back, since logs are in order of the ends.
const WINDOW: usize = 8192;
/// Longest line that is looked at.
const LONGEST: u64 = 1 << 20;
/// Lines that are named when something is wrong with them.
const NAMED: usize = 5;

/// Lines with which something is wrong.
#[derive(Debug, Default, Clone)]
pub struct NamedLines {
    /// Lines.
    pub count: u64,
    /// The first of them: file, number, what is wrong.
    pub first: Vec<String>,
}

impl NamedLines {
    fn note(&mut self, path: &Path, line: u64, what: &str) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(format!("{}:{line}: {what}", path.display()));
        }
    }
}

/// Logs, one after the other.
pub struct Logs {
    paths: VecDeque<PathBuf>,
    open: Option<(PathBuf, Box<dyn BufRead>, u64)>,
    formats: Vec<LineFormat>,
    held: BinaryHeap<Held>,
    ready: VecDeque<Record>,
    taken: u64,
    last: f64,
    /// The lines that could not be read.
    pub unread: NamedLines,
    /// The lines whose times cannot be used.
    pub odd_times: NamedLines,
    /// Lines that were read.
    pub lines: u64,
    /// The line that shows how far it is.
    pub progress: Progress,
}

struct Held(Record, u64);

impl Held {
    fn key(&self) -> (f64, u64) {
        (self.0.at, self.1)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    /// The earliest is the greatest: the heap gives that one first.
    fn cmp(&self, other: &Self) -> Ordering {
        let ((at, number), (other_at, other_number)) = (self.key(), other.key());
        other_at.total_cmp(&at).then(other_number.cmp(&number))
    }
}

impl Logs {
    /// The requests of these files; `-` is standard input.
    pub fn new(paths: &[PathBuf], format: Option<LineFormat>, progress: Progress) -> Self {
        Logs {
            paths: paths.iter().cloned().collect(),
            open: None,
            formats: format.map_or_else(usual, |format| vec![format]),
            held: BinaryHeap::new(),
            ready: VecDeque::new(),
            taken: 0,
            last: f64::NEG_INFINITY,
            unread: NamedLines::default(),
            odd_times: NamedLines::default(),
            lines: 0,
            progress,
        }
    }

    /// The next request.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        if self.ready.is_empty() {
            self.fill()?;
        }
        let Some(mut record) = self.ready.pop_front() else { return Ok(None) };
        // One that comes later than the window lets it be is taken as the last one was.
        record.at = record.at.max(self.last);
        self.last = record.at;
        Ok(Some(record))
    }

    /// Takes those of the earliest moment out; whole seconds are shared out evenly.
    fn fill(&mut self) -> io::Result<()> {
        self.hold()?;
        let Some(Held(first, _)) = self.held.pop() else { return Ok(()) };
        let (at, exact) = (first.at, first.exact);
        self.ready.push_back(first);
        if exact {
            return Ok(());
        }
        while self.ready.len() < WINDOW {
            self.hold()?;
            if self.held.peek().is_none_or(|next| next.0.at != at || next.0.exact) {
                break;
            }
            self.ready.extend(self.held.pop().map(|held| held.0));
        }
        let count = self.ready.len() as f64;
        for (number, record) in self.ready.iter_mut().enumerate() {
            record.at += number as f64 / count;
        }
        Ok(())
    }

    fn hold(&mut self) -> io::Result<()> {
        while self.held.len() < WINDOW {
            let Some(record) = self.read()? else { break };
            self.taken += 1;
            self.held.push(Held(record, self.taken));
        }
        Ok(())
    }

    /// The next line that can be read.
    fn read(&mut self) -> io::Result<Option<Record>> {
        let mut bytes = Vec::new();
        loop {
            let Some((path, reader, number)) = &mut self.open else {
                let Some(path) = self.paths.pop_front() else { return Ok(None) };
                let reader = open(&path, &self.progress)?;
                self.open = Some((path, reader, 0));
                continue;
            };
            bytes.clear();
            *number += 1;
            match read_line(reader, &mut bytes) {
                Ok(Line::End) => self.open = None,
                Ok(Line::TooLong) => {
                    self.lines += 1;
                    self.unread.note(path, *number, "longer than 1 MiB");
                }
                Ok(Line::Whole) => {
                    self.lines += 1;
                    self.progress.tell(self.lines);
                    let line = String::from_utf8_lossy(&bytes);
                    let line = line.trim_end_matches(['\n', '\r']);
                    if line.is_empty() || line.starts_with('#') {
                        continue;
                    }
                    match parsed(&self.formats, line) {
                        Some(mut record) => {
                            if let Some(odd) = record.took.odd.take() {
                                self.odd_times.note(path, *number, &odd);
                            }
                            return Ok(Some(record));
                        }
                        None => {
                            let shown: String = line.chars().take(60).collect();
                            self.unread.note(
                                path,
                                *number,
                                &format!("cannot be read: {}", shown.escape_debug()),
                            );
                        }
                    }
                }
                // A packed file that ends too early, for one: what came before counts.
                Err(error) => {
                    self.unread.note(path, *number, &format!("the rest cannot be read: {error}"));
                    self.open = None;
                }
            }
        }
    }
}

/// A line of a log.
enum Line {
    Whole,
    /// The rest of it is read, and not kept.
    TooLong,
    /// There is none any more.
    End,
}

/// Reads up to the end of the line.
fn read_line(reader: &mut dyn BufRead, into: &mut Vec<u8>) -> io::Result<Line> {
    if reader.take(LONGEST).read_until(b'\n', into)? == 0 {
        return Ok(Line::End);
    }
    if into.ends_with(b"\n") || (into.len() as u64) < LONGEST {
        return Ok(Line::Whole);
    }
    reader.skip_until(b'\n')?;
    Ok(Line::TooLong)
}

fn parsed(formats: &[LineFormat], line: &str) -> Option<Record> {
    if line.starts_with('{') {
        return of_json(line);
    }
    formats.iter().find_map(|format| format.read(line))
}

fn open(path: &Path, progress: &Progress) -> io::Result<Box<dyn BufRead>> {
    const ROOM: usize = 1 << 18;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut bytes: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(progress.counted(File::open(path).map_err(named)?))
    };
    let mut start = Vec::new();
    bytes.by_ref().take(2).read_to_end(&mut start).map_err(named)?;
    let is_packed = start == [0x1f, 0x8b];
    let whole = io::Cursor::new(start).chain(bytes);
    if is_packed {
        return Ok(Box::new(BufReader::with_capacity(ROOM, MultiGzDecoder::new(whole))));
    }
    Ok(Box::new(BufReader::with_capacity(ROOM, whole)))
}
