// SPDX-License-Identifier: Apache-2.0
//! The password and the token: read, sent, and shown to nobody.

use std::io::Read as _;
use std::path::Path;

/// Most bytes of a password file.
const MOST: u64 = 4096;

/// Most characters of a text that is shown.
const MOST_SHOWN: usize = 240;

/// The secrets of now.
#[derive(Default, Clone)]
pub(crate) struct Secrets {
    password: String,
    token: String,
}

impl Secrets {
    pub(crate) fn keep_password(&mut self, password: &str) {
        password.clone_into(&mut self.password);
    }

    pub(crate) fn keep_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// A text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        let text = net::hidden(&self.token, text);
        net::hidden(&self.password, &text)
    }

    /// The begin of a text without them, for a line.
    pub(crate) fn shown(&self, text: &str) -> String {
        net::printable(&self.hide(text), MOST_SHOWN)
    }
}

/// The password as it stands in its file now. It is in no error.
pub(crate) fn password(file: &Path) -> Result<String, String> {
    let bad = |why: &str| format!("password_file={}: {why}", file.display());
    let mut text = String::new();
    let opened = std::fs::File::open(file).and_then(|open| match open.metadata()?.is_file() {
        true => open.take(MOST).read_to_string(&mut text),
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    opened.map_err(|error| bad(&error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err(bad("expected one line with a password"));
    }
    Ok(password.to_owned())
}
