// SPDX-License-Identifier: Apache-2.0
//! The stream of a connection, which is also looked at while an answer waits: whether its client is
//! still there.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

/// A stream in two hands: one reads and writes, the other one looks.
pub(crate) struct Shared<S>(Rc<RefCell<S>>);

impl<S> Shared<S> {
    pub(crate) fn new(stream: S) -> (Self, Rc<RefCell<S>>) {
        let stream = Rc::new(RefCell::new(stream));
        (Shared(stream.clone()), stream)
    }
}

/// Tells of a client that has hung up.
pub(crate) trait Line {
    /// Whether nobody waits for an answer any more. It reads nothing.
    fn is_dead(&self, cx: &mut Context<'_>) -> bool;
}

impl Line for RefCell<UnixStream> {
    /// A client that sends no more may still read: only one that has closed is gone.
    fn is_dead(&self, cx: &mut Context<'_>) -> bool {
        let stream = self.borrow();
        state(pin!(stream.ready(BOTH)).poll(cx)).is_write_closed()
    }
}

impl Line for RefCell<TcpStream> {
    /// Over TCP an end of what the client sends and a closed connection look the same. A client
    /// that asks so gets an answer that waits no longer.
    fn is_dead(&self, cx: &mut Context<'_>) -> bool {
        let stream = self.borrow();
        let state = state(pin!(stream.ready(BOTH)).poll(cx));
        state.is_write_closed() || state.is_read_closed()
    }
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The known state of a stream: an empty one, while it is neither readable nor writable.
fn state(ready: Poll<io::Result<Ready>>) -> Ready {
    match ready {
        Poll::Ready(Ok(ready)) => ready,
        Poll::Ready(Err(_)) => Ready::WRITE_CLOSED,
        Poll::Pending => Ready::EMPTY,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shared<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shared<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}
