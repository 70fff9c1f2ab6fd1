// SPDX-License-Identifier: Apache-2.0
//! Files that are read as a whole: regular ones, of a size that such files have. A pipe or a device
//! could be waited for without end.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NONBLOCK;

/// Most bytes of a file.
const MOST: u64 = 64 << 20;

/// The bytes of a file.
///
/// # Errors
/// It cannot be read, is not a regular file, or is larger than 64 MiB; with its name.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let named = |text: &str| format!("{}: {text}", path.display());
    let wrong = |error: std::io::Error| named(&error.to_string());
    // Nobody may be at the other end of a pipe.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).map_err(wrong)?;
    let about = file.metadata().map_err(wrong)?;
    let kind = about.file_type();
    let found = match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a pipe"),
        () => Some("a device"),
    };
    if let Some(found) = found {
        return Err(named(&format!("found {found}, expected a file")));
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > MOST {
        return Err(named("larger than 64 MiB"));
    }
    Ok(bytes)
}

/// The text of a file; bytes that are not UTF-8 are replaced.
///
/// # Errors
/// As [`bytes`].
pub fn text(path: &Path) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&bytes(path)?).into_owned())
}
