// SPDX-License-Identifier: Apache-2.0
//! The request object and the library, as a script in a real httpd sees them.

use server_tests::{Backend, Httpd, Request, pool};

/// Each row is an expression that must be true for the request of [`checked`].
const SCRIPT: &str = r#"
local checks = {
  ["method"] = function(r) return r.method == "GET" end,
  ["uri"] = function(r) return r.uri == "/check/a b" end,
  ["unparsed_uri"] = function(r) return r.unparsed_uri == "/check/a%20b?x=1&y=two%20words&x=3" end,
  ["args"] = function(r) return r.args == "x=1&y=two%20words&x=3" end,
  ["hostname"] = function(r) return r.hostname == "www.example.org" end,
  ["port"] = function(r) return r.port == 80 end,
  ["protocol"] = function(r) return r.protocol == "HTTP/1.1" end,
  ["the_request"] = function(r) return r.the_request:find("^GET /check/a%%20b%?x=1.* HTTP/1%.1$") end,
  ["useragent_ip"] = function(r) return r.useragent_ip == "127.0.0.1" end,
  ["is_https"] = function(r) return r.is_https == false end,
  ["user"] = function(r) return r.user == nil end,
  ["status"] = function(r) return r.status == 200 end,
  ["server_name"] = function(r) return r.server_name == "www.example.org" end,
  ["document_root"] = function(r) return r.document_root:find("htdocs$") end,
  ["started"] = function(r) return type(r.started) == "number" and r.started > 0 end,
  ["proxyreq"] = function(r) return r.proxyreq == apache2.PROXYREQ_NONE end,
  ["headers_in"] = function(r) return r.headers_in["x-token"] == "t" and r.headers_in["absent"] == nil end,
  ["headers_in pairs"] = function(r)
    for name, value in pairs(r.headers_in) do if name:lower() == "x-token" then return value == "t" end end
  end,
  ["notes"] = function(r) r.notes["n"] = "v" return r.notes["n"] == "v" end,
  ["subprocess_env"] = function(r) r.subprocess_env["E"] = "v" return r.subprocess_env["E"] == "v" end,
  ["getcookie"] = function(r) return r:getcookie("beta") == "yes" and r:getcookie("none") == nil end,
  ["parseargs"] = function(r) local get, multi = r:parseargs() return get.y == "two words" and #multi.x == 2 end,
  ["regex"] = function(r) local m = r:regex("abcd", "b(c)(d)") return m and m[0] == "bcd" and m[1] == "c" and m[2] == "d" end,
  ["regex that backtracks without end"] = function(r)
    local m, why = r:regex(("a"):rep(30000), "(a+)+[bd]")
    return m == false and tostring(why):find("too many steps") end,
  ["regex over a long text"] = function(r)
    local m = r:regex(("x "):rep(100000) .. "key=value", "(\\w+)=(\\w+)")
    local too, why = r:regex(("x"):rep((1 << 20) + 1), "x")
    return m and m[2] == "value" and too == false and why:find("1024 KiB") end,
  ["an invalid regex"] = function(r) local m, why = r:regex("x", "(") return m == false and why:find("'%('") end,
  ["regex without a match"] = function(r) return not r:regex("abcd", "x") end,
  ["expr"] = function(r) return r:expr("%{REQUEST_METHOD} == 'GET'") == true and r:expr("%{REQUEST_METHOD} == 'PUT'") == false end,
  ["escape"] = function(r) return r:escape("a b") == "a+b" and r:unescape("a%20b") == "a b" end,
  ["escape_html"] = function(r) return r:escape_html("<a&b>") == "&lt;a&amp;b&gt;" end,
  ["md5"] = function(r) return r:md5("a") == "0cc175b9c0f1b6a831c399e269772661" end,
  ["sha1"] = function(r) return r:sha1("a") == "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8" end,
  ["base64"] = function(r) return r:base64_encode("hello") == "aGVsbG8=" and r:base64_decode("aGVsbG8=") == "hello" end,
  ["ssl_var_lookup"] = function(r) return (r:ssl_var_lookup("HTTPS") or "off"):lower() ~= "on" end,
  ["construct_url"] = function(r) return r:construct_url("/x"):find("^http://www%.example%.org.*/x$") end,
  ["ivm"] = function(r)
    r:ivm_set("b", false) r:ivm_set("t", { a = { 1, 2 } }) r:ivm_set("n", 1.5)
    return r:ivm_get("b") == false and r:ivm_get("t").a[2] == 2 and r:ivm_get("n") == 1.5 and r:ivm_get("none") == nil
  end,
  ["log methods"] = function(r)
    for _, level in ipairs{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "trace1", "trace8"} do
      r[level](r, "said at " .. level)
    end
    return true
  end,
  ["apache2"] = function() return (require "apache2").OK == apache2.OK and apache2.OK == 0 and apache2.DECLINED == -1 end,
  ["lb.now"] = function() local a = lb.now() return type(a) == "number" and lb.now() >= a end,
  ["lb.time"] = function() return lb.time() > 1.6e9 end,
  ["lb.hash"] = function() return lb.hash("key") == lb.hash("key") and lb.hash("key") ~= lb.hash("kex") end,
  ["lb.log"] = function() lb.log("warn", "said by ", "lb.log ", 42) return true end,
  ["lb.pool"] = function() return not pcall(lb.pool, "nowhere") and lb.pool("app").name == "app" end,
  ["pool"] = function() local p = lb.pool("app") return #p == 2 and p.usable == 2 and p.inflight == 0 end,
  ["members"] = function()
    local names = {}
    for m in lb.pool("app"):members() do names[#names + 1] = m.name end
    return table.concat(names, " ") == "a b"
  end,
  ["member"] = function()
    local m = lb.pool("app"):member("a")
    return m.name == "a" and m.host == "127.0.0.1" and math.type(m.port) == "integer" and m.scheme == "http"
      and m.zone == "eu" and m.weight == 3 and m.inflight == 0 and m.state == "up" and m.healthy and m.usable
      and m.meta.version == "2" and m.route == "a" and type(m.since) == "number"
      and m.url:find("^http://127%.0%.0%.1:") and lb.pool("app"):member("none") == nil
  end,
}

function translate(r)
  local failed = {}
  for name, check in pairs(checks) do
    local ok, value = pcall(check, r)
    if not ok then failed[#failed + 1] = name .. " (" .. tostring(value) .. ")"
    elseif not value then failed[#failed + 1] = name end
  end
  table.sort(failed)
  r.subprocess_env["FAILED"] = "failed: " .. table.concat(failed, ", "):gsub("[\r\n]", " ")
  return 204
end
"#;

#[test]
fn every_name_of_the_contract_is_there_with_its_meaning() {
    let [a, b] = Backend::named(["a", "b"]);
    // As in mod_lua, name and port are those of the Host header here (UseCanonicalName Off, no port
    // in it).
    let httpd = Httpd::builder()
        .file("check.lua", SCRIPT)
        .config(&pool("app", &[(&a, "weight=3 zone=eu meta.version=2"), (&b, "")], ""))
        .config("LuaBalancerScriptLimit time=1s\nUseCanonicalName Off")
        .config("LuaHookTranslate check.lua\nHeader always set X-Failed \"%{FAILED}e\"")
        .start();
    let request = Request::get("/check/a%20b?x=1&y=two%20words&x=3")
        .header("Host", "www.example.org")
        .header("Cookie", "alpha=no; beta=yes")
        .header("X-Token", "t");
    let response = httpd.client().send(&request);
    assert_eq!(response.header("X-Failed"), Some("failed:"), "status {}", response.status);
    httpd.wait_for_log(r"\[lua_balancer:warn\].*said by lb\.log 42");
    httpd.wait_for_log(r"\[lua_balancer:error\].*said at err");
    httpd.wait_for_log(r"\[lua_balancer:info\].*said at info");
    assert_eq!(httpd.count_log("said at debug"), 0);
}

#[test]
fn ivm_values_are_shared_by_all_children() {
    let script = "function translate(r)\n  if r.args then r:ivm_set('k', r.args) return 204 end\n  \
                  return r:ivm_get('k') == 'hello' and 202 or 404\nend";
    let httpd = Httpd::builder()
        .file("ivm.lua", script)
        .config("<Location /ivm>\n  LuaHookTranslate ivm.lua\n</Location>")
        .start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    assert_eq!(clients.values_mut().next().expect("a client").get("/ivm?hello").status, 204);
    for client in clients.values_mut() {
        assert_eq!(client.get("/ivm").status, 202);
    }
}

#[test]
fn shown_decisions_name_pool_and_pick_at_trace2() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .log_level("notice lua_balancer:trace2")
        .config(&pool("app", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    httpd.client().get("/app/");
    httpd.wait_for_log(r"\[lua_balancer:trace2\].*\bapp\b.*\ba\b");
}
