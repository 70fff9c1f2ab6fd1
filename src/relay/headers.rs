// SPDX-License-Identifier: Apache-2.0
//! The filters' part: they run while mod_proxy is inside of an attempt.

use super::record::Record;
use super::{reverse, session};
use crate::httpd::request::Request;

/// The headers of an answer are known and not yet sent.
pub fn are_known(request: Request<'_>) {
    let Some(record) = Record::of(request) else { return };
    reverse::map_back(request, record);
    session::offer_cookie(request, record, request.headers_out());
}

/// Some of a request's body was read, perhaps its end; the client let that wait so long.
pub fn body_was_read(request: Request<'_>, waited_us: u64, ended: bool) {
    if let Some(record) = Record::of(request) {
        let body = &record.body;
        body.waited_us.set(body.waited_us.get().saturating_add(waited_us));
        body.ended.set(body.ended.get() | ended);
    }
}
