// SPDX-License-Identifier: Apache-2.0
//! HTTP and HTTPS checks: the request, redirects, and what makes an answer good.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use balance::settings::HealthCheck;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use net::{Link, Payload, printable, was_dead, words};
use regex::bytes::Regex;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::failure::{Failure, Stage};
use crate::plan::{HttpPlan, Plan};
use crate::redirect::{MAX_REDIRECTS, Origin, follow};

/// Connections are kept for checks at least this often: less often, most servers have closed them
/// by then.
const REUSE_WITHIN: Duration = Duration::from_secs(10);

/// Most bytes of a body that a check looks at.
const MAX_BODY: usize = 64 * 1024;

/// One check.
pub(crate) struct HttpCheck<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) plan: &'a Plan,
    pub(crate) stage: &'a Cell<Stage>,
    /// When the check times out; addresses share the time until then.
    pub(crate) deadline: Instant,
    /// The connection kept from the last check, and for the next one.
    pub(crate) kept: &'a mut Option<Link>,
}

impl HttpCheck<'_> {
    /// Asks, follows redirects, judges. The status of a good answer.
    pub(crate) async fn run(&mut self) -> Result<u16, Failure> {
        let http = self.plan.http()?;
        let (check, timeout) = (&*self.plan.check, Duration::from_millis(self.plan.check.timeout_ms));
        let addresses = self.plan.place.addresses(&self.engine.resolver, timeout, self.stage).await?;
        let (mut method, mut uri) = (http.shared.method.clone(), http.uri.clone());
        for _ in 0..=MAX_REDIRECTS {
            let request = || make_request(http, &method, &uri);
            let (mut link, answer) = self.ask(&addresses, request).await?;
            let status = answer.status();
            let location =
                answer.headers().get(header::LOCATION).filter(|_| check.follow && is_redirect(status));
            let next = location
                .map(|location| redirected(http, check, status, location.as_bytes(), &uri))
                .transpose()?;
            let expected = next.is_some() || is_expected(check, status.as_u16());
            if !expected {
                return Err(Failure::Status { found: status.as_u16(), expected: ranges(check) });
            }
            let looks = http.shared.body.is_some() || http.shared.not_body.is_some();
            let (body, whole) = self.body(&mut link, answer, looks && next.is_none()).await?;
            if whole {
                self.keep(link).await;
            }
            let Some(next) = next else {
                return judge_body(http, status.as_u16(), &body).map(|()| status.as_u16());
            };
            method = method_after(status, method);
            uri = next;
        }
        Err(net::Failure::Exchange(format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    /// Sends the request over the kept connection if there is one, and over a fresh one if that
    /// turns out dead.
    async fn ask(
        &mut self,
        addresses: &[SocketAddr],
        request: impl Fn() -> Request<Payload>,
    ) -> Result<(Link, Response<Incoming>), Failure> {
        let usable = |link: &Link| link.peer.is_none_or(|peer| addresses.contains(&peer));
        if let Some(mut link) = self.kept.take().filter(usable) {
            self.stage.set(Stage::Header);
            match link.send(request()).await {
                Ok(answer) => return Ok((link, answer)),
                Err(error) if was_dead(&error) => {}
                Err(error) => return Err(net::Failure::Exchange(words(&error)).into()),
            }
        }
        let mut link = self.connect(addresses).await?;
        self.stage.set(Stage::Header);
        match link.send(request()).await {
            Ok(answer) => Ok((link, answer)),
            Err(error) => Err(net::Failure::Exchange(words(&error)).into()),
        }
    }

    async fn connect(&self, addresses: &[SocketAddr]) -> Result<Link, Failure> {
        let (stream, peer) = self.plan.place.connect(addresses, self.deadline, self.stage).await?;
        let stream = match &self.plan.http()?.server_name {
            Some(name) => {
                let trust = (self.plan.check.verify, self.plan.check.ca.as_deref());
                net::handshake(&self.engine.tls, trust, name, stream, self.stage).await?
            }
            None => stream,
        };
        Ok(Link::new(stream, peer).await?)
    }

    async fn body(
        &self,
        link: &mut Link,
        answer: Response<Incoming>,
        wanted: bool,
    ) -> Result<(Vec<u8>, bool), Failure> {
        self.stage.set(Stage::Body);
        let mut kept = Vec::new();
        let mut body = answer.into_body();
        match link.read(&mut body, MAX_BODY, wanted.then_some(&mut kept)).await {
            Ok(whole) => Ok((kept, whole)),
            Err(error) => Err(net::Failure::Exchange(words(&error)).into()),
        }
    }

    /// Keeps the connection for the next request when that is allowed, likely to help, and there is
    /// room.
    async fn keep(&mut self, mut link: Link) {
        let often = Duration::from_millis(self.plan.check.interval_ms) <= REUSE_WITHIN;
        if !often || !link.is_reusable().await {
            return;
        }
        if link.place.is_none() {
            link.place = self.engine.idle.clone().try_acquire_owned().ok();
        }
        if link.place.is_some() {
            *self.kept = Some(link);
        }
    }
}

fn make_request(http: &HttpPlan, method: &Method, uri: &Uri) -> Request<Payload> {
    let mut request = Request::new(Payload::default());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = http.headers.clone();
    request
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The URI that a redirect leads to.
fn redirected(
    http: &HttpPlan,
    check: &HealthCheck,
    status: StatusCode,
    location: &[u8],
    uri: &Uri,
) -> Result<Uri, Failure> {
    let https = check.kind == balance::settings::CheckKind::Https;
    let origin = Origin { https, host: http.host(), member: &http.authority };
    let location = String::from_utf8_lossy(location);
    let unusable = |_| format!("the redirect to \"{}\" is not a URL", printable(&location, 100));
    follow(&location, &uri.to_string(), &origin)
        .and_then(|path| path.parse().map_err(unusable))
        .map_err(|why| Failure::Redirect { status: status.as_u16(), why })
}

/// The method after a redirect (RFC 9110, section 15.4): GET after 303 and, as browsers do, after
/// 301 and 302 to a POST.
fn method_after(status: StatusCode, method: Method) -> Method {
    match status.as_u16() {
        303 if method != Method::HEAD => Method::GET,
        301 | 302 if method == Method::POST => Method::GET,
        _ => method,
    }
}

/// Compares the body with the text that it has to hold, and the text that it must not.
fn judge_body(http: &HttpPlan, status: u16, body: &[u8]) -> Result<(), Failure> {
    let shown = |pattern: &Regex| printable(pattern.as_str(), 100);
    if let Some(wanted) = http.shared.body.as_ref().filter(|wanted| !wanted.is_match(body)) {
        return Err(Failure::Body { status, pattern: shown(wanted) });
    }
    match http.shared.not_body.as_ref().filter(|unwanted| unwanted.is_match(body)) {
        Some(unwanted) => Err(Failure::Unwanted { status, pattern: shown(unwanted) }),
        None => Ok(()),
    }
}

fn is_expected(check: &HealthCheck, status: u16) -> bool {
    check.expect.iter().any(|(first, last)| (*first..=*last).contains(&status))
}

fn ranges(check: &HealthCheck) -> String {
    let range = |(first, last): &(u16, u16)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    check.expect.iter().map(range).collect::<Vec<_>>().join(",")
}
