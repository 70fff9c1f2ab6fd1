// SPDX-License-Identifier: Apache-2.0
//! The command of a rollout. Its output is passed on.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use balance::url::MemberUrl;

use super::super::model::SeenMember;
use crate::out::{Exit, Failure, note};

/// Runs commands for members.
pub struct Runner {
    command: Vec<String>,
    undo: Option<Vec<String>>,
    /// Standard output is a document's: commands write to the errors.
    is_beside: bool,
}

impl Runner {
    /// `undo`: a line for the shell. `is_beside`: what commands print goes to standard error.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(command: &[String], undo: Option<&str>, is_beside: bool) -> Result<Self, Failure> {
        if let Some(program) =
            command.first().filter(|program| !program.contains('{') && !is_program(program))
        {
            return Err(Failure::usage(format!("{program}: there is no such program; expected -- COMMAND")));
        }
        let undo = undo.map(|line| vec!["sh".to_owned(), "-c".to_owned(), line.to_owned()]);
        Ok(Runner { command: command.to_vec(), undo, is_beside })
    }

    /// Whether what was done can be undone.
    pub fn has_undo(&self) -> bool {
        self.undo.is_some()
    }

    /// For all of these at the same time.
    pub fn run(&self, members: &[SeenMember]) -> Result<(), Failure> {
        let ends: Vec<Result<(), Failure>> = thread::scope(|scope| {
            let runs: Vec<_> =
                members.iter().map(|member| scope.spawn(|| self.called(&self.command, member))).collect();
            let lost = || Err(Failure { exit: Exit::No, text: "a command was lost".into() });
            runs.into_iter().map(|run| run.join().unwrap_or_else(|_| lost())).collect()
        });
        ends.into_iter().collect()
    }

    /// Takes a member back.
    pub fn undo(&self, member: &SeenMember) -> Result<(), Failure> {
        self.undo.as_ref().map_or(Ok(()), |undo| self.called(undo, member))
    }

    fn called(&self, words: &[String], member: &SeenMember) -> Result<(), Failure> {
        let words: Vec<String> = words.iter().map(|word| filled(word, member)).collect();
        let Some((program, arguments)) = words.split_first() else { return Ok(()) };
        note(&format!("{}: {}", member.full(), words.join(" ")));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        if self.is_beside {
            command.stdout(std::io::stderr().as_fd().try_clone_to_owned()?);
        }
        let no = |text: String| Err(Failure { exit: Exit::No, text });
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => no(format!("{}: the command has failed: {status}", member.full())),
            Err(error) => no(format!("{}: {program}: {error}", member.full())),
        }
    }
}

/// Whether there is a program of this name.
fn is_program(name: &str) -> bool {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return runs(Path::new(name));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| runs(&folder.join(name)))
}

/// Words in braces become those of the member.
fn filled(word: &str, member: &SeenMember) -> String {
    let url = MemberUrl::parse(&member.url).ok();
    let host = url.as_ref().map(|url| url.host.clone()).unwrap_or_default();
    let port = url.map(|url| url.port.to_string()).unwrap_or_default();
    let own = [
        ("{name}", member.name.as_str()),
        ("{pool}", &member.pool),
        ("{host}", &host),
        ("{port}", &port),
        ("{url}", &member.url),
    ];
    let (mut filled, mut rest) = (String::new(), word);
    while let Some(letter) = rest.chars().next() {
        match own.iter().find_map(|(key, value)| Some((value, rest.strip_prefix(key)?))) {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push(letter);
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::{SeenMember, filled};

    #[test]
    fn braces_are_filled_once_and_others_stay() {
        let member = SeenMember {
            pool: "app".into(),
            name: "{host}".into(),
            url: "https://[::1]:8443/x".into(),
            ..SeenMember::default()
        };
        assert_eq!(filled("{name}@{host}:{port} {x} {", &member), "{host}@::1:8443 {x} {");
        assert_eq!(filled("{pool}={url}ö", &member), "app=https://[::1]:8443/xö");
    }
}
