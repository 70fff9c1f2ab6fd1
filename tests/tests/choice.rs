// SPDX-License-Identifier: Apache-2.0
//! A client never chooses a pool: it is reached only where configuration or script wrote `lb://`
//! itself.

use server_tests::{Backend, Builder, Httpd, Request, pool};

/// A pool that nobody outside may reach, and a public backend whose name and port clients may send
/// as their Host.
fn stage(public: &Backend, private: &Backend) -> Builder {
    Httpd::builder()
        .config(&pool("secret", &[(private, "")], ""))
        .config("UseCanonicalName Off\nMergeSlashes Off\nAllowEncodedSlashes On\nRewriteEngine on")
        .config("RewriteMap unescape int:unescape\nRewriteMap words txt:words")
        .file("words", "key lb://secret/p\n")
        .config(&format!("# {}", public.url()))
}

/// Requests that bring `lb://secret/p` along in every way that a rule may use.
fn attacks(path: &str, host: &str) -> Vec<Request> {
    // Requests to the server itself end.
    let to = |target: &str| Request::get(target).header("Host", host).header("Max-Forwards", "2");
    let plain = || to(path);
    vec![
        plain().header("X-Path", "lb://secret/p"),
        plain().header("X-Path", "LB://secret/p"),
        plain().header("X-Path", "/lb://secret/p"),
        plain().header("X-Path", "y/lb://secret/p"),
        plain().header("X-Path", "lb%3A%2F%2Fsecret%2Fp"),
        plain().header("X-Path", "lb%253A%252F%252Fsecret%252Fp"),
        plain().header("X-Path", "lb:/").header("X-More", "/secret/p"),
        plain().header("X-Path", "key"),
        plain().header("Cookie", "path=lb://secret/p"),
        to(&format!("{path}?lb://secret/p")),
        to(&format!("{path}/lb://secret/p")),
        to(&format!("{path}/lb:%2f%2fsecret%2fp")),
        to(&format!("{path}/lb:/%2fsecret/p")),
    ]
}

/// Substitutions for a rule with one group that holds the rest of the path. `PUB` is the public
/// backend.
const TARGETS: [&str; 14] = [
    "http://PUB/%{HTTP:X-Path}",
    "http://PUB/%{HTTP:X-Path}%{HTTP:X-More}",
    "http://PUB/%{HTTP_COOKIE}",
    "http://PUB/%1",
    "http://PUB/%{QUERY_STRING}",
    "http://PUB/$1",
    "http://PUB$1",
    "http://PUB/${unescape:%{HTTP:X-Path}}",
    "http://PUB/${unescape:${unescape:%{HTTP:X-Path}}}",
    "http://PUB/${words:%{HTTP:X-Path}}",
    "%{REQUEST_SCHEME}://%{HTTP_HOST}/%{HTTP:X-Path}",
    "/%{HTTP:X-Path}",
    "%{HTTP:X-Path}",
    "${words:%{HTTP:X-Path}}",
];

fn assert_never_private(builder: Builder, private: &Backend, public: &Backend, path: &str, what: &str) {
    let httpd = builder.start();
    let host = format!("127.0.0.1:{}", public.port());
    let own = format!("127.0.0.1:{}", httpd.port());
    for host in [host, own] {
        for request in attacks(path, &host) {
            let answer = httpd.client().send(&request);
            assert_ne!(answer.backend(), "private", "{what}: {request:?}");
        }
    }
    assert_eq!(private.connections(), 0, "{what}");
}

/// Also where another rule sends to that very pool, from a place that others do not reach.
#[test]
fn no_word_of_a_client_in_a_rule_of_the_server_is_a_pool() {
    let [public, private] = Backend::named(["public", "private"]);
    for own_rule in ["", "RewriteRule ^/inner/(.*)$ lb://secret/$1 [P]"] {
        for target in TARGETS {
            let target = target.replace("PUB", &format!("127.0.0.1:{}", public.port()));
            let builder = stage(&public, &private)
                .config("<Location /inner>\nRequire all denied\n</Location>")
                .config(own_rule)
                .config(&format!(
                    "RewriteCond %{{HTTP_COOKIE}} ^(?:path=(.*))?$\nRewriteRule ^/x/?(.*)$ \"{target}\" [P]"
                ));
            assert_never_private(builder, &private, &public, "/x", &format!("{own_rule} {target}"));
        }
    }
}

#[test]
fn no_word_of_a_client_in_a_rule_of_a_section_is_a_pool() {
    let [public, private] = Backend::named(["public", "private"]);
    for target in TARGETS {
        let target = target.replace("PUB", &format!("127.0.0.1:{}", public.port()));
        let rules = format!(
            "RewriteEngine on\nRewriteRule ^never/(.*)$ lb://secret/$1 [P]\n\
             RewriteCond %{{HTTP_COOKIE}} ^(?:path=(.*))?$\nRewriteRule ^/?(?:x/)?(.*)$ \"{target}\" [P]"
        );
        let open = "<Directory />\nAllowOverride All\nRequire all granted\n</Directory>";
        let section =
            stage(&public, &private).config(open).config(&format!("<Location /x>\n{rules}\n</Location>"));
        assert_never_private(section, &private, &public, "/x", &format!("Location {target}"));
        let override_file = stage(&public, &private).config(open).file("htdocs/x/.htaccess", &rules);
        assert_never_private(override_file, &private, &public, "/x", &format!(".htaccess {target}"));
        // The rule to the pool stands around the one that a client fills in.
        let (outer, inner) = rules.split_once("RewriteCond").expect("two rules");
        let inherited = stage(&public, &private).config(open).file("htdocs/.htaccess", outer).file(
            "htdocs/x/.htaccess",
            &format!("RewriteEngine on\nRewriteOptions Inherit\nRewriteCond{inner}"),
        );
        assert_never_private(inherited, &private, &public, "/x", &format!("inherited {target}"));
    }
}

/// A text that a client may fill in as a whole reaches `balancer://` in stock httpd; here a line
/// has to write `lb://` itself.
#[test]
fn no_word_of_a_client_in_a_proxy_pass_is_a_pool() {
    for line in [
        "ProxyPassMatch ^/x/?(.*)$ $1",
        "ProxyPassMatch ^/x/?(.*)$ $1 nocanon",
        "ProxyPassMatch ^/x/(..)/(.*)$ $1://$2",
        "ProxyPassMatch ^/x/.(.*)$ l$1",
        "<LocationMatch ^/x/(..)/(.*)$>\nProxyPassMatch $1://$2\n</LocationMatch>",
        "ProxyPassInterpolateEnv On\nSetEnvIf X-Path (.*) TARGET=$1\nProxyPass /x ${TARGET} interpolate",
        "<Location /x>\nSetHandler \"proxy:%{HTTP:X-Path}\"\n</Location>",
        "<Location /x>\nSetHandler \"%{HTTP:X-Handler}\"\n</Location>",
        "<Directory />\nAllowOverride FileInfo\n</Directory>",
    ] {
        let [public, private] = Backend::named(["public", "private"]);
        let handler = "SetHandler \"proxy:%{HTTP:X-Path}\"";
        // Newer httpds refuse most of these by themselves.
        let test = stage(&public, &private).config(line).configtest();
        if !test.ok {
            assert!(
                test.says("ProxyPass (URL must be absolute|Unable to parse URL)"),
                "{line}: {}",
                test.output
            );
            continue;
        }
        let builder = stage(&public, &private).config(line);
        let httpd = builder
            .file("htdocs/x/.htaccess", if line.contains("AllowOverride") { handler } else { "" })
            .config("ProxyPass /own lb://secret/\nProxyPassMatch ^/which/(secret)/(.*)$ lb://$1/$2")
            .config("<Directory />\nRequire all granted\n</Directory>")
            .config("<Location /named>\nSetHandler \"proxy:lb://secret\"\n</Location>")
            .config("<Location /looked>\nSetHandler \"proxy:lb://%{HTTP:X-Pool}\"\n</Location>")
            .start();
        let host = format!("127.0.0.1:{}", httpd.port());
        let mut requests = attacks("/x", &host);
        requests.push(Request::get("/x/LB://secret/p"));
        requests.push(Request::get("/x/lb/secret/p"));
        requests.push(Request::get("/x/lb://secret"));
        requests.push(Request::get("/x/y").header("X-Path", "lb://secret"));
        requests.push(Request::get("/x/y").header("X-Handler", "proxy:lb://secret"));
        for request in requests {
            let answer = httpd.client().send(&request);
            assert!(answer.status >= 400, "{line}: {request:?}: {answer:?}");
        }
        assert_eq!(private.connections(), 0, "{line}");
        let refusals = httpd.count_log("refused: a client.s words may have become the target by");
        assert!(refusals > 0, "{line}: {}", httpd.error_log());
        for path in ["/own/y", "/which/secret/y", "/named/y", "/looked/y"] {
            let request = Request::get(path).header("X-Pool", "secret");
            assert_eq!(httpd.client().send(&request).backend(), "private", "{line}: {path}");
        }
    }
}

/// Beside rules that a client may fill in, rules to pools go on working for all hosts but that of
/// the other rule's target.
#[test]
fn rules_that_name_a_pool_work_beside_others() {
    let [public, private] = Backend::named(["public", "private"]);
    let open = "<Directory />\nAllowOverride All\nRequire all granted\n</Directory>";
    let httpd = stage(&public, &private)
        .config(open)
        .config(&format!("RewriteRule ^/pub/(.*)$ {}/$1 [P]", public.url()))
        .config("RewriteRule ^/via/(.*)$ http://%{HTTP_HOST}:1/$1 [P]")
        .config("RewriteRule ^/rule/(.*)$ lb://secret/$1 [P]\nRewriteRule ^/map/(.*)$ lb://${words:name|secret}/$1 [P,NE]")
        .config("<Location /section>\nRewriteEngine on\nRewriteRule ([^/]*)$ \"lb://secret/$1\" \"[NC, proxy]\"\n</Location>")
        .file("htdocs/file/.htaccess", "RewriteEngine on\nRewriteRule ^(.*)$ lb://secret/$1 [P]")
        .start();
    for host in ["localhost", "www.example", &format!("127.0.0.1:{}", httpd.port())] {
        for path in ["/rule/x", "/map/x", "/section/x", "/file/x"] {
            let answer = httpd.client().send(&Request::get(path).header("Host", host));
            assert_eq!(
                (answer.status, answer.backend()),
                (200, "private"),
                "{host} {path}\n{}",
                httpd.error_log()
            );
            assert_eq!(answer.header("X-Uri"), Some("/x"), "{host} {path}");
        }
    }
    assert_eq!(httpd.client().get("/pub/x").backend(), "public");
    let host = format!("127.0.0.1:{}", public.port());
    assert_eq!(httpd.client().send(&Request::get("/rule/x").header("Host", &host)).status, 403);
    assert!(httpd.error_log().contains("refused: mod_rewrite's target"), "{}", httpd.error_log());
}

/// A translate hook of another module, before mod_rewrite, that proxies to the host that the client
/// names.
#[test]
fn another_modules_target_is_no_rules() {
    let [public, private] = Backend::named(["public", "private"]);
    let hook = "function early(r)\n  if not r.uri:find('^/x') then return apache2.DECLINED end\n  r.handler = 'proxy-server'\n  \
                r.proxyreq = 2\n  r.filename = 'proxy:URL' .. r.uri:sub(3)\n  return apache2.OK\nend";
    let builder = stage(&public, &private).module("lua");
    let script = builder.dir().join("early.lua").display().to_string();
    let httpd = builder
        .file("early.lua", &hook.replace("URL", &public.url()))
        .config(&format!("LuaHookTranslateName {script} early early"))
        .config("RewriteRule ^/inner/(.*)$ lb://secret/$1 [P]")
        .start();
    let host = format!("127.0.0.1:{}", public.port());
    for path in ["/x/lb://secret/p", "/x/lb:%2f%2fsecret/p"] {
        let answer = httpd.client().send(&Request::get(path).header("Host", &host));
        assert_eq!(answer.backend(), "public", "{path}: {}\n{}", answer.status, httpd.error_log());
    }
    assert_eq!(httpd.client().get("/inner/x").backend(), "private");
}

/// Without mod_rewrite its directive stays unknown.
#[test]
fn a_rule_without_mod_rewrite_is_refused() {
    let test = Httpd::builder().without("rewrite").config("RewriteRule ^/x lb://app/ [P]").configtest();
    test.assert_error_at("RewriteRule", &["Invalid command 'RewriteRule'"]);
}

/// Asks a forward proxy. The target of the request line is not a path.
fn through(httpd: &Httpd, target: &str) -> (u16, String) {
    let bytes = format!("GET {target} HTTP/1.1\r\nHost: secret\r\nConnection: close\r\n\r\n");
    match httpd.client().try_send_raw(bytes.as_bytes()) {
        Ok(answer) => (answer.status, answer.backend().to_owned()),
        Err(error) => panic!("{target}: {error:?}"),
    }
}

#[test]
fn a_forward_proxy_reaches_a_pool_only_where_a_section_grants_it() {
    let [a, other] = Backend::named(["a", "other"]);
    for (section, status) in [
        ("", 403),
        ("<Proxy *>\nRequire all granted\n</Proxy>", 403),
        ("<Proxy \"lb://secret\">\n</Proxy>", 403),
        ("<Proxy \"lb://secret\">\nProxyPreserveHost On\n</Proxy>", 403),
        ("<Proxy \"lb://secre\">\nRequire all granted\n</Proxy>", 403),
        ("<Proxy \"lb://other\">\nRequire all granted\n</Proxy>", 403),
        ("<Proxy \"http://\">\nRequire all granted\n</Proxy>", 403),
        ("<Proxy \"lb://secret\">\nRequire all denied\n</Proxy>", 403),
        ("<Proxy \"lb://secret\">\nRequire all granted\n</Proxy>", 200),
        ("<Proxy \"lb://secret/\">\nRequire ip 127.0.0.1\n</Proxy>", 200),
        ("<Proxy \"lb://*\">\nRequire all granted\n</Proxy>", 200),
        ("<ProxyMatch \"^lb://sec.*\">\nRequire all granted\n</ProxyMatch>", 200),
    ] {
        let httpd = Httpd::builder()
            .config(&pool("secret", &[(&a, "")], ""))
            .config(&pool("other", &[(&other, "")], ""))
            .config(&pool("secre", &[(&other, "")], ""))
            .config(&format!("ProxyRequests On\n{section}\nProxyPass /app lb://secret"))
            .start();
        let backend = if status == 200 { "a" } else { "" };
        assert_eq!(through(&httpd, "lb://secret/x"), (status, backend.to_owned()), "{section}");
        let upper = through(&httpd, "LB://secret/x");
        assert!(upper.1.is_empty() || status == 200, "{section}: {upper:?}");
        if !section.contains("denied") {
            assert_eq!(httpd.client().get("/app/x").backend(), "a", "{section}: the way that is configured");
        }
        let plain = format!("{}/x", a.url());
        assert_eq!(through(&httpd, &plain), (200, "a".to_owned()), "{section}: a name without a pool");
    }
}
