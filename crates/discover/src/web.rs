// SPDX-License-Identifier: Apache-2.0
//! Questions of sources to web servers: a connection each, with one deadline, and a token from a
//! file. Redirects are not followed, which would send the token to another server.

use std::cell::Cell;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use net::{Failure, HttpTarget, Link, Payload, Resolver, Stage, TlsConfigs, printable};
use tokio::time::Instant;

/// Most bytes of an answer, packed or not.
pub(crate) const MOST: usize = 16 << 20;
/// Most bytes of a token file.
const MOST_TOKEN: u64 = 64 << 10;
/// Most bytes of an answer that says why there is none.
const MOST_WORDS: usize = 4096;
/// Most characters of an error.
const MOST_SHOWN: usize = 400;
/// How long a slow lookup may hold up a question where old addresses are known.
const LOOKUP: Duration = Duration::from_millis(500);

/// One server's client.
pub(crate) struct WebClient {
    ca: Option<String>,
    resolver: Resolver,
    tls: TlsConfigs,
}

impl WebClient {
    /// A relative path of certificates is below `root`.
    pub(crate) fn new(ca: Option<&String>, root: &Path) -> Self {
        let ca = ca.map(|path| root.join(path).to_string_lossy().into_owned());
        WebClient { ca, resolver: Resolver::new(net::system()), tls: TlsConfigs::new() }
    }

    /// Something has failed: the next question reads the certificates anew.
    pub(crate) fn forget(&mut self) {
        self.tls = TlsConfigs::new();
    }

    /// Sends a GET. The answer's header is there, its body is not.
    pub(crate) async fn send(
        &self,
        target: &HttpTarget,
        mut headers: HeaderMap,
        timeout: Duration,
        stage: &Cell<Stage>,
    ) -> Result<(Link, Response<Incoming>), String> {
        let deadline = Instant::now() + timeout;
        let link = self.connect(target, (timeout, deadline), stage).await;
        let mut link = link.map_err(|failure| failure.to_string().replace(" (see sni=)", ""))?;
        headers.insert(header::HOST, target.host_header.clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static("mod_lua_balancer"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let mut request = Request::new(Payload::default());
        (*request.uri_mut(), *request.headers_mut()) = (target.uri.clone(), headers);
        stage.set(Stage::Header);
        let hint = |why| hint(target, why);
        let answer = link.send(request).await.map_err(|error| match error.is_parse() {
            true => hint(net::words(&error)),
            false => net::words(&error),
        })?;
        stage.set(Stage::Body);
        // A server may put the token into it, which the caller hides before it cuts the text.
        if let 301 | 302 | 303 | 307 | 308 = answer.status().as_u16() {
            let to = answer.headers().get(header::LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
            let (to, status) = (String::from_utf8_lossy(to), answer.status().as_u16());
            return Err(format!("HTTP {status}: redirects are not followed, it leads to \"{to}\""));
        }
        Ok((link, answer))
    }

    async fn connect(
        &self,
        target: &HttpTarget,
        (timeout, deadline): (Duration, Instant),
        stage: &Cell<Stage>,
    ) -> Result<Link, Failure> {
        let addresses = target.place.addresses(&self.resolver, LOOKUP.min(timeout) * 4, stage).await?;
        let (mut stream, peer) = target.place.connect(&addresses, deadline, stage).await?;
        if let Some(name) = &target.server_name {
            stream = net::handshake(&self.tls, (true, self.ca.as_deref()), name, stream, stage).await?;
        }
        Link::new(stream, peer).await
    }
}

/// With a hint for URLs without TLS.
pub(crate) fn hint(target: &HttpTarget, why: String) -> String {
    if target.server_name.is_some() { why } else { format!("{why}; ports of https answer so to http://") }
}

/// A whole body.
pub(crate) async fn read_whole(link: &mut Link, mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = link.piece(&mut body).await.map_err(|error| net::words(&error))? {
        if bytes.len() + piece.len() > MOST {
            return Err(too_long());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// The body of an answer that is wanted; else an error with the first words of the server's.
/// `words`: the reason in a body, without secrets.
pub(crate) async fn read_good(
    (mut link, answer): (Link, Response<Incoming>),
    words: &dyn Fn(&[u8]) -> String,
) -> Result<(HeaderMap, Vec<u8>), String> {
    let status = answer.status();
    let (parts, mut body) = answer.into_parts();
    if status == StatusCode::OK {
        return Ok((parts.headers, read_whole(&mut link, body).await?));
    }
    let mut bytes = Vec::new();
    let _ = link.read(&mut body, MOST_WORDS, Some(&mut bytes)).await;
    if bytes.len() >= MOST_WORDS {
        // Cut, and perhaps within the token: see `net::hidden`.
        bytes.extend_from_slice("…".as_bytes());
    }
    Err(refusal(status, &words(&bytes)))
}

/// The words for an answer of another status.
pub(crate) fn refusal(status: StatusCode, why: &str) -> String {
    match printable(why.trim(), 200) {
        why if why.is_empty() => format!("HTTP {}, expected 200", status.as_u16()),
        why => format!("HTTP {}: {why}", status.as_u16()),
    }
}

pub(crate) fn too_long() -> String {
    format!("the answer has more than {} MiB", MOST >> 20)
}

/// Ends work that takes too long, in words that say where it was.
pub(crate) async fn within<T>(
    timeout: Duration,
    stage: &Cell<Stage>,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let timed_out = || Err(Failure::TimedOut { after: timeout, stage: stage.get() }.to_string());
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| timed_out())
}

/// A token's file, read again for each question.
pub(crate) struct TokenFile {
    key: &'static str,
    path: PathBuf,
}

impl TokenFile {
    /// `key`: the setting that names it.
    pub(crate) fn new(key: &'static str, path: PathBuf) -> Self {
        TokenFile { key, path }
    }

    /// The token as it stands there now. It is in no error.
    pub(crate) fn read(&self) -> Result<String, String> {
        let bad = |why: &str| format!("{}={}: {why}", self.key, self.path.display());
        let mut text = String::new();
        let opened = std::fs::metadata(&self.path).and_then(|meta| match meta.is_file() {
            true => std::fs::File::open(&self.path)?.take(MOST_TOKEN).read_to_string(&mut text),
            false => Err(std::io::Error::other("it is not a regular file")),
        });
        opened.map_err(|error| bad(&error.to_string()))?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("expected one token of ASCII letters, digits and signs in one line"));
        }
        Ok(token.to_owned())
    }
}

/// A value of a header that is in no text for people.
pub(crate) fn secret(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "the token cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// A text without the token, which a server may have sent back.
pub(crate) fn hide(token: Option<&str>, text: &str) -> String {
    net::hidden(token.unwrap_or_default(), text)
}

/// The begin of such a text, for a line.
pub(crate) fn shown(token: Option<&str>, text: &str) -> String {
    printable(&hide(token, text), MOST_SHOWN)
}

/// A part of a URL's path or query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
