// SPDX-License-Identifier: Apache-2.0
//! Lists that a web server gives: `http:https://cmdb/app.json`. Each poll is a connection of its
//! own with one deadline, and gives the whole list or an error.

use std::cell::Cell;
use std::future::Future;
use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use balance::settings::HttpPlace;
use flate2::read::MultiGzDecoder;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use net::{HttpTarget, Stage, printable};
use xxhash_rust::xxh64::xxh64;

use crate::source::{Look, PolledSource};
use crate::web::{self, MOST, TokenFile, WebClient};
use crate::{Listed, ListingRules, listing};

/// See the module.
pub(crate) struct HttpSource {
    place: HttpPlace,
    rules: ListingRules,
    bearer_file: Option<TokenFile>,
    /// The token of this poll.
    token: Option<String>,
    client: WebClient,
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
        let token = |path: &String| TokenFile::new("bearer_file", root.join(path));
        HttpSource {
            bearer_file: place.bearer_file.as_ref().map(token),
            token: None,
            client: WebClient::new(place.ca.as_ref(), root),
            place,
            rules,
            known: None,
        }
    }

    /// The result of a poll, in whose words a server's echo of the token does not stand.
    async fn poll(&mut self) -> Result<Arc<Listed>, String> {
        // As it is sent: another one may be written meanwhile.
        let token = self.bearer_file.as_ref().map(TokenFile::read).transpose()?;
        self.token.clone_from(&token);
        let hide = |text: &str| web::hide(token.as_deref(), text);
        self.poll_once(&hide).await.map_err(|why| web::shown(token.as_deref(), &why))
    }

    async fn poll_once(&mut self, hide: &dyn Fn(&str) -> String) -> Result<Arc<Listed>, String> {
        let timeout = Duration::from_millis(self.place.timeout_ms);
        let stage = Cell::new(Stage::Lookup);
        let answer = web::within(timeout, &stage, self.exchange(timeout, &stage)).await;
        if answer.is_err() {
            // It may have been the reason.
            self.client.forget();
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
        let (mut link, answer) = self.client.send(&target, self.headers()?, timeout, stage).await?;
        judge(&target, &answer)?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Answer::Same);
        }
        let is_packed = is_packed(answer.headers())?;
        let marks = [header::ETAG, header::LAST_MODIFIED].map(|name| answer.headers().get(name).cloned());
        let bytes = web::read_whole(&mut link, answer.into_body()).await?;
        let bytes = if is_packed { unpack(&bytes)? } else { bytes };
        Ok(Answer::Text { marks, bytes })
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let accepted = HeaderValue::from_static("application/json, text/plain;q=0.9, */*;q=0.1");
        headers.insert(header::ACCEPT, accepted);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, web::secret(&format!("Bearer {token}"))?);
        }
        let marks = self.known.iter().flat_map(|known| &known.marks);
        for (name, mark) in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].into_iter().zip(marks) {
            if let Some(mark) = mark {
                headers.insert(name, mark.clone());
            }
        }
        Ok(headers)
    }
}

impl PolledSource for HttpSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            let pause = Duration::from_millis(self.place.every_ms);
            self.poll().await.map_or_else(Look::Failed, |list| Look::List(list, pause))
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

/// Refuses answers without a list.
fn judge<B>(target: &HttpTarget, answer: &Response<B>) -> Result<(), String> {
    let why = |status| format!("HTTP {status}, expected 200 or 304");
    match answer.status().as_u16() {
        200 | 304 => Ok(()),
        400 => Err(web::hint(target, why(400))),
        status => Err(why(status)),
    }
}

fn is_packed(headers: &HeaderMap) -> Result<bool, String> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(false) };
    match coding.as_bytes().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Ok(true),
        b"identity" => Ok(false),
        _ => {
            // As it was sent: the token is looked for in it.
            let other = printable(&String::from_utf8_lossy(coding.as_bytes()), 60);
            Err(format!("the answer's Content-Encoding is {other}, expected gzip or none"))
        }
    }
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let decoder = MultiGzDecoder::new(bytes);
    let done = decoder.take(MOST as u64 + 1).read_to_end(&mut text);
    done.map_err(|error| format!("the answer is not gzip, or a part of it: {error}"))?;
    if text.len() > MOST { Err(web::too_long()) } else { Ok(text) }
}

#[cfg(test)]
pub(crate) mod tests;
