// SPDX-License-Identifier: Apache-2.0
//! Every way into a pool, and what a request carries on its way out.

use std::io::{Read, Write};

use server_tests::client::Request;
use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool};

fn with_pool(backend: &Backend) -> Builder {
    Httpd::builder().config(&pool("app", &[(backend, "")], ""))
}

fn uri_seen(httpd: &Httpd, target: &str) -> String {
    let response = httpd.client().get(target);
    assert_eq!((response.status, response.backend()), (200, "a"), "{target}");
    response.header("X-Uri").unwrap_or_default().to_owned()
}

#[test]
fn proxypass_maps_a_path_to_a_pool() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .config("ProxyPass /plain lb://app\nProxyPass /deep lb://app/base\nProxyPass /slash/ lb://app/")
        .start();
    assert_eq!(uri_seen(&httpd, "/plain/x%20y?q=1"), "/x%20y?q=1");
    assert_eq!(uri_seen(&httpd, "/deep/x"), "/base/x");
    assert_eq!(uri_seen(&httpd, "/slash/x"), "/x");
}

#[test]
fn proxypassmatch_rewriterule_and_sethandler_reach_a_pool() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .config("ProxyPassMatch ^/match/(.*)$ lb://app/$1")
        .config("RewriteEngine on\nRewriteRule ^/rewrite/(.*)$ lb://app/r/$1 [P]")
        .config("<Location /handler>\n  SetHandler \"proxy:lb://app\"\n</Location>")
        .start();
    assert_eq!(uri_seen(&httpd, "/match/x"), "/x");
    assert_eq!(uri_seen(&httpd, "/rewrite/x?q=1"), "/r/x?q=1");
    assert_eq!(uri_seen(&httpd, "/handler/x"), "/handler/x");
}

#[test]
fn a_rewriterule_of_a_location_reaches_a_pool() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .config(
            "<Location /rewrite/>\n  RewriteEngine on\n  RewriteRule .* lb://app/r/fixed [P]\n</Location>",
        )
        .start();
    assert_eq!(uri_seen(&httpd, "/rewrite/x?q=1"), "/r/fixed?q=1");
}

#[test]
fn a_rewritten_request_never_goes_to_the_host_it_names() {
    let [a, decoy] = Backend::named(["a", "decoy"]);
    let httpd = with_pool(&a)
        .config("UseCanonicalName Off\nRewriteEngine on\nRewriteRule ^/rewrite/(.*)$ lb://app/r/$1 [P]")
        .config("RewriteRule ^/(nowhere)/(.*)$ lb://$1/$2 [P]")
        .start();
    for path in [
        "/rewrite/x",
        "/nowhere/x",
        "/rewrite/http://y/lb://other/x?u=elb://z",
        "/rewrite/http://y/lb://app/x",
    ] {
        let request = Request::get(path).header("Host", &format!("127.0.0.1:{}", decoy.port()));
        let answer = httpd.client().send(&request);
        assert_ne!(answer.backend(), "decoy", "{path}");
    }
    assert_eq!((a.requests(), decoy.connections()), (3, 0));
}

#[test]
fn a_clients_path_and_host_choose_no_pool() {
    let [public, private] = Backend::named(["public", "private"]);
    let httpd = Httpd::builder()
        .config(&pool("private", &[(&private, "")], ""))
        .config("UseCanonicalName Off\nMergeSlashes Off\nRewriteEngine on\nRewriteRule ^/none$ /elsewhere")
        .config(&format!("ProxyPass /raw {0} nocanon\nProxyPass / {0}/", public.url()))
        .start();
    for path in ["/lb://private/x", "/raw/lb://private/x", "/a/lb://private/x"] {
        let request = Request::get(path).header("Host", &format!("127.0.0.1:{}", public.port()));
        assert_eq!(httpd.client().send(&request).backend(), "public", "{path}");
    }
    assert_eq!(private.connections(), 0);
}

#[test]
fn a_clients_path_behind_a_rule_for_another_backend_chooses_no_pool() {
    let [public, private] = Backend::named(["public", "private"]);
    let rule = format!(
        "RewriteRule ^/pub/(.*)$ {}/$1 [P]\nRewriteRule ^/q$ {0}/?%{{QUERY_STRING}} [P]",
        public.url()
    );
    let rule = rule.replace("{0}", &public.url());
    let httpd = Httpd::builder()
        .config(&pool("private", &[(&private, "")], ""))
        .config("UseCanonicalName Off\nMergeSlashes Off\nAllowEncodedSlashes On\nRewriteEngine on")
        .config(&rule)
        .start();
    for path in
        ["/pub/lb:%2F%2Fprivate/x", "/pub/lb://private/x", "/pub/%6Cb:%2f/private/x", "/q?/lb://private/x"]
    {
        let request = Request::get(path).header("Host", &format!("127.0.0.1:{}", public.port()));
        assert_ne!(httpd.client().send(&request).backend(), "private", "{path}");
    }
    assert_eq!(private.connections(), 0);
}

#[test]
fn a_directorys_index_may_lie_in_a_pool() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .module("dir")
        .config("ProxyPassMatch ^/(.*\\.php)$ lb://app/$1\nDirectoryIndex index.php")
        .config("<Directory />\n  Require all granted\n</Directory>")
        .start();
    assert_eq!(uri_seen(&httpd, "/index.php?q=1"), "/index.php?q=1");
    assert_eq!(uri_seen(&httpd, "/?q=1"), "/index.php?q=1");
}

#[test]
fn a_fallback_resource_may_lie_in_a_pool() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .module("dir")
        .config("ProxyPassMatch ^/(.*\\.php)$ lb://app/$1\nFallbackResource /front.php")
        .config("<Directory />\n  Require all granted\n</Directory>")
        .start();
    assert_eq!(uri_seen(&httpd, "/nowhere?q=1"), "/front.php?q=1");
}

/// mod_proxy leaves no note of the time with its 504 there.
#[test]
fn a_member_that_stops_reading_an_upload_is_out_of_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let config = format!(
        "<LuaBalancerPool app>\n  LuaBalancerMember http://127.0.0.1:{port} timeout=1\n</LuaBalancerPool>\nProxyPass /app lb://app"
    );
    let httpd = Httpd::builder().config(&config).start();
    // Nobody accepts: the system takes the connection, and as much as its buffers hold.
    let answer = httpd.client().send(&Request::post("/app/x", vec![b'x'; 20 << 20]));
    assert_eq!(answer.status, 504);
    assert_eq!(httpd.wait_for_access("/app/x").env["LB_REASON"], "timeout");
    drop(listener);
}

#[test]
fn a_select_hook_sends_the_path_encoded_whatever_proxypass_wanted() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .file("pick.lua", "function select(r) return lb.pool('app') end")
        .config("ProxyPass /app lb://app nocanon\nLuaHookSelect pick.lua select")
        .start();
    assert_eq!(uri_seen(&httpd, "/app/a%20b?y=1"), "/app/a%20b?y=1");
    assert_eq!(uri_seen(&httpd, "/app/a%3Fb"), "/app/a%3Fb");
}

#[test]
fn locations_of_paths_that_need_encoding_are_mapped() {
    let backend = Backend::new("a");
    backend.add_header("Location", &format!("{}/path/new", backend.url()));
    backend.add_header("Content-Location", &format!("{}/path/a%3Fb", backend.url()));
    backend.status(302);
    let httpd = with_pool(&backend).config("ProxyPass /app lb://app/path").start();
    let response = httpd.client().get("/app/a%20b");
    let location = response.header("Location").expect("a Location");
    assert!(location.ends_with("/app/new"), "{location}");
    let content = response.header("Content-Location").expect("a Content-Location");
    assert!(content.ends_with("/app/a%3Fb"), "{content}");
}

#[test]
fn a_members_path_comes_before_the_requests() {
    let backend = Backend::new("a");
    let config = format!(
        "<LuaBalancerPool app>\n  LuaBalancerMember {}/base\n</LuaBalancerPool>\nProxyPass /app lb://app",
        backend.url()
    );
    let httpd = Httpd::builder().config(&config).start();
    assert_eq!(uri_seen(&httpd, "/app/x"), "/base/x");
}

#[test]
fn an_unknown_pool_is_an_error_not_a_host() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .config("ProxyPassMatch ^/x/(localhost)(.*)$ lb://$1$2\nProxyPass /app lb://app")
        .start();
    let status = httpd.client().get("/x/localhost/").status;
    assert!((500..=503).contains(&status), "{status}");
    assert_eq!(httpd.client().get("/app/").status, 200);
}

on_every_mpm!(connections_are_reused);

fn connections_are_reused(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .mpm(mpm)
        .file("pick.lua", "function translate(r) return lb.pool('app'):round_robin() end")
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .config("ProxyPass /app lb://app")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>")
        .start();
    for path in ["/app/", "/script/"] {
        let before = a.connections() + b.connections();
        let mut client = httpd.client();
        client.shares(path, 200);
        let opened = a.connections() + b.connections() - before;
        assert!(opened <= 4, "{path}: 200 requests opened {opened} connections");
    }
    assert_eq!(a.requests() + b.requests(), 400);
}

#[test]
fn ad_hoc_targets_are_pooled_too() {
    let backend = Backend::new("a");
    let script = format!("function translate(r) return '{}' end", backend.url());
    let httpd = Httpd::builder().file("pick.lua", &script).config("LuaHookTranslate pick.lua").start();
    let mut client = httpd.client();
    assert_eq!(client.shares("/x", 100)["a"], 100);
    assert!(backend.connections() <= 2, "{} connections", backend.connections());
    assert_eq!(backend.last().expect("a request").uri, "/x");
}

#[test]
fn the_log_carries_pool_member_and_attempts() {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, ""), (&b, "")], "LuaBalancerMethod first"))
        .config("ProxyPass /app lb://app")
        .start();
    assert_eq!(httpd.client().get("/app/x").backend(), "b");
    let env = httpd.wait_for_access("/app/x").env;
    assert_eq!(env["LB_POOL"], "app");
    assert_eq!(env["LB_MEMBER"], "b");
    assert_eq!(env["LB_METHOD"], "first");
    assert_eq!(env["LB_ATTEMPTS"], "2");
    assert!(env["LB_SECONDS"].parse::<f64>().is_ok_and(|seconds| seconds < 10.0), "{env:?}");
}

#[test]
fn locations_that_name_a_member_come_back_as_the_fronts() {
    let backend = Backend::new("a");
    backend.add_header("Location", &format!("{}/there?x=1", backend.url()));
    backend.add_header("Content-Location", &format!("{}/here", backend.url()));
    backend.add_header("X-Other", &backend.url());
    backend.status(302);
    let httpd = with_pool(&backend)
        .config(&pool("raw", &[(&backend, "")], "LuaBalancerSet reverse=off"))
        .config("ProxyPass /app lb://app\nProxyPass /raw lb://raw")
        .start();
    let response = httpd.client().get("/app/x");
    let front = "http://localhost";
    let location = response.header("Location").expect("a Location");
    assert!(location.starts_with(front) || location.starts_with('/'), "{location}");
    assert!(location.ends_with("/app/there?x=1"), "{location}");
    let content = response.header("Content-Location").expect("a Content-Location");
    assert!(content.ends_with("/app/here"), "{content}");
    assert_eq!(response.header("X-Other"), Some(backend.url().as_str()));
    let raw = httpd.client().get("/raw/x");
    assert_eq!(raw.header("Location"), Some(format!("{}/there?x=1", backend.url()).as_str()));
}

#[test]
fn a_location_elsewhere_is_left_alone() {
    let backend = Backend::new("a");
    backend.add_header("Location", "https://example.org/there");
    backend.status(302);
    let httpd = with_pool(&backend).config("ProxyPass /app lb://app").start();
    assert_eq!(httpd.client().get("/app/x").header("Location"), Some("https://example.org/there"));
}

#[test]
fn websockets_pass_a_member_with_upgrade() {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&backend, "upgrade=websocket")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    let mut client = httpd.client();
    let upgrade = Request::get("/app/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(client.send(&upgrade).status, 101);
    let stream = client.stream();
    stream.get_mut().write_all(b"ping").expect("send through the tunnel");
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"ping");
}

#[test]
fn hooks_follow_virtual_hosts_and_locations() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let builder = Httpd::builder();
    let port = builder.port();
    let httpd = builder
        .file(
            "pick.lua",
            "function pool_a(r) return lb.pool('a') end\nfunction pool_b(r) return lb.pool('b') end",
        )
        .file("inner.lua", "function translate(r) return lb.pool('c') end")
        .config(
            &[pool("a", &[(&a, "")], ""), pool("b", &[(&b, "")], ""), pool("c", &[(&c, "")], "")].concat(),
        )
        .config("LuaHookTranslate pick.lua pool_a")
        .config(&format!("<VirtualHost 127.0.0.1:{port}>\nServerName one\n</VirtualHost>"))
        .config(&format!(
            "<VirtualHost 127.0.0.1:{port}>\nServerName two\nLuaHookTranslate pick.lua pool_b\n\
             <Location /inner>\nLuaHookTranslate inner.lua\n</Location>\n\
             <LocationMatch ^/match/[0-9]+$>\nLuaHookTranslate inner.lua\n</LocationMatch>\n</VirtualHost>"
        ))
        .start();
    let answers = |host: &str, path: &str| {
        httpd.client().send(&Request::get(path).header("Host", host)).backend().to_owned()
    };
    assert_eq!(answers("one", "/"), "a");
    assert_eq!(answers("two", "/"), "b");
    assert_eq!(answers("two", "/inner/x"), "c");
    assert_eq!(answers("two", "/match/12"), "c");
    assert_eq!(answers("two", "/match/x"), "b");
    assert_eq!(answers("one", "/inner/x"), "a");
}

#[test]
fn registered_functions_serve_hooks() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .file("pick.lua", "function chosen(r) return lb.pool('b') end")
        .config(&[pool("a", &[(&a, "")], ""), pool("b", &[(&b, "")], "")].concat())
        .config("LuaRegisterFunc inline function(r) if r.uri == \"/x\" then return nil end return lb.pool('a') end")
        .config("LuaRegisterFunc quoted \"function(r) return lb.pool('a') end\"")
        .config("LuaRegisterFunc filed pick.lua chosen")
        .config("<Location /inline>\nLuaHookTranslate inline\n</Location>")
        .config("<Location /quoted>\nLuaHookTranslate quoted\n</Location>")
        .config("<Location /filed>\nLuaHookTranslate filed\n</Location>")
        .start();
    let answers = |path: &str| httpd.client().get(path).backend().to_owned();
    assert_eq!([answers("/inline"), answers("/quoted"), answers("/filed")], ["a", "a", "b"]);
}

#[test]
fn a_file_can_be_the_functions_body() {
    let backend = Backend::new("a");
    let httpd = with_pool(&backend)
        .file("body.lua", "if r.uri == '/no' then return 404 end\nreturn lb.pool('app')")
        .config("LuaHookTranslate body.lua -")
        .start();
    assert_eq!(httpd.client().get("/yes").backend(), "a");
    assert_eq!(httpd.client().get("/no").status, 404);
}
