// SPDX-License-Identifier: Apache-2.0
//! Certificates that nobody signed.

use std::path::Path;
use std::process::Command;

/// Makes `key.pem` and `cert.pem` in a folder: for `localhost` and 127.0.0.1, for two days.
pub fn self_signed(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .output()
        .expect("run openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
