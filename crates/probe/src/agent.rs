// SPDX-License-Identifier: Apache-2.0
//! The line of an agent check, as HAProxy's agents write it: words separated by blanks or commas,
//! then perhaps `#` and a description for people. Only the first line counts, in upper or lower
//! case.
//!
//! | word | meaning |
//! |---|---|
//! | `up` / `down` `fail` `failed` `stopped` | the check passed / failed |
//! | `ready` / `drain` / `maint` | the member takes requests / only its sessions / none |
//! | `75%` | part of the configured weight, 0 ..= 65535 |
//! | `maxconn:30` | most requests at the same time |

use net::printable;

/// Longest line that is read, in bytes.
pub const MAX_LINE: usize = 1024;
/// Longest description that is kept, in characters.
const MAX_DESCRIPTION: usize = 200;

/// An agent's reply. A part that it left out is None: that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentReply {
    /// Up or down.
    pub health: Option<AgentHealth>,
    /// The state that the agent wants for the member.
    pub admin: Option<AgentAdmin>,
    /// Percent of the configured weight.
    pub weight_percent: Option<u16>,
    /// Most requests at the same time; 0 for no limit.
    pub max_inflight: Option<u32>,
    /// The text after `#`, printable. It has no effect.
    pub description: Option<String>,
}

/// The operational part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentHealth {
    /// `up`
    Up,
    /// `down`
    Down,
    /// `fail`: down because a check of the agent itself failed.
    Fail,
    /// `stopped`: down because somebody stopped it.
    Stopped,
}

/// The administrative part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentAdmin {
    /// `ready`: neither drained nor in maintenance.
    Ready,
    /// `drain`: no new sessions.
    Drain,
    /// `maint`: no requests.
    Maint,
}

impl AgentReply {
    /// Whether the check passed: everything but `down`, `fail` and `stopped` does.
    pub fn is_ok(&self) -> bool {
        matches!(self.health, None | Some(AgentHealth::Up))
    }
}

/// An answer that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Nothing before the end of the line or the description.
    #[error("empty answer, expected words such as \"up 75%\"")]
    Empty,
    /// More than [`MAX_LINE`] bytes.
    #[error("the answer's line is longer than 1024 bytes")]
    TooLong,
    /// A word that no agent has.
    #[error(
        "unknown word \"{0}\", expected up, down, fail, stopped, ready, drain, maint, a percentage or maxconn:N"
    )]
    UnknownWord(String),
    /// A number out of its range.
    #[error("\"{0}\" is out of range, expected 0% to 65535%, or maxconn:0 to maxconn:4294967295")]
    OutOfRange(String),
}

/// Reads an agent's answer: everything up to the first line end, or all of it. When words
/// contradict each other, the last one counts.
///
/// # Errors
/// See [`AgentError`].
pub fn parse(answer: &[u8]) -> Result<AgentReply, AgentError> {
    let end = answer.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(answer.len());
    if end > MAX_LINE {
        return Err(AgentError::TooLong);
    }
    let line = String::from_utf8_lossy(&answer[..end]);
    let (words, description) = match line.split_once('#') {
        Some((words, text)) => (words, Some(printable(text.trim(), MAX_DESCRIPTION))),
        None => (&*line, None),
    };
    let mut reply =
        AgentReply { description: description.filter(|text| !text.is_empty()), ..AgentReply::default() };
    let mut empty = true;
    for word in words.split([' ', '\t', ',', '\0']).filter(|word| !word.is_empty()) {
        empty = false;
        take(&mut reply, word)?;
    }
    if empty { Err(AgentError::Empty) } else { Ok(reply) }
}

fn take(reply: &mut AgentReply, word: &str) -> Result<(), AgentError> {
    match word.to_ascii_lowercase().as_str() {
        "up" => reply.health = Some(AgentHealth::Up),
        "down" => reply.health = Some(AgentHealth::Down),
        "fail" | "failed" => reply.health = Some(AgentHealth::Fail),
        "stopped" => reply.health = Some(AgentHealth::Stopped),
        "ready" => reply.admin = Some(AgentAdmin::Ready),
        "drain" => reply.admin = Some(AgentAdmin::Drain),
        "maint" => reply.admin = Some(AgentAdmin::Maint),
        other => {
            if let Some(digits) = other.strip_suffix('%') {
                reply.weight_percent = Some(number(digits, word)?);
            } else if let Some(digits) = other.strip_prefix("maxconn:") {
                reply.max_inflight = Some(number(digits, word)?);
            } else {
                return Err(AgentError::UnknownWord(printable(word, 40)));
            }
        }
    }
    Ok(())
}

/// Digits only: neither sign nor fraction.
fn number<N: std::str::FromStr>(digits: &str, word: &str) -> Result<N, AgentError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AgentError::UnknownWord(printable(word, 40)));
    }
    digits.parse().map_err(|_| AgentError::OutOfRange(printable(word, 40)))
}

impl std::fmt::Display for AgentReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let health = self.health.map(|health| match health {
            AgentHealth::Up => "up",
            AgentHealth::Down => "down",
            AgentHealth::Fail => "fail",
            AgentHealth::Stopped => "stopped",
        });
        let admin = self.admin.map(|admin| match admin {
            AgentAdmin::Ready => "ready",
            AgentAdmin::Drain => "drain",
            AgentAdmin::Maint => "maint",
        });
        let mut words: Vec<String> = health.into_iter().chain(admin).map(str::to_owned).collect();
        words.extend(self.weight_percent.map(|percent| format!("{percent}%")));
        words.extend(self.max_inflight.map(|most| format!("maxconn:{most}")));
        words.extend(self.description.as_ref().map(|text| format!("#{text}")));
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(
        health: Option<AgentHealth>,
        admin: Option<AgentAdmin>,
        weight_percent: Option<u16>,
    ) -> AgentReply {
        AgentReply { health, admin, weight_percent, ..AgentReply::default() }
    }

    #[test]
    fn words_are_read_alone_and_combined() {
        use AgentAdmin::*;
        use AgentHealth::*;
        let table: &[(&[u8], AgentReply)] = &[
            (b"up\n", reply(Some(Up), None, None)),
            (b"UP\r\n", reply(Some(Up), None, None)),
            (b"down", reply(Some(Down), None, None)),
            (b"fail\n", reply(Some(Fail), None, None)),
            (b"stopped\n", reply(Some(Stopped), None, None)),
            (b"75%\n", reply(None, None, Some(75))),
            (b"0%", reply(None, None, Some(0))),
            (b"ready up 100%\n", reply(Some(Up), Some(Ready), Some(100))),
            (b" ,drain,\t50%,, \nup", reply(None, Some(Drain), Some(50))),
            (b"maint\0\n", reply(None, Some(Maint), None)),
            (b"up down\n", reply(Some(Down), None, None)),
            (b"maxconn:30", AgentReply { max_inflight: Some(30), ..AgentReply::default() }),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line).as_ref(), Ok(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_description_has_no_effect() {
        let read = parse(b"up 30% # down stopped\x07 bell\nmaint").unwrap();
        assert_eq!(read.description.as_deref(), Some("down stopped? bell"));
        assert_eq!(AgentReply { description: None, ..read }, reply(Some(AgentHealth::Up), None, Some(30)));
        assert_eq!(parse(b"down#").unwrap().description, None);
    }

    #[test]
    fn unreadable_words_are_named() {
        let unknown = |word: &str| Err(AgentError::UnknownWord(word.into()));
        assert_eq!(parse(b""), Err(AgentError::Empty));
        assert_eq!(parse(b"\nup"), Err(AgentError::Empty));
        assert_eq!(parse(b"# all well"), Err(AgentError::Empty));
        assert_eq!(parse(b"up sideways"), unknown("sideways"));
        for word in ["%", "-5%", "+5%", "7.5%", "maxconn:", "HTTP/1.1"] {
            assert_eq!(parse(word.as_bytes()), unknown(word));
        }
        assert_eq!(parse(b"65536%"), Err(AgentError::OutOfRange("65536%".into())));
        assert_eq!(parse(&[b' '; MAX_LINE + 1]), Err(AgentError::TooLong));
    }

    #[test]
    fn only_down_words_fail_the_check() {
        for line in ["up", "75%", "drain", "maint", "ready"] {
            assert!(parse(line.as_bytes()).unwrap().is_ok(), "{line}");
        }
        for line in ["down", "fail", "stopped", "ready down 10%"] {
            assert!(!parse(line.as_bytes()).unwrap().is_ok(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_input_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn printed_answers_read_back(text in "(up|down|fail|stopped)? (ready|drain|maint)? [1-9][0-9]{0,3}% (# ?[a-z ]{0,20})?") {
            let read = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(parse(read.to_string().as_bytes()).unwrap(), read);
        }
    }
}
