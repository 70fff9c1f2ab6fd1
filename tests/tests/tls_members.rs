// SPDX-License-Identifier: Apache-2.0
//! TLS to members: connections belong to the settings they were made under, and the settings come
//! from where they do for stock mod_proxy.

use std::path::Path;
use std::process::Command;

use server_tests::{Builder, Httpd, Mpm, Request, on_every_mpm};

/// Runs openssl in a folder.
fn openssl(folder: &Path, words: &str) {
    let made = Command::new("openssl").args(words.split(' ')).current_dir(folder).output();
    let made = made.expect("run openssl");
    assert!(made.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A key with a certificate that it signed itself: `NAME.key`, `NAME.crt`, and both in `NAME.pem`.
fn certificate(folder: &Path, name: &str) {
    certificate_for(folder, name, "DNS:localhost,IP:127.0.0.1");
}

/// The same, for other hosts.
fn certificate_for(folder: &Path, name: &str, hosts: &str) {
    openssl(
        folder,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} -keyout {name}.key \
             -out {name}.crt -addext subjectAltName={hosts}"
        ),
    );
    let both = ["crt", "key"].map(|end| std::fs::read(folder.join(format!("{name}.{end}"))).expect("read"));
    std::fs::write(folder.join(format!("{name}.pem")), both.concat()).expect("write");
}

fn with_tls() -> Builder {
    Httpd::builder().module("socache_shmcb").module("ssl")
}

/// An HTTPS server that tells whose certificate it saw, and which name it was asked for.
fn tls_backend() -> Httpd {
    tls_backend_of("DNS:localhost,IP:127.0.0.1")
}

/// The same, with a certificate for these hosts.
fn tls_backend_of(hosts: &str) -> Httpd {
    let builder = with_tls().stock();
    certificate_for(builder.dir(), "backend", hosts);
    builder
        .config("SSLEngine on\nSSLCertificateFile backend.crt\nSSLCertificateKeyFile backend.key")
        .config("SSLVerifyClient optional_no_ca\nSSLStrictSNIVHostCheck off")
        .config("Header always set X-Client \"expr=%{SSL_CLIENT_S_DN_CN}\"")
        .config("Header always set X-Sni \"expr=%{SSL_TLS_SNI}\"")
        .config("Header always set X-Port \"expr=%{REMOTE_PORT}\"\nRewriteEngine on\nRewriteRule ^ - [R=204]")
        .start()
}

/// Ways into one and the same backend, as lines of a virtual host. `TO` is its URL, `scripts.lua`
/// has a function for each.
const WAYS: [(&str, &str); 8] = [
    ("a pool", "ProxyPass / lb://t/"),
    ("a pool by handler", "<Location />\nSetHandler proxy:lb://t\n</Location>"),
    ("a pool by script", "LuaHookTranslate scripts.lua pool"),
    ("a member by a late script", "LuaHookSelect scripts.lua member"),
    ("a list by a late script", "LuaHookSelect scripts.lua list"),
    ("a URL", "LuaHookTranslate scripts.lua url"),
    ("a URL by a late script", "LuaHookSelect scripts.lua url"),
    ("a file name", "LuaHookTranslate scripts.lua filename"),
];

const SCRIPTS: &str = r#"
local t = lb.pool("t")
function pool(r) return t end
function member(r) return t:round_robin() end
function list(r) return {t:member("m")} end
function url(r) return "TO" end
function filename(r)
  r.handler, r.proxyreq, r.filename = "proxy-server", apache2.PROXYREQ_REVERSE, "proxy:TO" .. r.uri
  return apache2.OK
end
"#;

/// A server of one child, so that there is one set of connections, before a pool with this backend.
fn front(mpm: Mpm, to: &str) -> Builder {
    let builder = with_tls().mpm(mpm).children(1);
    for name in ["stranger", "ann", "bob"] {
        certificate(builder.dir(), name);
    }
    builder
        .file("scripts.lua", &SCRIPTS.replace("TO", to))
        .config(&format!(
            "<LuaBalancerPool t>\nLuaBalancerMember {to} name=m\nLuaBalancerOutlier off\n</LuaBalancerPool>"
        ))
        .config("SSLProxyEngine on\nSSLProxyCheckPeerName off")
}

fn host(port: u16, name: &str, lines: &str) -> String {
    format!("<VirtualHost *:{port}>\nServerName {name}\n{lines}\n</VirtualHost>")
}

/// Status, and whose certificate the backend saw.
fn ask(httpd: &Httpd, host: &str, path: &str) -> (u16, String) {
    let answer = httpd.client().send(&Request::get(path).header("Host", host));
    (answer.status, answer.header("X-Client").unwrap_or_default().to_owned())
}

fn url_of(backend: &Httpd) -> String {
    format!("https://127.0.0.1:{}", backend.port())
}

on_every_mpm!(a_connection_never_serves_hosts_with_other_tls_settings);

fn a_connection_never_serves_hosts_with_other_tls_settings(mpm: Mpm) {
    let backend = tls_backend();
    let to = url_of(&backend);
    for (way, line) in WAYS {
        let builder = front(mpm, &to);
        let port = builder.port();
        let httpd = builder
            .config(&host(port, "lax", &format!("SSLProxyVerify none\n{line}")))
            .config(&host(
                port,
                "strict",
                &format!("SSLProxyVerify require\nSSLProxyCACertificateFile stranger.crt\n{line}"),
            ))
            .config(&host(port, "ann", &format!("SSLProxyMachineCertificateFile ann.pem\n{line}")))
            .config(&host(port, "bob", &format!("SSLProxyMachineCertificateFile bob.pem\n{line}")))
            .start();
        for round in 1..=3 {
            for (host, shown) in [("lax", ""), ("ann", "ann"), ("lax", ""), ("bob", "bob"), ("ann", "ann")] {
                assert_eq!(ask(&httpd, host, "/x"), (204, shown.to_owned()), "{way}, {host}, round {round}");
            }
            let (status, _) = ask(&httpd, "strict", "/x");
            assert!([500, 502, 503].contains(&status), "{way}: {status} from a server nobody trusts");
        }
        httpd.assert_no_crash();
    }
}

/// Settings of a section for the URL, and for the pool. A plain worker is the reference for the
/// former.
#[test]
fn a_proxy_sections_settings_hold_for_the_member_of_that_url() {
    let backend = tls_backend();
    let to = url_of(&backend);
    let section = |url: &str| format!("<Proxy \"{url}\">\nSSLProxyMachineCertificateFile ann.pem\n</Proxy>");
    let plain = ("a plain worker", format!("ProxyPass / {to}/"));
    let ways = WAYS.map(|(way, line)| (way, line.to_owned()));
    for (way, line) in ways.iter().chain([&plain]) {
        let builder = front(Mpm::Event, &to);
        let port = builder.port();
        let httpd = builder
            .config(&host(port, "with", &format!("{}\n{line}", section(&to))))
            .config(&host(port, "elsewhere", &format!("{}\n{line}", section("https://127.0.0.1:9"))))
            .config(&host(port, "without", line))
            .start();
        for _ in 0..2 {
            for (host, shown) in [("with", "ann"), ("elsewhere", ""), ("without", "")] {
                assert_eq!(ask(&httpd, host, "/x"), (204, shown.to_owned()), "{way}, {host}");
            }
        }
    }
}

#[test]
fn a_pools_section_holds_for_its_members_and_a_members_own_counts_more() {
    let backend = tls_backend();
    let to = url_of(&backend);
    let ann = "SSLProxyMachineCertificateFile ann.pem";
    let bob = "SSLProxyMachineCertificateFile bob.pem";
    for (way, line) in WAYS {
        let of_pool = !way.contains("URL") && !way.contains("file name");
        let builder = front(Mpm::Event, &to);
        let port = builder.port();
        let httpd = builder
            .config(&host(port, "pool", &format!("<Proxy \"lb://t\">\n{ann}\n</Proxy>\n{line}")))
            .config(&host(
                port,
                "both",
                &format!("<Proxy \"{to}\">\n{bob}\n</Proxy>\n<Proxy \"lb://t\">\n{ann}\n</Proxy>\n{line}"),
            ))
            .config(&host(port, "all", &format!("<Proxy *>\n{ann}\n</Proxy>\n{line}")))
            .config(&host(
                port,
                "match",
                &format!("<ProxyMatch ^https://.*/y>\n{bob}\n</ProxyMatch>\n{line}"),
            ))
            .start();
        for _ in 0..2 {
            let pools = if of_pool { "ann" } else { "" };
            for (host, path, shown) in [
                ("pool", "/x", pools),
                ("both", "/x", "bob"),
                ("all", "/x", "ann"),
                ("match", "/x", ""),
                ("match", "/y", "bob"),
            ] {
                assert_eq!(ask(&httpd, host, path), (204, shown.to_owned()), "{way}, {host}{path}");
            }
        }
    }
}

/// A script's late decision leaves the settings of the target before it behind.
#[test]
fn a_late_decision_does_not_show_the_earlier_targets_certificate() {
    let backend = tls_backend();
    let to = url_of(&backend);
    let builder = front(Mpm::Event, &to);
    let port = builder.port();
    let httpd = builder
        .config(&host(
            port,
            "late",
            "<Proxy https://127.0.0.1:9>\nSSLProxyMachineCertificateFile ann.pem\n</Proxy>\n\
             ProxyPass / https://127.0.0.1:9/\nLuaHookSelect scripts.lua pool",
        ))
        .start();
    assert_eq!(ask(&httpd, "late", "/x"), (204, String::new()));
}

#[test]
fn settings_in_a_section_alone_are_enough() {
    let backend = tls_backend();
    let to = url_of(&backend);
    let builder = with_tls().children(1);
    let port = builder.port();
    let httpd = builder
        .config(&format!("<LuaBalancerPool t>\nLuaBalancerMember {to} name=m\n</LuaBalancerPool>"))
        .config(&host(
            port,
            "on",
            &format!("<Proxy \"{to}\">\nSSLProxyEngine on\nSSLProxyCheckPeerName off\n</Proxy>\nProxyPass / lb://t/"),
        ))
        .config(&host(port, "off", "ProxyPass / lb://t/"))
        .start();
    assert_eq!(ask(&httpd, "on", "/x").0, 204);
    assert_eq!(ask(&httpd, "off", "/x").0, 500);
    assert_eq!(ask(&httpd, "on", "/x").0, 204);
}

#[test]
fn connections_are_kept_for_hosts_with_the_same_settings() {
    let backend = tls_backend();
    let to = url_of(&backend);
    let builder = front(Mpm::Event, &to);
    let port = builder.port();
    let httpd = builder
        .config("ProxyPass / lb://t/")
        .config(&host(port, "one", ""))
        .config(&host(port, "two", "ServerAlias three"))
        .start();
    let mut ports = std::collections::BTreeSet::new();
    let mut client = httpd.client();
    for name in ["one", "two", "three"].repeat(4) {
        let answer = client.send(&Request::get("/x").header("Host", name));
        ports.insert(answer.header("X-Port").expect("X-Port").to_owned());
    }
    assert_eq!(ports.len(), 1, "{ports:?}");
}

/// With `ProxyPreserveHost` the client's host is the name that the backend is asked for, on its own
/// connection.
#[test]
fn the_name_asked_for_is_the_requests_host_where_that_is_preserved() {
    let backend = tls_backend();
    let to = url_of(&backend);
    for (way, line) in WAYS {
        let httpd = front(Mpm::Event, &to).config("ProxyPreserveHost On").config(line).start();
        let mut ports = std::collections::BTreeMap::<String, String>::new();
        for name in ["one.example", "two.example", "one.example", "two.example"] {
            let answer = httpd.client().send(&Request::get("/x").header("Host", name));
            assert_eq!((answer.status, answer.header("X-Sni")), (204, Some(name)), "{way}");
            let port = answer.header("X-Port").expect("X-Port").to_owned();
            let owner = ports.entry(port).or_insert_with(|| name.to_owned());
            assert_eq!(owner, name, "{way}: a connection for another name");
        }
    }
}

/// Peers of `ngx.balancer`: `/NAME/PORT` is that port of this machine, by that name; with `?wait`
/// also with times of their own.
const PEERS: &str = r#"
local balancer = require "ngx.balancer"
function peer(r)
  local name, port = r.uri:match("^/([%w.-]+)/(%d+)$")
  if r.args then balancer.set_timeouts(5, 5, 5) end
  balancer.set_upstream_tls(true)
  assert(balancer.set_current_peer("127.0.0.1", port, name ~= "-" and name or nil))
end
function named(r)
  balancer.set_upstream_tls(true)
  assert(balancer.set_current_peer("127.0.0.1", r.args, r.headers_in["X-Name"]))
end
"#;

on_every_mpm!(a_peers_name_is_asked_for_and_has_to_be_in_its_certificate);

fn a_peers_name_is_asked_for_and_has_to_be_in_its_certificate(mpm: Mpm) {
    let [one, two] = ["DNS:one.example", "DNS:two.example"].map(tls_backend_of);
    for lines in ["ProxyPreserveHost Off", "ProxyPreserveHost On"] {
        let builder = with_tls().mpm(mpm).children(1).file("peers.lua", PEERS);
        let trusted = [&one, &two].map(|backend| {
            std::fs::read_to_string(backend.dir().join("backend.crt")).expect("a certificate")
        });
        let httpd = builder
            .file("trusted.crt", &trusted.concat())
            .config("SSLProxyEngine on\nSSLProxyVerify require\nSSLProxyCACertificateFile trusted.crt")
            .config(&format!("SSLProxyCheckPeerName on\n{lines}\nLuaHookTranslate peers.lua peer"))
            .start();
        let ask = |name: &str, backend: &Httpd, query: &str| {
            let path = format!("/{name}/{}{query}", backend.port());
            let answer = httpd.client().send(&Request::get(&path).header("Host", "front.example"));
            (answer.status, answer.header("X-Sni").unwrap_or_default().to_owned())
        };
        for _ in 0..2 {
            for query in ["", "?wait"] {
                for (name, backend) in [("one.example", &one), ("two.example", &two)] {
                    let seen = ask(name, backend, query);
                    assert_eq!(seen, (204, name.to_owned()), "{lines}{query}\n{}", httpd.error_log());
                }
                // Neither over a connection that was kept for the right name, nor over a new one.
                for (name, backend) in [("two.example", &one), ("one.example", &two), ("-", &one)] {
                    let (status, _) = ask(name, backend, query);
                    assert!([500, 502, 503].contains(&status), "{lines}, {name}{query}: {status}");
                }
            }
        }
        httpd.assert_no_crash();
    }
}

/// A name that a script makes of a client's words leads to no connection of another, nor to other
/// keys.
#[test]
fn a_name_that_cannot_be_one_is_an_error_of_the_script() {
    let backend = tls_backend_of("DNS:one.example");
    let httpd = with_tls()
        .children(1)
        .file("peers.lua", PEERS)
        .config("SSLProxyEngine on\nSSLProxyCheckPeerName off\nLuaHookTranslate peers.lua named")
        .start();
    let ask = |name: &str| {
        let path = format!("/?{}", backend.port());
        let answer = httpd.client().send(&Request::get(&path).header("X-Name", name));
        (answer.status, answer.header("X-Sni").unwrap_or_default().to_owned())
    };
    assert_eq!(ask("one.example:80"), (204, "one.example".to_owned()), "{}", httpd.error_log());
    assert_eq!(ask("x_y.example"), (204, "x_y.example".to_owned()));
    for name in ["*.example", "one.example timeout=1", "a/b"] {
        assert_eq!(ask(name).0, 500, "{name}");
    }
    assert_eq!(ask("one.example"), (204, "one.example".to_owned()));
    httpd.assert_no_crash();
}

/// A peer with times of its own is subject to the same settings as one without.
#[test]
fn a_peer_with_times_of_its_own_never_crosses_tls_settings() {
    let backend = tls_backend();
    let builder = front(Mpm::Event, &url_of(&backend)).file("peers.lua", PEERS);
    let port = builder.port();
    let line = "LuaHookTranslate peers.lua peer";
    let httpd = builder
        .config(&host(port, "lax", &format!("SSLProxyVerify none\n{line}")))
        .config(&host(
            port,
            "strict",
            &format!("SSLProxyVerify require\nSSLProxyCACertificateFile stranger.crt\n{line}"),
        ))
        .config(&host(port, "ann", &format!("SSLProxyMachineCertificateFile ann.pem\n{line}")))
        .start();
    for name in ["-", "one.example"] {
        let path = format!("/{name}/{}?wait", backend.port());
        for (host, shown) in [("lax", ""), ("ann", "ann"), ("lax", ""), ("ann", "ann")] {
            assert_eq!(ask(&httpd, host, &path), (204, shown.to_owned()), "{host}");
        }
        let (status, _) = ask(&httpd, "strict", &path);
        assert!([500, 502, 503].contains(&status), "{status} from a server nobody trusts");
    }
}
