// SPDX-License-Identifier: Apache-2.0
//! The findings of each member's last check.

use std::sync::atomic::{AtomicU64, Ordering};

use balance::history::CheckReport;

use super::stamps::{note, pair, pair_of};
use crate::protocol::noted::Noted;

/// Words of what was found, in text.
const TEXT: usize = 12;
/// Incarnation and length of the text, when it ended, how long it took, when the next one is due.
const NUMBERS: usize = 4;
const VALUES: usize = NUMBERS + TEXT;
pub(super) const WORDS: usize = 1 + VALUES;

/// So many bytes of the text are kept.
const MOST_TEXT: usize = TEXT * 8;

/// A row's last check.
#[derive(Clone, Copy)]
pub(super) struct LastCheck<'m>(pub &'m [AtomicU64]);

impl<'m> LastCheck<'m> {
    fn place(self) -> Option<Noted<'m>> {
        note(self.0.first(), self.0.get(1..WORDS))
    }

    pub fn write(self, incarnation: u32, report: &CheckReport) {
        let Some(place) = self.place() else { return };
        let text = bounded(&report.detail);
        let mut values = [0; VALUES];
        values[..NUMBERS].copy_from_slice(&[
            pair(incarnation, text.len() as u32),
            report.at_s,
            report.took_us,
            report.due_ms,
        ]);
        for (word, bytes) in values[NUMBERS..].iter_mut().zip(text.as_bytes().chunks(8)) {
            let mut whole = [0; 8];
            whole.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
            *word = u64::from_le_bytes(whole);
        }
        place.write(place_stamp(place), values);
    }

    pub fn read(self, incarnation: u32) -> Option<CheckReport> {
        // The second look is for one that was just being written.
        let place = self.place()?;
        let (_, values) = place.read::<VALUES>().or_else(|| place.read::<VALUES>())?;
        let [whose, length] = pair_of(values[0]);
        if whose != incarnation {
            return None;
        }
        let bytes: Vec<u8> = values[NUMBERS..].iter().flat_map(|word| word.to_le_bytes()).collect();
        let text = String::from_utf8_lossy(bytes.get(..length as usize)?);
        let [at_s, took_us, due_ms] = [values[1], values[2], values[3]];
        Some(CheckReport { at_s, took_us, due_ms, detail: text.into_owned() })
    }
}

/// The next stamp. After one that was lost half way it begins anew, somewhere else.
fn place_stamp(place: Noted<'_>) -> u64 {
    match place.stamp() {
        0 => place.values.get(1).map_or(1, |cell| cell.load(Ordering::Relaxed) << 20 | 1),
        before => before.wrapping_add(1).max(1),
    }
}

/// The beginning of a text that is too long, with dots at its end.
fn bounded(text: &str) -> String {
    const DOTS: &str = "…";
    if text.len() <= MOST_TEXT {
        return text.to_owned();
    }
    let room = MOST_TEXT - DOTS.len();
    let kept = (0..=room).rev().find_map(|end| text.get(..end));
    format!("{}{DOTS}", kept.unwrap_or_default())
}
