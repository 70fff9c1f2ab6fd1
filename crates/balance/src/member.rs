// SPDX-License-Identifier: Apache-2.0
//! Members: what a `LuaBalancerMember` line (or a script) says of one backend, and that backend's
//! row in the table.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::url::MemberUrl;

/// A member's row number in the shared table.
pub type Slot = u32;

/// Longest route, in bytes.
pub const MAX_NAME: usize = 95;

/// A member as configured. Parsed from and written back to the directive's own syntax, which is
/// also how it is kept in shared memory: `url key=value key="value with blanks" …`.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberSpec {
    /// Its URL.
    pub url: MemberUrl,
    /// Unique in its pool: letters, digits and `_ - . : [ ] @ ~`. Default: `host:port`, and with
    /// `-2`, `-3` behind it where others of the pool have that already.
    pub name: String,
    /// `weight=` in hundredths, 0 ..= 6 553 500.
    pub weight: u32,
    /// `route=`, default the name.
    pub route: String,
    /// `redirect=`, the route to use when this member is out.
    pub redirect: Option<String>,
    /// `zone=`.
    pub zone: Option<String>,
    /// `lbset=`, 0 ..= 99.
    pub lbset: u8,
    /// `status=`: flags of [`crate::status::Status::ADMIN`].
    pub flags: u64,
    /// `max_inflight=`, 0 for no limit.
    pub max_inflight: u32,
    /// `slow_start=` in milliseconds; None: the pool's.
    pub slow_start_ms: Option<u64>,
    /// `retry=` in milliseconds: the first ejection time; None: the pool's.
    pub first_ejection_ms: Option<u64>,
    /// `meta.KEY=VALUE`, in the order given.
    pub meta: Vec<(String, String)>,
    /// Name of the pool's source (`LuaBalancerDiscovery`) that has found it; None: a definition or
    /// somebody names it.
    pub discovered: Option<String>,
    /// Connection keys for mod_proxy's worker.
    pub connection: ConnectionSettings,
}

/// Keys that go to mod_proxy's worker, with BalancerMember's names, units and ranges
/// (modules/proxy/mod_proxy.c, `set_worker_param`). None: mod_proxy's own default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct ConnectionSettings {
    pub max: Option<u32>,
    pub smax: Option<u32>,
    pub min: Option<u32>,
    pub ttl_ms: Option<u64>,
    pub acquire_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub connectiontimeout_ms: Option<u64>,
    pub ping_ms: Option<u64>,
    pub keepalive: Option<bool>,
    pub disablereuse: Option<bool>,
    /// 0 off, 1 on, 2 auto.
    pub flushpackets: Option<u8>,
    pub flushwait_ms: Option<u64>,
    pub iobuffersize: Option<u32>,
    pub receivebuffersize: Option<u32>,
    pub responsefieldsize: Option<u32>,
    pub secret: Option<String>,
    pub upgrade: Option<String>,
    /// At most 2 147 483 647. None as well for `-1`, mod_proxy's default: addresses do not expire.
    pub addressttl_s: Option<u32>,
}

/// A member of the running table. Its numbers stand first: who looks through ten thousand members
/// touches one line of memory of each.
#[derive(Debug, Clone, PartialEq)]
#[repr(C)]
pub struct Member {
    /// Its row.
    pub slot: Slot,
    /// The row's incarnation: another member in the same row has another number.
    pub incarnation: u32,
    /// Place in configured order; smaller ones come first.
    pub order: u32,
    /// A fingerprint of the keys of its connections: a line may be changed in place.
    pub connections: u32,
    /// [`found_print`] of its line and its source.
    pub print: u64,
    /// Something was ordered of it when it was read: an order makes another text of its row.
    pub is_ordered: bool,
    /// Its line.
    pub spec: MemberSpec,
}

/// The fingerprint of a line ([`MemberSpec::print`]) that this source has found.
pub fn found_print(line: u64, source: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    line ^ hasher.finish()
}

impl MemberSpec {
    /// A fingerprint of the line, whatever source has found the member: SipHash of 64 bits. Among
    /// 10,000 lines two others have the same one once in 3 × 10¹¹ lists.
    pub fn print(&self) -> u64 {
        let MemberSpec {
            url,
            name,
            weight,
            route,
            redirect,
            zone,
            lbset,
            flags,
            max_inflight,
            slow_start_ms,
            first_ejection_ms,
            meta,
            discovered: _,
            connection,
        } = self;
        let mut hasher = DefaultHasher::new();
        (url, name, weight, route, redirect, zone, lbset, flags).hash(&mut hasher);
        (max_inflight, slow_start_ms, first_ejection_ms, meta, connection).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether both lines are the same, whatever source has found the members.
    pub fn says_the_same(&self, other: &MemberSpec) -> bool {
        let MemberSpec {
            url,
            name,
            weight,
            route,
            redirect,
            zone,
            lbset,
            flags,
            max_inflight,
            slow_start_ms,
            first_ejection_ms,
            meta,
            discovered: _,
            connection,
        } = self;
        *name == other.name
            && *url == other.url
            && *route == other.route
            && (weight, lbset, flags) == (&other.weight, &other.lbset, &other.flags)
            && (redirect, zone, meta) == (&other.redirect, &other.zone, &other.meta)
            && (max_inflight, slow_start_ms) == (&other.max_inflight, &other.slow_start_ms)
            && (first_ejection_ms, connection) == (&other.first_ejection_ms, &other.connection)
    }
}

/// A member's line, shared with those who have read it, until it is written into.
#[derive(Clone)]
pub struct SharedSpec(Arc<Member>);

impl SharedSpec {
    /// The line of a member that was read.
    pub fn of(member: &Arc<Member>) -> Self {
        SharedSpec(member.clone())
    }
}

impl From<MemberSpec> for SharedSpec {
    fn from(spec: MemberSpec) -> Self {
        SharedSpec(Arc::new(Member::new((0, 0), 0, spec)))
    }
}

impl Deref for SharedSpec {
    type Target = MemberSpec;

    fn deref(&self) -> &MemberSpec {
        &self.0.spec
    }
}

impl DerefMut for SharedSpec {
    fn deref_mut(&mut self) -> &mut MemberSpec {
        &mut Arc::make_mut(&mut self.0).spec
    }
}

impl fmt::Debug for SharedSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.spec.fmt(f)
    }
}

impl PartialEq for SharedSpec {
    fn eq(&self, other: &Self) -> bool {
        self.0.spec == other.0.spec
    }
}

impl Member {
    /// Of a row.
    pub fn new((slot, incarnation): (Slot, u32), order: u32, spec: MemberSpec) -> Self {
        let mut hasher = DefaultHasher::new();
        spec.connection.hash(&mut hasher);
        let connections = hasher.finish() as u32;
        let print = found_print(spec.print(), spec.discovered.as_deref());
        Member { slot, incarnation, order, spec, connections, print, is_ordered: false }
    }

    /// The same, of which something is ordered.
    pub fn ordered(self, is_ordered: bool) -> Self {
        Member { is_ordered, ..self }
    }
}
