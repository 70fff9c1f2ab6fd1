// SPDX-License-Identifier: Apache-2.0
//! Members that scripts pick attempt by attempt: `LuaBalancerMethod lua`, and `ngx.balancer`.

use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, View, ViewStep};
use balance::live::Slot;
use balance::member::Member;
use balance::settings::{FailureKinds, PoolSettings};
use config::Resolved;
use script::{Answer, AttemptsSoFar, Phase};

use super::chooser::Chooser;
use super::journey::{Goal, Journey, Turn};
use crate::httpd::log;
use crate::relay::peer;

/// The failures after which a script that uses `ngx.balancer` may ask for further tries, as nginx's
/// `proxy_next_upstream error timeout` has it.
static PEER_FAILURES: FailureKinds =
    FailureKinds { connect: true, reset: true, timeout: true, any_5xx: false, codes: Vec::new() };

/// A script that runs again for every attempt.
pub struct ScriptChooser<'r> {
    script: &'r Resolved,
    peer: Arc<str>,
    more: u32,
}

impl<'r> ScriptChooser<'r> {
    /// `peer` and `more`: the answer that the script gave first.
    pub fn new(script: &'r Resolved, peer: Arc<str>, more: u32) -> Self {
        ScriptChooser { script, peer, more }
    }

    fn again(&mut self, turn: Turn<'_>, journey: &Journey) -> Result<Arc<str>, NoMember> {
        let script = turn.child.script(self.script.script);
        let answer = turn.child.call(turn.request, script, |lua| {
            lua.set_attempt(attempt(journey));
            let answer = lua.select(script, &self.script.function, Phase::Pick);
            lua.set_attempt(AttemptsSoFar::default());
            answer
        });
        match answer {
            Ok(Answer::Peer(next)) => {
                self.peer = peer::url(&next);
                let more = self.more.saturating_add(next.more_tries.unwrap_or(0));
                self.more = more.min(script::MAX_MORE_TRIES);
                Ok(self.peer.clone())
            }
            Ok(_) => Err(NoMember::UnknownPool),
            Err(error) => {
                log::request(
                    turn.request,
                    log::ERR,
                    &format!("script failed at attempt {}: {error}", journey.attempts + 1),
                );
                Err(NoMember::UnknownPool)
            }
        }
    }
}

/// The attempt as the script sees it. Failures have nginx's numbers: 504 for a peer that took too
/// long, 502 for one that gave no answer.
fn attempt(journey: &Journey) -> AttemptsSoFar {
    let status = match journey.word().to_bytes() {
        b"timeout" => 504,
        b"connect" | b"reset" => 502,
        _ => journey.last.map_or(0, |ended| ended.status),
    };
    AttemptsSoFar { before: journey.attempts, last_failure: Some((journey.word() == c"ok", status)) }
}

impl Chooser for ScriptChooser<'_> {
    fn next(&mut self, turn: Turn<'_>, journey: &mut Journey) -> Result<Goal, NoMember> {
        if journey.attempts == 0 {
            return Ok(Goal::Target(self.peer.clone()));
        }
        self.again(turn, journey).map(Goal::Target)
    }

    fn method(&self, _: &Journey, settings: &PoolSettings) -> &'static str {
        settings.method.name()
    }

    fn more(&self, _: &PoolSettings) -> u32 {
        self.more
    }

    fn retry_on<'s>(&self, _: &'s PoolSettings) -> &'s FailureKinds {
        &PEER_FAILURES
    }

    fn target(&self) -> Option<&str> {
        Some(&self.peer)
    }
}

/// `LuaBalancerMethod lua`: the function gets `(pool, r)` and returns a member.
pub fn pick(
    turn: Turn<'_>,
    pool: PoolId,
    (script, function): (&str, &str),
    tried: &[Slot],
) -> Result<Arc<Member>, NoMember> {
    let Turn { request, child, thread } = turn;
    let failed = |what: &str| {
        log::request(request, log::ERR, what);
        Err(NoMember::ScriptFailed)
    };
    let Some(id) = child.method_script(script) else {
        return failed(&format!("LuaBalancerMethod lua {script}: the script is unknown"));
    };
    let Some(membership) = thread.balancer.membership(pool) else { return Err(NoMember::UnknownPool) };
    let names: Vec<String> = membership
        .members
        .iter()
        .filter(|member| tried.contains(&member.slot))
        .map(|member| member.spec.name.clone())
        .collect();
    let left = membership.members.len() - names.len();
    let view = (!names.is_empty()).then(|| Arc::new(View { steps: vec![ViewStep::Except(names)] }));
    let answer = child.call(request, id, |lua| lua.pick(id, function, &membership.name, view));
    match answer {
        // A script may also have kept one that is in no pool any more.
        Ok(Answer::Member(member))
            if !tried.contains(&member.slot) && thread.balancer.status(&member).is_some() =>
        {
            Ok(member)
        }
        Ok(Answer::Member(_) | Answer::Decline | Answer::NoMember { .. }) => {
            Err(NoMember::NoneUsable(membership.name.clone(), 0, membership.members.len()))
        }
        Ok(Answer::Full { .. }) => Err(NoMember::Full(membership.name.clone(), left)),
        Ok(_) => failed(&format!("LuaBalancerMethod lua: {function} did not return a member or nil")),
        Err(error) => failed(&format!("LuaBalancerMethod lua failed: {error}")),
    }
}
