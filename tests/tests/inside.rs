// SPDX-License-Identifier: Apache-2.0
//! Requests that httpd makes of a request (`DirectoryIndex`, mod_negotiation, SSI) and after one
//! (`ErrorDocument`, rewriting): the selection hooks run for them as for any other, and what they
//! decide holds.

use server_tests::{Backend, Builder, Httpd, Mpm, on_every_mpm, pool};

/// The source that no client may see.
const SOURCE: &str = "<?php $password = 'secret';";

/// Every way for a script to say where `.php` goes. `/who` names the way.
const SELECT: &str = r#"
local app = lb.pool("app")
local ways = {
  pool = function() return app end,
  member = function() return app:member("b") end,
  view = function() return app:where{name = "b"} end,
  list = function() return {app:member("b"), app:member("a")} end,
  url = function() return "URL" end,
  handler = function(r) r.handler = "proxy:URL" return apache2.OK end,
  filename = function(r)
    r.handler, r.proxyreq, r.filename = "proxy-server", apache2.PROXYREQ_REVERSE, "proxy:URL" .. r.uri
    return apache2.OK
  end,
  nobody = function() return nil, "nobody" end,
  status = function() return 403 end,
}
function select(r)
  if not r.uri:find("%.php$") then return nil end
  r.subprocess_env["RAN"] = tostring((tonumber(r.subprocess_env["RAN"]) or 0) + 1)
  return ways[r.uri:match("^/(%a+)/")](r)
end
"#;

const WAYS: [&str; 9] = ["pool", "member", "view", "list", "url", "handler", "filename", "nobody", "status"];

fn with_source(mpm: Mpm, a: &Backend, b: &Backend) -> Builder {
    let builder = Httpd::builder()
        .mpm(mpm)
        .module("dir")
        .module("mime")
        .module("negotiation")
        .module("include")
        .config(&pool("app", &[(a, ""), (b, "")], ""))
        .config("TypesConfig /dev/null\nDirectoryIndex index.php\nLuaHookSelect select.lua")
        .config("<Directory />\nOptions +MultiViews +Includes\nAddType text/html .shtml .php\nRequire all granted\n</Directory>")
        .config("AddOutputFilter INCLUDES .shtml")
        .file("select.lua", &SELECT.replace("URL", &b.url()));
    WAYS.iter().fold(builder, |builder, way| {
        builder
            .file(&format!("htdocs/{way}/index.php"), SOURCE)
            .file(&format!("htdocs/{way}/page.php"), SOURCE)
            .file(&format!("htdocs/{way}/part.shtml"), "[<!--#include virtual=\"page.php\" -->]")
    })
}

/// The backend of a way's answer, and the status.
fn expected(way: &str) -> (u16, &'static [&'static str]) {
    match way {
        "pool" => (200, &["a", "b"]),
        "nobody" => (503, &[""]),
        "status" => (403, &[""]),
        _ => (200, &["b"]),
    }
}

on_every_mpm!(a_directorys_index_goes_where_the_script_says);

fn a_directorys_index_goes_where_the_script_says(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = with_source(mpm, &a, &b).start();
    for way in WAYS {
        let answer = httpd.client().get(&format!("/{way}/?q=1"));
        let (status, backends) = expected(way);
        assert!(!answer.text().contains("secret"), "{way}: {}", answer.text());
        assert_eq!(answer.status, status, "{way}");
        assert!(backends.contains(&answer.backend()), "{way}: {}", answer.backend());
        let path = if way == "url" || way == "member" { "/index.php?q=1" } else { "/index.php" };
        if status == 200 {
            let uri = answer.header("X-Uri").unwrap_or_default();
            assert!(
                uri.ends_with("?q=1") && uri.contains(path.split('?').next().unwrap_or("")),
                "{way}: {uri}"
            );
        }
    }
    httpd.assert_no_crash();
}

#[test]
fn a_negotiated_document_goes_where_the_script_says() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = with_source(Mpm::Event, &a, &b).start();
    for way in WAYS {
        let answer = httpd.client().get(&format!("/{way}/page?q=1"));
        let (status, backends) = expected(way);
        assert!(!answer.text().contains("secret"), "{way}: {}", answer.text());
        if way == "status" {
            assert!([403, 404].contains(&answer.status), "{way}: {}", answer.status);
            continue;
        }
        assert_eq!(answer.status, status, "{way}\n{}", httpd.error_log());
        assert!(backends.contains(&answer.backend()), "{way}: {}", answer.backend());
        if status == 200 {
            let uri = answer.header("X-Uri").unwrap_or_default();
            let plain = httpd.client().get(&format!("/{way}/page.php?q=1"));
            assert_eq!(Some(uri), plain.header("X-Uri"), "{way}");
        }
    }
}

#[test]
fn a_part_of_a_page_goes_where_the_script_says() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = with_source(Mpm::Event, &a, &b).start();
    for way in WAYS {
        let answer = httpd.client().get(&format!("/{way}/part.shtml"));
        assert_eq!(answer.status, 200, "{way}");
        let text = answer.text();
        assert!(!text.contains("secret"), "{way}: {text}");
        if expected(way).0 == 200 {
            assert!(text.contains("page.php"), "{way}: {text}");
            assert!(
                expected(way).1.iter().any(|name| text.starts_with(&format!("[{name} "))),
                "{way}: {text}"
            );
        }
    }
}

#[test]
fn redirects_inside_httpd_go_where_the_script_says() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = with_source(Mpm::Event, &a, &b)
        .config("<Location /fallback>\nFallbackResource /member/index.php\n</Location>")
        .config("<Location /missing>\nErrorDocument 404 /member/page.php\n</Location>")
        .config("<Directory />\nRewriteEngine on\nRewriteRule rewritten /member/page.php\n</Directory>")
        .start();
    for (path, status, file) in
        [("/fallback", 200, "index.php"), ("/missing", 200, "page.php"), ("/rewritten", 200, "page.php")]
    {
        let answer = httpd.client().get(path);
        assert!(!answer.text().contains("secret"), "{path}: {}", answer.text());
        assert_eq!((answer.status, answer.backend()), (status, "b"), "{path}\n{}", httpd.error_log());
        assert_eq!(answer.header("X-Uri"), Some(format!("/member/{file}").as_str()), "{path}");
    }
}

/// `SetHandler` is the reference: mod_dir takes its target over as well.
#[test]
fn an_index_is_asked_for_as_with_sethandler() {
    let [a, b] = Backend::named(["a", "b"]);
    let uri = |builder: Builder| {
        let httpd = builder.start();
        let answer = httpd.client().get("/pool/?q=%20a");
        (answer.status, answer.header("X-Uri").map(str::to_owned))
    };
    let by_script = uri(with_source(Mpm::Event, &a, &b));
    let by_handler = uri(with_source(Mpm::Event, &a, &b)
        .config("LuaHookSelect never.lua\n<FilesMatch \\.php$>\nSetHandler proxy:lb://app\n</FilesMatch>")
        .file("select.lua", "function select(r) return nil end")
        .file("never.lua", "function select(r) return nil end"));
    assert_eq!(by_script, by_handler);
    assert_eq!(by_script.0, 200);
}

#[test]
fn a_directory_that_the_script_decided_over_has_no_index() {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .module("dir")
        .config(&pool("app", &[(&backend, "")], ""))
        .config("DirectoryIndex index.html other.html\nLuaHookSelect select.lua")
        .config("<Directory />\nRequire all granted\n</Directory>")
        .file("htdocs/index.html", "from the disk")
        .file("htdocs/inner/index.html", "from the disk")
        .file("select.lua", "function select(r) return lb.pool('app') end")
        .start();
    for path in ["/", "/?q=1", "/inner/", "/inner", "/index.html"] {
        let answer = httpd.client().get(path);
        assert_eq!((answer.status, answer.backend()), (200, "a"), "{path}: {}", answer.text());
        assert_eq!(answer.header("X-Uri"), Some(path));
    }
    assert_eq!(backend.requests(), 5);
}

/// One sub-request's decision is not another one's.
#[test]
fn each_sub_request_keeps_its_own_decision() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .module("dir")
        .module("mime")
        .module("include")
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .config("TypesConfig /dev/null\nDirectoryIndex first.php second.php\nLuaHookSelect select.lua")
        .config("<Directory />\nOptions +Includes\nRequire all granted\nAddType text/html .shtml\n</Directory>")
        .config("AddOutputFilter INCLUDES .shtml")
        .file("htdocs/one/first.php", SOURCE)
        .file("htdocs/two/second.php", SOURCE)
        .file(
            "htdocs/all.shtml",
            &"<!--#include virtual=\"one/\" --><!--#include virtual=\"two/\" -->".repeat(20),
        )
        .file(
            "select.lua",
            "local app = lb.pool('app')\nfunction select(r)\n  if r.uri == '/one/first.php' then return app:member('a') end\n  \
             if r.uri == '/two/second.php' then return app:member('b') end\n  if r.uri:find('php$') then return 404 end\nend",
        )
        .start();
    let text = httpd.client().get("/all.shtml").text();
    assert_eq!(text, "a /one/first.php\nb /two/second.php\n".repeat(20));
    assert_eq!(httpd.client().get("/one/").backend(), "a");
    assert_eq!(httpd.client().get("/two/").backend(), "b");
}
