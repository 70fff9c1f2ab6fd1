// SPDX-License-Identifier: Apache-2.0
//! Judging an attempt: what the end of an exchange with a member means for the member, the request
//! and the client.

use std::ffi::CStr;

use crate::settings::{FailureKinds, PoolSettings};

#[cfg(test)]
mod tests;

/// The return value of one of httpd's hooks or handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookStatus {
    /// `OK`: done as it should be.
    Ok,
    /// `DECLINED`: not its business.
    Declined,
    /// `DONE`: the request is over, whatever else would follow.
    Done,
    /// `SUSPENDED`: the request goes on somewhere else.
    Suspended,
    /// `AP_FILTER_ERROR`: a filter has seen to the rest. mod_proxy_fcgi returns it also when its
    /// member breaks an answer off.
    FilterError,
    /// A status of HTTP, which httpd makes an error page of.
    Http(u16),
    /// A number that httpd does not define.
    Unknown(i32),
}

impl HookStatus {
    /// From httpd's number.
    pub fn from_code(code: i32) -> Self {
        match code {
            0 => HookStatus::Ok,
            -1 => HookStatus::Declined,
            -2 => HookStatus::Done,
            -3 => HookStatus::Suspended,
            -102 => HookStatus::FilterError,
            100..=999 => HookStatus::Http(code as u16),
            code => HookStatus::Unknown(code),
        }
    }

    /// httpd's number.
    pub fn code(self) -> i32 {
        match self {
            HookStatus::Ok => 0,
            HookStatus::Declined => -1,
            HookStatus::Done => -2,
            HookStatus::Suspended => -3,
            HookStatus::FilterError => -102,
            HookStatus::Http(status) => i32::from(status),
            HookStatus::Unknown(code) => code,
        }
    }
}

/// The module of httpd that speaks with a member, by what it means with 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeModule {
    /// mod_proxy_http: no connection.
    Http,
    /// mod_proxy_fcgi, _scgi, _uwsgi: no connection, or it ended, at whatever point. They count
    /// what they send at once.
    Counting,
    /// mod_proxy_ajp: no connection, or no answer to a request that may be repeated.
    Ajp,
    /// mod_proxy_http2, and whatever else there is: anything.
    Unknown,
}

impl SchemeModule {
    /// The module that has this scheme.
    pub fn of(scheme: &str) -> Self {
        match scheme {
            "http" | "https" | "ws" | "wss" => SchemeModule::Http,
            "fcgi" | "scgi" | "uwsgi" => SchemeModule::Counting,
            "ajp" => SchemeModule::Ajp,
            _ => SchemeModule::Unknown,
        }
    }
}

/// mod_proxy's words for the error page, as far as they tell failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorWords {
    /// It left none.
    #[default]
    None,
    /// The member's name was not found.
    NameNotFound,
    /// Nothing could be read from the member.
    NothingRead,
    /// Something else.
    Other,
}

/// The signs that a scheme's module left on a request that it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailureSigns {
    /// It noted that time ran out.
    pub timed_out: bool,
    /// The member answered with an error, and httpd's own page stands in for it
    /// (`ProxyErrorOverride`).
    pub overridden: bool,
    /// Its words for the error page.
    pub words: ErrorWords,
    /// The request's body has a transfer coding other than `chunked`: mod_proxy_http refuses it
    /// before it asks anybody.
    pub unknown_coding: bool,
}

/// One exchange with a member, as it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The module that spoke.
    pub module: SchemeModule,
    /// The return value of its handler.
    pub returned: HookStatus,
    /// The request's status before the exchange.
    pub status_before: u16,
    /// The request's status now.
    pub status: u16,
    /// The client has gone.
    pub aborted: bool,
    /// A connection was made, not taken from those that were kept.
    pub connected: bool,
    /// The worker's count of bytes sent has changed, by this request or by others.
    pub sent: bool,
    /// mod_proxy_http speaks TLS with the member. Its only 500 from there is the one of a failed
    /// handshake, before a byte of the request was sent: another one drops a kept-alive client,
    /// which the relay never lets it see, and one is about the request's encoding.
    pub secure: bool,
    /// All connections that the worker may have are in use, and the request has waited for one as
    /// long as it may.
    pub exhausted: bool,
    /// Further signs of a failure; the default when `returned` is not a status.
    pub signs: FailureSigns,
}

impl Exchange {
    /// The status that the member's answer had, or that httpd has for there being none; 0 when
    /// nobody answered at all.
    pub fn last_status(&self, outcome: Outcome) -> u16 {
        match (outcome, self.returned) {
            (Outcome::Answered(status), _) | (_, HookStatus::Http(status)) => status,
            (Outcome::Broken, _) => self.status,
            _ => 0,
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The member answered with this status and the answer went to the client (or its error page
    /// will).
    Answered(u16),
    /// No connection: nothing of the request was sent.
    Connect,
    /// The connection ended before an answer.
    Reset,
    /// A kept connection ended before a byte of an answer: the member may have closed it just when
    /// the request came, which says nothing about the member.
    Stale,
    /// The connection ended within the answer, which the client has a part of.
    Broken,
    /// No answer in time.
    Timeout,
    /// This child cannot connect to the member, for no fault of it: nothing of the request was
    /// sent.
    NoWorker,
    /// The client or its request is to blame, or httpd itself.
    NotTheMember,
}

/// The meaning of an exchange's end.
pub fn judge(exchange: &Exchange) -> Outcome {
    match exchange.returned {
        HookStatus::Done | HookStatus::FilterError if breaks_off(exchange) => Outcome::Broken,
        HookStatus::Ok | HookStatus::Done | HookStatus::Suspended => Outcome::Answered(exchange.status),
        HookStatus::Http(status) if exchange.signs.overridden => Outcome::Answered(status),
        HookStatus::Declined | HookStatus::FilterError | HookStatus::Unknown(_) => Outcome::NotTheMember,
        HookStatus::Http(_) if exchange.aborted => Outcome::NotTheMember,
        HookStatus::Http(status) => failed(status, exchange),
    }
}

fn failed(status: u16, exchange: &Exchange) -> Outcome {
    let signs = &exchange.signs;
    match status {
        500 | 502 | 503 | 504 if signs.timed_out => Outcome::Timeout,
        503 if exchange.exhausted => Outcome::NoWorker,
        503 => match exchange.module {
            SchemeModule::Http | SchemeModule::Ajp => Outcome::Connect,
            SchemeModule::Counting if !exchange.sent => Outcome::Connect,
            SchemeModule::Counting | SchemeModule::Unknown => Outcome::Reset,
        },
        // Without a note: the member stopped reading, or its module leaves no notes.
        504 => Outcome::Timeout,
        500 if signs.words == ErrorWords::NameNotFound => Outcome::Connect,
        500 if signs.unknown_coding => Outcome::NotTheMember,
        500 if exchange.secure => Outcome::Connect,
        500 | 502 if is_reused(exchange) && was_silent(exchange) => Outcome::Stale,
        500 | 502 => Outcome::Reset,
        _ => Outcome::NotTheMember,
    }
}

/// Whether the member's answer broke off. `DONE` says that, but also that the client has gone, or
/// that a connection which has changed its protocol (101) ended. `AP_FILTER_ERROR` says it of a
/// member of mod_proxy_fcgi, but for a request whose body a filter has refused.
fn breaks_off(exchange: &Exchange) -> bool {
    let is_the_members = match exchange.returned {
        HookStatus::FilterError => exchange.module == SchemeModule::Counting && !is_refused(exchange.status),
        _ => exchange.status != 101,
    };
    is_the_members && !exchange.aborted
}

/// Whether httpd answers with this status when it cannot read a request's body.
fn is_refused(status: u16) -> bool {
    matches!(status, 400 | 408 | 413 | 501)
}

/// Whether it went over a connection that earlier requests had used. mod_proxy_http alone makes a
/// connection of httpd's of each new one to a member.
fn is_reused(exchange: &Exchange) -> bool {
    !exchange.connected && exchange.module == SchemeModule::Http
}

/// Whether not even a status line came. A status line changes the request's status, and
/// mod_proxy_http tells in its words for the error page whether it could not read one or could not
/// use what it read; it has none when it could not write.
fn was_silent(exchange: &Exchange) -> bool {
    exchange.status == exchange.status_before
        && matches!(exchange.signs.words, ErrorWords::None | ErrorWords::NothingRead)
}

/// The facts of a request that say whether it may be asked again, and who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Its method is idempotent (RFC 9110, 9.2.2).
    pub idempotent: bool,
    /// It has a body.
    pub has_body: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects: bool,
    /// Some of an answer has reached the client.
    pub answered: bool,
    /// The client has gone.
    pub aborted: bool,
}

/// Whether another member may be asked: nothing reached the client, and repeating does no harm.
pub fn again(outcome: Outcome, asked: Asked, kinds: &FailureKinds) -> bool {
    if outcome == Outcome::NoWorker {
        return !asked.aborted;
    }
    let unanswered = matches!(outcome, Outcome::Connect | Outcome::Reset | Outcome::Stale | Outcome::Timeout);
    let harmless = outcome == Outcome::Connect || (asked.idempotent && !asked.has_body);
    unanswered && outcome.is_among(kinds) && harmless && !asked.answered && !asked.aborted
}

/// Whether the client may have brought a failure about, by not sending the body that it announced.
/// A client that expects a `100 Continue` sends it only then, and the member need not know of that;
/// one that sends it slowly or not at all tries any member's patience. `prompt`: the body was
/// there, to its end, without a long wait.
#[inline]
pub fn is_the_clients(outcome: Outcome, asked: Asked, prompt: bool) -> bool {
    let doubtful = matches!(outcome, Outcome::Reset | Outcome::Stale | Outcome::Timeout | Outcome::Broken);
    doubtful && (asked.expects || (asked.has_body && !prompt))
}

/// Seconds, 1 or more, until it is worth asking a pool again that had nobody: the time in which a
/// member can come back.
pub fn retry_after_s(settings: &PoolSettings) -> u64 {
    let by_checks =
        settings.health.as_ref().map(|check| check.interval_ms.saturating_mul(u64::from(check.rise)));
    let by_traffic = settings.outlier.on.then_some(settings.outlier.ejection_ms);
    by_checks.into_iter().chain(by_traffic).min().unwrap_or(1000).div_ceil(1000).max(1)
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
            Outcome::NotTheMember => c"request",
        }
    }

    /// Whether these kinds name it.
    pub fn is_among(self, kinds: &FailureKinds) -> bool {
        match self {
            Outcome::Connect => kinds.connect,
            Outcome::Reset | Outcome::Stale | Outcome::Broken => kinds.reset,
            Outcome::Timeout => kinds.timeout,
            Outcome::Answered(status) => (status >= 500 && kinds.any_5xx) || kinds.codes.contains(&status),
            Outcome::NoWorker | Outcome::NotTheMember => false,
        }
    }

    /// Whether it says anything about the member.
    pub fn is_the_members(self) -> bool {
        !matches!(self, Outcome::NotTheMember | Outcome::NoWorker | Outcome::Stale)
    }
}
