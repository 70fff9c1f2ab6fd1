// SPDX-License-Identifier: Apache-2.0
//! `?fields=name,usable,members.name`: the parts of a document that somebody asks for.

use std::collections::BTreeMap;

use serde_json::Value;

/// Deepest path that is taken.
const MAX_DEPTH: usize = 8;

/// The parts. Empty: the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, Fields>);

impl Fields {
    /// Reads a list of paths. None for one that is empty, too deep, or has an empty step.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Fields::default();
        for path in text.split(',') {
            let steps: Vec<&str> = path.trim().split('.').collect();
            if steps.len() > MAX_DEPTH || steps.iter().any(|step| step.is_empty()) {
                return None;
            }
            all.insert(&steps);
        }
        Some(all)
    }

    fn insert(&mut self, steps: &[&str]) {
        let Some((first, rest)) = steps.split_first() else { return };
        let known = self.0.get(*first).is_some_and(|part| part.0.is_empty());
        if rest.is_empty() {
            // `members,members.name` is all of the members.
            self.0.insert((*first).to_owned(), Fields::default());
        } else if !known {
            self.0.entry((*first).to_owned()).or_default().insert(rest);
        }
    }

    /// Leaves the parts; of a list, those of each element.
    pub fn apply(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::Array(all) => Value::Array(all.into_iter().map(|one| self.apply(one)).collect()),
            Value::Object(all) => {
                let kept = all.into_iter().filter_map(|(key, value)| {
                    let part = self.0.get(&key)?;
                    Some((key, part.apply(value)))
                });
                Value::Object(kept.collect())
            }
            plain => plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn picked(fields: &str, value: Value) -> Option<Value> {
        Fields::parse(fields).map(|fields| fields.apply(value))
    }

    #[test]
    fn named_parts_stay_in_lists_as_well() {
        let pool =
            json!({"name": "app", "usable": 1, "members": [{"name": "a", "weight": 1}, {"name": "b"}]});
        assert_eq!(
            picked("name,members.name", pool.clone()),
            Some(json!({"name": "app", "members": [{"name": "a"}, {"name": "b"}]}))
        );
        assert_eq!(picked("members.name,members", pool.clone()), Some(json!({"members": pool["members"]})));
        assert_eq!(picked("members,members.name", pool.clone()), Some(json!({"members": pool["members"]})));
        assert_eq!(picked("colour", pool), Some(json!({})));
    }

    #[test]
    fn paths_that_are_none_are_refused() {
        for text in ["", ",", "a,", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(Fields::parse(text), None, "{text}");
        }
    }
}
