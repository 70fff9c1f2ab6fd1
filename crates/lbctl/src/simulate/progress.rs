// SPDX-License-Identifier: Apache-2.0
//! How far the reading of long logs has come: a line on a terminal, and nothing anywhere else.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::out::Out;

/// The time between two looks, and before the first one: short logs show nothing.
const EVERY: Duration = Duration::from_millis(100);
/// Drawings a second.
const HZ: u8 = 10;

/// See the module. Dropped, it leaves nothing on the terminal.
pub struct Progress {
    /// None: nobody watches.
    bar: Option<ProgressBar>,
    /// Whether the sizes of all logs are known.
    sized: bool,
    bytes: Rc<Cell<u64>>,
    due: Instant,
}

impl Progress {
    /// Of the reading of these logs; `-` is standard input.
    pub fn new(out: &Out, paths: &[PathBuf]) -> Self {
        let size = whole_size(paths);
        let bar = (!out.is_json() && is_watched(paths)).then(|| match size {
            Some(bytes) => bar(bytes),
            None => spinner(),
        });
        Progress { bar, sized: size.is_some(), bytes: Rc::default(), due: Instant::now() + EVERY }
    }

    /// A log, whose bytes count as they are read: packed ones as they are packed.
    pub fn counted(&self, file: File) -> Counted {
        Counted { file, bytes: self.bytes.clone() }
    }

    /// So many lines have been read.
    pub fn tell(&mut self, lines: u64) {
        let Some(bar) = &self.bar else { return };
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + EVERY;
        if self.sized {
            bar.set_position(self.bytes.get());
            bar.set_message(format!("{lines} lines"));
        } else {
            bar.set_position(lines);
        }
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// A log that is read.
pub struct Counted {
    file: File,
    bytes: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.bytes.set(self.bytes.get() + read as u64);
        Ok(read)
    }
}

/// Whether people look on who do not type the log themselves. A terminal that cannot change a line
/// shows nothing anyway.
fn is_watched(paths: &[PathBuf]) -> bool {
    let typed = paths.iter().any(|path| is_input(path)) && io::stdin().is_terminal();
    io::stdout().is_terminal() && io::stderr().is_terminal() && !typed
}

fn is_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The bytes of all logs. None: one of them has no end that is known.
fn whole_size(paths: &[PathBuf]) -> Option<u64> {
    let size = |path: &PathBuf| {
        let known = (!is_input(path)).then(|| std::fs::metadata(path).ok())??;
        known.is_file().then_some(known.len())
    };
    paths.iter().map(size).sum::<Option<u64>>().filter(|bytes| *bytes > 0)
}

fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(HZ));
    bar.with_style(style("{wide_bar} {percent:>3} %, {msg}, {eta} left"))
}

/// Turns also while it waits for input.
fn spinner() -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(HZ));
    let spinner = spinner.with_style(style("{spinner} {pos} lines"));
    spinner.enable_steady_tick(EVERY);
    spinner
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
