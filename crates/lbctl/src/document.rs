// SPDX-License-Identifier: Apache-2.0
//! The document that a verb prints (`-o json`), with the errors of its way at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// A document that is not written yet. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Pending(Arc<Mutex<Parts>>);

#[derive(Debug, Default)]
struct Parts {
    text: Option<String>,
    errors: Vec<Value>,
    is_stream: bool,
}

impl Pending {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a document. Returns one that was kept before, and has to be written ahead of it.
    pub fn put(&self, text: String) -> Option<String> {
        self.parts().text.replace(text)
    }

    /// From here on, each line is a document.
    pub fn streams(&self) {
        self.parts().is_stream = true;
    }

    /// Notes an error: its kind, its words, and the exit code that it means.
    pub fn add_error(&self, title: &str, detail: &str, exit: u8) {
        self.parts().errors.push(json!({ "title": title, "detail": detail, "exit": exit }));
    }

    /// The text to be written now: the document with its errors, or those alone.
    pub fn take(&self) -> Option<String> {
        let Parts { text, errors, is_stream } = std::mem::take(&mut *self.parts());
        if errors.is_empty() {
            return text;
        }
        let whole = json!({ "errors": errors });
        if is_stream {
            return Some(whole.to_string());
        }
        let alone = format!("{whole:#}");
        Some(match text {
            None => alone,
            Some(text) => with_errors(&text, &alone).unwrap_or(alone),
        })
    }
}

/// A document in lines, with one more key. None: it has no keys.
fn with_errors(document: &str, errors: &str) -> Option<String> {
    let keys = document.strip_prefix('{')?.strip_suffix('}')?.trim_end();
    let comma = if keys.is_empty() { "" } else { "," };
    Some(format!("{{{keys}{comma}{}", errors.strip_prefix('{')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stand_in_the_document_or_alone() {
        let taken = |text: Option<&str>, stream: bool| {
            let pending = Pending::default();
            text.map(|text| pending.put(text.to_owned()));
            if stream {
                pending.streams();
            }
            pending.add_error("usage", "a \"b\"", 2);
            let taken = pending.take().unwrap();
            assert_eq!(pending.take(), None);
            (serde_json::from_str::<Value>(&taken).unwrap(), taken.lines().count())
        };
        let errors = json!([{ "title": "usage", "detail": "a \"b\"", "exit": 2 }]);
        assert_eq!(taken(None, false).0, json!({ "errors": errors }));
        assert_eq!(taken(None, true), (json!({ "errors": errors }), 1));
        assert_eq!(taken(Some("{}"), false).0, json!({ "errors": errors }));
        assert_eq!(taken(Some("{\n  \"a\": {}\n}"), false).0, json!({ "a": {}, "errors": errors }));
        assert_eq!(taken(Some("[1]"), false).0, json!({ "errors": errors }));
        let pending = Pending::default();
        assert_eq!((pending.put("1".into()), pending.put("2".into())), (None, Some("1".into())));
        assert_eq!(pending.take().as_deref(), Some("2"));
    }
}
