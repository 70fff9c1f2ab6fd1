// SPDX-License-Identifier: Apache-2.0
//! A server of DNS for tests, as well-behaved as each of them wants it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::message_builder::AnswerBuilder;
use domain::base::name::FlattenInto as _;
use domain::base::{Message, MessageBuilder, Name, Rtype, ToName as _, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa, Srv};
use octseq::Array;

use super::message::{DnsName, parse_name};

/// A question, as the server sees it.
pub struct FakeQuestion {
    pub name: String,
    pub rtype: Rtype,
    pub is_tcp: bool,
    /// The place of the one that asks, over UDP.
    pub from: Option<SocketAddr>,
    pub message: Message<Vec<u8>>,
}

/// Records by name, and how the answer is meant to end.
#[derive(Clone, Copy)]
pub enum FakeRecord {
    /// Seconds, address.
    A(u32, [u8; 4]),
    /// Seconds, the last group of an address.
    Aaaa(u32, u16),
    Cname(u32, &'static str),
    /// Seconds; priority, weight, port; target.
    Srv(u32, [u16; 3], &'static str),
}

/// It ends with the test.
pub struct Fake {
    pub at: SocketAddr,
    /// Questions so far, as `app.internal A`, with ` tcp` behind those that came so.
    pub asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Fake {
    /// A server whose answers to a question are these packets.
    pub fn start(answer: impl Fn(&FakeQuestion) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = sockets();
        let at = udp.local_addr().expect("an address");
        let (ended, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let fake = Fake { at, asked: asked.clone(), ended: ended.clone() };
        let answer = Arc::new(move |bytes: &[u8], from: Option<SocketAddr>| {
            let message = Message::from_octets(bytes.to_vec()).expect("a message");
            let question = message.sole_question().expect("a question");
            let (name, rtype) = (question.qname().to_string(), question.qtype());
            let is_tcp = from.is_none();
            let end = if is_tcp { " tcp" } else { "" };
            asked.lock().expect("a list").push(format!("{name} {rtype}{end}"));
            answer(&FakeQuestion { name, rtype, is_tcp, from, message })
        });
        let (over_udp, has_ended) = (answer.clone(), ended.clone());
        udp.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while !has_ended.load(Ordering::Acquire) {
                let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                for packet in over_udp(&buffer[..length], Some(from)) {
                    let _ = udp.send_to(&packet, from);
                }
            }
        });
        let Some(tcp) = tcp else { return fake };
        tcp.set_nonblocking(true).expect("a flag");
        std::thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).expect("a flag");
                let mut length = [0; 2];
                stream.read_exact(&mut length).expect("a length");
                let mut bytes = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut bytes).expect("a question");
                for packet in answer(&bytes, None) {
                    let _ = stream.write_all(&(packet.len() as u16).to_be_bytes());
                    let _ = stream.write_all(&packet);
                }
            }
        });
        fake
    }

    /// A server with these records, that knows no other names.
    pub fn with(records: &'static [(&'static str, FakeRecord)]) -> Self {
        Fake::start(move |asked| vec![asked.records(records)])
    }

    pub fn questions(&self) -> Vec<String> {
        self.asked.lock().expect("a list").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// Two of one port.
fn sockets() -> (UdpSocket, Option<TcpListener>) {
    for _ in 0..50 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let at = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(at) {
            return (udp, Some(tcp));
        }
    }
    panic!("no port is free for both");
}

/// Room for the largest answer of a test.
type Packet = Array<4096>;

pub fn name(text: &str) -> DnsName {
    parse_name(text).expect("a name")
}

impl FakeQuestion {
    fn begin(&self, rcode: Rcode) -> AnswerBuilder<Packet> {
        let builder = MessageBuilder::from_target(Packet::new()).expect("room");
        builder.start_answer(&self.message, rcode).expect("an answer")
    }

    pub fn failure(&self, rcode: Rcode) -> Vec<u8> {
        self.begin(rcode).finish().to_vec()
    }

    pub fn truncated(&self) -> Vec<u8> {
        let mut builder = self.begin(Rcode::NOERROR);
        builder.header_mut().set_tc(true);
        builder.push((&name(&self.name), Ttl::from_secs(60), A::from_octets(192, 0, 2, 1))).expect("room");
        builder.finish().to_vec()
    }

    /// Nothing, with times of the zone: its record's own, and that of what is not there.
    pub fn nothing(&self, rcode: Rcode, [own, minimum]: [u32; 2]) -> Vec<u8> {
        let mut builder = self.begin(rcode).authority();
        let seconds = Ttl::from_secs;
        let (at, rest) = (name("internal"), seconds(3600));
        let soa = Soa::new(at.clone(), at.clone(), 1.into(), rest, rest, rest, seconds(minimum));
        builder.push((&at, seconds(own), soa)).expect("room");
        builder.finish().to_vec()
    }

    /// The records of the name that are of the kind asked for, aliases before them; NODATA or
    /// NXDOMAIN without a time where there are none.
    pub fn records(&self, known: &[(&str, FakeRecord)]) -> Vec<u8> {
        let is_known = known.iter().any(|(name, _)| *name == self.name);
        let mut builder = self.begin(if is_known { Rcode::NOERROR } else { Rcode::NXDOMAIN });
        let (mut at, mut steps) = (self.name.clone(), 0);
        while let Some((_, FakeRecord::Cname(ttl, target))) =
            known.iter().find(|(name, line)| *name == at && matches!(line, FakeRecord::Cname(..)))
        {
            let cname = Cname::new(name(target));
            builder.push((&name(&at), Ttl::from_secs(*ttl), cname)).expect("room");
            (at, steps) = ((*target).to_owned(), steps + 1);
            if steps > 20 {
                break;
            }
        }
        for (_, line) in known.iter().filter(|(name, _)| *name == at) {
            let owner = name(&at);
            match (*line, self.rtype) {
                (FakeRecord::A(ttl, address), Rtype::A) => {
                    builder.push((&owner, Ttl::from_secs(ttl), A::new(address.into()))).expect("room");
                }
                (FakeRecord::Aaaa(ttl, last), Rtype::AAAA) => {
                    let address = [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into();
                    builder.push((&owner, Ttl::from_secs(ttl), Aaaa::new(address))).expect("room");
                }
                (FakeRecord::Srv(ttl, [priority, weight, port], target), Rtype::SRV) => {
                    let target = if target == "." { Name::root_slice().to_name() } else { name(target) };
                    let srv = Srv::new(priority, weight, port, target);
                    builder.push((&owner, Ttl::from_secs(ttl), srv)).expect("room");
                }
                _ => {}
            }
        }
        builder.finish().to_vec()
    }

    /// As [`FakeQuestion::records`], with these addresses beside.
    pub fn with_beside(&self, known: &[(&str, FakeRecord)], beside: &[(&str, u32, [u8; 4])]) -> Vec<u8> {
        let answer = Message::from_octets(self.records(known)).expect("a message");
        let mut builder = self.begin(Rcode::NOERROR);
        for record in answer.answer().expect("a section").limit_to::<Srv<_>>() {
            let record = record.expect("a record");
            let (owner, ttl) = (name(&record.owner().to_string()), record.ttl());
            let srv: Srv<DnsName> = record.into_data().flatten_into();
            builder.push((&owner, ttl, srv)).expect("room");
        }
        let mut builder = builder.additional();
        for (owner, ttl, address) in beside {
            builder.push((&name(owner), Ttl::from_secs(*ttl), A::new((*address).into()))).expect("room");
        }
        builder.finish().to_vec()
    }
}
