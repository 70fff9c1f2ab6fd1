// SPDX-License-Identifier: Apache-2.0
//! Explanations that somebody makes hard.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server_tests::{Backend, Builder, Httpd, Request};

use super::{ask, explained, get, who};

const SCRIPT: &str = "\
function loops(r) while true do end end
function fails(r) error(('x'):rep(100000)) end
function yields(r) coroutine.yield(1) return lb.pool('app') end
function writes(r)
  local d = lb.dict('counts')
  for i = 1, 20000 do d:set('k' .. i, i) end
  d:flush_all()
  return lb.pool('app')
end
function weighs(r)
  for _, m in ipairs(lb.pool('app').members) do m:drain() m:set_weight(9) end
  return lb.pool('app')
end
function asks(r) lb.http.get('http://127.0.0.1:1/') return lb.pool('app') end
function eats(r) local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end end
function names(r) return 'http://' .. ('x'):rep(60) .. '.example:80/' .. ('y'):rep(100000) end
";

/// As many as a build without optimisations defines in a few seconds.
const MANY: usize = 3000;

const FUNCTIONS: [&str; 8] = ["loops", "fails", "yields", "writes", "weighs", "asks", "eats", "names"];

fn serving(backend: &Backend) -> Builder {
    let mut text = format!(
        "LuaBalancerDict counts 1M\nLuaBalancerScriptLimit time=500ms\nLuaBalancerMaxMembers 16384\n\
         <LuaBalancerPool app>\nLuaBalancerMember http://127.0.0.1:{0} name=a\nLuaBalancerMember http://127.0.0.1:{0}/b name=b\n\
         </LuaBalancerPool>\nProxyPass /app lb://app\n<Location /lb>\nSetHandler lua-balancer\n</Location>\n",
        backend.port()
    );
    for function in FUNCTIONS {
        writeln!(text, "<Location /{function}>\nLuaHookTranslate bad.lua {function}\n</Location>")
            .expect("room");
    }
    Httpd::builder().with_member_states().file("bad.lua", SCRIPT).config(&text)
}

#[test]
fn scripts_that_misbehave_are_explained_within_their_limits_and_change_nothing() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).children(1).start();
    let before = httpd.snapshot();
    for function in FUNCTIONS {
        let began = Instant::now();
        let document = explained(&httpd, &get(&format!("/{function}/x")));
        assert!(began.elapsed() < Duration::from_secs(8), "{function} took {:?}", began.elapsed());
        assert!(document.to_string().len() < 10_000, "{function}");
        if ["loops", "fails", "eats"].contains(&function) {
            assert_eq!(document["decision"]["status"], 500, "{document}");
        }
        assert_eq!(httpd.snapshot(), before, "{function}");
    }
    assert_eq!(httpd.client().get("/app/").status, 200);
}

#[test]
fn scripts_that_loop_hold_up_neither_readers_nor_changes() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).children(1).start();
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..6).map(|_| scope.spawn(|| ask(&httpd, &get("/loops")).status)).collect();
        std::thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        assert_eq!(httpd.socket().get("/api/v1/pools").status, 200);
        httpd.patch("/api/v1/pools/app/members/b", r#"{"weight":2}"#);
        assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
        let statuses: Vec<u16> = askers.into_iter().map(|asker| asker.join().expect("an answer")).collect();
        assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
        assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    });
}

#[test]
fn the_handler_explains_where_changes_are_off_but_not_for_other_sites() {
    let backend = Backend::new("all");
    let httpd = serving(&backend).start();
    let at = |described: &Value| Request::json("POST", "/lb/api/v1/explain", described.to_string());
    let answer = httpd.client().send(&at(&get("/app/x")));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let document: Value = serde_json::from_str(&answer.text()).expect("JSON");
    assert_eq!(who(&document), "a", "{document}");
    let foreign = at(&get("/app/x")).header("Sec-Fetch-Site", "cross-site");
    assert_eq!(httpd.client().send(&foreign).status, 403);
    let headers: serde_json::Map<String, Value> =
        (0..500).map(|at| (format!("X-{at}"), json!("v".repeat(1000)))).collect();
    let large = explained(&httpd, &json!({ "uri": "/app/x", "headers": headers }));
    assert_eq!(who(&large), "a");
}

#[test]
fn thousands_of_members_are_explained_in_time() {
    let backend = Backend::new("all");
    let members: String = (0..MANY)
        .map(|at| format!("LuaBalancerMember http://127.0.0.1:{}/{at} name=m{at}\n", backend.port()))
        .collect();
    let text = format!("<LuaBalancerPool many>\n{members}</LuaBalancerPool>\nProxyPass /many lb://many");
    let httpd = serving(&backend).children(1).config(&text).start();
    let began = Instant::now();
    let document = explained(&httpd, &get("/many/x"));
    assert_eq!(document["candidates"].as_array().map(Vec::len), Some(MANY));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
