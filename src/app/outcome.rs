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
    /// A kept connection ended before a byte of an answer: the member may have closed it just when the request came, which
    /// says nothing about the member.
    Stale,
    /// The connection ended within the answer, which the client has a part of.
    Broken,
    /// No answer in time.
    Timeout,
    /// This child cannot connect to the member, for no fault of it: nothing of the request was sent.
    NoWorker,
    /// The client or its request is to blame, or httpd itself.
    NotTheMember(i32),
}

/// mod_proxy's words for the error page.
const ERROR_NOTES: &CStr = c"error-notes";
const NOTHING_READ: &[u8] = b"Error reading from remote server";
const NOT_FOUND: &[u8] = b"DNS lookup failure for";
const DONE: i32 = ffi::DONE;
const SUSPENDED: i32 = -3;
const DECLINED: i32 = ffi::DECLINED;

/// What a scheme's module means by 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// mod_proxy_http: no connection.
    Http,
    /// FastCGI, SCGI, uwsgi: no connection, or it ended, at whatever point. They count what they send at once.
    Counting,
    /// mod_proxy_ajp: no connection, or no answer to a request that may be repeated.
    Ajp,
    /// mod_proxy_http2, and whatever else there is: anything.
    Unknown,
}

impl Manner {
    /// Of the module that has this scheme.
    pub fn of(scheme: &str) -> Self {
        match scheme {
            "http" | "https" | "ws" | "wss" => Manner::Http,
            "fcgi" | "scgi" | "uwsgi" => Manner::Counting,
            "ajp" => Manner::Ajp,
            _ => Manner::Unknown,
        }
    }
}

/// What a verdict needs to know beyond the request.
pub struct Evidence {
    /// How its scheme's module speaks.
    pub manner: Manner,
    /// The worker's count of bytes sent has changed, by this request or by others.
    pub sent: bool,
    /// What the scheme handler returned.
    pub rc: i32,
    /// mod_proxy_http speaks TLS with the member. Its only 500 from there is the one of a failed handshake, before a byte of
    /// the request was sent: another one drops a kept-alive client, which `attempts` never lets it see, and one is about
    /// the request's encoding.
    pub secure: bool,
    /// The attempt went over a connection that earlier requests had used.
    pub reused: bool,
    /// The request's status before the attempt.
    pub status_before: i32,
    /// All connections that the worker may have are in use, and the request has waited for one as long as it may.
    pub exhausted: bool,
}

/// Judges.
pub fn judge(request: Request<'_>, evidence: &Evidence) -> Outcome {
    let rc = evidence.rc;
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
        503 if evidence.exhausted => Outcome::NoWorker,
        503 => match evidence.manner {
            Manner::Http | Manner::Ajp => Outcome::Connect,
            Manner::Counting if !evidence.sent => Outcome::Connect,
            Manner::Counting | Manner::Unknown => Outcome::Reset,
        },
        // Without a note: the member stopped reading, or its module leaves no notes.
        504 => Outcome::Timeout,
        500 if says(request, NOT_FOUND) => Outcome::Connect,
        500 if has_unknown_encoding(request) => Outcome::NotTheMember(rc),
        500 if evidence.secure => Outcome::Connect,
        502 | 500 if evidence.reused && was_silent(request, evidence) => Outcome::Stale,
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

/// mod_proxy_http refuses such a request before it asks anybody: of the encodings it knows `chunked` alone.
fn has_unknown_encoding(request: Request<'_>) -> bool {
    request
        .headers_in()
        .get(c"Transfer-Encoding")
        .is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"chunked"))
}

/// Whether not even a status line came. A status line changes the request's status, and mod_proxy_http tells in its words
/// for the error page whether it could not read one or could not use what it read; it has none when it could not write.
fn was_silent(request: Request<'_>, evidence: &Evidence) -> bool {
    request.status() == evidence.status_before
        && (request.notes().get(ERROR_NOTES).is_none() || says(request, NOTHING_READ))
}

/// Whether mod_proxy's words for the error page hold these.
fn says(request: Request<'_>, words: &[u8]) -> bool {
    let notes = request.notes().get(ERROR_NOTES);
    notes.is_some_and(|notes| notes.windows(words.len()).any(|part| part == words))
}

impl Outcome {
    /// One word for `LB_REASON` and the log.
    pub fn word(self) -> &'static CStr {
        match self {
            Outcome::Answered(status) if status >= 500 => c"status",
            Outcome::Answered(_) => c"ok",
            Outcome::Connect | Outcome::NoWorker => c"connect",
            Outcome::Reset | Outcome::Stale | Outcome::Broken => c"reset",
            Outcome::Timeout => c"timeout",
            Outcome::NotTheMember(_) => c"request",
        }
    }

    /// Whether the client may have brought it about, by not sending the body that it announced. A client that expects a
    /// `100 Continue` sends it only then, and the member need not know of that; one that sends it slowly or not at all tries any
    /// member's patience. `prompt`: it was there, to its end, without a long wait.
    #[inline]
    pub fn is_the_clients(self, request: Request<'_>, prompt: bool) -> bool {
        if !matches!(self, Outcome::Reset | Outcome::Stale | Outcome::Timeout | Outcome::Broken) {
            return false;
        }
        let expects = request.headers_in().get(c"Expect").is_some();
        expects || !prompt && request.has_body()
    }

    /// Whether these kinds name it.
    pub fn is_among(self, kinds: &FailureKinds) -> bool {
        match self {
            Outcome::Connect => kinds.connect,
            Outcome::Reset | Outcome::Stale | Outcome::Broken => kinds.reset,
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
        let unanswered =
            matches!(self, Outcome::Connect | Outcome::Reset | Outcome::Stale | Outcome::Timeout);
        let harmless =
            self == Outcome::Connect || (is_idempotent(request.method_number()) && !request.has_body());
        unanswered && self.is_among(kinds) && harmless && request.bytes_sent() == 0 && !request.aborted()
    }
}

/// RFC 9110, 9.2.2. (HEAD has GET's number.)
fn is_idempotent(method: u32) -> bool {
    [ffi::M_GET, ffi::M_PUT, ffi::M_DELETE, ffi::M_OPTIONS, ffi::M_TRACE].contains(&method)
}
