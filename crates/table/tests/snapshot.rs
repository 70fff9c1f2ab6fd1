// SPDX-License-Identifier: Apache-2.0
//! A balancer's snapshot is the same over the shared table and over the store on the heap.
#![cfg(not(loom))]

use std::sync::Arc;

use balance::api::{Balancer, Change};
use balance::engine::{Engine, Handle};
use balance::event::By;
use balance::health::AgentOrder;
use balance::lifecycle::{self, AgentWords, Attempt, Finding, Ramps, Subject};
use balance::live::Latency;
use balance::member::{Member, MemberSpec};
use balance::memory::MemoryStore;
use balance::relay::Outcome;
use balance::settings::PoolSettings;
use balance::snapshot::{Extent, ScriptVerdict, Snapshot};
use balance::store::Vitals;
use table::history::History;
use table::{Geometry, Needs, Origin, Table};

fn settings(lines: &[&str]) -> PoolSettings {
    let mut settings = PoolSettings::default();
    for line in lines {
        let mut words = line.split(' ').map(str::to_owned);
        let directive = words.next().expect("a directive");
        settings.set_directive(&directive, &words.collect::<Vec<_>>()).expect("right");
    }
    settings
}

fn specs(lines: &[&str]) -> Vec<MemberSpec> {
    lines.iter().map(|line| MemberSpec::from_line(line).expect("a line")).collect()
}

/// Everything that can happen to members, once.
fn play<S: Vitals + 'static>(store: S, begin: impl Fn(&S, &Member)) -> Arc<Engine<S>> {
    let engine = Engine::new(store, Box::new(|_| ()));
    let handle = Handle::new(engine.clone(), 1);
    let store = engine.store();
    let lines = ["LuaBalancerHealthCheck agent port=9 rise=2 fall=1", "LuaBalancerMethod least_connections"];
    let members = specs(&[
        "http://10.0.0.1:80 name=a route=one weight=2.5 zone=eu meta.version=2",
        "http://10.0.0.2:80 name=b max_inflight=9",
        "http://10.0.0.3:80 name=c status=+H lbset=1",
        "http://10.0.0.4:80 name=d status=+D",
        "http://10.0.0.5:80 name=e weight=0",
    ]);
    let app = handle.define("app", settings(&lines), members, 1).expect("room");
    let lines = ["LuaBalancerOutlier on failures=1 ejection=2s", "LuaBalancerSet slow_start=8s panic=90"];
    let members =
        specs(&["http://10.0.1.1:80 name=x", "http://10.0.1.2:80 name=y", "http://10.0.1.3:80 name=z"]);
    let web = handle.define("web", settings(&lines), members, 1).expect("room");
    handle.define("none", settings(&[]), Vec::new(), 1).expect("room");

    let by = By::Script(Some("x.lua".into()));
    let find = |pool, name: &str| -> Arc<Member> {
        let members = handle.membership(pool).expect("the pool").members.clone();
        members.iter().find(|member| member.spec.name == name).expect("a member").clone()
    };
    let check = |name: &str, ok: bool, advice: AgentWords| {
        let (member, pool) = (find(app, name), Arc::from("app"));
        let of = Subject { pool: &pool, member: &member };
        let check = handle.settings(app).expect("settings").health.clone().expect("a check");
        lifecycle::check_ended(store, of, &check, &Finding { ok, why: "", advice, ..Finding::default() });
    };
    let words = AgentWords { order: Some(AgentOrder::Drain), percent: Some(50), max_inflight: Some(4) };
    check("a", true, words);
    check("b", false, AgentWords::default());
    check("b", true, AgentWords::default());
    check("c", true, AgentWords::default());
    handle.change(&find(app, "a"), Change::SetWeight(400), &by).expect("it is there");
    handle.change(&find(app, "c"), Change::Drain, &by).expect("it is there");
    handle.add(app, specs(&["http://10.0.0.6:80 name=f"]).remove(0), &by).expect("room");
    begin(store, &find(app, "f"));

    let attempt = |name: &str, outcome: Outcome, now_ms: u64| {
        let (member, settings) = (find(web, name), handle.settings(web).expect("settings"));
        let outlier = &settings.outlier;
        let attempt = Attempt {
            member: &member,
            outlier,
            outcome,
            excused: false,
            counted: None,
            took_ms: 2.5,
            ended_ms: 9,
        };
        let pool = handle.membership(web).expect("the pool");
        lifecycle::attempt_ended(store, &attempt, || Some((pool, now_ms)));
    };
    attempt("x", Outcome::Answered(200), 10);
    attempt("x", Outcome::Connect, 20);
    lifecycle::expire(store, &handle.membership(web).expect("the pool"), 2020);
    let mut ramps = Ramps::default();
    let pool = handle.membership(web).expect("the pool");
    for now_ms in [3000, 5000] {
        ramps.advance(store, [&*pool].into_iter(), now_ms);
    }
    attempt("z", Outcome::Reset, 6000);
    handle.remove(web, "y", &by).expect("it is there");
    engine
}

const NOW_S: u64 = 1_700_000_000;

/// One line for each pool and member.
const TEXT: &str = include_str!("snapshot.txt");

fn text(snapshot: &Snapshot) -> String {
    Snapshot { pools: snapshot.pools.clone(), ..Snapshot::default() }.to_string()
}

fn table() -> Table {
    let needs = Needs { members: 16, children: 2, pools: 4, scripts: 2, ..Needs::default() };
    let geometry = Geometry::for_config(needs);
    let table = Table::on_heap(geometry).expect("a table").with_clock(|| NOW_S);
    table.with_history(History::on_heap(&geometry))
}

#[test]
fn both_stores_show_the_same() {
    let memory = MemoryStore::new();
    memory.set_now_s(NOW_S);
    let memory = play(memory, |store, member| store.set_inflight(member.slot, 1));
    let table = table();
    let child = table.join(7, 1).expect("a lane");
    let table = play(table, |store, member| {
        assert!(store.begin(&child, member.slot, member.incarnation));
    });
    let (shared, own) = (table.store().snapshot(0, Extent::All), memory.store().snapshot());
    assert_eq!(text(&shared), text(&own));
    let without_stamps = |snapshot: &Snapshot| {
        let mut pools = snapshot.pools.clone();
        for member in pools.iter_mut().flat_map(|pool| &mut pool.members) {
            member.latency = Latency { stamp_ms: 0, ..member.latency };
        }
        pools
    };
    assert_eq!(without_stamps(&shared), without_stamps(&own));
    assert_eq!(text(&shared), TEXT);
}

#[test]
fn the_table_shows_who_leads_what_is_full_and_which_scripts_serve() {
    let table = table();
    table.set_generation(3);
    table.join(7, 3).expect("a lane");
    table.join(8, 2).expect("a lane");
    table.lead(7, 3, 1000, 500, &|_| true);
    let [good, none] = [11, 12].map(|key| table.script_row(key).expect("a row"));
    assert!(table.claim_judgement(good, 5, 1, 0, &|_| true));
    assert_eq!(table.publish_script(good, 1, 5, b"return 1"), Ok(1));
    assert_ne!(good, none);
    let specs = specs(&["http://10.0.0.1:80 name=a", "http://10.0.0.2:80 name=b"]);
    table.define_from(Origin::Configuration, "app", &settings(&[]), &specs, 1).expect("room");
    let mut snapshot = table.snapshot(1100, Extent::All);
    let script = snapshot.scripts.iter_mut().find(|script| script.row == Some(good));
    script.expect("its row").label = "a b.lua".to_owned();
    let fill = snapshot.fill.expect("a table has limits");
    assert_eq!((fill.members.used, fill.pools.used, fill.scripts.used), (2, 1, 2));
    assert_eq!(fill.text.used, 3, "two lines and the settings");
    let lines = snapshot.to_string();
    let start = "lead pid=7 generation=3 fresh=true\nchild pid=7 generation=3\nchild pid=8 generation=2\ntable members=2/";
    assert!(lines.starts_with(start), "{lines}");
    for line in ["script \"a b.lua\" version=1 verdict=serves", "script - version=0 verdict=missing"] {
        assert!(lines.lines().any(|found| found == line), "{lines}");
    }
    assert!(lines.contains("\npool app origin=configuration method=round_robin usable=2/2 "), "{lines}");
    assert!(table.snapshot(9000, Extent::All).lead.is_some_and(|lead| !lead.fresh), "the lease has run out");
    assert!(table.quarantine_script(good, 1));
    let verdicts = table.snapshot(0, Extent::All).scripts.into_iter().map(|script| script.verdict);
    assert_eq!(verdicts.filter(|verdict| *verdict == ScriptVerdict::Quarantined).count(), 1);
}

#[test]
fn no_text_of_a_member_makes_a_line_of_its_own() {
    let table = table();
    let mut spec = specs(&["http://10.0.0.1:80 name=a"]).remove(0);
    spec.zone = Some("e u".to_owned());
    spec.meta = vec![("k".to_owned(), "v\" x\\".to_owned())];
    table.define_from(Origin::Script, "app", &settings(&[]), &[spec], 1).expect("room");
    let mut snapshot = table.snapshot(0, Extent::All);
    let member = &mut snapshot.pools[0].members[0];
    // A table holds no such text, and another store may.
    member.spec.route = "r\nmember app/ghost state=up".to_owned();
    let lines = snapshot.to_string();
    assert_eq!(lines.lines().filter(|line| line.starts_with("member ")).count(), 1, "{lines}");
    assert!(
        lines.contains(" route=\"r?member app/ghost state=up\" zone=\"e u\" meta.k=\"v\\\" x\\\\\""),
        "{lines}"
    );
}
