// SPDX-License-Identifier: Apache-2.0
//! A script's questions to the request have the same answers here as in mod_lua, beside it in one
//! server.

use server_tests::{Backend, Httpd, Request, Response, pool};

/// Writes what each call gives, one line each.
const SCRIPT: &str = r#"
local function shown(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, part in pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. shown(part) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local texts = {"a b/c?d", "a%20b%2Fc+d", "100%", "%zz", "a%0", "%00x", "%41", "a\nb\"c\\d\te\1\127\195\169", "a b:c", "a:b/c", "/x:y?#", ""}

local function calls(r)
  for _, text in ipairs(texts) do
    r:puts("unescape ", shown(r:unescape(text)), "\n")
    r:puts("logitem ", shown(r:escape_logitem(text)), "\n")
    r:puts("path ", shown(r:os_escape_path(text, true)), " ", shown(r:os_escape_path(text, false)), "\n")
    r:puts("escape ", shown(r:escape(text)), " ", shown(r:escape_html(text)), "\n")
  end
  for _, pattern in ipairs{"(a)(z)?(b)?", "(z)|(a)", "(x)?", "([a-z]+)([0-9]*)", "(q)"} do
    r:puts(pattern, " ", shown(r:regex("abc12", pattern)), "\n")
  end
end

function page(r)
  r.content_type = "text/plain"
  if r.method == "POST" then
    r:puts(shown((r:parsebody())), "\n")
  else
    calls(r)
    r:puts(shown((r:parseargs())), "\n")
  end
  return apache2.DONE
end
"#;

fn server() -> Httpd {
    let builder = Httpd::builder().file("page.lua", SCRIPT).module("lua");
    let script = builder.dir().join("page.lua").display().to_string();
    builder
        .config("<Location /own>\n  LuaHookSelect page.lua page\n</Location>")
        .config(&format!("<Location /theirs>\n  LuaHookFixups {script} page\n</Location>"))
        .config("<Location />\n  Require all granted\n</Location>")
        .start()
}

fn both(httpd: &Httpd, request: impl Fn(&str) -> Request) -> [String; 2] {
    ["/own", "/theirs"].map(|place| {
        let answer: Response = httpd.client().send(&request(place));
        assert_eq!(answer.status, 200, "{place}: {}", answer.text());
        answer.text()
    })
}

#[test]
fn texts_patterns_and_queries_say_what_they_say_in_mod_lua() {
    let httpd = server();
    for query in ["", "?", "?a", "?debug&x=1", "?=", "?&&a=&b==c", "?a=%20b&c"] {
        let [own, theirs] = both(&httpd, |place| Request::get(&format!("{place}{query}")));
        assert_eq!(own, theirs, "{query}");
    }
}

#[test]
fn a_body_is_the_form_that_it_is_in_mod_lua() {
    let httpd = server();
    let form = "application/x-www-form-urlencoded";
    let parts = "--B\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nhello\r\n--B\r\n\
        Content-Disposition: form-data; name=\"r\"\r\n\r\nz\r\n--B--\r\n";
    for (kind, body) in [
        (form, "a=1&b=%20x+y&d=%41"),
        (form, "a=1&alone&b=2"),
        ("application/json", "{\"a\": \"b=c&d=e\"}"),
        ("text/plain", "a=1"),
        ("multipart/form-data; boundary=B", parts),
    ] {
        let [own, theirs] = both(&httpd, |place| Request::post(place, body).header("Content-Type", kind));
        assert_eq!(own, theirs, "{kind}: {body}");
    }
}

/// `lb://` that comes out of a variable or a map, by every way into a rule, and the Host that the
/// rest of the target would go to.
#[test]
fn a_target_whose_scheme_no_rule_says_reaches_neither_pool_nor_host() {
    let [member, decoy] = Backend::named(["member", "decoy"]);
    let rules = "UseCanonicalName Off\nRewriteEngine on\nRewriteMap m txt:words\n\
        SetEnvIf Request_URI ^/ TO=lb://app\n\
        RewriteRule ^/env/(.*)$ %{ENV:TO}/$1 [P]\n\
        RewriteRule ^/map/(.*)$ ${m:whole}$1 [P]\n\
        RewriteRule ^/default/(.*)$ ${m:none|lb://app/}$1 [P]\n\
        RewriteRule ^/header/(.*)$ %{HTTP:X-To}/$1 [P]\n\
        <Location /section>\nRewriteEngine on\nRewriteRule .* %{ENV:TO}/x [P]\n</Location>";
    let httpd = Httpd::builder()
        .module("setenvif")
        .file("words", "whole lb://app/\n")
        .config(&pool("app", &[(&member, "")], ""))
        .config("<Location />\n  Require all granted\n</Location>")
        .config(rules)
        .start();
    for path in ["/env/x", "/map/x", "/default/x", "/header/x", "/section/x"] {
        let host = format!("127.0.0.1:{}", decoy.port());
        let request = Request::get(path).header("Host", &host).header("X-To", "lb://app");
        assert_eq!(httpd.client().send(&request).status, 403, "{path}");
    }
    assert_eq!((member.connections(), decoy.connections()), (0, 0));
    let words = "lb:// came out of a variable, a map or the request in the rule to .%.ENV:TO./x.: expected lb:// in the rule";
    httpd.wait_for_log(words);
}
