// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::api::{Balancer, PoolId, View, ViewStep};
use crate::engine::{Engine, Handle};
use crate::event::By;
use crate::member::MemberSpec;
use crate::memory::MemoryStore;
use crate::settings::PoolSettings;
use crate::status::Status;
use crate::store::Store;

fn pool(lines: &[&str], set: &[&str]) -> (Handle<MemoryStore>, PoolId) {
    let (_, handle, pool) = engine(lines, set);
    (handle, pool)
}

fn engine(lines: &[&str], set: &[&str]) -> (Arc<Engine<MemoryStore>>, Handle<MemoryStore>, PoolId) {
    let engine = Engine::new(MemoryStore::new(), Box::new(|_| {}));
    let handle = Handle::new(engine.clone(), 1);
    let mut settings = PoolSettings::default();
    for line in set {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        settings.set_directive("LuaBalancerSet", &words).unwrap();
    }
    let specs = lines.iter().map(|line| MemberSpec::from_line(&format!("http://{line}")).unwrap()).collect();
    let pool = handle.define("app", settings, specs, 1).unwrap();
    (engine, handle, pool)
}

fn name(routed: Routed) -> String {
    match routed {
        Routed::Unknown => "unknown".into(),
        Routed::Lost => "lost".into(),
        Routed::Member(member) => member.spec.name.clone(),
    }
}

fn served(lines: &[&str], route: &str) -> String {
    let (handle, pool) = pool(lines, &[]);
    name(handle.route(pool, None, route.as_bytes(), &[]))
}

#[test]
fn a_route_leads_to_its_member_whatever_the_tier() {
    let lines = [
        "a name=a route=r1",
        "b name=b lbset=3",
        "c name=c status=+H",
        "d name=d status=+R",
        "e name=e weight=0",
    ];
    for (route, want) in
        [("r1", "a"), ("a", "unknown"), ("b", "b"), ("c", "c"), ("d", "d"), ("e", "e"), ("", "unknown")]
    {
        assert_eq!(served(&lines, route), want, "{route}");
    }
}

#[test]
fn draining_members_keep_their_sessions_and_others_that_are_out_lose_them() {
    for (status, want) in [("+N", "a"), ("+D", "lost"), ("+S", "lost"), ("+E", "lost"), ("+EI", "lost")] {
        assert_eq!(served(&[&format!("a name=a status={status}"), "b name=b"], "a"), want, "{status}");
    }
}

#[test]
fn redirects_are_followed_while_members_are_out() {
    let dead = |name: &str, more: &str| format!("{name} name={name} status=+D {more}");
    for (lines, want) in [
        (vec![dead("a", "redirect=b"), "b name=b".into()], "b"),
        (vec!["a name=a redirect=b".into(), "b name=b".into()], "a"),
        (vec![dead("a", "redirect=b"), dead("b", "redirect=c"), "c name=c".into()], "c"),
        (vec![dead("a", "redirect=b"), dead("b", "redirect=a"), "c name=c".into()], "lost"),
        (vec![dead("a", "redirect=a"), "c name=c".into()], "lost"),
        (vec![dead("a", "redirect=none"), "c name=c".into()], "lost"),
        (vec![dead("a", "redirect=x"), "b name=b route=x status=+N".into()], "b"),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(served(&lines, "a"), want, "{lines:?}");
    }
}

#[test]
fn members_of_one_route_stand_in_for_each_other_standbys_last() {
    let lines = ["a name=a route=r status=+H", "b name=b route=r status=+D", "c name=c route=r"];
    assert_eq!(served(&lines, "r"), "c");
    assert_eq!(served(&lines[..2], "r"), "a");
    assert_eq!(
        served(&["b name=b route=r status=+D redirect=c", "a name=a route=r status=+H", "c name=c"], "r"),
        "c"
    );
}

#[test]
fn a_web_of_redirects_ends_soon() {
    let lines: Vec<String> = (0..2000)
        .map(|i| format!("h{i} name=m{i} status=+D route=r{} redirect=r{}", i % 50, (i * 7 + 3) % 50))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(served(&lines, "r0"), "lost");
}

#[test]
fn a_view_hides_members_and_their_routes() {
    let (handle, pool) = pool(&["a name=a status=+D redirect=b", "b name=b", "c name=c"], &[]);
    let routed = |steps, route: &str| name(handle.route(pool, Some(&View { steps }), route.as_bytes(), &[]));
    assert_eq!(routed(vec![ViewStep::Except(vec!["c".into()])], "c"), "unknown");
    assert_eq!(routed(vec![ViewStep::Except(vec!["c".into()])], "b"), "b");
    assert_eq!(routed(vec![ViewStep::Except(vec!["b".into()])], "a"), "lost");
}

#[test]
fn members_tried_before_are_out_and_panic_ignores_health() {
    let (handle, id) = pool(&["a name=a redirect=b", "b name=b"], &[]);
    let a = handle.membership(id).unwrap().members[0].slot;
    assert_eq!(name(handle.route(id, None, b"a", &[a])), "b");
    for (set, want) in [("panic=60", "a"), ("panic=40", "lost")] {
        let (engine, handle, id) = engine(&["a name=a", "b name=b"], &[set]);
        let member = handle.membership(id).unwrap().members[0].clone();
        let down = &mut |status: Status| status.with(Status::CHECK_DOWN);
        engine.store().update(member.slot, 1, down).unwrap();
        assert_eq!(name(handle.route(id, None, b"a", &[])), want, "{set}");
    }
}

#[test]
fn removed_and_added_members_are_seen() {
    let (handle, id) = pool(&["a name=a", "b name=b"], &[]);
    assert_eq!(name(handle.route(id, None, b"b", &[])), "b");
    handle.remove(id, "b", &By::Script(None)).unwrap();
    assert_eq!(name(handle.route(id, None, b"b", &[])), "unknown");
    handle.add(id, MemberSpec::from_line("http://x name=x route=b").unwrap(), &By::Script(None)).unwrap();
    assert_eq!(name(handle.route(id, None, b"b", &[])), "x");
    assert_eq!(name(handle.route(PoolId(9), None, b"b", &[])), "unknown");
}

fn session(url: &str, cookies: &str) -> Option<Session> {
    let lines = ["a name=a", "b name=b status=+D", "127.0.0.1:80", "c name=c route=x.c"];
    let (handle, pool) = pool(&lines, &[]);
    let sticky = Sticky { cookie: "LB".into(), param: Some("sid".into()), ..Sticky::default() };
    let client = Sent { url: url.as_bytes(), cookies: cookies.as_bytes() };
    find(&sticky, client, &mut |route| handle.route(pool, None, route, &[]))
}

#[test]
fn sessions_are_found_where_mod_proxy_balancer_finds_them() {
    for (url, cookies, want) in [
        ("/", "LB=.a", "a of a"),
        ("/", "LB=a", "a of a"),
        ("/", "LB=id.a", "a of a, foreign"),
        ("/", "LB=i.d.a", "a of a, foreign"),
        ("/", "LB=.127.0.0.1:80", "127.0.0.1:80 of 127.0.0.1:80"),
        ("/", "LB=.127.0.0.1%3A80", "127.0.0.1:80 of 127.0.0.1:80"),
        ("/", "LB=id.x.c", "c of x.c, foreign"),
        ("/;sid=id.a", "", "a of a, foreign"),
        ("/?sid=id%2Ea", "", "a of a, foreign"),
        ("/;sid=id.a", "LB=.127.0.0.1:80", "a of a, foreign"),
        ("/", "LB=.b", "lost of b"),
        ("/", "LB=id.b", "lost of b, foreign"),
        ("/", "LB=.b; LB=.a", "a of a"),
        ("/;sid=x.b", "LB=.a", "a of a"),
        ("/", "LB=.gone; LB=.b", "lost of b"),
        ("/", "LB=id.gone.away", "unknown of gone.away"),
        ("/", "LB=.gone; LB=id.other", "unknown of gone"),
    ] {
        let found = session(url, cookies).unwrap_or_else(|| panic!("no session in {url} {cookies}"));
        let foreign = if found.is_foreign() { ", foreign" } else { "" };
        let route = String::from_utf8(found.route.clone()).unwrap();
        assert_eq!(format!("{} of {route}{foreign}", name(found.routed)), want, "{url} {cookies}");
    }
    for cookies in ["", "LB=", "LB=nothing", "LB=gone.", "other=.a"] {
        assert_eq!(session("/", cookies), None, "{cookies}");
    }
}
