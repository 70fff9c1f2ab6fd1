// SPDX-License-Identifier: Apache-2.0
//! Versions of scripts on trial: a saved version that serves a share of the requests for a while.
//! It has a script's row of its own. Two words of that row say how it goes.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::trial::{Trial, TrialStage};

use crate::Table;

/// Bits of the first word that hold the stage; the others are the beginning in ms.
const STAGE_BITS: u32 = 2;
const STAGES: [TrialStage; 3] = [TrialStage::Running, TrialStage::Passed, TrialStage::Failed];

impl Table {
    /// A trial begins at `now_ms` of the monotonic clock, in its own row. Nothing is counted yet.
    pub fn begin_trial(&self, row: u32, now_ms: u64) {
        let Some(row) = self.map.scripts().get(row as usize) else { return };
        row.trial_calls.store(0, SeqCst);
        row.trial.store(word(TrialStage::Running, now_ms), SeqCst);
    }

    /// How a trial goes. None: there is none.
    pub fn trial(&self, row: u32) -> Option<Trial> {
        let row = self.map.scripts().get(row as usize)?;
        let word = row.trial.load(SeqCst);
        let stage = STAGES.get(((word & 3) as usize).checked_sub(1)?).copied()?;
        let calls = row.trial_calls.load(SeqCst);
        Some(Trial { stage, began_ms: word >> STAGE_BITS, calls: calls >> 32, failed: calls & 0xffff_ffff })
    }

    /// Counts a call of the version on trial.
    pub fn count_trial(&self, row: u32, has_failed: bool) {
        if let Some(row) = self.map.scripts().get(row as usize) {
            row.trial_calls.fetch_add(1 << 32 | u64::from(has_failed), Relaxed);
        }
    }

    /// Ends the trial that was seen so. True for the first who does so.
    pub fn end_trial(&self, row: u32, seen: Trial, stage: TrialStage) -> bool {
        let Some(row) = self.map.scripts().get(row as usize) else { return false };
        let [before, after] = [seen.stage, stage].map(|stage| word(stage, seen.began_ms));
        row.trial.compare_exchange(before, after, SeqCst, SeqCst).is_ok()
    }

    /// Forgets a trial: its version serves, or is another's affair.
    pub fn forget_trial(&self, row: u32) {
        if let Some(row) = self.map.scripts().get(row as usize) {
            row.trial.store(0, SeqCst);
        }
    }

    /// Lets sources be judged once more that were judged last. False: others were judged meanwhile.
    pub fn judge_again(&self, row: u32, stamp: u64) -> bool {
        let row = self.map.scripts().get(row as usize);
        row.is_some_and(|row| row.judged.compare_exchange(stamp, 0, SeqCst, SeqCst).is_ok())
    }
}

fn word(stage: TrialStage, began_ms: u64) -> u64 {
    let stage = STAGES.iter().position(|known| *known == stage).map_or(0, |at| at as u64 + 1);
    began_ms << STAGE_BITS | stage
}
