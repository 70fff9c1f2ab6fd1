// SPDX-License-Identifier: Apache-2.0
//! A script's answer, as a decision.

use std::sync::Arc;

use balance::choosing::Choice;
use balance::member::{Member, MemberSpec};
use balance::relay::HookStatus;
use config::Resolved;
use script::{Answer, ErrorKind, Question, ScriptError};

use super::fail::failed;
use super::mod_lua;
use super::send::send;
use super::visit::Visit;
use crate::httpd::log;
use crate::relay::journey::Serving;
use crate::relay::record::Record;
use balance::choosing::Decision;

/// Takes an answer: sends the request where it says.
pub fn take(visit: &Visit<'_>, hook: &Resolved, answer: Answer) -> HookStatus {
    let Serving { request, child, thread } = visit.serving;
    let pool_of = |member: &Member| child.table.pool_of(member.slot, member.incarnation);
    let decision = match answer {
        Answer::Decline => return mod_lua::declined(visit),
        Answer::Ok => return mod_lua::accepted(visit),
        Answer::Status(status) => {
            request.name_status(i32::from(status));
            return HookStatus::Http(status);
        }
        Answer::Done => return finished(visit),
        Answer::Page { status, body } => {
            if let Some(status) = status {
                request.set_status(i32::from(status));
            }
            let answer = finished(visit);
            if answer == HookStatus::Done {
                request.write(&body);
            }
            return answer;
        }
        Answer::Target(url) => return mod_lua::to_url(visit, &url),
        Answer::Member(member) => match pool_of(&member) {
            Some(pool) => Decision::Pool { pool, view: None, method: None, first: Some(member) },
            None => {
                let message = format!("member {} was removed", member.spec.name);
                Decision::Nobody { pool: None, message }
            }
        },
        Answer::Pool { pool, view, method } => Decision::Pool { pool, view, method, first: None },
        Answer::List(members) => {
            let known = |member: Arc<Member>| Some((pool_of(&member)?, member));
            Decision::List(members.into_iter().filter_map(known).collect())
        }
        Answer::Each(list) => {
            let choice = |one| match one {
                Answer::Member(member) => Some(Choice::Member(pool_of(&member)?, member)),
                Answer::Pool { pool, view, .. } => Some(Choice::Pool(pool, view)),
                _ => None,
            };
            Decision::Each(list.into_iter().filter_map(choice).collect())
        }
        Answer::NoMember { pool, message } => Decision::Nobody { pool, message },
        Answer::Full { pool, view, message } => {
            let waits = thread.balancer.now(pool).is_some_and(|now| now.settings().set.queue_ms > 0);
            if waits {
                Decision::Pool { pool, view, method: None, first: None }
            } else {
                Decision::Nobody { pool: Some(pool), message }
            }
        }
        Answer::Peer(peer) => Decision::Script {
            script: hook.clone(),
            peer: peer.url(),
            more: peer.more_tries.unwrap_or(0).min(script::MAX_MORE_TRIES),
        },
        other => {
            let text = format!("internal error: unknown answer {other:?}");
            log::request(request, messages::scripts::ODD_ANSWER, &text);
            return HookStatus::Http(500);
        }
    };
    send(visit.serving, decision)
}

/// A script that has answered by itself. An interim status would leave the client waiting for
/// another one.
fn finished(visit: &Visit<'_>) -> HookStatus {
    let request = visit.serving.request;
    let status = request.status();
    if !(200..=599).contains(&status) {
        let text = format!("it answered with r.status = {status}, expected one from 200 to 599");
        request.set_status(200);
        return failed(visit, &ScriptError::new(ErrorKind::Answer, text));
    }
    request.name_status(status);
    HookStatus::Done
}

/// A member that a method of a pool or view has picked, and the question for further attempts.
pub fn send_picked(visit: &Visit<'_>, member: Arc<Member>, asked: Question) -> HookStatus {
    let Question { pool, view, method, key } = asked;
    let status = send(visit.serving, Decision::Pool { pool, view, method, first: Some(member) });
    if status == HookStatus::Ok
        && let Some(record) = Record::of(visit.serving.request)
    {
        record.write_route().key = key;
    }
    status
}

/// Logs a script's answer beside all members that it could choose from, at `LogLevel trace2`.
#[cold]
pub fn explain(serving: Serving<'_>, answer: &Answer, by: Option<&'static str>) {
    let Serving { request, child, thread } = serving;
    let beside = |member: &Member| {
        let pool = child.table.pool_of(member.slot, member.incarnation);
        pool.map_or_else(
            || "no pool any more".to_owned(),
            |pool| thread.balancer.explain(pool, None).to_string(),
        )
    };
    let text = match answer {
        Answer::Member(member) => {
            let how = by.map_or_else(|| "it named that one".to_owned(), |method| format!("by {method}"));
            let MemberSpec { name, url, .. } = &member.spec;
            format!("{}: the script chose member {name} ({url}), {how}", beside(member))
        }
        Answer::Pool { pool, view, .. } => {
            let narrowed = if view.is_some() { ", narrowed" } else { "" };
            let state = thread.balancer.explain(*pool, view.as_deref());
            format!("{state}: the script chose the pool{narrowed}, whose method picks")
        }
        Answer::List(members) => {
            let names: Vec<&str> = members.iter().map(|member| member.spec.name.as_str()).collect();
            let state = members.first().map(|member| beside(member)).unwrap_or_default();
            format!("{state}: the script listed {}, in this order", names.join(", "))
        }
        Answer::NoMember { pool: Some(pool), message } => {
            format!("{}: the script found no member: {message}", thread.balancer.explain(*pool, None))
        }
        Answer::Target(url) => format!("the script chose \"{}\"", url.escape_ascii()),
        other => format!("the script answered {other:?}"),
    };
    log::request(request, messages::requests::ANSWERED, &text);
}
