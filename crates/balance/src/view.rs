// SPDX-License-Identifier: Apache-2.0
//! The members that a view leaves.

use crate::api::{View, ViewStep};
use crate::member::Member;

impl View {
    /// Whether a member is in the view.
    pub fn holds(&self, member: &Member) -> bool {
        self.steps.iter().all(|step| step.holds(member))
    }

    /// A hash that is the same in all children: for the view's round robin sequence.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = xxhash_rust::xxh64::Xxh64::new(0);
        let mut word = |tag: u8, text: &str| {
            hash.update(&[tag]);
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        for step in &self.steps {
            match step {
                ViewStep::Where(pairs) => pairs.iter().for_each(|(key, value)| {
                    word(1, key);
                    word(2, value);
                }),
                ViewStep::Except(names) => names.iter().for_each(|name| word(3, name)),
                ViewStep::Only(names) => names.iter().for_each(|name| word(4, name)),
            }
            word(5, "");
        }
        hash.digest()
    }
}

impl ViewStep {
    fn holds(&self, member: &Member) -> bool {
        let spec = &member.spec;
        match self {
            ViewStep::Where(pairs) => pairs.iter().all(|(key, wanted)| match key.as_str() {
                "zone" => spec.zone.as_deref() == Some(wanted),
                "route" => spec.route == *wanted,
                "name" => spec.name == *wanted,
                key => spec.meta.iter().any(|(name, value)| name == key && value == wanted),
            }),
            ViewStep::Except(names) => !names.contains(&spec.name),
            ViewStep::Only(names) => names.contains(&spec.name),
        }
    }
}
