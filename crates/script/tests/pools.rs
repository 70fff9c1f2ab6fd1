// SPDX-License-Identifier: Apache-2.0
//! Pools, views and members as scripts use them.
#![allow(missing_docs)]

mod common;

use balance::settings::{Method, PoolSettings, Sticky};
use common::{World, answer, eval, name_of, spec, value};
use script::Phase;

#[test]
fn every_method_asks_the_balancer() {
    let text = "local p = lb.pool('app') function f(r)
  p:round_robin() p:random() p:least_connections() p:power_of_two() p:least_latency() p:first()
  p:consistent_hash('k') p:consistent_hash('k', { balance_factor = 1.25 }) p:maglev('k') p:rendezvous(5) p:hash('k')
  p:hash(nil) p:maglev('') p:pick(r)
  return nil, 'done'
end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "done");
    let expected = [
        "RoundRobin",
        "Random",
        "LeastConnections",
        "PowerOfTwo",
        "LeastLatency",
        "First",
        "ConsistentHash { balance_factor: None } k",
        "ConsistentHash { balance_factor: Some(1.25) } k",
        "Maglev k",
        "Rendezvous 5",
        "Hash k",
        "RoundRobin",
        "RoundRobin",
        "RoundRobin",
    ];
    assert_eq!(common::method_names(&world.balancer), expected);
    assert!(eval("lb.pool('app'):consistent_hash('k', { balance_factor = 1 })").contains("a number above 1"));
}

#[test]
fn fields_of_members_and_pools() {
    for (expression, expected) in [
        ("lb.pool('app').name", "app"),
        ("lb.pool('app').usable", "3"),
        ("lb.pool('app').inflight", "9"),
        ("#lb.pool('app')", "3"),
        ("#lb.pool('app'):where{zone='eu'}", "2"),
        ("#lb.pool('app'):where{zone='eu', version='2'}", "1"),
        ("#lb.pool('app'):except('a:1', lb.pool('app'):member('b:2'))", "1"),
        ("#lb.pool('app'):only({ 'a:1', 'b:2' }):except('b:2')", "1"),
        ("#lb.pool('app'):only()", "0"),
        ("lb.pool('app'):where{zone='eu'}.usable", "2"),
        ("lb.pool('app'):where{zone='eu'}:first().name", "b:2"),
        ("lb.pool('app'):member('z')", "nil"),
        ("lb.pool('app'):first().name", "a:1"),
        ("lb.pool('app'):first().host", "a"),
        ("lb.pool('app'):first().port", "1"),
        ("lb.pool('app'):first().url", "http://a:1"),
        ("lb.pool('app'):first().scheme", "http"),
        ("lb.pool('app'):first().route", "a:1"),
        ("lb.pool('app'):first().zone", "nil"),
        ("lb.pool('app'):first().weight", "1"),
        ("lb.pool('app'):first().inflight", "3"),
        ("lb.pool('app'):first().latency", "1.5"),
        ("lb.pool('app'):first().requests", "10"),
        ("lb.pool('app'):first().failures", "2"),
        ("lb.pool('app'):first().state", "up"),
        ("lb.pool('app'):first().healthy", "true"),
        ("lb.pool('app'):first().usable", "true"),
        ("lb.pool('app'):first().since", "1700000000"),
        ("lb.pool('app'):member('c:3').meta.version", "2"),
        ("lb.pool('app'):first() == lb.pool('app'):member('a:1')", "true"),
        ("lb.pool('app'):first()", "a:1"),
        ("lb.pool('app') == lb.pool('app')", "true"),
        ("#lb.pools()", "2"),
        ("lb.pools()[2].name", "api"),
    ] {
        assert_eq!(eval(expression), expected, "{expression}");
    }
}

#[test]
fn members_change_for_all() {
    let text = "function f(r) local p = lb.pool('app') local m = p:member('a:1')
  m:set_weight(2.5) local w = m.weight m:drain() local s = m.state m:enable() m:disable()
  local added = p:add{ url = 'http://n:9', weight = 4, zone = 'us', meta = { version = '3' } }
  p:remove('b:2')
  local names = {} for m in p:members() do names[#names + 1] = m.name end
  return nil, w .. s .. m.state .. added.weight .. added.zone .. added.meta.version .. table.concat(names, ',') .. p.usable
end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "2.5drainingdisabled4us3a:1,c:3,n:92");
    for (expression, text) in [
        ("lb.pool('app'):first():set_weight(70000)", "from 0 to 65535"),
        ("lb.pool('app'):first():set_weight(-1)", "from 0 to 65535"),
        ("lb.pool('app'):remove('z')", "pool app has no member named z"),
        ("lb.pool('nope')", "there is no pool named \"nope\""),
        ("lb.pool('app'):where{zone={}}", "expected text by name"),
        ("lb.pool('app'):except(5)", "expected members or names"),
        (
            "(function() local t = {} t[1] = t return lb.pool('app'):except(t) end)()",
            "found a list in a list",
        ),
    ] {
        let found = eval(expression);
        assert!(found.contains(text), "{expression}: {found}");
    }
}

/// Tables of which each holds the next one twice: written out they would be larger than any memory.
#[test]
fn tables_that_hold_others_often_are_refused() {
    let deep = "(function() local t = {} for _ = 1, 31 do t = { t, t } end return t end)()";
    for (expression, text) in [
        (format!("require('cjson').encode({deep})"), "larger than 2 MiB"),
        (format!("R:ivm_set('k', {deep})"), "more than 4096 KiB"),
        (format!("lb.pool('app'):only({deep})"), "a list in a list"),
        (format!("lb.define_pool('x', {{ retry_on = {deep} }})"), "a list in a list"),
    ] {
        let body = format!(
            "function f(r) R = r return nil, tostring(({{pcall(function() return {expression} end)}})[2]) end"
        );
        // To write two million of them may take longer than the usual limit.
        let patient = script::Limits { time_ms: 10_000, ..common::limits() };
        let world = World::with(&body, &["f"], |builder| builder.limits(patient));
        let found = value(&world, &world.started());
        assert!(found.contains(text), "{expression}: {found}");
    }
}

#[test]
fn a_removed_member_is_seen_as_removed() {
    let text = "local p = lb.pool('app') local m = p:member('a:1') function f(r) p:remove('a:1') return nil, m.state .. tostring(m.usable) .. m.weight end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "removedfalse0");
}

#[test]
fn sticky_sessions_find_their_member() {
    let world = World::new(
        "local p = lb.pool('web') function f(r) return p:pick(r) end function g(r) return nil, tostring(p:sticky(r)) end",
        "f",
    );
    let mut specs = vec![spec("a", 1), spec("b", 2)];
    specs[0].route = "r1".into();
    specs[1].route = "node.r1".into();
    let sticky = Sticky {
        cookie: "session".into(),
        param: Some("sid".into()),
        ttl_s: None,
        path: "/".into(),
        domain: None,
        secure: None,
        httponly: true,
        samesite: "Lax".into(),
        force: false,
    };
    let settings = PoolSettings { sticky: Some(sticky), ..PoolSettings::default() };
    use balance::api::Balancer as _;
    world.balancer.define("web", settings, specs, 0).unwrap();
    let state = world.started();
    let found = |cookie: &str, uri: &str| {
        world.request.tables.borrow_mut().retain(|(_, key, _)| key != b"Cookie");
        world.request.header("Cookie", cookie);
        world.request.put(script::host::Field::UnparsedUri, uri);
        match state.select(world.id, "g", Phase::Translate).unwrap() {
            script::Answer::NoMember { message, .. } => message,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(found("session=xyz.r1", "/"), "a:1");
    assert_eq!(found("session=xyz.node.r1", "/"), "b:2");
    assert_eq!(found("session=r1", "/"), "a:1");
    assert_eq!(found("session=xr1", "/"), "nil");
    assert_eq!(found("other=xyz.r1", "/"), "nil");
    assert_eq!(found("other=1", "/x;sid=1.r1/y?a=1"), "a:1");
    assert_eq!(found("other=1", "/x?a=1&sid=1.node.r1"), "b:2");
    assert_eq!(found("session=xyz.r1", "/x;sid=1.node.r1"), "b:2", "the URL comes first");
    world.balancer.down("a:1");
    assert_eq!(found("session=xyz.r1", "/"), "nil");
}

#[test]
fn a_view_and_force_narrow_sessions() {
    let text = "local p = lb.pool('web')
function f(r)
  local picked, why = p:pick(r)
  local other = p:except('a:1')
  return nil, tostring(picked) .. ' ' .. tostring(why) .. ' ' .. tostring(other:sticky(r)) .. ' ' .. tostring(other:pick(r))
end";
    let world = World::new(text, "f");
    let sticky = Sticky { cookie: "S".into(), force: true, ..Sticky::default() };
    let settings = PoolSettings { sticky: Some(sticky), ..PoolSettings::default() };
    use balance::api::Balancer as _;
    world.balancer.define("web", settings, vec![spec("a", 1), spec("b", 2)], 0).unwrap();
    world.request.tables.borrow_mut().retain(|(_, key, _)| key != b"Cookie");
    world.request.header("Cookie", "S=.a:1");
    let state = world.started();
    assert_eq!(value(&world, &state), "a:1 nil nil b:2");
    world.balancer.down("a:1");
    assert_eq!(
        value(&world, &state),
        "nil the member of the session is out, and pool web has LuaBalancerSticky force=on nil b:2"
    );
}

#[test]
fn pick_takes_the_key_of_the_pool() {
    let world = World::new("function f(r) return lb.pool('hashed'):pick(r) end", "f");
    let settings =
        PoolSettings { method: Method::Hash, key: Some("%{REMOTE_ADDR}".into()), ..PoolSettings::default() };
    use balance::api::Balancer as _;
    world.balancer.define("hashed", settings, vec![spec("a", 1)], 0).unwrap();
    let state = world.started();
    assert_eq!(name_of(&state.select(world.id, "f", Phase::Translate).unwrap()), "a:1");
    assert_eq!(common::method_names(&world.balancer), ["Hash REMOTE_ADDR"]);
}

#[test]
fn all_down_is_nil_and_the_reason() {
    let found = answer(
        "for m in lb.pool('app'):members() do m:disable() end local m, why = lb.pool('app'):first() return nil, tostring(m) .. ' ' .. why",
    );
    let script::Answer::NoMember { message, .. } = found.unwrap() else { panic!() };
    assert_eq!(message, "nil no usable member in pool app (0 of 3 usable)");
}

#[test]
fn definitions_are_checked_like_directives() {
    let good = "lb.define_pool('x', { method = 'least_connections', retries = 1, health = { type = 'http', uri = '/h', interval = '1s' }, outlier = { failures = 5 }, sticky = 'SID', { host = 'h', port = 1, weight = 2 }, { url = 'ws://h:2', meta = { v = '2' } }, 'http://h:3' })";
    let world = World::new(&format!("{good} function f() end"), "f");
    let candidate = world.judge().unwrap();
    let definition = &candidate.definitions[0];
    assert_eq!(definition.settings.method, Method::LeastConnections);
    assert_eq!(definition.settings.set.retries, 1);
    let health = definition.settings.health.as_ref().unwrap();
    assert_eq!((health.uri.as_str(), health.interval_ms), ("/h", 1000));
    assert_eq!(definition.settings.outlier.failures, 5);
    assert_eq!(definition.settings.sticky.as_ref().unwrap().cookie, "SID");
    let members: Vec<_> =
        definition.members.iter().map(|m| (m.name.as_str(), m.weight, m.url.scheme.as_str())).collect();
    assert_eq!(members, [("h:1", 200, "http"), ("h:2", 100, "ws"), ("h:3", 100, "http")]);
    assert_eq!(definition.members[1].meta, [("v".to_owned(), "2".to_owned())]);
    for (definition, text) in [
        ("'x y', {}", "1 to 63 letters"),
        ("'x', { bogus = 1 }", "unknown key 'bogus'"),
        ("'x', { method = 'bogus' }", "LuaBalancerMethod"),
        ("'x', { health = { type = 'http', bogus = 1 } }", "LuaBalancerHealthCheck"),
        ("'x', { 5 }", "member 1: expected a table"),
        ("'x', { { port = 1 } }", "member 1: expected url"),
        ("'x', { { host = 'h', port = 'p' } }", "member 1:"),
        ("'x', { { host = 'h', port = 1, weight = {} } }", "weight: expected text"),
        (
            "'x', { { host = 'h', port = 1, name = 'a' }, { host = 'i', port = 1, name = 'a' } }",
            "two members named a",
        ),
        ("'x', { health = { type = 'http' }, { url = 'https://h:2' } }", "member 1: a check of type http"),
    ] {
        let world = World::new(&format!("\nlb.define_pool({definition}) function f() end"), "f");
        let error = world.judge().unwrap_err();
        assert!(error.message.contains(text), "{definition}: {}", error.message);
        assert!(error.message.contains("main.lua:2:"), "{}", error.message);
    }
}

#[test]
fn twins_in_a_definition_get_names_of_their_own() {
    let world =
        World::new("lb.define_pool('x', { 'http://h:1/a', { url = 'http://h:1/b' } }) function f() end", "f");
    let candidate = world.judge().unwrap();
    let names: Vec<&str> = candidate.definitions[0].members.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["h:1", "h:1-2"]);
}

#[test]
fn a_pool_is_found_and_defined_without_case() {
    let found = answer("return lb.pool('APP') == lb.pool('app') and lb.pool('aPP').name == 'app' and 204");
    assert!(matches!(found.unwrap(), script::Answer::Status(204)));
}
