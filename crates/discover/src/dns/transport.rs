// SPDX-License-Identifier: Apache-2.0
//! One question to one server: over UDP, and once more over TCP where the answer does not fit.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{DnsName, DnsReply, Heard, Question, RecordKind};

/// How long a server may take over TCP, in all.
const TCP_PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer over UDP. Nobody was told that more than 512 bytes are taken.
const MOST_BYTES: usize = 4096;

/// Asks a server; it may take `patience` for an answer over UDP. Each question has a number and a
/// source port of its own that nobody can guess.
///
/// # Errors
/// In words.
pub async fn ask(
    server: SocketAddr,
    name: &DnsName,
    kind: RecordKind,
    patience: Duration,
) -> Result<Heard, Unanswered> {
    let question = Question { id: random()?, name: name.clone(), kind };
    let answer = timeout(patience, over_udp(server, &question)).await;
    match answer.map_err(|_| Unanswered::Silence)?? {
        DnsReply::Heard(heard) => return Ok(heard),
        DnsReply::Refused(why) => return Err(Unanswered::Error(why)),
        DnsReply::Truncated => {}
    }
    let question = Question { id: random()?, ..question };
    let answer = timeout(TCP_PATIENCE, over_tcp(server, &question)).await;
    let why = match answer {
        Ok(Ok(DnsReply::Truncated)) => "it is truncated there as well".to_owned(),
        Ok(Ok(DnsReply::Heard(heard))) => return Ok(heard),
        Ok(Ok(DnsReply::Refused(why)) | Err(Unanswered::Error(why))) => why,
        Ok(Err(Unanswered::Silence)) | Err(_) => "no answer".to_owned(),
    };
    Err(Unanswered::Error(format!("its answer is truncated, and over TCP: {why}")))
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing came in time.
    Silence,
    /// The error.
    Error(String),
}

impl From<std::io::Error> for Unanswered {
    fn from(error: std::io::Error) -> Self {
        Unanswered::Error(error.to_string())
    }
}

async fn over_udp(server: SocketAddr, question: &Question) -> Result<DnsReply, Unanswered> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // From here on the system drops answers of all others.
    socket.connect(server).await?;
    socket.send(&question.to_bytes()).await?;
    let mut buffer = [0; MOST_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(reply) = question.read(&buffer[..length]) {
            return reply.map_err(Unanswered::Error);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Question) -> Result<DnsReply, Unanswered> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = question.to_bytes();
    // A question has a few hundred bytes at most.
    let mut framed = (bytes.len() as u16).to_be_bytes().to_vec();
    framed.extend(bytes);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    match question.read(&answer) {
        Some(reply) => reply.map_err(Unanswered::Error),
        None => Err(Unanswered::Error("an answer to another question".to_owned())),
    }
}

fn random() -> Result<u16, Unanswered> {
    let mut bytes = [0; 2];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(std::io::Error::from)?;
    Ok(u16::from_ne_bytes(bytes))
}
