// SPDX-License-Identifier: Apache-2.0
//! Where servers are, and as whom they are asked.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::args::{Login, Reach};
use super::netrc;
use crate::out::{Exit, Failure};

/// The socket's name in httpd's folder of runtime files.
const FILE: &str = "lua_balancer.sock";
/// Such folders, as Debian, Fedora and httpd itself have them.
const FOLDERS: [&str; 3] = ["/run/apache2", "/run/httpd", "/usr/local/apache2/logs"];

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Door {
    /// A Unix socket.
    Socket(PathBuf),
    /// A handler's URL without a slash at its end, and what `Authorization` says there.
    Url(String, Option<String>),
}

/// The doors that the command line names.
pub fn doors(reach: &Reach, user: Option<&str>) -> Result<Vec<Door>, Failure> {
    if reach.urls.is_empty() {
        return Ok(vec![Door::Socket(socket(reach.socket.clone())?)]);
    }
    let mut doors = Vec::new();
    for url in &reach.urls {
        let door = of_url(url, reach, user)?;
        doors.push(door);
    }
    Ok(doors)
}

/// As [`doors`].
pub fn of_login(login: &Login) -> Result<Vec<Door>, Failure> {
    doors(&login.reach, login.user.as_deref())
}

fn socket(told: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let set = || std::env::var_os("LBCTL_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = told.or_else(set) {
        return Ok(path);
    }
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join(FILE));
    let is_socket = |path: &PathBuf| {
        // A folder that may not be looked into may have it.
        path.symlink_metadata().map_or_else(
            |error| error.kind() == std::io::ErrorKind::PermissionDenied,
            |found| found.file_type().is_socket(),
        )
    };
    let found: Vec<PathBuf> = places.filter(is_socket).collect();
    let lives = found.iter().find(|path| UnixStream::connect(path).is_ok());
    lives.or(found.first()).cloned().ok_or_else(|| {
        let text = format!(
            "found no server: there is no {FILE} in {}. Is httpd running, with the module? \
             --socket PATH, LBCTL_SOCKET or --url URL say where it is",
            FOLDERS.join(", ")
        );
        Failure { exit: Exit::Unreachable, text }
    })
}

fn of_url(url: &str, reach: &Reach, user: Option<&str>) -> Result<Door, Failure> {
    let wrong =
        || Failure::usage(format!("--url {url}: expected a URL such as https://lb1.example.org/balancer"));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") || rest.contains(['?', '#', ' ']) {
        return Err(wrong());
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (own, place) = match authority.rsplit_once('@') {
        Some((own, place)) => (Some(own), place),
        None => (None, authority),
    };
    if place.is_empty() || place.starts_with(':') {
        return Err(wrong());
    }
    let known = credentials(own.or(user), host(place), reach)?;
    let basic = |(name, password)| format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    let authorization = known.map(basic);
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    Ok(Door::Url(format!("{scheme}://{place}{slash}{path}"), authorization))
}

fn host(place: &str) -> &str {
    let without = match place.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => place,
    };
    without.trim_matches(['[', ']'])
}

fn credentials(user: Option<&str>, host: &str, reach: &Reach) -> Result<Option<(String, String)>, Failure> {
    if let Some((name, password)) = user.and_then(|user| user.split_once(':')) {
        return Ok(Some((name.to_owned(), password.to_owned())));
    }
    if let Some(file) = &reach.netrc {
        let path = file.clone().or_else(netrc::usual);
        let path = path.ok_or_else(|| Failure::usage("--netrc: there is no HOME; expected --netrc=FILE"))?;
        if let Some(found) = netrc::find(&path, host, user)? {
            return Ok(Some(found));
        }
    }
    let Some(name) = user else { return Ok(None) };
    let set = std::env::var("LBCTL_PASSWORD").ok();
    let password = set.ok_or_else(|| {
        let text = format!("--user {name}: no password; expected it in LBCTL_PASSWORD, or --netrc");
        Failure::usage(text)
    })?;
    Ok(Some((name.to_owned(), password)))
}

impl Door {
    /// Its name, for people.
    pub fn name(&self) -> String {
        match self {
            Door::Socket(path) => path.display().to_string(),
            Door::Url(url, _) => url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).to_owned(),
        }
    }
}
