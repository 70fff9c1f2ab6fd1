// SPDX-License-Identifier: Apache-2.0
//! The scripts of the folder `lua/` do what their comments say.
#![allow(missing_docs)]

mod common;

use balance::api::ViewStep;
use common::{World, name_of, spec};
use script::host::Field;
use script::{Answer, LuaState, Phase};

fn shipped(name: &str) -> String {
    let path = format!("{}/../../lua/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn started(world: &World) -> LuaState {
    use balance::api::Balancer as _;
    world.balancer.define("static", Default::default(), vec![spec("s", 1)], 0).unwrap();
    world.started()
}

fn ask(world: &World, state: &LuaState, uri: &str) -> Answer {
    world.request.put(Field::Uri, uri);
    state.select(world.id, "select", Phase::Translate).unwrap()
}

fn pool_of(answer: &Answer) -> u32 {
    let Answer::Pool { pool, .. } = answer else { panic!("{answer:?}") };
    pool.0
}

#[test]
fn balancer_sends_each_kind_of_request_its_way() {
    let world = World::new(&shipped("balancer.lua"), "select");
    let state = started(&world);
    assert_eq!(ask(&world, &state, "/static/a.css"), Answer::Decline);
    assert_eq!(pool_of(&ask(&world, &state, "/api/x")), 1);
    assert_eq!(name_of(&ask(&world, &state, "/")), "c:3", "the beta cookie is set");
    world.request.tables.borrow_mut().clear();
    let mut seen: Vec<_> = (0..3).map(|_| name_of(&ask(&world, &state, "/"))).collect();
    seen.sort();
    assert_eq!(seen, ["a:1", "b:2", "c:3"]);
}

#[test]
fn weighted_defines_its_pool() {
    let world = World::new(&shipped("weighted.lua"), "select");
    let candidate = world.judge().unwrap();
    let definition = &candidate.definitions[0];
    let members: Vec<_> =
        definition.members.iter().map(|member| (member.name.as_str(), member.weight)).collect();
    assert_eq!(members, [("192.168.1.10:8080", 100), ("192.168.1.11:8080", 200), ("192.168.1.12:8080", 100)]);
    let state = started(&world);
    assert_eq!(pool_of(&ask(&world, &state, "/")), 3);
}

#[test]
fn by_path_knows_its_parts() {
    let world = World::new(&shipped("by_path.lua"), "select");
    use balance::api::Balancer as _;
    world.balancer.define("static", Default::default(), vec![spec("s", 1)], 0).unwrap();
    let state = world.started();
    for (uri, pool) in [("/api/x", 1), ("/images/x", 2), ("/css", 2), ("/app/", 0)] {
        assert_eq!(pool_of(&ask(&world, &state, uri)), pool, "{uri}");
    }
    for uri in ["/", "/other/api", "/apis"] {
        assert_eq!(ask(&world, &state, uri), Answer::Decline, "{uri}");
    }
}

#[test]
fn least_connections_stays_near_while_it_can() {
    let world = World::new(&shipped("least_connections.lua"), "select");
    let state = started(&world);
    world.request.header("X-Zone", "eu");
    for _ in 0..4 {
        assert_ne!(name_of(&ask(&world, &state, "/")), "a:1");
    }
    world.balancer.down("b:2");
    world.balancer.down("c:3");
    assert_eq!(name_of(&ask(&world, &state, "/")), "a:1");
}

#[test]
fn canary_keeps_each_client_on_its_track() {
    let mut specs = vec![spec("a", 1), spec("b", 2)];
    specs[0].meta = vec![("track".into(), "stable".into())];
    specs[1].meta = vec![("track".into(), "canary".into())];
    let world = World::new(&shipped("canary.lua"), "select");
    use balance::api::Balancer as _;
    world.balancer.define("app", Default::default(), specs, 0).unwrap();
    let state = started(&world);
    let track = |address: &str| {
        world.request.put(Field::UseragentIp, address);
        wanted(&ask(&world, &state, "/"))
    };
    let mut canaries = 0;
    for client in 0..2000 {
        let address = format!("192.0.{}.{}", client / 250, client % 250);
        let first = track(&address);
        assert_eq!(first, track(&address));
        canaries += usize::from(first == "canary");
    }
    assert!((60..=140).contains(&canaries), "{canaries} of 2000");
    world.request.header("Cookie", "track=stable");
    world.request.tables.borrow_mut().retain(|(_, key, value)| key != b"Cookie" || value == b"track=stable");
    assert!((0..200).all(|client| track(&format!("10.0.0.{client}")) == "stable"));
}

/// A world whose pool "app" has members with a key of meta (or the zone) of these values.
fn app_with(script: &str, key: &str, values: &[&str]) -> World {
    use balance::api::Balancer as _;
    let specs = values.iter().enumerate().map(|(at, value)| {
        let mut member = spec(value, at as u16 + 1);
        match key {
            "zone" => member.zone = Some((*value).to_owned()),
            _ => member.meta = vec![(key.to_owned(), (*value).to_owned())],
        }
        member
    });
    let specs = specs.collect();
    let world = World::new(script, "select");
    world.balancer.define("app", Default::default(), specs, 0).unwrap();
    clear(&world);
    world
}

fn clear(world: &World) {
    world.request.tables.borrow_mut().clear();
}

/// The view that was asked for, `all` for the whole pool. A list is one of a view and the whole
/// pool behind it.
fn wanted(answer: &Answer) -> String {
    match answer {
        Answer::Each(list) => match &list[..] {
            [first, Answer::Pool { view: None, .. }] => wanted(first),
            other => panic!("{other:?}"),
        },
        Answer::Pool { view: None, .. } => "all".to_owned(),
        Answer::Pool { view: Some(view), .. } => match &view.steps[..] {
            [ViewStep::Where(pairs)] => pairs[0].1.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn geo_sends_each_country_to_its_zone() {
    use script::host::Location;
    let world = app_with(&shipped("geo.lua"), "zone", &["china", "usa", "rest"]);
    let state = started(&world);
    let go = |country: Option<&str>| {
        *world.server.place.borrow_mut() =
            Some(Location { country: country.map(str::to_owned), asn: Some(1), ..Location::default() });
        wanted(&ask(&world, &state, "/"))
    };
    assert_eq!(go(Some("CN")), "china");
    assert_eq!(go(Some("US")), "usa");
    assert_eq!(go(Some("GB")), "rest");
    assert_eq!(go(None), "rest", "a network without a country");
    *world.server.place.borrow_mut() = None;
    assert_eq!(wanted(&ask(&world, &state, "/")), "rest", "an unknown address");
}

#[test]
fn by_header_prefers_the_header_and_knows_its_versions() {
    let world = app_with(&shipped("by_header.lua"), "version", &["1", "2"]);
    let state = started(&world);
    let go = |header: Option<&str>, cookie: Option<&str>| {
        clear(&world);
        if let Some(value) = header {
            world.request.header("x-app-version", value);
        }
        if let Some(value) = cookie {
            world.request.header("Cookie", &format!("app_version={value}"));
        }
        wanted(&ask(&world, &state, "/"))
    };
    assert_eq!(go(None, None), "1");
    assert_eq!(go(Some("2"), Some("1")), "2");
    assert_eq!(go(None, Some("2")), "2");
    assert_eq!(go(Some("9"), None), "1");
    assert_eq!(go(Some(""), Some("2")), "1");
}

#[test]
fn sticky_canary_keeps_whom_it_has() {
    let script = shipped("sticky_canary.lua");
    let world = app_with(&script, "track", &["stable", "canary"]);
    let state = started(&world);
    let go = |address: &str, cookie: Option<&str>| {
        clear(&world);
        if let Some(value) = cookie {
            world.request.header("Cookie", &format!("canary={value}"));
        }
        world.request.put(Field::UseragentIp, address);
        let track = wanted(&ask(&world, &state, "/"));
        (track, world.request.value(script::host::RequestTable::ErrHeadersOut, "Set-Cookie"))
    };
    let mut canaries = 0;
    let mut outsider = String::new();
    for client in 0..2000 {
        let address = format!("192.0.{}.{}", client / 250, client % 250);
        let (track, cookie) = go(&address, None);
        assert_eq!(cookie.is_some(), track == "canary");
        if let Some(cookie) = cookie {
            assert!(cookie.starts_with("canary=") && cookie.contains("Expires="), "{cookie}");
            canaries += 1;
        } else {
            outsider = address;
        }
    }
    assert!((60..=140).contains(&canaries), "{canaries} of 2000");
    assert_eq!(go(&outsider, Some("1")), ("canary".to_owned(), None), "whoever was in stays in");
    assert_eq!(go(&outsider, Some("no")).0, "stable");
    world.balancer.down("canary:2");
    assert_eq!(go(&outsider, Some("1")).0, "stable");

    let over = app_with(&script.replace("PERCENT = 5", "PERCENT = 0"), "track", &["stable", "canary"]);
    let state = started(&over);
    over.request.header("Cookie", "canary=1");
    assert_eq!(wanted(&ask(&over, &state, "/")), "stable");
}

#[test]
fn blue_green_switches_by_one_line() {
    let script = shipped("blue_green.lua");
    for (live, idle) in [("blue", "green"), ("green", "blue")] {
        let text = script.replace("LIVE = \"blue\"", &format!("LIVE = \"{live}\""));
        let world = app_with(&text, "colour", &["blue", "green"]);
        let state = started(&world);
        assert_eq!(wanted(&ask(&world, &state, "/")), live);
        world.request.header("Cookie", &format!("colour={idle}"));
        assert_eq!(wanted(&ask(&world, &state, "/")), idle);
        clear(&world);
        world.request.header("Cookie", "colour=red");
        assert_eq!(wanted(&ask(&world, &state, "/")), live);
    }
    let world = World::new(&script.replace("LIVE = \"blue\"", "LIVE = \"gren\""), "select");
    let error = world.judge().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("gren") && error.contains("expected blue or green"), "{error}");
}

#[test]
fn hash_by_user_takes_the_best_key_there_is() {
    let world = World::new(&shipped("hash_by_user.lua"), "select");
    let state = started(&world);
    let key = || {
        world.balancer.picks.borrow_mut().clear();
        assert!(matches!(ask(&world, &state, "/"), Answer::Member(_)));
        world.balancer.picks.borrow().last().unwrap().clone()
    };
    assert!(key().ends_with(" session abc"), "{}", key());
    clear(&world);
    assert!(key().starts_with("ConsistentHash") && key().ends_with(" address 192.0.2.7"), "{}", key());
    world.request.header("X-Api-Key", "k1");
    world.request.header("Cookie", "session=abc");
    assert!(key().ends_with(" key k1"), "{}", key());
    world.request.put(Field::User, "ada");
    assert!(key().ends_with(" user ada"), "{}", key());
}

#[test]
fn tenants_never_share() {
    use balance::api::Balancer as _;
    let script = shipped("tenants.lua");
    let world_of = |text: &str| {
        let world = World::new(text, "select");
        for name in ["acme", "globex"] {
            world.balancer.define(name, Default::default(), vec![spec(name, 1)], 0).unwrap();
        }
        let state = started(&world);
        (world, state)
    };
    let (world, state) = world_of(&script);
    let go = |host: &str| {
        world.request.put(Field::Hostname, host);
        ask(&world, &state, "/")
    };
    for (host, pool) in
        [("acme.example.org", "acme"), ("WWW.acme.example.org.", "acme"), ("globex.example.org", "globex")]
    {
        assert_eq!(pool_of(&go(host)), world.balancer.find(pool).unwrap().0, "{host}");
    }
    world.request.header("X-Tenant", "acme");
    for host in ["example.org", "acme.example.org.evil.test", "", "acme"] {
        assert_eq!(go(host), Answer::Status(421), "{host}");
    }
    world.balancer.down("acme:1");
    assert_eq!(pool_of(&go("acme.example.org")), world.balancer.find("acme").unwrap().0);

    let (world, state) = world_of(&script.replace("HEADER = false", "HEADER = \"X-Tenant\""));
    world.request.put(Field::Hostname, "acme.example.org");
    assert_eq!(ask(&world, &state, "/"), Answer::Status(421), "the header is all that counts then");
    world.request.header("X-Tenant", "globex");
    assert_eq!(pool_of(&ask(&world, &state, "/")), world.balancer.find("globex").unwrap().0);
}

#[test]
fn time_of_day_knows_the_working_hours() {
    use balance::api::Balancer as _;
    // The test's clock stands at Tuesday 2023-11-14, 22:13:20 UTC.
    let script = shipped("time_of_day.lua");
    for (offset, hours, expected) in [
        (0, "8, 18", "night"),
        (-4, "8, 18", "night"),
        (-5, "8, 18", "day"),
        (-14, "8, 18", "day"),
        (-15, "8, 18", "night"),
        (10, "8, 18", "day"),
        (4 * 24, "0, 24", "night"),
        (6 * 24, "0, 24", "day"),
    ] {
        let text = script
            .replace("UTC_OFFSET = 1 ", &format!("UTC_OFFSET = {offset} "))
            .replace("CLOSES = 8, 18", &format!("CLOSES = {hours}"));
        let world = World::new(&text, "select");
        for name in ["day", "night"] {
            world.balancer.define(name, Default::default(), vec![spec(name, 1)], 0).unwrap();
        }
        let state = started(&world);
        let pool = pool_of(&ask(&world, &state, "/"));
        assert_eq!(pool, world.balancer.find(expected).unwrap().0, "offset {offset}, hours {hours}");
    }
}

#[test]
fn shedding_turns_away_what_can_wait_and_nothing_else() {
    // Each of the three members has three requests in flight: 9 in all.
    let script = shipped("shedding.lua");
    let go = |most: u32, uri: &str, priority: Option<&str>| {
        let world = World::new(&script.replace("MOST = 20", &format!("MOST = {most}")), "select");
        let state = started(&world);
        if let Some(value) = priority {
            world.request.header("X-Priority", value);
        }
        let answer = ask(&world, &state, uri);
        let retry = world.request.value(script::host::RequestTable::ErrHeadersOut, "Retry-After");
        assert_eq!(retry.is_some(), answer == Answer::Status(503));
        answer == Answer::Status(503)
    };
    for (uri, priority) in [("/export/all", None), ("/reports", None), ("/", Some("low"))] {
        assert!(go(3, uri, priority), "{uri}: at the limit");
        assert!(!go(4, uri, priority), "{uri}: below the limit");
    }
    for (uri, priority) in [("/", None), ("/exports", None), ("/", Some("high"))] {
        assert!(!go(1, uri, priority), "{uri}: overloaded, but important");
    }
}

#[test]
fn shadow_tells_where_the_candidate_differs_and_survives_it() {
    use script::FinishResult;
    let result = FinishResult { member: None, status: 200, attempts: 1, seconds: 0.0, bytes: 0, error: None };
    let script = shipped("shadow.lua");
    let lines = |text: &str| {
        let world = World::with(text, &["select", "finish"], |builder| builder);
        let state = started(&world);
        let first = name_of(&ask(&world, &state, "/x"));
        assert_eq!(first, "a:1", "the request is served by the current policy");
        let finished = state.finish(world.id, "finish", &result);
        let lines = world.server.lines.borrow().clone();
        (finished, lines.into_iter().map(|(_, text)| text).collect::<Vec<_>>())
    };
    // The test's balancer picks in turn, so that the candidate gets another member.
    let (finished, said) = lines(&script);
    finished.unwrap();
    assert_eq!(said, ["shadow: /x went to a:1, the candidate says b:2"]);

    let (finished, said) =
        lines(&script.replace("return app:consistent_hash(r.useragent_ip)", "error('oh no')"));
    finished.unwrap();
    assert!(
        matches!(&said[..], [line] if line.contains("the candidate fails") && line.contains("oh no")),
        "{said:?}"
    );

    let (finished, said) =
        lines(&script.replace("return app:consistent_hash(r.useragent_ip)", "return lb.pool('api')"));
    finished.unwrap();
    assert_eq!(said, ["shadow: /x went to a:1, the candidate says api"]);

    let (finished, said) =
        lines(&script.replace("return app:consistent_hash(r.useragent_ip)", "return app:member('a:1')"));
    finished.unwrap();
    assert!(said.is_empty(), "{said:?}");
}
