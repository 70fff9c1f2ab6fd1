// SPDX-License-Identifier: Apache-2.0
//! A door: connections are taken, and each is served beside the others.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::spawn_local;

use crate::connection::{Common, serve};
use crate::ender::Ender;
use crate::guests::{Guests, Present};
use crate::{Entrance, Listener, RemoteEnd};

/// How long a door rests when there are no descriptors.
const REST: Duration = Duration::from_millis(50);

/// A listening socket that this thread waits for.
enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// See the module.
pub(crate) struct OpenDoor {
    socket: Socket,
    common: Rc<Common>,
    pub(crate) guests: Rc<Guests>,
}

impl OpenDoor {
    /// To be called within the runtime.
    ///
    /// # Errors
    /// The system cannot wait for the socket.
    pub(crate) fn new(door: Entrance, ender: Ender) -> io::Result<Self> {
        let socket = match door.listener {
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Unix(UnixListener::from_std(listener)?)
            }
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Socket::Tcp(TcpListener::from_std(listener)?)
            }
        };
        let Entrance { limits, refuse, answer, aside, .. } = door;
        let common = Rc::new(Common { refuse, answer, aside, limits, ender, parked: Cell::new(0) });
        Ok(OpenDoor { socket, common, guests: Rc::default() })
    }

    /// Takes connections for ever.
    pub(crate) async fn run(self) {
        loop {
            if let Err(error) = self.take().await
                && error.kind() != io::ErrorKind::ConnectionAborted
            {
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn take(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred().map_or(RemoteEnd::Unknown, |peer| RemoteEnd::User(peer.uid()));
                spawn_local(serve(stream, peer, self.admit(), self.common.clone()));
            }
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small answers are not to wait for more.
                drop(stream.set_nodelay(true));
                let peer = RemoteEnd::Address(address.ip().to_canonical());
                spawn_local(serve(stream, peer, self.admit(), self.common.clone()));
            }
        }
        Ok(())
    }

    fn admit(&self) -> Present {
        let limits = self.common.limits;
        // The head's own limit ends a connection that sends nothing; this one is for the rest.
        self.guests.admit(limits.connections, limits.head * 2)
    }
}
