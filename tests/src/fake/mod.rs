// SPDX-License-Identifier: Apache-2.0
//! Servers that sources of members ask, whose answers, good and bad, a test writes: one connection,
//! one request, one answer.

mod consul;
mod kubernetes;

pub use self::consul::{ConsulManner, FakeConsul};
pub use self::kubernetes::{FakeKubernetes, KubernetesManner};

use std::io::{BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::message::{Headers, read_head};
use crate::ports::ReservedPort;

/// How often an answer that waits looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(10);

/// A request.
#[derive(Debug, Clone)]
pub struct Question {
    /// The path.
    pub path: String,
    /// Keys and values of the query, as written.
    pub query: Vec<(String, String)>,
    /// Header fields.
    pub headers: Headers,
}

impl Question {
    fn of(line: &str, headers: Headers) -> Self {
        let target = line.split(' ').nth(1).unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pair = |text: &str| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        };
        Question { path: path.to_owned(), query: pairs.map(pair).collect(), headers }
    }

    /// The value of a key of the query.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// The connection of a question, for its answer.
pub struct Reply<'a> {
    stream: &'a TcpStream,
    ended: &'a AtomicBool,
}

impl Reply<'_> {
    /// A whole answer with these lines of its header.
    pub fn whole(&mut self, status: u16, headers: &[(&str, String)], body: &str) {
        let length = body.len();
        let head = head(status, headers);
        self.send(&format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"));
    }

    /// The beginning of an answer whose chunks follow.
    pub fn chunked(&mut self, headers: &[(&str, String)]) {
        self.send(&format!("{}Transfer-Encoding: chunked\r\n\r\n", head(200, headers)));
    }

    /// One chunk; false when nobody listens any more.
    pub fn chunk(&mut self, text: &str) -> bool {
        self.send(&format!("{:x}\r\n{text}\r\n", text.len()))
    }

    /// The end of chunks.
    pub fn last_chunk(&mut self) {
        self.send("0\r\n\r\n");
    }

    /// Bytes as they are; false when nobody listens any more.
    pub fn send(&mut self, text: &str) -> bool {
        (&mut &*self.stream).write_all(text.as_bytes()).is_ok()
    }

    /// Waits for a condition, at most for this long. False: the time is up, or nobody listens any
    /// more.
    pub fn wait(&self, most: Duration, mut is_true: impl FnMut() -> bool) -> bool {
        let mut left = most;
        while !is_true() {
            if left.is_zero() || self.is_over() {
                return false;
            }
            thread::sleep(TURN);
            left = left.saturating_sub(TURN);
        }
        true
    }

    /// Whether the server or its client has ended.
    pub fn is_over(&self) -> bool {
        let mut byte = [0];
        let _ = self.stream.set_nonblocking(true);
        let is_closed = matches!(self.stream.peek(&mut byte), Ok(0));
        let _ = self.stream.set_nonblocking(false);
        is_closed || self.ended.load(Ordering::SeqCst)
    }
}

fn head(status: u16, headers: &[(&str, String)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Words\r\n{lines}")
}

/// A server on a loopback port of its own, ended when dropped.
pub struct FakeServer {
    reserved: ReservedPort,
    ended: Arc<AtomicBool>,
    questions: Arc<Mutex<Vec<Question>>>,
}

impl FakeServer {
    /// A server that answers so, each question in a thread of its own.
    pub fn start(answer: impl Fn(&Question, &mut Reply<'_>) + Send + Sync + 'static) -> Self {
        let reserved = ReservedPort::new();
        let listener = reserved.listen();
        let ended = Arc::new(AtomicBool::new(false));
        let questions = Arc::new(Mutex::default());
        let (is_over, asked, answer) = (Arc::clone(&ended), Arc::clone(&questions), Arc::new(answer));
        thread::spawn(move || serve(&listener, &is_over, &asked, &answer));
        FakeServer { reserved, ended, questions }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.reserved.port()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The questions so far.
    pub fn questions(&self) -> Vec<Question> {
        lock(&self.questions).clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The thread that accepts sees it.
        let _ = TcpStream::connect(("127.0.0.1", self.port()));
    }
}

type Answer = dyn Fn(&Question, &mut Reply<'_>) + Send + Sync;

fn serve<A>(
    listener: &TcpListener,
    ended: &Arc<AtomicBool>,
    asked: &Arc<Mutex<Vec<Question>>>,
    answer: &Arc<A>,
) where
    A: Fn(&Question, &mut Reply<'_>) + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let (ended, asked, answer) = (Arc::clone(ended), Arc::clone(asked), Arc::clone(answer));
        thread::spawn(move || {
            one(&stream, &ended, &asked, &*answer);
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
}

fn one(stream: &TcpStream, ended: &AtomicBool, asked: &Mutex<Vec<Question>>, answer: &Answer) {
    let Ok(Some((line, headers))) = read_head(&mut BufReader::new(stream)) else { return };
    let question = Question::of(&line, headers);
    lock(asked).push(question.clone());
    answer(&question, &mut Reply { stream, ended });
}

/// The value, whatever has become of those who had it.
pub(crate) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
