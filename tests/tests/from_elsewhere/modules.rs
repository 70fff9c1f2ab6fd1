// SPDX-License-Identifier: Apache-2.0
//! Beside other modules.

use super::*;

on_every_mpm!(a_select_script_sees_what_other_modules_have_set);

fn a_select_script_sees_what_other_modules_have_set(mpm: Mpm) {
    // Loaded before the others, and after them.
    let builder = Httpd::builder().mpm(mpm).module("socache_shmcb").module("ssl");
    let builder = if mpm == Mpm::Worker { builder.balancer_first() } else { builder };
    let ours = seen_over_tls(builder, "LuaHookSelect sees.lua sees");
    assert_eq!(
        ours,
        "SET=by-mod_env PASSED=in-a-section IF=by-setenvif RULE=by-a-section SSL_PROTOCOL=TLSv1.3 \
         SSL_SERVER_S_DN_CN=localhost HTTPS=on"
    );
    if mpm == Mpm::Event {
        // mod_lua's hooks and mod_ssl's run in the order in which they are loaded.
        let stock = Httpd::builder().stock().module("socache_shmcb").module("ssl").module("lua");
        let root = format!("LuaRoot {:?}", stock.dir());
        let theirs = seen_over_tls(stock.config(&root), "LuaHookFixups sees.lua sees");
        assert_eq!(ours, theirs, "mod_lua sees something else");
    }
}

#[test]
fn a_select_script_that_runs_after_mod_env_still_chooses_and_feeds_mod_headers() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = r#"
local targets = { pool = lb.pool("app"), member = lb.pool("app"):member("b") }
function select(r)
  local to = r.subprocess_env.TO
  r.subprocess_env.WHO = "chosen-" .. to
  if to == "url" then return ADHOC .. r.uri end
  return targets[to]
end"#;
    let place = |to: &str| format!("<Location /{to}>\nSetEnv TO {to}\nLuaHookSelect s.lua\n</Location>\n");
    let httpd = Httpd::builder()
        .file("s.lua", &script.replace("ADHOC", &format!("{:?}", a.url())))
        .config(&pool("app", &[(&a, ""), (&b, "")], "LuaBalancerMethod first"))
        .config(&[place("pool"), place("member"), place("url"), place("nothing")].concat())
        .config("RequestHeader set X-Who \"%{WHO}e\" \"expr=reqenv('WHO') != ''\"\nProxyPass /nothing lb://app/other")
        .start();
    for (path, backend, uri) in [
        ("/pool/a%20b?x=1", &a, "/pool/a%20b?x=1"),
        ("/member/a%3Fb?x=%20", &b, "/member/a%3Fb?x=%20"),
        ("/url/plain?x=1", &a, "/url/plain?x=1"),
        ("/nothing/a%20b?x=1", &a, "/other/a%20b?x=1"),
    ] {
        let response = httpd.client().get(path);
        assert_eq!((response.backend(), response.header("X-Uri")), (backend.name(), Some(uri)), "{path}");
        let to = path.split('/').nth(1).unwrap_or_default();
        let last = backend.last().expect("a request");
        assert_eq!(last.headers.get("X-Who"), Some(format!("chosen-{to}").as_str()), "{path}");
    }
}

#[test]
fn a_select_script_has_the_last_word_after_a_sections_rule() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .file("s.lua", "function select(r) if not r.uri:find('rule$') then return lb.pool('script') end end")
        .config(&pool("script", &[(&a, "")], ""))
        .config(&pool("rule", &[(&b, "")], ""))
        .config("<Location /x>\nRewriteEngine on\nRewriteRule .* lb://rule/ruled [P]\nLuaHookSelect s.lua\n</Location>")
        .start();
    for (path, backend, uri) in [("/x/a?q=1", "a", "/x/a?q=1"), ("/x/rule?q=1", "b", "/ruled?q=1")] {
        let response = httpd.client().get(path);
        assert_eq!((response.backend(), response.header("X-Uri")), (backend, Some(uri)), "{path}");
    }
}

#[test]
fn both_natural_spellings_of_a_backends_file_name_ask_for_what_the_client_asked() {
    let a = Backend::new("a");
    let script = r#"
local function go(r, url)
  r.handler, r.proxyreq, r.filename = "proxy-server", apache2.PROXYREQ_REVERSE, "proxy:" .. url
  return apache2.OK
end
function decoded(r) return go(r, "URL" .. r.uri) end
function encoded(r) return go(r, "URL" .. r.unparsed_uri) end
function below(r) return go(r, "URL/b c" .. r.unparsed_uri) end
function pooled(r) return go(r, "lb://app" .. r.unparsed_uri) end"#;
    let mut config = String::new();
    for hook in ["Translate", "Select"] {
        for name in ["decoded", "encoded", "below", "pooled"] {
            config += &format!("<Location /{hook}/{name}>\nLuaHook{hook} f.lua {name}\n</Location>\n");
        }
    }
    let httpd = Httpd::builder()
        .file("f.lua", &script.replace("URL", &a.url()))
        .config(&pool("app", &[(&a, "")], ""))
        .config(&config)
        .start();
    for hook in ["Translate", "Select"] {
        for (name, before) in [("decoded", ""), ("encoded", ""), ("below", "/b%20c"), ("pooled", "")] {
            for rest in ["", "/", "/a?b=2", "/a%20b", "/a%3Fb?c=%20d", "/a%2520b?x", "/%c3%a4?", "/p;q=1,2"] {
                let path = format!("/{hook}/{name}{rest}");
                let response = httpd.client().get(&path);
                let found = response.header("X-Uri").unwrap_or_default().to_lowercase();
                // A `?` with nothing behind it may go.
                let wanted = format!("{before}{path}").to_lowercase();
                assert_eq!(found.trim_end_matches('?'), wanted.trim_end_matches('?'), "{path}: {response:?}");
            }
        }
    }
    assert_eq!(httpd.client().get("/Select/encoded/%0d%0aX:%20y").header("X-Injected"), None);
}

#[test]
fn a_handler_for_fastcgi_gets_the_files_name_as_sethandler_gives_it() {
    let port = fastcgi();
    let script = "function own(r) r.handler = 'proxy:fcgi://127.0.0.1:PORT' end\n\
                  function pooled(r) r.handler = 'proxy:lb://php' end";
    let httpd = Httpd::builder()
        .module("proxy_fcgi")
        .file("htdocs/stock/x", "")
        .file("htdocs/handler/x", "")
        .file("htdocs/own/x", "")
        .file("htdocs/pooled/x", "")
        .file("s.lua", &script.replace("PORT", &port.to_string()))
        .config(&format!(
            "<LuaBalancerPool php>\nLuaBalancerMember fcgi://127.0.0.1:{port}\n</LuaBalancerPool>\n\
             <Location /stock>\nSetHandler proxy:fcgi://127.0.0.1:{port}\n</Location>\n\
             <Location /handler>\nSetHandler proxy:lb://php\n</Location>\n\
             <Location /own>\nLuaHookSelect s.lua own\n</Location>\n\
             <Location /pooled>\nLuaHookSelect s.lua pooled\n</Location>"
        ))
        .start();
    for path in ["/x.php", "/x%20y.php?a=%20b", "/%c3%a4%25.php", "/a+b&c.php?x"] {
        let ask = |way: &str| {
            let answer = httpd.client().get(&format!("/{way}{path}"));
            assert_eq!(answer.status, 200, "{way}{path}: {}", httpd.error_log());
            text(&answer).replacen(&format!("/{way}/"), "/", 1)
        };
        let wanted = ask("stock");
        assert!(!wanted.contains("%20y"), "stock httpd encodes as well: {wanted}");
        for way in ["handler", "own", "pooled"] {
            assert_eq!(ask(way), wanted, "{way}{path}");
        }
    }
}
