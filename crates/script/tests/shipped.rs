//! The scripts of the folder `lua/` do what their comments say.
#![allow(missing_docs)]

mod common;

use balance::api::ViewStep;
use common::{World, name_of, spec};
use script::host::Field;
use script::{Answer, Phase, State};

fn shipped(name: &str) -> String {
    let path = format!("{}/../../lua/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn started(world: &World) -> State {
    use balance::api::Balancer as _;
    world.balancer.define("static", Default::default(), vec![spec("s", 1)], 0).unwrap();
    world.started()
}

fn ask(world: &World, state: &State, uri: &str) -> Answer {
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
        match ask(&world, &state, "/") {
            Answer::Pool { view: Some(view), .. } => match &view.steps[..] {
                [ViewStep::Where(pairs)] => pairs[0].1.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
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
    world.balancer.down("a:1");
    assert!(matches!(ask(&world, &state, "/"), Answer::Pool { view: None, .. }));
}
