// SPDX-License-Identifier: Apache-2.0
//! The errors of lists, for administrators: one line, with the place in it.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListProblem {
    /// Nothing is in it. A list without members is `[]`.
    #[error("it is empty: expected a list; one without members is written as []")]
    Nothing,
    /// It is not text.
    #[error("it is not UTF-8 text (byte {0})")]
    NoText(usize),
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NoJson(String),
    /// It is a page for people.
    #[error("it is HTML, as pages for logins and errors are: expected JSON or lines")]
    Html,
    /// It is JSON of another shape.
    #[error("{place}: found {found}, expected {expected}")]
    Shape {
        /// Where.
        place: String,
        /// The value there.
        found: String,
        /// The value that would be taken.
        expected: &'static str,
    },
    /// An entry cannot be taken.
    #[error("{place}: {why}")]
    Entry {
        /// Where.
        place: String,
        /// The error.
        why: String,
    },
    /// One of its entries is larger than a whole list may be.
    #[error("{place}: it has more parts than max= members could have")]
    TooLarge {
        /// Where.
        place: String,
    },
    /// Too many of its entries are wrong.
    #[error("more than {most} of its entries are wrong")]
    TooManyWrong {
        /// So many may be.
        most: usize,
    },
    /// It names too many members.
    #[error("it names {found} members: at most {most} are taken (max=)")]
    TooMany {
        /// So many, or more.
        found: usize,
        /// So many are allowed.
        most: usize,
    },
}

/// A piece of a list as it may stand in a message.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out: String = text.chars().take(MOST).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}
