// SPDX-License-Identifier: Apache-2.0
//! The ground of an explanation.

use std::borrow::Cow;
use std::sync::Arc;

use balance::api::{Balancer, NoMember};
use balance::choosing::{Circumstances, Course};
use balance::engine::{Handle, Now};
use balance::live::Slot;
use balance::member::Member;
use balance::settings::PoolSettings;
use balance::sticky::Sent;
use balance::store::Store;
use script::host::{Field, Request, RequestTable};
use script::{Answer, AttemptsSoFar, Library, LuaState, MethodCall, Phase, ScriptError, ScriptId};

/// A function that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The script.
    pub id: ScriptId,
    /// The function.
    pub function: String,
    /// When it is asked.
    pub phase: Phase,
}

/// A server, or a world in place of one, and the request that it looks at.
pub trait Ground {
    /// The store of the members.
    type Store: Store;

    /// The balancer.
    fn handle(&self) -> &Handle<Self::Store>;
    /// The key of a pool's hash methods for the request.
    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]>;
    /// The Lua state, over the request.
    fn state(&self) -> &LuaState;
    /// The request.
    fn request(&self) -> &dyn Request;
    /// All scripts.
    fn library(&self) -> &Library;
    /// The number of a script that a pool names, as written.
    fn method_script(&self, written: &str) -> Option<ScriptId>;
    /// Seconds of a clock. None: nobody measures.
    fn seconds(&self) -> Option<f64>;
    /// Notes what went wrong on the way.
    fn fail(&self, text: String);
    /// A call of a script has ended: well, or with an error.
    fn has_called(&self, script: ScriptId, error: Option<&ScriptError>);
}

/// A field of the request.
pub fn bytes(request: &dyn Request, field: Field) -> Option<Vec<u8>> {
    let mut found = None;
    request.field(field, &mut |value| found = value.map(<[u8]>::to_vec));
    found
}

/// A ground as a choice asks it: nobody listens to its lines.
pub(crate) struct GroundCircumstances<'g, G>(pub(crate) &'g G);

impl<G: Ground> Circumstances for GroundCircumstances<'_, G> {
    type Store = G::Store;
    type Script = Hook;

    fn handle(&self) -> &Handle<G::Store> {
        self.0.handle()
    }

    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]> {
        self.0.key(settings)
    }

    fn with_sent<T>(&self, body: impl FnOnce(Sent<'_>) -> T) -> T {
        let request = self.0.request();
        let url = bytes(request, Field::UnparsedUri).unwrap_or_default();
        let mut cookies = Vec::new();
        request.get(RequestTable::HeadersIn, b"Cookie", &mut |value| {
            cookies.extend_from_slice(value.unwrap_or_default());
        });
        body(Sent { url: &url, cookies: &cookies })
    }

    fn pick_by_script(
        &self,
        pool: &Now,
        (script, function): (&str, &str),
        avoid: &[Slot],
    ) -> Result<Arc<Member>, NoMember> {
        let complain = |what: &str| self.0.fail(what.to_owned());
        let Some(id) = self.0.method_script(script) else {
            complain(&format!("LuaBalancerMethod lua {script}: the script is unknown"));
            return Err(NoMember::ScriptFailed);
        };
        let call = MethodCall { pool: pool.membership(), function, avoid };
        let said = self.0.state().pick(id, function, &call.pool.name, call.view());
        self.0.has_called(id, said.as_ref().err());
        call.picked(said, |member| self.0.handle().status(member).is_some(), complain)
    }

    fn name_again(&self, hook: &Hook, course: &Course) -> Result<(Arc<str>, u32), NoMember> {
        let state = self.0.state();
        state.set_attempt(AttemptsSoFar::of(course));
        let answer = state.select(hook.id, &hook.function, Phase::Pick);
        state.set_attempt(AttemptsSoFar::default());
        self.0.has_called(hook.id, answer.as_ref().err());
        match answer {
            Ok(Answer::Peer(next)) => Ok((next.url(), next.more_tries.unwrap_or(0))),
            Ok(_) => Err(NoMember::UnknownPool),
            Err(error) => {
                self.0.fail(format!("script failed at attempt {}: {error}", course.attempts + 1));
                Err(NoMember::UnknownPool)
            }
        }
    }

    fn listens(&self) -> bool {
        false
    }

    fn tell(&self, _: &str) {}
}
