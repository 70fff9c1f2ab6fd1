// SPDX-License-Identifier: Apache-2.0
//! Members by a service of Kubernetes: `kubernetes:default/app:http`. Its EndpointSlices are listed
//! and then watched; a list is taken when it is complete.

pub mod slices;
mod watch;

use std::cell::{Cell, RefCell};
use std::env;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use balance::settings::KubernetesPlace;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode, body::Incoming};
use net::{HttpTarget, Link, Stage};
use serde::Deserialize;
use tokio::time::Instant;

use self::slices::{SliceChange, Slices};
use self::watch::{Heard, Watch};
use crate::source::{Look, PolledSource};
use crate::web::{self, TokenFile, WebClient, escaped};
use crate::{Listed, ListingRules};

/// The folder of a pod's account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Slices of a page.
const PAGE: usize = 100;
/// Most bytes of all pages.
const MOST: usize = 64 << 20;
/// Changes that follow each other so soon are told together.
const TOGETHER: Duration = Duration::from_millis(50);
/// After watches that end at once, and lists that are gone at once, however often.
const SPACE: Duration = Duration::from_secs(1);
/// From one list to the next where the account may list and not watch.
const UNWATCHED: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct KubernetesSource {
    place: KubernetesPlace,
    rules: ListingRules,
    server: String,
    token_file: Option<TokenFile>,
    /// The token that was sent last: another one may have been written since.
    sent: RefCell<Option<String>>,
    client: WebClient,
    /// None: they are to be listed.
    slices: Option<Slices>,
    watch: Option<Watch>,
    /// It was told that the account may not watch.
    is_denied: bool,
    /// A look was begun and has not ended.
    is_looking: bool,
    known: Option<Arc<Listed>>,
}

/// The answer to the wish to watch.
enum Begun {
    /// The watch is open.
    Open,
    /// The version is gone.
    Gone,
    /// The account may not watch, for this reason.
    Denied(String),
}

/// The URL of the API server as pods find it.
fn own_server() -> String {
    let [host, port] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].map(env::var);
    match (host, port) {
        (Ok(host), Ok(port)) if host.contains(':') => format!("https://[{host}]:{port}"),
        (Ok(host), Ok(port)) => format!("https://{host}:{port}"),
        // apache2ctl starts httpd without the environment.
        _ => "https://kubernetes.default.svc".to_owned(),
    }
}

impl KubernetesSource {
    /// Relative paths are below `root`.
    pub(crate) fn new(place: KubernetesPlace, rules: ListingRules, root: &Path) -> Self {
        let own = |file: &str| place.server.is_none().then(|| format!("{ACCOUNT}/{file}"));
        let token_file = place.token_file.clone().or_else(|| own("token")).map(|path| root.join(path));
        let ca = place.ca.clone().or_else(|| own("ca.crt"));
        KubernetesSource {
            server: place.server.clone().unwrap_or_else(own_server),
            token_file: token_file.map(|path: PathBuf| TokenFile::new("token_file", path)),
            sent: RefCell::default(),
            client: WebClient::new(ca.as_ref(), root),
            place,
            rules,
            slices: None,
            watch: None,
            is_denied: false,
            is_looking: false,
            known: None,
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.place.timeout_ms)
    }

    /// Sends a question about the slices of the service.
    async fn ask(&self, query: &str, stage: &Cell<Stage>) -> Result<(Link, Response<Incoming>), String> {
        let (namespace, service, _) = self.place.parts();
        let target = HttpTarget::parse(&format!(
            "{}/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector={}&{query}",
            self.server.trim_end_matches('/'),
            escaped(namespace),
            escaped(&format!("kubernetes.io/service-name={service}"))
        ))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(file) = &self.token_file {
            let token = file.read()?;
            headers.insert(header::AUTHORIZATION, web::secret(&format!("Bearer {token}"))?);
            self.sent.replace(Some(token));
        }
        self.client.send(&target, headers, self.timeout(), stage).await
    }

    /// Lists all slices.
    async fn list(&self) -> Result<Slices, String> {
        let stage = Cell::new(Stage::Lookup);
        let work = async {
            match self.pages(&stage).await? {
                Some(slices) => Ok(slices),
                // The list has grown too old on the way.
                None => match self.pages(&stage).await? {
                    Some(slices) => Ok(slices),
                    None => Err("HTTP 410: the list is gone before its last page".to_owned()),
                },
            }
        };
        web::within(self.timeout(), &stage, work).await
    }

    async fn pages(&self, stage: &Cell<Stage>) -> Result<Option<Slices>, String> {
        let (mut slices, mut next, mut bytes) = (Slices::default(), String::new(), 0);
        loop {
            let query = match next.is_empty() {
                true => format!("limit={PAGE}"),
                false => format!("limit={PAGE}&continue={}", escaped(&next)),
            };
            let answer = self.ask(&query, stage).await?;
            if answer.1.status() == StatusCode::GONE && !next.is_empty() {
                return Ok(None);
            }
            let (_, body) = web::read_good(answer, &|body| self.reason(body)).await?;
            bytes += body.len();
            if bytes > MOST {
                return Err(format!("the list has more than {} MiB", MOST >> 20));
            }
            match slices.page(&body)? {
                Some(token) => next = token,
                None => return Ok(Some(slices)),
            }
        }
    }

    /// The reason in an answer's body, without the token.
    fn reason(&self, body: &[u8]) -> String {
        #[derive(Deserialize)]
        struct Status {
            message: String,
        }
        let status = serde_json::from_slice(body).map(|Status { message }| message);
        self.hide(&status.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned()))
    }

    fn hide(&self, text: &str) -> String {
        web::hide(self.sent.borrow().as_deref(), text)
    }

    /// Begins to watch.
    async fn begin(&mut self, version: &str) -> Result<Begun, String> {
        let stage = Cell::new(Stage::Lookup);
        let seconds = self.place.every_ms.div_ceil(1000);
        let version = escaped(version);
        let query =
            format!("watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={seconds}");
        let work = async {
            let answer = self.ask(&query, &stage).await?;
            match answer.1.status() {
                StatusCode::GONE => Ok(Err(Begun::Gone)),
                StatusCode::OK => Ok(Ok(answer)),
                status => {
                    let refused =
                        web::read_good(answer, &|body| self.reason(body)).await.map(|_| Begun::Gone);
                    match refused {
                        Err(why) if status == StatusCode::FORBIDDEN => Ok(Err(Begun::Denied(why))),
                        other => other.map(Err),
                    }
                }
            }
        };
        let (link, answer) = match web::within(self.timeout(), &stage, work).await? {
            Ok(answer) => answer,
            Err(other) => return Ok(other),
        };
        let most = Duration::from_secs(seconds) + self.timeout();
        self.watch = Some(Watch::new(link, answer.into_body(), most));
        self.is_denied = false;
        Ok(Begun::Open)
    }

    /// The account may not watch. The first time that is an error; then the list is asked for now
    /// and then instead, and each time whether it may be watched by now.
    fn unwatched(&mut self, slices: Slices, why: &str) -> Result<(Arc<Listed>, Duration), String> {
        if !std::mem::replace(&mut self.is_denied, true) {
            let every_s = UNWATCHED.as_secs();
            return Err(format!("it may be listed and not watched, and is listed every {every_s}s: {why}"));
        }
        let list = self.take(slices)?;
        self.slices = None;
        Ok((list, UNWATCHED))
    }

    /// The list as the slices are now, and how long to leave the server alone.
    async fn find(&mut self) -> Result<(Arc<Listed>, Duration), String> {
        let Some(mut slices) = self.slices.take() else {
            return Ok((self.list_anew().await?, Duration::ZERO));
        };
        if self.watch.is_none() {
            match self.begin(&slices.version).await? {
                Begun::Open => {}
                Begun::Gone => return Ok((self.list_anew().await?, SPACE)),
                Begun::Denied(why) => return self.unwatched(slices, &why),
            }
        }
        let mut until: Option<Instant> = None;
        while let Some(watch) = &mut self.watch {
            let heard = match until {
                None => watch.next().await?,
                Some(until) => match tokio::time::timeout_at(until, watch.next()).await {
                    Ok(heard) => heard?,
                    Err(_) => break,
                },
            };
            match heard {
                Heard::End => {
                    let is_quick = watch.age() < SPACE;
                    self.watch = None;
                    let pause = if is_quick { SPACE } else { Duration::ZERO };
                    return Ok((self.take(slices)?, pause));
                }
                Heard::Line(line) => match slices.event(&line)? {
                    SliceChange::Slices => {
                        until.get_or_insert_with(|| Instant::now() + TOGETHER);
                    }
                    SliceChange::Version => {}
                    SliceChange::Gone => return Ok((self.list_anew().await?, SPACE)),
                },
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                break;
            }
        }
        Ok((self.take(slices)?, Duration::ZERO))
    }

    async fn list_anew(&mut self) -> Result<Arc<Listed>, String> {
        self.watch = None;
        let slices = self.list().await?;
        self.take(slices)
    }

    /// Keeps slices, and the list of them.
    fn take(&mut self, slices: Slices) -> Result<Arc<Listed>, String> {
        let (_, _, port) = self.place.parts();
        let mut listed = slices.members(port, self.rules)?;
        listed.first_skipped = self.hide(&listed.first_skipped);
        self.slices = Some(slices);
        let same = self.known.take().filter(|known| **known == listed);
        Ok(self.known.insert(same.unwrap_or_else(|| Arc::new(listed))).clone())
    }

    /// The next look lists the slices.
    fn forget(&mut self) {
        (self.slices, self.watch) = (None, None);
        self.client.forget();
    }
}

impl PolledSource for KubernetesSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            if std::mem::replace(&mut self.is_looking, true) {
                self.forget();
            }
            let found = self.find().await;
            self.is_looking = false;
            match found {
                Ok((list, pause)) => Look::List(list, pause),
                Err(why) => {
                    self.forget();
                    Look::Failed(web::shown(self.sent.borrow().as_deref(), &why))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
