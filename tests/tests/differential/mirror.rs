// SPDX-License-Identifier: Apache-2.0
//! A member that shows what it was asked: the very bytes of the head, and the body.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A member on a port of its own. It answers as the request's `X-Answer` says.
pub struct Mirror {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    /// Listens, and serves in threads that end with the process.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || while serve(&stream, &shared, port).is_some() {});
            }
        });
        Self { port, seen }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requests since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("the list"))
    }
}

/// One request; None when the connection is over. Nothing is read ahead, as nothing is sent before
/// its answer.
fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>, port: u16) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.read_until(b'\n', &mut head).ok()? == 0 {
            return None;
        }
        if head[before..] == *b"\r\n" {
            break;
        }
    }
    let text = head.escape_ascii().to_string().replace("\\r\\n", "\n");
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let mut body = Vec::new();
    if let Some(length) = field("Content-Length") {
        reader.by_ref().take(length.parse().ok()?).read_to_end(&mut body).ok()?;
    } else if field("Transfer-Encoding").is_some() {
        read_chunks(&mut reader, &mut body)?;
    }
    seen.lock().expect("the list").push(format!("{text}{}", body.escape_ascii()));
    let kind: usize = field("X-Answer").and_then(|kind| kind.parse().ok()).unwrap_or(0);
    let is_head = text.starts_with("HEAD ");
    (&mut &*stream).write_all(&answer(kind, port, &text, is_head)).ok()?;
    (kind != CLOSES).then_some(())
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        reader.by_ref().take(size).read_to_end(body).ok()?;
        reader.read_line(&mut line).ok()?;
        if size == 0 {
            return Some(());
        }
    }
}

/// How many kinds of answers there are.
pub const KINDS: usize = 20;
const CLOSES: usize = 11;

fn answer(kind: usize, port: u16, asked: &str, is_head: bool) -> Vec<u8> {
    let own = format!("http://127.0.0.1:{port}");
    let (line, headers) = match kind {
        1 => ("302 Found", format!("Location: {own}/there?x=1#f\r\n")),
        2 => ("302 Found", "Location: /a/there?x=1\r\n".into()),
        3 => ("201 Created", format!("Location: {own}/base/new\r\nContent-Location: {own}/new\r\n")),
        4 => (
            "200 OK",
            "Set-Cookie: a=b; Path=/base; Domain=127.0.0.1\r\nSet-Cookie: c=d; path=/; HttpOnly\r\n".into(),
        ),
        5 => ("304 Not Modified", "ETag: \"x\"\r\n".into()),
        6 => ("404 Not Found", "X-Kind: missing\r\n".into()),
        7 => ("500 Internal Server Error", String::new()),
        8 => ("204 No Content", String::new()),
        9 => ("200 Fine", "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n".into()),
        10 => (
            "302 Found",
            "Location: https://elsewhere.example/x\r\nURI: http://elsewhere.example/\r\n".into(),
        ),
        CLOSES => ("200 OK", "Connection: close\r\n".into()),
        12 => ("206 Partial Content", "Content-Range: bytes 0-9/100\r\n".into()),
        13 => ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n".into()),
        14 => ("503 Service Unavailable", "Retry-After: 7\r\n".into()),
        15 => (
            "200 OK",
            "Set-Cookie: c=1; Domain=example\r\nVary: Cookie\r\nVia: 1.0 other\r\nServer: own\r\n".into(),
        ),
        16 => ("302 Found", format!("Location: {own}\r\n")),
        17 => ("302 Found", format!("Location: {}/base/UP\r\n", own.to_uppercase().replace("HTTP", "hTTp"))),
        18 => ("299 Odd words", "X-Empty:\r\nX-Long: a, b,\tc\r\nKeep-Alive: timeout=5\r\n".into()),
        19 => (
            "302 Found",
            format!("Location: {own}/a%20b/%3F%ff\r\nURI: {own}/uri\r\nDestination: {own}/d\r\n"),
        ),
        _ => ("200 OK", "Content-Type: text/plain\r\n".into()),
    };
    let mut out = format!("HTTP/1.1 {line}\r\n{headers}").into_bytes();
    if matches!(kind, 5 | 8) {
        out.extend_from_slice(b"\r\n");
    } else if kind == 9 {
        out.extend_from_slice(b"\r\n");
        if !is_head {
            out.extend_from_slice(
                format!("{:x}\r\n{asked}\r\n0\r\nX-T: yes\r\n\r\n", asked.len()).as_bytes(),
            );
        }
    } else {
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", asked.len()).as_bytes());
        if !is_head {
            out.extend_from_slice(asked.as_bytes());
        }
    }
    out
}
