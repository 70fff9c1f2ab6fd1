// SPDX-License-Identifier: Apache-2.0
//! Why a connection or an exchange failed, in words for administrators.

use std::io;
use std::time::Duration;

/// Where the work is; says what a timeout has interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stage {
    Lookup,
    Connect,
    Handshake,
    Header,
    Body,
    /// In words of its own.
    Other(&'static str),
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Stage::Lookup => "looking up the host name",
            Stage::Connect => "connecting",
            Stage::Handshake => "in the TLS handshake",
            Stage::Header => "waiting for the answer",
            Stage::Body => "reading the body",
            Stage::Other(words) => words,
        }
    }
}

/// See the module.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Failure {
    #[error("host name {host}: {why}")]
    Lookup { host: String, why: String },
    #[error("connect: {why} ({place})")]
    Connect { place: String, why: String },
    #[error("TLS: {0}")]
    Tls(String),
    #[error("{0}")]
    Exchange(String),
    #[error("timed out after {} {}", seconds(.after), .stage.words())]
    TimedOut { after: Duration, stage: Stage },
    /// The settings cannot be used: no statement about the other side.
    #[error("{0}")]
    Settings(String),
    /// This machine is short of something: no statement about the other side.
    #[error("{0}")]
    Here(String),
}

impl Failure {
    /// A connection that could not be made.
    pub fn connect(place: impl std::fmt::Display, error: &io::Error) -> Self {
        match shortage(error) {
            Some(here) => here,
            None => Failure::Connect { place: place.to_string(), why: io_words(error) },
        }
    }

    /// A name that could not be looked up.
    pub fn lookup(host: &str, error: &io::Error) -> Self {
        shortage(error).unwrap_or_else(|| Failure::Lookup { host: host.to_owned(), why: error.to_string() })
    }
}

/// ENOMEM, ENFILE, EMFILE and ENOBUFS (Linux) speak of this machine, not of the other side.
fn shortage(error: &io::Error) -> Option<Failure> {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
        .then(|| Failure::Here(format!("this machine has no room for connections: {error}")))
}

/// Short words for the usual errors, the system's text for others.
pub fn io_words(error: &io::Error) -> String {
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused",
        io::ErrorKind::ConnectionReset => "connection reset",
        io::ErrorKind::NetworkUnreachable => "network unreachable",
        io::ErrorKind::HostUnreachable => "host unreachable",
        io::ErrorKind::TimedOut => "timed out",
        io::ErrorKind::NotFound => "no such socket",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::UnexpectedEof => "connection closed",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// `2s`, `250ms`, `1.5s`.
fn seconds(time: &Duration) -> String {
    match time.as_millis() {
        ms if ms < 1000 => format!("{ms}ms"),
        _ => format!("{}s", time.as_secs_f64()),
    }
}

/// Text of a peer or of a setting for a log line: no control characters, at most `most` characters.
pub fn printable(text: &str, most: usize) -> String {
    let mut out: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// Most cuts of a text at which the beginning of a secret is looked for.
const MOST_CUTS: usize = 16;
/// Fewest characters of a secret that are hidden where a text was cut.
const FEWEST: usize = 4;

/// A text without a secret that a peer may have sent back: as it is, as quoted texts have it, and
/// its beginning where [`printable`] or its like has cut the text. Still, hide first and cut then.
pub fn hidden(secret: &str, text: &str) -> String {
    const STARS: &str = "***";
    if secret.is_empty() {
        return text.to_owned();
    }
    let mut out = text.replace(secret, STARS);
    let quoted = secret.escape_debug().to_string();
    if quoted != secret {
        out = out.replace(&quoted, STARS);
    }
    let cuts: Vec<usize> = out.match_indices('…').map(|(at, _)| at).take(MOST_CUTS).collect();
    for at in cuts.into_iter().rev() {
        let before = &out[..at];
        let mut lengths = secret.char_indices().map(|(length, _)| length).skip(FEWEST).collect::<Vec<_>>();
        lengths.reverse();
        if let Some(length) = lengths.into_iter().find(|length| before.ends_with(&secret[..*length])) {
            out.replace_range(at - length..at, STARS);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_name_the_time_and_the_phase() {
        let text = |ms, stage| Failure::TimedOut { after: Duration::from_millis(ms), stage }.to_string();
        assert_eq!(text(2000, Stage::Connect), "timed out after 2s connecting");
        assert_eq!(text(250, Stage::Body), "timed out after 250ms reading the body");
        assert_eq!(text(1500, Stage::Header), "timed out after 1.5s waiting for the answer");
    }

    #[test]
    fn a_secret_is_hidden_as_it_is_quoted_and_where_a_text_was_cut() {
        for (secret, text, expected) in [
            ("hunter2-secret", "token hunter2-secret is old", "token *** is old"),
            ("hunter2-secret", "token hunter2-sec… (b: hunt…)", "token ***… (b: ***…)"),
            ("hunter2-secret", "hun… hunter2", "hun… hunter2"),
            ("a\"b\"c", "string \"a\\\"b\\\"c\"", "string \"***\""),
            ("pässwörd", "is pässw…", "is ***…"),
            ("", "nothing…", "nothing…"),
        ] {
            assert_eq!(hidden(secret, text), expected);
        }
    }

    #[test]
    fn a_shortage_of_this_machine_is_not_the_members_failure() {
        let error = io::Error::from_raw_os_error(24);
        assert!(matches!(Failure::connect("10.0.0.1:80", &error), Failure::Here(_)));
        assert!(matches!(Failure::lookup("a.example", &error), Failure::Here(_)));
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(Failure::connect("10.0.0.1:80", &error).to_string(), "connect: refused (10.0.0.1:80)");
    }

    #[test]
    fn text_from_outside_cannot_break_a_log_line() {
        assert_eq!(printable("a\r\nb\0", 10), "a??b?");
        assert_eq!(printable("äöü", 2), "äö…");
    }
}
