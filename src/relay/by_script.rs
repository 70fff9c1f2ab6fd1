// SPDX-License-Identifier: Apache-2.0
//! Members that scripts pick attempt by attempt: `LuaBalancerMethod lua`, and `ngx.balancer`.

use std::sync::Arc;

use balance::api::{Balancer, NoMember};
use balance::choosing::Course;
use balance::engine::Now;
use balance::live::Slot;
use balance::member::Member;
use config::Resolved;
use script::{Answer, AttemptsSoFar, MethodCall, Phase};

use super::journey::Serving;
use crate::httpd::log;

/// Has the script of `ngx.balancer` run once more: the peer that it names, and how many more
/// attempts it asks for.
pub fn name_again(
    serving: Serving<'_>,
    hook: &Resolved,
    course: &Course,
) -> Result<(Arc<str>, u32), NoMember> {
    let script = serving.child.script(hook.script);
    let answer = serving.child.call(serving.request, script, |lua| {
        lua.set_attempt(AttemptsSoFar::of(course));
        let answer = lua.select(script, &hook.function, Phase::Pick);
        lua.set_attempt(AttemptsSoFar::default());
        answer
    });
    match answer {
        Ok(Answer::Peer(next)) => Ok((next.url(), next.more_tries.unwrap_or(0))),
        Ok(_) => Err(NoMember::UnknownPool),
        Err(error) => {
            let what = format!("script failed at attempt {}: {error}", course.attempts + 1);
            log::request(serving.request, messages::scripts::NEXT_ATTEMPT_FAILED, &what);
            Err(NoMember::UnknownPool)
        }
    }
}

/// `LuaBalancerMethod lua`: the function gets `(pool, r)` and returns a member.
pub fn pick(
    serving: Serving<'_>,
    pool: &Now,
    (script, function): (&str, &str),
    avoid: &[Slot],
) -> Result<Arc<Member>, NoMember> {
    let Serving { request, child, thread } = serving;
    let Some(id) = child.method_script(script) else {
        let text = format!("LuaBalancerMethod lua {script}: the script is unknown");
        log::request(request, messages::scripts::METHOD_UNKNOWN, &text);
        return Err(NoMember::ScriptFailed);
    };
    let call = MethodCall { pool: pool.membership(), function, avoid };
    let said = child.call(request, id, |lua| lua.pick(id, function, &call.pool.name, call.view()));
    let complain = |why: &str| log::request(request, messages::scripts::METHOD_FAILED, why);
    call.picked(said, |member| thread.balancer.status(member).is_some(), complain)
}
