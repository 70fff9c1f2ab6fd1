// SPDX-License-Identifier: Apache-2.0
//! After the response: `LuaHookFinish` and the environment of a request.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use server_tests::httpd::Builder;
use server_tests::message::body_hash;
use server_tests::{Backend, Httpd, Mpm, Request, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// Writes what it got into the error log, one line a request.
const FINISH: &str = r#"
function finish(r, result)
  local member = result.member
  r:notice(("finish %s member=%s status=%d attempts=%d timed=%s bytes=%d error=%s env=%s/%s"):format(
    r.unparsed_uri, member and member.name or "none", result.status, result.attempts,
    tostring(type(result.seconds) == "number" and result.seconds >= 0), result.bytes, tostring(result.error),
    tostring(r.subprocess_env["LB_MEMBER"]), tostring(r.subprocess_env["LB_REASON"])))
end
function broken(r, result) error("broken on purpose") end
function endless(r, result) while true do end end
function hungry(r, result) local s = "x" while true do s = s .. s end end
function marked(r, result) r:notice("marked " .. r.uri) end
"#;

fn finishing() -> Builder {
    Httpd::builder().file("finish.lua", FINISH).config("LuaHookFinish finish.lua")
}

/// The line of one request, from `member=` on, without its end.
fn finished(httpd: &Httpd, path: &str) -> String {
    let line = httpd.wait_for_log(&format!("finish {} ", regex_of(path)));
    line.split_once(" member=").expect("a result").1.to_owned()
}

fn regex_of(path: &str) -> String {
    path.replace('?', "\\?")
}

on_every_mpm!(the_hook_gets_what_became_of_the_request);

fn the_hook_gets_what_became_of_the_request(mpm: Mpm) {
    let [a, b, dead] = Backend::named(["a", "b", "dead"]);
    dead.refuse();
    let failing = "LuaBalancerMethod first\nLuaBalancerOutlier off\nLuaBalancerSet retries=1";
    let httpd = finishing()
        .mpm(mpm)
        .config(&pool("one", &[(&a, "")], ""))
        .config(&pool("two", &[(&dead, ""), (&b, "")], failing))
        .config(&pool("gone", &[(&dead, "")], failing))
        .config(&pool("off", &[(&a, "status=+D")], ""))
        .config("ProxyPass /one lb://one\nProxyPass /two lb://two\nProxyPass /gone lb://gone\nProxyPass /off lb://off")
        .start();
    let length = httpd.client().get("/one/x").body.len();
    let want = format!("a status=200 attempts=1 timed=true bytes={length} error=nil env=a/ok");
    assert_eq!(finished(&httpd, "/one/x"), want);
    let length = httpd.client().get("/two/x").body.len();
    let want = format!("b status=200 attempts=2 timed=true bytes={length} error=nil env=b/ok");
    assert_eq!(finished(&httpd, "/two/x"), want);
    for (path, start, end) in [
        ("/gone/x", "dead status=503 attempts=1 timed=true bytes=", " error=connect env=dead/connect"),
        ("/off/x", "none status=503 attempts=0 timed=true bytes=", " error=no member env=nil/no member"),
    ] {
        let length = httpd.client().get(path).body.len();
        assert_eq!(finished(&httpd, path), format!("{start}{length}{end}"));
    }
    b.status(500);
    httpd.client().get("/two/y");
    assert!(finished(&httpd, "/two/y").ends_with(" error=status env=b/status"));
    assert_eq!(httpd.count_log("finish "), 5, "once for each request");
    httpd.assert_no_crash();
}

#[test]
fn bytes_are_those_of_the_body() {
    let a = Backend::new("a");
    let big: String = "0123456789abcdef".repeat(1 << 19);
    let httpd = finishing()
        .file("htdocs/big", &big)
        .config(&pool("app", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    // The server is its own backend for what is big.
    let own = format!(
        "<LuaBalancerPool own>\n  LuaBalancerMember http://127.0.0.1:{}\n</LuaBalancerPool>",
        httpd.port()
    );
    let front = finishing().config(&own).config("ProxyPass /own lb://own").start();
    for path in ["/own/big", "/own/big?again"] {
        let response = front.client().get(path);
        assert_eq!(body_hash(&response.body), body_hash(big.as_bytes()));
        let line = finished(&front, path);
        assert!(line.contains(&format!(" bytes={} error=nil ", big.len())), "{line}");
    }
    front.client().send(&Request::new("HEAD", "/own/big?head"));
    let line = finished(&front, "/own/big?head");
    assert!(line.contains(" status=200 ") && line.contains(" error=nil "), "{line}");
    a.chunked();
    let length = httpd.client().get("/app/chunked").body.len();
    assert!(finished(&httpd, "/app/chunked").contains(&format!(" bytes={length} error=nil ")));
}

on_every_mpm!(a_client_that_goes_away_is_told);

fn a_client_that_goes_away_is_told(mpm: Mpm) {
    let big: String = "0123456789abcdef".repeat(1 << 20);
    let back = Httpd::builder().stock().file("htdocs/big", &big).start();
    let own = format!(
        "<LuaBalancerPool own>\n  LuaBalancerMember http://127.0.0.1:{}\n</LuaBalancerPool>",
        back.port()
    );
    let front =
        finishing().mpm(mpm).config(&own).config("ProxyPass /own lb://own\nSendBufferSize 4096").start();
    let mut stream = TcpStream::connect(("127.0.0.1", front.port())).expect("a connection");
    stream.write_all(b"GET /own/big HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request is sent");
    let mut first = [0; 16];
    std::io::Read::read_exact(&mut stream, &mut first).expect("the answer begins");
    assert_eq!(&first[..12], b"HTTP/1.1 200");
    stream.shutdown(Shutdown::Both).expect("the client goes");
    drop(stream);
    let line = finished(&front, "/own/big");
    assert!(line.contains(" status=200 attempts=1 ") && line.contains(" error=aborted "), "{line}");
}

const BAD: &str = "function translate(r) if r.uri:find('^/bad') then error('bad on purpose') end end";

#[test]
fn a_script_that_failed_is_told() {
    let a = Backend::new("a");
    let httpd = finishing()
        .file("bad.lua", BAD)
        .config(&pool("app", &[(&a, "")], ""))
        .config("LuaHookTranslate bad.lua")
        .config("<Location /bad/pool>\n  LuaBalancerOnError pool:app\n</Location>")
        .config("<Location /bad/decline>\n  LuaBalancerOnError decline\n</Location>")
        .config("ProxyPass /bad/decline lb://app")
        .start();
    assert_eq!(httpd.client().get("/bad/error").status, 500);
    let line = finished(&httpd, "/bad/error");
    assert!(line.starts_with("none status=500 attempts=0 timed=true bytes="), "{line}");
    assert!(line.ends_with(" error=script env=nil/script"), "{line}");
    for path in ["/bad/pool", "/bad/decline"] {
        assert_eq!(httpd.client().get(path).backend(), "a", "{path}");
        let line = finished(&httpd, path);
        assert!(
            line.starts_with("a status=200 attempts=1 ") && line.contains(" error=nil "),
            "{path}: {line}"
        );
    }
}

#[test]
fn a_hook_that_fails_or_never_ends_harms_nothing() {
    let a = Backend::new("a");
    let hook = |name: &str| format!("<Location /{name}>\n  LuaHookFinish finish.lua {name}\n</Location>\n");
    let httpd = Httpd::builder()
        .file("finish.lua", FINISH)
        .config("LuaHookFinish finish.lua marked\nLuaBalancerScriptLimit time=50ms memory=4M")
        .config(&pool("app", &[(&a, "")], ""))
        .config(&["broken", "endless", "hungry"].map(hook).concat())
        .config("ProxyPass / lb://app/")
        .start();
    let mut client = httpd.client();
    for _ in 0..6 {
        for path in ["/broken", "/endless", "/hungry", "/marked"] {
            let response = client.get(path);
            assert_eq!((response.status, response.text()), (200, format!("a {path}\n")));
        }
    }
    for what in [
        "finish.lua.*broken on purpose",
        "LuaHookFinish failed.*(50 ?ms|time)",
        "LuaHookFinish failed.*memory",
    ] {
        httpd.wait_for_log_lines(what, 6);
    }
    httpd.wait_for_log_lines("marked /marked", 6);
    httpd.assert_no_crash();
}

#[test]
fn the_innermost_place_with_a_hook_counts_and_others_pay_nothing() {
    let a = Backend::new("a");
    let builder = Httpd::builder();
    let port = builder.port();
    let httpd = builder
        .file("finish.lua", FINISH)
        .file("htdocs/page", "page\n")
        .config(&pool("app", &[(&a, "")], ""))
        .config(&format!(
            "<VirtualHost *:{port}>\n  ProxyPass /app lb://app\n</VirtualHost>\n<VirtualHost *:{port}>\n  ServerName two\n  \
             LuaHookFinish finish.lua\n  ProxyPass /app lb://app\n  <Location /app/inner>\n    \
             LuaHookFinish finish.lua marked\n  </Location>\n</VirtualHost>"
        ))
        .start();
    for (host, path) in [("one", "/app/one"), ("two", "/app/two"), ("two", "/app/inner/x"), ("two", "/page")]
    {
        assert_eq!(httpd.client().send(&Request::get(path).header("Host", host)).status, 200, "{path}");
    }
    httpd.wait_for_log("marked /app/inner/x");
    httpd.wait_for_log("finish /app/two ");
    for path in ["/app/one", "/page", "/app/inner"] {
        assert_eq!(httpd.count_log(&format!("finish {path}")), 0, "{path}");
    }
    assert_eq!(httpd.count_log("marked "), 1);
}

#[test]
fn the_log_sees_the_environment_however_the_request_ended() {
    let [a, b, dead, dead2] = Backend::named(["a", "b", "dead", "dead2"]);
    dead.refuse();
    dead2.refuse();
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier off\nLuaBalancerSet retries=1";
    let httpd = Httpd::builder()
        .file("htdocs/sorry.html", "sorry\n")
        .file("t.lua", &format!("function translate(r) if r.uri == '/adhoc' then return '{}' end end", b.url()))
        .config(&pool("app", &[(&dead, ""), (&a, "")], lines))
        .config(&pool("gone", &[(&dead, ""), (&dead2, "")], lines))
        .config(&pool("off", &[(&a, "status=+D")], "LuaBalancerMethod random"))
        .config(&pool("held", &[(&a, ""), (&b, "")], "LuaBalancerSticky cookie=LB"))
        .config("LuaHookTranslate t.lua")
        .config("ProxyPass /app lb://app\nProxyPass /gone lb://gone\nProxyPass /off lb://off\nProxyPass /held lb://held")
        .config("ProxyPass /page lb://gone")
        .config("<Location /page>\n  ErrorDocument 503 /sorry.html\n</Location>")
        .start();
    for (path, status, pool, member, method, attempts, reason) in [
        ("/app/x", 200, "app", "a", "first", "2", "ok"),
        ("/gone/x", 503, "gone", "dead2", "first", "2", "connect"),
        ("/off/x", 503, "off", "-", "random", "0", "no member"),
        ("/held/x", 200, "held", "b", "sticky", "1", "ok"),
        ("/page/x", 503, "gone", "dead2", "first", "2", "connect"),
        ("/adhoc", 200, "-", b.url().as_str(), "-", "1", "ok"),
    ] {
        assert_eq!(
            httpd.client().send(&Request::get(path).header("Cookie", "LB=.b")).status,
            status,
            "{path}"
        );
        let line = httpd.wait_for_access(path);
        let env = |name: &str| line.env[name].clone();
        let found = ["LB_POOL", "LB_MEMBER", "LB_METHOD", "LB_ATTEMPTS", "LB_REASON"].map(env);
        assert_eq!(found, [pool, member, method, attempts, reason].map(str::to_owned), "{path}");
        let seconds: f64 = line.env["LB_SECONDS"].parse().expect("seconds");
        assert!((0.0..20.0).contains(&seconds), "{path}: {seconds}");
    }
    assert_eq!(httpd.client().get("/sorry.html").text(), "sorry\n");
    wait_until("a line without an environment", SOON, || {
        httpd.wait_for_access("/sorry.html").env["LB_POOL"] == "-"
    });
}
