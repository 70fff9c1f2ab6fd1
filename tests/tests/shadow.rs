// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerShadow`: a function that is asked beside the one that decides, compared with it, and
//! of which nothing else comes.

use std::time::{Duration, Instant};

use serde_json::Value;
use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, Mpm, Request, on_every_mpm, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(20);

const SERVING: &str = "local app = lb.pool('app')\nfunction translate(r)\n  \
    if r.uri:find('^/rr') then return app:round_robin() end\n  \
    if r.uri:find('^/pool') then return app end\n  \
    if r.uri:find('^/named') then return app:member('a') end\n  \
    if r.uri:find('^/hash') then return app:hash(r.args) end\n  \
    if r.uri:find('^/no') then return 403 end\n  \
    if r.uri:find('^/away') then return 'http://127.0.0.1:1' end\n  return nil\nend\n";

struct Site {
    httpd: Httpd,
    backends: [Backend; 2],
}

fn site(mpm: Mpm, next: &str, lines: &str) -> Site {
    site_of(Httpd::builder().mpm(mpm), next, lines)
}

fn site_of(builder: Builder, next: &str, lines: &str) -> Site {
    let backends = Backend::named(["a", "b"]);
    let members: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
    let httpd = builder
        .children(2)
        .with_member_states()
        .file("serving.lua", SERVING)
        .file("next.lua", next)
        .config("LuaBalancerDict seen 64K")
        .config(&pool("app", &members, ""))
        .config("<Location /lb>\n  SetHandler lua-balancer\n</Location>")
        .config(lines)
        .start();
    Site { httpd, backends }
}

fn scripts(httpd: &Httpd) -> Vec<Value> {
    let answer = httpd.client().get("/lb/api/v1/scripts").text();
    let mut all: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    all["scripts"].as_array_mut().map(std::mem::take).expect("a list")
}

/// The row of the shadow.
fn shadow(httpd: &Httpd) -> Value {
    let all = scripts(httpd);
    let found = all.iter().find(|script| script["shadow"].is_object());
    found.unwrap_or_else(|| panic!("no shadow in {all:?}")).clone()
}

fn counts(httpd: &Httpd) -> [u64; 3] {
    let row = shadow(httpd);
    ["agree", "differ", "failed"].map(|key| row["shadow"][key].as_u64().expect("a number"))
}

fn differences(httpd: &Httpd) -> Vec<String> {
    let row = shadow(httpd);
    let all = row["shadow"]["differences"].as_array().expect("a list").clone();
    let word = |one: &Value, key: &str| one[key].as_str().expect("a text").to_owned();
    all.iter().map(|one| ["path", "decided", "shadow"].map(|key| word(one, key)).join(" | ")).collect()
}

const BOTH: &str = "LuaHookTranslate serving.lua\nLuaBalancerShadow next.lua translate";

on_every_mpm!(five_hundred_requests_are_compared_one_by_one);

fn five_hundred_requests_are_compared_one_by_one(mpm: Mpm) {
    // The same policy, but for every fifth request of a kind.
    let next = format!(
        "{SERVING}\nlocal before = translate\nfunction translate(r)\n  \
         if r.args == 'other' then return app_b() end\n  if r.args == 'error' then error('no') end\n  \
         return before(r)\nend\nfunction app_b() return lb.pool('app'):member('b') end"
    );
    let mut site = site(mpm, &next, &format!("<Location />\n{BOTH}\n</Location>"));
    let before = counts(&site.httpd);
    assert_eq!(before, [0, 0, 0], "requests for the list itself are nobody's");
    let mut client = site.httpd.client();
    let mut served = Vec::new();
    for round in 0..100 {
        for (path, status) in [("/rr", 200), ("/pool", 200), ("/no", 403), ("/hash?x", 200)] {
            let answer = client.get(path);
            assert_eq!(answer.status, status, "{path}");
            if path == "/rr" {
                served.push(answer.backend().to_owned());
            }
        }
        let args = if round % 2 == 0 { "other" } else { "error" };
        assert_eq!(client.get(&format!("/named?{args}")).backend(), "a");
    }
    // /rr and /pool take turns; one turn that a shadow takes would show.
    assert!(served.windows(2).all(|two| two[0] == two[1]), "a shadow takes no turn away: {served:?}");
    let [agree, differ, failed] = counts(&site.httpd);
    assert_eq!([agree, differ, failed], [400, 50, 50]);
    let differences = differences(&site.httpd);
    assert_eq!(differences.len(), 20);
    assert!(differences.iter().all(|one| one == "/named | app/a | app/b"), "{differences:?}");
    site.httpd.graceful();
    assert_eq!(counts(&site.httpd), [agree, 50, 50], "over a graceful restart");
    let metrics = site.httpd.client().get("/lb/metrics").text();
    assert!(metrics.contains("next.lua (shadow)\",result=\"differ\"} 50\n"), "{metrics}");
    site.httpd.assert_no_crash();
}

#[test]
fn decisions_are_told_in_words() {
    let next = "local app = lb.pool('app')\nfunction translate(r)\n  local to = r.args\n  \
        if to == 'list' then return { app:member('b'), app:member('a') } end\n  \
        if to == 'view' then return app:where{ name = 'b' } end\n  \
        if to == 'url' then return 'http://10.0.0.1:99/x' end\n  if to == 'status' then return 404 end\n  \
        if to == 'nobody' then return nil, 'secret=x' end\n  if to == 'hash' then return app:hash('k') end\n  \
        if to == 'ok' then r.filename = 'proxy:lb://app/' r.proxyreq = apache2.PROXYREQ_REVERSE return apache2.OK end\n  \
        if to == 'named' then return app:member('a') end\n  return nil\nend";
    let site = site(Mpm::Event, next, BOTH);
    let mut client = site.httpd.client();
    let asked = [
        "/named?list",
        "/named?view",
        "/named?url",
        "/named?status",
        "/named?nobody",
        "/named?ok",
        "/named?nil",
        "/no?named",
        "/no?status",
        "/rr?nil",
        "/away?x",
        "/else?named",
        "/pool?view",
    ];
    for path in asked {
        client.get(path);
    }
    let told = differences(&site.httpd);
    let wanted = [
        "/named | app/a | app/b, app/a",
        "/named | app/a | app, where name=b by round_robin",
        "/named | app/a | http://10.0.0.1:99",
        "/named | app/a | status 404",
        "/named | app/a | nobody",
        "/named | app/a | declined",
        "/no | status 403 | app/a",
        "/no | status 403 | status 404",
    ];
    for wanted in wanted {
        assert!(told.iter().any(|one| one == wanted), "no {wanted} in {told:#?}");
    }
    assert!(
        told.iter().any(|one| one.starts_with("/rr | app/") && one.ends_with(" by round_robin | declined"))
    );
    assert!(told.iter().any(|one| one == "/away | http://127.0.0.1:1 | declined"), "{told:#?}");
    assert!(told.iter().any(|one| one == "/else | declined | app/a"), "{told:#?}");
    site.httpd.assert_no_crash();
}

#[test]
fn a_pool_that_mod_proxy_names_is_compared_with_what_the_shadow_would_pick() {
    let next = "local app = lb.pool('app')\nfunction select(r)\n  \
        if r.args == 'same' then return app:pick(r) end\n  if r.args == 'pool' then return app end\n  \
        if r.args == 'least' then return app:least_connections() end\n  \
        if r.args == 'other' then return lb.pool('app'):member(r:getcookie('next')) end\n  return nil\nend";
    let site = site(Mpm::Event, next, "ProxyPass /p lb://app/\nLuaBalancerShadow next.lua");
    let mut client = site.httpd.client();
    for _ in 0..10 {
        for args in ["same", "pool", "nil"] {
            assert_eq!(client.get(&format!("/p?{args}")).status, 200);
        }
    }
    assert_eq!(counts(&site.httpd), [30, 0, 0], "requests that nobody of ours decided do not count");
    // The next member of the sequence is known: the one after the member before.
    let first = client.get("/p?nil").backend().to_owned();
    let second = if first == "a" { "b" } else { "a" };
    for (name, wanted) in [(second, [32, 0, 0]), (second, [32, 1, 0])] {
        let request = Request::get("/p?other").header("Cookie", &format!("next={name}"));
        assert_eq!(client.send(&request).status, 200);
        assert_eq!(counts(&site.httpd), wanted, "{name}");
    }
    site.httpd.assert_no_crash();
}

/// Each path writes before it reads, and decides by what it has read.
const WRITES_FIRST: &str = r#"
local app, seen = lb.pool('app'), lb.dict('seen')
local ways = {}
local function to(is) return is and app:member('a') or 404 end
function ways.drain(r)
  app:member('b'):drain()
  return to(app:member('b').state == 'draining' and app.usable == 1 and app:round_robin().name == 'a')
end
function ways.enable(r)
  app:member('b'):enable()
  return to(app:member('b').usable and app.usable == 2)
end
function ways.weight(r)
  app:member('b'):set_weight(7)
  return to(app:member('b').weight == 7)
end
function ways.turns(r)
  app:member('a'):set_weight(0)
  local picked = app:round_robin()
  app:member('a'):set_weight(1)
  return picked
end
function ways.dict(r)
  seen:set('k', r.args)
  r:ivm_set('v', r.args)
  return to(seen:get('k') == r.args and r:ivm_get('v') == r.args)
end
function ways.fields(r)
  local is = r.args == 'x'
  r.uri, r.args, r.user, r.filename = '/own', 'own', 'me', '/own/file'
  return to(is and r:expr('%{QUERY_STRING} == "own" && %{REQUEST_URI} == "/own"')
    and r:expr('%{REMOTE_USER} == "me" && %{REQUEST_FILENAME} == "/own/file"'))
end
function ways.tables(r)
  r.headers_in['X-Own'], r.headers_out['X-Own'] = 'in', 'out'
  r.notes.own, r.subprocess_env.OWN = 'note', 'env'
  return to(r:expr('%{HTTP:X-Own} == "in" && resp("X-Own") == "out"')
    and r:expr('note("own") == "note" && reqenv("OWN") == "env"'))
end
function ways.add(r)
  local name = 'n' .. r.args
  local added = app:add{ url = 'http://127.0.0.1:' .. app:member('a').port, name = name }
  return app:member(name) == added and added.usable and added or 404
end
function ways.remove(r)
  app:remove('n' .. r.args)
  return to(app:member('n' .. r.args) == nil)
end
function translate(r)
  local way = ways[r.uri:sub(2)]
  return way and way(r)
end
"#;

#[test]
fn a_shadow_that_writes_before_it_reads_decides_as_the_same_script_does_for_the_request() {
    let lines = "LuaHookTranslate writes.lua translate\nLuaBalancerShadow writes.lua translate";
    let site = site_of(Httpd::builder().file("writes.lua", WRITES_FIRST), "", lines);
    let mut client = site.httpd.client();
    let ways = ["drain", "enable", "weight", "turns", "dict", "fields", "tables", "add", "remove"];
    for (round, arg) in ["x", "y", "z"].into_iter().enumerate() {
        for (at, way) in ways.into_iter().enumerate() {
            let path = if way == "fields" { "/fields?x".to_owned() } else { format!("/{way}?{arg}") };
            assert_eq!(client.get(&path).status, 200, "{path}");
            let asked = (round * ways.len() + at + 1) as u64;
            assert_eq!(counts(&site.httpd), [asked, 0, 0], "{path}: {}", shadow(&site.httpd));
        }
    }
    assert_eq!(site.httpd.members("app").len(), 2, "the shadow's members are nobody else's");
    site.httpd.assert_no_crash();
}

#[test]
fn a_shadow_does_not_see_the_changes_of_another_one_of_the_request() {
    let next = "function translate(r)\n  local app = lb.pool('app')\n  local is = r.uri == '/named' and r.args == 'x' \
        and not r.headers_in['X-Own'] and not r.notes.own and not ngx.ctx.own and #app == 2 and app.usable == 2 \
        and not lb.dict('seen'):get('own') and not r:expr('%{QUERY_STRING} == \"own\"')\n  \
        r.uri, r.args, r.headers_in['X-Own'], r.notes.own, ngx.ctx.own = '/own', 'own', 'own', 'own', 'own'\n  \
        lb.dict('seen'):set('own', 1)\n  app:member('b'):drain()\n  \
        app:add{ url = 'http://127.0.0.1:9', name = 'own' }\n  return app:member(is and 'a' or 'b')\nend\n\
        function again(r) return translate(r) end";
    let lines = format!("{BOTH}\nLuaBalancerShadow next.lua again");
    let site = site(Mpm::Event, next, &lines);
    let mut client = site.httpd.client();
    for asked in 1..=10 {
        assert_eq!(client.get("/named?x").backend(), "a");
        assert_eq!(counts(&site.httpd), [2 * asked, 0, 0], "{}", shadow(&site.httpd));
    }
    site.httpd.assert_no_crash();
}

#[test]
fn a_shadow_adds_a_member_that_it_alone_sees_and_may_decide_for_it() {
    let next = "function translate(r)\n  local app = lb.pool('app')\n  \
        local m = app:add{ url = 'http://127.0.0.1:9', name = 'own' }\n  \
        assert(#app == 3 and app:member('own') == m)\n  \
        if r.args == 'drained' then m:drain() end\n  return m\nend";
    let site = site(Mpm::Event, next, BOTH);
    let mut client = site.httpd.client();
    for path in ["/named", "/named?drained", "/named"] {
        assert_eq!(client.get(path).backend(), "a");
    }
    assert_eq!(counts(&site.httpd), [0, 3, 0], "{}", shadow(&site.httpd));
    assert!(differences(&site.httpd).iter().all(|one| one == "/named | app/a | app/own"));
    assert_eq!(site.httpd.members("app").len(), 2);
    site.httpd.assert_no_crash();
}

#[test]
fn each_shipped_script_agrees_with_itself() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../lua");
    let files = std::fs::read_dir(folder).expect("the folder lua").flatten();
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let backends = Backend::named(["one", "two", "three"]);
    let of_app = [
        "meta.version=1 meta.colour=blue meta.track=stable zone=china",
        "meta.version=2 meta.colour=green meta.track=canary zone=rest",
        "meta.version=1 meta.colour=blue meta.track=stable zone=rest",
    ];
    let members: Vec<_> = backends.iter().zip(of_app).collect();
    let mut builder = Httpd::builder().with_member_states().module("remoteip").config(&format!(
        "LuaBalancerGeoIP {database}\nRemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n\
         <Location /lb>\n  SetHandler lua-balancer\n</Location>"
    ));
    builder = builder.config(&pool("app", &members, ""));
    for name in ["api", "static", "acme", "globex", "day", "night"] {
        let members: Vec<_> = backends.iter().map(|backend| (backend, "")).collect();
        builder = builder.config(&pool(name, &members, ""));
    }
    let mut hosts = Vec::new();
    for file in files {
        let name = file.file_name().into_string().expect("a name");
        if !name.ends_with(".lua") || name.ends_with("_test.lua") {
            continue;
        }
        let text = std::fs::read_to_string(file.path()).expect("a shipped script");
        let host = format!("{}.example", name.trim_end_matches(".lua").replace('_', "-"));
        builder = builder.file(&format!("lua/{name}"), &text).config(&format!(
            "<VirtualHost *>\n  ServerName {host}\n  ServerAlias {}\n  LuaHookTranslate lua/{name} select\n  \
             LuaBalancerShadow lua/{name} select\n</VirtualHost>",
            if name == "tenants.lua" { "acme.example.org globex.example.org" } else { "" }
        ).replace("  ServerAlias \n", ""));
        hosts.push((host, name));
    }
    assert!(hosts.len() > 10, "{hosts:?}");
    hosts.push(("acme.example.org".to_owned(), "tenants.lua".to_owned()));
    let httpd = builder.start();
    let mut client = httpd.client();
    let mut asked = std::collections::BTreeMap::new();
    let headers = [
        ("Cookie", "beta=1; colour=green; track=canary"),
        ("X-Zone", "rest"),
        ("X-Zone", "nowhere"),
        ("X-App-Version", "2"),
        ("X-Priority", "low"),
        ("X-Client", "175.16.199.255"),
        ("X-Client", "81.2.69.160"),
    ];
    for (host, name) in &hosts {
        for (at, header) in headers.iter().enumerate().cycle().take(4 * headers.len()) {
            let path = ["/", "/api/x", "/export", "/static/none"][at % 4];
            let request = Request::get(path).header("Host", host).header(header.0, header.1);
            client.send(&request);
            *asked.entry(name.clone()).or_insert(0) += 1;
        }
    }
    for row in scripts(&httpd).iter().filter(|row| row["shadow"].is_object()) {
        let name = row["name"].as_str().expect("a name");
        let (_, asked) =
            asked.iter().find(|(file, _)| name.contains(&format!("/{file} "))).expect("its file");
        let ends = ["agree", "differ", "failed"].map(|key| row["shadow"][key].as_u64().expect("a number"));
        assert_eq!(ends, [*asked, 0, 0], "{row}");
    }
    httpd.assert_no_crash();
}

/// Writes wherever a script can.
const HOSTILE: &str = "local seen = lb.dict('seen')\nlocal app = lb.pool('app')\n\
    lb.every(0.01, function() seen:incr('timer', 1, 0) end)\nseen:set('top', 1)\nfunction translate(r)\n  \
    seen:set('k', 'shadow') seen:incr('n', 1, 0) seen:delete('kept') seen:clear()\n  \
    r:ivm_set('v', 'shadow')\n  r.headers_out['X-Shadow'] = 'yes' r.err_headers_out['X-Shadow'] = 'yes'\n  \
    r.headers_in['X-Shadow'] = 'yes' r.headers_in['Host'] = nil\n  r.notes['shadow'] = 'yes'\n  \
    r.subprocess_env['SHADOW'] = 'yes'\n  r:setcookie{ key = 'shadow', value = 'yes' }\n  \
    r.uri = '/elsewhere' r.args = 'shadow' r.user = 'shadow' r.content_type = 'text/shadow'\n  r.status = 500\n  \
    r:custom_response(404, 'shadow')\n  r:expr('req(\"X-Any\") == \"1\"')\n  r:err('SHADOW LINE')\n  print('SHADOW LINE')\n  \
    pcall(function() r:parsebody() end)\n  pcall(function() require('socket').tcp():connect('127.0.0.1', 1) end)\n  \
    for m in app:members() do\n    pcall(function() m:drain() m:disable() m:set_weight(7) end)\n  end\n  \
    pcall(function() app:add{ url = 'http://127.0.0.1:9' } end)\n  pcall(function() app:remove('a') end)\n  \
    pcall(lb.define_pool, 'new', { { host = '127.0.0.1', port = 9 } })\n  \
    for i = 1, 7 do app:round_robin() app:where{ name = 'a' }:round_robin() end\n  ngx.ctx.x = 1\n  ngx.exit(503)\nend\n";

#[test]
fn a_shadow_that_writes_everywhere_changes_nothing() {
    let show = "function translate(r)\n  local seen = lb.dict('seen')\n  \
        r.subprocess_env['SEEN'] = table.concat({ tostring(seen:get('k')), tostring(seen:get('n')), \
        tostring(seen:get('kept')), tostring(seen:get('timer')), tostring(seen:get('top')), \
        tostring(r:ivm_get('v')) }, ' ')\n  return 204\nend\n\
        function keep(r) lb.dict('seen'):set('kept', 'kept') return 204 end";
    let lines = "ProxyPass /p lb://app\n<Location /p>\n  LuaBalancerShadow next.lua translate\n</Location>\n\
        <Location /show>\n  LuaHookTranslate show.lua\n  Header always set X-Seen %{SEEN}e\n</Location>\n\
        <Location /keep>\n  LuaHookTranslate show.lua keep\n</Location>\n\
        Header always set X-Env %{SHADOW}e";
    for mpm in [Mpm::Event, Mpm::Prefork] {
        let builder = Httpd::builder().mpm(mpm).file("show.lua", show);
        let site = site_of(builder, HOSTILE, lines);
        let mut client = site.httpd.client();
        assert_eq!(client.get("/keep").status, 204);
        let body = "x".repeat(20_000);
        let mut served = Vec::new();
        let mut plain = None;
        for _ in 0..20 {
            let request = Request::post("/p/x?q=1", body.clone())
                .header("Content-Type", "application/x-www-form-urlencoded");
            let answer = client.send(&request);
            assert_eq!(answer.status, 200, "{}", answer.text());
            for name in ["X-Shadow", "Set-Cookie", "Vary"] {
                assert_eq!(answer.header(name), None, "{name}");
            }
            assert_eq!(answer.header("X-Env"), Some("(null)"));
            served.push(answer.backend().to_owned());
            plain = Some(answer);
        }
        assert!(served.windows(2).all(|two| two[0] != two[1]), "{served:?}");
        drop(plain);
        let asked: Vec<_> = site.backends.iter().flat_map(Backend::recorded).collect();
        assert_eq!(asked.len(), 20);
        for request in asked {
            assert_eq!((request.uri.as_str(), request.body_length), ("/x?q=1", body.len()));
            assert!(
                request.headers.get("X-Shadow").is_none() && request.headers.get("Host").is_some(),
                "{request:?}"
            );
        }
        assert_eq!(client.get("/show").header("X-Seen"), Some("nil nil kept nil nil nil"));
        assert_eq!(counts(&site.httpd), [0, 20, 0], "{}", shadow(&site.httpd));
        let members = site.httpd.members("app");
        assert!(!site.httpd.has_pool("new") && members.len() == 2, "{members:?}");
        assert!(site.httpd.snapshot().contains("usable=2/2 inflight=0"), "{}", site.httpd.snapshot());
        assert_eq!(site.httpd.count_log("SHADOW LINE"), 0);
        site.httpd.assert_no_crash();
    }
}

#[test]
fn a_shadow_that_loops_fails_or_allocates_harms_no_request() {
    let next = "function translate(r)\n  if r.args == 'loop' then while true do pcall(string.rep, 'x', 9) end end\n  \
        if r.args == 'memory' then local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end end\n  \
        if r.args == 'wrong' then return true end\n  if r.args == 'code' then return 42 end\n  \
        if r.args == 'env' then for i = 1, 1e6 do r.notes['n' .. i] = ('x'):rep(1000) end end\n  error('plain')\nend";
    let lines =
        "LuaBalancerScriptLimit time=30ms\nProxyPass /p lb://app/\nLuaBalancerShadow next.lua translate";
    for mpm in [Mpm::Event, Mpm::Prefork] {
        let site = site(mpm, next, lines);
        let mut client = site.httpd.client();
        let all = ["loop", "memory", "wrong", "code", "env", "error"];
        for args in all {
            let began = Instant::now();
            assert_eq!(client.get(&format!("/p?{args}")).status, 200, "{args}");
            assert!(began.elapsed() < patience(Duration::from_secs(2)), "{args}: {:?}", began.elapsed());
        }
        assert_eq!(counts(&site.httpd), [0, 0, all.len() as u64], "{:?}", differences(&site.httpd));
        let row = shadow(&site.httpd);
        assert!(row["last_error"].as_str().is_some_and(|text| text.contains("next.lua:7: plain")), "{row}");
        site.httpd.wait_for_log("LuaBalancerShadow: .*next.lua:7: plain");
        assert_eq!(row["calls"]["time_limit"].as_u64().map(|count| count >= 1), Some(true), "{row}");
        site.httpd.assert_no_crash();
    }
}

#[test]
fn a_sample_is_asked_about_so_many_requests() {
    for (sample, of, wanted) in [("100%", 50, 50..=50), ("0", 200, 0..=0), ("25%", 800, 140..=260)] {
        let lines = format!("ProxyPass /p lb://app/\nLuaBalancerShadow next.lua translate sample={sample}");
        let site = site(Mpm::Event, "function translate(r) return nil end", &lines);
        let mut client = site.httpd.client();
        (0..of).for_each(|_| assert_eq!(client.get("/p").status, 200));
        let [agree, differ, failed] = counts(&site.httpd);
        assert!(wanted.contains(&agree) && differ + failed == 0, "{agree} of {of} with sample={sample}");
        site.httpd.assert_no_crash();
    }
}

#[test]
fn the_innermost_place_counts_and_each_file_and_sample_is_a_shadow_of_its_own() {
    let port = "<VirtualHost *>\n  ServerName one.example\n  ProxyPass /p lb://app/\n  \
        LuaBalancerShadow next.lua vhost\n  <Location /p/deep>\n    LuaBalancerShadow next.lua deep sample=50%\n    \
        LuaBalancerShadow next.lua more sample=50%\n  </Location>\n</VirtualHost>";
    let next =
        "function vhost(r) return 404 end\nfunction deep(r) return 405 end\nfunction more(r) return nil end";
    let site = site(Mpm::Event, next, port);
    let mut client = site.httpd.client();
    for _ in 0..40 {
        assert_eq!(client.get("/p/x").status, 200);
        assert_eq!(client.get("/p/deep").status, 200);
    }
    let all = scripts(&site.httpd);
    assert_eq!(all.len(), 2, "{all:?}");
    let names: Vec<_> = all.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert!(names[0].ends_with("next.lua (shadow)") && names[1] == format!("{} #2", names[0]), "{names:?}");
    assert_eq!((&all[0]["shadow"]["differ"], &all[0]["shadow"]["sample"]), (&40.into(), &100.into()));
    let deep = &all[1]["shadow"];
    assert_eq!((&deep["agree"], &deep["sample"]), (&deep["differ"], &50.into()), "both or none: {deep}");
    site.httpd.assert_no_crash();
}

#[test]
fn a_saved_shadow_is_vetted_and_taken_like_any_script() {
    let site = site(
        Mpm::Event,
        "function select(r) return nil end",
        "ProxyPass /p lb://app/\nLuaBalancerShadow next.lua",
    );
    let mut client = site.httpd.client();
    client.get("/p");
    assert_eq!(counts(&site.httpd), [1, 0, 0]);
    site.httpd.write("next.lua", "function select(r) return return end");
    wait_until("a refused save", patience(SOON), || shadow(&site.httpd)["verdict"] == "refused");
    client.get("/p");
    assert_eq!(counts(&site.httpd), [2, 0, 0], "the version before goes on");
    site.httpd.write("next.lua", "function select(r) return 404 end");
    wait_until("the next version in every child", patience(SOON), || {
        let before = counts(&site.httpd);
        client.get("/p");
        counts(&site.httpd)[1] > before[1]
    });
    site.httpd.assert_no_crash();
}

#[test]
fn wrong_directives_are_refused_where_they_stand() {
    let cases = [
        ("LuaBalancerShadow", "expected a script and a function"),
        ("LuaBalancerShadow next.lua select sample=200%", "sample=200% is not a percentage"),
        ("LuaBalancerShadow next.lua select rate=1", "unknown key in 'rate=1': expected sample="),
        ("LuaBalancerShadow next.lua nothing", "no function nothing|nothing"),
        ("LuaBalancerShadow broken.lua", "broken.lua:1"),
    ];
    for (line, pattern) in cases {
        let builder = Httpd::builder().file("next.lua", "function select() end").file("broken.lua", "x x");
        let test = builder.config(line).configtest();
        assert!(!test.ok && test.says(pattern), "{line}: {}", test.output);
    }
}
