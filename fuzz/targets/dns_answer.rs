// SPDX-License-Identifier: Apache-2.0
//! The bytes that come back for a question of DNS: records, nothing, or one line that says what is
//! wrong; never more than the bytes can hold.
#![no_main]

use std::collections::HashSet;

use discover::dns_message::{DnsReply, Heard, MOST_ALIASES, Question, RecordKind, parse_name};
use libfuzzer_sys::fuzz_target;

/// Bytes of a message before the question.
const HEADER: usize = 12;

fuzz_target!(|data: &[u8]| {
    // Two bytes: the kind of records, and whether the answer repeats the question.
    let [kind, repeats, rest @ ..] = data else { return };
    let kind = [RecordKind::A, RecordKind::Aaaa, RecordKind::Srv][usize::from(*kind % 3)];
    let question = Question { id: 0x4142, name: parse_name("app.internal").expect("a name"), kind };
    let bytes = if repeats % 2 == 1 { repeated(&question, rest) } else { rest.to_vec() };
    let Some(reply) = question.read(&bytes) else { return };
    match reply {
        Ok(DnsReply::Heard(Heard::Records(records))) => {
            assert!(!records.data.is_empty() && records.ttl <= i32::MAX as u32);
            // No record has less than eleven bytes.
            assert!((records.data.len() + records.beside.len()) * 11 < bytes.len());
        }
        Ok(DnsReply::Heard(Heard::Alias { name, aliases, .. })) => {
            assert!((1..=MOST_ALIASES).contains(&aliases) && HashSet::from([name]).len() == 1);
        }
        Ok(DnsReply::Heard(Heard::None { .. }) | DnsReply::Truncated) => {}
        Ok(DnsReply::Refused(why)) | Err(why) => assert!(!why.contains(['\n', '\r', '\0'])),
    }
});

/// A message with this header and these sections, as an answer to the question: what follows is
/// looked at then.
fn repeated(question: &Question, rest: &[u8]) -> Vec<u8> {
    let (header, sections) = rest.split_at(rest.len().min(HEADER));
    let asked = question.to_bytes();
    let mut bytes = header.to_vec();
    bytes.resize(HEADER, 0);
    (bytes[0], bytes[1], bytes[2]) = (asked[0], asked[1], bytes[2] & 0x07 | 0x80);
    (bytes[4], bytes[5]) = (0, 1);
    bytes.extend_from_slice(&asked[HEADER..]);
    bytes.extend_from_slice(sections);
    bytes
}
