// SPDX-License-Identifier: Apache-2.0
//! The messages that the module writes into httpd's error log, as a catalogue: a line of the log
//! cannot be written without an entry of it. docs/troubleshooting.md is made from it.
//!
//! A number belongs to its message for good: a message that goes takes its number with it, and a
//! message that means something else gets a new one.

#![forbid(unsafe_code)]

mod form;
mod message;

pub mod addresses;
pub mod background;
pub mod control;
pub mod discovery;
pub mod members;
pub mod requests;
pub mod scripts;
pub mod sharing;
pub mod starting;
pub mod statefile;

pub use message::{Chapter, Message, Severity};

#[cfg(test)]
mod tests;

/// All messages, by number.
pub const CHAPTERS: [&Chapter; 10] = [
    &starting::CHAPTER,
    &members::CHAPTER,
    &requests::CHAPTER,
    &scripts::CHAPTER,
    &background::CHAPTER,
    &discovery::CHAPTER,
    &sharing::CHAPTER,
    &statefile::CHAPTER,
    &control::CHAPTER,
    &addresses::CHAPTER,
];

/// The message with this number.
pub fn find(number: u16) -> Option<&'static Message> {
    CHAPTERS.iter().flat_map(|chapter| chapter.messages).find(|message| message.number == number).copied()
}

/// The message and the text of a line of httpd's log. None: the line has no id.
pub fn read(line: &str) -> Option<(Option<&'static Message>, &str)> {
    let digits = |at: usize| Some(line.get(at + 2..at + 6)?).filter(|digits| is_number(digits));
    let mut starts = line.match_indices("LB").map(|(at, _)| at);
    let begins = |at: usize| at == 0 || line[..at].ends_with("] ");
    let at = starts.find(|at| begins(*at) && digits(*at).is_some() && line[at + 6..].starts_with(": "))?;
    Some((digits(at)?.parse().ok().and_then(find), &line[at + 8..]))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
