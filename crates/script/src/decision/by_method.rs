// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerMethod lua`: whom a function may pick, and whom it has picked.

use std::sync::Arc;

use balance::api::{Membership, NoMember, View, ViewStep};
use balance::live::Slot;
use balance::member::Member;

use super::answer::Answer;
use crate::error::ScriptError;

/// A call of such a function.
#[derive(Debug, Clone, Copy)]
pub struct MethodCall<'c> {
    /// The pool that asks.
    pub pool: &'c Membership,
    /// The function's name.
    pub function: &'c str,
    /// Members that it may not name.
    pub avoid: &'c [Slot],
}

impl MethodCall<'_> {
    /// The part of the pool that the function sees. None: all of it.
    pub fn view(&self) -> Option<Arc<View>> {
        let out = self.pool.members.iter().filter(|member| self.avoid.contains(&member.slot));
        let names: Vec<String> = out.map(|member| member.spec.name.clone()).collect();
        (!names.is_empty()).then(|| Arc::new(View { steps: vec![ViewStep::Except(names)] }))
    }

    /// The member that the answer names; `is_there` says whether a member is one still. The
    /// script's failures are told to `complain`.
    ///
    /// # Errors
    /// It names nobody, or has failed.
    pub fn picked(
        &self,
        said: Result<Answer, ScriptError>,
        is_there: impl FnOnce(&Member) -> bool,
        complain: impl FnOnce(&str),
    ) -> Result<Arc<Member>, NoMember> {
        let (name, count) = (&self.pool.name, self.pool.members.len());
        let what = match said {
            // A script may also have kept one that is in no pool any more.
            Ok(Answer::Member(member)) if !self.avoid.contains(&member.slot) && is_there(&member) => {
                return Ok(member);
            }
            Ok(Answer::Member(_) | Answer::Decline | Answer::NoMember { .. }) => {
                return Err(NoMember::NoneUsable(name.clone(), 0, count));
            }
            Ok(Answer::Full { .. }) => {
                let members = self.pool.members.iter();
                let left = members.filter(|member| !self.avoid.contains(&member.slot)).count();
                return Err(NoMember::Full(name.clone(), left));
            }
            Ok(_) => format!("LuaBalancerMethod lua: {} did not return a member or nil", self.function),
            Err(error) => format!("LuaBalancerMethod lua failed: {error}"),
        };
        complain(&what);
        Err(NoMember::ScriptFailed)
    }
}
