// SPDX-License-Identifier: Apache-2.0
//! Sampled requests: where each went, and how, as it is kept for later questions.

use crate::counting::Ending;
use crate::packed::{Packer, Unpacker};

/// Bytes that an entry takes at most.
pub const MOST_BYTES: usize = 822;
/// Bytes of a path that are kept.
pub const MOST_PATH: usize = 64;
/// Bytes of a name that are kept.
const MOST_NAME: usize = 63;
const MOST_WORD: usize = 32;
/// Attempts that are kept: the last ones.
const MOST_ATTEMPTS: usize = 8;

/// A request that was sampled. Texts that are too long end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SampledRequest<'t> {
    /// When it was over: epoch milliseconds.
    pub at_ms: u64,
    /// Microseconds from the first attempt, or the wait for it, to the end of the last one.
    pub took_us: u64,
    /// The status of the answer.
    pub status: u16,
    /// How many members could have been picked, when it was over.
    pub candidates: u32,
    /// The pool's name; empty for a target.
    pub pool: &'t str,
    /// The last member's name, or the target's URL; empty when nobody was asked.
    pub member: &'t str,
    /// How it was picked (`LB_METHOD`).
    pub method: &'t str,
    /// How it ended (`LB_REASON`).
    pub reason: &'t str,
    /// The path that the client has asked for, encoded as it came, without its query
    /// ([`path_of`]).
    pub path: &'t str,
}

/// One attempt of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampledAttempt<'t> {
    /// The member's name; empty for a target.
    pub member: &'t str,
    /// How it ended.
    pub ending: Ending,
}

impl<'t> SampledRequest<'t> {
    /// As bytes, with its attempts.
    pub fn pack<'b>(self, attempts: &[SampledAttempt<'_>], room: &'b mut [u8; MOST_BYTES]) -> &'b [u8] {
        let mut packer = Packer::new(room);
        packer.number(self.at_ms);
        packer.number(self.took_us);
        packer.number(u64::from(self.status) << 32 | u64::from(self.candidates));
        packer.text(self.pool, MOST_NAME);
        packer.text(self.member, MOST_NAME);
        packer.text(self.method, MOST_WORD);
        packer.text(self.reason, MOST_WORD);
        packer.text(self.path, MOST_PATH);
        let left_out = attempts.len().saturating_sub(MOST_ATTEMPTS);
        packer.byte(attempts.len().min(MOST_ATTEMPTS) as u8);
        for attempt in attempts.iter().skip(left_out) {
            packer.byte(attempt.ending as u8);
            packer.text(attempt.member, MOST_NAME);
        }
        packer.packed()
    }

    /// The other way round. None: another version of the module has written it.
    pub fn unpack(bytes: &'t [u8]) -> Option<(Self, Vec<SampledAttempt<'t>>)> {
        let mut packed = Unpacker(bytes);
        let (at_ms, took_us, both) = (packed.number()?, packed.number()?, packed.number()?);
        let request = SampledRequest {
            at_ms,
            took_us,
            status: (both >> 32) as u16,
            candidates: both as u32,
            pool: packed.text()?,
            member: packed.text()?,
            method: packed.text()?,
            reason: packed.text()?,
            path: packed.text()?,
        };
        let mut attempts = Vec::new();
        for _ in 0..packed.byte()? {
            let ending = Ending::ALL.into_iter().nth(usize::from(packed.byte()?))?;
            attempts.push(SampledAttempt { member: packed.text()?, ending });
        }
        Some((request, attempts))
    }
}

/// The longest beginning of bytes that is text, and has at most so many of them.
pub fn text_of(bytes: &[u8], most: usize) -> &str {
    let bytes = bytes.get(..most).unwrap_or(bytes);
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// The path of a request's target as the client has sent it: without scheme, host and query, still
/// percent-encoded, at most [`MOST_PATH`] bytes. Bytes that are not text are encoded as well. No
/// escape is cut in two.
pub fn path_of(target: &[u8]) -> String {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    let target = target.get(..end).unwrap_or_default();
    let path = if target.starts_with(b"/") { target } else { behind_host(target) };
    let mut kept = String::new();
    for chunk in path.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let room = if letter == '%' { MOST_PATH - 3 } else { MOST_PATH - letter.len_utf8() };
            if kept.len() > room {
                return kept;
            }
            kept.push(letter);
        }
        for byte in chunk.invalid() {
            if kept.len() > MOST_PATH - 3 {
                return kept;
            }
            kept.push_str(&format!("%{byte:02X}"));
        }
    }
    kept
}

/// Of `http://user@host/path` the path; another target stays as it is.
fn behind_host(target: &[u8]) -> &[u8] {
    let Some(scheme) = target.windows(3).position(|part| part == b"://") else { return target };
    let rest = target.get(scheme + 3..).unwrap_or_default();
    rest.iter().position(|byte| *byte == b'/').and_then(|slash| rest.get(slash..)).unwrap_or(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: SampledRequest<'static> = SampledRequest {
        at_ms: 1_795_953_600_123,
        took_us: 21_000,
        status: 200,
        candidates: 70_000,
        pool: "app",
        member: "a",
        method: "round_robin",
        reason: "ok",
        path: "/cart",
    };

    #[test]
    fn a_request_is_read_back_as_it_was_written() {
        let attempts = [("b", Ending::Connect), ("", Ending::Script), ("a", Ending::Ok)];
        let attempts = attempts.map(|(member, ending)| SampledAttempt { member, ending });
        let mut room = [0; MOST_BYTES];
        let bytes = REQUEST.pack(&attempts, &mut room);
        assert_eq!(SampledRequest::unpack(bytes), Some((REQUEST, attempts.to_vec())));
    }

    #[test]
    fn the_longest_request_fits_with_the_last_of_its_attempts() {
        let long = "é".repeat(200);
        let name = "n".repeat(63);
        let texts = SampledRequest {
            pool: &name,
            member: &name,
            method: &long,
            reason: &long,
            path: &long,
            ..REQUEST
        };
        let attempt = |ending| SampledAttempt { member: &name, ending };
        let mut attempts = vec![attempt(Ending::Connect); 20];
        attempts.push(attempt(Ending::Ok));
        let mut room = [0; MOST_BYTES];
        let (found, ends) = SampledRequest::unpack(texts.pack(&attempts, &mut room)).expect("an entry");
        assert_eq!((found.pool, found.member, found.path), (&*name, &*name, "é".repeat(32).as_str()));
        assert_eq!((ends.len(), ends[7]), (8, attempt(Ending::Ok)));
    }

    #[test]
    fn bytes_of_other_versions_are_left_out() {
        let mut room = [0; MOST_BYTES];
        let bytes = REQUEST.pack(&[SampledAttempt { member: "a", ending: Ending::Ok }], &mut room).to_vec();
        for end in 0..bytes.len() {
            assert_eq!(SampledRequest::unpack(&bytes[..end]), None, "{end} bytes");
        }
        assert_eq!(SampledRequest::unpack(&[255; 200]), None);
    }

    #[test]
    fn a_path_is_text_whatever_its_bytes() {
        let long = [b"/".as_slice(), "é".repeat(64).as_bytes()].concat();
        assert_eq!(text_of(&long, 64).len(), 63);
        assert_eq!(text_of(b"/a\xff/b", 64), "/a");
        assert_eq!((text_of(b"\xff", 64), text_of(b"", 64)), ("", ""));
    }

    #[test]
    fn a_path_is_the_clients_without_host_and_query() {
        let long = |text: &str, times: usize| format!("/{}", text.repeat(times));
        for (target, path) in [
            ("/a/b?c=/d", "/a/b"),
            ("/a%FFb", "/a%FFb"),
            ("/%3Cb%3E%2fé", "/%3Cb%3E%2fé"),
            ("/", "/"),
            ("//x/y", "//x/y"),
            ("/a#b?c", "/a"),
            ("http://u:p@h:80/a/b?c", "/a/b"),
            ("http://h", "/"),
            ("http://h?x=/y", "/"),
            ("*", "*"),
            ("h:443", "h:443"),
            ("", ""),
            (&long("x", 300), &long("x", 63)),
            (&long("%FF", 50), &long("%FF", 21)),
            (&long("x%FF", 50), &format!("{}x", long("x%FF", 15))),
            (&long("é", 64), &long("é", 31)),
        ] {
            assert_eq!(path_of(target.as_bytes()), path, "{target}");
        }
        assert_eq!(path_of(b"/a\xffb\xfe?"), "/a%FFb%FE");
        assert_eq!(path_of(&[b"/".as_slice(), &[0xff; 300]].concat()), long("%FF", 21));
    }
}
