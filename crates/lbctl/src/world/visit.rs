// SPDX-License-Identifier: Apache-2.0
//! What the hooks make of a request, and mod_proxy's lines behind them.

use std::sync::Arc;

use balance::api::{Balancer, PoolId};
use balance::member::Member;
use balance::settings::Method;
use balance::store::Store;
use balance::target;
use balance::url::MemberUrl;
use config::{OnError, Resolved};
use script::host::{Field, Number, Request};
use script::{Answer, FinishResult, Phase, Question, ScriptError, ScriptId};

use super::World;
use super::ask::Ask;
use super::decision::{Asked, Choice, Decision, Verdict, Visited};
use crate::conf::site::Scope;

/// A function that is asked.
struct Hook {
    id: ScriptId,
    function: String,
    phase: Phase,
}

const PROXYREQ_REVERSE: i64 = 2;

impl World {
    /// Asks everybody who has a say, in the server's order. The request stays in its place.
    pub fn visit(&self, ask: &Ask) -> Visited {
        let (name, port) = ask.server();
        let scope = self.setup.site.scope(name, port, ask.path());
        let mut visited = Visited { hooks: Vec::new(), verdict: Verdict::Declined, by_line: None };
        let early = self.hooks(ask, &scope, Phase::Translate);
        let late = self.hooks(ask, &scope, Phase::Select);
        if early.is_empty() && late.is_empty() {
            self.by_line(ask, &scope, &mut visited);
            let late = self.hooks(ask, &scope, Phase::Finish);
            if !late.is_empty() || self.looks_at_requests(&visited.verdict) {
                ask.put(&self.request, true);
            }
            return visited;
        }
        ask.put(&self.request, false);
        visited.verdict = self.ask_all(&early, &scope, &mut visited.hooks);
        if matches!(visited.verdict, Verdict::Answer { .. }) {
            return visited;
        }
        if self.only.is_none() && matches!(visited.verdict, Verdict::Declined) {
            self.by_line(ask, &scope, &mut visited);
        }
        if !late.is_empty() {
            ask.put(&self.request, true);
            match self.ask_all(&late, &scope, &mut visited.hooks) {
                Verdict::Declined => {}
                verdict => (visited.verdict, visited.by_line) = (verdict, None),
            }
        }
        visited
    }

    /// Whether anything but the members decides where a request goes.
    fn looks_at_requests(&self, verdict: &Verdict) -> bool {
        let Verdict::Send(Decision::Pool { pool, .. }) = verdict else { return true };
        self.handle().now(*pool).is_none_or(|now| {
            let settings = now.settings();
            settings.key.is_some()
                || settings.sticky.is_some()
                || matches!(settings.method, Method::Lua { .. })
        })
    }

    /// `LuaHookFinish`. Returns what went wrong.
    pub fn finish(&self, ask: &Ask, result: &FinishResult) -> Vec<ScriptError> {
        let (name, port) = ask.server();
        let scope = self.setup.site.scope(name, port, ask.path());
        let hooks = self.hooks(ask, &scope, Phase::Finish);
        let run = |hook: &Hook| self.state().finish(hook.id, &hook.function, result).err();
        hooks.iter().filter_map(run).collect()
    }

    fn hooks(&self, ask: &Ask, scope: &Scope<'_>, phase: Phase) -> Vec<Hook> {
        if let Some(only) = &self.only {
            let usual = if ask.user.is_some() { Phase::Select } else { Phase::Translate };
            let function = match phase {
                Phase::Finish => only.finish.clone(),
                _ => (only.phase.unwrap_or(usual) == phase).then(|| only.function.clone()),
            };
            return function.map(|function| Hook { id: only.id, function, phase }).into_iter().collect();
        }
        let of: crate::conf::site::HooksOf = match phase {
            Phase::Translate => |section| section.translate,
            Phase::Select => |section| section.select,
            _ => |section| section.finish,
        };
        let all = scope.hooks(&self.setup.config, of).iter();
        let hook = |resolved: &Resolved| {
            Some(Hook { id: self.script(resolved.script)?, function: resolved.function.clone(), phase })
        };
        all.filter_map(hook).collect()
    }

    fn ask_all(&self, hooks: &[Hook], scope: &Scope<'_>, asked: &mut Vec<Asked>) -> Verdict {
        for hook in hooks {
            let (said, verdict) = self.ask_one(hook, scope);
            asked.push(said);
            if !matches!(verdict, Verdict::Declined) {
                return verdict;
            }
        }
        Verdict::Declined
    }

    fn ask_one(&self, hook: &Hook, scope: &Scope<'_>) -> (Asked, Verdict) {
        let said = self.state().select(hook.id, &hook.function, hook.phase);
        let directive = match hook.phase {
            Phase::Select => "LuaHookSelect",
            _ => "LuaHookTranslate",
        };
        let said = said.map_err(|error| error.to_string());
        let verdict = match &said {
            Ok(answer) => self.take(answer.clone(), scope),
            Err(error) => self.failed(error, scope),
        };
        (Asked { directive, id: hook.id, function: hook.function.clone(), said }, verdict)
    }

    /// The label and version of a hook's script, the line of its function, and what it returned.
    pub fn tell(&self, asked: &Asked) -> (String, u64, Option<usize>, String) {
        let line = self.state.line_of(asked.id, &asked.function).ok().flatten();
        let returned = match &asked.said {
            Ok(answer) => self.words(answer),
            Err(error) => format!("error: {error}"),
        };
        (self.library.label(asked.id), self.library.version(asked.id), line, returned)
    }

    fn pool_of(&self, member: &Member) -> Option<PoolId> {
        self.pools.store().pool_of(member.slot, member.incarnation)
    }

    fn take(&self, answer: Answer, scope: &Scope<'_>) -> Verdict {
        let own_status = u16::try_from(self.request.number(Number::Status)).unwrap_or(200);
        let answered = |status, body| Verdict::Answer { status, body, failed: false };
        let decision = match answer {
            Answer::Decline if self.request.number(Number::Proxyreq) != PROXYREQ_REVERSE => {
                return self.by_handler(scope).unwrap_or(Verdict::Declined);
            }
            Answer::Decline | Answer::Ok => {
                return self
                    .by_filename(scope)
                    .or_else(|| self.by_handler(scope))
                    .unwrap_or(Verdict::Declined);
            }
            Answer::Status(status) => return answered(status, None),
            Answer::Done => return answered(own_status, None),
            Answer::Page { status, body } => return answered(status.unwrap_or(own_status), Some(body)),
            Answer::Target(url) => return self.to_url(&url, scope),
            Answer::Member(member) => self.member(member),
            Answer::Pool { pool, view, method } => {
                Decision::Pool { pool, view, method, first: None, key: None, picked_by: None }
            }
            Answer::List(members) => {
                let known = |member: Arc<Member>| Some((self.pool_of(&member)?, member));
                Decision::List(members.into_iter().filter_map(known).collect())
            }
            Answer::Each(list) => {
                let choice = |one| match one {
                    Answer::Member(member) => Some(Choice::Member(self.pool_of(&member)?, member)),
                    Answer::Pool { pool, view, .. } => Some(Choice::Pool(pool, view)),
                    _ => None,
                };
                Decision::Each(list.into_iter().filter_map(choice).collect())
            }
            Answer::NoMember { pool, message } => Decision::Nobody { pool, message },
            Answer::Full { pool, view, message } => {
                let waits = self.handle().now(pool).is_some_and(|now| now.settings().set.queue_ms > 0);
                if waits {
                    Decision::Pool { pool, view, method: None, first: None, key: None, picked_by: None }
                } else {
                    Decision::Nobody { pool: Some(pool), message }
                }
            }
            Answer::Peer(peer) => {
                let scheme = if peer.tls { "https" } else { "http" };
                let port = if peer.port == 0 { String::new() } else { format!(":{}", peer.port) };
                Decision::Target(format!("{scheme}://{}{port}", peer.host))
            }
            other => return self.failed(&format!("internal error: unknown answer {other:?}"), scope),
        };
        Verdict::Send(decision)
    }

    fn member(&self, member: Arc<Member>) -> Decision {
        let Some(pool) = self.pool_of(&member) else {
            let message = format!("member {} was removed", member.spec.name);
            return Decision::Nobody { pool: None, message };
        };
        let asked = self.state.asked(&member).filter(|asked| asked.pool == pool);
        let by_session = self.state.is_of_session(&member);
        let by_method = asked.as_ref().and_then(|asked| asked.method.as_ref()).map(Method::name);
        let picked_by = if by_session { Some("sticky") } else { by_method };
        let (view, method, key) = match asked {
            Some(Question { view, method, key, .. }) => (view, method, key),
            None => (None, None, None),
        };
        Decision::Pool { pool, view, method, first: Some(member), key, picked_by }
    }

    /// A script that failed: what `LuaBalancerOnError` says.
    fn failed(&self, error: &str, scope: &Scope<'_>) -> Verdict {
        self.fail(format!("script failed: {error}"));
        let failure = Verdict::Answer { status: 500, body: None, failed: true };
        match scope.on_error(&self.setup.config) {
            OnError::Error => failure,
            OnError::Decline => Verdict::Declined,
            OnError::Pool(name) => match self.handle().find(name) {
                Some(pool) => Verdict::Send(Decision::pool(pool)),
                None => {
                    self.fail(format!("LuaBalancerOnError names pool {name}, which does not exist"));
                    failure
                }
            },
        }
    }

    fn to_url(&self, url: &[u8], scope: &Scope<'_>) -> Verdict {
        let uri = self.request.bytes(Field::Uri).unwrap_or_default();
        let base = String::from_utf8_lossy(target::split(url, &uri).base).into_owned();
        match MemberUrl::parse(&base) {
            Ok(base) => Verdict::Send(Decision::Target(base.to_string())),
            Err(error) => {
                let text = format!("chose \"{}\": {error}", String::from_utf8_lossy(url).escape_debug());
                self.failed(&text, scope)
            }
        }
    }

    /// `r.filename = "proxy:…"`, in mod_lua's manner.
    fn by_filename(&self, scope: &Scope<'_>) -> Option<Verdict> {
        let name = self.request.bytes(Field::Filename)?;
        Some(self.to_backend(name.strip_prefix(b"proxy:")?, scope))
    }

    /// `r.handler = "proxy:…"`.
    fn by_handler(&self, scope: &Scope<'_>) -> Option<Verdict> {
        let name = self.request.bytes(Field::Handler)?;
        Some(self.to_backend(name.strip_prefix(b"proxy:")?, scope))
    }

    fn to_backend(&self, url: &[u8], scope: &Scope<'_>) -> Verdict {
        let text = String::from_utf8_lossy(url);
        match pool_in(&text) {
            Some(pool) => self.to_pool(pool),
            None if text.starts_with("balancer://") => Verdict::Declined,
            None => self.to_url(url, scope),
        }
    }

    fn to_pool(&self, name: &str) -> Verdict {
        match self.handle().find(name) {
            Some(pool) => Verdict::Send(Decision::pool(pool)),
            None => {
                Verdict::Send(Decision::Nobody { pool: None, message: format!("there is no pool {name}") })
            }
        }
    }

    fn by_line(&self, ask: &Ask, scope: &Scope<'_>, visited: &mut Visited) {
        let Some((target, line)) = scope.pass(ask.path()) else { return };
        if let Some(pool) = pool_in(&target) {
            visited.verdict = self.to_pool(pool);
            visited.by_line = Some(line);
        }
    }

    /// What a script returned, for people.
    fn words(&self, answer: &Answer) -> String {
        let name = |pool: &PoolId| {
            self.handle().now(*pool).map(|now| now.membership().name.to_string()).unwrap_or_default()
        };
        match answer {
            Answer::Decline => "nothing: not ours".into(),
            Answer::Ok => "apache2.OK".into(),
            Answer::Status(status) => format!("status {status}"),
            Answer::Member(member) => format!("member {}", member.spec.name),
            Answer::Pool { pool, view, .. } => {
                format!("pool {}{}", name(pool), if view.is_some() { ", narrowed" } else { "" })
            }
            Answer::List(members) => {
                let names: Vec<&str> = members.iter().map(|member| member.spec.name.as_str()).collect();
                format!("members {}", names.join(", "))
            }
            Answer::Each(list) => {
                let each: Vec<String> = list.iter().map(|one| self.words(one)).collect();
                format!("a list: {}", each.join("; "))
            }
            Answer::Target(url) => format!("\"{}\"", String::from_utf8_lossy(url).escape_debug()),
            Answer::NoMember { message, .. } | Answer::Full { message, .. } => format!("nil: {message}"),
            Answer::Peer(peer) => format!("peer {}:{}", peer.host, peer.port),
            Answer::Done => "apache2.DONE".into(),
            Answer::Page { .. } => "a page".into(),
            other => format!("{other:?}"),
        }
    }
}

/// The pool of `lb://pool/…`.
fn pool_in(url: &str) -> Option<&str> {
    let name = url.strip_prefix("lb://")?;
    Some(name.split(['/', '?']).next().unwrap_or_default())
}
