// SPDX-License-Identifier: Apache-2.0
//! The errors of scripts, told so that an administrator finds the place.

use std::fmt;
use std::sync::Arc;

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The call took longer than `LuaBalancerScriptLimit time=`.
    Time,
    /// The call took more memory than `LuaBalancerScriptLimit memory=`.
    Memory,
    /// Endless recursion.
    Stack,
    /// The script raised an error.
    Runtime,
    /// The script could not be read, compiled or started.
    Load,
    /// The function returned something that has no meaning.
    Answer,
    /// Nothing: this child does not lead any more, or ends.
    Stopped,
    /// This version is not called any more: it was stuck in C.
    Quarantined,
}

/// An error of a script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScriptError {
    /// Its kind.
    pub kind: ErrorKind,
    /// `file:line: text`, one line.
    pub message: String,
    /// Lua traceback, empty when there is none.
    pub traceback: String,
}

/// Raised to end a call for good: no `pcall` of the script keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// Over the time limit, in milliseconds.
    Time(u64),
    /// So many milliseconds after its begin, mostly waiting, within the time limit.
    Waited(u64),
    /// Over the memory limit, in bytes.
    Memory(usize),
    /// A check over its `timeout=`, in milliseconds.
    Check(u64),
    /// A source of members has taken too long: so many milliseconds.
    Source(u64),
    /// A top level that is vetted, over its time.
    Vetting,
    /// This child does not lead any more, or ends.
    Stopped,
    /// The answer is known (`ngx.exit` and its kin).
    Answered,
}

/// Why a version is refused whose top level does not end.
pub(crate) const NOT_FINISHED: &str = "not finished after 5 s, the time that a script's top level has";

impl std::error::Error for Halt {}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Time(ms) => {
                write!(f, "stopped after {ms} ms, the limit of LuaBalancerScriptLimit time=")
            }
            Halt::Waited(ms) => {
                write!(
                    f,
                    "stopped after {ms} ms, most of them waiting: LuaBalancerScriptLimit time= allows no more"
                )
            }
            Halt::Memory(bytes) => {
                write!(f, "stopped at {} KiB, the limit of LuaBalancerScriptLimit memory=", bytes / 1024)
            }
            Halt::Check(ms) => write!(f, "stopped after {ms} ms, the check's timeout="),
            Halt::Source(ms) => write!(f, "stopped after {ms} ms, the source's timeout="),
            Halt::Vetting => f.write_str(NOT_FINISHED),
            Halt::Stopped => f.write_str("stopped, another child leads now"),
            Halt::Answered => f.write_str("the answer is given"),
        }
    }
}

impl Halt {
    pub(crate) fn raise(self) -> mlua::Error {
        mlua::Error::ExternalError(Arc::new(self))
    }

    /// The same with its place (`file:12:`).
    #[allow(clippy::arc_with_non_send_sync)]
    pub(crate) fn raise_at(self, place: &str) -> mlua::Error {
        let traceback = format!("stack traceback:\n\t{place} in ?");
        mlua::Error::CallbackError { traceback, cause: Arc::new(self.raise()) }
    }
}

/// Name of the chunks that belong to the runtime itself; they never stand in a message.
pub(crate) const INTERNAL: &str = "[lb]";
/// Lua's name for a file that came without one: the runtime's own files.
const NAMELESS: &str = "?";

impl ScriptError {
    /// An error without a Lua traceback.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        ScriptError { kind, message: one_line(&message.into()), traceback: String::new() }
    }

    /// From what Lua gives; `path` is the script's, to undo Lua's shortening of long names.
    pub(crate) fn from_lua(error: &mlua::Error, path: &str) -> Self {
        ScriptError::from_lua_near(error, path, || None)
    }

    /// The same; `near` says about where (`file:12:`) an error was that Lua gives no place for.
    pub(crate) fn from_lua_near(
        error: &mlua::Error,
        path: &str,
        near: impl FnOnce() -> Option<String>,
    ) -> Self {
        let parts = Parts::of(error);
        let kind = parts.kind();
        let (text, traceback) = (expand(short(&parts.text), path), expand(short(&parts.traceback), path));
        let text = strip_internal(&text);
        let message = match place(&traceback) {
            _ if has_place(text) => text.to_owned(),
            Some(place) => format!("{place} {text}"),
            None => match near() {
                Some(place) => format!("{place} around here: {text}"),
                None => format!("{path}: {text}"),
            },
        };
        ScriptError { kind, message: one_line(&message), traceback }
    }
}

/// The root of an error: its text without traceback, and the traceback.
pub(crate) struct Parts {
    pub(crate) text: String,
    pub(crate) traceback: String,
    pub(crate) halt: Option<Halt>,
    memory: bool,
    syntax: bool,
}

impl Parts {
    pub(crate) fn of(error: &mlua::Error) -> Self {
        let mut traceback = String::new();
        let mut cause = error;
        while let mlua::Error::CallbackError { traceback: inner, cause: next } = cause {
            if !inner.is_empty() {
                traceback.clone_from(inner);
            }
            cause = next;
        }
        let mut parts = Parts { text: String::new(), traceback, halt: None, memory: false, syntax: false };
        match cause {
            mlua::Error::RuntimeError(text) => parts.text.clone_from(text),
            mlua::Error::MemoryError(text) => {
                parts.text.clone_from(text);
                parts.memory = true;
            }
            mlua::Error::SyntaxError { message, .. } => {
                parts.text.clone_from(message);
                parts.syntax = true;
            }
            mlua::Error::ExternalError(error) => {
                parts.halt = error.downcast_ref::<Halt>().copied();
                parts.text = error.to_string();
            }
            other => parts.text = other.to_string(),
        }
        if let Some(at) = parts.text.find("\nstack traceback:") {
            let rest = parts.text.split_off(at);
            if parts.traceback.is_empty() {
                let rest = rest.trim_start();
                // A job's error has a second one behind it, of the begin of the job.
                let end = rest.find("\nstack traceback:").unwrap_or(rest.len());
                rest[..end].clone_into(&mut parts.traceback);
            }
        }
        parts
    }

    fn kind(&self) -> ErrorKind {
        match self.halt {
            Some(Halt::Time(_) | Halt::Waited(_) | Halt::Check(_) | Halt::Source(_) | Halt::Vetting) => {
                ErrorKind::Time
            }
            Some(Halt::Stopped) => ErrorKind::Stopped,
            Some(Halt::Memory(_)) => ErrorKind::Memory,
            _ if self.memory || self.text.contains("not enough memory") => ErrorKind::Memory,
            _ if self.syntax => ErrorKind::Load,
            _ if self.text.contains("stack overflow") || self.text.contains("error in error handling") => {
                ErrorKind::Stack
            }
            _ => ErrorKind::Runtime,
        }
    }

    /// The value that `pcall` gives a script for an error raised by the runtime: plain text with
    /// the place.
    pub(crate) fn for_script(&self) -> String {
        let text = strip_internal(&self.text);
        match place(&self.traceback) {
            Some(place) if !has_place(text) => format!("{place} {text}"),
            _ => text.to_owned(),
        }
    }
}

fn one_line(text: &str) -> String {
    text.trim_end().replace(['\r', '\n'], " ").replace('\t', "  ")
}

/// The beginning of a text that may be of any length, as much as a log line holds.
fn short(text: &str) -> &str {
    const MOST: usize = 8 << 10;
    let end = (0..=text.len().min(MOST)).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Puts the full path where Lua has shortened it to `...tail`.
fn expand(text: &str, path: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("...") {
        let tail = &rest[at + 3..];
        let end = tail.find(':').unwrap_or(tail.len());
        out.push_str(&rest[..at]);
        if end > 8 && path.ends_with(&tail[..end]) {
            out.push_str(path);
        } else {
            out.push_str("...");
            out.push_str(&tail[..end]);
        }
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

/// `file:12:` at the start. A port in a URL further on does not count as a line.
fn has_place(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    line.match_indices(':').any(|(at, _)| {
        let (file, rest) = (&line[..at], &line[at + 1..]);
        let number = rest.split(':').next().unwrap_or_default();
        let ended = rest.len() > number.len();
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits && ended && !file.contains(": ") && !file.contains("://")
    })
}

/// Takes away `[lb]:12: ` at the start: the place in the runtime's own Lua tells nobody anything.
fn strip_internal(text: &str) -> &str {
    let internal = text.strip_prefix(INTERNAL).or_else(|| text.strip_prefix(NAMELESS));
    let Some(rest) = internal.and_then(|rest| rest.strip_prefix(':')) else { return text };
    match rest.split_once(": ") {
        Some((line, rest))
            if line.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'?')) =>
        {
            rest
        }
        _ => text,
    }
}

/// `file:12:` of the innermost frame that is a script's.
fn place(traceback: &str) -> Option<String> {
    traceback.lines().map(str::trim_start).find_map(|line| {
        let internal = line.starts_with(INTERNAL) || line.starts_with("?: in ");
        // Text that a script has loaded says less than the file that loaded it.
        let loaded = line.starts_with("[string \"");
        if internal || loaded || line.starts_with("[C]") || line.starts_with("stack traceback") {
            return None;
        }
        let at = line.find(": in ")?;
        let (file, number) = line[..at].rsplit_once(':')?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{file}:{number}:"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_path_comes_back_whole() {
        let path = "/etc/apache2/lua/very/long/folder/name/that/goes/on/and/on/balancer.lua";
        let error = mlua::Error::RuntimeError(
            "...long/folder/name/that/goes/on/and/on/balancer.lua:7: boom\nstack traceback:\n\t[C]: in ?"
                .into(),
        );
        assert_eq!(ScriptError::from_lua(&error, path).message, format!("{path}:7: boom"));
    }

    #[test]
    #[allow(clippy::arc_with_non_send_sync)]
    fn a_message_without_place_takes_it_from_the_traceback() {
        let error = mlua::Error::CallbackError {
            traceback:
                "stack traceback:\n\t[C]: in ?\n\t[lb]:3: in function 'x'\n\t/a.lua:9: in function 'f'".into(),
            cause: Arc::new(mlua::Error::RuntimeError("no such pool".into())),
        };
        assert_eq!(ScriptError::from_lua(&error, "/a.lua").message, "/a.lua:9: no such pool");
    }

    #[test]
    fn a_port_is_no_line() {
        assert!(has_place("/etc/a b.lua:7: boom"));
        for text in
            ["member 1: URL http://h:p, for example http://10.0.0.1:8080", "http://h:80: refused", "boom", ""]
        {
            assert!(!has_place(text), "{text}");
        }
    }

    #[test]
    fn places_of_the_runtime_are_not_shown() {
        assert_eq!(strip_internal("[lb]:12: bad argument"), "bad argument");
        assert_eq!(strip_internal("[lb] is not a place"), "[lb] is not a place");
    }
}
