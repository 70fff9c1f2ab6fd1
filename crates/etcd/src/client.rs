// SPDX-License-Identifier: Apache-2.0
//! Asking: one endpoint at a time, a deadline for each question, and the next endpoint after one
//! that has not answered.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use balance::settings::EtcdPlace;
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use net::{Failure, HttpTarget, Link, Payload, Resolver, Stage, TlsConfigs};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::EtcdError;
use crate::secret::{Secrets, password};
use crate::watch::Watch;
use crate::wire::{self, Granted, MOST, Range, RangeQuery, Transacted, Transaction, WatchAnswer};

/// The number of gRPC for a token that does not hold (any more),
const UNAUTHENTICATED: i64 = 16;
/// and those of a server that cannot work: no leader, or no answer of it in time.
const CANNOT: [i64; 2] = [14, 4];
/// How long a slow lookup may hold up a question where old addresses are known.
const LOOKUP: Duration = Duration::from_millis(500);

/// Where an etcd is, and as whom it is asked. Relative paths are the caller's affair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdPlaces {
    /// `http://host:port` or `https://host:port`, one at least.
    pub endpoints: Vec<String>,
    /// The user; None: etcd asks for none.
    pub user: Option<String>,
    /// The file with the user's password, read at each login.
    pub password_file: Option<PathBuf>,
    /// The certificates that are trusted; None: the system's store.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// For a whole question.
    pub timeout: Duration,
}

impl EtcdPlaces {
    /// The places of a directive; relative paths are below `root`.
    pub fn of(place: &EtcdPlace, root: &Path) -> Self {
        let below = |path: &Option<String>| path.as_ref().map(|path| root.join(path));
        EtcdPlaces {
            endpoints: place.endpoints().into_iter().map(str::to_owned).collect(),
            user: place.user.clone(),
            password_file: below(&place.password_file),
            ca: below(&place.ca),
            identity: below(&place.cert).zip(below(&place.key)),
            timeout: Duration::from_millis(place.timeout_ms),
        }
    }
}

/// See the module. It is used by one task.
pub struct EtcdClient {
    places: EtcdPlaces,
    at: usize,
    link: Option<Link>,
    token: Option<HeaderValue>,
    secrets: Secrets,
    resolver: Resolver,
    tls: TlsConfigs,
}

/// How far a question has come.
#[derive(Default)]
struct Way {
    /// Somebody may have read it.
    sent: Cell<bool>,
    stage: Cell<Option<Stage>>,
}

impl EtcdClient {
    /// Nobody is asked yet.
    pub fn new(places: EtcdPlaces) -> Self {
        EtcdClient {
            tls: tls(&places),
            places,
            at: 0,
            link: None,
            token: None,
            secrets: Secrets::default(),
            resolver: Resolver::new(net::system()),
        }
    }

    /// The place of the endpoint that is asked next among all.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Asks this endpoint next, and those behind it then.
    pub fn begin_at(&mut self, at: usize) {
        if at != self.at && at < self.places.endpoints.len() {
            self.at = at;
            (self.link, self.token) = (None, None);
        }
    }

    /// How many endpoints there are.
    pub fn endpoints(&self) -> usize {
        self.places.endpoints.len()
    }

    /// The endpoint that is asked next.
    pub fn endpoint(&self) -> &str {
        self.places.endpoints.get(self.at).map_or("", String::as_str)
    }

    /// Asks the next endpoint from now on.
    pub fn turn(&mut self) {
        self.at = (self.at + 1) % self.places.endpoints.len().max(1);
        (self.link, self.token) = (None, None);
        // `ca=` and its like are read anew: they may have been the reason.
        self.tls = tls(&self.places);
    }

    /// A text of the server, without the password and the token where it has sent them back.
    pub fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }

    /// Keys as they are now, as the majority of the cluster has them.
    ///
    /// # Errors
    /// See [`EtcdError`]; nothing was changed.
    pub async fn range(&mut self, query: &RangeQuery<'_>) -> Result<Range, EtcdError> {
        let text = self.ask("/v3/kv/range", &query.body(), true).await?;
        self.read(&text, wire::read_range)
    }

    /// Carries a transaction out, at most once.
    ///
    /// # Errors
    /// See [`EtcdError`] and [`EtcdError::may_have_landed`].
    pub async fn transact(&mut self, transaction: &Transaction) -> Result<Transacted, EtcdError> {
        let text = self.ask("/v3/kv/txn", &transaction.body(), false).await?;
        self.read(&text, wire::read_transacted)
    }

    /// A lease that ends so many seconds after it was renewed last.
    ///
    /// # Errors
    /// See [`EtcdError`]; a lease that nobody knows of ends by itself.
    pub async fn grant(&mut self, ttl: u32) -> Result<Granted, EtcdError> {
        let text = self.ask("/v3/lease/grant", &json!({ "TTL": ttl.to_string() }), true).await?;
        self.read(&text, wire::read)
    }

    /// Renews a lease. One that has ended already has no seconds left.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn keep_alive(&mut self, lease: i64) -> Result<Granted, EtcdError> {
        let text = self.ask("/v3/lease/keepalive", &json!({ "ID": lease.to_string() }), true).await?;
        self.read(&text, wire::read_result)
    }

    /// Ends a lease, and its keys with it.
    ///
    /// # Errors
    /// See [`EtcdError`]; also when there is no such lease.
    pub async fn revoke(&mut self, lease: i64) -> Result<(), EtcdError> {
        self.ask("/v3/lease/revoke", &json!({ "ID": lease.to_string() }), true).await.map(|_| ())
    }

    /// Watches all keys that begin with `prefix`, from a revision on. Returns once the server has
    /// said that it does, with a connection of its own.
    ///
    /// # Errors
    /// See [`EtcdError`].
    pub async fn watch(&mut self, prefix: &str, from: i64) -> Result<Watch, EtcdError> {
        let body = wire::watch_body(prefix, from);
        let deadline = Instant::now() + self.places.timeout;
        let mut is_second = false;
        loop {
            let way = Way::default();
            let opened = self.open(&body, &way, deadline);
            let opened = tokio::time::timeout_at(deadline, opened).await;
            let (watch, created) = match opened.unwrap_or_else(|_| Err(self.timed_out(&way))) {
                Ok(opened) => opened,
                Err(error) => {
                    self.turn();
                    return Err(error);
                }
            };
            if !created.canceled {
                return Ok(watch);
            }
            let message = created.cancel_reason;
            let is_token = message.contains("Unauthenticated") || is_old_token(&message);
            if !is_token || is_second {
                let message = self.secrets.shown(&message);
                return Err(EtcdError::Refused { endpoint: self.endpoint().to_owned(), code: 0, message });
            }
            (self.token, is_second) = (None, true);
        }
    }

    async fn open(
        &mut self,
        body: &Value,
        way: &Way,
        deadline: Instant,
    ) -> Result<(Watch, WatchAnswer), EtcdError> {
        self.log_in(way, deadline).await?;
        let mut link = self.connect(way, deadline).await?;
        let answer = self.send(&mut link, ("/v3/watch", body), way).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            let text = self.whole(&mut link, answer).await?;
            return Err(self.refusal(status, &text));
        }
        let mut watch =
            Watch::new(link, answer.into_body(), self.endpoint().to_owned(), self.secrets.clone());
        let created = watch.next().await?;
        match created.created {
            true => Ok((watch, created)),
            false => Err(self.garbage("the watch does not begin with \"created\"".into())),
        }
    }

    /// Asks, after a login where one is needed. `again`: it may be asked twice.
    async fn ask(&mut self, path: &str, body: &Value, again: bool) -> Result<Vec<u8>, EtcdError> {
        let deadline = Instant::now() + self.places.timeout;
        let way = Way::default();
        let asked = tokio::time::timeout_at(deadline, self.ask_as_user((path, body), again, &way, deadline));
        let asked = asked.await.unwrap_or_else(|_| Err(self.timed_out(&way)));
        match &asked {
            Ok(_) | Err(EtcdError::Refused { .. }) => {}
            Err(_) => self.turn(),
        }
        asked
    }

    async fn ask_as_user(
        &mut self,
        question: (&str, &Value),
        again: bool,
        way: &Way,
        deadline: Instant,
    ) -> Result<Vec<u8>, EtcdError> {
        self.log_in(way, deadline).await?;
        let refused = match self.exchange(question, again, way, deadline).await {
            Err(EtcdError::Refused { code, message, .. })
                if self.places.user.is_some() && (code == UNAUTHENTICATED || is_old_token(&message)) =>
            {
                // It has expired, or the server has been started anew; it did nothing.
                self.token = None;
                self.log_in(way, deadline).await
            }
            other => return other,
        };
        refused?;
        self.exchange(question, again, way, deadline).await
    }

    async fn log_in(&mut self, way: &Way, deadline: Instant) -> Result<(), EtcdError> {
        #[derive(serde::Deserialize)]
        struct Answer {
            token: String,
        }
        let Some(user) = self.places.user.clone().filter(|_| self.token.is_none()) else { return Ok(()) };
        let file = self.places.password_file.as_deref().unwrap_or(Path::new(""));
        let password = password(file).map_err(EtcdError::Settings)?;
        self.secrets.keep_password(&password);
        let body = json!({ "name": user, "password": password });
        let text = self.exchange(("/v3/auth/authenticate", &body), true, way, deadline).await?;
        // The question itself has not been asked yet.
        way.sent.set(false);
        let answer: Answer = self.read(&text, wire::read)?;
        self.secrets.keep_token(&answer.token);
        let mut value = HeaderValue::from_str(&answer.token)
            .map_err(|_| self.garbage("its token cannot stand in a header".into()))?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(())
    }

    /// One question and its answer, over the kept connection if there is one that lives.
    async fn exchange(
        &mut self,
        question: (&str, &Value),
        again: bool,
        way: &Way,
        deadline: Instant,
    ) -> Result<Vec<u8>, EtcdError> {
        let mut kept = self.link.take();
        if let Some(link) = &mut kept
            && !link.is_reusable().await
        {
            kept = None;
        }
        let was_kept = kept.is_some();
        let mut link = match kept {
            Some(link) => link,
            None => self.connect(way, deadline).await?,
        };
        let answer = match self.send(&mut link, question, way).await {
            Err(EtcdError::Away { .. }) if was_kept && again => {
                link = self.connect(way, deadline).await?;
                self.send(&mut link, question, way).await?
            }
            answer => answer?,
        };
        let status = answer.status();
        let text = self.whole(&mut link, answer).await?;
        self.link = Some(link);
        if status == StatusCode::OK { Ok(text) } else { Err(self.refusal(status, &text)) }
    }

    async fn connect(&self, way: &Way, deadline: Instant) -> Result<Link, EtcdError> {
        let target = HttpTarget::parse(self.endpoint()).map_err(EtcdError::Settings)?;
        let stage = Cell::new(Stage::Lookup);
        way.stage.set(Some(Stage::Connect));
        let connecting = async {
            let patience = LOOKUP.min(self.places.timeout) * 4;
            let addresses = target.place.addresses(&self.resolver, patience, &stage).await?;
            let (mut stream, peer) = target.place.connect(&addresses, deadline, &stage).await?;
            if let Some(name) = &target.server_name {
                let ca = self.places.ca.as_ref().map(|ca| ca.to_string_lossy());
                stream = net::handshake(&self.tls, (true, ca.as_deref()), name, stream, &stage).await?;
            }
            Link::new(stream, peer).await
        };
        connecting.await.map_err(|failure| match failure {
            Failure::Settings(why) => EtcdError::Settings(why),
            other => self.away(other.to_string().replace(" (see sni=)", ""), way),
        })
    }

    async fn send(
        &self,
        link: &mut Link,
        (path, body): (&str, &Value),
        way: &Way,
    ) -> Result<Response<hyper::body::Incoming>, EtcdError> {
        let target = HttpTarget::parse(self.endpoint()).map_err(EtcdError::Settings)?;
        let mut request = Request::new(Payload::new(Bytes::from(body.to_string())));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = path.parse().map_err(|_| self.garbage("its path cannot be asked for".into()))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, target.host_header);
        headers.insert(header::USER_AGENT, HeaderValue::from_static("mod_lua_balancer"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = &self.token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        way.sent.set(true);
        way.stage.set(Some(Stage::Header));
        link.send(request).await.map_err(|error| self.away(net::words(&error), way))
    }

    async fn whole(
        &self,
        link: &mut Link,
        answer: Response<hyper::body::Incoming>,
    ) -> Result<Vec<u8>, EtcdError> {
        let (mut body, mut text) = (answer.into_body(), Vec::new());
        let way = Way::default();
        way.sent.set(true);
        while let Some(piece) =
            link.piece(&mut body).await.map_err(|error| self.away(net::words(&error), &way))?
        {
            if text.len() + piece.len() > MOST {
                return Err(self.garbage(format!("the answer has more than {} MiB", MOST >> 20)));
            }
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }

    fn refusal(&self, status: StatusCode, text: &[u8]) -> EtcdError {
        let (endpoint, sent) = (self.endpoint().to_owned(), true);
        match wire::read_refusal(text) {
            Some((code, message)) if CANNOT.contains(&code) => EtcdError::Away {
                endpoint,
                why: format!("etcd says \"{}\"", self.secrets.shown(&message)),
                sent,
            },
            Some((code, message)) => {
                EtcdError::Refused { endpoint, code, message: self.secrets.shown(&message) }
            }
            None if status.is_server_error() => {
                EtcdError::Away { endpoint, why: format!("HTTP {}", status.as_u16()), sent }
            }
            None => self.garbage(format!("HTTP {}, expected an answer of etcd's gateway", status.as_u16())),
        }
    }

    fn read<T>(&self, text: &[u8], read: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, EtcdError> {
        read(text).map_err(|why| self.garbage(why))
    }

    fn timed_out(&self, way: &Way) -> EtcdError {
        let stage = way.stage.get().unwrap_or(Stage::Lookup);
        self.away(Failure::TimedOut { after: self.places.timeout, stage }.to_string(), way)
    }

    fn away(&self, why: String, way: &Way) -> EtcdError {
        EtcdError::Away {
            endpoint: self.endpoint().to_owned(),
            why: self.secrets.shown(&why),
            sent: way.sent.get(),
        }
    }

    fn garbage(&self, why: String) -> EtcdError {
        EtcdError::Garbage { endpoint: self.endpoint().to_owned(), why: self.secrets.shown(&why) }
    }
}

fn tls(places: &EtcdPlaces) -> TlsConfigs {
    match &places.identity {
        None => TlsConfigs::new(),
        Some((certificate, key)) => TlsConfigs::with_identity(certificate.clone(), key.clone()),
    }
}

/// Whether it is about a token of before something has changed.
fn is_old_token(message: &str) -> bool {
    message.contains("invalid auth token") || message.contains("revision of auth store is old")
}

#[cfg(test)]
mod tests;
