// SPDX-License-Identifier: Apache-2.0
//! Shadows: functions that are asked beside the ones that decide, and compared with them.

use crate::packed::{Packer, Unpacker};

/// How the decision of a shadow compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShadowEnd {
    /// It is the one that was made.
    Agree,
    /// The request would have gone elsewhere.
    Differ,
    /// The shadow failed, or reached a limit.
    Failed,
}

/// A shadow's ends, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShadowCounts {
    /// It decided as was decided.
    pub agree: u64,
    /// It decided otherwise.
    pub differ: u64,
    /// It failed.
    pub failed: u64,
}

impl ShadowCounts {
    /// The counts, with their words.
    pub fn by_result(&self) -> [(&'static str, u64); 3] {
        [("agree", self.agree), ("differ", self.differ), ("failed", self.failed)]
    }
}

/// A request about which a shadow decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowDifference {
    /// When: epoch seconds.
    pub at_s: u64,
    /// The path, without the query.
    pub path: String,
    /// The decision that holds.
    pub decided: String,
    /// That of the shadow.
    pub shadow: String,
}

impl ShadowDifference {
    /// Bytes of a path that are kept.
    pub const PATH: usize = 64;
    /// Bytes of a decision that are kept.
    pub const DECISION: usize = 120;
    /// Bytes of a packed one at most.
    pub const BYTES: usize = 8 + (2 + Self::PATH) + 2 * (2 + Self::DECISION);

    /// Writes it into a buffer; what is too long is cut.
    pub fn pack<'b>(&self, room: &'b mut [u8; Self::BYTES]) -> &'b [u8] {
        let mut packer = Packer::new(room);
        packer.number(self.at_s);
        packer.text(&self.path, Self::PATH);
        packer.text(&self.decided, Self::DECISION);
        packer.text(&self.shadow, Self::DECISION);
        packer.packed()
    }

    /// Reads it. None: these are other bytes.
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker(bytes);
        Some(ShadowDifference {
            at_s: unpacker.number()?,
            path: unpacker.text()?.to_owned(),
            decided: unpacker.text()?.to_owned(),
            shadow: unpacker.text()?.to_owned(),
        })
    }
}

/// A shadow, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShadowState {
    /// Requests for which it runs, in hundredths of a percent.
    pub share: u32,
    /// How often it decided how.
    pub counts: ShadowCounts,
    /// The last differences, oldest first.
    pub differences: Vec<ShadowDifference>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_comes_back_as_it_was_and_a_long_one_is_cut() {
        let long = |c: char| c.to_string().repeat(300);
        for (path, decided) in
            [("/x".to_owned(), "app/a".to_owned()), (long('/'), long('a')), (long('ä'), long('ä'))]
        {
            let one = ShadowDifference { at_s: 7, path, decided: decided.clone(), shadow: decided };
            let mut room = [0; ShadowDifference::BYTES];
            let read = ShadowDifference::unpack(one.pack(&mut room)).expect("it was packed");
            assert!(one.path.starts_with(&read.path) && one.decided.starts_with(&read.decided));
            assert_eq!((read.at_s, &read.shadow), (7, &read.decided));
            assert_eq!(read.path.len(), one.path.len().min(ShadowDifference::PATH));
            assert_eq!(read.decided.len(), one.decided.len().min(ShadowDifference::DECISION));
        }
        assert_eq!(ShadowDifference::unpack(b"short"), None);
    }
}
