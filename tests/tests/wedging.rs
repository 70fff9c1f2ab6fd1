// SPDX-License-Identifier: Apache-2.0
//! Nothing that clients send makes a script fail for others, or for good; and no script gets at
//! what others, the server or its files have.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use server_tests::client::raw_exchange;
use server_tests::{Backend, Builder, Client, Httpd, Mpm, Request, on_every_mpm, pool};

/// One child, so that all requests meet the same few states.
fn one_child(mpm: Mpm, a: &Backend) -> Builder {
    Httpd::builder().mpm(mpm).children(1).threads(if mpm == Mpm::Prefork { 1 } else { 4 }).config(&pool(
        "app",
        &[(a, "zone=eu")],
        "",
    ))
}

fn hook(builder: Builder, script: &str) -> Httpd {
    builder.file("pick.lua", script).config("LuaHookTranslate pick.lua pick").start()
}

/// A GET with one header, whatever its bytes.
fn with_header(httpd: &Httpd, name: &str, value: &[u8]) -> u16 {
    let request =
        [b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", name.as_bytes(), b": ", value, b"\r\n\r\n"]
            .concat();
    let answer = raw_exchange(httpd.port(), &request, Duration::from_secs(10)).expect("an exchange");
    let line = String::from_utf8_lossy(&answer);
    line.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {line}"))
}

on_every_mpm!(long_texts_that_scripts_search_by_are_not_kept);

fn long_texts_that_scripts_search_by_are_not_kept(mpm: Mpm) {
    let a = Backend::new("a");
    let script = "function pick(r)\n\
                  local text, agent = 'the usual text', r.headers_in['User-Agent']\n\
                  if text:find(agent, 1, true) or text:match(agent) then return 403 end\n\
                  for _ in text:gmatch(agent) do return 403 end\n\
                  if text:gsub(agent, '') ~= text then return 403 end\n\
                  return lb.pool('app')\nend";
    let httpd = hook(one_child(mpm, &a).config("LuaBalancerScriptLimit time=1s memory=2M"), script);
    let mut client = httpd.client();
    for nth in 0..800 {
        let agent = format!("{nth} {}", "a".repeat(7900));
        let answer = client.send(&Request::get("/x").header("User-Agent", &agent));
        assert_eq!(answer.status, 200, "request {nth}: {}", httpd.error_log());
    }
    assert_eq!(httpd.count_log("memory"), 0);
}

on_every_mpm!(a_state_that_ran_out_of_memory_is_replaced);

/// What fills it is no script's global, so that only a new state has room again. Lua needs up to
/// three times the text to make it, beside the 128 KiB that a state may have itself.
fn a_state_that_ran_out_of_memory_is_replaced(mpm: Mpm) {
    let a = Backend::new("a");
    let script = "function pick(r)\n\
                  if r.uri == '/full' then for i = 1, 1e9 do ngx.ctx[i] = ('x'):rep(1000) .. i end end\n\
                  local room = ('y'):rep(600000)\n\
                  return #room > 0 and lb.pool('app')\nend";
    let httpd = hook(one_child(mpm, &a).config("LuaBalancerScriptLimit time=5s memory=2M"), script);
    let mut client = httpd.client();
    for round in 0..5 {
        assert_eq!(client.get("/full").status, 500, "round {round}");
        for _ in 0..10 {
            assert_eq!(client.get("/x").status, 200, "round {round}: {}", httpd.error_log());
        }
    }
}

fn seconds_of(client: &mut Client, requests: usize, from: usize) -> Duration {
    let start = Instant::now();
    for nth in from..from + requests {
        let answer = client.send(&Request::get("/x").header("Host", &format!("h{nth}.example.org")));
        assert_eq!(answer.status, 200);
    }
    start.elapsed()
}

#[test]
fn names_of_modules_that_are_not_there_cost_the_same_however_many_there_were() {
    let a = Backend::new("a");
    let script = "local function site(name) return pcall(require, 'sites.' .. name) end\n\
                  function pick(r)\n\
                  site(r.hostname)\n\
                  if r.uri == '/many' then for nth = 1, 5000 do site(r.args .. 'n' .. nth) end end\n\
                  return lb.pool('app')\nend";
    let httpd = hook(one_child(Mpm::Event, &a).config("LuaBalancerScriptLimit time=30s memory=16M"), script);
    let mut client = httpd.client().timeout(Duration::from_secs(60));
    seconds_of(&mut client, 200, 0);
    let before = seconds_of(&mut client, 500, 1000);
    for part in 0..5 {
        assert_eq!(client.get(&format!("/many?{part}")).status, 200, "{}", httpd.error_log());
    }
    let after = seconds_of(&mut client, 500, 2000);
    assert!(
        after < before * 4 + Duration::from_millis(200),
        "{before:?} at first, {after:?} after 25,000 names"
    );
}

on_every_mpm!(texts_that_no_member_has_match_nobody);

fn texts_that_no_member_has_match_nobody(mpm: Mpm) {
    let a = Backend::new("a");
    let script = "local app = lb.pool('app')\nlocal forms = {\n\
                  where = function(x) return app:where{ zone = x }:least_connections() end,\n\
                  key = function(x) return app:where{ [x] = 'a' }:round_robin() end,\n\
                  only = function(x) return app:only(x):random() end,\n\
                  list = function(x) return app:only({ x, x }):first() end,\n\
                  view = function(x) return app:where{ zone = x } end,\n\
                  except = function(x) return app:except(x):round_robin() end,\n\
                  hash = function(x) return app:consistent_hash(x) end,\n\
                  maglev = function(x) return app:maglev(x) end,\n\
                  rendezvous = function(x) return app:rendezvous(x) end,\n\
                  member = function(x) return app:member(x) or 404 end,\n\
                  cookie = function(x, r) return app:hash(r:getcookie(x) or x) end,\n\
                  }\n\
                  function pick(r) return forms[r.headers_in['X-Form']](r.headers_in['X-Text'], r) end";
    let httpd = hook(one_child(mpm, &a), script);
    let long = "e".repeat(7000);
    let texts: [&[u8]; 6] =
        [b"\xff\xfe", b"eu\xc3", long.as_bytes(), b"\xed\xa0\x80", b"nowhere", b"\xc3\xa9"];
    for (form, expected) in [
        ("where", 503),
        ("key", 503),
        ("only", 503),
        ("list", 503),
        ("view", 503),
        ("except", 200),
        ("hash", 200),
        ("maglev", 200),
        ("rendezvous", 200),
        ("member", 404),
        ("cookie", 200),
    ] {
        for text in texts {
            let header = [form.as_bytes(), b"\r\nX-Text: ", text].concat();
            assert_eq!(
                with_header(&httpd, "X-Form", &header),
                expected,
                "{form} {:?}",
                String::from_utf8_lossy(text)
            );
        }
    }
    assert_eq!(with_header(&httpd, "X-Form", b"where\r\nX-Text: eu"), 200);
    assert_eq!(with_header(&httpd, "X-Form", b"member\r\nX-Text: a"), 200);
    assert_eq!(httpd.count_log("script failed"), 0, "{}", httpd.error_log());
}

#[test]
fn the_shipped_script_by_zone_answers_whatever_zone_is_asked_for() {
    let a = Backend::new("a");
    let script =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../lua/least_connections.lua"))
            .expect("the script");
    let httpd = one_child(Mpm::Event, &a)
        .file("pick.lua", &script)
        .config("LuaHookTranslate pick.lua select")
        .start();
    for zone in [b"\xff\xff".as_slice(), "z".repeat(8000).as_bytes(), b"eu", b"us"] {
        let status = with_header(&httpd, "X-Zone", zone);
        assert!(matches!(status, 200 | 503), "{status}");
    }
    assert_eq!(httpd.count_log("script failed"), 0, "{}", httpd.error_log());
}

/// What each expression is for the request of [`told`], in the sandbox: a value, or words that the
/// reason holds.
const EXPRESSIONS: [(&str, &str); 24] = [
    ("%{REQUEST_URI} == '/x'", "true"),
    ("%{HTTP:X-Form} =~ /^(a)(b)$/ && '$1' == 'a' && '$2' == 'b' && '$0' == 'ab'", "true"),
    ("'xxab' =~ m#A(B)#i && '$0$1' == 'abb'", "true"),
    ("'a/b' =~ m:/:", "true"),
    ("'ab' =~ /^b/ || 'ab' !~ /b$/", "false"),
    ("'foobar' =~ /(?<=foo)bar/ && 'a' -in { 'b', 'a' }", "true"),
    ("'one\\ntwo' =~ /e.?two/", "true"),
    ("tolower('AB') == 'ab' && '%{tolower:AB}' == 'ab' && -n %{HTTP_HOST}", "true"),
    ("'a)|(a' =~ /a)|(a/", "no regular expression"),
    ("'a' =~ /(*LIMIT_MATCH=99999999)a/", "verbs"),
    ("file('SECRET') =~ /./", "LuaBalancerSandbox"),
    ("'%{file:SECRET}' =~ /./", "LuaBalancerSandbox"),
    ("'%{escape:%{FILE:SECRET}}' == ''", "LuaBalancerSandbox"),
    ("filesize('SECRET') -gt 0", "LuaBalancerSandbox"),
    ("-f 'SECRET'", "LuaBalancerSandbox"),
    ("-e 'SECRET'", "LuaBalancerSandbox"),
    ("-s 'SECRET'", "LuaBalancerSandbox"),
    ("-x '/bin/sh'", "LuaBalancerSandbox"),
    ("-L '/proc/self/exe'", "LuaBalancerSandbox"),
    ("osenv('PATH') =~ /./", "LuaBalancerSandbox"),
    ("-F '/x'", "sub-request"),
    ("-U '/x'", "sub-request"),
    ("-A '/x'", "sub-request"),
    ("'\\'' == 'a' || (true && -U '/x')", "sub-request"),
];

/// Expressions for `/x` are evaluated in translate, those for `/late` in fixups.
const TELL: &str = "local function tell(r)\n\
                    local verdict, why = r:expr(expressions[tonumber(r.args)])\n\
                    r.subprocess_env['TOLD'] = why and ('refused: ' .. why) or tostring(verdict)\n\
                    return 204\nend\n\
                    local calls = 0\n\
                    function pick(r) if r.uri ~= '/late' then calls = calls + 1 print('call ' .. calls) return tell(r) end end\n\
                    function select(r) return tell(r) end";

fn told(httpd: &Httpd, client: &mut Client, target: &str) -> String {
    let answer = client.send(&Request::get(target).header("X-Form", "ab"));
    assert_eq!(answer.status, 204, "{target}: {}", httpd.error_log());
    answer.header("X-Told").expect("what was told").to_owned()
}

fn is_as_expected(found: &str, expected: &str) -> bool {
    found == expected || found.starts_with("refused: ") && found.contains(expected)
}

fn expressions(builder: Builder) -> Httpd {
    let secret = builder.dir().join("secret").display().to_string();
    let rows: String = EXPRESSIONS
        .iter()
        .map(|(text, _)| format!("[==[{}]==],\n", text.replace("SECRET", &secret)))
        .collect();
    builder
        .file("secret", "s3cret")
        .file("pick.lua", &format!("local expressions = {{\n{rows}}}\n{TELL}"))
        .config("Header always set X-Told %{TOLD}e")
        .config("LuaHookTranslate pick.lua pick\nLuaHookSelect pick.lua select")
        .start()
}

on_every_mpm!(expressions_reach_no_file_and_make_no_request);

fn expressions_reach_no_file_and_make_no_request(mpm: Mpm) {
    let httpd = expressions(Httpd::builder().mpm(mpm).children(1).threads(2));
    let mut client = httpd.client();
    for (at, (text, expected)) in EXPRESSIONS.iter().enumerate() {
        for path in ["/x", "/late"].into_iter().filter(|path| *path == "/x" || !text.contains("REQUEST_URI"))
        {
            let found = told(&httpd, &mut client, &format!("{path}?{}", at + 1));
            assert!(is_as_expected(&found, expected), "{path}: {text}: {found}");
        }
    }
    httpd.assert_no_crash();
}

#[test]
fn without_sandbox_expressions_have_files_again_but_run_no_script_within_itself() {
    let httpd = expressions(Httpd::builder().children(1).threads(2).config("LuaBalancerSandbox off"));
    let mut client = httpd.client();
    for (at, (text, expected)) in EXPRESSIONS.iter().enumerate() {
        let calls = httpd.count_log("call ");
        let found = told(&httpd, &mut client, &format!("/x?{}", at + 1));
        let wanted = if *expected == "LuaBalancerSandbox" { "true" } else { expected };
        // The one that asks for an empty text asks for the file's.
        let wanted = if text.ends_with("== ''") { "false" } else { wanted };
        assert!(is_as_expected(&found, wanted), "{text}: {found}");
        assert_eq!(httpd.count_log("call "), calls + 1, "{text}");
    }
    httpd.assert_no_crash();
}

on_every_mpm!(searches_of_expressions_end);

fn searches_of_expressions_end(mpm: Mpm) {
    let script = "local texts = { ('a'):rep(100), ('a'):rep(30000), ('ab'):rep(400000) }\n\
                  local patterns = { '(a+)+[cd]', '^(a|a?)+$x', '(.*)*(.*)*(.*)*z', '(?:a|b)*c', '(a*a*a*a*)*b$' }\n\
                  function pick(r)\n\
                  for _, text in ipairs(texts) do\n\
                  r.notes.text = text\n\
                  r:expr(\"%{note:text} =~ /\" .. patterns[tonumber(r.args)] .. '/')\n\
                  end\n\
                  return 204\nend\n\
                  function limited(r)\n\
                  -- A million steps at the first place, a match at the last one.\n\
                  r.notes.text = ('a'):rep(20) .. 'b'\n\
                  return r:expr(\"%{note:text} =~ /^(?:a|a)*c|b$/\") and 500 or 204\nend";
    let builder = Httpd::builder().mpm(mpm).children(1).threads(2).config("LuaBalancerScriptLimit time=10s");
    let httpd =
        hook(builder.config("<Location /limited>\nLuaHookTranslate pick.lua limited\n</Location>"), script);
    let mut client = httpd.client().timeout(Duration::from_secs(60));
    let status = client.get("/limited").status;
    assert_eq!(status, 204, "a search of so many steps finds nothing: {}", httpd.error_log());
    for nth in 1..=5 {
        let start = Instant::now();
        let status = client.get(&format!("/x?{nth}")).status;
        assert!(matches!(status, 204 | 500), "pattern {nth}: {status}");
        let took = start.elapsed();
        assert!(took < Duration::from_millis(1500), "pattern {nth}: {took:?}");
    }
    httpd.assert_no_crash();
}

/// Values that a script may give the fields of a request, and what it may return, in all
/// combinations.
const FIELDS: &str = "local NONE = {}\n\
    local handlers = { NONE, 'type-map', 'proxy-server', 'default-handler', 'send-as-is', 'server-status', 'imap-file', 'x', false }\n\
    local filenames = { NONE, '/', 'x', false, 'proxy:', 'proxy:x', '' }\n\
    local proxyreqs = { NONE, 0, 1, 2, 3 }\n\
    local returns = { NONE, apache2.OK, apache2.DECLINED, apache2.DONE, 200, 404, 500 }\n\
    local extras = { NONE, 'uri', 'args', 'user', 'status', 'content_type' }\n\
    local values = { uri = '*', args = false, user = false, status = 404, content_type = false }\n\
    local lists = { handlers, filenames, proxyreqs, returns, extras }\n\
    local function set(r, name, value)\n\
      if value ~= NONE then if value == false then r[name] = nil else r[name] = value end end\n\
    end\n\
    local function act(r)\n\
      local nth, chosen = tonumber(r.args), {}\n\
      for at, list in ipairs(lists) do\n\
        chosen[at] = list[nth % #list + 1]\n\
        nth = nth // #list\n\
      end\n\
      if nth > 0 then return 599 end\n\
      set(r, 'handler', chosen[1]) set(r, 'filename', chosen[2]) set(r, 'proxyreq', chosen[3])\n\
      if chosen[5] ~= NONE then set(r, chosen[5], values[chosen[5]]) end\n\
      if chosen[4] ~= NONE then return chosen[4] end\n\
    end\n\
    function pick(r) if r.uri == '/t' then return act(r) end end\n\
    function select(r) if r.uri == '/f' then return act(r) end end";
/// How many there are.
const COMBINATIONS: usize = 9 * 7 * 5 * 7 * 6;

/// Every so many combinations are asked for by one test: all of them are too many for each MPM.
fn no_combination_of_fields_and_returns_kills_a_child_every(mpm: Mpm, step: usize, sandbox: &str) {
    let mut builder = Httpd::builder()
        .config(&format!("LuaBalancerSandbox {sandbox}"))
        .mpm(mpm)
        .children(1)
        .threads(if mpm == Mpm::Prefork { 1 } else { 4 });
    for module in ["negotiation", "asis", "imagemap", "dir", "actions"] {
        builder = builder.module(module);
    }
    let httpd = builder
        .file("pick.lua", FIELDS)
        .file("htdocs/f", "a file")
        .log_level("emerg lua_balancer:emerg")
        .config("LuaHookTranslate pick.lua pick\nLuaHookSelect pick.lua select")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get(&format!("/t?{COMBINATIONS}")).status, 599, "the number of combinations");
    let children = httpd.wait_for_children(1);
    for nth in (0..COMBINATIONS).step_by(step) {
        for path in ["/t", "/f"] {
            let answer = client.try_get(&format!("{path}?{nth}"));
            let status = answer.unwrap_or_else(|error| panic!("{path}?{nth}: {error:?}")).status;
            assert!((200..600).contains(&status), "{path}?{nth}: {status}");
        }
    }
    assert_eq!(httpd.children(), children, "no child has died");
    httpd.assert_no_crash();
}

#[test]
fn no_combination_of_fields_and_returns_kills_a_child() {
    no_combination_of_fields_and_returns_kills_a_child_every(Mpm::Event, 1, "on");
    no_combination_of_fields_and_returns_kills_a_child_every(Mpm::Event, 11, "off");
}

#[test]
fn no_combination_of_fields_and_returns_kills_a_child_of_worker_and_prefork() {
    for mpm in [Mpm::Worker, Mpm::Prefork] {
        no_combination_of_fields_and_returns_kills_a_child_every(mpm, 37, "on");
    }
}

#[test]
fn a_file_is_chosen_where_access_to_it_is_checked() {
    let script = "local function choose(r)\n\
                  r.filename = r.args == 'own' and r.document_root .. '/own' or r.args\n\
                  return r.headers_in.X == 'ok' and apache2.OK or nil\nend\n\
                  function pick(r) if r.uri == '/t' then return choose(r) end end\n\
                  function select(r) if r.uri == '/f' then return choose(r) end end";
    for sandbox in ["on", "off"] {
        let builder = Httpd::builder().children(1).threads(2);
        let secret = builder.dir().join("secret").display().to_string();
        let httpd = builder
            .file("secret", "s3cret")
            .file("htdocs/f", "f")
            .file("htdocs/own", "a longer file")
            .file("pick.lua", script)
            .config(&format!("LuaBalancerSandbox {sandbox}"))
            .config("<Directory />\nRequire all denied\n</Directory>\nLuaHookTranslate pick.lua pick\nLuaHookSelect pick.lua select")
            .config(&format!("<Directory {}/htdocs>\nRequire all granted\n</Directory>", httpd_dir(&secret)))
            .start();
        let mut client = httpd.client();
        let mut ask = |target: String| {
            let answer = client.send(&Request::get(&target).header("X", "ok"));
            (answer.status, answer.text())
        };
        assert_eq!(ask("/t?own".into()), (200, "a longer file".into()));
        assert_eq!(ask(format!("/t?{secret}")).0, 403);
        if sandbox == "on" {
            for target in ["/f?own".to_owned(), format!("/f?{secret}"), "/f?".to_owned()] {
                assert_eq!(ask(target.clone()).0, 500, "{target}");
            }
            httpd.wait_for_log_lines("no file can be chosen in LuaHookSelect", 3);
        } else {
            assert_eq!(ask("/f?own".into()), (200, "a longer file".into()));
            assert_eq!(ask("/f?/".into()).0, 404);
        }
    }
}

fn httpd_dir(inside: &str) -> String {
    inside.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default()
}

#[test]
fn only_a_status_of_an_answer_is_an_answer() {
    let a = Backend::new("a");
    let script = "local forms = {\n\
                  returned = function(r, x) return x end,\n\
                  exit = function(r, x) return ngx.exit(x) end,\n\
                  set = function(r, x) r.status = x return apache2.OK end,\n\
                  ngx_set = function(r, x) ngx.status = x return apache2.OK end,\n\
                  }\n\
                  function pick(r)\n\
                  local form, value = r.args:match('(.-)=(.*)')\n\
                  if form then return forms[form](r, load('return ' .. value)()) end\n\
                  end\n\
                  function select(r) return pick(r) end\n\
                  function method(pool, r) return load('return ' .. r.headers_in.X)() end";
    let httpd = one_child(Mpm::Event, &a)
        .config("<LuaBalancerPool odd>\nLuaBalancerMember http://127.0.0.1:1\nLuaBalancerMethod lua pick.lua method\n</LuaBalancerPool>")
        .config("<Location /select>\nLuaHookSelect pick.lua select\n</Location>\nProxyPass /odd lb://odd")
        .config("<Location /t>\nLuaHookTranslate pick.lua pick\n</Location>")
        .file("pick.lua", script)
        .file("htdocs/select", "a file")
        .start();
    let mut client = httpd.client();
    let values = [
        "99", "100", "101", "102", "103", "150", "199", "199.0", "100.5", "200.5", "-7", "0/0", "1/0",
        "-1/0", "1e300", "600", "1000", "'404'", "'100'", "true", "2^63",
    ];
    for value in values {
        for form in ["returned", "exit", "set", "ngx_set"] {
            for path in ["/t", "/select"] {
                // Numbers as text are numbers for ngx.exit and the fields, as in Lua itself.
                if value == "'404'" && form != "returned" {
                    continue;
                }
                let answer = client.get(&format!("{path}?{form}={value}"));
                assert_eq!(answer.status, 500, "{path} {form} {value}: {}", httpd.error_log());
            }
        }
        let answer = client.send(&Request::get("/odd/").header("X", value));
        assert!(answer.status >= 500, "a method that returns {value}: {}", answer.status);
    }
    for value in ["200", "204", "404", "418", "599", "503.0"] {
        let expected = value.trim_end_matches(".0").parse::<u16>().expect("a status");
        assert_eq!(client.get(&format!("/t?returned={value}")).status, expected);
        assert_eq!(client.get(&format!("/select?exit={value}")).status, expected);
    }
}

/// A module outside of the script's folder, and one inside of it.
fn with_modules(builder: Builder) -> Builder {
    builder
        .file("outside.lua", "print('outside was run') return 'outside'")
        .file("conf/inside.lua", "return 'inside'")
        .file("conf/part/deep.lua", "return 'deep'")
        .file("more/third.lua", "return 'third'")
        .config("LuaBalancerPackagePath more/?.lua")
        .config("Header always set X-Told %{TOLD}e")
}

#[test]
fn modules_come_from_the_folders_of_the_configuration_alone() {
    let builder = with_modules(Httpd::builder().children(1).threads(2));
    let root = builder.dir().display().to_string();
    let script = format!(
        "local root = '{root}'\n\
         local function told(ok, why) return tostring(ok) .. ' ' .. tostring(why) end\n\
         local forms = {{\n\
         inside = function() return require 'inside' .. require 'part.deep' .. require 'part/deep' .. require 'third' end,\n\
         path = function() return told(pcall(function() package.path = root .. '/?.lua' end)) .. told(pcall(require, 'outside')) end,\n\
         cpath = function() return told(pcall(function() package.cpath = root .. '/?.so' end)) end,\n\
         rawset = function() rawset(package, 'path', root .. '/?.lua') return told(pcall(require, 'outside')) end,\n\
         table = function() package = {{ path = root .. '/?.lua', loaded = {{}}, preload = {{}} }} return told(pcall(require, 'outside')) end,\n\
         meta = function() return told(pcall(setmetatable, package, {{ __index = {{}} }})) .. tostring(getmetatable(package)) end,\n\
         names = function() local all = ''\n\
         for _, name in ipairs {{ '../outside', '..outside', '..//outside', '/' .. root .. '/outside', root .. '/outside', '../../etc/x', 'a\\0b',\n\
         '', '.', '/', '..', 'inside/', './inside', 'part//deep', '?', ';' .. root .. '/?.lua', ('x'):rep(5000) }} do\n\
         all = all .. (pcall(require, name) and 'found ' .. name or '') end return 'none ' .. all end,\n\
         env = function() return tostring(os.getenv) .. tostring(package.searchpath) .. tostring(package.searchers) .. tostring(package.loadlib) end,\n\
         }}\n\
         function pick(r) r.subprocess_env['TOLD'] = forms[r.args]():gsub('[^ -~]', ' '):sub(1, 4000) return 204 end"
    );
    let httpd = builder.file("conf/pick.lua", &script).config("LuaHookTranslate conf/pick.lua pick").start();
    let mut client = httpd.client();
    let mut tell = |form: &str| {
        let answer = client.get(&format!("/x?{form}"));
        answer.header("X-Told").unwrap_or_else(|| panic!("{form}: {}", httpd.error_log())).to_owned()
    };
    assert_eq!(tell("inside"), "insidedeepdeepthird");
    let refused = tell("path");
    assert!(
        refused.contains("LuaBalancerPackagePath") && refused.contains("module 'outside' not found"),
        "{refused}"
    );
    assert!(tell("cpath").contains("package.cpath cannot be set"));
    let meta = tell("meta");
    assert!(meta.starts_with("false ") && meta.ends_with("false"), "{meta}");
    for form in ["rawset", "table"] {
        assert!(tell(form).contains("module 'outside' not found"), "{form}");
    }
    assert_eq!(tell("names"), "none");
    assert_eq!(tell("env"), "nilnilnilnil");
    assert_eq!(httpd.count_log("outside was run"), 0);
}

#[test]
fn without_sandbox_the_path_of_modules_is_the_scripts() {
    let builder = with_modules(Httpd::builder().children(1).threads(2).config("LuaBalancerSandbox off"));
    let script = format!(
        "package.path = '{}/?.lua;' .. package.path\nlocal found = require 'outside' .. require 'inside' .. type(os.getenv('PATH'))\n\
         function pick(r) r.subprocess_env['TOLD'] = found return 204 end",
        builder.dir().display()
    );
    let httpd = builder.file("conf/pick.lua", &script).config("LuaHookTranslate conf/pick.lua pick").start();
    assert_eq!(httpd.client().get("/x").header("X-Told"), Some("outsideinsidestring"));
}

/// Goes through all that a script can reach. `marked` counts marks of another script; `mark` leaves
/// some.
const WALK: &str = r#"
local MARK = "a mark"
local function reached(r)
  local found, open = {}, {}
  local function add(value)
    local kind = type(value)
    if (kind == "table" or kind == "userdata" or kind == "function") and not found[value] then
      found[value] = true
      open[#open + 1] = value
    end
  end
  local function call(f, ...)
    local values = table.pack(pcall(f, ...))
    for i = 2, values.n do add(values[i]) end
  end
  add(_G) add(r) add(getmetatable("")) add(getmetatable(print))
  for _, name in ipairs { "apache2", "ngx", "ngx.balancer", "resty.chash", "resty.roundrobin", "resty.swrr", "cjson",
                          "cjson.safe", "bit", "socket", "string", "table", "math", "os", "coroutine", "utf8", "lb" } do
    call(require, name)
  end
  local members = { "uri", "headers_in", "headers_out", "err_headers_out", "notes", "subprocess_env", "getcookie", "parseargs", "regex", "expr",
                    "ivm_get", "meta", "name", "usable", "where", "pick", "members", "member", "find", "next", "set", "get", "new" }
  call(function() return ngx.req.get_headers() end) call(function() return ngx.resp.get_headers() end)
  call(function() return ngx.var, ngx.req, ngx.header, ngx.re, ngx.timer, ngx.worker, ngx.shared, ngx.resp, ngx.config, ngx.status end)
  call(function() return ngx.shared.things, lb.dict("things"), ngx.req.get_uri_args(), ngx.decode_args("a=1") end)
  call(function() return ngx.re.match("ab", "(a)") end)
  call(function() return r:parseargs() end) call(function() return r:headers_in_table() end) call(function() return r:regex("a", "a") end)
  call(function() return require("cjson").decode("[[],{}]") end)
  call(function() return lb.pool("app"), lb.pools(), lb.pool("app"):where{ zone = "eu" }, lb.pool("app"):first(), lb.pool("app"):first().meta end)
  for _, name in ipairs { "resty.chash", "resty.roundrobin", "resty.swrr" } do
    call(function() return require(name):new({ a = 1, b = 2 }) end)
  end
  call(coroutine.wrap(function() return coroutine.running() end))
  while #open > 0 do
    local value = table.remove(open)
    call(function() add(getmetatable(value)) end)
    if type(value) == "table" then
      for k, v in next, value do add(k) add(v) end
      call(function() for k, v in pairs(value) do add(k) add(v) end end)
    end
    if type(value) ~= "function" then
      for _, name in ipairs(members) do call(function() return value[name] end) end
    end
  end
  return found
end
function mark(r)
  for value in next, reached(r) do
    pcall(rawset, value, MARK, MARK)
    pcall(function() value[MARK] = MARK end)
    pcall(function() value.encode = MARK end)
    pcall(function() value[1] = MARK end)
    pcall(table.insert, value, MARK)
    pcall(table.move, { MARK }, 1, 1, 1, value)
    pcall(setmetatable, value, { __index = { [MARK] = MARK }, __metatable = MARK })
    if type(value) == "table" then for k in next, value do pcall(rawset, value, k, MARK) end end
  end
  return 204
end
function marked(r)
  local count, all = 0, 0
  local function is(f, ...)
    local ok, value = pcall(f, ...)
    if ok and value == MARK then count = count + 1 end
  end
  for value in next, reached(r) do
    all = all + 1
    if type(value) == "table" then
      is(rawget, value, MARK) is(rawget, value, 1) is(rawget, value, "encode")
      for _, v in next, value do is(function() return v end) end
    end
    is(function() return value[MARK] end) is(function() return value[1] end) is(getmetatable, value)
  end
  r.subprocess_env["TOLD"] = count .. " of " .. (all > 100 and "many" or all)
  return 204
end
"#;

#[test]
fn what_a_script_changes_is_seen_by_no_other_script() {
    let a = Backend::new("a");
    let httpd = one_child(Mpm::Event, &a)
        .config(
            "LuaBalancerScriptLimit time=5s memory=64M
LuaBalancerDict things 64K
Header always set X-Told %{TOLD}e",
        )
        .file("one.lua", WALK)
        .file("two.lua", WALK)
        .config(
            "<Location /mark>
LuaHookTranslate one.lua mark
</Location>
<Location /marked>
LuaHookTranslate two.lua marked
</Location>",
        )
        .start();
    let mut client = httpd.client();
    let marks = |client: &mut Client| {
        let answer = client.get("/marked?a=1");
        answer.header("X-Told").unwrap_or_else(|| panic!("no walk: {}", httpd.error_log())).to_owned()
    };
    assert_eq!(marks(&mut client), "0 of many");
    for _ in 0..5 {
        client.get("/mark?a=1");
    }
    assert_eq!(marks(&mut client), "0 of many");
}

on_every_mpm!(a_socket_in_a_request_is_refused_with_words_and_at_once);

fn a_socket_in_a_request_is_refused_with_words_and_at_once(mpm: Mpm) {
    let port = dripping();
    let script = format!(
        "function pick(r)\nlocal s = require('socket').tcp()\ns:settimeout(10)\ns:connect('127.0.0.1', {port})\ns:receive('*a')\nreturn 204\nend"
    );
    let httpd = hook(Httpd::builder().mpm(mpm).children(1).threads(2), &script);
    let start = Instant::now();
    assert_eq!(httpd.client().get("/x").status, 500);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    httpd
        .wait_for_log(r"pick\.lua:2: .*socket\.tcp works in timers and health checks only.*not in a request");
}

#[test]
fn a_socket_at_the_top_level_is_refused_with_words() {
    let port = dripping();
    let script = format!(
        "local s = socket.tcp()\ns:connect('127.0.0.1', {port})\ns:receive('*a')\nfunction pick(r) return 204 end"
    );
    let start = Instant::now();
    let test =
        Httpd::builder().file("pick.lua", &script).config("LuaHookTranslate pick.lua pick").configtest();
    assert!(
        !test.ok && test.says(r"pick\.lua:1: .*socket\.tcp works in .*not at the top level"),
        "{}",
        test.output
    );
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

/// A server that sends a byte now and then, for as long as somebody listens.
fn dripping() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
                let _ = stream.read(&mut [0; 16]);
                while stream.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
    });
    port
}

#[test]
fn a_dripping_peer_costs_a_timer_its_timeout_and_a_check_its_own() {
    let a = Backend::new("a");
    let port = dripping();
    let script = format!(
        "function timer()\n\
         local s = socket.tcp() s:settimeout(0.2) assert(s:connect('127.0.0.1', {port}))\n\
         local start = socket.gettime()\n\
         local got, why, part = s:receive('*a')\n\
         print('timer: ' .. tostring(got) .. ' ' .. why .. ' ' .. tostring(socket.gettime() - start < 2 and #part > 2))\n\
         end\n\
         function check(member)\n\
         local s = socket.tcp() assert(s:connect('127.0.0.1', {port}))\n\
         local got, why = s:receive('*a')\n\
         return false, why\n\
         end"
    );
    let httpd = Httpd::builder()
        .file("timer.lua", &script)
        .config(&pool(
            "app",
            &[(&a, "")],
            "LuaBalancerHealthCheck lua script=timer.lua function=check interval=500ms timeout=300ms fall=1",
        ))
        .config("LuaBalancerTimer timer.lua every=300ms")
        .start();
    httpd.wait_for_log_lines("timer: nil timeout true", 3);
    httpd.wait_for_log("app.*(timeout|stopped after 300 ms)");
    assert_eq!(httpd.count_log("Interrupted"), 0);
    httpd.assert_no_crash();
}
