// SPDX-License-Identifier: Apache-2.0
//! Parts of the server itself that are shown.

use crate::trouble::Trouble;

/// A dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictState {
    /// Its name.
    pub name: String,
    /// Bytes in all.
    pub size: usize,
    /// Bytes free.
    pub free: usize,
    /// Entries that had time left and were thrown out for others.
    pub evictions: u64,
    /// The last thing that it refused for want of room, or since a process held it up.
    pub last_error: Option<Trouble>,
}

/// The lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeadState {
    /// The child.
    pub pid: i32,
    /// The newest generation: the one whose children may lead.
    pub generation: u32,
    /// The lease has not run out.
    pub fresh: bool,
    /// Since when it leads: epoch seconds, 0 for not noted yet.
    pub since_s: u64,
}

/// A child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildState {
    /// Its process.
    pub pid: i32,
    /// The configuration that it serves by.
    pub generation: u32,
    /// The last error that it wrote into the log for itself.
    pub last_error: Option<Trouble>,
}
