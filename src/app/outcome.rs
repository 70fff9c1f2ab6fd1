//! Judging an attempt: what mod_proxy's return value and notes mean for the member and for the request.

use std::ffi::CStr;

use balance::settings::FailureKinds;

use crate::ffi;
use crate::httpd::request::Request;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The member answered with this status and the answer went to the client (or its error page will).
    Answered(u16),
    /// No connection: nothing of the request was sent.
    Connect,
    /// The connection ended before an answer.
    Reset,
    /// The connection ended within the answer, which the client has a part of.
    Broken,
    /// No answer in time.
    Timeout,
    /// This child cannot connect to the member, for no fault of it: nothing of the request was sent.
    NoWorker,
    /// The client or its request is to blame, or httpd itself.
    NotTheMember(i32),
}

const DONE: i32 = ffi::DONE;
const SUSPENDED: i32 = -3;
const DECLINED: i32 = ffi::DECLINED;

/// Judges. `secure`: mod_proxy_http speaks TLS with the member. Its only 500 from there is the one of a failed handshake,
/// before a byte of the request was sent: the other one drops a kept-alive client, which `attempts` never lets it see.
pub fn judge(request: Request<'_>, rc: i32, secure: bool) -> Outcome {
    if rc == DONE && breaks_off(request) {
        return Outcome::Broken;
    }
    if matches!(rc, 0 | DONE | SUSPENDED) {
        return Outcome::Answered(request.status().clamp(0, 999) as u16);
    }
    let notes = request.notes();
    let timed_out = notes.get(c"proxy_timedout").is_some();
    if notes.get(c"proxy-error-override").is_some() {
        return Outcome::Answered(rc.clamp(0, 999) as u16);
    }
    match rc {
        _ if request.aborted() => Outcome::NotTheMember(rc),
        503 | 502 | 500 | 504 if timed_out => Outcome::Timeout,
        503 => Outcome::Connect,
        500 if secure => Outcome::Connect,
        502 | 500 => Outcome::Reset,
        DECLINED => Outcome::NotTheMember(500),
        other => Outcome::NotTheMember(other),
    }
}

/// Whether DONE means that the member's answer broke off. Handlers return it as well when the client has gone, and when
/// a connection that has changed its protocol (101) ends.
fn breaks_off(request: Request<'_>) -> bool {
    !request.aborted() && request.status() != ffi::HTTP_SWITCHING_PROTOCOLS as i32
}

impl Outcome {
    /// One word for `LB_REASON` and the log.
    pub fn word(self) -> &'static CStr {
        match self {
            Outcome::Answered(status) if status >= 500 => c"status",
            Outcome::Answered(_) => c"ok",
            Outcome::Connect | Outcome::NoWorker => c"connect",
            Outcome::Reset | Outcome::Broken => c"reset",
            Outcome::Timeout => c"timeout",
            Outcome::NotTheMember(_) => c"request",
        }
    }

    /// Whether these kinds name it.
    pub fn is_among(self, kinds: &FailureKinds) -> bool {
        match self {
            Outcome::Connect => kinds.connect,
            Outcome::Reset | Outcome::Broken => kinds.reset,
            Outcome::Timeout => kinds.timeout,
            Outcome::Answered(status) => (status >= 500 && kinds.any_5xx) || kinds.codes.contains(&status),
            Outcome::NoWorker | Outcome::NotTheMember(_) => false,
        }
    }

    /// Whether another member may be asked: nothing reached the client, and repeating does no harm.
    pub fn may_repeat(self, request: Request<'_>, kinds: &FailureKinds) -> bool {
        if self == Outcome::NoWorker {
            return !request.aborted();
        }
        let unanswered = matches!(self, Outcome::Connect | Outcome::Reset | Outcome::Timeout);
        let harmless =
            self == Outcome::Connect || (is_idempotent(request.method_number()) && !request.has_body());
        unanswered && self.is_among(kinds) && harmless && request.bytes_sent() == 0 && !request.aborted()
    }
}

/// RFC 9110, 9.2.2. (HEAD has GET's number.)
fn is_idempotent(method: u32) -> bool {
    [ffi::M_GET, ffi::M_PUT, ffi::M_DELETE, ffi::M_OPTIONS, ffi::M_TRACE].contains(&method)
}
