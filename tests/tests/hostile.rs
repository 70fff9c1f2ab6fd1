//! Hostile requests: no host but the configured ones is ever reached, and the server goes on serving.

use std::time::Duration;

use server_tests::client::raw_exchange;
use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool};

struct Stage {
    httpd: Httpd,
    app: Backend,
    decoy: Backend,
}

/// `/app` through ProxyPass, `/script` through a script that returns a member, `/text` through one that returns
/// an ad-hoc target, `/rewrite` through mod_rewrite. The decoy is configured nowhere.
fn stage(mpm: Mpm) -> Stage {
    let (app, decoy) = (Backend::new("app"), Backend::new("decoy"));
    let script = format!(
        "function member(r) return lb.pool('app'):pick(r) end\n\
         function text(r) return '{}' end",
        app.url()
    );
    let httpd = Httpd::builder()
        .mpm(mpm)
        .file("pick.lua", &script)
        .config(&pool("app", &[(&app, "")], ""))
        .config("ProxyPass /app lb://app\nProxyPass /slash/ lb://app/")
        .config("RewriteEngine on\nRewriteRule ^/rewrite(.*)$ lb://app$1 [P]")
        .config("<Location /script>\n  LuaHookTranslate pick.lua member\n</Location>")
        .config("<Location /text>\n  LuaHookTranslate pick.lua text\n</Location>")
        .start();
    Stage { httpd, app, decoy }
}

fn hostile_requests(decoy: u16) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for entrance in ["/app", "/slash", "/script", "/text", "/rewrite"] {
        let tails = [
            format!("@127.0.0.1:{decoy}/"),
            format!("/@127.0.0.1:{decoy}/"),
            format!(":x@127.0.0.1:{decoy}/"),
            format!("//127.0.0.1:{decoy}/"),
            format!("/http://127.0.0.1:{decoy}/"),
            format!("?@127.0.0.1:{decoy}/"),
            format!("#@127.0.0.1:{decoy}/"),
            format!("%23@127.0.0.1:{decoy}/"),
            format!("%40127.0.0.1:{decoy}/"),
            format!("\\@127.0.0.1:{decoy}/"),
            format!("/..//127.0.0.1:{decoy}/"),
            format!(".127.0.0.1:{decoy}/"),
            format!(":{decoy}/"),
            "/a%2Fb".to_owned(),
            "/a%00b".to_owned(),
            "%00".to_owned(),
            "/../../etc/passwd".to_owned(),
            "/%2e%2e/%2e%2e/etc/passwd".to_owned(),
            "/..%2f..%2fetc/passwd".to_owned(),
            "/%".to_owned(),
            "/%zz".to_owned(),
            "/\u{fc}\u{20ac}".to_owned(),
            "/%0d%0aX-Injected:%20yes".to_owned(),
            "/%ff%fe".to_owned(),
            format!("/{}", "x".repeat(7 * 1024)),
            format!("/{}", "%41".repeat(2300)),
            format!("/?{}", "a=b&".repeat(1700)),
        ];
        for tail in tails {
            let target = format!("{entrance}{tail}");
            requests.push(
                format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes(),
            );
        }
        for host in ["", "a b", "127.0.0.1:99999", "@", "x/y", "%00", "[::1", "a\u{0}b", &"h".repeat(5000)] {
            requests.push(
                format!("GET {entrance}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes(),
            );
        }
        requests.push(format!("GET {entrance}/ HTTP/1.1\r\nConnection: close\r\n\r\n").into_bytes());
        requests.push(format!("GET {entrance}/\r\n\r\n").into_bytes());
        requests
            .push(format!("BREW {entrance}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes());
        for target in
            [format!("http://127.0.0.1:{decoy}{entrance}/"), format!("ftp://127.0.0.1:{decoy}{entrance}/")]
        {
            requests.push(
                format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{decoy}\r\nConnection: close\r\n\r\n")
                    .into_bytes(),
            );
        }
    }
    for target in
        [format!("http://127.0.0.1:{decoy}/"), format!("lb://127.0.0.1:{decoy}/"), "lb://app/x".to_owned()]
    {
        requests.push(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes());
    }
    requests.push(
        format!("CONNECT 127.0.0.1:{decoy} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").into_bytes(),
    );
    requests.push(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec());
    requests.push(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n".to_vec());
    requests
}

on_every_mpm!(no_hostile_request_leaves_the_configured_hosts);

fn no_hostile_request_leaves_the_configured_hosts(mpm: Mpm) {
    let stage = stage(mpm);
    for request in hostile_requests(stage.decoy.port()) {
        let shown = String::from_utf8_lossy(&request).chars().take(120).collect::<String>();
        let answer =
            raw_exchange(stage.httpd.port(), &request, Duration::from_secs(10)).expect("an exchange");
        assert!(!answer.is_empty(), "no answer to {shown:?}");
        assert!(!String::from_utf8_lossy(&answer).contains("X-Injected: yes"), "injected by {shown:?}");
        assert_eq!(stage.decoy.connections(), 0, "the decoy was reached by {shown:?}");
    }
    for entrance in ["/app/", "/slash/", "/script/", "/text/", "/rewrite/"] {
        assert_eq!(stage.httpd.client().get(entrance).backend(), "app", "{entrance}");
    }
    for request in stage.app.recorded() {
        assert!(request.uri.starts_with('/') || request.uri == "*", "{:?}", request.uri);
        assert!(request.headers.get("X-Injected").is_none());
    }
    stage.httpd.assert_no_crash();
}

#[test]
fn a_script_sees_odd_bytes_without_harm() {
    let app = Backend::new("app");
    let script = "function translate(r)\n\
                  local all = r.uri .. (r.args or '') .. (r.hostname or '') .. r.unparsed_uri .. r.the_request\n\
                  for k, v in pairs(r.headers_in) do all = all .. k .. v end\n\
                  r:info(all) r:err(all)\n\
                  r:getcookie(all) r:parseargs()\n\
                  return lb.pool('app') end";
    let httpd = Httpd::builder()
        .file("pick.lua", script)
        .config(&pool("app", &[(&app, "")], ""))
        .config("LuaHookTranslate pick.lua")
        .start();
    let targets = ["/%25n%25s%25n", "/%ff%fe?%00=%ff&&=&a", "/%1b[31m", "/x?a=1&a=2&b"];
    for target in targets {
        assert_eq!(httpd.client().get(target).status, 200, "{target}");
    }
    let odd = b"GET /x HTTP/1.1\r\nHost: localhost\r\nCookie: a=\xff\xfe; b\r\nX-Odd: \xff%n%s\r\nConnection: close\r\n\r\n";
    let answer = raw_exchange(httpd.port(), odd, Duration::from_secs(10)).expect("an exchange");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    httpd.assert_no_crash();
}
