// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 messages as bytes, for both ends of the tests. Lenient on purpose: hostile bytes pass
//! through.

use std::io::{self, BufRead, ErrorKind, Read};

/// Header fields in order, names as received.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name`, compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether `name` lists `token`, without case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().any(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
    }

    fn is_chunked(&self) -> bool {
        self.lists("Transfer-Encoding", "chunked")
    }
}

/// Start line and header fields. `None` when the peer closed before the first byte.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let Some(start) = read_line(reader)? else { return Ok(None) };
    let mut headers = Headers::default();
    loop {
        let line = read_line(reader)?.ok_or_else(|| cut_short("inside the header"))?;
        if line.is_empty() {
            return Ok(Some((start, headers)));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.0.push((name.trim().to_owned(), value.trim().to_owned()));
    }
}

/// A body as the header announces it. `until_close` says whether a body without a length runs to
/// the end of the connection (responses) or is empty (requests).
pub fn read_body(reader: &mut impl BufRead, headers: &Headers, until_close: bool) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.is_chunked() {
        read_chunks(reader, &mut body)?;
    } else if let Some(length) = headers.get("Content-Length").and_then(|text| text.parse::<u64>().ok()) {
        reader.take(length).read_to_end(&mut body)?;
        if (body.len() as u64) < length {
            return Err(cut_short("inside the body"));
        }
    } else if until_close {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?.ok_or_else(|| cut_short("before a chunk"))?;
        let digits = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(digits, 16)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("chunk size {line:?}")))?;
        if size == 0 {
            while read_line(reader)?.is_some_and(|trailer| !trailer.is_empty()) {}
            return Ok(());
        }
        let before = body.len() as u64;
        reader.by_ref().take(size).read_to_end(body)?;
        if body.len() as u64 - before < size {
            return Err(cut_short("inside a chunk"));
        }
        read_line(reader)?;
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(cut_short("inside a line"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

fn cut_short(place: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, format!("connection closed {place}"))
}

/// FNV-1a over a body: enough to see that it arrived as it was sent.
pub fn body_hash(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
