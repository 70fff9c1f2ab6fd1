// SPDX-License-Identifier: Apache-2.0
//! The servers that are asked: the ones named, or those of `resolv.conf` as it is now.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Port of DNS.
pub const PORT: u16 = 53;
/// So many are asked at most, as the C library does.
const MOST_SERVERS: usize = 3;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// This one.
    One(SocketAddr),
    /// The ones that a file names.
    Configured(PathBuf),
}

impl Servers {
    /// The servers of now, at least one. The file is short: it is read at each look, so that a
    /// change counts at once.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn now(&self) -> Result<Vec<SocketAddr>, String> {
        match self {
            Servers::One(server) => Ok(vec![*server]),
            Servers::Configured(path) => match fs::read_to_string(path) {
                Ok(text) => Ok(of_text(&text)),
                Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
            },
        }
    }
}

/// The servers that a `resolv.conf` names. Without any it is this machine, as for the C library.
fn of_text(text: &str) -> Vec<SocketAddr> {
    let words = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())
    });
    let addresses = words.filter_map(|word| word.parse::<IpAddr>().ok());
    let mut servers: Vec<SocketAddr> =
        addresses.take(MOST_SERVERS).map(|address| (address, PORT).into()).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_those_of_the_file_as_it_is_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resolv.conf");
        let servers = Servers::Configured(path.clone());
        let error = servers.now().expect_err("no file");
        assert!(error.contains("resolv.conf cannot be read: No such file"), "{error}");
        for (text, expected) in [
            ("# none\nsearch example\n", &["127.0.0.1:53"][..]),
            (
                "nameserver 192.0.2.1\n  nameserver\t2001:db8::1 # two\n",
                &["192.0.2.1:53", "[2001:db8::1]:53"],
            ),
            ("nameserver x\n;nameserver 192.0.2.9\nnameserver 192.0.2.2", &["192.0.2.2:53"]),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
                &["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"],
            ),
        ] {
            fs::write(&path, text).expect("written");
            let expected: Vec<SocketAddr> =
                expected.iter().map(|text| text.parse().expect("an address")).collect();
            assert_eq!(servers.now(), Ok(expected), "{text}");
        }
    }
}
