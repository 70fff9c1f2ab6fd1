// SPDX-License-Identifier: Apache-2.0
//! The state of a balancer that is kept over stops: orders beside the values that they replaced,
//! members that were added, and health for a while. A snapshot becomes a document ([`compose()`]),
//! the document a text with a checksum ([`write()`]), the text a document again ([`read`]). A
//! [`StartPlan`] says which parts of it hold in the configuration as it is now, and [`apply()`]
//! carries that out in a store. No file is opened here, and no clock is asked.
#![forbid(unsafe_code)]

mod apply;
mod check;
mod compose;
mod document;
mod plan;
#[cfg(test)]
mod tests;
mod text;
mod values;

pub use apply::{Applied, apply};
pub use compose::{WriteTime, compose, left_over};
pub use document::{
    KeptAgent, KeptEjection, KeptHealth, KeptLine, KeptMember, KeptOrder, KeptPool, Override, Overrides,
    StateDocument,
};
pub use plan::{Ages, Dropped, MemberPlan, StartPlan, StartTime};
pub use text::{FORMAT, MAX_BYTES, StateError, read, shown, write};
pub use values::{AdminWord, KeptTime, ThenWord, Weight};
