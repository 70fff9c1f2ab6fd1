// SPDX-License-Identifier: Apache-2.0
//! The effects of texts, expressions and fields on a child.

use super::*;

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

/// No script's global holds the text that fills it, so that only a new state has room again. Lua
/// needs up to three times the text to make it, beside the 128 KiB that a state may have itself.
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
