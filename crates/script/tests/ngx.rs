// SPDX-License-Identifier: Apache-2.0
//! OpenResty's names, and the scripts of a published article that use them.
#![allow(missing_docs)]

mod common;

use common::{World, eval, value};
use script::host::{Field, RequestTable};
use script::{Answer, AttemptsSoFar, ErrorKind, Library, Peer, Phase};

#[test]
fn variables_of_the_request() {
    for (expression, expected) in [
        ("ngx.var.uri", "/app/list"),
        ("ngx.var.request_uri", "/app/list?a=1&b=x%20y&a=2"),
        ("ngx.var.args", "a=1&b=x%20y&a=2"),
        ("ngx.var.is_args", "?"),
        ("ngx.var.arg_b", "x%20y"),
        ("ngx.var.arg_none", "nil"),
        ("ngx.var.http_host", "www.example.org"),
        ("ngx.var.http_x_multi", "one"),
        ("ngx.var.cookie_beta", "1"),
        ("ngx.var.remote_addr", "192.0.2.7"),
        ("ngx.var.remote_port", "50000"),
        ("ngx.var.host", "www.example.org"),
        ("ngx.var.scheme", "https"),
        ("ngx.var.request_method", "GET"),
        ("ngx.var.server_name", "example.org"),
        ("ngx.var.server_port", "443"),
        ("ngx.var.request_id", "abc123"),
        ("ngx.var.undefined", "nil"),
        ("ngx.var[1]", "nil"),
        ("ngx.req.get_method()", "GET"),
        ("ngx.req.get_headers().host", "www.example.org"),
        ("ngx.req.get_headers()['X-Multi'][2]", "two"),
        ("ngx.req.get_headers().x_multi[1]", "one"),
        ("ngx.req.get_headers(0, true)['X-Multi'][1]", "one"),
        ("select(2, ngx.req.get_headers(1))", "truncated"),
        ("ngx.req.get_uri_args().b", "x y"),
        ("ngx.req.get_uri_args().a[2]", "2"),
        ("ngx.req.http_version()", "1.1"),
        ("ngx.req.start_time()", "1700000000.0"),
        ("ngx.decode_args('a&b=1&=x&b=2').a", "true"),
        ("ngx.encode_args({ b = { 1, 'x y' }, a = true })", "a&b=1&b=x%20y"),
        ("ngx.HTTP_MOVED_TEMPORARILY", "302"),
        ("ngx.time()", "1700000000"),
        ("ngx.now()", "1700000000.5"),
        ("ngx.crc32_short('123456789')", "3421780262"),
        ("#ngx.md5('x')", "32"),
        ("ngx.encode_base64('Lua')", "THVh"),
        ("ngx.decode_base64('THVh')", "Lua"),
        ("ngx.escape_uri('a b/~')", "a%20b%2F~"),
        ("ngx.unescape_uri('a%20b')", "a b"),
        ("ngx.re.match(ngx.var.uri, '(list)', 'jo')[1]", "list"),
        ("ngx.re.match(ngx.var.uri, 'none')", "nil"),
        ("ngx.cookie_time(0)", "Thu, 01-Jan-70 00:00:00 GMT"),
        ("ngx.http_time(0)", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("require('table.nkeys')({ 1, 2, a = 3 })", "3"),
        ("#require('table.new')(10, 0)", "0"),
        ("(function() local t = { 1, a = 2 } require('table.clear')(t) return next(t) end)()", "nil"),
        ("require('resty.chash'):new({ a = 2 / 1, b = '1' }):find('key') ~= nil", "true"),
        ("require('resty.chash'):new({ b = 0, a = 0 }):find('key') ~= nil", "true"),
        (
            "(function() local rr = require('resty.roundrobin'):new({ a = 0, b = 0 }) return rr:find() .. rr:find() .. rr:find() end)()",
            "aba",
        ),
        ("require('resty.swrr'):new({ a = 0 }):find()", "a"),
        (
            "(function() local c = require('resty.lrucache').new(2) c:set('a', 1) c:set('b', 2) c:get('a') c:set('c', 3) return tostring(c:get('a')) .. tostring(c:get('b')) .. tostring(c:get('c')) .. c:count() end)()",
            "1nil32",
        ),
        ("ngx.shared.missing", "nil"),
        ("ngx.get_phase()", "balancer"),
        ("ngx.worker.count()", "1"),
        ("#ngx.var.binary_remote_addr", "4"),
        ("(function() ngx.var.mine = 7 return ngx.var.mine .. r.subprocess_env.mine end)()", "77"),
        ("(function() ngx.var.mine = 7 ngx.var.mine = nil return ngx.var.mine end)()", "nil"),
        ("(function() ngx.var.args = 'q=1' return r.args end)()", "q=1"),
        ("ngx.http_time(1290079655)", "Thu, 18 Nov 2010 11:27:35 GMT"),
        ("ngx.cookie_time(1290079655)", "Thu, 18-Nov-10 11:27:35 GMT"),
        ("ngx.cookie_time(2147483647)", "Tue, 19-Jan-2038 03:14:07 GMT"),
        ("ngx.re.find('abcb', 'b')", "2"),
        ("select(2, ngx.re.find('abcb', '(bc)', 'jo', nil, 1))", "3"),
        ("(function() local c = { pos = 3 } return ngx.re.find('abcb', 'b', '', c) .. c.pos end)()", "45"),
        (
            "(function() local n = '' for m in ngx.re.gmatch('a1a2', '(a)') do n = n .. m[0] .. m[1] end return n end)()",
            "aaaa",
        ),
        ("ngx.re.sub('hello', 'l', '[$0]')", "he[l]lo"),
        ("ngx.re.gsub('hello', '(l)', '${1}$1$$')", "hell$ll$o"),
        ("select(2, ngx.re.gsub('hello', 'l', 'x'))", "2"),
        ("ngx.re.gsub('hello', '(l)', function(m) return m[1]:upper() end)", "heLLo"),
        ("ngx.re.match('hello', '(?<name>ell)').name", "ell"),
        ("ngx.re.gsub('hello', '(?<name>l)', function(m) return m.name:upper() end)", "heLLo"),
        ("ngx.re.gsub('hello', 'z', 'x')", "hello"),
        ("require('table.nkeys')({ a = 1, 2, 3 })", "3"),
        ("(function() local t = { a = 1, 2 } require('table.clear')(t) return next(t) end)()", "nil"),
        ("#require('table.new')(10, 10)", "0"),
        ("require('table.isarray')({ 1, 2 })", "true"),
        ("ngx.worker.id()", "0"),
        ("ngx.worker.pid() > 0", "true"),
        ("ngx.null == require('cjson').null", "true"),
        ("ngx == require('ngx')", "true"),
        ("bit.bxor(0xff, 0x0f)", "240"),
        ("bit.bnot(0)", "-1"),
        ("bit.lshift(1, 31)", "-2147483648"),
        ("bit.arshift(-8, 1)", "-4"),
        ("bit.rshift(-1, 28)", "15"),
        ("bit.rol(0x12345678, 8) == 0x34567812", "true"),
        ("bit.bswap(0x12345678) == 0x78563412", "true"),
        ("bit.tohex(255, 4)", "00ff"),
        ("bit.tohex(0xabc, -3)", "ABC"),
        ("bit.tohex(0xabc)", "00000abc"),
        ("bit.tohex(0xabc, 0)", ""),
        ("bit.band(0xff, 0x3c, 0x18)", "24"),
        ("bit.bor(1)", "1"),
        ("bit.tobit(0xffffffff)", "-1"),
        ("bit.tobit(1.5)", "2"),
        ("bit.tobit('0x10')", "16"),
        ("bit.lshift(1, 33)", "2"),
        ("bit.ror(1, 1)", "-2147483648"),
        ("select(2, pcall(bit.tobit, {})):match('number expected, got table')", "number expected, got table"),
        ("pcall(bit.tobit, 1/0)", "false"),
        ("ngx.HTTP_OK + ngx.HTTP_OK", "400"),
        ("ngx.HTTP_NOTHING", "nil"),
        ("require('bit').band(7, 12, 4)", "4"),
    ] {
        assert_eq!(eval(expression), expected, "{expression}");
    }
    for (action, text) in [
        ("ngx.var.uri = 'x'", "not changeable: use ngx.req.set_uri"),
        ("ngx.var.http_x = 'x'", "not changeable: use ngx.req.set_header"),
        ("ngx.var['a b'] = 'x'", "cannot be set"),
        ("ngx.sleep(1)", "ngx.sleep is not available here: a request's thread"),
        ("ngx.location.capture('/x')", "ngx.location is not available here"),
        ("require('resty.http')", "use lb.http or socket.http"),
        ("ngx.exit = nil", "cannot be set"),
        ("ngx.HTTP_OK = 1", "cannot be set"),
        ("ngx.req.x = 1", "cannot be set"),
        ("ngx.exit(7)", "found 7"),
        ("ngx.redirect('/x', 200)", "found 200"),
        ("ngx.redirect('/x\\r\\nEvil: 1')", "unsafe byte 0x0d"),
        ("ngx.log(99, 'x')", "bad log level"),
    ] {
        let found = eval(&format!("(function() {action} end)()"));
        assert!(found.contains(text), "{action}: {found}");
    }
}

#[test]
fn json_goes_both_ways() {
    for (expression, expected) in [
        ("require('cjson').encode({ 1, 2, { a = true } })", r#"[1,2,{"a":true}]"#),
        ("require('cjson').encode({})", "{}"),
        ("require('cjson').encode(require('cjson').empty_array)", "[]"),
        ("require('cjson').encode({ a = require('cjson').null })", r#"{"a":null}"#),
        ("require('cjson').decode('{\"a\":[1,2.5,\"x\",null]}').a[2]", "2.5"),
        ("require('cjson').decode('[null]')[1] == ngx.null", "true"),
        ("require('cjson.safe').decode('{')", "nil"),
        ("require('cjson.safe').encode({ f = print })", "nil"),
        ("math.type(require('cjson').decode('7'))", "integer"),
    ] {
        assert_eq!(eval(expression), expected, "{expression}");
    }
    assert!(eval("select(2, require('cjson.safe').decode('{'))").contains("EOF"));
    assert!(eval("require('cjson').decode('{')").starts_with("error:"));
    assert!(
        eval("(function() local t = {} t.t = t return require('cjson').encode(t) end)()")
            .contains("nested deeper")
    );
}

#[test]
fn exits_end_the_script_for_good() {
    for (body, expected) in [
        ("ngx.exit(503)", Answer::Status(503)),
        ("pcall(ngx.exit, 403) return 500", Answer::Status(403)),
        ("return ngx.exit(ngx.HTTP_FORBIDDEN)", Answer::Status(403)),
        ("ngx.exit(ngx.OK) return 500", Answer::Decline),
        ("ngx.exit(ngx.DECLINED) return 500", Answer::Decline),
        ("ngx.exit(ngx.ERROR)", Answer::Status(500)),
        ("coroutine.wrap(function() ngx.exit(404) end)() return 500", Answer::Status(404)),
    ] {
        assert_eq!(common::answer(body).unwrap(), expected, "{body}");
    }
    let world = World::new("function f(pool, r) ngx.exit(503) r.notes.after = 'yes' end", "f");
    let state = world.started();
    assert_eq!(state.pick(world.id, "f", "app", None).unwrap(), Answer::Status(503));
    assert_eq!(
        world.request.value(RequestTable::Notes, "after").unwrap(),
        "yes",
        "the balancer phase goes on"
    );
}

#[test]
fn peers_are_set_as_openresty_does() {
    let text = "
local balancer = require 'ngx.balancer'
function f(r)
  local state, status = balancer.get_last_failure()
  if state == nil then
    assert(balancer.set_more_tries(2))
    assert(balancer.set_timeouts(0.5, nil, 2))
    assert(balancer.set_current_peer('127.0.0.1', '8080', 'name.example'))
  else
    r.notes.why = state .. status
    assert(balancer.set_current_peer('127.0.0.2:8081'))
  end
end";
    let world = World::new(text, "f");
    let state = world.started();
    let first = state.select(world.id, "f", Phase::Translate).unwrap();
    let expected = Peer {
        host: "127.0.0.1".into(),
        port: 8080,
        tls_name: Some("name.example".into()),
        tls: false,
        more_tries: Some(2),
        timeouts: [Some(0.5), None, Some(2.0)],
    };
    assert_eq!(first, Answer::Peer(expected));
    state.set_attempt(AttemptsSoFar { before: 1, last_failure: Some((false, 502)) });
    let second = state.select(world.id, "f", Phase::Pick).unwrap();
    let Answer::Peer(peer) = second else { panic!("{second:?}") };
    assert_eq!((peer.host.as_str(), peer.port, peer.more_tries), ("127.0.0.2", 8081, None));
    assert_eq!(world.request.value(RequestTable::Notes, "why").unwrap(), "failed502");
    for (call, expected) in [
        ("set_current_peer('example.org', 80)", "no host allowed"),
        ("set_current_peer('127.0.0.1', 70000)", "bad port: 70000"),
        ("set_current_peer('127.0.0.1:99999')", "bad port: 99999"),
    ] {
        assert_eq!(eval(&format!("select(2, require('ngx.balancer').{call})")), expected);
    }
    assert!(eval("require('ngx.balancer').set_timeouts(0)").contains("bad connect timeout"));
    assert!(eval("require('ngx.balancer').set_current_peer('127.0.0.1', 1, 5)").contains("string expected"));
    let world = World::new(
        "why = select(2, require('ngx.balancer').set_current_peer('::1', 1)) function f() return nil, why end",
        "f",
    );
    let state = world.started();
    world.request.active.set(false);
    assert_eq!(value(&world, &state), "API disabled in the current context");
}

#[test]
fn resty_balancers_share_in_declared_weights() {
    let run = |module: &str, count: u32| {
        format!(
            "(function() local b = require('{module}'):new({{ a = 5, b = 1, c = 1 }}) local s = '' for i = 1, {count} do s = s .. b:find() end return s end)()"
        )
    };
    assert_eq!(eval(&run("resty.swrr", 7)), "aabacaa");
    assert_eq!(eval(&run("resty.roundrobin", 7)), "aaaaabc");
    assert_eq!(eval("(require('resty.roundrobin'):new({}):find())"), "nil");
    let chash = "(function() local c = require('resty.chash'):new({ ['a\\0' .. '80'] = 1, ['b\\0' .. '80'] = 1 }) local id, i = c:find('key') local n = 0 for k = 1, 1000 do if c:find('k' .. k) == id then n = n + 1 end end return #id .. type(i) .. type(c:next(i)) .. tostring(n > 300 and n < 700) end)()";
    assert_eq!(eval(chash), "4numberstringtrue");
    let change = "(function() local b = require('resty.swrr'):new({ a = 1 }) b:set('b', 1) b:delete('a') b:incr('c', 2) b:decr('c', 2) return b:find() .. b:find() end)()";
    assert_eq!(eval(change), "bb");
}

#[test]
fn ctx_lives_as_long_as_its_request() {
    let world =
        World::new("function f(r) ngx.ctx.n = (ngx.ctx.n or 0) + 1 return nil, tostring(ngx.ctx.n) end", "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "1");
    assert_eq!(value(&world, &state), "2");
    world.request.count(script::host::Number::Started, 7);
    assert_eq!(value(&world, &state), "1");
}

/// The article's first script, word for word but for its comments.
const ARTICLE: &str = r#"-- balancer.lua
local backend_servers = {
  { host = "192.168.1.10", port = 8080, weight = 1 },
  { host = "192.168.1.11", port = 8080, weight = 2 },
  { host = "192.168.1.12", port = 8080, weight = 1 }
}
local server_count = #backend_servers
local current_index = 0
local function round_robin()
  current_index = (current_index % server_count) + 1
  return backend_servers[current_index]
end
local total_weight = 0
for i = 1, server_count do total_weight = total_weight + backend_servers[i].weight end
local function weighted_round_robin()
  local random_weight = math.random(total_weight)
  local current_weight = 0
  for i = 1, server_count do
    current_weight = current_weight + backend_servers[i].weight
    if random_weight <= current_weight then return backend_servers[i] end
  end
  return backend_servers[1]
end
local function get_backend_server()
  --return round_robin()
  return weighted_round_robin()
end
local backend = get_backend_server()
local backend_url = "http://" .. backend.host .. ":" .. backend.port .. "/"
ngx.req.set_header("X-Backend-Server", backend.host .. ":" .. backend.port)
ngx.req.set_header("X-Load-Balancer", "Apache+Lua")
ngx.req.set_uri(ngx.var.request_uri)
ngx.req.set_header("Host", backend.host .. ":" .. backend.port)
ngx.redirect(backend_url, ngx.HTTP_MOVED_TEMPORARILY)
"#;

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
            assert!(error.message.contains("no name for TLS"), "{name:?}: {}", error.message);
            assert!(said(name, false, tls_first).is_ok(), "{name:?} without TLS");
        }
    }
}
