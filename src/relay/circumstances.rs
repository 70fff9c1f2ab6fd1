// SPDX-License-Identifier: Apache-2.0
//! The relay's answers to a choice of a member that asks about a request and its server
//! ([`balance::choosing`]).

use std::borrow::Cow;
use std::sync::Arc;

use balance::api::NoMember;
use balance::choosing::{Chooser, Circumstances, Course};
use balance::engine::{Handle, Now};
use balance::live::Slot;
use balance::member::Member;
use balance::settings::PoolSettings;
use balance::sticky::Sent;
use config::Resolved;
use table::Table;

use super::by_script;
use super::journey::Serving;
use super::route::Route;
use crate::httpd::log;

/// Where the attempts of a request go.
pub type RouteChooser<'r> = Chooser<'r, Resolved>;

/// The chooser for a route.
pub fn chooser_of(route: &Route) -> RouteChooser<'_> {
    Chooser::of(&route.decision, route.key.as_deref(), route.picked_by)
}

impl Circumstances for Serving<'_> {
    type Store = Table;
    type Script = Resolved;

    #[inline]
    fn handle(&self) -> &Handle<Table> {
        &self.thread.balancer
    }

    #[inline]
    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]> {
        self.child.keys.of_pool(self.request, settings)
    }

    #[inline]
    fn with_sent<T>(&self, body: impl FnOnce(Sent<'_>) -> T) -> T {
        body(Sent {
            url: self.request.unparsed_uri().unwrap_or_default(),
            cookies: self.request.headers_in().get(c"Cookie").unwrap_or_default(),
        })
    }

    fn pick_by_script(
        &self,
        pool: &Now,
        script: (&str, &str),
        avoid: &[Slot],
    ) -> Result<Arc<Member>, NoMember> {
        by_script::pick(*self, pool, script, avoid)
    }

    fn name_again(&self, script: &Resolved, course: &Course) -> Result<(Arc<str>, u32), NoMember> {
        by_script::name_again(*self, script, course)
    }

    #[inline]
    fn listens(&self) -> bool {
        log::logs_request(self.request, log::TRACE2)
    }

    #[cold]
    fn tell(&self, line: &str) {
        log::request(self.request, messages::requests::EXPLAINED, line);
    }
}
