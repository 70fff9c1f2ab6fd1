// SPDX-License-Identifier: Apache-2.0
//! Loopback ports that stay ours: a bound socket that never listens keeps the number out of other
//! tests' reach, refuses connections while nobody listens, and leaves room for one listener beside
//! it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use socket2::{Domain, Socket, Type};

/// A reserved port of a loopback address. Connections to it are refused until somebody listens.
#[derive(Debug)]
pub struct ReservedPort {
    _socket: Socket,
    ip: Ipv4Addr,
    port: u16,
}

impl ReservedPort {
    /// Takes a free port of 127.0.0.1 from the kernel.
    pub fn new() -> Self {
        let socket = bound_socket(Ipv4Addr::LOCALHOST, 0);
        let port = socket.local_addr().expect("local address").as_socket().expect("IPv4 address").port();
        Self { _socket: socket, ip: Ipv4Addr::LOCALHOST, port }
    }

    /// The same port of another loopback address.
    pub fn twin(&self, ip: Ipv4Addr) -> Self {
        Self { _socket: bound_socket(ip, self.port), ip, port: self.port }
    }

    /// The number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A listener on the port; the reservation stays.
    pub fn listen(&self) -> TcpListener {
        let socket = bound_socket(self.ip, self.port);
        socket.listen(1024).expect("listen on a reserved port");
        socket.into()
    }
}

impl Default for ReservedPort {
    fn default() -> Self {
        Self::new()
    }
}

/// A port where connections neither come about nor are refused: its queue is full and nobody
/// accepts.
#[derive(Debug)]
pub struct Blackhole {
    listener: Socket,
    _waiting: Vec<Socket>,
}

impl Blackhole {
    /// A full port.
    pub fn new() -> Self {
        let listener = bound_socket(Ipv4Addr::LOCALHOST, 0);
        listener.listen(0).expect("listen on a loopback port");
        let address = listener.local_addr().expect("local address");
        let waiting = (0..8).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
            socket.set_nonblocking(true).expect("O_NONBLOCK");
            let _ = socket.connect(&address);
            socket
        });
        Self { _waiting: waiting.collect(), listener }
    }

    /// The number.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("local address").as_socket().expect("IPv4 address").port()
    }
}

impl Default for Blackhole {
    fn default() -> Self {
        Self::new()
    }
}

fn bound_socket(ip: Ipv4Addr, port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    let address = SocketAddr::V4(SocketAddrV4::new(ip, port));
    socket.bind(&address.into()).expect("bind a loopback port");
    socket
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_reserved_port_refuses_until_somebody_listens_and_again_after() {
        let reserved = ReservedPort::new();
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, reserved.port()));
        assert!(connect().is_err());
        let listener = reserved.listen();
        assert!(connect().is_ok());
        drop(listener);
        assert!(connect().is_err());
    }
}
