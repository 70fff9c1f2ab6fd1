// SPDX-License-Identifier: Apache-2.0
//! The visit of a request to the hooks, and to mod_proxy's lines behind them.

use std::sync::Arc;

use balance::api::{Balancer, PoolId};
use balance::choosing::{Choice, Decision};
use balance::member::Member;
use balance::settings::Method;
use balance::store::Store;
use balance::target;
use balance::url::MemberUrl;
use config::OnError;
use script::host::{Field, Number};
use script::{Answer, MAX_MORE_TRIES, Phase, Question};

use crate::ground::{Ground, Hook, bytes};
use crate::ruling::{HookCall, Plan, Ruling, Visited};

const PROXYREQ_REVERSE: i64 = 2;

/// The hooks that have a say about a request, in the server's order.
pub struct HookPlace<'p> {
    /// `LuaHookTranslate`.
    pub early: Vec<Hook>,
    /// Where mod_proxy sends it now, and the line that says so.
    pub line: &'p dyn Fn() -> Option<(String, String)>,
    /// `LuaHookSelect`.
    pub late: Vec<Hook>,
    /// The consequence of a script's failure.
    pub on_error: &'p OnError,
}

/// Asks everybody who has a say. `before` makes the request ready for the hooks of a kind.
pub fn visit<G: Ground>(ground: &G, place: &HookPlace<'_>, before: impl Fn(Phase)) -> Visited {
    let mut visited = Visited { hooks: Vec::new(), verdict: Ruling::Declined, by_line: None };
    before(Phase::Translate);
    visited.verdict = ask_all(ground, &place.early, place, &mut visited.hooks);
    if matches!(visited.verdict, Ruling::Answer { .. }) {
        return visited;
    }
    if matches!(visited.verdict, Ruling::Declined) {
        by_line(ground, place, &mut visited);
    }
    if place.late.is_empty() {
        return visited;
    }
    before(Phase::Select);
    match ask_all(ground, &place.late, place, &mut visited.hooks) {
        Ruling::Declined => {}
        verdict => (visited.verdict, visited.by_line) = (verdict, None),
    }
    visited
}

/// The ruling of mod_proxy's line, where it names one of our pools.
pub fn by_line<G: Ground>(ground: &G, place: &HookPlace<'_>, visited: &mut Visited) {
    if let Some((target, line)) = (place.line)()
        && let Some(pool) = pool_in(&target)
    {
        visited.verdict = to_pool(ground, pool);
        visited.by_line = Some(line);
    }
}

/// The pool of `lb://pool/…`.
pub fn pool_in(url: &str) -> Option<&str> {
    let name = url.strip_prefix("lb://")?;
    Some(name.split(['/', '?']).next().unwrap_or_default())
}

fn ask_all<G: Ground>(
    ground: &G,
    hooks: &[Hook],
    place: &HookPlace<'_>,
    asked: &mut Vec<HookCall>,
) -> Ruling {
    for hook in hooks {
        let (said, verdict) = ask_one(ground, hook, place);
        asked.push(said);
        if !matches!(verdict, Ruling::Declined) {
            return verdict;
        }
    }
    Ruling::Declined
}

fn ask_one<G: Ground>(ground: &G, hook: &Hook, place: &HookPlace<'_>) -> (HookCall, Ruling) {
    let began = ground.seconds();
    let said = ground.state().select(hook.id, &hook.function, hook.phase);
    let seconds = ground.seconds().zip(began).map(|(now, began)| now - began);
    ground.has_called(hook.id, said.as_ref().err());
    let directive = match hook.phase {
        Phase::Select => "LuaHookSelect",
        _ => "LuaHookTranslate",
    };
    let taking = Taking { ground, hook, on_error: place.on_error };
    let verdict = match &said {
        Ok(answer) => taking.take(answer.clone()),
        Err(error) => taking.failed(&error.to_string()),
    };
    (HookCall { hook: hook.clone(), directive, said, seconds }, verdict)
}

/// The answer of a hook, on its way to a verdict.
struct Taking<'t, G: Ground> {
    ground: &'t G,
    hook: &'t Hook,
    on_error: &'t OnError,
}

fn send(decision: Decision<Hook>) -> Ruling {
    Ruling::Send(decision.into())
}

impl<G: Ground> Taking<'_, G> {
    fn pool_of(&self, member: &Member) -> Option<PoolId> {
        self.ground.handle().store().pool_of(member.slot, member.incarnation)
    }

    fn take(&self, answer: Answer) -> Ruling {
        let request = self.ground.request();
        let own_status = u16::try_from(request.number(Number::Status)).unwrap_or(200);
        let answered = |status, body| Ruling::Answer { status, body, failed: false };
        let decision = match answer {
            Answer::Decline if request.number(Number::Proxyreq) != PROXYREQ_REVERSE => {
                return self.by_handler().unwrap_or(Ruling::Declined);
            }
            Answer::Decline | Answer::Ok => {
                let found = self.by_filename().or_else(|| self.by_handler());
                return found.unwrap_or(Ruling::Declined);
            }
            Answer::Status(status) => return answered(status, None),
            Answer::Done => return answered(own_status, None),
            Answer::Page { status, body } => return answered(status.unwrap_or(own_status), Some(body)),
            Answer::Target(url) => return self.to_url(&url),
            Answer::Member(member) => return Ruling::Send(self.member(member)),
            Answer::Pool { pool, view, method } => Decision::Pool { pool, view, method, first: None },
            Answer::List(members) => {
                let known = |member: Arc<Member>| Some((self.pool_of(&member)?, member));
                Decision::List(members.into_iter().filter_map(known).collect())
            }
            Answer::Each(list) => {
                Decision::Each(list.into_iter().filter_map(|one| self.choice(one)).collect())
            }
            Answer::NoMember { pool, message } => Decision::Nobody { pool, message },
            Answer::Full { pool, view, message } => {
                let now = self.ground.handle().now(pool);
                if now.is_some_and(|now| now.settings().set.queue_ms > 0) {
                    Decision::Pool { pool, view, method: None, first: None }
                } else {
                    Decision::Nobody { pool: Some(pool), message }
                }
            }
            Answer::Peer(peer) => Decision::Script {
                script: self.hook.clone(),
                peer: peer.url(),
                more: peer.more_tries.unwrap_or(0).min(MAX_MORE_TRIES),
            },
            other => return self.failed(&format!("internal error: unknown answer {other:?}")),
        };
        send(decision)
    }

    fn choice(&self, one: Answer) -> Option<Choice> {
        match one {
            Answer::Member(member) => Some(Choice::Member(self.pool_of(&member)?, member)),
            Answer::Pool { pool, view, .. } => Some(Choice::Pool(pool, view)),
            _ => None,
        }
    }

    fn member(&self, member: Arc<Member>) -> Plan {
        let Some(pool) = self.pool_of(&member) else {
            let message = format!("member {} was removed", member.spec.name);
            return Decision::Nobody { pool: None, message }.into();
        };
        let state = self.ground.state();
        let asked = state.asked(&member).filter(|asked| asked.pool == pool);
        let by_method = asked.as_ref().and_then(|asked| asked.method.as_ref()).map(Method::name);
        let picked_by = if state.is_of_session(&member) { Some("sticky") } else { by_method };
        let (view, method, key) = match asked {
            Some(Question { view, method, key, .. }) => (view, method, key),
            None => (None, None, None),
        };
        Plan { decision: Decision::Pool { pool, view, method, first: Some(member) }, key, picked_by }
    }

    /// A script that failed: what `LuaBalancerOnError` says.
    fn failed(&self, error: &str) -> Ruling {
        self.ground.fail(format!("script failed: {error}"));
        let failure = Ruling::Answer { status: 500, body: None, failed: true };
        match self.on_error {
            OnError::Error => failure,
            OnError::Decline => Ruling::Declined,
            OnError::Pool(name) => match self.ground.handle().find(name) {
                Some(pool) => Ruling::Send(Plan::pool(pool)),
                None => {
                    let text = format!("LuaBalancerOnError names pool {name}, which does not exist");
                    self.ground.fail(text);
                    failure
                }
            },
        }
    }

    fn to_url(&self, url: &[u8]) -> Ruling {
        let uri = bytes(self.ground.request(), Field::Uri).unwrap_or_default();
        let base = String::from_utf8_lossy(target::split(url, &uri).base).into_owned();
        match MemberUrl::parse(&base) {
            Ok(base) => send(Decision::Target(base.to_string().into())),
            Err(error) => {
                let url = String::from_utf8_lossy(url);
                self.failed(&format!("chose \"{}\": {error}", url.escape_debug()))
            }
        }
    }

    /// `r.filename = "proxy:…"`, in mod_lua's manner.
    fn by_filename(&self) -> Option<Ruling> {
        let name = bytes(self.ground.request(), Field::Filename)?;
        Some(self.to_backend(name.strip_prefix(b"proxy:")?))
    }

    /// `r.handler = "proxy:…"`.
    fn by_handler(&self) -> Option<Ruling> {
        let name = bytes(self.ground.request(), Field::Handler)?;
        Some(self.to_backend(name.strip_prefix(b"proxy:")?))
    }

    fn to_backend(&self, url: &[u8]) -> Ruling {
        let text = String::from_utf8_lossy(url);
        match pool_in(&text) {
            Some(pool) => to_pool(self.ground, pool),
            None if text.starts_with("balancer://") => Ruling::Declined,
            None => self.to_url(url),
        }
    }
}

fn to_pool<G: Ground>(ground: &G, name: &str) -> Ruling {
    match ground.handle().find(name) {
        Some(pool) => Ruling::Send(Plan::pool(pool)),
        None => send(Decision::Nobody { pool: None, message: format!("there is no pool {name}") }),
    }
}
