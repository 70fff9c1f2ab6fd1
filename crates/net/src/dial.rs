// SPDX-License-Identifier: Apache-2.0
//! Connecting: TCP over IPv4 and IPv6, unix sockets, TLS on top.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::failure::{Failure, Stage};
use crate::resolve::Resolver;
use crate::tls::{TlsConfigs, handshake_words};

/// How long a slow lookup may hold up one whose old addresses are known.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(500);

/// Any connection.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}
/// Any connection, boxed.
pub type Stream = Box<dyn Duplex>;

/// Where somebody is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reach {
    Unix(PathBuf),
    Address(SocketAddr),
    Name { host: String, port: u16 },
}

impl Reach {
    /// A host (a name, or an address without brackets) and a port.
    pub fn at(host: &str, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Reach::Address(SocketAddr::new(ip, port)),
            Err(_) => Reach::Name { host: host.to_owned(), port },
        }
    }

    /// The addresses, in the resolver's order; none for a unix socket.
    ///
    /// # Errors
    /// The name cannot be looked up.
    pub async fn addresses(
        &self,
        resolver: &Resolver,
        timeout: Duration,
        stage: &Cell<Stage>,
    ) -> Result<Rc<[SocketAddr]>, Failure> {
        match self {
            Reach::Unix(_) => Ok(Rc::from([])),
            Reach::Address(address) => Ok(Rc::from([*address])),
            Reach::Name { host, port } => {
                stage.set(Stage::Lookup);
                let found = resolver.resolve(host, LOOKUP_PATIENCE.min(timeout / 4)).await?;
                Ok(found.iter().map(|address| with_port(*address, *port)).collect())
            }
        }
    }

    /// Connects to the first address that answers, and says which one.
    ///
    /// # Errors
    /// None does.
    pub async fn connect(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
        stage: &Cell<Stage>,
    ) -> Result<(Stream, Option<SocketAddr>), Failure> {
        stage.set(Stage::Connect);
        if let Reach::Unix(path) = self {
            let stream =
                UnixStream::connect(path).await.map_err(|error| Failure::connect(path.display(), &error))?;
            return Ok((Box::new(stream), None));
        }
        let mut failed = Failure::Settings("it has no address".into());
        for (at, address) in addresses.iter().enumerate() {
            match connect_one(*address, deadline, addresses.len() - at).await {
                Ok(stream) => return Ok((Box::new(stream), Some(*address))),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

/// All addresses but the last get their share of the time that is left; the last one runs into the
/// caller's own timeout.
async fn connect_one(address: SocketAddr, deadline: Instant, left: usize) -> Result<TcpStream, Failure> {
    let connecting = TcpStream::connect(address);
    let result = if left > 1 {
        let share =
            deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut);
        tokio::time::timeout(share, connecting).await.unwrap_or_else(|_| Err(timed_out()))
    } else {
        connecting.await
    };
    let stream = result.map_err(|error| Failure::connect(address, &error))?;
    // The request follows the end of a TLS handshake at once. Without this it would wait for an
    // acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// TLS over a connection; with `verify=` and `ca=`.
///
/// # Errors
/// The certificate, the handshake, or `ca=`.
pub async fn handshake(
    tls: &TlsConfigs,
    (verify, ca): (bool, Option<&str>),
    name: &ServerName<'static>,
    stream: Stream,
    stage: &Cell<Stage>,
) -> Result<Stream, Failure> {
    let config = tls.config(verify, ca)?;
    stage.set(Stage::Handshake);
    match TlsConnector::from(config).connect(name.clone(), stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(Failure::Tls(handshake_words(&error, &name.to_str()))),
    }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}
