// SPDX-License-Identifier: Apache-2.0
//! The path and query that a member is asked for, by every way into a pool: the client's own words,
//! and the later decision.

use server_tests::client::Request;
use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, pool};

/// A server whose script answers `/KIND/…` with the function `KIND`; `URL` in it is the backend's.
fn scripted(hook: &str, script: &str, backend: &Backend) -> Builder {
    let script = format!(
        "local kinds = {{}}\n{}\nfunction {hook}(r)\n  local kind = kinds[r.uri:match('^/([a-z_]+)/')]\n  \
         if kind then return kind(r) end\nend",
        script.replace("URL", &format!("'{}'", backend.url()))
    );
    let directive = if hook == "select" { "LuaHookSelect" } else { "LuaHookTranslate" };
    Httpd::builder()
        .file("pick.lua", &script)
        .config(&pool("app", &[(backend, "")], "LuaBalancerSet reverse=off"))
        .config(&format!("{directive} pick.lua"))
        .config("<Location />\n  Require all granted\n</Location>\nAllowEncodedSlashes On")
}

/// The path that the member is asked for; panics when it is not asked.
fn asked(httpd: &Httpd, backend: &Backend, target: &str) -> String {
    let before = backend.requests();
    let answer = httpd.client().get(target);
    assert_eq!((answer.status, backend.requests() - before), (200, 1), "{target}");
    backend.last().expect("a request").uri
}

/// Paths as a client may write them, with what a member behind `ProxyPass / balancer://…` is asked
/// for.
const SPELLINGS: [(&str, &str); 9] = [
    ("plain", "plain"),
    ("a%20b", "a%20b"),
    ("a%3Fb", "a%3Fb"),
    ("a%23b", "a%23b"),
    ("a%25b", "a%25b"),
    ("a%2520b", "a%2520b"),
    ("%ff%C3%A9", "%FF%C3%A9"),
    ("%0d%0a", "%0D%0A"),
    ("a%7Cb", "a%7Cb"),
];

const BY_URL: &str = "function kinds.uri(r) return URL .. r.uri end
function kinds.unparsed(r) return URL .. r.unparsed_uri end
function kinds.own(r) return URL .. '/own%20path/%3F' end
function kinds.own_query(r) return URL .. '/own?x=%20y' end
function kinds.below(r) return URL .. '/base%20' .. r.uri end
function kinds.changed(r) r.uri = '/new path' return URL .. r.uri end
function kinds.bare(r) return URL end
function kinds.query(r) return URL .. '?q=own' end
function kinds.fragment(r) return URL .. '/own#part' end
function kinds.blank(r) return URL .. '/a b' end
function kinds.line(r) return URL .. '/a\\r\\nX-Evil: 1' end";

#[test]
fn both_natural_spellings_of_a_returned_url_reach_the_member_as_the_client_wrote_it() {
    for hook in ["translate", "select"] {
        let backend = Backend::new("a");
        let httpd = scripted(hook, BY_URL, &backend).start();
        for (path, want) in SPELLINGS {
            for query in ["", "?q=1&r=%20", "?u=/uri/plain"] {
                let asked = |kind: &str| asked(&httpd, &backend, &format!("/{kind}/{path}{query}"));
                assert_eq!(asked("uri"), format!("/uri/{want}{query}"), "{hook}");
                let unparsed = asked("unparsed");
                let same = unparsed.eq_ignore_ascii_case(&format!("/unparsed/{want}{query}"));
                assert!(same, "{hook}: {unparsed} for {path}{query}");
                assert_eq!(asked("bare"), format!("/bare/{want}{query}"), "{hook}");
                assert_eq!(asked("below"), format!("/base%20/below/{want}{query}"), "{hook}");
            }
        }
    }
}

#[test]
fn a_returned_url_is_used_as_it_stands() {
    for hook in ["translate", "select"] {
        let backend = Backend::new("a");
        let httpd = scripted(hook, BY_URL, &backend).start();
        for (target, want) in [
            ("/own/x", "/own%20path/%3F"),
            ("/own/x?q=1", "/own%20path/%3F?q=1"),
            ("/own_query/x?q=1", "/own?x=%20y"),
            ("/changed/x?q=1", "/new%20path?q=1"),
            ("/query/x?q=1", "/?q=own"),
            ("/fragment/x?q=1", "/own?q=1"),
        ] {
            assert_eq!(asked(&httpd, &backend, target), want, "{hook}");
        }
        let before = backend.requests();
        for target in ["/blank/x", "/line/x"] {
            assert_eq!(httpd.client().get(target).status, 500, "{hook} {target}");
        }
        assert_eq!(backend.requests(), before);
        httpd.wait_for_log("no blanks and no control characters");
    }
}

/// mod_lua's own way, which httpd takes for decoded text in translate_name and leaves alone in
/// fixups.
const BY_FILENAME: &str = "local function send(r, rest)
  r.handler, r.proxyreq, r.filename = 'proxy-server', apache2.PROXYREQ_REVERSE, 'proxy:' .. URL .. rest
  return apache2.OK
end
function kinds.uri(r) return send(r, r.uri) end
function kinds.unparsed(r) return send(r, r.unparsed_uri) end";

#[test]
fn a_file_name_of_mod_luas_scripts_reaches_the_member_as_the_client_wrote_it() {
    for hook in ["translate", "select"] {
        let backend = Backend::new("a");
        let httpd = scripted(hook, BY_FILENAME, &backend).start();
        for (path, want) in SPELLINGS {
            for query in ["", "?b=2", "?u=/uri/plain"] {
                for kind in ["uri", "unparsed"] {
                    let asked = asked(&httpd, &backend, &format!("/{kind}/{path}{query}"));
                    let same = asked.eq_ignore_ascii_case(&format!("/{kind}/{want}{query}"));
                    assert!(same, "{hook} {kind}: {asked} for {path}{query}");
                }
            }
        }
    }
}

#[test]
fn a_path_that_is_set_to_itself_stays_what_it_is() {
    let backend = Backend::new("a");
    let script = "function kinds.same(r) r.uri = r.uri return lb.pool('app') end
function kinds.ngx(r) ngx.req.set_uri(ngx.var.uri) return lb.pool('app') end
function kinds.ngx_url(r) ngx.req.set_uri(ngx.var.uri) return URL .. r.uri end";
    let httpd = scripted("translate", script, &backend).start();
    for (path, want) in SPELLINGS {
        for kind in ["same", "ngx", "ngx_url"] {
            assert_eq!(asked(&httpd, &backend, &format!("/{kind}/{path}?q")), format!("/{kind}/{want}?q"));
        }
    }
}

#[test]
fn options_of_the_whole_server_is_for_the_server() {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .file("pick.lua", "function translate(r) return lb.pool('app') end")
        .config(&pool("app", &[(&backend, "")], ""))
        .config("LuaHookTranslate pick.lua")
        .start();
    let ours = httpd.client().send(&Request::new("OPTIONS", "*"));
    let stock = Httpd::builder().stock().config(&format!("ProxyPass / {}/", backend.url())).start();
    let theirs = stock.client().send(&Request::new("OPTIONS", "*"));
    assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()));
    assert_eq!(backend.requests(), 0, "{:?}", backend.last());
    assert_eq!(httpd.client().send(&Request::new("OPTIONS", "/x")).backend(), "a");
}

#[test]
fn the_path_of_a_sethandler_comes_before_the_requests() {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&backend, "")], ""))
        .config("<Location /a>\n  SetHandler \"proxy:lb://app/pre\"\n</Location>")
        .config("<Location /b>\n  SetHandler \"proxy:lb://app/pre/\"\n</Location>")
        .config("<Location /c>\n  SetHandler \"proxy:lb://app\"\n</Location>")
        .start();
    for (target, want) in
        [("/a/x%20y?q=1", "/pre/a/x%20y?q=1"), ("/a", "/pre/a"), ("/b/%3F", "/pre/b/%3F"), ("/c/x", "/c/x")]
    {
        assert_eq!(asked(&httpd, &backend, target), want);
    }
}

#[test]
fn the_later_decision_holds() {
    let [one, two] = Backend::named(["one", "two"]);
    let httpd = Httpd::builder()
        .file("pick.lua", "function translate(r) return lb.pool('one') end\nfunction select(r) return lb.pool('one') end")
        .config(&[pool("one", &[(&one, "")], ""), pool("two", &[(&two, "")], "")].concat())
        .config("LuaHookTranslate pick.lua")
        .config("<Location /rule/>\n  RewriteEngine on\n  RewriteRule .* lb://two/x [P]\n</Location>")
        .config("<Location /cond/>\n  RewriteEngine on\n  RewriteRule never lb://two/x [P]\n</Location>")
        .config("<Location /both/>\n  RewriteEngine on\n  RewriteRule .* lb://two/x [P]\n  LuaHookSelect pick.lua\n</Location>")
        .start();
    let by = |target: &str| {
        let answer = httpd.client().get(target);
        format!("{} {}", answer.backend(), answer.header("X-Uri").unwrap_or_default())
    };
    assert_eq!(by("/rule/y?q=1"), "two /x?q=1");
    assert_eq!(by("/cond/y?q=1"), "one /cond/y?q=1");
    assert_eq!(by("/both/y?q=1"), "one /both/y?q=1");
    assert_eq!(by("/y"), "one /y");
}

/// mod_proxy_balancer reaches the module's own hooks by their names.
#[test]
fn the_order_of_modules_does_not_matter() {
    let backend = Backend::new("a");
    for last in ["proxy_balancer", "lbmethod_byrequests", "dir"] {
        let builder = Httpd::builder().balancer_first().module("slotmem_shm").module(last);
        let httpd = builder
            .config(&pool("app", &[(&backend, "")], ""))
            .config("<Location />\n  RewriteEngine on\n  RewriteRule ^/?(?:.*/)?x(.*)$ lb://app/$1 [P]\n</Location>")
            .start();
        assert_eq!(asked(&httpd, &backend, "/xa%20b?q=1"), "/a%20b?q=1", "{last}");
    }
}
