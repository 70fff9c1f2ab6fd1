// SPDX-License-Identifier: Apache-2.0
//! Scripts get of httpd what they get of every host: the same cases run against the plain one,
//! without httpd.

#[path = "../../crates/script/tests/contract/mod.rs"]
mod contract;

use std::path::Path;
use std::time::Duration;

use contract::{Around, BODY, DICTS, HEADERS, POOLS, TARGET, cases, compare, script};
use server_tests::{Backend, Client, Httpd, Mpm, Request, Response, Step, on_every_mpm, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// One that answers everything in the same way, and one that nobody is at.
fn around() -> (Backend, Backend, Around) {
    let (server, closed) = (Backend::new("server"), Backend::refusing("closed"));
    server.play([Step::send(
        "HTTP/1.1 200 Whatever\r\nX-Y: z\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    )]);
    let around = Around { server: ("127.0.0.1".into(), server.port()), closed: closed.port() };
    (server, closed, around)
}

fn start(mpm: Mpm, around: &Around) -> Httpd {
    let city = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let mut builder = Httpd::builder()
        .mpm(mpm)
        .file("contract.lua", &script(around))
        .config("Define CONTRACT\nUseCanonicalName Off")
        .config(POOLS)
        .config(&format!("LuaBalancerGeoIP {}", city.display()))
        .config("LuaBalancerScriptLimit time=2s")
        .config("<Location /case>\n  LuaHookTranslate contract.lua case\n</Location>")
        .config("<Location /answer>\n  LuaHookTranslate contract.lua answer\n</Location>")
        .config("<Location /told>\n  LuaHookTranslate contract.lua told\n</Location>");
    for (name, kib) in DICTS {
        builder = builder.config(&format!("LuaBalancerDict {name} {kib}K"));
    }
    builder.start()
}

fn ask(client: &mut Client, method: &str, target: &str, number: usize) -> Response {
    let request = if method == "POST" { Request::post(target, BODY) } else { Request::new(method, target) };
    let request = HEADERS.iter().fold(request, |request, (key, value)| request.header(key, value));
    let request = match method {
        "POST" => request.header("Content-Type", "application/x-www-form-urlencoded"),
        _ => request,
    };
    client.send(&request.header("X-Case", &number.to_string()))
}

fn pages(httpd: &Httpd, section: &str, method: &str) -> Vec<String> {
    let mut client = httpd.client();
    (1..=cases(section).len()).map(|number| ask(&mut client, method, TARGET, number).text()).collect()
}

/// Status, place to go to, and page, unless that is httpd's own.
fn seen(response: &Response) -> String {
    let page = response.text();
    let page = if page.starts_with("<!DOCTYPE") { "" } else { page.trim_end() };
    format!("{} {} {page}", response.status, response.header("Location").unwrap_or("-")).trim_end().to_owned()
}

on_every_mpm!(httpd_is_what_every_host_is);

fn httpd_is_what_every_host_is(mpm: Mpm) {
    let (_server, _closed, around) = around();
    let httpd = start(mpm, &around);
    compare("get", &pages(&httpd, "get", "GET"));
}

#[test]
fn bodies_are_read_as_every_host_has_them() {
    let (_server, _closed, around) = around();
    let httpd = start(Mpm::Event, &around);
    compare("post", &pages(&httpd, "post", "POST"));
}

#[test]
fn answers_reach_the_client_as_every_host_has_them() {
    let (_server, _closed, around) = around();
    let httpd = start(Mpm::Event, &around);
    let mut client = httpd.client();
    let all = (1..=cases("answer").len()).map(|number| seen(&ask(&mut client, "GET", "/answer", number)));
    compare("answer", &all.collect::<Vec<_>>());
}

#[test]
fn jobs_get_from_the_world_what_every_host_gets() {
    let (_server, _closed, around) = around();
    let httpd = start(Mpm::Event, &around);
    let mut told = String::new();
    wait_until("the jobs to be done", SOON, || {
        let response = httpd.client().get("/told");
        told = response.text();
        response.status == 200
    });
    compare("job", &told.lines().map(str::to_owned).collect::<Vec<_>>());
}

/// The patterns that PCRE knows and the plain host does not.
const PATTERNS: &str = r#"
function told(r)
  local seen = {}
  local function note(...) seen[#seen + 1] = table.concat({ ... }, " ") end
  note(ngx.re.gsub("aXaXbX", "(?<=a)X", "-"))
  note(ngx.re.gsub("XXaX", "(?<!X)X", "-"))
  note(ngx.re.gsub(("aX"):rep(300), "(?<=a)X", "-"))
  note(ngx.re.gsub("abab", "(a)(b)\\b", "$2$1"))
  note(#ngx.re.gsub(("word "):rep(20000), "\\bword\\b", "w"))
  r:puts(table.concat(seen, "\n"))
  return apache2.DONE
end
"#;

#[test]
fn patterns_see_what_stands_before_the_place_of_a_search() {
    let httpd = Httpd::builder()
        .file("patterns.lua", PATTERNS)
        .config("LuaBalancerScriptLimit time=2s")
        .config("<Location /told>\n  LuaHookTranslate patterns.lua told\n</Location>")
        .start();
    let many = format!("{} 300", "a-".repeat(300));
    let expected = ["a-a-bX 2", "-Xa- 2", &many, "abba 1", "40000"];
    let told = httpd.client().get("/told").text();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_top_level_that_is_vetted_sees_as_many_children_as_there_are() {
    let script = "local children = ngx.worker.count()\nassert(children == 3, children)\n\
                  function told(r) return children == ngx.worker.count() and 204 or 500 end";
    let httpd = Httpd::builder()
        .children(3)
        .file("count.lua", script)
        .config("<Location /told>\n  LuaHookTranslate count.lua told\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/told").status, 204);
}
