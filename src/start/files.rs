// SPDX-License-Identifier: Apache-2.0
//! Files that sources of members need (`ca=`, tokens), as `configtest` looks at them: with the
//! rights of httpd's children. A start is asked none of this; there the source says so itself.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::config::{Config, Position};
use balance::settings::SourcePlace;

use crate::httpd::config;
use crate::httpd::confine::Account;
use crate::httpd::process::{self, OneThread};

/// How long all files together may take: one may be on a server that is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file that somebody has named.
struct Named {
    /// Where.
    place: String,
    directive: &'static str,
    key: &'static str,
    path: PathBuf,
}

/// Files that cannot be used, each with its place. Relative paths are below `root`.
pub fn unusable(alone: OneThread, root: &Path, wanted: &Config) -> Vec<String> {
    let named = named(root, wanted);
    if named.is_empty() {
        return Vec::new();
    }
    let account = Account::of_children();
    let Ok((own, theirs)) = process::socket_pair(false) else { return Vec::new() };
    let look = |_: OneThread| {
        // Without the account nothing can be said.
        if account.assume().is_ok() {
            for one in &named {
                let answer = one.problem().unwrap_or_default().replace('\n', " ");
                let _ = process::write_all(theirs.as_raw_fd(), format!("{answer}\n").as_bytes());
            }
        }
    };
    let Ok(pid) = process::fork(alone, look) else { return Vec::new() };
    drop(theirs);
    let said = hear(own.as_raw_fd());
    process::kill(pid);
    while matches!(process::ended(pid), Ok(None)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let wrong = named.iter().zip(said.lines()).filter(|(_, why)| !why.is_empty());
    let told = |(one, why): (&Named, &str)| {
        format!(
            "{}: {}: {why} (looked at as {}, as httpd's children do)",
            one.place,
            one.directive,
            account.name()
        )
    };
    wrong.map(told).collect()
}

/// All that the other end says, in time.
fn hear(from: i32) -> String {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    let until = Instant::now() + PATIENCE;
    loop {
        match process::read(from, &mut piece) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&piece[..count]),
            Err(_) if Instant::now() >= until => break,
            Err(_) => process::wait_for(&[from], until.saturating_duration_since(Instant::now())),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn named(root: &Path, wanted: &Config) -> Vec<Named> {
    let lines = config::lines();
    let mut all = Vec::new();
    for pool in &wanted.pools {
        for source in &pool.settings.discovery {
            let word = format!("{}:{}", source.source.kind(), source.source.address());
            let is_it = |line: &&config::DirectiveLine| {
                line.directive.eq_ignore_ascii_case("LuaBalancerDiscovery") && line.args.contains(&word)
            };
            let place = lines.iter().find(is_it).map(|line| {
                let (file, number) = line.place.clone();
                Position { file, line: number }.to_string()
            });
            let place = place.unwrap_or_else(|| pool.place.to_string());
            let files = source.source.files().into_iter();
            all.extend(files.map(|(key, path)| Named {
                place: place.clone(),
                directive: "LuaBalancerDiscovery",
                key,
                path: root.join(path),
            }));
        }
    }
    if let Some(store) = &wanted.store.place {
        let directive = "LuaBalancerStore";
        let line = lines.iter().find(|line| line.directive.eq_ignore_ascii_case(directive));
        let place = line.map_or_else(String::new, |line| {
            let (file, number) = line.place.clone();
            Position { file, line: number }.to_string()
        });
        let source = SourcePlace::Etcd(store.clone());
        let files = source.files().into_iter();
        all.extend(files.map(|(key, path)| Named {
            place: place.clone(),
            directive,
            key,
            path: root.join(path),
        }));
    }
    all
}

impl Named {
    fn problem(&self) -> Option<String> {
        if self.key == "ca" {
            return probe::check_ca(&self.path.to_string_lossy()).err();
        }
        let mut bytes = Vec::new();
        let opened = std::fs::metadata(&self.path).and_then(|meta| match meta.is_file() {
            true => File::open(&self.path)?.take(1 << 16).read_to_end(&mut bytes),
            false => Err(std::io::Error::other("it is not a regular file")),
        });
        let why = match opened {
            Ok(_) if bytes.trim_ascii().is_empty() => "it is empty".to_owned(),
            Ok(_) => return None,
            Err(error) => error.to_string(),
        };
        Some(format!("{}={}: {why}", self.key, self.path.display()))
    }
}
