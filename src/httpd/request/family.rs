// SPDX-License-Identifier: Apache-2.0
//! The requests that httpd makes of a request: sub-requests, and those after internal redirects.

use super::Request;

impl<'r> Request<'r> {
    /// Whether the request came from a client, rather than from a redirect or subrequest inside
    /// httpd.
    pub fn is_initial(self) -> bool {
        self.get().main.is_null() && self.get().prev.is_null()
    }

    /// Whether this is a subrequest.
    pub fn is_subrequest(self) -> bool {
        !self.get().main.is_null()
    }

    /// The request that this one is a sub-request of, or of whose sub-request; itself when it is
    /// not a sub-request.
    pub fn outermost(self) -> Request<'r> {
        let main = |request: &Request<'r>| {
            // SAFETY: a request lives longer than its sub-requests.
            unsafe { Request::from_ptr(request.get().main) }
        };
        std::iter::successors(Some(self), main).last().unwrap_or(self)
    }

    /// The request that the client has sent, of which httpd has made this one.
    pub fn sent(self) -> Request<'r> {
        let before = |request: &Request<'r>| {
            let inner = request.get();
            let before = if inner.main.is_null() { inner.prev } else { inner.main };
            // SAFETY: a request lives longer than those that httpd makes of it.
            unsafe { Request::from_ptr(before) }
        };
        std::iter::successors(Some(self), before).last().unwrap_or(self)
    }

    /// The request after internal redirects.
    pub fn next(self) -> Option<Request<'r>> {
        // SAFETY: requests of a chain live in the same pool tree.
        unsafe { Request::from_ptr(self.get().next) }
    }

    /// The request and those that came of it by internal redirects, in order.
    pub fn chain(self) -> impl Iterator<Item = Request<'r>> {
        std::iter::successors(Some(self), |request| request.next())
    }
}
