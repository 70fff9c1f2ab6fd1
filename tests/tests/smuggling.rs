// SPDX-License-Identifier: Apache-2.0
//! One request in front is one request behind, and no value of a script becomes a header of its
//! own.

use std::collections::BTreeMap;
use std::time::Duration;

use server_tests::backend::Recorded;
use server_tests::client::{count, raw_exchange};
use server_tests::{Backend, Httpd, Request, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn stage(mpm: server_tests::Mpm, a: &Backend) -> Httpd {
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .file("pick.lua", "function translate(r) return lb.pool('app'):pick(r) end")
        .config(&pool("app", &[(a, "timeout=3")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app\n<Location /script>\n  LuaHookTranslate pick.lua\n</Location>\nTimeout 3")
        .start()
}

/// Requests whose end is a matter of opinion, each with another one behind it that nobody may have
/// asked for.
fn shapes(path: &str) -> Vec<(&'static str, String)> {
    let inner = format!("GET {path}/inner HTTP/1.1\r\nHost: x\r\nX-Inner: yes\r\n\r\n");
    let length = inner.len();
    let chunked = format!("0\r\n\r\n{inner}");
    let whole = format!("{length:x}\r\n{inner}\r\n0\r\n\r\n");
    let post = |headers: &str, body: &str| {
        format!("POST {path}/outer HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}")
    };
    let both = chunked.len();
    let mut shapes = vec![
        (
            "a length, then chunks",
            post(&format!("Content-Length: {both}\r\nTransfer-Encoding: chunked"), &chunked),
        ),
        (
            "chunks, then a length",
            post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {both}"), &chunked),
        ),
        ("a short length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked", &chunked)),
        ("two lengths", post(&format!("Content-Length: 0\r\nContent-Length: {length}"), &inner)),
        (
            "two lengths, the other way",
            post(&format!("Content-Length: {length}\r\nContent-Length: 0"), &inner),
        ),
        ("a list of lengths", post(&format!("Content-Length: 0, {length}"), &inner)),
        ("a length with a sign", post(&format!("Content-Length: +{length}"), &inner)),
        ("a negative length", post("Content-Length: -1", &inner)),
        ("a hexadecimal length", post("Content-Length: 0x5", &inner)),
        ("a length with a blank inside", post("Content-Length: 1 0", &inner)),
        ("a length that overflows", post("Content-Length: 18446744073709551616", &inner)),
        ("no length", post("Content-Length:", &inner)),
        ("a length that is folded", post(&format!("Content-Length:\r\n {length}"), &inner)),
        ("a blank before the colon", post("Transfer-Encoding : chunked", &chunked)),
        ("a folded encoding", post("Transfer-Encoding:\r\n chunked", &chunked)),
        (
            "an encoding behind a fold",
            post(&format!("X-Fold: a\r\n Transfer-Encoding: chunked\r\nContent-Length: {both}"), &chunked),
        ),
        ("a folded first line", post(&format!(" X-Odd: yes\r\nContent-Length: {length}"), &inner)),
        ("a bare CR in a name", post("Transfer\rEncoding: chunked", &chunked)),
        (
            "a bare CR before a header",
            post(&format!("X-Odd: a\rTransfer-Encoding: chunked\r\nContent-Length: {both}"), &chunked),
        ),
        ("a NUL in a value", post(&format!("X-Odd: a\u{0}b\r\nContent-Length: {length}"), &inner)),
        ("a chunk size with a sign", post("Transfer-Encoding: chunked", &format!("+{whole}"))),
        ("a chunk size with 0x", post("Transfer-Encoding: chunked", &format!("0x{whole}"))),
        (
            "a chunk size that overflows",
            post("Transfer-Encoding: chunked", &format!("10000000000000000\r\n{chunked}")),
        ),
        (
            "a chunk size with a bare LF",
            post("Transfer-Encoding: chunked", &format!("5\nhello\r\n{chunked}")),
        ),
        ("a chunk without its line end", post("Transfer-Encoding: chunked", &format!("5\r\nhello{chunked}"))),
        (
            "a chunk extension with a line end",
            post("Transfer-Encoding: chunked", &format!("5;a=\nb\r\nhello\r\n{chunked}")),
        ),
        (
            "trailers that are headers",
            post(
                "Transfer-Encoding: chunked",
                &format!("5\r\nhello\r\n0\r\nContent-Length: {length}\r\nX-Inner: yes\r\n\r\n{inner}"),
            ),
        ),
        (
            "a body with GET",
            format!("GET {path}/outer HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{inner}"),
        ),
        (
            "a body with HEAD",
            format!("HEAD {path}/outer HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{inner}"),
        ),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST {path}/outer HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
            ),
        ),
        (
            "bare LF line ends",
            format!("POST {path}/outer HTTP/1.1\nHost: x\nContent-Length: {length}\n\n{inner}"),
        ),
        (
            "bare LF before a header",
            post(&format!("X-Odd: a\nTransfer-Encoding: chunked\r\nContent-Length: {both}"), &chunked),
        ),
        ("a line end in the target", format!("GET {path}/outer\r\n/x HTTP/1.1\r\nHost: x\r\n\r\n{inner}")),
        (
            "an encoded line end in the target",
            format!("GET {path}/outer%20HTTP/1.1%0d%0aX-Inner:%20yes HTTP/1.1\r\nHost: x\r\n\r\n"),
        ),
        (
            "a request in the query",
            format!("GET {path}/outer?%0d%0a%0d%0aGET%20/inner HTTP/1.1\r\nHost: x\r\n\r\n"),
        ),
        ("a named length", post(&format!("Connection: Content-Length\r\nContent-Length: {length}"), &inner)),
        ("a named encoding", post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", &chunked)),
        (
            "an upgrade with a body",
            post(&format!("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {length}"), &inner),
        ),
        ("100-continue with a request behind", post("Expect: 100-continue\r\nContent-Length: 0", &inner)),
    ];
    for encoding in [
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "\tchunked",
        "chunked;q=1",
        "\"chunked\"",
        "CHUNKED",
        "chunked\u{b}",
        "\u{b}chunked",
        "",
        ",chunked,",
    ] {
        let headers = format!("Transfer-Encoding: {encoding}\r\nContent-Length: {both}");
        shapes.push(("a length and an odd encoding", post(&headers, &chunked)));
        shapes.push(("an odd encoding", post(&format!("Transfer-Encoding: {encoding}"), &chunked)));
    }
    let twice = "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked";
    shapes.push(("two encodings", post(&format!("{twice}\r\nContent-Length: {both}"), &chunked)));
    shapes
}

/// Panics when something about a request that reached the backend could be read in two ways.
fn assert_unambiguous(request: &Recorded, shape: &str) {
    let headers = &request.headers;
    let (lengths, encodings) = (headers.all("Content-Length"), headers.all("Transfer-Encoding"));
    assert!(lengths.len() + encodings.len() <= 1, "{shape}: {lengths:?} and {encodings:?}");
    assert!(
        lengths.iter().all(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty()),
        "{shape}: {lengths:?}"
    );
    assert!(encodings.iter().all(|n| *n == "chunked"), "{shape}: {encodings:?}");
    for (name, value) in &headers.0 {
        let odd = |c: char| c.is_ascii_control() || c == ' ' || c == ':';
        assert!(!name.is_empty() && !name.contains(odd), "{shape}: header {name:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "{shape}: {name}: {value:?}");
    }
}

/// How often each path was asked for.
fn paths(uris: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    count(uris.into_iter().map(|uri| uri.split(['?', '%']).next().unwrap_or("").to_owned()))
}

on_every_mpm!(no_backend_sees_a_request_that_the_front_did_not);

fn no_backend_sees_a_request_that_the_front_did_not(mpm: server_tests::Mpm) {
    let a = Backend::new("a");
    let httpd = stage(mpm, &a);
    for (number, path) in ["/app", "/script"].into_iter().enumerate() {
        for (nth, (shape, bytes)) in shapes(&format!("{path}/{number}")).into_iter().enumerate() {
            let bytes =
                bytes.replace("/outer", &format!("/{nth}/outer")).replace("/inner", &format!("/{nth}/inner"));
            let answer =
                raw_exchange(httpd.port(), bytes.as_bytes(), Duration::from_millis(40)).expect("an exchange");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(!answer.contains("\r\nX-Inner"), "{shape}: {answer}");
        }
    }
    wait_until("every request to be answered", SOON, || a.in_flight() == 0);
    assert_eq!(httpd.client().get("/app/last").backend(), "a");
    httpd.wait_for_access("/app/last");
    let behind = a.recorded();
    for request in &behind {
        assert_unambiguous(request, &request.uri);
    }
    // The backend got the requests that httpd saw, each as often. /script has no prefix to map.
    let logged = |path: &str| httpd.access_log().iter().filter(|line| line.path.starts_with(path)).count();
    for (uri, times) in paths(behind.iter().map(|request| request.uri.clone())) {
        let seen = || logged(&uri).max(logged(&format!("/app{uri}")));
        // A line may be written a moment after its answer.
        wait_until(&format!("{times} requests of {uri} in front, as at the backend"), SOON, || {
            times <= seen()
        });
    }
    assert!(behind.len() > 20, "only {} requests came through", behind.len());
    httpd.assert_no_crash();
}

/// Every way from a script's value to the wire; `BAD` has line ends.
const SCRIPT: &str = r#"
local BAD = "a\r\nX-Injected: yes\r\n\r\nGET /injected HTTP/1.1\r\nX: y"
local app = lb.pool("app")
local ways = {}
function ways.out(r) r.headers_out["X-Value"] = BAD return app end
function ways.err_out(r) r.err_headers_out["X-Value"] = BAD return 403 end
function ways.out_set(r) r.headers_out:set("X-Value", BAD) return app end
function ways.name(r) r.headers_out["X-Name\r\nX-Injected"] = "yes" return app end
function ways.err_name(r) r.err_headers_out["X-Name: a\r\nX-Injected"] = "yes" return 403 end
function ways.location(r) r.headers_out["Location"] = "/x" .. BAD return 302 end
function ways.cookie_value(r) r:setcookie{key = "k", value = BAD} return 403 end
function ways.cookie_key(r) r:setcookie{key = BAD, value = "v"} return 403 end
function ways.cookie_path(r) r:setcookie{key = "k", value = "v", path = BAD} return 403 end
function ways.cookie_domain(r) r:setcookie{key = "k", value = "v", domain = BAD} return 403 end
function ways.cookie_plain(r) r:setcookie("k", BAD) return 403 end
function ways.content_type(r) r.content_type = "text/plain" .. BAD return 403 end
function ways.into(r) r.headers_in["X-Value"] = BAD return app end
function ways.into_name(r) r.headers_in["X-Name\r\nX-Injected"] = "yes" return app end
function ways.host(r) r.headers_in["Host"] = BAD return app end
function ways.length(r) r.headers_in["Content-Length"] = "0" .. BAD return app end
function ways.cookie_in(r) r.headers_in["Cookie"] = BAD return app end
function ways.uri(r) r.uri = "/" .. BAD return app end
function ways.args(r) r.args = BAD return app end
function ways.blank(r) r.args = "a HTTP/1.1" return app end
function ways.target(r) return TARGET .. "/" .. BAD end
function ways.target_host(r) return "http://127.0.0.1" .. BAD end
function ways.user(r) r.user = BAD return app end
function ways.env(r) r.subprocess_env["VALUE"] = BAD return app end
function ways.notes(r) r.notes["VALUE"] = BAD return app end
function ways.route(r)
  assert(app:add{url = TARGET, name = "b", route = BAD})
  return app:member("b")
end
function ways.name_of_member(r)
  assert(app:add{url = TARGET, name = "c" .. BAD})
  return app:member("c" .. BAD)
end
function ways.url_of_member(r)
  assert(app:add{url = TARGET .. "/" .. BAD, name = "d"})
  return app:member("d")
end
function ways.message(r) return nil, BAD end
function ways.raised(r) error(BAD) end
function ways.logged(r) r:err(BAD) return app end
function ways.proxied(r)
  r.handler, r.proxyreq, r.filename = "proxy-server", apache2.PROXYREQ_REVERSE, "proxy:" .. TARGET .. "/" .. BAD
  return apache2.OK
end
function ways.by_handler(r) r.handler = "proxy:" .. TARGET .. "/" .. BAD return apache2.OK end
function ways.ngx_redirect(r) return ngx.redirect("/x" .. BAD, 302) end
function ways.ngx_header(r) ngx.req.set_header("X-Value", BAD) return app end
function ways.ngx_header_name(r) ngx.req.set_header("X-Name\r\nX-Injected", "yes") return app end
function ways.ngx_uri(r) ngx.req.set_uri("/" .. BAD) return app end
function ways.ngx_args(r) ngx.req.set_uri_args({ a = BAD }) return app end
function ways.ngx_args_text(r) ngx.req.set_uri_args(BAD) return app end

function translate(r)
  local way = ways[r.uri:match("^/w/([a-z_]+)")]
  if way then return way(r) end
  return app
end
function names(r)
  local all = {}
  for name in pairs(ways) do all[#all + 1] = name end
  table.sort(all)
  r.subprocess_env["NAMES"] = table.concat(all, " ")
  return 204
end
"#;

#[test]
fn line_ends_in_a_scripts_values_never_leave_on_the_wire() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .file("ways.lua", &SCRIPT.replace("TARGET", &format!("\"{}\"", a.url())))
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier off\nLuaBalancerSticky cookie=LB"))
        .config("<Location /w>\n  LuaHookTranslate ways.lua\n  Header always set X-Env \"%{VALUE}e\"\n</Location>")
        .config("<Location /names>\n  LuaHookTranslate ways.lua names\n  Header always set X-State \"%{NAMES}e\"\n</Location>")
        .start();
    let names = httpd.client().get("/names").header("X-State").unwrap_or_default().to_owned();
    let names: Vec<&str> = names.split(' ').collect();
    assert!(names.len() > 30, "{names:?}");
    for way in names {
        let request = Request::get(&format!("/w/{way}")).header("Connection", "close").to_bytes();
        let answer = raw_exchange(httpd.port(), &request, SOON).expect("an exchange");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 "), "{way}: no answer: {answer:?}");
        // The head alone, however the line ends are written.
        let head = answer.replace("\r\n", "\n").replace('\r', "\n");
        let head = head.split("\n\n").next().unwrap_or_default().to_owned();
        assert!(!head.contains("\nX-Injected"), "{way}: {answer}");
        let answers = answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).count();
        assert_eq!(answers, 1, "{way}: {answer}");
        for request in a.recorded() {
            assert_unambiguous(&request, way);
            assert_eq!(request.headers.get("X-Injected"), None, "{way}: {request:?}");
            assert!(!request.uri.starts_with("/injected"), "{way}: {request:?}");
            assert!(!request.uri.contains([' ', '\r', '\n']), "{way}: {request:?}");
        }
    }
    // The log has one line for one message.
    assert!(
        !httpd.error_log().lines().any(|line| line.starts_with("X-Injected")),
        "a log line of the script's own"
    );
    assert_eq!(httpd.client().get("/w/none").status, 200);
    httpd.assert_no_crash();
}
