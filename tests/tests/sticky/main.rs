// SPDX-License-Identifier: Apache-2.0
//! Sticky sessions: who serves them, who loses them, and the cookie.

mod sessions;
mod variables;

use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, Mpm, Request, Response, on_every_mpm, pool, wait_until};
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

const STICKY: &str = "LuaBalancerSticky cookie=LB param=sid";

const SOON: Duration = Duration::from_secs(15);

/// `/--act/VERB/POOL/MEMBER` calls that method of a member, or removes it.
const ACT: &str = r#"
function act(r)
  local verb, name, member = r.uri:match("^/%-%-act/(%a+)/([%w-]+)/([%w.:-]+)$")
  local target = lb.pool(name):member(member)
  if verb == "remove" then lb.pool(name):remove(member) else target[verb](target) end
  return 204
end
"#;

fn acting() -> Builder {
    Httpd::builder()
        .file("act.lua", ACT)
        .config("<Location /--act>\n  LuaHookTranslate act.lua act\n</Location>")
}

fn serving(members: &[(&Backend, &str)], lines: &str) -> Httpd {
    acting().config(&pool("app", members, lines)).config("ProxyPass /app lb://app").start()
}

fn act(httpd: &Httpd, verb: &str, member: &str) {
    assert_eq!(httpd.client().get(&format!("/--act/{verb}/app/{member}")).status, 204);
}

fn with_cookie(httpd: &Httpd, path: &str, cookie: &str) -> Response {
    httpd.client().send(&Request::get(path).header("Cookie", cookie))
}

fn set_cookies(response: &Response) -> Vec<&str> {
    response.headers.all("Set-Cookie")
}

/// The one cookie of an answer as the client sends it back.
fn cookie(response: &Response) -> String {
    match set_cookies(response).as_slice() {
        [set] => set.split(';').next().expect("a pair").to_owned(),
        other => panic!("expected one cookie, found {other:?} in {response:?}"),
    }
}

const SCRIPT: &str = r#"
local app, plain = lb.pool("app"), lb.pool("plain")
local kinds = {}
function kinds.pick(r) return app:pick(r) end
function kinds.sticky(r) return app:sticky(r) or app:member("c") end
function kinds.view(r) return app:where{tier = "new"} end
function kinds.view_pick(r) return app:where{tier = "new"}:pick(r) end
function kinds.view_sticky(r) return app:where{tier = "new"}:sticky(r) or 404 end
function kinds.member(r) return app:member("c") end
function kinds.list(r) return { app:member("b"), app:member("a") } end
function kinds.plain(r) return plain:member("a") end
function kinds.forced(r) return lb.pool("forced"):pick(r) end
function kinds.by_method(r) return lb.pool("scripted") end
function translate(r)
  local kind = kinds[r.uri:match("^/s/([a-z_]+)")]
  if kind then return kind(r) end
end
function method(pool, r) return pool:member("c") end
"#;

/// The variables in which mod_proxy_balancer tells of a request, in its order.
const VARIABLES: [&str; 6] = [
    "BALANCER_NAME",
    "BALANCER_WORKER_NAME",
    "BALANCER_WORKER_ROUTE",
    "BALANCER_SESSION_STICKY",
    "BALANCER_SESSION_ROUTE",
    "BALANCER_ROUTE_CHANGED",
];

/// Adds a log of [`VARIABLES`] to a server; [`variables`] reads it.
fn logging(builder: Builder) -> Builder {
    let fields: Vec<String> = VARIABLES.iter().map(|name| format!("%{{{name}}}e")).collect();
    let file = builder.dir().join("variables.log");
    builder.config(&format!("CustomLog \"{}\" \"%{{X-Id}}i|{}\"", file.display(), fields.join("|")))
}

/// Sends one request and returns its backend's name and what the log says of it.
fn variables(httpd: &Httpd, path: &str, cookie: &str) -> (String, Vec<String>) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = format!("id{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let request = Request::get(path).header("Cookie", cookie).header("X-Id", &id);
    let backend = httpd.client().send(&request).backend().to_owned();
    let line = server_tests::eventually("a line of the log", SOON, || {
        let log = std::fs::read_to_string(httpd.dir().join("variables.log")).ok()?;
        let line = log.lines().find(|line| line.starts_with(&format!("{id}|")))?;
        Some(line.split('|').skip(1).map(str::to_owned).collect())
    });
    (backend, line)
}
