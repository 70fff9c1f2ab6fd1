// SPDX-License-Identifier: Apache-2.0
//! The files, modules and sockets that scripts reach.

use super::*;

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

#[test]
fn changes_of_a_script_are_seen_by_no_other_script() {
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
