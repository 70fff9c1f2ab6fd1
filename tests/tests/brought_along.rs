// SPDX-License-Identifier: Apache-2.0
//! The files that scripts bring with them from mod_lua and OpenResty work as they did there, beside
//! mod_lua where it is the reference.

use server_tests::{Backend, Httpd, Request, pool};

/// A script whose function `KIND` answers `/KIND`, run by both hooks.
fn server(script: &str, config: &str, backend: &Backend) -> Httpd {
    let script = format!(
        "local kinds = {{}}\n{script}\nlocal function run(r)\n  local kind = kinds[r.uri:match('([a-z_]+)$')]\n  \
         if kind then return kind(r) end\nend\ntranslate, select = run, run"
    );
    Httpd::builder()
        .file("own.lua", &script)
        .config(&pool("app", &[(backend, "")], ""))
        .config("<Location /t>\n  LuaHookTranslate own.lua\n</Location>\n<Location /s>\n  LuaHookSelect own.lua\n</Location>")
        .config("<Location />\n  Require all granted\n</Location>")
        .config(config)
        .start()
}

#[test]
fn a_script_may_write_its_own_page() {
    let backend = Backend::new("a");
    let script = "function kinds.ok(r) r.content_type = 'text/x-own' r:puts('one ', 2) r:write('\\0three') return apache2.OK end
function kinds.done(r) r.status = 404 r:puts('none') return apache2.DONE end
function kinds.status(r) r:puts('gone') return 410 end
function kinds.redirect(r) r.status = 302 r.headers_out['Location'] = 'http://else.example/' return apache2.DONE end
function kinds.chosen(r) r:puts('text') return lb.pool('app') end";
    let httpd = server(script, "", &backend);
    let mut client = httpd.client();
    for place in ["/t", "/s"] {
        let ok = client.get(&format!("{place}/ok"));
        assert_eq!((ok.status, ok.text().as_str()), (200, "one 2\0three"));
        assert_eq!(ok.header("Content-Type"), Some("text/x-own"));
        let answer = |client: &mut server_tests::Client, kind: &str| {
            let answer = client.send(&Request::post(&format!("{place}/{kind}"), "a body that nobody reads"));
            (answer.status, answer.text())
        };
        assert_eq!(answer(&mut client, "done"), (404, "none".to_owned()));
        assert_eq!(answer(&mut client, "status"), (410, "gone".to_owned()));
        assert_eq!(client.send(&Request::new("HEAD", &format!("{place}/ok"))).status, 200);
        let redirect = client.get(&format!("{place}/redirect"));
        assert_eq!((redirect.status, redirect.header("Location")), (302, Some("http://else.example/")));
        assert_eq!(answer(&mut client, "chosen").0, 500);
    }
    httpd.wait_for_log("wrote a page .r:puts, r:write, ngx.say. and chose a backend");
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_script_names_what_httpd_answers_a_status_with() {
    let backend = Backend::new("a");
    let script = "function kinds.custom(r) r:custom_response(403, 'not today') return 403 end
function kinds.body(r) r.headers_in['X-Body'] = r:requestbody() return lb.pool('app') end";
    let httpd = server(script, "", &backend);
    for place in ["/t", "/s"] {
        let answer = httpd.client().get(&format!("{place}/custom"));
        assert_eq!((answer.status, answer.text().as_str()), (403, "not today"));
        httpd.client().send(&Request::post(&format!("{place}/body"), "all of it"));
        let seen = backend.last().expect("a request");
        assert_eq!((seen.headers.get("X-Body"), seen.body_length), (Some("all of it"), 9));
    }
}

#[test]
fn a_select_hook_sees_what_other_modules_set() {
    let backend = Backend::new("a");
    let script = "function kinds.env(r)
  r.headers_in['X-Seen'] = ('%s %s %s'):format(r.subprocess_env.SET, r.subprocess_env.RULE, r.subprocess_env.IF)
  return lb.pool('app')
end";
    let config = "SetEnv SET one\nSetEnvIf Request_URI env IF=three\n<Location /s>\n  RewriteEngine on\n  RewriteRule .* - [E=RULE:two]\n</Location>";
    let httpd = server(script, config, &backend);
    assert_eq!(httpd.client().get("/s/env").backend(), "a");
    assert_eq!(backend.last().expect("a request").headers.get("X-Seen"), Some("one two three"));
}

#[test]
fn several_values_of_one_header_are_several() {
    let backend = Backend::new("a");
    let script = "function kinds.cookies(r)
  r:setcookie{key = 'a', value = '1'}
  r:setcookie{key = 'b', value = '2'}
  ngx.req.set_header('X-List', {'one', 'two'})
  return lb.pool('app')
end";
    let httpd = server(script, "", &backend);
    let answer = httpd.client().get("/t/cookies");
    let names: Vec<_> = answer.headers.all("Set-Cookie").iter().map(|cookie| &cookie[..3]).collect();
    assert_eq!(names, ["a=1", "b=2"]);
    assert_eq!(backend.last().expect("a request").headers.all("X-List"), ["one", "two"]);
}

#[test]
fn variables_of_nginx_scripts_are_there_and_can_be_set() {
    let backend = Backend::new("a");
    let script = "function kinds.vars(r)
  ngx.var.target = 'blue'
  assert(ngx.var.target == 'blue')
  assert(ngx.var.server_addr == '127.0.0.1' and ngx.var.binary_remote_addr == '\\127\\0\\0\\1')
  assert(#ngx.var.request_id >= 16 and ngx.var.request_id == ngx.var.request_id)
  assert(not pcall(function() ngx.var.remote_addr = '1.2.3.4' end))
  r.headers_in['X-Id'] = ngx.var.request_id
  return lb.pool('app')
end";
    let httpd = server(script, "Header always set X-Target \"%{target}e\"", &backend);
    let mut client = httpd.client();
    let answer = client.get("/t/vars");
    assert_eq!((answer.status, answer.header("X-Target")), (200, Some("blue")));
    client.get("/t/vars");
    let ids: Vec<_> =
        backend.recorded().iter().map(|one| one.headers.get("X-Id").map(str::to_owned)).collect();
    assert!(ids[0].is_some() && ids[0] != ids[1], "{ids:?}");
}

#[test]
fn a_pool_with_a_key_picks_in_a_script() {
    let backend = Backend::new("a");
    let script = "function kinds.pick(r) return lb.pool('keyed'):pick(r) end";
    let config = format!(
        "<LuaBalancerPool keyed>\n  LuaBalancerMember {} name=k\n  LuaBalancerMethod hash key=\"%{{REMOTE_ADDR}}\"\n</LuaBalancerPool>",
        backend.url()
    );
    let httpd = server(script, &config, &backend);
    assert_eq!(httpd.client().get("/t/pick").status, 200);
}

#[test]
fn a_peer_that_was_set_stays_when_the_script_exits() {
    let backend = Backend::new("a");
    let script = format!(
        "local balancer = require 'ngx.balancer'
function kinds.peer(r)
  assert(ngx.get_phase() == 'balancer', ngx.get_phase())
  assert(balancer.set_current_peer('127.0.0.1', {}))
  return ngx.exit(ngx.OK)
end",
        backend.port()
    );
    let httpd = server(&script, "", &backend);
    for place in ["/t", "/s"] {
        assert_eq!(httpd.client().get(&format!("{place}/peer")).backend(), "a", "{place}");
    }
}

#[test]
fn missing_functions_say_what_to_use_instead() {
    let backend = Backend::new("a");
    let script = "function kinds.files(r) return r:get_direntries('/etc') end
function kinds.sleep(r) r.usleep(5) end";
    let httpd = server(script, "", &backend);
    assert_eq!(httpd.client().get("/t/files").status, 500);
    httpd.wait_for_log("r.get_direntries is not available here");
    assert_eq!(httpd.client().get("/t/sleep").status, 500);
    httpd.wait_for_log("r.usleep is not available here: a request.s thread must not sleep");
}

#[test]
fn regular_expressions_replace_and_iterate_as_openrestys_do() {
    let backend = Backend::new("a");
    let script = "local nth = select
local function all(...)
  local out = {}
  for i = 1, nth('#', ...) do out[i] = tostring((nth(i, ...))) end
  return table.concat(out, ' ')
end
function kinds.re(r)
  local re, pairs_seen = ngx.re, {}
  for m in re.gmatch('k1=v1&k2=v2', '([a-z0-9]+)=(?<value>[a-z0-9]+)') do pairs_seen[#pairs_seen + 1] = m[1] .. m[2] end
  for _ in re.gmatch('ab', '') do pairs_seen[#pairs_seen + 1] = '.' end
  r.headers_in['X-Gsub'] = all(re.gsub('a-b-c', '-(.)', '+$1'))
  r.headers_in['X-Sub'] = all(re.sub('a-b-c', '-(.)', '+${1}!', 'jo'))
  r.headers_in['X-Empty'] = all(re.gsub('abc', '', '.'))
  r.headers_in['X-Call'] = all(re.gsub('abc', 'B', function(m) return '<' .. m[0] .. '>' end, 'i'))
  r.headers_in['X-Dollar'] = all(re.gsub('x', 'x', '$$1'))
  r.headers_in['X-None'] = all(re.gsub('abc', 'z', '-'))
  r.headers_in['X-Back'] = all(re.gsub('aa bb', '(.)\\\\1', '[$1]'))
  r.headers_in['X-Bad'] = tostring((nth(3, re.gsub('abc', '(', '-'))) ~= nil)
  r.headers_in['X-Pairs'] = table.concat(pairs_seen, ' ')
  return lb.pool('app')
end";
    let httpd = server(script, "", &backend);
    assert_eq!(httpd.client().get("/t/re").backend(), "a");
    let seen = backend.last().expect("a request");
    for (name, want) in [
        ("X-Gsub", "a+b+c 2"),
        ("X-Sub", "a+b!-c 1"),
        ("X-Empty", ".a.b.c. 4"),
        ("X-Call", "a<b>c 1"),
        ("X-Dollar", "$1 1"),
        ("X-None", "abc 0"),
        ("X-Back", "[a] [b] 2"),
        ("X-Bad", "true"),
        ("X-Pairs", "k1v1 k2v2 . . ."),
    ] {
        assert_eq!(seen.headers.get(name), Some(want), "{name}");
    }
}
