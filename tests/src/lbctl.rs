// SPDX-License-Identifier: Apache-2.0
//! The program `lbctl`, called as people call it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::httpd::Httpd;

/// The program: what `LBCTL` names, or the one that was built beside this test.
pub fn lbctl_program() -> PathBuf {
    std::env::var_os("LBCTL").map_or_else(
        || {
            let own = std::env::current_exe().expect("the test's own path");
            own.parent().and_then(Path::parent).expect("the folder of programs").join("lbctl")
        },
        PathBuf::from,
    )
}

/// How a call has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Panics unless all went well.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// A call, prepared.
pub fn lbctl_command(words: &[&str]) -> Command {
    let mut command = Command::new(lbctl_program());
    command.args(words).stdin(Stdio::null());
    for name in ["NO_COLOR", "COLUMNS", "LBCTL_SOCKET", "LBCTL_PASSWORD", "NETRC", "http_proxy", "HTTP_PROXY"]
    {
        command.env_remove(name);
    }
    command
}

/// Calls the program.
pub fn lbctl(words: &[&str]) -> Ended {
    ended(&mut lbctl_command(words))
}

/// Runs what was prepared.
pub fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("run lbctl");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Httpd {
    /// Calls the program with this server's socket.
    pub fn lbctl(&self, words: &[&str]) -> Ended {
        ended(lbctl_command(words).env("LBCTL_SOCKET", self.socket_path()))
    }

    /// The same, without waiting for its end.
    pub fn lbctl_beside(&self, words: &[&str]) -> Child {
        let mut command = lbctl_command(words);
        command.env("LBCTL_SOCKET", self.socket_path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("run lbctl")
    }
}
