// SPDX-License-Identifier: Apache-2.0
//! A process's handle on the table.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use crate::foreign::Foreign;
use crate::history::History;
use crate::layout::Geometry;
use crate::mapping::{AttachError, Mapping, Words};
use crate::protocol::lead::{self, Lead, Term};
use crate::seen::SeenPools;

/// A handle on the shared table. Cheap to clone; clones have the same identity.
///
/// The identity is the pid that is written beside what this process has half done. A forked process
/// sets its own before it changes anything.
#[derive(Clone)]
pub struct Table {
    pub(crate) map: Arc<Mapping>,
    pub(crate) pid: i32,
    pub(crate) alive: fn(i32) -> bool,
    pub(crate) clock: Option<fn() -> u64>,
    /// Whether counts are kept.
    pub(crate) counts: bool,
    /// The history of counts.
    pub(crate) history: Option<History>,
    /// The members that this process has read.
    pub(crate) seen: Arc<SeenPools>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("pid", &self.pid).field("geometry", &self.geometry()).finish()
    }
}

/// Of the word that says how often the lead was taken, and when.
const LED_BITS: u32 = 40;
const LED_S: u64 = (1 << LED_BITS) - 1;

impl Table {
    /// Makes an empty table in zeroed shared memory, such as a fresh anonymous mapping.
    ///
    /// # Safety
    /// `base` points to at least `len` zeroed bytes that stay mapped, readable and writable, until
    /// the last clone of the handle is dropped (in this process; a forked one has its own copy of
    /// the mapping), and nothing but tables touches them.
    #[allow(unsafe_code)]
    pub unsafe fn create(base: *mut u8, len: usize, geometry: Geometry) -> Result<Self, AttachError> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { Mapping::create(base, len, geometry) }.map(Table::over)
    }

    /// Opens a table that is there already. Its header is checked; all numbers of rows in it are
    /// checked when used.
    ///
    /// # Safety
    /// As for [`Table::create`], except that the bytes may be anything.
    #[allow(unsafe_code)]
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, AttachError> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { Mapping::attach(base, len) }.map(Table::over)
    }

    /// A table of another layout, to take over the parts that it tells of itself
    /// ([`Table::take_up`]). None when it is not a table, or tells nothing.
    ///
    /// # Safety
    /// As for [`Table::create`], except that the bytes may be anything, until the value is dropped.
    #[allow(unsafe_code)]
    pub unsafe fn foreign(base: *mut u8, len: usize) -> Option<Foreign> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { Words::over(base, len) }.and_then(Foreign::over)
    }

    /// A table in this process's own memory, for tests and `configtest`.
    pub fn on_heap(geometry: Geometry) -> Result<Self, AttachError> {
        Mapping::on_heap(geometry).map(Table::over)
    }

    fn over(map: Mapping) -> Self {
        let pid = std::process::id() as i32;
        let seen = Arc::default();
        Table { map: Arc::new(map), pid, alive: |_| true, clock: None, counts: true, history: None, seen }
    }

    /// Says who uses this handle, and how to find out whether a process is alive (`kill(pid, 0)`;
    /// never false for one that is). Without it the identity is the pid of the process that made
    /// the handle, and everybody counts as alive.
    #[must_use]
    pub fn with_identity(mut self, pid: i32, alive: fn(i32) -> bool) -> Self {
        self.pid = pid;
        self.alive = alive;
        self
    }

    /// Has every change of a member noted with its time, in epoch seconds.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> u64) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Whether what requests, checks and scripts do is counted through this handle and its clones
    /// ([`balance::counting`]). It is, unless this says no.
    #[must_use]
    pub fn with_counts(mut self, counts: bool) -> Self {
        self.counts = counts;
        self
    }

    /// Whether it is.
    pub fn has_counts(&self) -> bool {
        self.counts
    }

    /// Says who uses this handle; after a fork.
    pub fn set_identity(&mut self, pid: i32) {
        self.pid = pid;
    }

    /// The identity.
    pub fn identity(&self) -> i32 {
        self.pid
    }

    /// The room of the table.
    pub fn geometry(&self) -> Geometry {
        self.map.geometry()
    }

    /// Starts a generation of the configuration: only its children may lead from now on. Never goes
    /// back.
    pub fn set_generation(&self, generation: u32) {
        self.map.header().generation.fetch_max(u64::from(generation), SeqCst);
    }

    /// The newest generation.
    pub fn generation(&self) -> u32 {
        u32::try_from(self.map.header().generation.load(SeqCst)).unwrap_or(u32::MAX)
    }

    /// Asks for the lead or renews it: to be called at least three times a lease. `now_ms` is a
    /// monotonic clock that all processes share, `lease_ms` at most a day.
    pub fn lead(
        &self,
        pid: i32,
        generation: u32,
        now_ms: u64,
        lease_ms: u64,
        alive: &dyn Fn(i32) -> bool,
    ) -> Lead {
        let header = self.map.header();
        lead::lead(&header.leader, &header.generation, (pid, generation), Term { now_ms, lease_ms }, alive)
    }

    /// Notes that the caller has taken the lead, at this time in epoch seconds.
    pub fn note_lead(&self, now_s: u64) {
        let noted = |word: u64| Some((word >> LED_BITS).wrapping_add(1) << LED_BITS | now_s & LED_S);
        let _ = self.map.header().led.fetch_update(SeqCst, SeqCst, noted);
    }

    /// How often the lead was taken, and when last, in epoch seconds; 0 for never.
    pub fn lead_changes(&self) -> (u64, u64) {
        let word = self.map.header().led.load(SeqCst);
        (word >> LED_BITS, word & LED_S)
    }

    /// Gives the lead up, if `pid` has it. Safe in a signal handler.
    pub fn resign(&self, pid: i32) {
        lead::resign(&self.map.header().leader, pid);
    }

    /// The child that leads; its lease may be over.
    pub fn leader(&self) -> Option<i32> {
        lead::holder(&self.map.header().leader)
    }
}
