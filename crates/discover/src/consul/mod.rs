// SPDX-License-Identifier: Apache-2.0
//! Members by a service of Consul: `consul:http://127.0.0.1:8500/app`. The agent is asked by
//! blocking queries: it answers when its index has grown, or after the time that was asked for.

pub mod answer;

use std::cell::Cell;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::settings::ConsulPlace;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use net::{HttpTarget, Stage};

use crate::source::{Look, PolledSource};
use crate::web::{self, TokenFile, WebClient, escaped};
use crate::{Listed, ListingRules};

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const INDEX: &str = "x-consul-index";
/// Set where the token may not read all: the answer is whole for it, and lacks what is hidden.
const FILTERED: &str = "x-consul-results-filtered-by-acls";
/// From one question to the next: an index that grows all the time asks no more often.
const SPACE: Duration = Duration::from_millis(100);
/// The same where an agent answers at once though it was to wait.
const LONG_SPACE: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct ConsulSource {
    place: ConsulPlace,
    rules: ListingRules,
    token_file: Option<TokenFile>,
    client: WebClient,
    /// The index of the last answer; 0: the next one is to come at once.
    index: u64,
    /// A question was sent whose answer was not read.
    is_asking: bool,
    known: Option<Arc<Listed>>,
}

impl ConsulSource {
    /// Relative paths are below `root`.
    pub(crate) fn new(place: ConsulPlace, rules: ListingRules, root: &Path) -> Self {
        let token = |path: &String| TokenFile::new("token_file", root.join(path));
        ConsulSource {
            token_file: place.token_file.as_ref().map(token),
            client: WebClient::new(place.ca.as_ref(), root),
            place,
            rules,
            index: 0,
            is_asking: false,
            known: None,
        }
    }

    fn url(&self) -> String {
        let (agent, service) = self.place.parts();
        let mut url = format!("{agent}/v1/health/service/{}?", escaped(service));
        let mut add = |key: &str, value: &str| url.push_str(&format!("{key}={}&", escaped(value)));
        if self.place.passing {
            add("passing", "1");
        }
        for (key, value) in [("tag", &self.place.tag), ("dc", &self.place.dc)] {
            if let Some(value) = value {
                add(key, value);
            }
        }
        if self.index > 0 {
            add("index", &self.index.to_string());
            add("wait", &format!("{}ms", self.place.every_ms));
        }
        url.pop();
        url
    }

    async fn ask(&mut self) -> Result<(Arc<Listed>, Duration), String> {
        let token = self.token_file.as_ref().map(TokenFile::read).transpose()?;
        let hide = |text: &str| web::hide(token.as_deref(), text);
        let mut headers = HeaderMap::new();
        if let Some(token) = &token {
            headers.insert(TOKEN, web::secret(token)?);
        }
        // The agent adds up to a sixteenth, so that not all come back at once.
        let waits = if self.index > 0 { self.place.every_ms + self.place.every_ms / 16 } else { 0 };
        let timeout = Duration::from_millis(self.place.timeout_ms + waits);
        let (asked, stage) = (Instant::now(), Cell::new(Stage::Lookup));
        let target = HttpTarget::parse(&self.url())?;
        let work = async {
            let answer = self.client.send(&target, headers, timeout, &stage).await?;
            web::read_good(answer, &|body| hide(&String::from_utf8_lossy(body))).await
        };
        let answer = web::within(timeout, &stage, work).await;
        let (headers, body) = answer.map_err(|why| web::shown(token.as_deref(), &why))?;
        let mut listed = answer::read(&body, self.rules).map_err(|why| hide(&why))?;
        if headers.get(FILTERED).is_some_and(|value| value == "true") {
            return Err("the token may not read all instances (X-Consul-Results-Filtered-By-ACLs)".into());
        }
        listed.first_skipped = hide(&listed.first_skipped);
        let was = self.index;
        self.index = next_index(was, headers.get(INDEX));
        let is_early =
            self.index <= was.max(1) && asked.elapsed() < Duration::from_millis(self.place.every_ms);
        let same = self.known.take().filter(|known| **known == listed);
        let listed = self.known.insert(same.unwrap_or_else(|| Arc::new(listed))).clone();
        Ok((listed, if is_early && was > 0 { LONG_SPACE } else { SPACE }))
    }
}

/// The index to ask by: Consul's own rules. One that has gone back begins anew, since the state
/// behind it is another one; without a number, or with 0, it would be asked without a pause.
fn next_index(last: u64, said: Option<&HeaderValue>) -> u64 {
    match said.and_then(|value| value.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0).max(1) {
        index if index < last => 0,
        index => index,
    }
}

impl PolledSource for ConsulSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            if std::mem::replace(&mut self.is_asking, true) {
                // Somebody wants it now.
                self.index = 0;
            }
            let found = self.ask().await;
            self.is_asking = false;
            match found {
                Ok((list, pause)) => Look::List(list, pause),
                Err(why) => {
                    self.index = 0;
                    self.client.forget();
                    Look::Failed(why)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
