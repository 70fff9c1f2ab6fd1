// SPDX-License-Identifier: Apache-2.0
//! `POST /api/v1/explain`: the description of a request.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::asked::Asked;
use crate::body;
use crate::described::{Described, Unexplained};
use crate::problem::Problem;
use crate::read;
use crate::types::Response;

/// Bytes of a line, and of a header's value.
const LINE: usize = 8190;
const VALUE: usize = 65_536;
/// Most headers.
const HEADERS: usize = 1000;

pub(crate) fn run(asked: &Asked<'_>) -> Result<Response, Problem> {
    let value = body::json(asked.request)?;
    let Value::Object(keys) = &value else {
        return Err(Problem::json(
            "body",
            &value,
            "an object with uri, and perhaps method, headers, client, user, host",
        ));
    };
    let described = described(keys)?;
    let explained = asked.house.explain(&described).map_err(|why| match why {
        Unexplained::Busy => Problem::new(503, "other requests are being explained").with("Retry-After", "1"),
        Unexplained::NoMemory => Problem::new(503, "there is no memory for it").with("Retry-After", "1"),
        Unexplained::Broken(why) => Problem::new(500, why),
    })?;
    read::plain(&explained)
}

fn described(keys: &Map<String, Value>) -> Result<Described, Problem> {
    const KNOWN: [&str; 6] = ["method", "uri", "headers", "client", "user", "host"];
    if let Some((key, value)) = keys.iter().find(|(key, _)| !KNOWN.contains(&key.as_str())) {
        return Err(Problem::json(key, value, format!("one of the keys {}", KNOWN.join(", "))));
    }
    let mut described = Described {
        method: text(keys, "method", "a method such as GET", is_token)?.unwrap_or_else(|| "GET".to_owned()),
        headers: headers(keys)?,
        user: text(keys, "user", "a user's name", |user| {
            !user.is_empty() && user.len() <= 255 && is_line(user)
        })?,
        ..Described::default()
    };
    let expected = "a path such as /x?y=1, or a URL of http or https";
    let uri = text(keys, "uri", expected, is_target)?;
    described.uri = uri.ok_or_else(|| Problem::json("uri", &Value::Null, expected))?;
    if described.uri == "*" && described.method != "OPTIONS" {
        return Err(Problem::value("uri", "*", format!("{expected}; * is for OPTIONS")));
    }
    let expected = "an address such as 192.168.1.7";
    let client = text(keys, "client", expected, |client| client.parse::<IpAddr>().is_ok())?;
    described.client = client.and_then(|client| client.parse().ok());
    if let Some(host) = text(keys, "host", "a name, and perhaps a port", is_host)? {
        described.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
        described.headers.insert(0, ("Host".to_owned(), host));
    }
    described.port = port(&described);
    Ok(described)
}

/// The port that is asked: of the host where it is written, or else of the URL.
fn port(described: &Described) -> Option<u16> {
    let host = described.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    host.and_then(|(_, host)| written_port(host)).or_else(|| url_port(&described.uri))
}

fn written_port(host: &str) -> Option<u16> {
    let (name, port) = host.rsplit_once(':')?;
    (!name.contains(':') || name.ends_with(']')).then(|| port.parse().ok())?
}

/// The port of a URL, or that of its scheme. None: it is a path.
fn url_port(uri: &str) -> Option<u16> {
    let (scheme, rest) = uri.split_once("://").filter(|(scheme, _)| !scheme.contains('/'))?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    written_port(host).or(Some(if scheme == "https" { 443 } else { 80 }))
}

fn text(
    keys: &Map<String, Value>,
    key: &str,
    expected: &str,
    is_right: impl Fn(&str) -> bool,
) -> Result<Option<String>, Problem> {
    match keys.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_right(text) => Ok(Some(text.clone())),
        Some(other) => Err(Problem::json(key, other, expected)),
    }
}

fn headers(keys: &Map<String, Value>) -> Result<Vec<(String, String)>, Problem> {
    let expected = "an object of names with a text, or a list of texts, each";
    let all = match keys.get("headers") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(all)) => all,
        Some(other) => return Err(Problem::json("headers", other, expected)),
    };
    let mut found = Vec::new();
    for (name, value) in all {
        let field = format!("headers.{name}");
        if !is_token(name) {
            return Err(Problem::value(&field, name, "the name of a header"));
        }
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            let text = value.as_str().filter(|text| text.len() <= VALUE && is_line(text));
            let text = text.ok_or_else(|| Problem::json(&field, value, "a text of one line"))?;
            found.push((name.clone(), text.to_owned()));
        }
    }
    if found.len() > HEADERS {
        return Err(Problem::value("headers", &found.len().to_string(), format!("{HEADERS} at most")));
    }
    Ok(found)
}

fn is_line(text: &str) -> bool {
    !text.chars().any(|char| char != '\t' && char.is_control())
}

fn is_token(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_one)
}

fn is_target(text: &str) -> bool {
    let begins = text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://");
    let is_one = |byte: u8| byte > b' ' && byte != 0x7f;
    (begins || text == "*") && text.len() <= LINE && text.bytes().all(is_one)
}

fn is_host(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_graphic() && !b"/\\@?#\"<>".contains(&byte);
    (1..=255).contains(&text.len()) && text.bytes().all(is_one)
}
