// SPDX-License-Identifier: Apache-2.0
//! The request object means what mod_lua's means.
#![allow(missing_docs)]

mod common;

use common::{World, eval, value};
use script::host::{Field, RequestTable};
use script::{ErrorKind, Phase};

#[test]
fn fields_read_as_in_mod_lua() {
    for (expression, expected) in [
        ("r.method", "GET"),
        ("r.uri", "/app/list"),
        ("r.unparsed_uri", "/app/list?a=1&b=x%20y&a=2"),
        ("r.args", "a=1&b=x%20y&a=2"),
        ("r.hostname", "www.example.org"),
        ("r.port", "443"),
        ("r.protocol", "HTTP/1.1"),
        ("r.the_request", "GET /app/list?a=1&b=x%20y&a=2 HTTP/1.1"),
        ("r.useragent_ip", "192.0.2.7"),
        ("r.is_https", "true"),
        ("r.user", "nil"),
        ("r.filename", "nil"),
        ("r.handler", "nil"),
        ("r.status", "200"),
        ("r.server_name", "example.org"),
        ("r.document_root", "/var/www"),
        ("r.log_id", "abc123"),
        ("r.started", "1700000000000000"),
        ("r.nonsense", "nil"),
        ("r.headers_in['host']", "www.example.org"),
        ("r.headers_in.Host", "www.example.org"),
        ("r.headers_in['x-multi']", "one"),
        ("r.headers_in:get('HOST')", "www.example.org"),
        ("r.headers_in['None']", "nil"),
        ("r:getcookie('beta')", "1"),
        ("r:getcookie('session')", "abc"),
        ("r:getcookie('other')", "nil"),
        ("r:escape('a b/c?')", "a+b%2fc%3f"),
        ("r:unescape('a+b%2Fc')", "a b/c"),
        ("r:unescape('%zz')", "nil"),
        ("r:unescape('100%')", "nil"),
        ("r:unescape('a%00')", "nil"),
        ("r:escape_logitem('a\\nb\"\\\\\\1\\195\\169')", "a\\nb\\\"\\\\\\x01\\xc3\\xa9"),
        ("r:os_escape_path('a b:c', true)", "a%20b:c"),
        ("r:os_escape_path('a:b/c?')", "./a:b/c%3f"),
        ("r:escape_html('<a href=\"x\">&')", "&lt;a href=&quot;x&quot;&gt;&amp;"),
        ("r:base64_encode('Lua')", "THVh"),
        ("r:base64_decode('THVh')", "Lua"),
        ("#r:md5('x')", "32"),
        ("#r:sha1('x')", "40"),
        ("r:ssl_var_lookup('SSL_PROTOCOL')", "TLSv1.3"),
        ("r:ssl_var_lookup('SSL_NONE')", "nil"),
        ("r:construct_url('/x')", "https://example.org/x"),
        ("r:expr('true')", "true"),
        ("r:expr('false')", "false"),
        ("select(2, r:expr('((('))", "syntax error in ((("),
        ("r:regex(r.uri, '(list)')[1]", "list"),
        ("r:regex(r.uri, 'LIST')", "false"),
        ("r:regex(r.uri, 'LIST', 'i')[0]", "list"),
        ("r:regex(r.uri, 'LIST', 1)[0]", "list"),
        ("select(2, r:regex(r.uri, '((x'))", "unmatched parentheses"),
        ("r:parseargs().b", "x y"),
        ("r:parseargs().a", "1"),
        ("table.concat(select(2, r:parseargs()).a, ',')", "1,2"),
        ("table.concat(select(2, r:headers_in_table())['X-Multi'], ',')", "one,two"),
        ("r:headers_in_table()['X-Multi']", "one"),
        ("(function() local n = 0 for k, v in pairs(r.headers_in) do n = n + #k end return n end)()", "24"),
        ("r:clock()", "1700000000500000"),
        ("r.proxyreq == apache2.PROXYREQ_NONE", "true"),
        ("require('apache2').OK", "0"),
        ("apache2.PROXYREQ_REVERSE", "2"),
        ("apache2.HTTP_MOVED_TEMPORARILY", "302"),
        ("lb.hash('')", "-1205034819632174695"),
        ("lb.time()", "1700000000.5"),
        ("lb.now()", "0.0"),
    ] {
        assert_eq!(eval(expression), expected, "{expression}");
    }
}

#[test]
fn fields_that_may_be_set_are_set() {
    let text = "function f(r)
  r.uri = '/new' r.args = nil r.filename = 'proxy:http://h/' r.handler = 'proxy-server'
  r.proxyreq = apache2.PROXYREQ_REVERSE r.status = 404 r.user = 'eva' r.content_type = 'text/plain'
  return nil, r.uri .. tostring(r.args) .. tostring(r.proxyreq == apache2.PROXYREQ_REVERSE)
end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "/newniltrue");
    assert_eq!(world.request.text(Field::Filename).unwrap(), "proxy:http://h/");
    for (action, text) in [
        ("r.method = 'PUT'", "Property [method] may not be set"),
        ("r.uri = {}", "r.uri: expected a string, found a table"),
        ("r.status = 'x'", "r.status: expected a number, found a string"),
        ("r.headers_in['X'] = {}", "X: expected a string or nil, found a table"),
        ("r.headers_in['X: y\\r\\nZ'] = '1'", "is not the name of a header"),
    ] {
        let world = World::new(&format!("function f(r) {action} end"), "f");
        let state = world.started();
        let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Runtime);
        assert!(error.message.contains(text), "{}", error.message);
        assert!(error.message.contains("main.lua:1:"), "{}", error.message);
    }
}

#[test]
fn tables_are_written_and_unset() {
    let text = "function f(r)
  r.headers_in['X-New'] = 'a\\r\\nEvil: 1\\0'
  r.headers_in['x-multi'] = nil
  r.headers_out['X-Count'] = 5
  r.err_headers_out['X-Flag'] = true
  r.notes['n'] = 'line\\nbreak'
  r.subprocess_env['E'] = 'v'
  r.headers_out:set('X-Set', 's')
  return nil, 'done'
end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "done");
    let get = |table, key| world.request.value(table, key);
    assert_eq!(get(RequestTable::HeadersIn, "X-New").unwrap(), "a  Evil: 1 ");
    assert_eq!(get(RequestTable::HeadersIn, "X-Multi"), None);
    assert_eq!(get(RequestTable::HeadersOut, "X-Count").unwrap(), "5");
    assert_eq!(get(RequestTable::HeadersOut, "X-Set").unwrap(), "s");
    assert_eq!(get(RequestTable::ErrHeadersOut, "X-Flag").unwrap(), "true");
    assert_eq!(get(RequestTable::Notes, "n").unwrap(), "line\nbreak");
    assert_eq!(get(RequestTable::SubprocessEnv, "E").unwrap(), "v");
    assert!(world.server.lines.borrow().iter().any(|(level, line)| *level == 4 && line.contains("X-New")));
}

#[test]
fn cookies_are_set_safely() {
    let text = "function f(r)
  r:setcookie{ key = 'a', value = 'b c', path = '/x', secure = true, httponly = true, samesite = 'Lax', expires = 951782400 }
  r:setcookie('k', 'v', true, 0)
  return nil, 'done'
end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(value(&world, &state), "done");
    let tables = world.request.tables.borrow();
    let set: Vec<_> = tables.iter().filter(|(table, ..)| *table == RequestTable::ErrHeadersOut).collect();
    assert_eq!(
        String::from_utf8_lossy(&set[0].2),
        "a=b+c; Expires=Tue, 29 Feb 2000 00:00:00 GMT; Path=/x; SameSite=Lax; Secure; HttpOnly"
    );
    assert_eq!(String::from_utf8_lossy(&set[1].2), "k=v; Path=/; Secure");
    assert!(
        eval("r:setcookie{ key = 'a', value = 'b', path = '/\\r\\nX: 1' }").contains("control character")
    );
}

#[test]
fn bodies_are_parsed_up_to_a_size() {
    let world = World::new(
        "function f(r)
  r.headers_in['Content-Type'] = 'application/x-www-form-urlencoded'
  return nil, tostring(r:parsebody().x) .. tostring(r:parsebody(3).x)
end",
        "f",
    );
    world.request.body.replace(Some(b"x=a%20b&y=2".to_vec()));
    let state = world.started();
    assert_eq!(value(&world, &state), "a bnil");
}

#[test]
fn shared_values_come_back_as_they_were() {
    for (value, expected) in [
        ("true", "true"),
        ("false", "false"),
        ("2", "2"),
        ("2.5", "2.5"),
        ("'text'", "text"),
        ("nil", "nil"),
        ("math.mininteger", "-9223372036854775808"),
    ] {
        let text = format!("(function() r:ivm_set('k', {value}) return r:ivm_get('k') end)()");
        assert_eq!(eval(&text), expected);
    }
    let nested = "(function() r:ivm_set('k', { a = { 1, 2, { b = false } } }) local t = r:ivm_get('k') return #t.a .. tostring(t.a[3].b) end)()";
    assert_eq!(eval(nested), "3false");
    assert_eq!(eval("r:ivm_get('unknown')"), "nil");
    assert!(eval("(function() local t = {} t.t = t r:ivm_set('k', t) end)()").contains("holds itself"));
    assert!(eval("r:ivm_set('k', print)").contains("found a function"));
}

#[test]
fn log_methods_have_their_levels() {
    let world = World::new(
        "function f(r) r:emerg('0') r:err('3') r:debug('7') r:trace8('15') lb.log('warn', 'a', 1, nil) print('x', 2) return nil, 'done' end",
        "f",
    );
    let state = world.started();
    assert_eq!(value(&world, &state), "done");
    let lines = world.server.lines.borrow().clone();
    let expected = [(0, "0"), (3, "3"), (7, "7"), (4, "a1nil"), (5, "x\t2")];
    assert_eq!(lines, expected.map(|(level, text)| (level, text.to_owned())));
    assert!(eval("lb.log('loud', 'x')").contains("the first argument is the level"));
}

#[test]
fn without_a_request_its_names_say_so() {
    let world = World::new(
        "local ok, text = pcall(function() return R.uri end) function f(r) return nil, r.uri end",
        "f",
    );
    let state = world.started();
    world.request.active.set(false);
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.message.contains("no request here"), "{}", error.message);
}

#[test]
fn geo_data_is_a_table() {
    let world = World::new(
        "function f(r) local p = lb.geo(r.useragent_ip) return nil, p and p.country .. p.asn or 'nowhere' end",
        "f",
    );
    let state = world.started();
    assert_eq!(value(&world, &state), "nowhere");
    let place = script::host::Location { country: Some("CN".into()), asn: Some(64500), ..Default::default() };
    world.server.place.replace(Some(place));
    assert_eq!(value(&world, &state), "CN64500");
}

/// Fields that a script has read before are put in its reach as a call begins.
#[test]
fn fields_are_those_of_the_request_at_hand() {
    let text =
        "function f(r) r.notes.x = r.uri .. ' ' .. tostring(r.args) .. ' ' .. r.uri .. ' ' .. r.method end";
    let world = World::new(text, "f");
    let state = world.started();
    let long = "/".repeat(300);
    for (uri, args) in [
        ("/a", Some("x=1")),
        ("/a", Some("x=1")),
        ("/b", None),
        (&*long, Some("x=2")),
        ("/a", None),
        ("/", Some(&*long)),
        ("/b", Some("")),
    ] {
        world.request.put(Field::Uri, uri);
        match args {
            Some(args) => world.request.put(Field::Args, args),
            None => drop(world.request.fields.borrow_mut().remove("Args")),
        }
        state.select(world.id, "f", Phase::Translate).unwrap();
        let expected = format!("{uri} {} {uri} GET", args.unwrap_or("nil"));
        assert_eq!(world.request.value(RequestTable::Notes, "x"), Some(expected));
    }
}

#[test]
fn a_field_that_is_set_is_read_as_it_was_set() {
    let text = "function f(r) local a = r.uri r.uri = '/set' local b = r.uri r.uri = a .. '!' \
                r.notes.x = a .. ' ' .. b .. ' ' .. r.uri end";
    let world = World::new(text, "f");
    let state = world.started();
    for nth in 1..=4 {
        world.request.put(Field::Uri, &format!("/{}", nth / 2));
        state.select(world.id, "f", Phase::Translate).unwrap();
        let expected = format!("/{0} /set /{0}!", nth / 2);
        assert_eq!(world.request.value(RequestTable::Notes, "x"), Some(expected));
        assert_eq!(world.request.text(Field::Uri), Some(format!("/{}!", nth / 2)));
    }
}

#[test]
fn a_field_that_was_read_before_is_gone_with_its_request() {
    let world = World::new("function f(r) kept = r return r.uri == '/app/list' and 204 or 500 end", "f");
    let state = world.started();
    for _ in 0..2 {
        let answer = state.select(world.id, "f", Phase::Translate).unwrap();
        assert_eq!(answer, script::Answer::Status(204));
    }
    world.request.active.set(false);
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.message.contains("no request here"), "{error}");
    world.request.active.set(true);
    state.select(world.id, "f", Phase::Translate).unwrap();
}
