// SPDX-License-Identifier: Apache-2.0
//! One question as bytes, and the bytes of an answer to it. Pure: who answers, and how often is
//! asked, is decided elsewhere.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::str::FromStr as _;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::record::ParsedRecord;
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, Rtype, ToName as _, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv};
use octseq::Array;

/// Most aliases (CNAME) from the name that was asked for to the one that has the records.
pub const MOST_ALIASES: usize = 16;

/// A complete name. Two that differ in case alone are the same.
pub type DnsName = Name<Vec<u8>>;

/// Reads a complete name, with or without a dot at its end.
pub fn parse_name(text: &str) -> Option<DnsName> {
    // Lists of labels with `\` in them are nobody's.
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    DnsName::from_str(text).ok().filter(|name| is_plain && !name.is_root())
}

/// A kind of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Places of a service.
    Srv,
}

impl RecordKind {
    /// As zones have it.
    pub fn word(self) -> &'static str {
        match self {
            RecordKind::A => "A",
            RecordKind::Aaaa => "AAAA",
            RecordKind::Srv => "SRV",
        }
    }

    fn rtype(self) -> Rtype {
        match self {
            RecordKind::A => Rtype::A,
            RecordKind::Aaaa => Rtype::AAAA,
            RecordKind::Srv => Rtype::SRV,
        }
    }
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Not to be guessed; answers repeat it.
    pub id: u16,
    /// The name.
    pub name: DnsName,
    /// Its records that are wanted.
    pub kind: RecordKind,
}

/// The value of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum {
    /// An address.
    Address(IpAddr),
    /// A place of a service.
    Place(ServicePlace),
}

/// A record of SRV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlace {
    /// Smaller ones are used first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; the root, where the service is not offered.
    pub target: DnsName,
}

/// An answer, as a server gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsReply {
    /// It tells something.
    Heard(Heard),
    /// More would not fit.
    Truncated,
    /// The server does not answer, and says why.
    Refused(String),
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Records, of one name.
    Records(Records),
    /// The name, or the one that it stands for, has no such records.
    None {
        /// For how many seconds that holds, where the answer says so.
        ttl: Option<u32>,
    },
    /// The name stands for another one, of which the answer knows no more.
    Alias {
        /// That one.
        name: DnsName,
        /// Seconds.
        ttl: u32,
        /// How many aliases led there.
        aliases: usize,
    },
}

/// See [`Heard::Records`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// The values, each once.
    pub data: Vec<Datum>,
    /// For how many seconds they hold: the smallest of all that led to them.
    pub ttl: u32,
    /// Addresses of the targets that came along, each with its seconds.
    pub beside: Vec<(DnsName, IpAddr, u32)>,
}

impl Question {
    /// As it is sent, over UDP.
    pub fn to_bytes(&self) -> Vec<u8> {
        // There is room for the longest name.
        let Ok(mut builder) = MessageBuilder::from_target(Array::<512>::new()) else { return Vec::new() };
        builder.header_mut().set_id(self.id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        let _ = builder.push((&self.name, self.kind.rtype(), Class::IN));
        builder.finish().to_vec()
    }

    /// Reads an answer. None: it is not one to this question.
    ///
    /// # Errors
    /// It is one, and broken.
    pub fn read(&self, bytes: &[u8]) -> Option<Result<DnsReply, String>> {
        let message = Message::from_slice(bytes).ok()?;
        let header = message.header();
        let asked = message.sole_question().ok()?;
        let is_mine = header.qr()
            && header.opcode() == Opcode::QUERY
            && header.id() == self.id
            && asked.qname().name_eq(&self.name)
            && asked.qtype() == self.kind.rtype()
            && asked.qclass() == Class::IN;
        is_mine.then(|| self.reply(message).map_err(|error| format!("its answer cannot be read: {error}")))
    }

    fn reply(&self, message: &Message<[u8]>) -> Result<DnsReply, ParseError> {
        let header = message.header();
        if header.tc() {
            return Ok(DnsReply::Truncated);
        }
        let rcode = header.rcode();
        if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
            return Ok(DnsReply::Refused(rcode.to_string()));
        }
        let mut found = Section::default();
        for record in message.answer()? {
            found.take(self.kind, &record?)?;
        }
        let end = match found.follow(&self.name) {
            Ok(end) => end,
            Err(why) => return Ok(DnsReply::Refused(why)),
        };
        if let Some((data, ttl)) = found.records.remove(&end.name) {
            let mut records = Records { data, ttl: ttl.min(end.ttl), beside: Vec::new() };
            if self.kind == RecordKind::Srv {
                records.beside = beside(message)?;
            }
            return Ok(DnsReply::Heard(Heard::Records(records)));
        }
        let negative = negative_ttl(message)?;
        Ok(DnsReply::Heard(match end.aliases {
            0 => Heard::None { ttl: negative },
            aliases if negative.is_none() && rcode == Rcode::NOERROR => {
                Heard::Alias { name: end.name, ttl: end.ttl, aliases }
            }
            _ => Heard::None { ttl: Some(negative.unwrap_or(u32::MAX).min(end.ttl)) },
        }))
    }
}

/// The records of an answer.
#[derive(Default)]
struct Section {
    /// By their names, with the smallest time to live.
    records: HashMap<DnsName, (Vec<Datum>, u32)>,
    aliases: HashMap<DnsName, (DnsName, u32)>,
}

/// The name at the end of aliases.
struct End {
    name: DnsName,
    /// The smallest of the aliases.
    ttl: u32,
    aliases: usize,
}

impl Section {
    /// Takes in a record, if it is of this kind or an alias.
    fn take(&mut self, kind: RecordKind, record: &ParsedRecord<'_, [u8]>) -> Result<(), ParseError> {
        if record.class() != Class::IN {
            return Ok(());
        }
        let (owner, ttl): (DnsName, u32) = (record.owner().to_name(), seconds(record.ttl()));
        if let Some(alias) = record.to_record::<Cname<_>>()? {
            self.aliases.insert(owner, (alias.data().cname().to_name(), ttl));
            return Ok(());
        }
        let datum = match kind {
            RecordKind::Srv => record.to_record::<Srv<_>>()?.map(|record| {
                let place = record.data();
                let (priority, weight, port) = (place.priority(), place.weight(), place.port());
                Datum::Place(ServicePlace { priority, weight, port, target: place.target().to_name() })
            }),
            _ if record.rtype() == kind.rtype() => address(record)?.map(Datum::Address),
            _ => None,
        };
        if let Some(datum) = datum {
            let (data, smallest) = self.records.entry(owner).or_insert((Vec::new(), ttl));
            *smallest = ttl.min(*smallest);
            data.push(datum);
        }
        Ok(())
    }

    fn follow(&self, name: &DnsName) -> Result<End, String> {
        let mut end = End { name: name.clone(), ttl: u32::MAX, aliases: 0 };
        let mut seen = HashSet::from([name]);
        while let Some((target, ttl)) = self.aliases.get(&end.name) {
            end.aliases += 1;
            if !seen.insert(target) || end.aliases > MOST_ALIASES {
                return Err(format!("the aliases (CNAME) of {name} lead in a circle, or are too many"));
            }
            (end.name, end.ttl) = (target.clone(), end.ttl.min(*ttl));
        }
        Ok(end)
    }
}

/// Addresses that came along.
fn beside(message: &Message<[u8]>) -> Result<Vec<(DnsName, IpAddr, u32)>, ParseError> {
    let mut found = Vec::new();
    for record in message.additional()? {
        let record = record?;
        if let Some(address) = address(&record)?.filter(|_| record.class() == Class::IN) {
            found.push((record.owner().to_name(), address, seconds(record.ttl())));
        }
    }
    Ok(found)
}

fn address(record: &ParsedRecord<'_, [u8]>) -> Result<Option<IpAddr>, ParseError> {
    Ok(match record.rtype() {
        Rtype::A => record.to_record::<A>()?.map(|record| record.data().addr().into()),
        Rtype::AAAA => record.to_record::<Aaaa>()?.map(|record| record.data().addr().into()),
        _ => None,
    })
}

/// For how long it holds that there is nothing (RFC 2308), where the answer says so.
fn negative_ttl(message: &Message<[u8]>) -> Result<Option<u32>, ParseError> {
    for record in message.authority()? {
        if let Some(soa) = record?.to_record::<Soa<_>>()? {
            return Ok(Some(seconds(soa.ttl()).min(seconds(soa.data().minimum()))));
        }
    }
    Ok(None)
}

/// A time with the highest bit counts as 0 (RFC 2181).
fn seconds(ttl: Ttl) -> u32 {
    let seconds = ttl.as_secs();
    if seconds > i32::MAX as u32 { 0 } else { seconds }
}
