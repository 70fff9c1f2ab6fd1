// SPDX-License-Identifier: Apache-2.0
//! `SetHandler lua-balancer`: httpd's workers answer, to whom httpd's own rules let in.

use control::{Admin, Caller, Door, House};

use super::house::ChildHouse;
use crate::httpd::request::Request;
use crate::httpd::served;
use crate::serve::child::{self, Child};
use crate::serve::scope::Scope;

/// The name behind `SetHandler`.
const HANDLER: &[u8] = balance::stock::handler::HANDLER.as_bytes();
/// Bytes of a body that are read: one more than is taken.
const MOST_BODY: usize = (1 << 20) + 1;

/// The end of a request at the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is another handler's, or httpd answers it better.
    No,
    /// It was answered.
    Yes,
    /// It could not be.
    Failed,
}

/// Answers a request whose handler is this module's.
pub fn answer(request: Request<'_>) -> Answered {
    if !served::is_for(request, HANDLER) {
        return Answered::No;
    }
    let Some(child) = child::get() else { return Answered::Failed };
    let admin = admin(request, child);
    if request.method() == Some(b"OPTIONS") && !comes_from(request, &admin) {
        // httpd answers, by this list.
        served::allow_changes(request);
        return Answered::No;
    }
    let house = child::with_thread(child, |thread| ChildHouse::new(child, thread));
    let Some(house) = house else { return Answered::Failed };
    let path = path(request);
    let (base, relative) = control::base::split(&path);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let query = request.args().map(text);
    let headers = headers(request);
    let method = request.method().map(text).unwrap_or_default();
    let mut asked = control::Request {
        method: &method,
        base,
        path: relative,
        query: query.as_deref(),
        headers: &headers,
        body: &[],
        caller: Caller {
            door: Door::Handler,
            user: request.user().map(text),
            from: request.useragent_ip().map(text),
        },
        admin,
    };
    let response = match control::admit(&asked, &house) {
        Ok(admitted) => {
            if admitted.reads_body() {
                asked.body = request.read_body(MOST_BODY).unwrap_or_default();
            }
            admitted.respond(&asked, &house)
        }
        Err(refused) => {
            // httpd would have the answer wait for a body that nobody wants. The connection's end
            // takes what comes of it, for a bounded time.
            if request.has_body() {
                request.end_connection_after();
            }
            refused
        }
    };
    if house.is_superseded() {
        // The next connection leads to a child that has the larger table.
        request.end_connection_after();
    }
    send(request, response);
    Answered::Yes
}

/// The path as the client has sent it, or else, where something within httpd has put another one in
/// its place, that one encoded anew.
fn path(request: Request<'_>) -> String {
    let own = request.uri().unwrap_or_default();
    let sent = request.unparsed_uri().unwrap_or_default();
    let sent = sent.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    if sent.starts_with(b"/") && decoded(sent, request.keeps_encoded_slashes()) == own {
        return String::from_utf8_lossy(sent).into_owned();
    }
    encoded(own)
}

/// `keeps_slashes`: an encoded slash stays as it is.
fn decoded(path: &[u8], keeps_slashes: bool) -> Vec<u8> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        let pair = others.first().and_then(hex).zip(others.get(1).and_then(hex));
        let byte = pair.filter(|_| *first == b'%').map(|(high, low)| (high << 4 | low) as u8);
        match byte.filter(|byte| !(keeps_slashes && *byte == b'/')) {
            Some(byte) => {
                decoded.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = others;
            }
        }
    }
    decoded
}

fn encoded(path: &[u8]) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~:@!$&'()*+,;=[]".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn headers(request: Request<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    request.headers_in().each(&mut |name, value| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        headers.push((text(name).to_ascii_lowercase(), text(value)));
        true
    });
    headers
}

fn admin(request: Request<'_>, child: &Child) -> Admin {
    let said = Scope::of(request, child).and_then(|scope| scope.admin());
    let (on, anonymous, origin) =
        said.map_or((false, false, None), |said| (said.on, said.anonymous, said.origin.clone()));
    Admin { on, anonymous, origin, names: if anonymous { served::names(request) } else { Vec::new() } }
}

/// Whether a page of the place that `origin=` names asks.
fn comes_from(request: Request<'_>, admin: &Admin) -> bool {
    let origin = admin.origin.as_ref().map(String::as_bytes);
    origin.is_some() && request.headers_in().get(c"Origin") == origin
}

fn send(request: Request<'_>, response: control::Response) {
    request.set_status(i32::from(response.status));
    for (name, value) in &response.headers {
        if name.eq_ignore_ascii_case("content-type") {
            served::set_content_type(request, value);
        } else {
            request.headers_out().set_bytes(name.as_bytes(), value.as_bytes());
        }
    }
    request.write(&response.body);
}
