// SPDX-License-Identifier: Apache-2.0
//! Hostile requests: no host but the configured ones is ever reached, and the server goes on
//! serving.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use server_tests::client::raw_exchange;
use server_tests::{Backend, Httpd, Mpm, Request, Step, on_every_mpm, pool, wait_until};
use socket2::SockRef;

struct Stage {
    httpd: Httpd,
    app: Backend,
    decoy: Backend,
}

/// `/app` through ProxyPass, `/script` through a script that returns a member, `/text` through one
/// that returns an ad-hoc target, `/rewrite` through mod_rewrite. The decoy is configured nowhere.
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

/// Ways of a client to make a request fail, each with the bytes that it sends and what it does
/// then.
fn spoilt_requests() -> Vec<(&'static str, Vec<u8>, Leaving)> {
    let post = |headers: &str, body: &str| {
        format!("POST /app/x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    let get = |path: &str| format!("GET /app/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
    let chunks = chunk.repeat(10);
    vec![
        ("an expectation nobody knows", post("Expect: more\r\nContent-Length: 1", "x"), Leaving::Waits),
        ("a spoilt chunk", post("Transfer-Encoding: chunked", &format!("{chunks}zz\r\n")), Leaving::Waits),
        ("a body over the limit", post("Transfer-Encoding: chunked", &chunk.repeat(200)), Leaving::Waits),
        ("a body that stops", post("Content-Length: 500000", &"x".repeat(100_000)), Leaving::Waits),
        ("chunks that stop", post("Transfer-Encoding: chunked", &chunks), Leaving::Waits),
        ("a body cut off", post("Content-Length: 500000", &"x".repeat(100_000)), Leaving::Closes),
        ("a body reset", post("Content-Length: 500000", &"x".repeat(100_000)), Leaving::Resets),
        ("chunks cut off", post("Transfer-Encoding: chunked", &chunks), Leaving::Closes),
        ("an answer not waited for", get("x"), Leaving::Closes),
        ("an answer reset", get("x"), Leaving::Resets),
        ("an upgrade to nothing", get("x\r\nConnection: Upgrade\r\nUpgrade: none"), Leaving::Closes),
    ]
}

/// A client's behaviour after it has sent its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    Waits,
    Closes,
    Resets,
}

fn spoil(port: u16, bytes: &[u8], leaving: Leaving) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let _ = stream.write_all(bytes);
    match leaving {
        Leaving::Waits => drop(stream.read_to_end(&mut Vec::new())),
        Leaving::Closes => {}
        Leaving::Resets => SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER"),
    }
}

fn no_client_gets_a_member_ejected(spoilt: &[(&str, Vec<u8>, Leaving)]) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    for member in [&a, &b, &c] {
        member.slow(Duration::from_millis(50));
    }
    let lines =
        "LuaBalancerOutlier on failures=1 ejection=10m max_percent=100 count=connect,reset,timeout,5xx";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, ""), (&c, "")], lines))
        .config("ProxyPass /app lb://app\nTimeout 1\nKeepAliveTimeout 1")
        .config("<Location /app>\n  LimitRequestBody 1000000\n</Location>")
        .start();
    for (what, bytes, leaving) in spoilt {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| spoil(httpd.port(), bytes, *leaving));
            }
        });
        wait_until("nothing in flight", Duration::from_secs(10), || httpd.inflight("app") == 0);
        for (name, member) in httpd.members("app") {
            assert_eq!(member.state, "up", "{name} after {what}");
        }
    }
    assert_eq!(httpd.client().shares("/app/", 12).len(), 3);
    httpd.assert_no_crash();
}

#[test]
fn no_spoilt_request_gets_a_member_ejected() {
    no_client_gets_a_member_ejected(&spoilt_requests());
}

#[test]
fn an_encoding_that_nobody_knows_gets_no_member_ejected() {
    let request =
        "POST /app/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    no_client_gets_a_member_ejected(&[("the request", request.as_bytes().to_vec(), Leaving::Waits)]);
}

/// Twenty megabytes, more than all buffers on the way hold.
fn long_answer() -> [Step; 2] {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n";
    [Step::send(head), Step::Repeat("b".repeat(10_000), 2_000)]
}

#[test]
fn no_client_that_leaves_inside_an_answer_gets_a_member_ejected() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines =
        "LuaBalancerOutlier on failures=1 ejection=10m max_percent=100 count=connect,reset,timeout,5xx";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], lines))
        .config("ProxyPass /app lb://app\nTimeout 1")
        .start();
    for leaving in [Leaving::Waits, Leaving::Closes, Leaving::Resets] {
        a.play(long_answer());
        b.play(long_answer());
        let streams: Vec<TcpStream> = (0..4)
            .map(|_| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
                stream.write_all(b"GET /app/x HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("send");
                stream.read_exact(&mut [0; 1000]).expect("the beginning of the answer");
                stream
            })
            .collect();
        match leaving {
            // Reads no more, until httpd has lost its patience.
            Leaving::Waits => {
                wait_until("the end of patience", Duration::from_secs(10), || httpd.inflight("app") == 0);
            }
            Leaving::Closes => drop(streams),
            Leaving::Resets => {
                for stream in &streams {
                    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
                }
                drop(streams);
            }
        }
        wait_until("nothing in flight", Duration::from_secs(10), || httpd.inflight("app") == 0);
        for (name, member) in httpd.members("app") {
            assert_eq!(member.state, "up", "{name} after a client that {leaving:?}");
        }
    }
    httpd.assert_no_crash();
}

/// The key of `/KEY/METHOD` requests is the header X-Key.
const HASHES: [&str; 5] =
    ["consistent_hash", "maglev", "rendezvous", "hash", "consistent_hash balance_factor=1.25"];

#[test]
fn no_key_is_too_odd_for_a_hash_method_and_a_flood_of_them_costs_nothing_lasting() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let mut builder = Httpd::builder().with_member_states();
    for (nth, method) in HASHES.iter().enumerate() {
        let line = format!("LuaBalancerMethod {method} key=\"%{{HTTP:X-Key}}\"");
        builder = builder
            .config(&pool(&format!("p{nth}"), &[(&a, ""), (&b, ""), (&c, "")], &line))
            .config(&format!("ProxyPass /{nth} lb://p{nth}"));
    }
    let httpd = builder.start();
    // Zero bytes of key, all one byte, as long as httpd takes, and pairs that differ late.
    let long = "k".repeat(8000);
    let keys = [
        "",
        " ",
        "%s%n",
        "\u{e9}\u{fffd}",
        "a,b;c=d",
        "0",
        "plumless",
        "buckeroo",
        long.as_str(),
        &long[..7999],
    ];
    for (nth, method) in HASHES.iter().enumerate() {
        for key in keys {
            let ask = || httpd.client().send(&Request::get(&format!("/{nth}/")).header("X-Key", key));
            let first = ask();
            assert_eq!(first.status, 200, "{}: {key:?}", method);
            // Without a key there is nothing to hash: any member will do.
            assert!(key.trim().is_empty() || ask().backend() == first.backend(), "{}: {key:?}", method);
        }
        // These two have one CRC-32: the methods that use it may send them to one member, and do no
        // worse.
        let mut client = httpd.client();
        for n in 0..200 {
            let key = format!("{}{n:0>64}", if n % 2 == 0 { "plumless" } else { "buckeroo" });
            assert_eq!(client.send(&Request::get(&format!("/{nth}/")).header("X-Key", &key)).status, 200);
        }
    }
    for nth in 0..HASHES.len() {
        assert_eq!(httpd.inflight(&format!("p{nth}")), 0);
    }
    httpd.assert_no_crash();
}

#[test]
fn a_flood_of_keys_neither_fills_a_dictionary_nor_slows_a_script() {
    let a = Backend::new("a");
    let script = "function translate(r)\n\
                  local seen = lb.dict('seen')\n\
                  local args = r:parseargs()\n\
                  for name in pairs(args) do assert(seen:incr(name, 1, 0)) end\n\
                  for name, value in pairs(r.headers_in) do assert(seen:set(name, value, 60)) end\n\
                  assert(seen:incr('requests', 1, 0))\n\
                  return lb.pool('app')\n\
                  end";
    let httpd = Httpd::builder()
        .file("pick.lua", script)
        .config("LuaBalancerDict seen 64K\nLimitRequestFields 200")
        .config(&pool("app", &[(&a, "")], ""))
        .config("<Location /app>\n  LuaHookTranslate pick.lua\n</Location>")
        .start();
    let mut client = httpd.client();
    for round in 0..30 {
        // Names of one length that differ in few bytes, the usual shape of a collision attack, and
        // then other ones.
        let names: String = (0..700)
            .map(|n| format!("{}k{:03x}={n}&", if n % 2 == 0 { "AaAa" } else { "BBBB" }, n + round))
            .collect();
        let mut request = Request::get(&format!("/app/?{}", &names[..7000]));
        for n in 0..150 {
            request = request.header(&format!("X-{round}-{n}"), "v");
        }
        assert_eq!(client.send(&request).status, 200, "round {round}");
    }
    assert_eq!(httpd.count_log("lua_balancer:error"), 0);
    httpd.assert_no_crash();
}

#[test]
fn a_forged_session_of_any_size_is_no_session() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerMethod first\nLuaBalancerSticky cookie=LB param=sid";
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, ""), (&b, "route=r2 status=+D"), (&c, "route=r3 weight=0")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    let over_long = [94, 95, 96, 97, 255, 256, 1000, 7900].map(|length| "r".repeat(length));
    let forged = over_long
        .iter()
        .flat_map(|route| [format!("LB=.{route}"), format!("LB=x.{route}"), format!("LB={route}")]);
    let unusable = ["LB=.r2", "LB=.R3", "LB=.r3.", "LB=.r3\u{0}", "LB=.r22", "LB=.c"];
    for cookie in forged.chain(unusable.map(str::to_owned)) {
        let response =
            httpd.client().send(&Request::get("/app/").header("Cookie", &cookie.replace('\0', "%00")));
        assert_eq!((response.status, response.backend()), (200, "a"), "{cookie}");
        assert_eq!(response.headers.all("Set-Cookie"), ["LB=.a; Path=/; HttpOnly; SameSite=Lax"], "{cookie}");
    }
    // A member of weight 0 keeps its sessions, and the right route is found behind many wrong ones
    // of any length.
    let mine = httpd
        .client()
        .send(&Request::get("/app/").header("Cookie", &format!("LB=.{}; LB=.r3", over_long[6])));
    assert_eq!((mine.backend(), mine.headers.all("Set-Cookie").len()), ("c", 0));
    for route in &over_long {
        let response = httpd.client().get(&format!("/app/;sid=x.{}", &route[..route.len().min(7000)]));
        assert_eq!(response.status, 200);
    }
    httpd.assert_no_crash();
}
