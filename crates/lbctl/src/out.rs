// SPDX-License-Identifier: Apache-2.0
//! The output: its forms, colours, exit codes.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::text::Span;

use crate::clean;
use crate::document::Pending;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// Called in a wrong way.
    Usage = 2,
    /// The server does not let it happen.
    Refused = 3,
    /// Nobody is there to be asked.
    Unreachable = 4,
    /// Time was up before what was waited for.
    TimedOut = 5,
}

impl Exit {
    /// Its name in documents.
    fn title(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::No => "no",
            Exit::Usage => "usage",
            Exit::Refused => "refused",
            Exit::Unreachable => "unreachable",
            Exit::TimedOut => "timeout",
        }
    }
}

/// Why a command did not do it.
#[derive(Debug)]
pub struct Failure {
    /// How the command ends.
    pub exit: Exit,
    /// The finding, the expectation, the next thing to try.
    pub text: String,
}

impl Failure {
    /// Called in a wrong way, or with files that are wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Failure { exit: Exit::Usage, text: text.into() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure { exit: Exit::No, text: error.to_string() }
    }
}

/// The result of every verb.
pub type VerbResult = Result<Exit, Failure>;

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people, with colours on a terminal.
    Table,
    /// For programs.
    Json,
    /// For people and for grep: no lines, no colours.
    Plain,
}

/// The place where output goes.
#[derive(Clone)]
pub struct Out {
    /// Its form.
    pub form: Form,
    colours: bool,
    pending: Pending,
}

/// The meaning of a piece of text.
#[derive(Clone, Copy)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Important.
    Strong,
}

impl Out {
    /// To standard output. Colours: on a terminal, unless `NO_COLOR` is set.
    pub fn new(form: Form) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let terminal = io::stdout().is_terminal();
        let colours = wanted && terminal && form == Form::Table;
        Out { form, colours, pending: Pending::default() }
    }

    /// In this form, without colours.
    pub fn plain(form: Form) -> Self {
        Out { form, colours: false, pending: Pending::default() }
    }

    /// A piece of text in its colour.
    pub fn tone(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Bad => 31,
            Tone::Strong => 1,
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes text and a line end. A reader that has gone away does not count as a failure.
    pub fn line(&self, text: &str) -> io::Result<()> {
        Self::text(&format!("{text}\n"))
    }

    /// Writes text as it is. A reader that has gone away does not count as a failure.
    pub fn text(text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// Waits until the reader of the output goes away: for a program that has nothing to write for
    /// a long time.
    pub fn wait_for_its_reader_to_go() {
        let stdout = io::stdout();
        let mut output = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while poll(&mut output, PollTimeout::NONE) == Err(Errno::EINTR) {}
    }

    /// Whether documents are wanted.
    pub fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// Has a document written when the verb ends, with the errors that come until then. Among text
    /// for people, it is written at once.
    pub fn json(&self, document: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(document).map_err(io::Error::other)?;
        if !self.is_json() {
            return self.line(&spelled(&text));
        }
        self.pending.put(spelled(&text)).map_or(Ok(()), |text| self.line(&text))
    }

    /// From here on, each line is a document.
    pub fn streams(&self) {
        self.pending.streams();
    }

    /// Tells a failure: to people, and in the document.
    pub fn fail(&self, failure: &Failure) {
        note(&failure.text);
        if self.is_json() {
            self.pending.add_error(failure.exit.title(), &failure.text, failure.exit as u8);
        }
    }

    /// Notes for the document that the words of the command line are wrong.
    pub fn refuse_call(&self, text: &str) {
        self.pending.add_error(Exit::Usage.title(), text, Exit::Usage as u8);
    }

    /// Writes the document.
    pub fn finish(&self) -> io::Result<()> {
        self.pending.take().map_or(Ok(()), |text| self.line(&spelled(&text)))
    }

    /// Writes a document as one line.
    pub fn json_line(&self, document: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_string(document).map_err(io::Error::other)?;
        self.line(&spelled(&text))
    }

    /// Rows with a head; cut to the terminal's width, never wrapped. No cell steers the terminal.
    pub fn rows(&self, head: &[&str], mut rows: Vec<Vec<String>>) -> String {
        rows.iter_mut().flatten().for_each(|cell| *cell = clean::text(cell));
        if self.form == Form::Plain {
            let lines = rows.iter().map(|row| row.join("\t"));
            return std::iter::once(head.join("\t")).chain(lines).collect::<Vec<_>>().join("\n");
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head);
        table.add_rows(rows);
        let width = width();
        let cut = |line: &str| cut(line, width).trim_end().to_owned();
        table.lines().map(|line| cut(&line)).collect::<Vec<_>>().join("\n")
    }
}

/// A line, as far as the terminal has room for it.
pub fn fitted(line: &str) -> String {
    cut(line, width()).trim_end().to_owned()
}

/// The part of a line that has room in so many columns; some letters take two, some none.
fn cut(line: &str, columns: usize) -> &str {
    let mut taken = 0;
    let end = line.char_indices().find(|(_, letter)| {
        taken += Span::raw(letter.to_string()).width();
        taken > columns
    });
    end.map_or(line, |(at, _)| line.get(..at).unwrap_or(line))
}

/// A document, with whatever would steer a terminal spelled as JSON does it. Beside line ends, such
/// characters stand in texts only.
fn spelled(document: &str) -> String {
    let mut text = String::with_capacity(document.len());
    let mut units = [0; 2];
    for letter in document.chars() {
        if letter != '\n' && clean::steers(letter) {
            letter.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        } else {
            text.push(letter);
        }
    }
    text
}

/// Columns of the terminal; as many as there are anywhere where there is none.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let seen = || terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    told.or_else(seen).filter(|columns| *columns >= 20).unwrap_or(usize::MAX)
}

/// Says something to people who watch, beside the output.
pub fn note(text: &str) {
    writeln!(io::stderr().lock(), "lbctl: {}", clean::lines(text)).ok();
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_line_is_cut_by_its_columns() {
        for (line, columns, left) in [
            ("abc", 2, "ab"),
            ("abc", 3, "abc"),
            ("日本語", 5, "日本"),
            ("e\u{301}tude", 2, "e\u{301}t"),
            ("", 4, ""),
        ] {
            assert_eq!(cut(line, columns), left, "{line} in {columns}");
        }
        assert_eq!(cut("abc", usize::MAX), "abc");
    }
}
