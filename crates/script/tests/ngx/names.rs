// SPDX-License-Identifier: Apache-2.0
//! The names, one by one.

use super::*;

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
