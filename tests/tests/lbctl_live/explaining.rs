// SPDX-License-Identifier: Apache-2.0
//! `lbctl explain` at running servers: it names who then serves the request.

use serde_json::Value;
use server_tests::{Backend, Httpd, Request, lbctl};

use crate::serving;

const BY_COOKIE: &str = "function select(r)\n  if r:getcookie('beta') then return lb.pool('app'):member('b') end\n\
                         if r.uri == '/closed' then return 403 end\n  return lb.pool('app')\nend\n";

fn started(a: &Backend, b: &Backend) -> Httpd {
    let builder = serving(a, b).file("s.lua", BY_COOKIE);
    builder
        .config("<Location /s>\nLuaHookTranslate s.lua select\n</Location>")
        .config("<Location /closed>\nLuaHookTranslate s.lua select\n</Location>")
        .config("<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .start()
}

#[test]
fn a_running_server_names_the_member_that_then_serves() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = started(&a, &b);
    for (path, cookie) in [("/s", "beta=1"), ("/app/x", ""), ("/s", ""), ("/app/x", ""), ("/app/x", "")] {
        let header = format!("Cookie: {cookie}");
        let said = httpd.lbctl(&["explain", "-H", &header, path]).done().out;
        let served = httpd.client().send(&Request::get(path).header("Cookie", cookie)).text();
        let wanted = format!("goes to {} of pool app", served.split_whitespace().next().unwrap_or_default());
        assert!(said.contains(&wanted), "{path} {cookie}: {wanted}\n{said}");
    }
    let nobodys = httpd.lbctl(&["explain", "/nobodys"]).done().out;
    assert!(nobodys.contains("not ours"), "{nobodys}");
    httpd.lbctl(&["explain", "/closed"]).done();
    httpd.lbctl(&["disable", "app/*"]).done();
    let nobody = httpd.lbctl(&["explain", "/app/x"]);
    assert!(nobody.code == 1 && nobody.out.contains("answered with 503"), "{nobody:?}");
}

#[test]
fn the_document_is_that_of_the_api_and_servers_are_compared() {
    let [a, b] = Backend::named(["a", "b"]);
    let (one, two) = (started(&a, &b), started(&a, &b));
    let urls = [&one, &two].map(|httpd| format!("http://127.0.0.1:{}/lb", httpd.port()));
    let document: Value =
        serde_json::from_str(&one.lbctl(&["explain", "/app/x", "--json"]).done().out).expect("JSON");
    let sent =
        Request::post("/api/v1/explain", "{\"uri\":\"/app/x\"}").header("Content-Type", "application/json");
    let answer: Value = serde_json::from_str(&one.socket().send(&sent).text()).expect("JSON");
    assert_eq!(document, answer);
    let call = || lbctl(&["explain", "/app/x", "--url", &urls[0], "--url", &urls[1]]);
    assert!(!call().done().out.contains("differ"));
    two.lbctl(&["drain", "app/a"]).done();
    let said = call().done().out;
    assert!(said.contains("decision member: ") && said.contains("left out: draining"), "{said}");
    drop(two);
    let said = call();
    assert!(said.code == 4 && said.out.contains("goes to a"), "{said:?}");
}
