//! What checks say about a member, and nothing else, makes it down.

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn checked(a: &Backend, b: &Backend, check: &str) -> Builder {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerHealthCheck {check}");
    Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "")], &lines))
        .config("ProxyPass /app lb://app")
}

#[test]
fn a_member_is_up_again_when_its_pool_has_no_check_any_more() {
    let [a, b] = Backend::named(["a", "b"]);
    a.health_status(500);
    let check = "http uri=/health interval=100ms fall=1";
    let mut httpd = checked(&a, &b, check).start();
    wait_until("the member to be down", SOON, || httpd.member("app", "a").state == "down");
    httpd.edit_config(check, "none");
    httpd.graceful();
    wait_until("the member to be up", SOON, || httpd.member("app", "a").state == "up");
    httpd.edit_config("LuaBalancerHealthCheck none", "LuaBalancerHealthCheck tcp interval=1h");
    httpd.graceful();
    assert_eq!(httpd.member("app", "a").state, "up", "the last result was forgotten");
}

#[test]
fn another_initial_state_holds_for_members_whose_first_check_has_not_ended() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let check = "http uri=/health interval=100ms timeout=60s initial=";
    let mut httpd = checked(&a, &b, &format!("{check}down")).start();
    wait_until("a check", SOON, || a.health_checks() >= 1);
    assert_eq!(httpd.member("app", "a").state, "down");
    httpd.edit_config("initial=down", "initial=up");
    httpd.graceful();
    a.answer();
    wait_until("the member to be up", SOON, || httpd.member("app", "a").state == "up");
}

#[test]
fn an_added_member_waits_for_its_first_checks_where_members_start_as_down() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    c.hang();
    let add =
        format!("function translate(r) lb.pool('app'):add{{url='{}', name='c'}} return 204 end", c.url());
    let httpd = checked(&a, &b, "http uri=/health interval=100ms timeout=60s rise=1 initial=down")
        .file("add.lua", &add)
        .config("<Location /add>\n  LuaHookTranslate add.lua\n</Location>")
        .start();
    wait_until("the others to be up", SOON, || httpd.members("app").values().all(|m| m.state == "up"));
    assert_eq!(httpd.client().get("/add").status, 204);
    assert_eq!(httpd.member("app", "c").state, "down");
    wait_until("a check", SOON, || c.health_checks() >= 1);
    assert_eq!(httpd.member("app", "c").state, "down");
    c.answer();
    wait_until("the added member to be up", SOON, || httpd.member("app", "c").state == "up");
}

#[test]
fn the_last_member_that_serves_is_not_ejected() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    c.refuse();
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=1 max_percent=100\n\
                 LuaBalancerHealthCheck tcp interval=100ms fall=1";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "status=+D"), (&c, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    wait_until("one member to be left", SOON, || httpd.member("app", "c").state == "down");
    a.reset();
    assert_eq!(httpd.client().get("/app/").status, 502);
    assert_eq!(httpd.member("app", "a").state, "up");
}
