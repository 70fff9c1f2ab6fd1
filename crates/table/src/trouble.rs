// SPDX-License-Identifier: Apache-2.0
//! The last errors of scripts and children.

use balance::trouble::Trouble;

use crate::Table;
use crate::protocol::trouble::{self, TEXT, TroubleRow, TroubleWords};

const _: () = assert!(Trouble::MOST == TEXT * 8);

/// The owner of a last error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The file of the script in this row was refused when it was saved. Its number is the stamp of
    /// the sources.
    Save(u32),
    /// A call of the script in this row failed. Its number is the version.
    Call(u32),
    /// Something went wrong in the child with this lane. Its number is the process.
    Child(u32),
}

impl Table {
    fn trouble_row(&self, whose: Whose) -> Option<&TroubleRow> {
        let scripts = self.map.scripts().len();
        let script = |row: u32, at: usize| ((row as usize) < scripts).then_some(row as usize * 2 + at);
        let at = match whose {
            Whose::Save(row) => script(row, 0)?,
            Whose::Call(row) => script(row, 1)?,
            Whose::Child(lane) => scripts * 2 + lane as usize,
        };
        self.map.troubles().get(at)
    }

    /// Keeps an error in place of the one before, unless another process does so at this moment.
    /// `now_ms`: the clock that leases are made by.
    pub fn note_trouble(&self, whose: Whose, number: u64, error: &Trouble, now_ms: u64) {
        let Some(row) = self.trouble_row(whose) else { return };
        let text = error.text.as_bytes().to_vec();
        let said = TroubleWords { key: number, at_s: error.at_s, text };
        trouble::write(row, &said, self.pid, now_ms, &self.alive);
    }

    /// The last error, if it is of this number.
    pub fn trouble(&self, whose: Whose, number: u64) -> Option<Trouble> {
        let said = trouble::read(self.trouble_row(whose)?).filter(|said| said.key == number)?;
        Some(Trouble { at_s: said.at_s, text: String::from_utf8_lossy(&said.text).into_owned() })
    }

    /// Takes a script's last errors over from another table.
    pub(crate) fn carry_troubles(&self, old: &Table, was: u32, is: u32) {
        for whose in [Whose::Save, Whose::Call] {
            if let (Some(from), Some(to)) = (old.trouble_row(whose(was)), self.trouble_row(whose(is))) {
                trouble::copy(from, to);
            }
        }
    }
}
