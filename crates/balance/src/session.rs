// SPDX-License-Identifier: Apache-2.0
//! The member that serves a request's session. As in mod_proxy_balancer (`find_session_route`,
//! `find_route_worker`): the member of the session's route in any lbset, standbys last; when it is
//! out, the one that its `redirect` names.

use std::collections::HashMap;
use std::sync::Arc;

use crate::member::Member;
use crate::settings::Sticky;
use crate::sticky::{Sent, Source, claimed_route, decoded, named_routes, values};

/// Most routes that are looked at from one redirect to the next.
const MOST_REDIRECTS: usize = 32;

/// The fate of a route.
#[derive(Debug, Clone, PartialEq)]
pub enum Routed {
    /// No member has this route.
    Unknown,
    /// Its members are out, and so are those that they redirect to.
    Lost,
    /// This member serves its sessions.
    Member(Arc<Member>),
}

/// A request's session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// The route, as the client gave it.
    pub route: Vec<u8>,
    /// Where it stood.
    pub source: Source,
    /// The value is nothing but the route (perhaps behind a dot): no application's session depends
    /// on it.
    pub bare: bool,
    /// The member that serves it.
    pub routed: Routed,
}

impl Session {
    /// Whether a member of this route serves it: nothing changes for the client.
    pub fn is_of(&self, route: &str) -> bool {
        self.route == route.as_bytes()
    }

    /// The cookie or parameter in which it stood.
    pub fn name<'s>(&self, sticky: &'s Sticky) -> &'s str {
        match self.source {
            Source::Param => sticky.param.as_deref().unwrap_or(&sticky.cookie),
            Source::Cookie => &sticky.cookie,
        }
    }

    /// Whether the value is an application's: an identifier before a route that a member has. It is
    /// not the module's to replace.
    pub fn is_foreign(&self) -> bool {
        !self.bare && self.routed != Routed::Unknown
    }
}

/// The session of a request: the first value that names a member who serves it; or else the first
/// that names one who is out; or else the first that claims to be one. `lookup` tells about a
/// route.
pub fn find(sticky: &Sticky, client: Sent<'_>, lookup: &mut dyn FnMut(&[u8]) -> Routed) -> Option<Session> {
    let mut second = None;
    for (source, value) in values(sticky, client) {
        let session = read(source, value, lookup)
            .or_else(|| read(source, &decoded(value)?, lookup))
            .or_else(|| claim(source, value));
        match session {
            Some(session) if matches!(session.routed, Routed::Member(_)) => return Some(session),
            Some(session) if session.routed == Routed::Lost => {
                if second.as_ref().is_none_or(|known: &Session| known.routed == Routed::Unknown) {
                    second = Some(session);
                }
            }
            session => second = second.or(session),
        }
    }
    second
}

/// The longest route in the value that a member has.
fn read(source: Source, value: &[u8], lookup: &mut dyn FnMut(&[u8]) -> Routed) -> Option<Session> {
    named_routes(value).find_map(|named| match lookup(named.route) {
        Routed::Unknown => None,
        routed => Some(Session { route: named.route.to_vec(), source, bare: named.bare, routed }),
    })
}

fn claim(source: Source, value: &[u8]) -> Option<Session> {
    let route = claimed_route(value)?.to_vec();
    Some(Session { route, source, bare: false, routed: Routed::Unknown })
}

/// Members by route: their places in configured order.
#[derive(Debug, Default)]
pub struct Routes(HashMap<Box<[u8]>, Vec<u32>>);

impl Routes {
    /// The index of these members.
    pub fn of(members: &[Arc<Member>]) -> Self {
        let mut routes = HashMap::<Box<[u8]>, Vec<u32>>::with_capacity(members.len());
        for (place, member) in members.iter().enumerate() {
            routes.entry(member.spec.route.as_bytes().into()).or_default().push(place as u32);
        }
        Routes(routes)
    }

    fn places(&self, route: &[u8]) -> &[u32] {
        self.0.get(route).map_or(&[], Vec::as_slice)
    }
}

/// A pool as the search sees it. The functions take places in `members`.
pub struct SessionSearch<'a> {
    /// All members.
    pub members: &'a [Arc<Member>],
    /// Their routes.
    pub routes: &'a Routes,
    /// Whether a member counts at all: it is in the view.
    pub inside: &'a dyn Fn(usize) -> bool,
    /// Whether it is a standby.
    pub standby: &'a dyn Fn(usize) -> bool,
    /// Whether it may serve sessions now.
    pub serves: &'a dyn Fn(usize) -> bool,
}

impl<'a> SessionSearch<'a> {
    /// The member that serves this route.
    pub fn route(&self, route: &[u8]) -> Routed {
        if !self.places(route).any(|_| true) {
            return Routed::Unknown;
        }
        let mut seen = Vec::new();
        match self.serving(route, &mut seen) {
            Some(member) => Routed::Member(member.clone()),
            None => Routed::Lost,
        }
    }

    fn places(&self, route: &[u8]) -> impl Iterator<Item = usize> {
        self.routes.places(route).iter().map(|place| *place as usize).filter(|place| (self.inside)(*place))
    }

    /// Every route is looked at once, so that redirects in a circle end.
    fn serving<'r>(&self, route: &'r [u8], seen: &mut Vec<&'r [u8]>) -> Option<&'a Arc<Member>>
    where
        'a: 'r,
    {
        if seen.contains(&route) || seen.len() >= MOST_REDIRECTS {
            return None;
        }
        seen.push(route);
        for standby in [false, true] {
            for place in self.places(route).filter(|place| (self.standby)(*place) == standby) {
                let member = self.members.get(place)?;
                if (self.serves)(place) {
                    return Some(member);
                }
                let redirect = member.spec.redirect.as_deref().map(str::as_bytes);
                if let Some(other) = redirect.and_then(|redirect| self.serving(redirect, seen)) {
                    return Some(other);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
