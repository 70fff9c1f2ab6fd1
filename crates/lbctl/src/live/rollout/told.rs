// SPDX-License-Identifier: Apache-2.0
//! The end of a rollout, as a document.

use serde::Serialize;

use super::super::model::SeenMember;
use crate::out::Failure;

/// The members, by how far each has come.
#[derive(Debug, Default, Serialize)]
pub struct RolloutEnd {
    /// The pool.
    pub pool: String,
    /// Members that the command was run for, by this rollout or the one that it goes on with.
    pub done: Vec<String>,
    /// Members that rollouts have taken out and not brought back.
    pub left_drained: Vec<String>,
    /// Members that somebody else has taken out: they are left so, without the command.
    pub passed_over: Vec<PassedOver>,
    /// Members whose turn has not come.
    pub open: Vec<String>,
    /// Why it has stopped; null: it has not.
    pub error: Option<String>,
}

/// A member that is left as it is.
#[derive(Debug, Serialize)]
pub struct PassedOver {
    /// Its name.
    pub member: String,
    /// Its state by order: `drain` or `disabled`.
    pub admin: String,
}

impl RolloutEnd {
    /// Of a pool.
    pub fn of(pool: &str) -> Self {
        RolloutEnd { pool: pool.to_owned(), ..RolloutEnd::default() }
    }

    /// Notes a member that is left as it is.
    pub fn passes_over(&mut self, member: &SeenMember) {
        self.passed_over.push(PassedOver { member: member.name.clone(), admin: member.admin.clone() });
    }

    /// Notes why it has stopped.
    pub fn ends<T>(&mut self, end: &Result<T, Failure>) {
        self.error = end.as_ref().err().map(|failure| failure.text.clone());
    }
}
