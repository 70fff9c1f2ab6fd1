//! What an agent answers: one line of words, as HAProxy's agent-check reads it.

use thiserror::Error;

use crate::text::clean;

/// Longest line read.
pub const LONGEST: usize = 512;
/// Highest weight in percent.
const HIGHEST: u32 = 25_600;

/// What an agent wants its member to be. Of several words in one line the strictest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// `up`, `ready`.
    Up,
    /// `drain`: no new sessions.
    Drain,
    /// `down`, `fail`, `stopped`.
    Down,
    /// `maint`: taken out on purpose.
    Maint,
}

/// An agent's line. At least one of state and weight is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentReply {
    /// None: nothing said.
    pub state: Option<AgentState>,
    /// `NN%` of the configured weight.
    pub weight_percent: Option<u32>,
    /// The text after `#`.
    pub reason: Option<String>,
}

impl AgentReply {
    /// Whether the member can answer requests: all but down and maint.
    pub fn is_ok(&self) -> bool {
        !matches!(self.state, Some(AgentState::Down | AgentState::Maint))
    }
}

/// Why an agent's line was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AgentError {
    /// Nothing but blanks.
    #[error("empty answer")]
    Empty,
    /// No line end within the limit.
    #[error("answer longer than {LONGEST} bytes")]
    TooLong,
    /// A word that is none of the known ones.
    #[error("unknown word \"{0}\"")]
    Unknown(String),
    /// A percentage out of range.
    #[error("weight \"{0}\" is not within 0-{HIGHEST}%")]
    Weight(String),
}

/// Reads the first line. Words are separated by blanks or commas; upper and lower case are the same. `maxconn:NN`, which
/// HAProxy knows, is passed over.
pub fn parse(bytes: &[u8]) -> Result<AgentReply, AgentError> {
    let line = match bytes.iter().position(|&b| b == b'\n' || b == b'\r') {
        Some(end) => &bytes[..end],
        None if bytes.len() > LONGEST => return Err(AgentError::TooLong),
        None => bytes,
    };
    let line = String::from_utf8_lossy(line);
    let (words, reason) = match line.split_once('#') {
        Some((words, reason)) => (words, Some(clean(reason))),
        None => (&*line, None),
    };
    let mut reply = AgentReply { reason: reason.filter(|text| !text.is_empty()), ..AgentReply::default() };
    let mut any = false;
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let state = match word.to_ascii_lowercase().as_str() {
            "up" | "ready" => AgentState::Up,
            "drain" => AgentState::Drain,
            "down" | "fail" | "failed" | "stopped" => AgentState::Down,
            "maint" => AgentState::Maint,
            lower => {
                any = true;
                if let Some(number) = lower.strip_suffix('%') {
                    reply.weight_percent = Some(percent(number, word)?);
                } else if !lower.starts_with("maxconn:") {
                    return Err(AgentError::Unknown(clean(word)));
                }
                continue;
            }
        };
        any = true;
        reply.state = reply.state.max(Some(state));
    }
    if any { Ok(reply) } else { Err(AgentError::Empty) }
}

fn percent(number: &str, word: &str) -> Result<u32, AgentError> {
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    match number.parse() {
        Ok(value) if digits && value <= HIGHEST => Ok(value),
        _ => Err(AgentError::Weight(clean(word))),
    }
}

#[cfg(test)]
mod tests {
    use super::AgentState::{Down, Drain, Maint, Up};
    use super::*;

    fn reply(
        state: Option<AgentState>,
        weight: Option<u32>,
        reason: Option<&str>,
    ) -> Result<AgentReply, AgentError> {
        Ok(AgentReply { state, weight_percent: weight, reason: reason.map(str::to_owned) })
    }

    #[test]
    fn lines_that_are_understood() {
        for (line, state, weight, reason) in [
            ("up\n", Some(Up), None, None),
            ("ready", Some(Up), None, None),
            ("UP Ready\r\n", Some(Up), None, None),
            ("50%\n", None, Some(50), None),
            ("up,75%\n", Some(Up), Some(75), None),
            ("up \t, 0%", Some(Up), Some(0), None),
            ("drain\n", Some(Drain), None, None),
            ("up drain 10%\n", Some(Drain), Some(10), None),
            ("maint#disk is being changed\n", Some(Maint), None, Some("disk is being changed")),
            ("down\n", Some(Down), None, None),
            ("fail # database gone \n", Some(Down), None, Some("database gone")),
            ("stopped#\n", Some(Down), None, None),
            ("down#a#b\n", Some(Down), None, Some("a#b")),
            ("down#\u{1b}[31mred\n", Some(Down), None, Some("?[31mred")),
            ("up\nnonsense", Some(Up), None, None),
            ("up maxconn:30", Some(Up), None, None),
        ] {
            assert_eq!(parse(line.as_bytes()), reply(state, weight, reason), "{line:?}");
        }
    }

    #[test]
    fn lines_that_are_not() {
        for (line, error) in [
            ("", AgentError::Empty),
            ("\n", AgentError::Empty),
            (" , \n", AgentError::Empty),
            ("#why\n", AgentError::Empty),
            ("hello\n", AgentError::Unknown("hello".into())),
            ("up hello\n", AgentError::Unknown("hello".into())),
            ("%\n", AgentError::Weight("%".into())),
            ("+5%\n", AgentError::Weight("+5%".into())),
            ("-5%\n", AgentError::Weight("-5%".into())),
            ("99999999999%\n", AgentError::Weight("99999999999%".into())),
            (&"u".repeat(600), AgentError::TooLong),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
        }
        assert!(matches!(parse(&[0xff, 0xfe, b'\n']), Err(AgentError::Unknown(_))));
    }
}
