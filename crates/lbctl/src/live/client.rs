// SPDX-License-Identifier: Apache-2.0
//! Requests to one server, and what its answers mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body, http};

use super::place::Door;
use super::shape;
use super::unix::SocketConnector;
use crate::clean;
use crate::files;
use crate::out::{Exit, Failure};

/// Most that is read of an answer: far more than 10,000 members take.
const MOST: u64 = 256 << 20;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server.
pub struct Link {
    /// For people.
    pub name: String,
    /// It may be asked to wait with its answer.
    pub is_socket: bool,
    agent: Agent,
    base: String,
    authorization: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct ServerReply {
    /// The status.
    pub status: u16,
    /// The document's `ETag`.
    pub etag: Option<String>,
    /// The document; null for none.
    pub body: Value,
}

/// A request.
pub struct Call<'c> {
    /// The method.
    pub method: &'c str,
    /// The path from `/api/` on.
    pub path: String,
    /// The text of `If-Match`.
    pub etag: Option<&'c str>,
    /// The body that is sent.
    pub body: Option<&'c Value>,
    /// The answer may take so much longer.
    pub wait: Duration,
}

impl Link {
    /// To a door.
    pub fn new(door: &Door, ca: Option<&std::path::Path>) -> Result<Self, Failure> {
        let config = || {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .max_idle_connections(0)
                .timeout_connect(Some(Duration::from_secs(5)))
                .user_agent(concat!("lbctl/", env!("CARGO_PKG_VERSION")))
        };
        let (agent, base, authorization) = match door {
            Door::Socket(path) => {
                let connector = SocketConnector { path: path.clone() };
                let config = config().proxy(None).build();
                // The address is not used.
                let agent = Agent::with_parts(config, connector, DefaultResolver::default());
                (agent, "http://127.0.0.1".to_owned(), None)
            }
            Door::Url(url, authorization) => {
                let config = match url.starts_with("https:") {
                    true => config().tls_config(tls(ca)?),
                    false => config(),
                };
                (Agent::new_with_config(config.build()), url.clone(), authorization.clone())
            }
        };
        let is_socket = matches!(door, Door::Socket(_));
        Ok(Link { name: door.name(), is_socket, agent, base, authorization })
    }

    /// A document.
    pub fn get(&self, path: impl Into<String>) -> Result<ServerReply, Failure> {
        let call = Call { method: "GET", path: path.into(), etag: None, body: None, wait: Duration::ZERO };
        self.send(&call)
    }

    /// An answer of 2xx, or why there is none.
    pub fn send(&self, call: &Call<'_>) -> Result<ServerReply, Failure> {
        let mut rest = 3;
        loop {
            let (reply, retry_after) = self.ask(call)?;
            // The server is busy, and says when it may be asked again.
            let pause = match reply.status {
                200..=299 => return self.known(call, reply),
                429 => Some(retry_after.unwrap_or(Duration::from_secs(1))),
                503 => retry_after,
                _ => None,
            };
            match pause.filter(|_| rest > 0) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(self.refusal(call, &reply)),
            }
            rest -= 1;
        }
    }

    /// An answer of the shape that the question asks for.
    fn known(&self, call: &Call<'_>, reply: ServerReply) -> Result<ServerReply, Failure> {
        let Some(wrong) = shape::wrong(call.method, &call.path, &reply.body) else { return Ok(reply) };
        let path = call.path.split('?').next().unwrap_or_default();
        Err(self.unreadable(&format!("an answer to {} {path} that is not understood: {wrong}", call.method)))
    }

    /// An answer, and its `Retry-After`.
    fn ask(&self, call: &Call<'_>) -> Result<(ServerReply, Option<Duration>), Failure> {
        let mut request = http::Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header("Accept", "application/json");
        let headers = [
            ("Authorization", self.authorization.as_deref()),
            ("If-Match", call.etag),
            ("Content-Type", call.body.map(|_| "application/json")),
        ];
        for (name, value) in headers.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            request = request.header(name, value);
        }
        let body = call.body.map(Value::to_string).unwrap_or_default();
        let request =
            request.body(body).map_err(|error| Failure::usage(format!("{}: {error}", self.name)))?;
        let request = self.agent.configure_request(request);
        let request =
            request.allow_non_standard_methods(true).timeout_global(Some(PATIENCE + call.wait)).build();
        let response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        self.reply(response)
    }

    fn reply(&self, mut response: http::Response<Body>) -> Result<(ServerReply, Option<Duration>), Failure> {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = header("etag").map(str::to_owned);
        let kind = header("content-type").unwrap_or("nothing").to_owned();
        let place = header("location").map(clean::text);
        let seconds = header("retry-after").and_then(|value| value.parse::<u64>().ok());
        let text = response.body_mut().with_config().limit(MOST).read_to_vec();
        let text = text.map_err(|error| self.unreachable(&error))?;
        let body = match serde_json::from_slice(&text) {
            Ok(body) => body,
            Err(_) if text.is_empty() && matches!(status, 200..=299) => Value::Null,
            Err(_) if kind.contains("json") => {
                return Err(self.unreadable(&format!("an answer of status {status} that is cut or not JSON")));
            }
            // httpd's own pages.
            Err(_) if status >= 400 => Value::Null,
            Err(_) => {
                let place = place.map(|place| format!(" to {place}")).unwrap_or_default();
                return Err(self.unreadable(&format!("status {status}{place}, {}", clean::text(&kind))));
            }
        };
        Ok((ServerReply { status, etag, body }, seconds.map(|seconds| Duration::from_secs(seconds.min(5)))))
    }

    /// Nobody, or nobody whom this program understands.
    fn unreadable(&self, found: &str) -> Failure {
        let text = format!(
            "{}: found {found}; expected JSON of mod_lua_balancer. Is this the place of SetHandler lua-balancer?",
            self.name
        );
        Failure { exit: Exit::Unreachable, text }
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        let why = match error {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied && self.is_socket => {
                "permission denied. LuaBalancerSocket's mode= and group= say who may: \
                 be the user who starts httpd (root), or have group= name a group of yours"
                    .to_owned()
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                "there is no such socket. Is httpd running, with the module?".to_owned()
            }
            ureq::Error::Io(error)
                if error.kind() == io::ErrorKind::ConnectionRefused && self.is_another_file() =>
            {
                "this is not a socket: expected that of LuaBalancerSocket".to_owned()
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "nobody answers. Is httpd running?".to_owned()
            }
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            ureq::Error::BodyExceedsLimit(_) => format!("an answer of more than {MOST} bytes"),
            ureq::Error::Io(error) if error.to_string().contains("InvalidContentType") => {
                "it does not speak TLS: expected an https port, or http:// in --url".to_owned()
            }
            ureq::Error::Io(error) if error.to_string().contains("UnknownIssuer") => {
                "nobody known has signed its certificate: --ca FILE names who has".to_owned()
            }
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it has closed the connection without an answer".to_owned()
            }
            ureq::Error::Io(error) => clean::text(&error.to_string()),
            other => clean::text(&other.to_string()),
        };
        Failure { exit: Exit::Unreachable, text: format!("{}: {why}", self.name) }
    }

    /// Whether the socket's name is that of something else.
    fn is_another_file(&self) -> bool {
        use std::os::unix::fs::FileTypeExt;
        self.is_socket && std::fs::metadata(&self.name).is_ok_and(|found| !found.file_type().is_socket())
    }

    fn refusal(&self, call: &Call<'_>, reply: &ServerReply) -> Failure {
        let text = |key: &str| reply.body.get(key).and_then(Value::as_str).map(clean::text);
        let said = text("detail").or_else(|| text("title"));
        let advice = match reply.status {
            401 => "it wants a name and a password: --user, --netrc",
            403 if said.is_none() => "httpd's Require does not let you in",
            404 if said.is_none() || said.as_ref().is_some_and(|said| said.ends_with("nothing here")) => {
                let path = call.path.split('?').next().unwrap_or_default();
                let text = format!(
                    "{}: the server has no {path}: it is older than this lbctl ({}), or this is not the \
                     place of SetHandler lua-balancer",
                    self.name,
                    env!("CARGO_PKG_VERSION")
                );
                return Failure { exit: Exit::Refused, text };
            }
            412 => "somebody has changed it meanwhile: look at it, and try again",
            _ => "",
        };
        let said = said.map_or_else(|| format!("status {}", reply.status), |said| advised(&said));
        // Most words of a server say it themselves.
        let expected = text("expected").filter(|expected| !said.contains(expected.as_str()));
        let mut words = vec![said];
        words.extend(expected.map(|expected| format!("expected {expected}")));
        words.extend((!advice.is_empty()).then(|| advice.to_owned()));
        let whole = if reply.status == 412 { advice.to_owned() } else { words.join("; ") };
        Failure { exit: Exit::Refused, text: format!("{}: refused: {whole}", self.name) }
    }

    /// A document of a known shape, with texts that are clean.
    pub fn read<T: DeserializeOwned>(&self, document: &Value) -> Result<T, Failure> {
        serde_json::from_value(clean::value(document)).map_err(|error| {
            let text = format!(
                "{}: found a document of another shape than lbctl {} knows: {}",
                self.name,
                env!("CARGO_PKG_VERSION"),
                clean::text(&error.to_string())
            );
            Failure { exit: Exit::Unreachable, text }
        })
    }
}

/// Certificates of the system, or those of a file.
fn tls(ca: Option<&std::path::Path>) -> Result<TlsConfig, Failure> {
    let roots: Vec<Certificate<'static>> = match ca {
        Some(path) => {
            let wrong = |text: &str| Failure::usage(format!("--ca {}: {text}", path.display()));
            let text = files::bytes(path).map_err(|error| Failure::usage(format!("--ca {error}")))?;
            let items = parse_pem(&text).filter_map(|item| match item {
                Ok(PemItem::Certificate(own)) => Some(own),
                _ => None,
            });
            let found: Vec<_> = items.collect();
            if found.is_empty() {
                return Err(wrong("no certificate in it; expected PEM"));
            }
            found
        }
        None => {
            let known = rustls_native_certs::load_native_certs().certs;
            known.iter().map(|own| Certificate::from_der(own).to_owned()).collect()
        }
    };
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// A server's words, with the option of this program in place of the API's.
pub fn advised(said: &str) -> String {
    let option = "--local at drain, disable, enable and weight orders at this server alone";
    said.replace("?local=1 orders here alone", option)
}

/// A piece of a path.
pub fn piece(text: &str) -> String {
    let mut piece = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            piece.push(char::from(byte));
        } else {
            piece.push_str(&format!("%{byte:02X}"));
        }
    }
    piece
}
