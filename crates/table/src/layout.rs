// SPDX-License-Identifier: Apache-2.0
//! The layout of the mapping. All fields are 64-bit atomics; there are no pointers, only numbers of
//! rows.
//!
//! header · pools · keys of members · members · lanes (`[word][member]`) · chunks · children ·
//! cursors · tickets · counts of members, pools and scripts · script rows · script copies · journal
//! · its entries · events · last errors · decisions · sources · differences of shadows. Every
//! section starts at a multiple of 64 bytes.

use std::sync::atomic::AtomicU64;

use balance::shadow::ShadowDifference;

use crate::protocol::children::ChildRow;
use crate::protocol::journal::{Journal, WORDS};
use crate::protocol::queue::Ticket;
use crate::protocol::ring::RingShape;
use crate::protocol::scripts::{COPIES, ScriptRow};
use crate::protocol::text::{TextChunk, chunks_for};
use crate::protocol::trouble::TroubleRow;

/// First word of a table: `LBTABLE` and a zero.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"LBTABLE\0");
/// Grows with every change of the layout or the meaning of a word.
#[cfg(not(feature = "moved"))]
pub(crate) const LAYOUT_VERSION: u64 = 15;
/// That of a build for tests of upgrades, whose rows lie elsewhere.
#[cfg(feature = "moved")]
pub(crate) const LAYOUT_VERSION: u64 = 1_000_015;

/// How many words an outline has.
pub(crate) const OUTLINE_WORDS: usize = 12;
/// Further words behind these.
pub(crate) const OUTLINE_MORE: usize = 8;

/// Events of pools, members and scripts: 1.3 MiB.
pub const EVENTS: RingShape = RingShape { entries: 1024, bytes: balance::journal::MOST_BYTES };

/// Bytes of a sampled decision.
const DECISION_BYTES: usize = balance::sampled::MOST_BYTES;
const MOST_DECISIONS: u32 = 1 << 16;

/// The last differences of the shadow in each script's row: 7 KiB a row.
pub(crate) const DIFFERENCES: RingShape = RingShape { entries: 20, bytes: ShadowDifference::BYTES };

/// Entries of the journal for each member: its status and its text.
const MEMBER_ENTRIES: usize = 2;

/// How much a table has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Rows of members, 1 ..= 2²⁰.
    pub members: u32,
    /// Rows of pools, 1 ..= 65 535.
    pub pools: u32,
    /// Children that may run at once, those of older generations included, 1 ..= 65 535.
    pub children: u32,
    /// Bits of a lane: 8 (one request a child, prefork) or 16.
    pub lane_bits: u8,
    /// Chunks of 64 bytes for texts, 1 ..= 2²⁴.
    pub chunks: u32,
    /// Round robin sequences of views, 1 ..= 2²⁰.
    pub cursors: u32,
    /// Requests that may wait for a place at once, 1 ..= 65 535.
    pub tickets: u32,
    /// Scripts, 0 ..= 4096.
    pub scripts: u32,
    /// Bytes in each of a script's copies, up to 2²⁸.
    pub script_bytes: u32,
    /// Sampled decisions that are kept, up to 65 536.
    pub decisions: u32,
}

/// The needs of a configuration, for [`Geometry::for_config`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Configured members.
    pub members: u32,
    /// `LuaBalancerMaxMembers`: room for members added while running.
    pub extra_members: u32,
    /// Configured pools.
    pub pools: u32,
    /// Texts of configured members and pools, in bytes.
    pub text_bytes: u64,
    /// Children of one generation at most (ServerLimit).
    pub children: u32,
    /// Whether a child has one request at a time only (prefork).
    pub one_request: bool,
    /// Requests that all children together can have at once.
    pub requests: u32,
    /// Script files named in the configuration.
    pub scripts: u32,
    /// Sampled decisions that are to be kept.
    pub decisions: u32,
}

impl Geometry {
    /// A geometry with slack: rows for redefinitions, children of two generations, three chunks for
    /// a member.
    pub fn for_config(needs: Needs) -> Self {
        let members = needs.members.saturating_add(needs.members / 8).saturating_add(needs.extra_members);
        let members = members.saturating_add(16).min(1 << 20);
        let pools = needs.pools.saturating_mul(2).saturating_add(64).min(65_535);
        let text_chunks = needs.text_bytes.div_ceil(48).saturating_mul(2).min(1 << 23) as u32;
        Geometry {
            members,
            pools,
            children: needs.children.saturating_mul(2).clamp(16, 65_535),
            lane_bits: if needs.one_request { 8 } else { 16 },
            chunks: (members * 3).max(text_chunks).saturating_add(pools * 4).min(1 << 24),
            cursors: (pools * 4).clamp(256, 1 << 20),
            tickets: (needs.requests / 2).clamp(1, 4096),
            scripts: needs.scripts.saturating_add(8).min(4096),
            script_bytes: 1 << 20,
            decisions: needs.decisions.min(MOST_DECISIONS),
        }
    }

    /// Bytes of the mapping.
    pub fn bytes(&self) -> usize {
        Sections::of(self).end
    }

    /// Whether a table of this geometry has room for what another wants.
    pub fn fits(&self, wanted: &Geometry) -> bool {
        self.members >= wanted.members
            && self.pools >= wanted.pools
            && self.children >= wanted.children
            && self.lane_bits == wanted.lane_bits
            && self.chunks >= wanted.chunks
            && self.cursors >= wanted.cursors
            && self.tickets == wanted.tickets
            && self.scripts >= wanted.scripts
            && self.script_bytes >= wanted.script_bytes
            && self.decisions >= wanted.decisions
    }

    /// Bytes that each further member takes, its text in three chunks included.
    pub fn bytes_per_member(&self) -> usize {
        size_of::<MemberKey>()
            + size_of::<MemberRow>()
            + size_of::<MemberCountsRow>()
            + self.lane_words() as usize * 8
            + 3 * size_of::<TextChunk>()
            + MEMBER_ENTRIES * WORDS * 8
    }

    /// Words of lanes for each member.
    pub(crate) fn lane_words(&self) -> u32 {
        self.children.div_ceil(64 / u32::from(self.lane_bits))
    }

    pub(crate) fn is_valid(&self) -> bool {
        (1..=1 << 20).contains(&self.members)
            && (1..=65_535).contains(&self.pools)
            && (1..=65_535).contains(&self.children)
            && matches!(self.lane_bits, 8 | 16)
            && (1..=1 << 24).contains(&self.chunks)
            && (1..=1 << 20).contains(&self.cursors)
            && (1..=65_535).contains(&self.tickets)
            && self.scripts <= 4096
            && self.script_bytes <= 1 << 28
            && self.decisions <= MOST_DECISIONS
    }

    pub(crate) fn to_words(self) -> [u64; 9] {
        [
            u64::from(self.members),
            u64::from(self.pools),
            u64::from(self.children),
            u64::from(self.lane_bits),
            u64::from(self.chunks),
            u64::from(self.cursors),
            u64::from(self.scripts),
            u64::from(self.script_bytes),
            u64::from(self.tickets) | u64::from(self.decisions) << 32,
        ]
    }

    pub(crate) fn from_words(words: [u64; 9]) -> Option<Self> {
        let number = |at: usize| u32::try_from(words[at]).ok();
        let geometry = Geometry {
            members: number(0)?,
            pools: number(1)?,
            children: number(2)?,
            lane_bits: u8::try_from(words[3]).ok()?,
            chunks: number(4)?,
            cursors: number(5)?,
            scripts: number(6)?,
            script_bytes: number(7)?,
            tickets: words[8] as u32,
            decisions: (words[8] >> 32) as u32,
        };
        geometry.is_valid().then_some(geometry)
    }
}

/// The first 320 bytes.
#[repr(C, align(64))]
pub(crate) struct Header {
    pub magic: AtomicU64,
    pub layout: AtomicU64,
    pub geometry: [AtomicU64; 9],
    pub generation: AtomicU64,
    pub leader: AtomicU64,
    /// Lanes below this number were used once.
    pub lanes_used: AtomicU64,
    /// Member rows below this number were used once.
    pub members_used: AtomicU64,
    pub pools_used: AtomicU64,
    pub chunk_hint: AtomicU64,
    /// The number of the last ticket.
    pub ticket_number: AtomicU64,
    /// When somebody looked for tickets of the dead last, milliseconds.
    pub buried_ms: AtomicU64,
    /// How often the lead was taken << 40 | when last, epoch seconds. Written by the child that
    /// takes it; one that dies just before leaves the time of the one before.
    pub led: AtomicU64,
    /// At the same place in every layout, see [`crate::outline`].
    pub outline: [AtomicU64; OUTLINE_WORDS],
    /// Follows the outline's first words in every layout that has it.
    pub more: [AtomicU64; OUTLINE_MORE],
}

/// 256 bytes.
#[repr(C, align(64))]
pub(crate) struct PoolRow {
    #[cfg(feature = "moved")]
    pub before: [AtomicU64; 8],
    pub life: AtomicU64,
    /// Hash of the name.
    pub key: AtomicU64,
    /// The name, zero padded.
    pub name: [AtomicU64; 8],
    /// The settings, see [`crate::protocol::text`].
    pub text: AtomicU64,
    pub epoch: AtomicU64,
    pub version: AtomicU64,
    /// Version of the newest definition.
    pub wanted: AtomicU64,
    /// Fingerprint of the definition applied last, 0 for none.
    pub done: AtomicU64,
    pub origin: AtomicU64,
    pub cursor: AtomicU64,
    pub limit_part: AtomicU64,
    pub spare: [AtomicU64; 6],
    /// Not 0 while somebody may wait for a place. Away from the cursor, which every pick writes.
    pub queued: AtomicU64,
    pub more: [AtomicU64; 7],
}

/// The words that a search for members reads: kept together, so that a scan of all rows stays in
/// the cache.
#[repr(C)]
pub(crate) struct MemberKey {
    pub life: AtomicU64,
    /// Pool row | pool incarnation << 16 | 1 << 63.
    pub place: AtomicU64,
    /// Hash of the name.
    pub name: AtomicU64,
    /// Hash of the URL.
    pub url: AtomicU64,
}

/// The words that change with every request.
#[repr(C, align(64))]
pub(crate) struct MemberRow {
    #[cfg(feature = "moved")]
    pub before: [AtomicU64; 8],
    /// The line, see [`crate::protocol::text`].
    pub text: AtomicU64,
    /// [`balance::status::Status`] and, in the topmost bits, which definition was applied to it.
    pub status: AtomicU64,
    /// EWMA as bits of a float << 32 | stamp.
    pub latency: AtomicU64,
    pub outlier: AtomicU64,
    pub health: AtomicU64,
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    pub since: AtomicU64,
}

/// The counts of a member, see [`crate::counts::member`]: away from the words that picks read.
#[repr(C, align(64))]
pub(crate) struct MemberCountsRow {
    #[cfg(feature = "moved")]
    pub before: [AtomicU64; 8],
    pub words: [AtomicU64; 32],
}

/// The counts of a pool, see [`crate::counts::pool`].
#[repr(C, align(64))]
pub(crate) struct PoolCountsRow {
    #[cfg(feature = "moved")]
    pub before: [AtomicU64; 8],
    pub words: [AtomicU64; 48],
}

/// The counts of a script, see [`crate::counts::script`].
#[repr(C, align(64))]
pub(crate) struct ScriptCountsRow {
    pub words: [AtomicU64; 16],
}

/// Words of what is noted of a source: 8 of its standing, the others for text.
pub(crate) const SOURCE_WORDS: usize = 112;
/// Most rows of sources.
const MOST_SOURCES: u32 = 1024;

/// How a source of members does, see [`crate::sources`]. 1024 bytes.
#[repr(C, align(64))]
pub(crate) struct SourceRow {
    /// Hash of pool and name, 0 for a free row.
    pub key: AtomicU64,
    /// How often something was noted: stamps are made of it.
    pub number: AtomicU64,
    /// See [`crate::protocol::noted`].
    pub stamp: AtomicU64,
    /// How often somebody wanted it asked, and what is held taken.
    pub asks: [AtomicU64; 2],
    /// How many lists were applied, unchanged, held, and how many looks have failed.
    pub updates: [AtomicU64; 4],
    /// How often that was seen to.
    pub answers: [AtomicU64; 2],
    pub spare: [AtomicU64; 5],
    pub noted: [AtomicU64; SOURCE_WORDS],
}

/// A round robin sequence of a view.
#[repr(C)]
pub(crate) struct CursorRow {
    pub key: AtomicU64,
    pub next: AtomicU64,
}

/// Bytes that rows of a build with the feature `moved` have in front.
const MOVED: usize = if cfg!(feature = "moved") { 64 } else { 0 };

const _: () = {
    assert!(size_of::<Header>() == 320 && align_of::<Header>() == 64);
    assert!(size_of::<PoolRow>() == 256 + MOVED);
    assert!(size_of::<MemberKey>() == 32);
    assert!(size_of::<MemberRow>() == 64 + MOVED);
    assert!(size_of::<MemberCountsRow>() == 256 + MOVED);
    assert!(size_of::<PoolCountsRow>() == 384 + MOVED);
    assert!(size_of::<ScriptCountsRow>() == 128);
    assert!(size_of::<CursorRow>() == 16);
    assert!(size_of::<TextChunk>() == 64);
    assert!(size_of::<ChildRow>() == 64);
    assert!(size_of::<ScriptRow>() == 128);
    assert!(size_of::<Ticket>() == 32);
    assert!(size_of::<Journal>() == 64);
    assert!(size_of::<TroubleRow>() == 512);
    assert!(size_of::<SourceRow>() == 1024);
};

/// Where a section starts, and how many rows it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub offset: usize,
    pub rows: usize,
}

/// All sections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sections {
    pub pools: Section,
    pub keys: Section,
    pub members: Section,
    pub lanes: Section,
    pub chunks: Section,
    pub children: Section,
    pub cursors: Section,
    pub tickets: Section,
    pub member_counts: Section,
    pub pool_counts: Section,
    pub script_counts: Section,
    pub scripts: Section,
    pub copies: Section,
    pub journal: Section,
    pub entries: Section,
    pub events: Section,
    pub troubles: Section,
    pub decisions: Section,
    pub sources: Section,
    pub differences: Section,
    pub end: usize,
}

impl Sections {
    pub fn of(geometry: &Geometry) -> Self {
        let mut end = size_of::<Header>();
        let mut place = |rows: usize, size: usize| {
            let section = Section { offset: end, rows };
            end = (end + rows * size).next_multiple_of(64);
            section
        };
        let members = geometry.members as usize;
        Sections {
            pools: place(geometry.pools as usize, size_of::<PoolRow>()),
            keys: place(members, size_of::<MemberKey>()),
            members: place(members, size_of::<MemberRow>()),
            lanes: place(members * geometry.lane_words() as usize, 8),
            chunks: place(geometry.chunks as usize, size_of::<TextChunk>()),
            children: place(geometry.children as usize, size_of::<ChildRow>()),
            cursors: place(geometry.cursors as usize, size_of::<CursorRow>()),
            tickets: place(geometry.tickets as usize, size_of::<Ticket>()),
            member_counts: place(members, size_of::<MemberCountsRow>()),
            pool_counts: place(geometry.pools as usize, size_of::<PoolCountsRow>()),
            script_counts: place(geometry.scripts as usize, size_of::<ScriptCountsRow>()),
            scripts: place(geometry.scripts as usize, size_of::<ScriptRow>()),
            copies: place(geometry.scripts as usize * COPIES * geometry.script_words(), 8),
            journal: place(1, size_of::<Journal>()),
            entries: place(geometry.journal_entries() * WORDS, 8),
            events: place(EVENTS.words(), 8),
            troubles: place(geometry.trouble_rows(), size_of::<TroubleRow>()),
            decisions: place(geometry.decision_ring().words(), 8),
            sources: place(geometry.pools.min(MOST_SOURCES) as usize, size_of::<SourceRow>()),
            differences: place(geometry.scripts as usize * DIFFERENCES.words(), 8),
            end,
        }
    }
}

impl Geometry {
    /// Entries that a change of everything may have.
    pub(crate) fn journal_entries(&self) -> usize {
        self.members as usize * MEMBER_ENTRIES + self.pools as usize
    }

    /// Last errors: two of each script, and one of each child.
    pub(crate) fn trouble_rows(&self) -> usize {
        self.scripts as usize * 2 + self.children as usize
    }

    /// The ring of sampled decisions.
    pub(crate) fn decision_ring(&self) -> RingShape {
        RingShape { entries: self.decisions as usize, bytes: DECISION_BYTES }
    }

    /// Words in each copy of a script.
    pub(crate) fn script_words(&self) -> usize {
        (self.script_bytes as usize).div_ceil(8)
    }

    /// Chunks that a text of so many bytes takes.
    pub fn chunks_for_text(bytes: usize) -> usize {
        chunks_for(bytes)
    }
}
