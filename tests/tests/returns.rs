// SPDX-License-Identifier: Apache-2.0
//! Every kind of value that a selection function may return.

use server_tests::{Backend, Httpd, Request, pool};

/// One function for each row of the contract's table; the request's path names the function.
const SCRIPT: &str = r#"
local app = lb.pool("app")
local kinds = {}

function kinds.member(r) return app:member("b") end
function kinds.pool(r) return app end
function kinds.view(r) return app:where{version = "2"} end
function kinds.zone(r) return app:where{zone = "eu"} end
function kinds.except(r) return app:except(app:member("a"), app:member("b")) end
function kinds.only(r) return app:only(app:member("c")) end
function kinds.picked(r) return app:where{version = "2"}:round_robin() end
function kinds.list(r) return { app:member("dead"), app:member("c"), app:member("a") } end
function kinds.dead_member(r) return app:member("dead") end
function kinds.text(r) return ADHOC end
function kinds.text_path(r) return ADHOC .. "/fixed/path" end
function kinds.number(r) return 410 end
function kinds.redirect(r) r.headers_out["Location"] = "/elsewhere" return 302 end
function kinds.declined(r) return apache2.DECLINED end
function kinds.ok(r)
  r.handler, r.proxyreq = "proxy-server", apache2.PROXYREQ_REVERSE
  r.filename = "proxy:" .. ADHOC .. "/ok"
  return apache2.OK
end
function kinds.nothing(r) return nil end
function kinds.no_return(r) end
function kinds.no_member(r) return nil, "nobody is there today" end
function kinds.empty_view(r) return app:where{version = "99"}:round_robin() end
function kinds.rewritten(r)
  r.uri, r.args = "/new/uri", "new=args"
  r.headers_in["X-Added"] = "by script"
  r.headers_in["X-Dropped"] = nil
  r.subprocess_env["SEEN"] = "yes"
  r.notes["n"] = "v"
  return app:member("a")
end

function translate(r)
  local kind = kinds[r.uri:match("^/r/([a-z_]+)")]
  if kind then return kind(r) end
end
"#;

struct Stage {
    httpd: Httpd,
    a: Backend,
    _members: [Backend; 3],
    adhoc: Backend,
}

impl Stage {
    fn new() -> Self {
        let a = Backend::new("a");
        let [b, c, dead] = Backend::named(["b", "c", "dead"]);
        let adhoc = Backend::new("adhoc");
        dead.refuse();
        let members = [(&a, "zone=eu"), (&b, "meta.version=2"), (&c, "zone=us"), (&dead, "")];
        let script = SCRIPT.replace("ADHOC", &format!("\"{}\"", adhoc.url()));
        let config = pool("app", &members, "LuaBalancerOutlier off");
        let httpd = Httpd::builder()
            .file("pick.lua", &script)
            .file("htdocs/r/declined", "from the document root")
            .file("htdocs/r/nothing", "from the document root")
            .file("htdocs/r/no_return", "from the document root")
            .config(&config)
            .config("LuaHookTranslate pick.lua\nHeader always set X-Seen \"%{SEEN}e\"")
            .start();
        Self { httpd, a, _members: [b, c, dead], adhoc }
    }

    fn backend(&self, path: &str) -> String {
        let response = self.httpd.client().get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.backend().to_owned()
    }
}

#[test]
fn a_member_is_used_first_and_the_pool_on_failure() {
    let stage = Stage::new();
    for _ in 0..5 {
        assert_eq!(stage.backend("/r/member"), "b");
        assert!(["a", "b", "c"].contains(&stage.backend("/r/dead_member").as_str()));
    }
}

#[test]
fn a_pool_or_view_picks_by_its_method() {
    let stage = Stage::new();
    let shares = stage.httpd.client().shares("/r/pool", 12);
    assert_eq!(shares.len(), 3, "{shares:?}");
    for _ in 0..3 {
        assert_eq!(stage.backend("/r/view"), "b");
        assert_eq!(stage.backend("/r/picked"), "b");
        assert_eq!(stage.backend("/r/zone"), "a");
        assert_eq!(stage.backend("/r/except"), "c");
        assert_eq!(stage.backend("/r/only"), "c");
    }
}

#[test]
fn a_list_is_tried_in_order() {
    let stage = Stage::new();
    assert_eq!(stage.backend("/r/list"), "c");
}

#[test]
fn a_string_is_an_ad_hoc_target() {
    let stage = Stage::new();
    assert_eq!(stage.backend("/r/text?x=1"), "adhoc");
    assert_eq!(stage.adhoc.last().expect("a request").uri, "/r/text?x=1");
    assert_eq!(stage.backend("/r/text_path"), "adhoc");
    assert_eq!(stage.adhoc.last().expect("a request").uri, "/fixed/path");
}

#[test]
fn a_number_is_a_status() {
    let stage = Stage::new();
    assert_eq!(stage.httpd.client().get("/r/number").status, 410);
    let redirect = stage.httpd.client().get("/r/redirect");
    assert_eq!(redirect.status, 302);
    assert!(redirect.header("Location").is_some_and(|to| to.ends_with("/elsewhere")));
}

#[test]
fn nil_and_declined_let_httpd_go_on() {
    let stage = Stage::new();
    for path in ["/r/declined", "/r/nothing", "/r/no_return"] {
        assert_eq!(stage.httpd.client().get(path).text(), "from the document root", "{path}");
    }
    assert_eq!(stage.httpd.client().get("/absent").status, 404);
}

#[test]
fn ok_with_a_proxy_filename_goes_to_mod_proxy_over_pooled_connections() {
    let stage = Stage::new();
    let shares = stage.httpd.client().shares("/r/ok", 40);
    assert_eq!(shares["adhoc"], 40);
    assert_eq!(stage.adhoc.last().expect("a request").uri, "/ok");
    assert!(stage.adhoc.connections() <= 4, "{} connections", stage.adhoc.connections());
}

#[test]
fn nil_with_a_message_is_an_empty_pool_not_the_document_root() {
    let stage = Stage::new();
    let response = stage.httpd.client().get("/r/no_member");
    assert_eq!(response.status, 503);
    stage.httpd.wait_for_log("nobody is there today");
    assert_eq!(stage.httpd.client().get("/r/empty_view").status, 503);
}

#[test]
fn changes_of_the_script_are_seen_by_the_member() {
    let stage = Stage::new();
    let request = Request::get("/r/rewritten?old=args").header("X-Dropped", "gone");
    let response = stage.httpd.client().send(&request);
    assert_eq!(response.header("X-Uri"), Some("/new/uri?new=args"));
    assert_eq!(response.header("X-Seen"), Some("yes"));
    let seen = stage.a.last().expect("a request");
    assert_eq!(seen.headers.get("X-Added"), Some("by script"));
    assert_eq!(seen.headers.get("X-Dropped"), None);
}

#[test]
fn pools_may_be_defined_and_edited_in_the_script() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = |weights: [u32; 2]| {
        let member = |backend: &Backend, weight: u32| {
            format!("{{ host = '127.0.0.1', port = {}, weight = {weight} }}", backend.port())
        };
        format!(
            "lb.define_pool('made', {{ method = 'round_robin', {}, {} }})\n\
             function translate(r) return lb.pool('made') end",
            member(&a, weights[0]),
            member(&b, weights[1])
        )
    };
    let httpd =
        Httpd::builder().file("pick.lua", &script([1, 1])).config("LuaHookTranslate pick.lua").start();
    assert_eq!(httpd.client().shares("/", 10)["a"], 5);
    httpd.write("pick.lua", &script([4, 1]));
    server_tests::wait_until("the edited weight", std::time::Duration::from_secs(5), || {
        httpd.client().shares("/", 10)["a"] == 8
    });
}
