// SPDX-License-Identifier: Apache-2.0
//! Whole scripts as people have them: for mod_lua's translate hook and for OpenResty's balancer
//! phase, unchanged, with connections that are kept.

use std::collections::BTreeMap;

use server_tests::{Backend, Builder, Client, Httpd, Mpm, Request, on_every_mpm};

/// A balancer for mod_lua in one file: a weighted choice by random numbers, a cookie that holds a
/// client, a path that stays here.
const MOD_LUA: &str = r#"
local apache2 = require "apache2"
local backends = {
  { url = "A", weight = 2 },
  { url = "B", weight = 1 },
  { url = "C", weight = 1 },
}
local total = 0
for _, backend in ipairs(backends) do total = total + backend.weight end

local function by_cookie(r)
  local held = r:getcookie("backend")
  return held and backends[tonumber(held)]
end

local function by_chance()
  local left = math.random(total)
  for at, backend in ipairs(backends) do
    left = left - backend.weight
    if left <= 0 then return backend, at end
  end
end

function choose_backend(r)
  if r.method ~= "GET" and r.method ~= "HEAD" then
    r.status = 405
    return 405
  end
  if r.uri:match("^/own/") then return apache2.DECLINED end
  local query = r:parseargs()
  local backend, at = by_cookie(r), nil
  if not backend then
    backend, at = by_chance()
    r.err_headers_out["Set-Cookie"] = "backend=" .. at .. "; Path=/"
  end
  r.headers_in["X-Chosen-By"] = "mod_lua"
  r.notes["backend"] = backend.url
  r.handler = "proxy-server"
  r.proxyreq = apache2.PROXYREQ_REVERSE
  r.filename = "proxy:" .. backend.url .. r.uri
  r:debug("sent to " .. backend.url .. " because of " .. tostring(query.why))
  return ENDING
end
"#;

fn with_urls(script: &str, backends: &[Backend; 3]) -> String {
    let [a, b, c] = backends;
    [("A", a), ("B", b), ("C", c)].iter().fold(script.to_owned(), |script, (name, backend)| {
        script.replace(&format!("\"{name}\""), &format!("{:?}", backend.url()))
    })
}

on_every_mpm!(a_translate_script_of_mod_lua_balances_over_kept_connections);

fn a_translate_script_of_mod_lua_balances_over_kept_connections(mpm: Mpm) {
    // DECLINED is what mod_lua's manual shows, and what httpd itself answers with 403.
    for ending in ["apache2.OK", "apache2.DECLINED"] {
        let backends = Backend::named(["a", "b", "c"]);
        let httpd = Httpd::builder()
            .mpm(mpm)
            .file("balance.lua", &with_urls(MOD_LUA, &backends).replace("ENDING", ending))
            .file("htdocs/own/page", "from the document root")
            .config("LuaHookTranslate balance.lua choose_backend")
            .start();
        let mut clients: Vec<Client> = httpd.clients_in_children(2, "/own/page").into_values().collect();
        let mut seen = BTreeMap::<String, usize>::new();
        for at in 0..300 {
            let response = clients[at % 2].get("/a%20b/c%3Fd?why=x%20y&n=1");
            assert_eq!(response.header("X-Uri"), Some("/a%20b/c%3Fd?why=x%20y&n=1"));
            *seen.entry(response.backend().to_owned()).or_default() += 1;
        }
        assert_eq!(seen.values().sum::<usize>(), 300);
        assert!(seen.len() == 3 && seen["a"] > 90 && seen["b"] > 30 && seen["c"] > 30, "{seen:?}");
        let connections: usize = backends.iter().map(Backend::connections).sum();
        assert!(connections <= 12, "300 requests opened {connections} connections");
        assert_eq!(backends[0].last().expect("a request").headers.get("X-Chosen-By"), Some("mod_lua"));
        let held = clients[0].get("/held");
        let cookie = held
            .header("Set-Cookie")
            .and_then(|cookie| cookie.split(';').next())
            .expect("a cookie")
            .to_owned();
        for client in &mut clients {
            let response = client.send(&Request::get("/held").header("Cookie", &cookie));
            assert_eq!((response.backend(), response.header("Set-Cookie")), (held.backend(), None));
        }
        assert_eq!(clients[0].get("/own/page").text(), "from the document root");
        assert_eq!(clients[0].send(&Request::new("DELETE", "/x")).status, 405);
        httpd.assert_no_crash();
    }
}

#[test]
fn texts_that_mod_proxy_takes_for_paths_are_paths() {
    let a = Backend::new("a");
    let script = "function translate(r)\n  local form, rest = r.uri:match('^/(%a+)(.*)$')\n  \
                  r.handler, r.proxyreq = 'proxy-server', apache2.PROXYREQ_REVERSE\n  \
                  r.filename = 'proxy:URL' .. (form == 'bare' and '' or rest)\n  return apache2.OK\nend";
    let httpd = Httpd::builder()
        .file("t.lua", &script.replace("URL", &a.url()))
        .config("LuaHookTranslate t.lua")
        .start();
    for (asked, seen) in [
        ("/x/plain", "/plain"),
        ("/x/q%3Fnot=query?real=1", "/q%3Fnot=query?real=1"),
        ("/x/frag%23ment?a", "/frag%23ment?a"),
        ("/x/bytes%ff%fe", "/bytes%ff%fe"),
        ("/x/100%25", "/100%25"),
        ("/x/?only=query", "/?only=query"),
        ("/bare/path?q", "/?q"),
    ] {
        let response = httpd.client().get(asked);
        let found = response.header("X-Uri").unwrap_or_default().to_lowercase();
        assert_eq!(found, seen.to_lowercase(), "{asked}");
    }
}

/// A balancer_by_lua file: the first peer by turns over all workers, the others after a failure.
const FAILOVER: &str = r#"
local balancer = require "ngx.balancer"
local peers = { PEERS }

local state, status = balancer.get_last_failure()
if not state then
  ngx.ctx.first = (ngx.shared.turns:incr("turn", 1, -1)) % #peers
  ngx.ctx.tries = 0
else
  ngx.log(ngx.WARN, "peer ", ngx.ctx.peer, " failed: ", state, " ", status, " for ", ngx.var.uri)
  ngx.shared.turns:incr("failures", 1, 0)
end
if ngx.ctx.tries < 2 then
  local ok, err = balancer.set_more_tries(1)
  if not ok then
    ngx.log(ngx.ERR, "failed to set more tries: ", err)
  elseif err then
    ngx.log(ngx.WARN, "set more tries: ", err)
  end
end
local at = (ngx.ctx.first + ngx.ctx.tries) % #peers + 1
ngx.ctx.tries = ngx.ctx.tries + 1
ngx.ctx.peer = at
local ok, err = balancer.set_current_peer(peers[at].host, peers[at].port)
if not ok then
  ngx.log(ngx.ERR, "failed to set the current peer: ", err)
  return ngx.exit(ngx.HTTP_INTERNAL_SERVER_ERROR)
end
"#;

fn peers(backends: &[&Backend]) -> String {
    backends
        .iter()
        .map(|backend| format!("{{ host = \"127.0.0.1\", port = {} }}, ", backend.port()))
        .collect()
}

fn balanced_by(mpm: Mpm, script: &str) -> Builder {
    Httpd::builder()
        .mpm(mpm)
        .file("balancer.lua", script)
        .file("htdocs/own/page", "")
        .config("LuaBalancerDict turns 64K\nLuaHookTranslate balancer.lua -")
        .config("<Location /own>\nLuaHookTranslate none\n</Location>\nLuaRegisterFunc none function() end")
}

on_every_mpm!(a_balancer_file_runs_again_for_every_attempt_in_every_child);

fn a_balancer_file_runs_again_for_every_attempt_in_every_child(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = balanced_by(mpm, &FAILOVER.replace("PEERS", &peers(&[&a, &b, &c]))).start();
    let mut clients: Vec<Client> = httpd.clients_in_children(2, "/own/page").into_values().collect();
    let mut ask = |n: usize| -> Vec<String> {
        (0..n).map(|at| clients[at % 2].get("/x?y=1")).map(|answer| answer.backend().to_owned()).collect()
    };
    assert_eq!(ask(6), ["a", "b", "c", "a", "b", "c"], "one turn over all children");
    a.refuse();
    assert_eq!(ask(6), ["b", "b", "c", "b", "b", "c"]);
    assert_eq!(httpd.count_log("peer 1 failed: failed 502 for /x"), 2);
    b.reset();
    // The third peer is the third try, which the second run of the file asked for.
    assert_eq!(ask(6), ["c", "c", "c", "c", "c", "c"]);
    assert_eq!(httpd.count_log("peer 2 failed: failed 502 for /x"), 4);
    c.refuse();
    assert_eq!(httpd.client().get("/x").status / 100, 5, "three tries, then an end");
    a.answer();
    b.answer();
    c.answer();
    assert_eq!(ask(3).len(), 3);
    let before = a.connections() + b.connections() + c.connections();
    let answers = ask(300);
    assert_eq!(answers.iter().filter(|name| *name == "a").count(), 100);
    let opened = a.connections() + b.connections() + c.connections() - before;
    assert!(opened <= 6, "300 requests opened {opened} connections");
    httpd.assert_no_crash();
}

#[test]
fn a_peer_that_takes_too_long_is_left_for_the_next() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let httpd = balanced_by(Mpm::Event, &FAILOVER.replace("PEERS", &peers(&[&a, &b])))
        .config("ProxyTimeout 1")
        .start();
    assert_eq!(httpd.client().get("/x").backend(), "b");
    httpd.wait_for_log("peer 1 failed: failed 504 for /x");
    // A request that may have been carried out is not sent twice.
    a.reset();
    httpd.client().get("/turn");
    let response = httpd.client().send(&Request::post("/x", "body"));
    assert_eq!((response.status, b.requests()), (502, 2));
}

#[test]
fn a_file_that_always_wants_more_tries_comes_to_an_end() {
    let dead = Backend::refusing("dead");
    let script = "local balancer = require 'ngx.balancer'\nngx.shared.turns:incr('runs', 1, 0)\n\
                  local ok, why = balancer.set_more_tries(1000)\n\
                  if why then ngx.log(ngx.WARN, why) end\nassert(balancer.set_current_peer('127.0.0.1', PORT))";
    let httpd = balanced_by(Mpm::Event, &script.replace("PORT", &dead.port().to_string()))
        .file("runs.lua", "function runs(r) r.headers_out['X-Runs'] = tostring(lb.dict('turns'):get('runs')) return 204 end")
        .config("<Location /own/runs>\nLuaHookTranslate runs.lua runs\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/x").status, 503);
    assert_eq!(httpd.client().get("/own/runs").header("X-Runs"), Some("32"));
    httpd.wait_for_log_lines("reduced tries due to limit", 32);
}

/// An application of several files: rings and turns are made once a worker, in a module.
const UPSTREAMS: &str = r#"
local resty_chash = require "resty.chash"
local resty_roundrobin = require "resty.roundrobin"
local cjson = require "cjson.safe"
local _M = { _VERSION = "0.1" }

local config = cjson.decode([[CONFIG]])
local nodes, names = {}, {}
for name, server in pairs(config.servers) do
  local id = server.address .. "\0" .. server.port
  nodes[id], names[id] = server.weight, name
end
_M.chash = resty_chash:new(nodes)
_M.roundrobin = resty_roundrobin:new(nodes)
_M.names = names
_M.count = #table.concat(config.order)

function _M.split(id)
  local host, port = id:match("^(.-)%z(%d+)$")
  return host, tonumber(port)
end

return _M
"#;

const BY_RING: &str = r#"
local balancer = require "ngx.balancer"
local upstreams = require "app.upstreams"

local ctx = ngx.ctx
local failure = balancer.get_last_failure()
local id
if ngx.var.arg_by == "turn" then
  id = upstreams.roundrobin:find()
elseif failure then
  -- The next point of the ring that is another server's.
  repeat
    id, ctx.index = upstreams.chash:next(ctx.index)
  until id ~= ctx.id
else
  id, ctx.index = upstreams.chash:find(ngx.var.cookie_session or ngx.var.remote_addr)
end
ctx.id = id
if not failure then balancer.set_more_tries(upstreams.count - 1) end
balancer.set_timeouts(1, 5, 5)
local host, port = upstreams.split(id)
assert(balancer.set_current_peer(host, port))
ngx.req.set_header("X-Peer", upstreams.names[id])
ngx.shared.turns:set("last", upstreams.names[id], 60)
"#;

on_every_mpm!(an_application_with_rings_and_turns_holds_sessions_in_every_child);

fn an_application_with_rings_and_turns_holds_sessions_in_every_child(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let servers: Vec<String> = backends
        .iter()
        .map(|b| {
            format!(
                "\"{}\": {{ \"address\": \"127.0.0.1\", \"port\": {}, \"weight\": 1 }}",
                b.name(),
                b.port()
            )
        })
        .collect();
    let json = format!("{{ \"order\": [\"a\", \"b\", \"c\"], \"servers\": {{ {} }} }}", servers.join(", "));
    let httpd =
        balanced_by(mpm, BY_RING).file("app/upstreams.lua", &UPSTREAMS.replace("CONFIG", &json)).start();
    let mut clients: Vec<Client> = httpd.clients_in_children(2, "/own/page").into_values().collect();
    let session = |n: usize| Request::get("/x").header("Cookie", &format!("other=1; session=s{n}"));
    let mut homes = Vec::new();
    for n in 0..60 {
        let home = clients[0].send(&session(n)).backend().to_owned();
        assert_eq!(clients[1].send(&session(n)).backend(), home, "session {n} in the other child");
        homes.push(home);
    }
    for backend in &backends {
        let held = homes.iter().filter(|home| *home == backend.name()).count();
        assert!(held > 5, "{} has {held} of 60", backend.name());
        assert_eq!(backend.last().expect("a request").headers.get("X-Peer"), Some(backend.name()));
    }
    backends[1].refuse();
    for (n, home) in homes.iter().enumerate() {
        let found = clients[n % 2].send(&session(n)).backend().to_owned();
        assert!(if home == "b" { found != "b" } else { found == *home }, "session {n}: {home}, then {found}");
    }
    backends[1].answer();
    for (n, home) in homes.iter().enumerate() {
        assert_eq!(clients[n % 2].send(&session(n)).backend(), home, "session {n} comes home");
    }
    let turns = clients[0].shares("/x?by=turn", 60);
    assert!(turns.len() == 3 && turns.values().all(|n| (14..=26).contains(n)), "{turns:?}");
    let connections: usize = backends.iter().map(Backend::connections).sum();
    assert!(connections <= 16, "{connections} connections");
    httpd.assert_no_crash();
}
