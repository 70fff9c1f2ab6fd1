// SPDX-License-Identifier: Apache-2.0
//! Certificates: one that nobody signed, and one that an authority of its own did.

use std::path::Path;
use std::process::Command;

/// Makes `key.pem` and `cert.pem` in a folder: for `localhost` and 127.0.0.1, for two days.
pub fn self_signed(folder: &Path) {
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem",
    );
}

/// Makes `key.pem` and `cert.pem` in a folder for `localhost` alone, signed by that of `ca.pem`.
pub fn signed(folder: &Path) {
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
    );
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -CA ca.pem -CAkey ca.key \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
         -keyout key.pem -out cert.pem",
    );
}

fn openssl(folder: &Path, words: &str) {
    let made = Command::new("openssl").args(words.split_whitespace()).current_dir(folder).output();
    let made = made.expect("run openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
