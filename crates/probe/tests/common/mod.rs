// SPDX-License-Identifier: Apache-2.0
//! Members that behave as told, on loopback, and probers that watch them.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use balance::member::{Member, MemberSpec};
use balance::settings::{CheckKind, HealthCheck};
use balance::url::MemberUrl;
use probe::{CheckTarget, Observation, Prober};

/// How long a test waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A listening member.
pub struct Backend {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    requests: Receiver<String>,
}

impl Backend {
    /// Every connection gets a thread that runs `serve` with its number, from 0; its requests'
    /// heads go to `heads`.
    pub fn new(serve: impl Fn(usize, &mut Conversation) + Send + Sync + 'static) -> Self {
        Self::bound("127.0.0.1:0", serve).unwrap()
    }

    pub fn bound(
        at: &str,
        serve: impl Fn(usize, &mut Conversation) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (heads, requests) = channel();
        let (serve, counter) = (Arc::new(serve), connections.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serve, heads) = (serve.clone(), heads.clone());
                let number = counter.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let stream: Box<dyn Duplex> = Box::new(stream);
                    serve(number, &mut Conversation { stream: BufReader::new(stream), heads: Some(heads) });
                });
            }
        });
        Ok(Backend { address, connections, requests })
    }

    /// Answers every request with `answer`, and keeps the connection.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |_, talk| while talk.request().is_some() && talk.say(&answer) {})
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The head of the next request.
    pub fn request(&self) -> String {
        self.requests.recv_timeout(PATIENCE).unwrap()
    }
}

/// One connection of a member.
pub struct Conversation {
    pub stream: BufReader<Box<dyn Duplex>>,
    pub heads: Option<std::sync::mpsc::Sender<String>>,
}

impl Conversation {
    /// Reads a request's head; None at the end.
    pub fn request(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        if let Some(heads) = &self.heads {
            let _ = heads.send(head.clone());
        }
        Some(head)
    }

    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).and_then(|()| self.stream.get_mut().flush()).is_ok()
    }

    /// Keeps the connection until the other side closes it.
    pub fn hang(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub fn check(kind: CheckKind) -> HealthCheck {
    HealthCheck { timeout_ms: 10_000, jitter_percent: 0, ..HealthCheck::new(kind) }
}

pub fn url(host: &str, port: u16) -> MemberUrl {
    MemberUrl { scheme: "http".into(), host: host.into(), port, path: String::new(), socket: None }
}

pub fn target(key: u64, url: MemberUrl, check: &Arc<HealthCheck>) -> CheckTarget {
    let spec = MemberSpec { name: format!("{}:{}", url.host, url.port), ..MemberSpec::new(url) };
    let (slot, incarnation) = ((key >> 32) as u32, key as u32);
    let member = Arc::new(Member::new((slot, incarnation), slot, spec));
    CheckTarget { key, pool: "app".into(), member, check: check.clone() }
}

/// Turns until `count` observations are there.
pub fn observe(prober: &mut Prober, count: usize) -> Vec<Observation> {
    let until = Instant::now() + PATIENCE;
    let (waker, mut seen) = (prober.waker(), Vec::new());
    while seen.len() < count {
        assert!(Instant::now() < until, "{} of {count} observations came", seen.len());
        prober.turn(Duration::from_millis(500), &mut |observation| {
            seen.push(observation);
            if seen.len() >= count {
                waker.wake();
            }
        });
    }
    seen
}

/// One check of one member.
pub fn once(url: MemberUrl, check: HealthCheck) -> Observation {
    let mut prober = Prober::with_seed(1).unwrap();
    prober.set_targets(vec![target(1 << 32 | 1, url, &Arc::new(check))]);
    observe(&mut prober, 1).remove(0)
}

/// The trouble that kept the one check of one member from running.
pub fn trouble(url: MemberUrl, check: HealthCheck) -> String {
    let mut prober = Prober::with_seed(1).unwrap();
    prober.set_targets(vec![target(1 << 32 | 1, url, &Arc::new(check))]);
    let until = Instant::now() + PATIENCE;
    loop {
        prober.turn(Duration::from_millis(10), &mut |observation| panic!("{observation:?}"));
        if let Some(trouble) = prober.take_trouble() {
            return trouble;
        }
        assert!(Instant::now() < until, "no trouble came");
    }
}

/// One check of a backend.
pub fn once_at(backend: &Backend, check: HealthCheck) -> Observation {
    once(url(&backend.address.ip().to_string(), backend.address.port()), check)
}

/// A port that nobody listens on.
pub fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
