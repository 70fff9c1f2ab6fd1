// SPDX-License-Identifier: Apache-2.0
//! A member's life, over the shared table and over the store on the heap: the same events, the same
//! state.
#![cfg(not(loom))]

use std::sync::Arc;

use balance::api::{Change, Membership};
use balance::event::By;
use balance::health::{AgentOrder, HealthState};
use balance::lifecycle::{self, AgentWords, Attempt, EjectedMembers, Finding, Ramps, Subject};
use balance::live::Live;
use balance::member::{Member, MemberSpec};
use balance::memory::MemoryStore;
use balance::outlier::OutlierState;
use balance::relay::Outcome;
use balance::settings::PoolSettings;
use balance::status::Status;
use balance::store::{PoolImage, Store, Vitals};
use table::{Geometry, Needs, Table};

/// A pool named `app` in some store, and what was told of it.
struct Life<'s, S> {
    store: &'s S,
    told: Vec<String>,
    ramps: Ramps,
    ejections: EjectedMembers,
}

impl<'s, S: Vitals> Life<'s, S> {
    fn of(store: &'s S) -> Self {
        Life { store, told: Vec::new(), ramps: Ramps::default(), ejections: EjectedMembers::default() }
    }

    fn image(&self) -> PoolImage {
        self.store.read_pool(self.store.find_pool("app").expect("the pool")).expect("an image")
    }

    fn pool(&self) -> Membership {
        self.image().membership
    }

    fn member(&self, name: &str) -> Arc<Member> {
        self.pool().members.iter().find(|member| member.spec.name == name).expect("a member").clone()
    }

    fn tell(&mut self, events: impl IntoIterator<Item = balance::event::MemberEvent>) {
        for event in events {
            assert_eq!(event.at, NOW_S, "{event}");
            self.told.push(event.to_string());
        }
    }

    fn check(&mut self, name: &str, ok: bool, why: &str) {
        self.agent(name, ok, why, AgentWords::default());
    }

    fn agent(&mut self, name: &str, ok: bool, why: &str, advice: AgentWords) {
        let (PoolImage { membership, settings }, member) = (self.image(), self.member(name));
        let of = Subject { pool: &membership.name, member: &member };
        let check = settings.health.expect("a check");
        let events = lifecycle::check_ended(
            self.store,
            of,
            &check,
            &Finding { ok, why, advice, ..Finding::default() },
        );
        self.tell(events);
    }

    fn attempt(&mut self, name: &str, outcome: Outcome, now_ms: u64) {
        self.attempt_of(name, outcome, false, now_ms);
    }

    fn attempt_of(&mut self, name: &str, outcome: Outcome, excused: bool, now_ms: u64) {
        self.long_attempt(name, (outcome, excused), 2.0, now_ms);
    }

    fn long_attempt(&mut self, name: &str, (outcome, excused): (Outcome, bool), took_ms: f32, now_ms: u64) {
        let (PoolImage { membership, settings }, member) = (self.image(), self.member(name));
        let (outlier, ended_ms) = (&settings.outlier, now_ms as u32);
        let attempt =
            Attempt { member: &member, outlier, outcome, excused, counted: None, took_ms, ended_ms };
        let event = lifecycle::attempt_ended(self.store, &attempt, || Some((Arc::new(membership), now_ms)));
        self.tell(event);
    }

    fn expire(&mut self, now_ms: u64) {
        let pool = self.pool();
        let events = self.ejections.advance(self.store, [&pool].into_iter(), now_ms);
        self.tell(events);
    }

    fn ramp(&mut self, now_ms: u64) {
        let pool = self.pool();
        let events = self.ramps.advance(self.store, [&pool].into_iter(), now_ms);
        self.tell(events);
    }

    fn order(&mut self, name: &str, change: Change) {
        let (pool, member) = (self.pool(), self.member(name));
        let of = Subject { pool: &pool.name, member: &member };
        let events = lifecycle::ordered(self.store, of, change, &By::Script(Some("x.lua".into())));
        self.tell(events.expect("it is there"));
    }

    fn status(&self, name: &str) -> Status {
        self.store.status(self.member(name).slot)
    }

    fn state(&self, name: &str) -> String {
        self.status(name).state().to_string()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

const NOW_S: u64 = 1_700_000_000;

fn settings(lines: &[&str]) -> PoolSettings {
    let mut settings = PoolSettings::default();
    for line in lines {
        let mut words = line.split(' ').map(str::to_owned);
        let directive = words.next().expect("a directive");
        settings.set_directive(&directive, &words.collect::<Vec<_>>()).expect("right");
    }
    settings
}

/// Two members, `a` and `b`, in both stores.
macro_rules! lives {
    ($lines:expr, |$life:ident| $body:block) => {{
        let specs = ["http://10.0.0.1:80 name=a", "http://10.0.0.2:80 name=b"]
            .map(|line| MemberSpec::from_line(line).expect("a line"));
        let needs = Needs { members: 4, children: 2, pools: 2, ..Needs::default() };
        let table = Table::on_heap(Geometry::for_config(needs)).expect("a table").with_clock(|| NOW_S);
        let memory = MemoryStore::new();
        memory.set_now_s(NOW_S);
        table.define("app", &settings(&$lines), &specs, 1).expect("room");
        memory.define("app", &settings(&$lines), &specs, 1).expect("room");
        {
            let mut $life = Life::of(&table);
            $body
        }
        {
            let mut $life = Life::of(&memory);
            $body
        }
        table.check().expect("a table in order");
    }};
}

#[test]
fn checks_take_a_member_out_and_bring_it_back_at_a_part_of_its_weight() {
    lives!(["LuaBalancerHealthCheck tcp rise=2 fall=2", "LuaBalancerSet slow_start=1s"], |life| {
        life.check("a", false, "refused");
        assert_eq!((life.state("a"), life.told().len()), ("up".to_owned(), 0));
        life.check("a", false, "timed out after 2s");
        life.check("a", false, "refused");
        assert_eq!(
            life.told(),
            ["pool app: member a is down: 2 checks failed, the last one: timed out after 2s"]
        );
        assert_eq!((life.state("a"), life.state("b")), ("down".to_owned(), "up".to_owned()));
        life.check("a", true, "");
        life.check("a", true, "");
        assert_eq!(life.told(), ["pool app: member a is up: 2 checks passed"]);
        assert_eq!((life.state("a"), life.status("a").ramp()), ("up".to_owned(), 24));
    });
}

#[test]
fn a_check_puts_right_what_another_process_left_half_done() {
    lives!(["LuaBalancerHealthCheck tcp rise=1 fall=1"], |life| {
        // It died after it had changed the word of the checks, and before it changed the status.
        let a = life.member("a");
        let check = life.image().settings.health.expect("a check");
        life.store.update_health(a.slot, a.incarnation, |word| {
            HealthState::from_bits(word).observe(false, &check).0.to_bits()
        });
        assert_eq!(life.state("a"), "up");
        life.check("a", false, "refused");
        assert_eq!(life.told(), ["pool app: member a is down: 1 checks failed, the last one: refused"]);
        // And this one between an ejection's two words.
        life.store.update(a.slot, a.incarnation, &mut |status| status.with(Status::EJECTED)).expect("there");
        life.expire(0);
        assert_eq!(life.told(), ["pool app: member a takes requests again after its ejection"]);
    });
}

#[test]
fn the_wish_of_an_agent_is_told_when_it_changes() {
    lives!(["LuaBalancerHealthCheck agent port=9 rise=1 fall=1"], |life| {
        let drain = AgentWords { order: Some(AgentOrder::Drain), percent: Some(50), max_inflight: Some(7) };
        life.agent("a", true, "agent: drain 50% maxconn:7", drain);
        life.agent("a", true, "agent: drain 50% maxconn:7", drain);
        assert_eq!(life.told(), ["pool app: member a: agent: drain 50% maxconn:7"]);
        assert_eq!(life.state("a"), "draining");
        let advice = life.store.advice(life.member("a").slot);
        assert_eq!((advice.percent, advice.max_inflight), (50, Some(7)));
        life.agent("a", false, "agent: down", AgentWords::default());
        assert_eq!(life.told(), ["pool app: member a is down: 1 checks failed, the last one: agent: down"]);
        let ready = AgentWords { order: Some(AgentOrder::Ready), percent: Some(100), max_inflight: None };
        life.agent("a", true, "agent: up ready 100%", ready);
        assert_eq!(
            life.told(),
            ["pool app: member a: agent: up ready 100%", "pool app: member a is up: 1 checks passed"]
        );
        assert_eq!(life.state("a"), "up");
    });
}

#[test]
fn failures_in_a_row_eject_and_time_brings_back() {
    lives!(["LuaBalancerOutlier on failures=2 ejection=1s", "LuaBalancerSet slow_start=10s"], |life| {
        life.attempt("a", Outcome::Connect, 100);
        life.attempt("a", Outcome::Answered(200), 110);
        life.attempt("a", Outcome::Reset, 120);
        assert!(life.told().is_empty(), "an answer has broken the row");
        life.attempt("a", Outcome::Timeout, 130);
        let ejected = "pool app: member a ejected for 1s after 2 consecutive failures, the last one: timeout";
        assert_eq!((life.told(), life.state("a")), (vec![ejected.to_owned()], "ejected".to_owned()));
        // The last one that serves stays.
        life.attempt("b", Outcome::Connect, 140);
        life.attempt("b", Outcome::Connect, 150);
        life.expire(1129);
        assert!(life.told().is_empty());
        life.expire(1130);
        life.expire(1131);
        assert_eq!(life.told(), ["pool app: member a takes requests again after its ejection"]);
        assert_eq!((life.state("a"), life.status("a").ramp()), ("up".to_owned(), 24));
        let stats = life.store.stats(life.member("a").slot);
        assert_eq!((stats.requests, stats.failures, stats.latency_ms), (4, 3, 2.0));
    });
}

/// By any clock: its low half wraps after 49 days.
#[test]
fn a_request_without_an_answer_counts_only_if_the_member_answered_no_other_meanwhile() {
    let ends = [10_000, u64::from(u32::MAX) - 500, u64::from(u32::MAX) + 500, (1 << 31) + 10_000];
    for end in ends {
        lives!(["LuaBalancerOutlier on failures=2"], |life| {
            for outcome in [Outcome::Timeout, Outcome::Reset, Outcome::Broken] {
                // Answered after these began, whenever they end.
                life.attempt("a", Outcome::Answered(200), end - 500);
                for late in [0, 1, 400] {
                    life.long_attempt("a", (outcome, false), 1000.0, end + late);
                }
                assert_eq!(life.state("a"), "up", "{outcome:?} at {end}");
            }
            // A refused connection is the member's whatever else it does.
            life.long_attempt("a", (Outcome::Connect, false), 1000.0, end);
            // Before this one began.
            life.attempt("a", Outcome::Answered(200), end + 1000);
            life.long_attempt("a", (Outcome::Timeout, false), 1000.0, end + 2000);
            assert_eq!(life.state("a"), "up");
            life.long_attempt("a", (Outcome::Timeout, false), 1000.0, end + 2001);
            assert_eq!(life.state("a"), "ejected", "at {end}");
            // One that never answered has nothing to say for itself.
            life.long_attempt("b", (Outcome::Timeout, false), 1000.0, end);
            life.long_attempt("b", (Outcome::Timeout, false), 1000.0, end);
            let spared = life.store.outlier(life.member("b").slot);
            assert_eq!(OutlierState::from_bits(spared).failures(), 2, "at {end}");
            life.told();
        });
    }
}

#[test]
fn nobody_pays_for_what_is_not_the_members() {
    lives!(["LuaBalancerOutlier on failures=1 count=connect,reset,timeout,503"], |life| {
        for outcome in [Outcome::NotTheMember, Outcome::NoWorker, Outcome::Stale, Outcome::Answered(404)] {
            life.attempt("a", outcome, 10);
        }
        life.attempt_of("a", Outcome::Reset, true, 10);
        let a = life.member("a");
        let stats = life.store.stats(a.slot);
        assert_eq!((stats.requests, stats.failures, life.store.outlier(a.slot)), (5, 0, 0));
        assert!(life.told().is_empty());
        life.attempt("a", Outcome::Answered(503), 10);
        let ejected = "pool app: member a ejected for 10s after 1 consecutive failures, the last one: status";
        assert_eq!(life.told(), [ejected]);
        assert_eq!(life.store.stats(a.slot).failures, 0, "it has answered");
    });
    lives!(["LuaBalancerOutlier off"], |life| {
        for _ in 0..9 {
            life.attempt("a", Outcome::Connect, 10);
        }
        assert_eq!((life.told().len(), life.state("a")), (0, "up".to_owned()));
    });
}

#[test]
fn an_order_is_told_by_what_it_changes() {
    lives!(["LuaBalancerSet slow_start=1s"], |life| {
        for change in [Change::SetWeight(300), Change::SetWeight(300), Change::Drain, Change::Drain] {
            life.order("a", change);
        }
        life.order("a", Change::Enable);
        life.order("a", Change::Enable);
        let lines = ["weight 1 -> 3", "up -> draining", "draining -> up"];
        assert_eq!(life.told(), lines.map(|line| format!("pool app: member a: {line} (by script x.lua)")));
        assert_eq!(life.status("a").ramp(), 24, "it comes back with slow start");
        let (pool, a) = (life.pool(), life.member("a"));
        life.store.remove(pool.pool, "a").expect("it was there");
        let of = Subject { pool: &pool.name, member: &a };
        assert!(lifecycle::ordered(life.store, of, Change::Drain, &By::Script(None)).is_err());
    });
}

#[test]
fn a_slow_start_ends_once_and_another_leader_goes_on_with_it() {
    lives!(["LuaBalancerSet slow_start=1s"], |life| {
        life.order("a", Change::Disable);
        life.order("a", Change::Enable);
        life.told();
        let mut reached = vec![];
        for now_ms in [5000, 5500] {
            life.ramp(now_ms);
            reached.push(life.status("a").ramp());
        }
        assert_eq!(reached, [24, 139]);
        // The new leader's clock says when it took over, and the table how far the weight was.
        life.ramps = Ramps::default();
        life.ramp(5600);
        assert_eq!((life.status("a").ramp(), life.told().len()), (139, 0));
        life.ramp(6200);
        life.ramp(6300);
        assert_eq!(life.told(), ["pool app: member a: slow start is over"]);
        assert_eq!(life.status("a").effective_weight(), 100);
    });
}

#[test]
fn checks_that_are_made_no_longer_are_forgotten() {
    lives!(["LuaBalancerHealthCheck agent port=9 rise=1 fall=1"], |life| {
        let maint = AgentWords { order: Some(AgentOrder::Maint), ..AgentWords::default() };
        life.agent("a", true, "agent: maint", maint);
        life.check("b", false, "refused");
        life.told();
        let pool = life.pool();
        let specs: Vec<MemberSpec> = pool.members.iter().map(|member| member.spec.clone()).collect();
        // Another kind of check: what the agent said goes, what was checked stays.
        life.store.define("app", &settings(&["LuaBalancerHealthCheck tcp fall=1"]), &specs, 2).expect("room");
        let events = lifecycle::forget_checks(life.store);
        life.tell(events);
        let line = |name: &str, old: &str| {
            format!("pool app: member {name}: {old} -> up (what earlier checks said does not count)")
        };
        assert_eq!(life.told(), [line("a", "disabled")]);
        life.store.define("app", &settings(&[]), &specs, 3).expect("room");
        let events = lifecycle::forget_checks(life.store);
        life.tell(events);
        assert_eq!(life.told(), [line("b", "down")]);
        assert_eq!(life.store.health(life.member("b").slot), 0);
    });
}

#[test]
fn members_wait_for_their_first_check_where_it_says_so() {
    lives!(["LuaBalancerHealthCheck tcp rise=1 fall=1"], |life| {
        life.check("b", true, "");
        let specs: Vec<MemberSpec> = life.pool().members.iter().map(|member| member.spec.clone()).collect();
        let waits = settings(&["LuaBalancerHealthCheck tcp initial=down rise=1"]);
        life.store.define("app", &waits, &specs, 2).expect("room");
        let events = lifecycle::forget_checks(life.store);
        life.tell(events);
        assert_eq!((life.state("a"), life.state("b")), ("down".to_owned(), "up".to_owned()));
        life.told();
        life.check("a", true, "");
        assert_eq!(life.told(), ["pool app: member a is up: 1 checks passed"]);
    });
}

#[test]
fn a_member_that_is_gone_has_no_life() {
    lives!(["LuaBalancerHealthCheck tcp rise=1 fall=1", "LuaBalancerOutlier on failures=1"], |life| {
        let (image, a) = (life.image(), life.member("a"));
        life.store.remove(image.membership.pool, "a").expect("it was there");
        let of = Subject { pool: &image.membership.name, member: &a };
        let found = Finding { ok: false, why: "refused", ..Finding::default() };
        let check = image.settings.health.expect("a check");
        assert!(lifecycle::check_ended(life.store, of, &check, &found).is_empty());
        let outlier = &image.settings.outlier;
        let outcome = Outcome::Connect;
        let attempt = Attempt {
            member: &a,
            outlier,
            outcome,
            excused: false,
            counted: None,
            took_ms: 1.0,
            ended_ms: 1,
        };
        let members = Arc::new(image.membership);
        life.tell(lifecycle::attempt_ended(life.store, &attempt, || Some((members.clone(), 1))));
        life.tell(lifecycle::expire(life.store, &members, 1_000_000));
        assert!(life.told().is_empty());
        assert!(!OutlierState::from_bits(life.store.outlier(a.slot)).is_ejected());
    });
}

/// A process that dies between an ejection's two words: members are looked at though no epoch says
/// so.
#[test]
fn an_ejection_of_which_the_epoch_tells_nobody_ends_as_well() {
    lives!(["LuaBalancerOutlier on failures=2 ejection=1s"], |life| {
        let a = life.member("a");
        life.expire(1000);
        let ejected = OutlierState::resumed(1, 2000);
        life.store.update_outlier(a.slot, a.incarnation, |_| ejected.to_bits());
        life.expire(3000);
        life.expire(7000);
        assert!(!OutlierState::from_bits(life.store.outlier(a.slot)).is_ejected());
    });
}
