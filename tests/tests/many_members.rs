//! Members come and go by the thousands.

use server_tests::{Backend, Httpd, pool};

/// One request adds a member of a URL that nobody had, asks it, and removes it.
const SCRIPT: &str = r#"
function translate(r)
  local app, n = lb.pool("app"), r.uri:match("%d+$")
  if app:member("new") then app:remove("new") end
  return app:add{url = URL .. "/" .. n, name = "new"}
end
"#;

#[test]
fn another_member_serves_when_a_child_can_make_no_more_workers() {
    let a = Backend::new("a");
    let script = format!("local URL = '{}'\n{SCRIPT}", a.url());
    let httpd = Httpd::builder()
        .children(1)
        .with_member_states()
        .file("add.lua", &script)
        .config("LuaBalancerMaxMembers 8\nLogLevel lua_balancer:error")
        .config(&pool("app", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app")
        .config("<Location /add>\n  LuaHookTranslate add.lua\n</Location>")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get("/app/").status, 200);
    let said = "restart gracefully";
    let until = (0..10_000).find(|n| {
        assert_eq!(client.get(&format!("/add/{n}")).status, 200, "request {n}");
        n % 100 == 0 && httpd.count_log(said) > 0
    });
    let until = until.expect("the bound to be met");
    for n in until + 1..until + 20 {
        let response = client.get(&format!("/add/{n}"));
        assert_eq!((response.status, response.header("X-Uri")), (200, Some(&*format!("/add/{n}"))));
    }
    assert_eq!(httpd.count_log(said), 1);
    assert_eq!(httpd.member("app", "new").state, "up");
}
