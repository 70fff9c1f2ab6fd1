//! http and https checks.

use std::error::Error;
use std::io;
use std::sync::Arc;

use balance::settings::{CheckKind, HealthCheck};
use balance::url::MemberUrl;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::LOCATION;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use regex::bytes::Regex;
use rustls::pki_types::ServerName;
use tokio::task::JoinHandle;

use super::Failure;
use super::connect::Address;
use super::redirect::{self, Origin};
use super::request::{Template, bare_host, default_port};
use super::tls::{Roots, Trust};
use crate::text;

/// Most bytes of a body that are read.
const BODY: usize = 64 * 1024;
/// Most bytes of an answer's head.
const HEAD: usize = 64 * 1024;
/// Most header lines.
const LINES: usize = 512;
/// Most redirects in one check.
const REDIRECTS: usize = 5;

/// Checks one member over HTTP.
pub(super) struct HttpCheck {
    address: Address,
    template: Template,
    origin: Origin,
    tls: Option<(Trust, ServerName<'static>)>,
    roots: Arc<Roots>,
    expect: Vec<(u16, u16)>,
    body: Option<Regex>,
    follow: bool,
    /// The last check's connection.
    kept: Option<Session>,
}

/// An HTTP connection. Its driver ends with it.
struct Session {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl HttpCheck {
    pub fn new(
        check: &HealthCheck,
        url: &MemberUrl,
        address: Address,
        roots: Arc<Roots>,
    ) -> Result<Self, Failure> {
        let template = Template::new(check, url)?;
        let https = check.kind == CheckKind::Https;
        let host = bare_host(template.host()).to_ascii_lowercase();
        let port = check.port.unwrap_or(url.port);
        let mut ports = vec![port];
        // A front's name in host= comes back with the port written there, or none.
        if check.host.is_some() {
            let named = template.host().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            ports.push(named.unwrap_or(default_port(check.kind)));
        }
        let origin = Origin { https, hosts: vec![url.host.clone(), host], ports };
        let body = check.body.as_deref().map(Regex::new).transpose();
        let body = body.map_err(|error| Failure::Settings(text::clean(&format!("body=: {error}"))))?;
        let tls = https.then(|| server(check, url)).transpose()?;
        let (expect, follow) = (check.expect.clone(), check.follow);
        Ok(HttpCheck { address, template, origin, tls, roots, expect, body, follow, kept: None })
    }

    /// One check; the status of its last answer.
    pub async fn check(&mut self) -> Result<u16, Failure> {
        let (mut method, mut uri) = (self.template.method.clone(), self.template.uri.clone());
        for _ in 0..=REDIRECTS {
            let (answer, session) = self.exchange(self.template.request(&method, &uri)).await?;
            let status = answer.status();
            if self.follow
                && redirect::is_redirect(status)
                && let Some(location) = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok())
                && let Some(next) = redirect::target(&self.origin, &uri, location)
            {
                method = redirect::method(status, &method);
                uri = next;
                self.read(answer.into_body(), session).await?;
                continue;
            }
            let status = status.as_u16();
            if !self.expect.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
                return Err(Failure::Status { status, expected: text::ranges(&self.expect) });
            }
            let body = self.read(answer.into_body(), session).await?;
            return match &self.body {
                Some(regex) if !regex.is_match(&body) => Err(Failure::Body(regex.as_str().to_owned())),
                _ => Ok(status),
            };
        }
        Err(Failure::Redirects(REDIRECTS))
    }

    /// Sends over the kept connection if there is one. The member may close it at any moment, so that no answer on it says
    /// nothing about the member: a fresh one decides.
    async fn exchange(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<(Response<Incoming>, Session), Failure> {
        if let Some(mut session) = self.kept.take()
            && session.sender.ready().await.is_ok()
            && let Ok(answer) = session.sender.send_request(request.clone()).await
        {
            return Ok((answer, session));
        }
        let mut session = self.open().await?;
        let answer = session.sender.send_request(request).await;
        answer.map(|answer| (answer, session)).map_err(|error| Failure::Http(text::chain(&error)))
    }

    async fn open(&self) -> Result<Session, Failure> {
        let mut stream = self.address.connect().await?;
        if let Some((trust, name)) = &self.tls {
            stream = self.roots.connect(trust, name.clone(), stream).await?;
        }
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD)
            .max_headers(LINES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Http(text::chain(&error)))?;
        let driver = tokio::spawn(async move {
            // Its errors come out of the request, too.
            let _ = connection.await;
        });
        Ok(Session { sender, driver })
    }

    /// Reads a body, to its end or the limit. At its end the connection is kept for the next request.
    async fn read(&mut self, mut body: Incoming, session: Session) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        loop {
            match body.frame().await {
                None => {
                    self.kept = Some(session);
                    return Ok(bytes);
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let room = BODY - bytes.len();
                    bytes.extend_from_slice(&data[..data.len().min(room)]);
                    if data.len() > room {
                        return Ok(bytes);
                    }
                }
                // Many servers end TLS without saying so; hyper tells a body cut short by its length apart.
                Some(Err(error)) if is_end(&error) => return Ok(bytes),
                Some(Err(error)) => return Err(Failure::Http(text::chain(&error))),
            }
        }
    }
}

/// Whether TLS ended without a farewell.
fn is_end(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(next) = cause {
        if next.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = next.source();
    }
    false
}

/// Whom to trust and which name to ask for.
fn server(check: &HealthCheck, url: &MemberUrl) -> Result<(Trust, ServerName<'static>), Failure> {
    let trust = match &check.ca {
        _ if !check.verify => Trust::Anyone,
        Some(path) => Trust::File(path.clone()),
        None => Trust::System,
    };
    let name = check.sni.as_deref().or(check.host.as_deref()).map_or(url.host.as_str(), bare_host);
    match ServerName::try_from(name.to_owned()) {
        Ok(name) => Ok((trust, name)),
        Err(_) => Err(Failure::Settings(format!("\"{}\" is no name for TLS", text::clean(name)))),
    }
}
