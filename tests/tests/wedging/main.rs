// SPDX-License-Identifier: Apache-2.0
//! Nothing that clients send makes a script fail for others, or for good; and no script gets at
//! what others, the server or its files have.

mod files;
mod texts;

use server_tests::client::raw_exchange;
use server_tests::{Backend, Builder, Client, Httpd, Mpm, Request, on_every_mpm, pool};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};
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

fn seconds_of(client: &mut Client, requests: usize, from: usize) -> Duration {
    let start = Instant::now();
    for nth in from..from + requests {
        let answer = client.send(&Request::get("/x").header("Host", &format!("h{nth}.example.org")));
        assert_eq!(answer.status, 200);
    }
    start.elapsed()
}

/// The value of each expression for the request of [`told`], in the sandbox, or words that the
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
    ("'a)|(a' =~ /a)|(a/", "not a regular expression"),
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

fn httpd_dir(inside: &str) -> String {
    inside.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default()
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
