// SPDX-License-Identifier: Apache-2.0
//! Whether members take connections.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use balance::url::MemberUrl;
use config::Pool;

use super::findings::Remark;

/// How long one may take.
const MOST: Duration = Duration::from_secs(2);

/// Dials every member once; those that did not answer.
pub fn unreachable(pools: &[Pool]) -> Vec<Remark> {
    let mut found = Vec::new();
    for pool in pools {
        for (member, place) in pool.members.iter().zip(&pool.member_places) {
            if let Err(error) = dial(&member.url) {
                let text = format!(
                    "pool {}: {} ({}) takes no connection: {error}",
                    pool.name, member.name, member.url
                );
                let place = format!("{}:{}", place.file, place.line);
                found.push(Remark { is_error: false, place, text });
            }
        }
    }
    found
}

fn dial(url: &MemberUrl) -> Result<(), String> {
    if let Some(socket) = &url.socket {
        return UnixStream::connect(socket).map(drop).map_err(|error| error.to_string());
    }
    let host = url.host.trim_matches(['[', ']']);
    let addresses = (host, url.port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, MOST) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
