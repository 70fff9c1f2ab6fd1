// SPDX-License-Identifier: Apache-2.0
//! The way of a request through its attempts, over the store in memory: one word for each attempt.

mod ways;
mod words;

use std::cell::RefCell;
use std::collections::VecDeque;

use super::*;
use crate::api::{Balancer, View, ViewStep};
use crate::engine::Engine;
use crate::live::Live;
use crate::member::MemberSpec;
use crate::memory::MemoryStore;
use crate::relay::{Asked, Outcome};
use crate::settings::Method;
use crate::status::Status;

/// Pools of the store, and a request to them.
struct Stage {
    handle: Handle<MemoryStore>,
    engine: Arc<Engine<MemoryStore>>,
    /// The request's cookies.
    cookies: &'static str,
    /// The peers that a script names for further attempts, with the attempts that it asks for.
    peers: RefCell<VecDeque<(&'static str, u32)>>,
}

type Way<'d> = Chooser<'d, ()>;

const GET: Asked =
    Asked { idempotent: true, has_body: false, expects: false, answered: false, aborted: false };

/// Every member is dead.
fn dead(_: &str) -> Outcome {
    Outcome::Connect
}

impl Stage {
    /// A pool `app` of these lines of members, and of directives.
    fn new(members: &[&str], lines: &[&str]) -> Self {
        let engine = Engine::new(MemoryStore::new(), Box::new(|_| ()));
        let handle = Handle::new(engine.clone(), 1);
        let stage = Stage { handle, engine, cookies: "", peers: RefCell::default() };
        stage.define("app", members, lines);
        stage
    }

    fn define(&self, name: &str, members: &[&str], lines: &[&str]) -> PoolId {
        let mut settings = PoolSettings::default();
        for line in lines {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let set = settings.set_directive(&format!("LuaBalancer{}", words[0]), &words[1..]);
            set.expect("a directive");
        }
        let specs = members.iter().map(|line| MemberSpec::from_line(&format!("http://{line}")));
        let specs = specs.collect::<Result<_, _>>().expect("members");
        self.handle.define(name, settings, specs, 1).expect("a pool")
    }

    fn app(&self) -> PoolId {
        self.handle.find("app").expect("the pool")
    }

    fn member(&self, name: &str) -> Arc<Member> {
        let pools = self.handle.names().into_iter().filter_map(|pool| self.handle.find(&pool));
        let mut all = pools.filter_map(|pool| self.handle.membership(pool));
        let found = all.find_map(|pool| pool.members.iter().find(|one| one.spec.name == name).cloned());
        found.expect("the member")
    }

    /// Sets flags of a member's status.
    fn flag(&self, name: &str, flags: u64) {
        let member = self.member(name);
        let mut with = |status: Status| status.with(flags);
        self.engine.store().update(member.slot, member.incarnation, &mut with).expect("the member");
    }

    fn fill(&self, name: &str) {
        self.engine.store().set_inflight(self.member(name).slot, 1000);
    }

    /// The members and targets that a request asks, one after the other, and the end.
    fn asks(&self, decision: &Decision<()>, asked: Asked, end: impl Fn(&str) -> Outcome) -> String {
        let mut way = Chooser::of(decision, None, None);
        self.goes(&mut way, asked, end)
    }

    fn goes(&self, way: &mut Way<'_>, asked: Asked, end: impl Fn(&str) -> Outcome) -> String {
        let (mut course, mut words) = (Course::default(), Vec::new());
        loop {
            let (name, settings) = match way.look(self, &mut course) {
                Err(nobody) => {
                    words.push(if course.attempts > 0 { "nobody".into() } else { nobody.to_string() });
                    return words.join(" ");
                }
                Ok(Goal::Target(url)) => (url.to_string(), None),
                Ok(Goal::Member(pool, member)) => {
                    course.pool = Some(pool);
                    let most = member.spec.max_inflight;
                    if most > 0 && self.engine.store().inflight(member.slot) >= most {
                        course.is_full(&member);
                        continue;
                    }
                    course.goes_to(&member);
                    let mark = if course.fresh { "!" } else { "" };
                    (format!("{}{mark}", member.spec.name), self.handle.now(pool))
                }
            };
            course.attempts += 1;
            let outcome = end(&name);
            words.push(name);
            course.last = Some((outcome, 0));
            let defaults = PoolSettings::default();
            let settings = settings.as_ref().map_or(&defaults, Now::settings);
            if !way.goes_on(&mut course, (outcome, asked), settings) {
                return words.join(" ");
            }
        }
    }
}

impl Circumstances for Stage {
    type Store = MemoryStore;
    type Script = ();

    fn handle(&self) -> &Handle<MemoryStore> {
        &self.handle
    }

    fn key(&self, _: &PoolSettings) -> Cow<'_, [u8]> {
        Cow::Borrowed(b"key")
    }

    fn with_sent<T>(&self, body: impl FnOnce(Sent<'_>) -> T) -> T {
        body(Sent { url: b"/", cookies: self.cookies.as_bytes() })
    }

    /// The last one that is not to be left out.
    fn pick_by_script(&self, pool: &Now, _: (&str, &str), avoid: &[Slot]) -> Result<Arc<Member>, NoMember> {
        let members = pool.membership().members.iter().rev();
        let found =
            members.filter(|member| self.handle.is_usable(member)).find(|one| !avoid.contains(&one.slot));
        found.cloned().ok_or(NoMember::ScriptFailed)
    }

    fn name_again(&self, (): &(), _: &Course) -> Result<(Arc<str>, u32), NoMember> {
        let next = self.peers.borrow_mut().pop_front();
        next.map(|(peer, more)| (peer.into(), more)).ok_or(NoMember::UnknownPool)
    }

    fn listens(&self) -> bool {
        false
    }

    fn tell(&self, _: &str) {}
}
