// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerMethod lua`: what becomes of a request when its function gives nobody to ask.

use server_tests::{Backend, Httpd, pool};

const SCRIPT: &str = r#"
local app = lb.pool("app")
local kept = app:member("a")
function pick(pool, r)
  if r.args == "fail" then error("no idea") end
  if r.args == "nonsense" then return 7 end
  if r.args == "forget" then app:remove("a") end
  return kept
end
"#;

fn server(a: &Backend, b: &Backend, more: &str) -> Httpd {
    Httpd::builder()
        .file("m.lua", SCRIPT)
        .config(&pool("app", &[(a, ""), (b, "")], "LuaBalancerMethod lua m.lua pick"))
        .config(&pool("other", &[(b, "")], ""))
        .config(&format!("ProxyPass /app lb://app\n{more}"))
        .start()
}

#[test]
fn a_member_that_was_removed_and_is_named_again_is_nobody() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = server(&a, &b, "");
    assert_eq!(httpd.client().get("/app/x").backend(), "a");
    for target in ["/app/x?forget", "/app/x", "/app/y"] {
        assert_eq!(httpd.client().get(target).status, 503, "{target}");
    }
    assert_eq!((a.requests(), b.requests()), (1, 0));
    assert!(httpd.error_log().contains("no usable member in pool app"));
}

#[test]
fn a_method_that_fails_is_answered_as_luabalanceronerror_says() {
    let [a, b] = Backend::named(["a", "b"]);
    for (setting, status, backend) in [
        ("", 500, None),
        ("LuaBalancerOnError error", 500, None),
        ("LuaBalancerOnError decline", 503, None),
        ("LuaBalancerOnError pool:other", 200, Some("b")),
        ("LuaBalancerOnError pool:app", 500, None),
    ] {
        let httpd = server(&a, &b, setting);
        for target in ["/app/x?fail", "/app/x?nonsense"] {
            let answer = httpd.client().get(target);
            assert_eq!(answer.status, status, "{setting}: {target}");
            assert_eq!(answer.header("X-Backend"), backend, "{setting}: {target}");
        }
        let line = httpd.wait_for_access("/app/x");
        assert_eq!(line.env["LB_REASON"], if status == 200 { "ok" } else { "script" }, "{setting}");
        assert!(httpd.error_log().contains("no idea"));
        assert_eq!(httpd.client().get("/app/y").backend(), "a", "{setting}");
    }
}
