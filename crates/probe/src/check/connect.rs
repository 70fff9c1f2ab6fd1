//! Connections to members.

use std::io;
use std::net::{IpAddr, SocketAddr};

use balance::url::MemberUrl;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::Failure;
use crate::text::io_error;

/// Any connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where checks go.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Ip(SocketAddr),
    Name(String, u16),
    Unix(String),
}

impl Address {
    /// The member's, with `port=` if given. A unix socket has no port.
    pub fn new(url: &MemberUrl, port: Option<u16>) -> Self {
        let port = port.unwrap_or(url.port);
        match (&url.socket, url.host.parse::<IpAddr>()) {
            (Some(path), _) => Address::Unix(path.clone()),
            (None, Ok(ip)) => Address::Ip(SocketAddr::new(ip, port)),
            (None, Err(_)) => Address::Name(url.host.clone(), port),
        }
    }

    /// Connects; a name's addresses are tried in order, looked up anew each time.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, Failure> {
        let found = match self {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|e| Failure::Connect(io_error(&e)))?;
                return Ok(Box::new(stream));
            }
            Address::Ip(address) => vec![*address],
            Address::Name(host, port) => lookup_host((host.as_str(), *port))
                .await
                .map_err(|e| Failure::Resolve(format!("{host}: {}", io_error(&e))))?
                .collect(),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(Box::new(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(Failure::Connect(io_error(&last)))
    }
}
