// SPDX-License-Identifier: Apache-2.0
//! The word beside a member's line: its definition's weight, lbset and flags, in the places that
//! they have in [`Status`]. Its topmost 12 bits are two counters that grow when the definition
//! changes the weight (bits 52..=57) or the flags (58..=63). The status word has the same bits, so
//! that one compare-and-swap both applies a change and remembers that it was applied: exactly once,
//! by any process.

use balance::member::MemberSpec;
use balance::order::Order;
use balance::status::Status;

const WEIGHT_COUNTER: u64 = 0x3f << 52;
const FLAGS_COUNTER: u64 = 0x3f << 58;
/// Bits of a status word that are the table's own.
pub(crate) const COUNTERS: u64 = WEIGHT_COUNTER | FLAGS_COUNTER;

const WEIGHT_FIELDS: u64 = (1 << 32) - 1;

const _: () = assert!((Status::ADMIN | Status::LIVE | Status::EJECTED | Status::CHECKS) & COUNTERS == 0);

/// The word of a new definition, counters zero.
pub(crate) fn of(spec: &MemberSpec) -> u64 {
    let status = Status::new(spec.weight, spec.lbset, spec.flags).0;
    status & (WEIGHT_FIELDS | Status::ADMIN)
}

/// Starts the counters of a new row with its incarnation, so that its status word differs from its
/// predecessor's.
pub(crate) fn begin(config: u64, incarnation: u32) -> u64 {
    config & !COUNTERS | u64::from(incarnation & 0xfff) << 52
}

/// The word that follows `old` when the definition now says `new` (counters of `new` are ignored).
pub(crate) fn succeed(old: u64, new: u64) -> u64 {
    let mut counters = old & COUNTERS;
    if (old ^ new) & WEIGHT_FIELDS != 0 {
        counters = counters & !WEIGHT_COUNTER | counters.wrapping_add(1 << 52) & WEIGHT_COUNTER;
    }
    if (old ^ new) & Status::ADMIN != 0 {
        counters = counters & !FLAGS_COUNTER | counters.wrapping_add(1 << 58) & FLAGS_COUNTER;
    }
    new & !COUNTERS | counters
}

/// The word that follows `old` when a source's line now says `new`: what is ordered of weight and
/// flags holds in place of what it says.
pub(crate) fn overridden(old: u64, new: u64, order: &Order) -> u64 {
    let kept = if order.weight.is_some() { WEIGHT_FIELDS } else { 0 }
        | if order.admin.is_some() { Status::ADMIN } else { 0 };
    succeed(old, new & !kept | old & kept)
}

/// The status word of a new row.
pub(crate) fn initial(config: u64) -> u64 {
    255 << 32 | Status::LIVE | config
}

/// The status word with this definition applied to it; the same when it was.
pub(crate) fn apply(status: u64, config: u64) -> u64 {
    let mut now = status;
    if (status ^ config) & WEIGHT_COUNTER != 0 {
        now = now & !WEIGHT_FIELDS | config & WEIGHT_FIELDS;
    }
    if (status ^ config) & FLAGS_COUNTER != 0 {
        now = now & !Status::ADMIN | config & Status::ADMIN;
    }
    now & !COUNTERS | config & COUNTERS
}

/// The status as everybody else sees it.
pub(crate) fn visible(status: u64) -> Status {
    Status(status & !COUNTERS)
}
