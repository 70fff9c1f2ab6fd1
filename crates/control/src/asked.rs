// SPDX-License-Identifier: Apache-2.0
//! A request that has found its place.

use balance::event::Person;
use balance::snapshot::Extent;

use crate::query::Query;
use crate::types::{House, Request};

/// A request at its place in the table.
pub(crate) struct Asked<'a> {
    pub request: &'a Request<'a>,
    pub house: &'a dyn House,
    /// The names in the path.
    pub names: &'a [String],
    pub query: &'a Query,
}

impl Asked<'_> {
    /// The name in this place of the path.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.names.get(at).map(String::as_str).unwrap_or_default()
    }

    /// The extent of a path's pool.
    pub(crate) fn pool(&self) -> Extent<'_> {
        Extent::Pool(self.name(0))
    }

    /// The extent of a path's member.
    pub(crate) fn member(&self) -> Extent<'_> {
        Extent::Member(self.name(0), self.name(1))
    }
}

/// The sender of a request, for the log and for orders.
pub(crate) fn person(request: &Request<'_>, note: Option<String>) -> Person {
    Person { name: request.caller.user.clone(), from: request.caller.from.clone(), note }
}

/// Seconds since 1970.
pub(crate) fn epoch_s(house: &dyn House) -> u64 {
    house.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
