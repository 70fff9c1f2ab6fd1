// SPDX-License-Identifier: Apache-2.0
//! Ways into a pool that other modules' directives open: configtest tells those that lead nowhere,
//! or that say what would do nothing.

use server_tests::httpd::ConfigTest;
use server_tests::{Backend, Builder, Httpd};

const POOL: &str = "<LuaBalancerPool app>\nLuaBalancerMember http://127.0.0.1:9\n</LuaBalancerPool>";

fn beside_pool(line: &str) -> ConfigTest {
    Httpd::builder().module("proxy_balancer").module("slotmem_shm").config(POOL).config(line).configtest()
}

fn assert_refused(lines: &[(&str, &str, &[&str])]) {
    for (config, culprit, patterns) in lines {
        beside_pool(config).assert_error_at(culprit, patterns);
    }
}

fn assert_taken(lines: &[&str]) {
    for line in lines {
        let test = beside_pool(line);
        assert!(test.ok, "{line}: {}", test.output);
    }
}

#[test]
fn a_way_to_a_pool_that_nobody_defines_is_refused() {
    assert_refused(&[
        ("ProxyPass /x/ lb://nix/", "lb://nix", &["pool nix", "LuaBalancerPool nix", "app"]),
        ("ProxyPass /x lb://ap", "lb://ap", &["did you mean app"]),
        ("ProxyPassMatch ^(/x.*)$ lb://nix$1", "lb://nix", &["pool nix"]),
        ("<Location /x>\nProxyPass lb://nix\n</Location>", "ProxyPass lb", &["pool nix"]),
        ("RewriteEngine on\nRewriteRule ^/x(.*) lb://nix/$1 [P]", "lb://nix", &["RewriteRule", "pool nix"]),
        ("<FilesMatch x>\nSetHandler \"proxy:lb://nix\"\n</FilesMatch>", "SetHandler", &["pool nix"]),
        ("ProxyPassReverse /x lb://nix/", "ProxyPassReverse", &["pool nix"]),
        ("<Proxy \"lb://nix\">\nRequire all granted\n</Proxy>", "<Proxy", &["pool nix"]),
        ("<VirtualHost *>\nProxyPass / lb://nix/\n</VirtualHost>", "lb://nix", &["pool nix"]),
        ("<IfModule mod_proxy.c>\nProxyPass /x lb://nix\n</IfModule>", "lb://nix", &["pool nix"]),
    ]);
    assert_taken(&[
        "ProxyPass /x lb://APP",
        "ProxyPassMatch ^/(app|api)/ lb://$1/",
        "RewriteEngine on\nRewriteRule ^/x lb://%{HTTP_HOST}/ [P]",
        "<Proxy \"lb://*\">\nRequire all granted\n</Proxy>",
    ]);
    let script = "lb.define_pool('made', { { host = '127.0.0.1', port = 9 } })\nfunction translate(r) end";
    let made = Httpd::builder()
        .file("made.lua", script)
        .config("LuaHookTranslate made.lua\nProxyPass /made lb://made")
        .configtest();
    assert!(made.ok, "{}", made.output);
}

#[test]
fn a_fallback_that_is_no_pool_is_refused_with_its_line() {
    assert_refused(&[
        ("LuaBalancerOnError pool:nix", "LuaBalancerOnError", &["there is no pool of that name"]),
        ("<Location /x>\nLuaBalancerOnError pool:nix\n</Location>", "LuaBalancerOnError", &["no pool"]),
        ("<VirtualHost *>\nLuaBalancerOnError pool:nix\n</VirtualHost>", "LuaBalancerOnError", &["no pool"]),
    ]);
    assert_taken(&["LuaBalancerOnError pool:App"]);
}

#[test]
fn parameters_that_reach_no_member_are_refused() {
    assert_refused(&[
        (
            "ProxyPass /x lb://app timeout=1 upgrade=websocket",
            "ProxyPass",
            &["timeout=1", "LuaBalancerMember"],
        ),
        ("ProxyPass /x lb://app stickysession=A", "ProxyPass", &["stickysession= at LuaBalancerSet"]),
        (
            "<Location /x>\nProxyPass lb://app retry=0\n</Location>",
            "ProxyPass lb",
            &["retry= at the LuaBalancerMember"],
        ),
        ("ProxyPassMatch ^/x lb://app/ ping=1", "ProxyPassMatch", &["ping=1"]),
        (
            "<Proxy \"lb://app\">\nProxySet timeout=1\n</Proxy>",
            "ProxySet",
            &["timeout= at the LuaBalancerMember"],
        ),
        ("<Proxy \"lb://app\">\nProxySet lbmethod=bybusyness\n</Proxy>", "ProxySet", &["LuaBalancerSet"]),
        (
            "<Proxy \"lb://app\">\nBalancerMember http://127.0.0.1:10\n</Proxy>",
            "BalancerMember http://127.0.0.1:10",
            &["LuaBalancerMember"],
        ),
    ]);
    assert_taken(&[
        "ProxyPass /x lb://app nocanon\nProxyPass /y lb://app mapping=encoded",
        "<Proxy \"lb://app\">\nRequire all granted\n</Proxy>",
        "ProxyPass /x http://127.0.0.1:9 timeout=1",
        "<Proxy \"balancer://app\">\nBalancerMember http://127.0.0.1:9\nProxySet timeout=1\n</Proxy>",
    ]);
}

#[test]
fn a_missing_slash_gets_a_hint() {
    let backend = Backend::new("a");
    // Stock httpd takes such a line, and serves nothing but the path itself.
    let stock = Httpd::builder()
        .stock()
        .module("slotmem_shm")
        .module("proxy_balancer")
        .module("lbmethod_byrequests")
        .config(&format!("<Proxy balancer://m>\nBalancerMember {}\n</Proxy>", backend.url()))
        .config("ProxyPass / balancer://m")
        .start();
    let statuses: Vec<u16> = ["/x", "/x/y"].iter().map(|path| stock.client().get(path).status).collect();
    assert!(statuses.iter().all(|status| *status >= 500), "{statuses:?}");
    assert_refused(&[
        ("ProxyPass / lb://app", "ProxyPass", &["lb://app/"]),
        ("ProxyPass /x/ \"lb://app\"", "ProxyPass", &["slash", "lb://app/"]),
        ("<Location /x/>\nProxyPass lb://app\n</Location>", "ProxyPass lb", &["lb://app/"]),
    ]);
    assert_taken(&[
        "ProxyPass /x lb://app",
        "ProxyPass / lb://app/",
        "<Location /x>\nProxyPass lb://app\n</Location>",
    ]);
}

fn pool_of(member: &str, lines: &str) -> Builder {
    let text = format!("<LuaBalancerPool app>\nLuaBalancerMember {member}\n{lines}\n</LuaBalancerPool>");
    Httpd::builder().config(&text)
}

#[test]
fn a_member_that_no_module_speaks_to_is_refused() {
    for (url, module) in [
        ("ajp://127.0.0.1:9", "mod_proxy_ajp"),
        ("fcgi://127.0.0.1:9", "mod_proxy_fcgi"),
        ("scgi://127.0.0.1:9", "mod_proxy_scgi"),
        ("uwsgi://127.0.0.1:9", "mod_proxy_uwsgi"),
        ("h2c://127.0.0.1:9", "mod_proxy_http2"),
        ("unix:/run/x|fcgi:", "mod_proxy_fcgi"),
    ] {
        pool_of(url, "").configtest().assert_error_at(url, &[module, "a2enmod proxy_"]);
        let name = module.trim_start_matches("mod_");
        let with = pool_of(url, "").module("http2").module(name).configtest();
        assert!(with.ok, "{url}: {}", with.output);
    }
    for url in ["http://127.0.0.1:9", "ws://127.0.0.1:9"] {
        pool_of(url, "").without("proxy_http").configtest().assert_error_at(url, &["mod_proxy_http"]);
        let with = pool_of(url, "").configtest();
        assert!(with.ok, "{url}: {}", with.output);
    }
    for url in ["https://127.0.0.1:9", "wss://127.0.0.1:9"] {
        pool_of(url, "").configtest().assert_error_at(url, &["TLS", "mod_ssl"]);
        let with = pool_of(url, "").module("socache_shmcb").module("ssl").configtest();
        assert!(with.ok, "{url}: {}", with.output);
    }
}

#[test]
fn a_check_that_could_only_fail_is_refused() {
    for (url, check, instead) in [
        ("https://127.0.0.1:9", "http", "LuaBalancerHealthCheck https"),
        ("http://127.0.0.1:9", "https", "LuaBalancerHealthCheck http,"),
        ("ajp://127.0.0.1:9", "http", "LuaBalancerHealthCheck tcp"),
    ] {
        let config =
            |line: &str| pool_of(url, line).module("socache_shmcb").module("ssl").module("proxy_ajp");
        let line = format!("LuaBalancerHealthCheck {check}");
        config(&line).configtest().assert_error_at(url, &[instead, "port="]);
        let own_port = config(&format!("{line} port=8")).configtest();
        assert!(own_port.ok, "{}", own_port.output);
    }
    let script = "lb.define_pool('made', { health = { type = 'http' }, { url = 'https://127.0.0.1:9' } })\n\
                  function translate(r) end";
    let made = Httpd::builder().file("made.lua", script).config("LuaHookTranslate made.lua").configtest();
    assert!(!made.ok && made.says(r"made\.lua:1.*LuaBalancerHealthCheck https"), "{}", made.output);
}

#[test]
fn a_wrong_limit_names_its_key() {
    for (line, key) in [
        ("LuaBalancerScriptLimit time=fast", "time=.*fast"),
        ("LuaBalancerScriptLimit memory=lots", "memory=.*lots"),
        ("LuaBalancerDict sessions lots", "size of sessions.*lots"),
    ] {
        beside_pool(line).assert_error_at(line, &[key]);
    }
}
