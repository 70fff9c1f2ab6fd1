// SPDX-License-Identifier: Apache-2.0
//! Lists that a web server gives: `http:https://cmdb/app.json`. Each poll is a connection of its
//! own with one deadline, and gives the whole list or an error.

use std::cell::Cell;
use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use balance::settings::HttpPlace;
use flate2::read::MultiGzDecoder;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use net::{Failure, HttpTarget, Link, Payload, Resolver, Stage, TlsConfigs, printable};
use tokio::time::Instant;
use xxhash_rust::xxh64::xxh64;

use crate::source::{Look, PolledSource};
use crate::{Listed, ListingRules, listing};

/// Most bytes of a list, packed or not.
const MOST: usize = 16 << 20;
/// Most bytes of a token file.
const MOST_TOKEN: u64 = 64 << 10;
/// How long a slow lookup may hold up a poll where old addresses are known.
const LOOKUP: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct HttpSource {
    place: HttpPlace,
    rules: ListingRules,
    bearer_file: Option<PathBuf>,
    ca: Option<String>,
    resolver: Resolver,
    tls: TlsConfigs,
    known: Option<Known>,
}

/// The last answer that was a whole text, whatever it said.
struct Known {
    /// Its `ETag` and `Last-Modified`.
    marks: [Option<HeaderValue>; 2],
    hash: u64,
    found: Result<Arc<Listed>, String>,
}

impl HttpSource {
    /// Relative paths are below `root`.
    pub(crate) fn new(place: HttpPlace, rules: ListingRules, root: &Path) -> Self {
        let below = |path: &String| root.join(path);
        HttpSource {
            bearer_file: place.bearer_file.as_ref().map(below),
            ca: place.ca.as_ref().map(|path| below(path).to_string_lossy().into_owned()),
            place,
            rules,
            resolver: Resolver::new(net::system()),
            tls: TlsConfigs::new(),
            known: None,
        }
    }

    /// The result of a poll, in whose words a server's echo of the token does not stand.
    async fn poll(&mut self) -> Result<Arc<Listed>, String> {
        let sent = self.bearer_file.as_deref().and_then(|file| bearer(file).ok());
        let token = sent.as_ref().and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let hide = |text: &str| token.map_or_else(|| text.to_owned(), |token| text.replace(token, "***"));
        self.poll_once(&hide).await.map_err(|why| hide(&why))
    }

    async fn poll_once(&mut self, hide: &dyn Fn(&str) -> String) -> Result<Arc<Listed>, String> {
        let timeout = Duration::from_millis(self.place.timeout_ms);
        let stage = Cell::new(Stage::Lookup);
        let work = self.exchange(timeout, &stage);
        let done = tokio::time::timeout(timeout, work).await;
        let timed_out = || Err(Failure::TimedOut { after: timeout, stage: stage.get() }.to_string());
        let answer = done.unwrap_or_else(|_| timed_out());
        if answer.is_err() {
            // The next poll reads `ca=` anew: it may have been the reason.
            self.tls = TlsConfigs::new();
        }
        self.take(answer?, hide)
    }

    /// Makes the answer's list the known one.
    fn take(&mut self, answer: Answer, hide: &dyn Fn(&str) -> String) -> Result<Arc<Listed>, String> {
        let Answer::Text { marks, bytes } = answer else {
            let known = self.known.as_ref().ok_or("the answer is 304, which was not asked for")?;
            return known.found.clone();
        };
        let hash = xxh64(&bytes, 0);
        let known = self.known.take().filter(|known| known.hash == hash);
        let found = known.map_or_else(
            || {
                let mut list =
                    listing::read(&bytes, self.rules).map_err(|problem| hide(&problem.to_string()))?;
                list.first_skipped = hide(&list.first_skipped);
                Ok(Arc::new(list))
            },
            |known| known.found,
        );
        self.known = Some(Known { marks, hash, found: found.clone() });
        found
    }

    async fn exchange(&self, timeout: Duration, stage: &Cell<Stage>) -> Result<Answer, String> {
        let target = HttpTarget::parse(&self.place.url)?;
        let request = self.request(&target)?;
        let deadline = Instant::now() + timeout;
        let link = self.connect(&target, (timeout, deadline), stage).await;
        let mut link = link.map_err(|failure| failure.to_string().replace(" (see sni=)", ""))?;
        stage.set(Stage::Header);
        let is_plain = target.server_name.is_none();
        let hint = |why, is_odd: bool| match is_plain && is_odd {
            true => format!("{why}; ports of https answer so to http://"),
            false => why,
        };
        let answer = link.send(request).await.map_err(|error| hint(net::words(&error), error.is_parse()))?;
        judge(&answer).map_err(|why| hint(why, answer.status() == StatusCode::BAD_REQUEST))?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Answer::Same);
        }
        stage.set(Stage::Body);
        let is_packed = is_packed(answer.headers())?;
        let marks = [header::ETAG, header::LAST_MODIFIED].map(|name| answer.headers().get(name).cloned());
        let (mut incoming, mut bytes) = (answer.into_body(), Vec::new());
        while let Some(piece) = link.piece(&mut incoming).await.map_err(|error| net::words(&error))? {
            if bytes.len() + piece.len() > MOST {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        let bytes = if is_packed { unpack(&bytes)? } else { bytes };
        Ok(Answer::Text { marks, bytes })
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

    fn request(&self, target: &HttpTarget) -> Result<Request<Payload>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, target.host_header.clone());
        for (name, value) in [
            (header::USER_AGENT, "mod_lua_balancer"),
            (header::ACCEPT, "application/json, text/plain;q=0.9, */*;q=0.1"),
            (header::ACCEPT_ENCODING, "gzip"),
            (header::CONNECTION, "close"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(file) = &self.bearer_file {
            headers.insert(header::AUTHORIZATION, bearer(file)?);
        }
        let marks = self.known.iter().flat_map(|known| &known.marks);
        for (name, mark) in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].into_iter().zip(marks) {
            if let Some(mark) = mark {
                headers.insert(name, mark.clone());
            }
        }
        let mut request = Request::new(Payload::default());
        (*request.uri_mut(), *request.headers_mut()) = (target.uri.clone(), headers);
        Ok(request)
    }
}

impl PolledSource for HttpSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            let pause = Duration::from_millis(self.place.every_ms);
            Look { found: self.poll().await, pause }
        })
    }
}

/// An answer that is whole.
enum Answer {
    /// As last time.
    Same,
    Text {
        marks: [Option<HeaderValue>; 2],
        bytes: Vec<u8>,
    },
}

/// Refuses answers without a list: redirects too, which would send the token to another server.
fn judge<B>(answer: &Response<B>) -> Result<(), String> {
    let status = answer.status();
    match status.as_u16() {
        200 | 304 => Ok(()),
        301 | 302 | 303 | 307 | 308 => {
            let to = answer.headers().get(header::LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
            let to = printable(&String::from_utf8_lossy(to), 200);
            Err(format!("HTTP {}: redirects are not followed, it leads to \"{to}\"", status.as_u16()))
        }
        status => Err(format!("HTTP {status}, expected 200 or 304")),
    }
}

fn is_packed(headers: &HeaderMap) -> Result<bool, String> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(false) };
    match coding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Ok(true),
        b"identity" => Ok(false),
        other => {
            let other = printable(&String::from_utf8_lossy(other), 60);
            Err(format!("the answer's Content-Encoding is {other}, expected gzip or none"))
        }
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let decoder = MultiGzDecoder::new(bytes);
    let done = decoder.take(MOST as u64 + 1).read_to_end(&mut text);
    done.map_err(|error| format!("the answer is not gzip, or a part of it: {error}"))?;
    if text.len() > MOST { Err(too_long()) } else { Ok(text) }
}

fn too_long() -> String {
    format!("the answer has more than {} MiB", MOST >> 20)
}

/// `Authorization` with the token as it stands in its file now. The token is in no error.
fn bearer(file: &Path) -> Result<HeaderValue, String> {
    let bad = |why: &str| format!("bearer_file={}: {why}", file.display());
    let mut text = String::new();
    let opened = std::fs::File::open(file).and_then(|open| match open.metadata()?.is_file() {
        true => open.take(MOST_TOKEN).read_to_string(&mut text),
        false => Err(std::io::Error::other("it is not a regular file")),
    });
    opened.map_err(|error| bad(&error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("expected one token of ASCII letters, digits and signs in one line"));
    }
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| bad("it cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
