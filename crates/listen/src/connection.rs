// SPDX-License-Identifier: Apache-2.0
//! One connection: its requests read, answered one after the other.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming as Body};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use crate::ender::{Ender, Step};
use crate::guests::{Guest, Present};
use crate::line::{Line, Shared};
use crate::race::{First, first};
use crate::{AnswerWhen, Answerer, Aside, ConnectionLimits, Incoming, Outgoing, Refuser, RemoteEnd};

/// Most bytes of a head, which is also what is buffered of an answer in one piece.
const HEAD: usize = 64 << 10;
/// Bytes of a body that are read beyond its limit.
const MOST_FORGOTTEN: usize = 16 << 20;
/// How long a client of whom nothing more is wanted may send nothing.
const SILENCE: Duration = Duration::from_secs(1);

/// The parts that the connections of a door share.
pub(crate) struct Common {
    pub(crate) refuse: Refuser,
    pub(crate) answer: Answerer,
    pub(crate) aside: Option<Aside>,
    pub(crate) limits: ConnectionLimits,
    pub(crate) ender: Ender,
    /// Connections whose answers wait.
    pub(crate) parked: Cell<usize>,
}

/// One connection whose answer waits, until this value's end.
struct ParkedPlace<'c>(&'c Cell<usize>);

impl<'c> ParkedPlace<'c> {
    fn new(count: &'c Cell<usize>) -> Self {
        count.set(count.get() + 1);
        ParkedPlace(count)
    }
}

impl Drop for ParkedPlace<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Common {
    async fn answered(&self, incoming: Incoming, (guest, line): (&Guest, &dyn Line)) -> Outgoing {
        let is_read = matches!(incoming.method.as_str(), "GET" | "HEAD");
        let Some(aside) = self.aside.clone().filter(|_| !is_read) else {
            return match (self.answer)(incoming) {
                AnswerWhen::Now(outgoing) => outgoing,
                // Half of the places are for those that do not wait, also when the other half is
                // that of clients whose machine has gone without a word.
                AnswerWhen::Later(parked) if self.parked.get() >= self.limits.connections / 2 => {
                    parked.answer_now()
                }
                AnswerWhen::Later(parked) => {
                    let _place = ParkedPlace::new(&self.parked);
                    guest.begins(parked.wait + self.limits.answer);
                    parked.answer(&self.ender, line).await
                }
            };
        };
        let answered = tokio::task::spawn_blocking(move || aside(incoming)).await;
        answered.unwrap_or_else(|_| Outgoing { status: 500, ..Outgoing::default() })
    }
}

/// Serves a connection until it ends, or has to.
pub(crate) async fn serve<S>(stream: S, peer: RemoteEnd, present: Present, common: Rc<Common>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    RefCell<S>: Line,
{
    let guest = present.guest.clone();
    let (stream, line) = Shared::new(stream);
    let service = service_fn(|request| {
        let (guest, line, common) = (guest.clone(), line.clone(), common.clone());
        async move { Ok::<_, Infallible>(respond(request, peer, (&guest, &*line), &common).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(common.limits.head);
    builder.max_buf_size(HEAD).half_close(true);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // A client's errors are its own affair.
    let finished = first(connection.as_mut(), first(guest.is_over(), guest.finish.notified())).await;
    if let First::Other(First::Other(())) = finished {
        connection.as_mut().graceful_shutdown();
        first(connection, guest.is_over()).await;
    }
}

async fn respond(
    request: Request<Body>,
    peer: RemoteEnd,
    (guest, line): (&Guest, &dyn Line),
    common: &Common,
) -> Response<Full<Bytes>> {
    guest.begins(common.limits.body + common.limits.answer);
    let is_head = request.method() == Method::HEAD;
    let outgoing = match read(request, peer, common).await {
        Ok(incoming) => {
            // One that sends many requests at once takes its turn like the others.
            tokio::task::yield_now().await;
            common.answered(incoming, (guest, line)).await
        }
        Err(refused) => refused,
    };
    guest.answers(common.limits.answer);
    let mut response = response(outgoing, is_head);
    if common.ender.has_come_to(Step::Leaves) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to a request that breaks the rules of HTTP itself. The connection ends: the rest of
/// the request may come yet.
fn refused(status: u16, words: &str) -> Outgoing {
    let headers =
        vec![("content-type", "text/plain; charset=utf-8".to_owned()), ("connection", "close".to_owned())];
    Outgoing { status, headers, body: format!("{words}\n").into_bytes() }
}

/// Reads a request. Err: its answer, which hangs on no body.
async fn read(request: Request<Body>, peer: RemoteEnd, common: &Common) -> Result<Incoming, Outgoing> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if !path.starts_with('/') {
        return Err(refused(400, "the request's target is not a path"));
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    let mut incoming = Incoming {
        method: head.method.as_str().to_owned(),
        path: path.to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: headers.collect(),
        body: Vec::new(),
        peer,
    };
    if body.is_end_stream() {
        return Ok(incoming);
    }
    if let Some(mut refused) = (common.refuse)(&incoming) {
        refused.headers.push(("connection", "close".to_owned()));
        // It runs when this task waits next. The answer's head is written then, so that nobody is
        // told to go on with the body (`Expect: 100-continue`).
        spawn_local(forget(body, common.limits.body));
        return Err(refused);
    }
    incoming.body = read_body(body, common.limits).await?;
    Ok(incoming)
}

/// Takes what comes of a body that nobody wants, beside its answer: a connection that is closed
/// with something unread may take the answer with it.
async fn forget(mut body: Body, most: Duration) {
    let all = async {
        let mut forgotten = 0;
        while forgotten <= MOST_FORGOTTEN
            && let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE, body.frame()).await
        {
            forgotten += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Its end is the connection's, whichever it was.
    drop(tokio::time::timeout(most, all).await);
}

/// A body. Bytes beyond the limit are read as well, within bounds, and forgotten: a connection that
/// is closed with something unread may take the answer with it.
async fn read_body(mut body: Body, limits: ConnectionLimits) -> Result<Vec<u8>, Outgoing> {
    let (mut kept, mut forgotten) = (Vec::new(), 0);
    let all = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Err(refused(400, "the request's body broke off")) };
            let Some(data) = frame.data_ref() else { continue };
            let wanted = data.len().min(limits.most_body - kept.len());
            kept.extend_from_slice(data.get(..wanted).unwrap_or_default());
            forgotten += data.len() - wanted;
            if forgotten > MOST_FORGOTTEN {
                break;
            }
        }
        Ok(())
    };
    match tokio::time::timeout(limits.body, all).await {
        Ok(Ok(())) => Ok(kept),
        Ok(Err(refused)) => Err(refused),
        Err(_) => Err(refused(408, "the request's body did not come in time")),
    }
}

fn response(outgoing: Outgoing, is_head: bool) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let length = outgoing.body.len();
    let body = if is_head { Bytes::new() } else { outgoing.body.into() };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in outgoing.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    if is_head && length > 0 && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    response
}
