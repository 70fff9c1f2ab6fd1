// SPDX-License-Identifier: Apache-2.0
//! Cookies of error pages, scripts, and the variables.

use super::*;

#[test]
fn error_pages_carry_the_cookie_of_a_member_that_answered() {
    let [a, b] = Backend::named(["a", "b"]);
    a.status(500);
    b.refuse();
    let httpd = acting()
        .file("htdocs/sorry.html", "sorry\n")
        .config(&pool("app", &[(&a, "")], STICKY))
        .config(&pool("dead", &[(&b, "")], STICKY))
        .config("ProxyPass /app lb://app\nProxyPass /local lb://app\nProxyPass /dead lb://dead\nProxyErrorOverride on")
        .config("<Location /local>\n  ErrorDocument 500 /sorry.html\n</Location>")
        .start();
    for path in ["/app/", "/local/"] {
        let response = httpd.client().get(path);
        assert_eq!(
            (response.status, response.backend(), cookie(&response).as_str()),
            (500, "", "LB=.a"),
            "{path}"
        );
    }
    assert_eq!(httpd.client().get("/local/").text(), "sorry\n");
    let response = httpd.client().get("/dead/");
    assert_eq!((response.status, set_cookies(&response).len()), (503, 0), "nobody has answered");
    a.status(304);
    assert_eq!(cookie(&httpd.client().get("/app/")), "LB=.a");
    a.answer();
    let head = httpd.client().send(&Request::new("HEAD", "/app/"));
    assert_eq!((head.status, cookie(&head).as_str()), (200, "LB=.a"));
}

#[test]
fn pools_without_the_directive_set_and_read_no_cookie() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "")], "");
    let backends: BTreeSet<String> = (0..4)
        .map(|_| {
            let response = with_cookie(&httpd, "/app/;sid=.a", "LB=.a");
            assert_eq!(set_cookies(&response), [] as [&str; 0]);
            response.backend().to_owned()
        })
        .collect();
    assert_eq!(backends.len(), 2);
}

#[test]
fn scripts_find_sessions_and_narrow_them() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let members = [(&a, "meta.tier=old"), (&b, "meta.tier=new"), (&c, "meta.tier=new")];
    let httpd = acting()
        .file("s.lua", SCRIPT)
        .config(&pool("app", &members, STICKY))
        .config(&pool("plain", &members, ""))
        .config(&pool("forced", &[(&a, "status=+D"), (&b, "")], &format!("{STICKY} force=on")))
        .config(&pool("scripted", &members, &format!("{STICKY}\nLuaBalancerMethod lua s.lua method")))
        .config("LuaHookTranslate s.lua")
        .start();
    for (path, sent, backend, set) in [
        ("/s/pick", "LB=.b", "b", None),
        ("/s/sticky", "LB=id.b", "b", None),
        ("/s/sticky", "LB=.nobody", "c", Some("LB=.c")),
        ("/s/sticky", "", "c", Some("LB=.c")),
        ("/s/view", "LB=.b", "b", None),
        ("/s/view_pick", "LB=.b", "b", None),
        ("/s/view_sticky", "LB=.b", "b", None),
        ("/s/member", "LB=.c", "c", None),
        ("/s/member", "LB=.a", "c", Some("LB=.c")),
        ("/s/list", "LB=.b", "b", None),
        ("/s/list", "", "b", Some("LB=.b")),
        ("/s/plain", "LB=.b", "a", None),
        ("/s/by_method", "LB=.b", "b", None),
        ("/s/by_method", "", "c", Some("LB=.c")),
    ] {
        for _ in 0..3 {
            let response = with_cookie(&httpd, path, sent);
            assert_eq!(response.backend(), backend, "{path} {sent}");
            let found =
                set_cookies(&response).first().and_then(|set| set.split(';').next()).map(str::to_owned);
            assert_eq!(found.as_deref(), set, "{path} {sent}");
        }
    }
    for path in ["/s/view", "/s/view_pick"] {
        let response = with_cookie(&httpd, path, "LB=.a");
        assert_ne!(response.backend(), "a", "{path}: a is not in the view");
        assert_eq!(cookie(&response), format!("LB=.{}", response.backend()), "{path}");
    }
    assert_eq!(with_cookie(&httpd, "/s/view_sticky", "LB=.a").status, 404);
    assert_eq!(with_cookie(&httpd, "/s/forced", "LB=.a").status, 503);
    assert_eq!(with_cookie(&httpd, "/s/forced", "LB=.nobody").backend(), "b");
    let picked: BTreeSet<String> =
        (0..6).map(|_| httpd.client().get("/s/pick").backend().to_owned()).collect();
    assert_eq!(picked.len(), 3, "without a session the method picks");
}

#[test]
fn the_balancer_variables_are_mod_proxy_balancers() {
    let [a, b, c, d, e] = Backend::named(["a", "b", "c", "d", "e"]);
    let keys = [
        "route=ra",
        "route=rb status=+D redirect=rc",
        "route=rc",
        "route=10.0.0.4:80 status=+N",
        "route=rh status=+H",
    ];
    let members: Vec<(&Backend, &str)> = [&a, &b, &c, &d, &e].into_iter().zip(keys).collect();
    let theirs: String = members
        .iter()
        .map(|(backend, keys)| format!("  BalancerMember {} {keys}\n", backend.url()))
        .collect();
    let builder = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
        .into_iter()
        .fold(Httpd::builder(), |builder, name| builder.module(name));
    let httpd = logging(builder)
        .config(&pool("ours", &members, "LuaBalancerSticky cookie=SID param=sid"))
        .config(&format!(
            "<Proxy balancer://theirs>\n{theirs}  ProxySet stickysession=SID|sid scolonpathdelim=On\n</Proxy>"
        ))
        .config("ProxyPass /ours lb://ours\nProxyPass /theirs balancer://theirs")
        .start();
    for (tail, cookie) in [
        ("/", ""),
        ("/", "SID=.ra"),
        ("/", "SID=id.ra"),
        ("/", "x=1; SID=id.ra; y=2"),
        ("/", "SID=id.rb"),
        ("/", "SID=id.rc"),
        ("/", "SID=.10.0.0.4:80"),
        ("/", "SID=id.10.0.0.4:80"),
        ("/", "SID=id.rh"),
        ("/", "SID=id.nobody"),
        ("/", "SID=id.no.body"),
        ("/", "SID=nobody"),
        ("/", "XSID=id.ra"),
        ("/x;sid=id.ra", ""),
        ("/x;sid=id.ra;v=1/y", ""),
        ("/x;sid=id.rc", "SID=id.ra"),
    ] {
        let (own_backend, own) = variables(&httpd, &format!("/ours{tail}"), cookie);
        let (their_backend, mut their) = variables(&httpd, &format!("/theirs{tail}"), cookie);
        assert_eq!(own[0], "lb://ours");
        their[0] = "lb://ours".into();
        if own[4] == "-" || own[4].starts_with("no") {
            // Nobody's session: each picks in its own turn.
            assert_eq!(own[3..], their[3..], "{tail} {cookie}");
            assert_eq!(own[5], "1", "{tail} {cookie}");
        } else {
            assert_eq!((own_backend, own), (their_backend, their), "{tail} {cookie}");
        }
    }
}

#[test]
fn a_session_that_fails_over_is_told_as_mod_proxy_balancer_tells_it() {
    let [a, b] = Backend::named(["a", "b"]);
    let builder = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
        .into_iter()
        .fold(Httpd::builder(), |builder, name| builder.module(name));
    let httpd = logging(builder)
        .config(&pool("ours", &[(&a, ""), (&b, "")], "LuaBalancerSticky cookie=SID"))
        .config(&format!(
            "<Proxy balancer://theirs>\n  BalancerMember {} route=a\n  BalancerMember {} route=b\n  \
             ProxySet stickysession=SID\n</Proxy>",
            a.url(),
            b.url()
        ))
        .config("ProxyPass /ours lb://ours\nProxyPass /theirs balancer://theirs")
        .start();
    a.refuse();
    let (_, own) = variables(&httpd, "/ours/", "SID=id.a");
    let (_, their) = variables(&httpd, "/theirs/", "SID=id.a");
    assert_eq!(own[1..], their[1..]);
    assert_eq!(own[1..], [b.url().as_str(), "b", "SID", "a", "1"].map(str::to_owned));
}

#[test]
fn mod_proxy_balancer_reads_the_cookie_and_its_own_recipe_works_here() {
    let [a, b] = Backend::named(["a", "10.0.0.1:80"]);
    let members = [(&a, ""), (&b, "")];
    let builder = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
        .into_iter()
        .fold(Httpd::builder(), |builder, name| builder.module(name));
    let httpd = builder
        .config(&pool("ours", &members, "LuaBalancerSticky cookie=ROUTEID"))
        .config(&format!(
            "<Proxy balancer://theirs>\n  BalancerMember {} route=a\n  BalancerMember {} route=10.0.0.1:80\n  \
             ProxySet stickysession=ROUTEID\n</Proxy>",
            a.url(),
            b.url()
        ))
        .config("ProxyPass /ours lb://ours\nProxyPass /theirs balancer://theirs")
        .config(
            "<Location /theirs>\n  Header add Set-Cookie \"ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/\" \
             env=BALANCER_ROUTE_CHANGED\n</Location>",
        )
        .config(
            "<Location /ours/recipe>\n  Header add Set-Cookie \"R=.%{BALANCER_WORKER_ROUTE}e; path=/\" \
             env=BALANCER_ROUTE_CHANGED\n  Header set X-Member \"%{LB_MEMBER}e\"\n</Location>",
        )
        .start();
    for _ in 0..4 {
        let ours = httpd.client().get("/ours/");
        assert_eq!(with_cookie(&httpd, "/theirs/", &cookie(&ours)).backend(), ours.backend());
        let theirs = httpd.client().get("/theirs/");
        let response = with_cookie(&httpd, "/ours/recipe", &cookie(&theirs));
        assert_eq!((response.backend(), set_cookies(&response).len()), (theirs.backend(), 0));
        assert_eq!(response.header("X-Member"), Some(theirs.backend()));
    }
    let response = httpd.client().get("/ours/recipe");
    let recipe = format!("R=.{}; path=/", response.backend());
    assert!(set_cookies(&response).contains(&recipe.as_str()), "{response:?}");
}

#[test]
fn force_sends_a_session_nowhere_else_even_as_a_last_resort() {
    let [a, b] = Backend::named(["a", "b"]);
    b.refuse();
    let lines = "LuaBalancerSticky cookie=SID force=on\nLuaBalancerOutlier on failures=1 ejection=5m\nLuaBalancerMethod first";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&b, ""), (&a, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get("/app/").backend(), "a");
    assert_eq!(httpd.member("app", "b").state, "ejected");
    b.answer();
    a.refuse();
    let response = httpd.client().send(&Request::get("/app/").header("Cookie", "SID=x.a"));
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(b.requests(), 0);
}
