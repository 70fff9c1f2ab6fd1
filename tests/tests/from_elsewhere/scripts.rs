// SPDX-License-Identifier: Apache-2.0
//! Scripts that come from elsewhere.

use super::*;

#[test]
fn answers_of_the_scripts_own_are_mod_luas() {
    let ours = Httpd::builder().file("a.lua", OWN_ANSWERS).config("LuaHookSelect a.lua answer").start();
    let early = Httpd::builder().file("a.lua", OWN_ANSWERS).config("LuaHookTranslate a.lua answer").start();
    let theirs = stock().file("a.lua", OWN_ANSWERS).config("LuaHookFixups a.lua answer").start();
    let told = |httpd: &Httpd, request: &Request| {
        let answer = httpd.client().send(request);
        let head = ["Location", "Content-Type", "X-Stat", "Content-Length"]
            .map(|name| answer.header(name).unwrap_or("-").to_owned());
        let cookies = answer.headers.all("Set-Cookie");
        let cookies: Vec<String> = cookies.iter().map(|cookie| cookie.replace([' ', ';'], "")).collect();
        (answer.status, head, cookies, text(&answer))
    };
    for kind in ["redirect", "page", "teapot", "gone", "moved", "cookies", "stat"] {
        for request in [Request::get(&format!("/{kind}/x")), Request::new("HEAD", &format!("/{kind}"))] {
            let mut wanted = told(&theirs, &request);
            // mod_lua lets the request's own status line be; so that a status without words is a
            // 500 there.
            if kind == "teapot" {
                wanted.0 = 418;
            }
            // The folders of the servers are others, the port in a page of httpd's own as well.
            for httpd in [&ours, &early] {
                let mut found = told(httpd, &request);
                if kind == "cookies" || kind == "stat" {
                    (found.3, wanted.3) = (String::new(), String::new());
                    found.1[3].clear();
                    wanted.1[3].clear();
                }
                assert_eq!(found, wanted, "{request:?}: {}", theirs.error_log());
            }
        }
    }
}

on_every_mpm!(a_page_leaves_the_connection_whole);

fn a_page_leaves_the_connection_whole(mpm: Mpm) {
    let script = "function translate(r)\n  r.content_type = 'text/plain'\n  local n = tonumber(r.args or '3')\n  r.status = tonumber(r.uri:match('^/status/(%d+)')) or 200\n  \
                  for i = 1, n do r:puts(('x'):rep(1000)) end\n  if r.uri == '/fails' then error('late') end\n  \
                  if r.uri == '/ok' then return apache2.OK end\n  if r.uri == '/nil' then return nil end\n  return apache2.DONE\nend";
    let httpd = Httpd::builder()
        .mpm(mpm)
        .file("p.lua", script)
        .config("LuaHookTranslate p.lua\nLuaBalancerScriptLimit time=20s")
        .start();
    let mut client = httpd.client();
    for path in ["/done", "/ok", "/nil"] {
        for count in [1, 3, 2000] {
            let request = Request::post(&format!("{path}?{count}"), vec![b'b'; 70_000]);
            let answer = client.send(&request);
            assert_eq!((answer.status, answer.text().len()), (200, count * 1000), "{path} {count}");
        }
    }
    for (status, expected) in [(204, 204), (304, 304), (404, 404), (100, 500), (199, 500), (999, 500)] {
        let answer = client.get(&format!("/status/{status}"));
        assert_eq!(answer.status, expected, "{status}");
        assert!(!matches!(status, 204 | 304) || answer.text().is_empty(), "{status} with a body");
        assert_eq!(client.get("/done?1").text().len(), 1000, "after {status}");
    }
    let failed = client.get("/fails?5");
    assert_eq!(failed.status, 500);
    assert!(!failed.text().contains("xxx"), "half of a page was sent");
    // More than a script may hold ends the script.
    assert_eq!(client.get("/done?100000").status, 500);
    assert_eq!(client.get("/done?1").text().len(), 1000);
    httpd.assert_no_crash();
}

#[test]
fn functions_that_are_left_out_say_what_to_use() {
    let names = [
        "sendfile",
        "usleep",
        "add_output_filter",
        "dbacquire",
        "wsupgrade",
        "scoreboard_process",
        "mkdir",
        "get_direntries",
        "send_interim_response",
        "htpassword",
        "mpm_query",
        "loaded_modules",
        "server_info",
        "make_etag",
    ];
    let script = "function translate(r)\n  local name = r.uri:sub(2)\n  local ok, why = pcall(function() return r[name](r, 'x') end)\n  \
                  r.headers_out['X-Why'] = tostring(why)\n  return 204\nend";
    let httpd = Httpd::builder().file("n.lua", script).config("LuaHookTranslate n.lua").start();
    for name in names {
        let answer = httpd.client().get(&format!("/{name}"));
        let why = answer.header("X-Why").unwrap_or_default();
        assert!(why.contains(&format!("r.{name} is not available here: ")), "{name}: {why}");
    }
}

on_every_mpm!(a_balancer_file_that_exits_well_keeps_its_peer_and_its_variables);

fn a_balancer_file_that_exits_well_keeps_its_peer_and_its_variables(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .mpm(mpm)
        .file("balancer.lua", &BALANCER.replace("PEERS", &format!("{}, {}", a.port(), b.port())))
        .config("LuaHookTranslate balancer.lua -\nHeader always set X-Chosen \"%{chosen}e\"")
        .start();
    let answer = httpd.client().get("/x");
    assert_eq!((answer.status, answer.backend()), (200, "a"), "{}", httpd.error_log());
    assert_eq!(answer.header("X-Chosen"), Some(a.port().to_string().as_str()));
    assert_eq!(a.last().expect("a request").headers.all("X-List"), ["one", "two"]);
    a.refuse();
    let answer = httpd.client().get("/x");
    assert_eq!((answer.backend(), answer.header("X-Chosen")), ("b", Some(b.port().to_string().as_str())));
    // The time to wait for an answer is the script's, not httpd's minute.
    a.answer();
    a.hang();
    let start = Instant::now();
    assert_eq!(httpd.client().get("/x").backend(), "b");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250) && took < patience(Duration::from_secs(5)), "{took:?}");
    httpd.assert_no_crash();
}

#[test]
fn a_pool_with_a_key_picks_in_a_script_as_it_does_without() {
    let backends = Backend::named(["a", "b", "c"]);
    let members: Vec<(&Backend, &str)> = backends.iter().map(|backend| (backend, "")).collect();
    let httpd = Httpd::builder()
        .file("p.lua", "function translate(r) return lb.pool('app'):pick(r) end")
        .config(&pool(
            "app",
            &members,
            "LuaBalancerMethod consistent_hash key=\"%{HTTP:X-Key}-%{REMOTE_ADDR}\"",
        ))
        .config("<Location /script>\nLuaHookTranslate p.lua\n</Location>\nProxyPass /plain lb://app")
        .start();
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..24 {
        let ask = |path: &str| {
            let answer = httpd.client().send(&Request::get(path).header("X-Key", &format!("k{key}")));
            assert_eq!(answer.status, 200, "{path}: {}", httpd.error_log());
            answer.backend().to_owned()
        };
        let plain = ask("/plain/x");
        assert_eq!(ask("/script/x"), plain, "key {key}");
        seen.insert(plain);
    }
    assert!(seen.len() > 1, "one member has all keys");
}

#[test]
fn dictionaries_count_exactly_and_keep_what_is_stale() {
    let script = r#"
local checks = {}
function checks.incr()
  local d = ngx.shared.d
  assert(d:set("n", 9007199254740993))
  assert(d:incr("n", 1) == 9007199254740994 and d:incr("n", "2") == 9007199254740996)
  assert(d:incr("new", 1, 9007199254740992) == 9007199254740993)
  assert(d:incr("big", 9007199254740993, 0) == 9007199254740993)
  assert(d:incr("half", 0.5, 1) == 1.5)
  assert(not pcall(d.incr, d, "n", {}))
end
function checks.stale()
  local d = ngx.shared.d
  assert(d:set("s", "old", 0.001))
  while d:get("s") do end
  local value, flags, stale = d:get_stale("s")
  assert(value == "old" and flags == nil and stale == true)
  assert(d:set("s", "new"))
  value, flags, stale = d:get_stale("s")
  assert(value == "new" and stale == false)
  assert(d:get_stale("none") == nil)
end
function checks.lock()
  local lock = require("resty.lock")
  assert(select(2, lock:new("nothing")) == "dictionary not found")
  local first, second = assert(lock:new("d", { exptime = 5 })), assert(lock:new("d"))
  assert(first:lock("k") == 0)
  local ok, why = second:lock("k")
  assert(ok == nil and why == "timeout", why)
  assert(first:expire(2) and first:unlock() == 1 and select(2, first:unlock()) == "unlocked")
  assert(second:lock("k") == 0 and second:unlock() == 1)
end
function checks.re()
  local found = {}
  for m in assert(ngx.re.gmatch("a=1, bc=22", [[(\w+)=(\d+)]], "jo")) do found[#found + 1] = m[1] .. m[2] .. #m[0] end
  assert(table.concat(found, " ") == "a13 bc225")
  assert(ngx.re.gsub("aXbX", "x", "<$0>", "i") == "a<X>b<X>")
  assert(ngx.re.sub("2024-01-02", [[(\d+)-(\d+)]], "$2/$1") == "01/2024-02")
  assert(ngx.re.gsub("aaa", "^a", "b") == "baa" and ngx.re.gsub("abc", "", "-") == "-a-b-c-")
  assert(ngx.re.gsub("abc", "(b)|(z)", function(m) return "[" .. m[1] .. tostring(m[2]) .. "]" end) == "a[bfalse]c")
  local from, to = ngx.re.find("key: value", [[(\w+): (\w+)]], "", nil, 2)
  assert(from == 6 and to == 10)
  local nothing, _, why = ngx.re.sub("x", "(", "")
  assert(nothing == nil and why)
  local m = ngx.re.match("key: value", [[(?<name>\w+): (?P<value>\w+)(?'none'x)?]], "jo")
  assert(m.name == "key" and m[1] == "key" and m.value == "value" and m.none == false and m[3] == false)
  local names = {}
  for found in assert(ngx.re.gmatch("a=1, bc=22", [[(?<k>\w+)=(?<v>\d+)]])) do names[#names + 1] = found.v .. found.k end
  assert(table.concat(names, " ") == "1a 22bc")
  assert(ngx.re.gsub("a1b2", "(?<l>[a-z])(?<d>[0-9])", function(g) return g.d .. g.l end) == "1a2b")
  assert(ngx.re.sub("a1b2", "(?<l>[a-z])(?<d>[0-9])", function(g) return g.d .. g.l end) == "1ab2")
  assert(ngx.re.match("b", "(?J)(?:(?<n>a)|(?<n>b))").n == "b")
  local into = ngx.re.match("xy", "(?<last>y)", "", nil, { first = 1 })
  assert(into.last == "y" and into.first == 1)
  local ctx = { pos = 3 }
  assert(ngx.re.match("1 2 3", [[\d]], "", ctx)[0] == "2" and ctx.pos == 4)
end
function translate(r)
  checks[r.uri:sub(2)]()
  return 204
end"#;
    let httpd = Httpd::builder()
        .file("d.lua", script)
        .config("LuaBalancerDict d 64K\nLuaHookTranslate d.lua")
        .start();
    for check in ["incr", "stale", "lock", "re"] {
        assert_eq!(httpd.client().get(&format!("/{check}")).status, 204, "{check}: {}", httpd.error_log());
    }
}

/// As in the original: a second holder waits for at most `timeout`, gets how long that took, or
/// `nil, "timeout"`.
#[test]
fn a_timer_waits_for_a_lock_and_a_request_does_not() {
    let script = r#"
local lock = require("resty.lock")
lb.after(0.01, function()
  local held = assert(lock:new("d"))
  assert(held:lock("k") == 0)
  lb.after(0.3, function() held:unlock() end)
  local ok, why = assert(lock:new("d", { timeout = 0.05 })):lock("k")
  print("short " .. tostring(ok) .. " " .. tostring(why))
  local second, began = assert(lock:new("d", { timeout = 3, max_step = 0.02 })), lb.now()
  local elapsed = assert(second:lock("k"))
  local took = lb.now() - began
  print(("long %s %s"):format(elapsed > 0.05 and elapsed < 3, took >= elapsed * 0.9))
  local inside = coroutine.wrap(function() return assert(lock:new("d", { timeout = 0.02 })):lock("k") end)
  print("inside " .. tostring(select(2, inside())))
  local _, wrong = pcall(lock.new, lock, "d", { timeout = "5" })
  print("wrong " .. tostring(wrong))
  print("unlocked " .. tostring(second:unlock()))
end)
function translate(r)
  local one, two = lock:new("d"), lock:new("d", { timeout = 2 })
  assert(one:lock("r") == 0)
  local began = lb.now()
  local ok, why = two:lock("r")
  one:unlock()
  r.err_headers_out["X-Saw"] = tostring(ok) .. " " .. why .. " " .. tostring(lb.now() - began < 0.04)
  return 404
end"#;
    let httpd = Httpd::builder()
        .file("lock.lua", script)
        .config("LuaBalancerDict d 64K\nLuaHookTranslate lock.lua")
        .start();
    for line in [
        "short nil timeout",
        "long true true",
        "inside timeout",
        "wrong .*timeout: expected a number of seconds",
        "unlocked 1",
    ] {
        httpd.wait_for_log(line);
    }
    assert_eq!(httpd.client().get("/x").header("X-Saw"), Some("nil timeout true"));
    httpd.assert_no_crash();
}

#[test]
fn many_matches_and_long_replacements_end_with_the_scripts_limits() {
    let script = "function translate(r)\n  local s = ('a'):rep(1000000)\n  \
                  if r.uri == '/grow' then return #ngx.re.gsub(s, 'a', s) end\n  \
                  for i = 1, 1000 do ngx.re.gsub(s, 'a?', 'b') end\nend";
    let httpd = Httpd::builder().file("m.lua", script).config("LuaHookTranslate m.lua").start();
    for path in ["/grow", "/many"] {
        let start = Instant::now();
        assert_eq!(httpd.client().get(path).status, 500, "{path}");
        assert!(start.elapsed() < patience(Duration::from_secs(5)), "{path}: {:?}", start.elapsed());
    }
    assert_eq!(
        httpd.count_log("script failed.*the limit of LuaBalancerScriptLimit"),
        2,
        "{}",
        httpd.error_log()
    );
    httpd.assert_no_crash();
}

#[test]
fn a_session_over_ajp_brings_its_route() {
    let (port, heard) = ajp();
    let httpd = Httpd::builder()
        .module("proxy_ajp")
        .module("proxy_balancer")
        .module("slotmem_shm")
        .module("lbmethod_byrequests")
        .config(&format!(
            "<LuaBalancerPool app>\nLuaBalancerMember ajp://127.0.0.1:{port} route=r7\nLuaBalancerSticky cookie=S\n\
             LuaBalancerOutlier off\n</LuaBalancerPool>\nProxyPass /ours lb://app/same\n\
             <Proxy balancer://app>\nBalancerMember ajp://127.0.0.1:{port} route=r7 retry=0\nProxySet stickysession=S\n</Proxy>\n\
             ProxyPass /stock balancer://app/same"
        ))
        .start();
    // The attribute's number, the length of its text, and the text.
    let attribute = b"\x06\x00\x02r7\x00";
    let carries = |path: &str, cookie: &str| {
        httpd.client().send(&Request::get(path).header("Cookie", cookie).header("Connection", "close"));
        let packet = heard.recv_timeout(SOON).expect("a packet");
        while heard.try_recv().is_ok() {}
        packet.windows(attribute.len()).any(|part| part == attribute)
    };
    for way in ["/stock/x", "/ours/x"] {
        assert!(carries(way, "S=abc.r7"), "{way}: no jvm_route");
        assert!(!carries(way, "T=abc.r7"), "{way}: a jvm_route without a session");
    }
}

#[test]
fn a_timer_asks_with_socket_http() {
    let a = Backend::new("a");
    let script = r#"
local http, ltn12 = require "socket.http", require "ltn12"
http.TIMEOUT = 3
local function run()
  local body, code, headers, line = http.request("URL/simple?x=1")
  lb.log("notice", "simple: ", code, " ", headers["x-backend"], " ", line, " ", #body > 0)
  local parts = {}
  local ok, status = http.request{ url = "URL/long", method = "PUT", sink = ltn12.sink.table(parts),
    source = ltn12.source.string("hello"), headers = { ["X-Mine"] = "yes", ["content-length"] = 5 } }
  lb.log("notice", "long: ", ok, " ", status, " ", #table.concat(parts) > 0)
  local none, why = http.request("http://127.0.0.1:1/")
  lb.log("notice", "refused: ", tostring(none), " ", why)
end
lb.after(0.1, run)
function translate(r)
  local ok, why = pcall(http.request, "URL/")
  r.headers_out["X-Why"] = tostring(why)
  return 204
end"#;
    let httpd = Httpd::builder()
        .file("t.lua", &script.replace("URL", &a.url()))
        .config("LuaHookTranslate t.lua")
        .start();
    httpd.wait_for_log("simple: 200 a HTTP/1.1 200 true");
    httpd.wait_for_log("long: 1 200 true");
    httpd.wait_for_log("refused: nil .*refused");
    let put = a.recorded().into_iter().find(|request| request.method == "PUT").expect("a PUT");
    assert_eq!((put.headers.get("X-Mine"), put.body_length), (Some("yes"), 5));
    let answer = httpd.client().get("/");
    let why = answer.header("X-Why").unwrap_or_default();
    assert!(why.contains("works in checks and timers only"), "{why}");
}

#[test]
fn a_timer_looks_names_up() {
    let script = r#"
local resolver = require "resty.dns.resolver"
lb.after(0.1, function()
  local r = assert(resolver:new{ nameservers = { "127.0.0.1" }, timeout = 2000 })
  local answers = assert(r:query("localhost", { qtype = r.TYPE_A }))
  lb.log("notice", "found: ", answers[1].address, " ", answers[1].type, " ", answers[1].ttl > 0)
  answers = assert(r:query("no.such.host.invalid"))
  lb.log("notice", "missing: ", answers.errcode, " ", answers.errstr)
  lb.log("notice", "other: ", select(2, r:query("localhost", { qtype = r.TYPE_SRV })))
end)
function translate(r)
  local ok, why = pcall(resolver.query, resolver:new(), "localhost")
  r.headers_out["X-Why"] = tostring(why)
  return 204
end"#;
    let httpd = Httpd::builder().file("t.lua", script).config("LuaHookTranslate t.lua").start();
    httpd.wait_for_log("found: 127.0.0.1 1 true");
    httpd.wait_for_log("missing: 3 name error");
    httpd.wait_for_log("other: only TYPE_A and TYPE_AAAA");
    let answer = httpd.client().get("/");
    let why = answer.header("X-Why").unwrap_or_default();
    assert!(why.contains("resty.dns.resolver works in checks and timers only"), "{why}");
}

#[test]
fn a_select_script_may_name_another_modules_balancer() {
    let a = Backend::new("a");
    let script = "function select(r)\n  r.handler, r.proxyreq = 'proxy-server', apache2.PROXYREQ_REVERSE\n  \
                  r.filename = 'proxy:balancer://app' .. r.uri\n  return apache2.OK\nend";
    let httpd = Httpd::builder()
        .module("proxy_balancer")
        .module("slotmem_shm")
        .module("lbmethod_byrequests")
        .file("s.lua", script)
        .config(&format!("<Proxy balancer://app>\nBalancerMember {}\n</Proxy>\nLuaHookSelect s.lua", a.url()))
        .start();
    for path in ["/a%20b?x=%20", "/a%3Fb", "/%25?q"] {
        assert_eq!(httpd.client().get(path).header("X-Uri"), Some(path), "{}", httpd.error_log());
    }
}
