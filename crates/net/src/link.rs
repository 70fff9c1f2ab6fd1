// SPDX-License-Identifier: Apache-2.0
//! One HTTP/1.1 connection. It has no task of its own: the future that waits for it
//! drives it, so that a kept connection costs nothing until its next use.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

use crate::dial::Stream;
use crate::failure::{Failure, io_words};

/// Most bytes of an answer's header, and of one read.
const MAX_HEADER: usize = 32 * 1024;
/// The body of a request.
pub type Payload = Full<Bytes>;

type Driver = Connection<TokioIo<Stream>, Payload>;

/// A connection, in use or kept.
pub struct Link {
    sender: SendRequest<Payload>,
    driver: Option<Driver>,
    /// None for a unix socket.
    pub peer: Option<SocketAddr>,
    /// A kept connection's place among the kept ones.
    pub place: Option<OwnedSemaphorePermit>,
}

impl Link {
    /// Over a connection that is there.
    ///
    /// # Errors
    /// It has ended.
    pub async fn new(stream: Stream, peer: Option<SocketAddr>) -> Result<Self, Failure> {
        let made = Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEADER)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, driver) = made.map_err(|error| Failure::Exchange(words(&error)))?;
        Ok(Link { sender, driver: Some(driver), peer, place: None })
    }

    /// Sends a request; ends when the answer's header is there.
    ///
    /// # Errors
    /// See [`words`].
    pub async fn send(&mut self, request: Request<Payload>) -> Result<Response<Incoming>, hyper::Error> {
        let Link { sender, driver, .. } = self;
        drive(driver, async {
            sender.ready().await?;
            sender.send_request(request).await
        })
        .await
    }

    /// Reads a body to its end, or until `most` bytes were seen; appends them to `keep`. Says
    /// whether the end was reached.
    ///
    /// # Errors
    /// See [`words`].
    pub async fn read(
        &mut self,
        body: &mut Incoming,
        most: usize,
        mut keep: Option<&mut Vec<u8>>,
    ) -> Result<bool, hyper::Error> {
        let mut left = most;
        while let Some(frame) = drive(&mut self.driver, body.frame()).await {
            let Ok(data) = frame?.into_data() else { continue };
            if let Some(keep) = keep.as_deref_mut() {
                keep.extend_from_slice(&data[..data.len().min(left)]);
            }
            if data.len() >= left {
                return Ok(hyper::body::Body::is_end_stream(body));
            }
            left -= data.len();
        }
        Ok(true)
    }

    /// The next piece of a body; None at its end.
    ///
    /// # Errors
    /// See [`words`].
    pub async fn piece(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = drive(&mut self.driver, body.frame()).await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Whether the connection takes another request, as far as can be told without waiting.
    pub async fn is_reusable(&mut self) -> bool {
        let Link { sender, driver, .. } = self;
        poll_fn(|cx| {
            step(driver, cx);
            Poll::Ready(matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
        })
        .await
    }
}

/// Awaits `work` while the connection runs.
async fn drive<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        step(driver, cx);
        work.as_mut().poll(cx)
    })
    .await
}

/// Errors of a connection reach its request too, so they are not looked at here.
fn step(driver: &mut Option<Driver>, cx: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
        *driver = None;
    }
}

/// Whether a request failed because its kept connection had ended meanwhile.
pub fn was_dead(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || io_error(error).is_some()
}

/// The words for a failed answer.
pub fn words(error: &hyper::Error) -> String {
    // The kind has no accessor of its own.
    if error.is_parse() && error.to_string().contains("too large") {
        return "the answer's header has more than 32 KiB or 100 lines".into();
    }
    if error.is_parse() {
        return format!("the answer is not HTTP: {error}");
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "the connection was closed before the answer was complete".into();
    }
    match io_error(error) {
        Some(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
            "the connection was closed before the answer was complete".into()
        }
        Some(cause) => io_words(cause),
        None => error.to_string(),
    }
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}
