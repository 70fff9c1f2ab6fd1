// SPDX-License-Identifier: Apache-2.0
//! The table that `lb.http` is given, made into a request.

use mlua::Value;

use super::arguments::{MOST_TEXT, PATIENCE, seconds};
use crate::context::wait::HttpRequest;

/// Most headers of `lb.http`, the longest one in bytes, and all of them.
const MAX_HEADERS: usize = 256;
const MAX_HEADER: usize = 16 << 10;
const ALL_HEADERS: usize = 256 << 10;
/// Longest URL.
const MAX_URL: usize = 16 << 10;

/// Raises when a key is of a wrong type; the inner Err is what the script gets as a message.
pub(super) fn http_request(spec: &Value) -> mlua::Result<Result<HttpRequest, String>> {
    let wrong = |text: String| mlua::Error::runtime(format!("lb.http: {text}"));
    let Value::Table(spec) = spec else {
        let found = spec.type_name();
        return Err(wrong(format!(
            "expected a table such as {{url = \"http://10.0.0.1:8080/health\"}}, found a {found}"
        )));
    };
    let mut request = HttpRequest {
        url: String::new(),
        method: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        verify: true,
        timeout: PATIENCE,
    };
    let mut with_body = false;
    let text = |key: &str, value: &Value| match value {
        Value::String(text) if key == "a header" && text.as_bytes().len() > MAX_HEADER => {
            Err(wrong(format!("a header is longer than {MAX_HEADER} bytes")))
        }
        Value::String(text) if key != "body" && text.as_bytes().len() > MAX_URL => {
            Err(wrong(format!("{key} is longer than {MAX_URL} bytes")))
        }
        Value::String(text) if text.as_bytes().len() > MOST_TEXT => {
            Err(wrong(format!("{key} has more than {} MiB", MOST_TEXT >> 20)))
        }
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => Ok(value.to_string()?.into_bytes()),
        other => Err(wrong(format!("{key} has to be a string, found a {}", other.type_name()))),
    };
    for pair in spec.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = key.to_string()?;
        match key.as_str() {
            "url" => request.url = String::from_utf8_lossy(&text("url", &value)?).into_owned(),
            "method" => request.method = String::from_utf8_lossy(&text("method", &value)?).into_owned(),
            "body" => (request.body, with_body) = (text("body", &value)?, true),
            "timeout" => request.timeout = seconds("lb.http", &value)?.unwrap_or(PATIENCE),
            "verify" => request.verify = value != Value::Boolean(false),
            "headers" => {
                let Value::Table(headers) = &value else {
                    return Err(wrong(format!(
                        "headers has to be a table such as {{Accept = \"text/plain\"}}, found a {}",
                        value.type_name()
                    )));
                };
                let mut bytes = 0;
                let mut push = |name: String, value: Vec<u8>| {
                    bytes += name.len() + value.len();
                    if request.headers.len() >= MAX_HEADERS || bytes > ALL_HEADERS {
                        return Err(wrong(format!(
                            "more than {MAX_HEADERS} headers, or {} KiB of them",
                            ALL_HEADERS >> 10
                        )));
                    }
                    request.headers.push((name, value));
                    Ok(())
                };
                for pair in headers.pairs::<Value, Value>() {
                    let (name, value) = pair?;
                    let name = String::from_utf8_lossy(&text("a header's name", &name)?).into_owned();
                    match &value {
                        Value::Table(list) => {
                            for value in list.sequence_values::<Value>() {
                                push(name.clone(), text("a header", &value?)?)?;
                            }
                        }
                        value => push(name, text("a header", value)?)?,
                    }
                }
            }
            other => {
                return Err(wrong(format!(
                    "unknown key '{other}': expected url, method, headers, body, timeout or verify"
                )));
            }
        }
    }
    if request.url.is_empty() {
        return Err(wrong("url is missing, for example {url = \"http://10.0.0.1:8080/health\"}".into()));
    }
    if request.method.is_empty() {
        request.method = if with_body { "POST" } else { "GET" }.into();
    }
    Ok(checked(request))
}

/// Refuses text that could be more than one header, or one request.
fn checked(request: HttpRequest) -> Result<HttpRequest, String> {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !token(&request.method) || request.method.eq_ignore_ascii_case("CONNECT") {
        return Err(format!("method: '{}' is not one, expected one such as GET", clean(&request.method)));
    }
    for (name, value) in &request.headers {
        if !token(name) {
            return Err(format!("header '{}': not a header's name", clean(name)));
        }
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(format!("header {name}: a value may not hold line ends or NUL"));
        }
        if ["content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(format!("header {name}: is set by the body, not by hand"));
        }
    }
    Ok(request)
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect()
}
