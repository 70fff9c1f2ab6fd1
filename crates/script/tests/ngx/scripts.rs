// SPDX-License-Identifier: Apache-2.0
//! Whole scripts, and what they may not do.

use super::*;

#[test]
fn the_articles_script_runs_as_a_body() {
    let world = World::new(ARTICLE, "-");
    let state = world.started();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        assert_eq!(state.select(world.id, "-", Phase::Translate).unwrap(), Answer::Status(302));
        let backend = world.request.value(RequestTable::HeadersIn, "X-Backend-Server").unwrap();
        assert_eq!(
            world.request.value(RequestTable::HeadersOut, "Location").unwrap(),
            format!("http://{backend}/")
        );
        assert_eq!(world.request.value(RequestTable::HeadersIn, "Host").unwrap(), backend);
        assert_eq!(world.request.text(Field::Uri).unwrap(), "/app/list");
        seen.insert(backend);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn the_articles_configuration_runs_it_for_each_request() {
    let world = World::new("", "x");
    world.folder.write("balancer.lua", ARTICLE);
    let mut builder = Library::builder().limits(common::limits());
    let folder = world.folder.0.to_string_lossy().into_owned();
    let id = builder.inline("balancer_redirect", "function() require(\"balancer\") end", &[folder]);
    builder.need(id, "balancer_redirect");
    let world = World { library: std::sync::Arc::new(builder.build()), id, ..world };
    let state = world.started();
    for _ in 0..3 {
        assert_eq!(state.select(id, "balancer_redirect", Phase::Translate).unwrap(), Answer::Status(302));
    }
    world.folder.write("balancer.lua", "ngx.exit(204)");
    assert!((0..3).any(|_| world.library.changed(id).is_some()));
    world.take().unwrap();
    assert_eq!(state.select(id, "balancer_redirect", Phase::Translate).unwrap(), Answer::Status(204));
}

#[test]
fn the_articles_health_check_and_timer_run_in_the_background() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        r#"
local backend_servers = {{ {{ host = "127.0.0.1", port = {port} }}, {{ host = "127.0.0.1", port = {closed} }} }}
local server_count = #backend_servers
local function is_server_healthy(host, port)
  local sock = socket.tcp()
  sock:settimeout(2)
  local ok, err = sock:connect(host, port)
  if ok then
    sock:close()
    return true
  else
    print("Server " .. host .. ":" .. port .. " is unhealthy: " .. err)
    return false
  end
end
local function periodic_health_check()
  ngx.timer.at(10, function()
    for i = 1, server_count do
      local server = backend_servers[i]
      local healthy = is_server_healthy(server.host, server.port)
      print(i .. " " .. tostring(healthy))
    end
    periodic_health_check()
  end)
end
periodic_health_check()
function f() end
"#
    );
    let world = World::new(&text, "f");
    let state = world.background();
    for now in [10.0, 20.0] {
        world.server.clock.set(now);
        assert_eq!(common::run_timers(&state, now), (Some(now + 10.0), Vec::new()));
    }
    let lines: Vec<_> = world.server.lines.borrow().iter().map(|(_, line)| line.clone()).collect();
    let bad = format!("Server 127.0.0.1:{closed} is unhealthy: connection refused");
    assert_eq!(lines, ["1 true", &bad, "2 false", "1 true", &bad, "2 false"]);
}

#[test]
fn the_articles_routes_answer_with_members() {
    let text = r#"
local backend_servers = {} for m in lb.pool("app"):members() do backend_servers[#backend_servers + 1] = m end
function route_by_url()
  local uri = ngx.var.request_uri
  if string.find(uri, "/api") then
    return backend_servers[1]
  elseif string.find(uri, "/static") then
    return backend_servers[2]
  else
    return backend_servers[3]
  end
end"#;
    let world = World::new(text, "route_by_url");
    let state = world.started();
    for (uri, member) in [("/api/x", "a:1"), ("/static/y", "b:2"), ("/", "c:3")] {
        world.request.put(Field::UnparsedUri, uri);
        assert_eq!(
            common::name_of(&state.select(world.id, "route_by_url", Phase::Translate).unwrap()),
            member
        );
    }
}

#[test]
fn timers_in_a_request_say_where_they_belong() {
    let found = eval("select(2, ngx.timer.at(0, print))");
    assert!(found.contains("top level"), "{found}");
    let error = common::answer("lb.every(1, print)").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Runtime);
}

#[test]
fn sockets_in_a_request_say_where_they_work() {
    for open in ["socket.tcp()", "require('socket').tcp()", "socket.tcp('x', 1)"] {
        let error = common::answer(open).unwrap_err();
        let text = "socket.tcp works in timers and health checks only";
        assert!(error.message.contains(text) && error.message.contains("not in a request"), "{error}");
    }
    assert_eq!(eval("type(require('socket').gettime())"), "number");
}

#[test]
fn a_cache_forgets_what_was_used_least_recently() {
    let text = "
local cache = require('resty.lrucache').new(2)
function f(r)
  cache:set('a', 1)
  cache:set('b', 2, 10, 7)
  cache:get('a')
  cache:set('c', 3)
  local keys = table.concat(cache:get_keys(), ' ')
  assert(cache:get('b') == nil and cache:count() == 2 and keys == 'c a', keys)
  cache:set('d', 4, -1)
  local value, stale = cache:get('d')
  assert(value == nil and stale == 4)
  assert(cache:delete('d') == true and cache:delete('d') == false and cache:count() == 1)
  cache:flush_all()
  assert(cache:get('c') == nil and cache:capacity() == 2)
  return 204
end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(204));
    assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(204));
}

#[test]
fn weights_are_what_the_originals_take() {
    for (expression, expected) in [
        ("require('resty.chash'):new({ a = 2/1, b = '1' }):find('k') ~= nil", "true"),
        ("require('resty.chash'):new({ a = 0, b = 0 }):find('k') ~= nil", "true"),
        ("require('resty.chash'):new({ a = 0.5, b = 0.5 }):find('k') ~= nil", "true"),
        ("require('resty.roundrobin'):new({ a = 0, b = '0' }):find()", "a"),
        ("require('resty.roundrobin'):new({ a = 4/2, b = '1' }):find()", "a"),
        ("require('resty.swrr'):new({ a = 0, b = 0 }):find()", "a"),
        ("require('resty.swrr'):new({ a = '1', b = 4/2 }):find()", "b"),
        (
            "(function() local s = require('resty.swrr'):new({ a = 1, b = 1 }) s:set('a', '0') return s:find() end)()",
            "b",
        ),
        (
            "(function() local s = require('resty.swrr'):new({ a = 1 }) s:incr('b', '5') return s:find() end)()",
            "b",
        ),
    ] {
        assert_eq!(eval(expression), expected, "{expression}");
    }
    assert!(eval("require('resty.chash'):new({ a = -1 })").contains("expected a number from 0, found -1"));
    assert!(eval("require('resty.swrr'):new({ a = {} })").contains("expected a number from 0"));
}

#[test]
fn a_page_of_the_scripts_own_is_the_answer() {
    let page = |status, body: &str| Answer::Page { status, body: body.into() };
    for (body, expected) in [
        ("r:puts('a', 1) r:write('b') return apache2.OK", page(None, "a1b")),
        ("r:puts('a') return apache2.DONE", page(None, "a")),
        ("r:puts('a')", page(None, "a")),
        ("r:puts('a') return 404", page(Some(404), "a")),
        ("ngx.say('a', nil, true, { 'b', 1 }) ngx.exit(ngx.OK)", page(None, "aniltrueb1\n")),
        ("ngx.print('a') ngx.exit(201)", page(Some(201), "a")),
        ("return apache2.DONE", Answer::Done),
    ] {
        assert_eq!(common::answer(body).unwrap(), expected, "{body}");
    }
    assert!(eval("r:sendfile('/x')").contains("r.sendfile is not available here"));
    assert!(eval("r.options").contains("r.options is not available here"));
    assert_eq!(eval("r.nothing_of_mod_lua"), "nil");
    let world = World::new("function f(pool, r) r:puts('x') end", "f");
    let error = world.started().pick(world.id, "f", "app", None).unwrap_err();
    assert!(error.message.contains("r:puts is not available here"), "{}", error.message);
    let world = World::new("function f(r) while true do r:puts(('x'):rep(1000)) end end", "f");
    let error = world.started().select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Memory | ErrorKind::Time), "{error}");
}

#[test]
fn a_peer_stays_when_the_phase_ends_well() {
    let set = "require('ngx.balancer').set_current_peer('10.0.0.1', 80)";
    let Answer::Peer(peer) = common::answer(&format!("{set} return ngx.exit(ngx.OK)")).unwrap() else {
        panic!("no peer");
    };
    assert_eq!((peer.host.as_str(), peer.port), ("10.0.0.1", 80));
    assert_eq!(common::answer(&format!("{set} return ngx.exit(503)")).unwrap(), Answer::Status(503));
    let named =
        "local b = require('ngx.balancer') b.set_current_peer('10.0.0.1', 443, 'h') b.set_upstream_tls(true)";
    let Answer::Peer(peer) = common::answer(named).unwrap() else { panic!("no peer") };
    assert_eq!((peer.tls, peer.tls_name.as_deref()), (true, Some("h")));
}

#[test]
fn the_name_for_tls_is_one_that_can_be_asked_for() {
    let said = |name: &str, tls: bool, tls_first: bool| {
        let set = format!("b.set_current_peer('10.0.0.1', 443, \"{name}\")");
        let tls = format!("b.set_upstream_tls({tls})");
        let (one, two) = if tls_first { (tls, set) } else { (set, tls) };
        common::answer(&format!("local b = require('ngx.balancer') {one} {two}"))
    };
    for tls_first in [false, true] {
        for (name, asked) in [("a.example", "a.example"), ("a.example:8443", "a.example"), ("::1", "::1")] {
            let Answer::Peer(peer) = said(name, true, tls_first).unwrap() else { panic!("no peer") };
            assert_eq!(peer.tls_name.as_deref(), Some(asked));
        }
        for name in ["", "a b", "a timeout=1", "a\\r\\nb", "a\\0", "*.example", "a/b", "a:b"] {
            let error = said(name, true, tls_first).unwrap_err();
            assert!(error.message.contains("not a name for TLS"), "{name:?}: {}", error.message);
            assert!(said(name, false, tls_first).is_ok(), "{name:?} without TLS");
        }
    }
}
