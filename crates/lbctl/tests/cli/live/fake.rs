// SPDX-License-Identifier: Apache-2.0
//! A server that says whatever a test wants, on a Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The answer to a request.
#[derive(Clone)]
pub enum Line {
    /// A document, with an ETag.
    Json(String),
    /// A status, a type and a text.
    Text(u16, &'static str, String),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// These bytes again and again, for as long as somebody reads.
    Endless(Vec<u8>),
    /// Nothing, for so long.
    Silence(Duration),
}

/// A server. It ends with the test's process.
pub struct Fake {
    pub path: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Beginnings of request lines such as `GET /api/v1/pools`, the longest that fits decides.
    pub fn new(folder: &Path, name: &str, lines: Vec<(&'static str, Line)>) -> Self {
        let path = folder.join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let notes = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (lines, notes) = (lines.clone(), notes.clone());
                thread::spawn(move || answer(stream, &lines, &notes));
            }
        });
        Fake { path, asked }
    }

    /// Says the same to every request.
    pub fn saying(folder: &Path, line: Line) -> Self {
        Fake::new(folder, "fake.sock", vec![("", line)])
    }

    /// Requests so far: method, target, If-Match and body.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(stream: UnixStream, lines: &[(&'static str, Line)], notes: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length, mut tag) = (String::new(), 0, String::new());
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "if-match" => tag = format!(" {}", value.trim()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let target = first.trim().trim_end_matches(" HTTP/1.1");
    notes.lock().unwrap().push(format!("{target}{tag} {}", String::from_utf8_lossy(&body)).trim().to_owned());
    let fits = |(start, _): &&(&str, Line)| target.starts_with(start);
    let found = lines.iter().filter(fits).max_by_key(|(start, _)| start.len());
    speak(reader.into_inner(), found.map(|(_, line)| line));
}

fn speak(mut stream: UnixStream, line: Option<&Line>) {
    let nothing =
        r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"/x: there is nothing here"}"#;
    let nothing = Line::Text(404, "application/problem+json", nothing.to_owned());
    let whole = |status: u16, kind: &str, body: &str| {
        let size = body.len();
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nETag: \"7.9\"\r\nContent-Length: {size}");
        format!("{head}\r\nConnection: close\r\n\r\n{body}").into_bytes()
    };
    let sent = match line.unwrap_or(&nothing) {
        Line::Json(body) => stream.write_all(&whole(200, "application/json", body)),
        Line::Text(status, kind, body) => stream.write_all(&whole(*status, kind, body)),
        Line::Raw(bytes) => stream.write_all(bytes),
        Line::Silence(time) => {
            thread::sleep(*time);
            Ok(())
        }
        Line::Endless(bytes) => {
            while stream.write_all(bytes).is_ok() {}
            Ok(())
        }
    };
    // A client that has gone away gets nothing.
    let _ = sent;
}
