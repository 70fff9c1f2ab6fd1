// SPDX-License-Identifier: Apache-2.0
//! Sampled decisions: which requests are kept, what is told of them, and for how long.

use std::time::Duration;

use serde_json::{Value, json};
use server_tests::{Backend, Builder, Httpd, Mpm, eventually, on_every_mpm, pool};

const SOON: Duration = Duration::from_secs(15);

fn server(mpm: Mpm, backends: &[Backend; 2], lines: &str) -> Builder {
    let members = backends.each_ref().map(|backend| (backend, ""));
    Httpd::builder()
        .mpm(mpm)
        .children(2)
        .config(&pool("app", &members, "LuaBalancerOutlier off"))
        .config("<LuaBalancerPool empty>\n</LuaBalancerPool>\nProxyPass /app lb://app\nProxyPass /empty lb://empty")
        .config("<Location /lb>\n  SetHandler lua-balancer\n</Location>")
        .config(lines)
}

fn decisions(httpd: &Httpd, query: &str) -> Vec<Value> {
    let response = httpd.socket().get(&format!("/api/v1/decisions{query}"));
    assert_eq!(response.status, 200, "{}", response.text());
    let document: Value = serde_json::from_str(&response.text()).expect("JSON");
    document["decisions"].as_array().expect("a list").clone()
}

/// The last decisions, when there are so many.
fn kept(httpd: &Httpd, count: usize) -> Vec<Value> {
    let all = eventually(&format!("{count} decisions"), SOON, || {
        let all = decisions(httpd, "");
        (all.len() >= count).then_some(all)
    });
    assert_eq!(all.len(), count, "{all:?}");
    all
}

on_every_mpm!(requests_that_go_wrong_are_kept_and_others_are_not, decisions_stay_over_restarts);

fn requests_that_go_wrong_are_kept_and_others_are_not(mpm: Mpm) {
    let backends = Backend::named(["a", "b"]);
    let httpd = server(mpm, &backends, "LuaBalancerDecisions sample=0%").start();
    let mut client = httpd.client();
    for _ in 0..20 {
        assert_eq!(client.get("/app/well").status, 200);
    }
    assert_eq!(client.get("/empty/").status, 503);
    backends[0].refuse();
    let mut paths = Vec::new();
    while paths.len() < 3 {
        let path = format!("/app/retry/{}", paths.len());
        let answer = client.get(&format!("{path}?secret=1"));
        assert_eq!((answer.status, answer.backend()), (200, "b"));
        if decisions(&httpd, "?member=a").len() > paths.len() {
            paths.push(path);
        }
    }
    backends[1].status(503);
    backends[0].answer();
    backends[0].status(503);
    let long = format!("/app/{}", "x".repeat(300));
    assert_eq!(client.get(&long).status, 503);
    let all = kept(&httpd, 5);
    assert_eq!(
        (&all[0]["pool"], &all[0]["member"], &all[0]["reason"], &all[0]["status"], &all[0]["attempts"]),
        (&json!("empty"), &Value::Null, &json!("no member"), &json!(503), &json!([]))
    );
    for (decision, path) in all[1..4].iter().zip(&paths) {
        let expected = json!([{"member": "a", "outcome": "connect"}, {"member": "b", "outcome": "ok"}]);
        assert_eq!(decision["attempts"], expected, "{decision}");
        assert_eq!((&decision["pool"], &decision["member"]), (&json!("app"), &json!("b")), "{decision}");
        assert_eq!(
            (&decision["method"], &decision["status"]),
            (&json!("round_robin"), &json!(200)),
            "{decision}"
        );
        assert_eq!((&decision["path"], &decision["candidates"]), (&json!(path), &json!(2)), "{decision}");
        assert!(decision["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{decision}");
    }
    assert_eq!(all[4]["attempts"][0]["outcome"], "status", "{}", all[4]);
    assert_eq!(all[4]["path"], long[..64], "{}", all[4]);
    assert_eq!(decisions(&httpd, "?pool=empty").len(), 1);
    assert_eq!(
        decisions(&httpd, "?member=b&pool=app").len(),
        all.iter().filter(|one| one["attempts"].to_string().contains("\"b\"")).count()
    );
    let reason = all[0]["reason"].as_str().expect("a word").replace(' ', "%20");
    assert_eq!(decisions(&httpd, &format!("?reason={reason}")).len(), 1);
    let shown = httpd.lbctl(&["decisions", "--pool", "app"]).done();
    assert!(shown.out.contains("/app/retry/0") && shown.out.contains("b"), "{}", shown.out);
    httpd.assert_no_crash();
}

fn decisions_stay_over_restarts(mpm: Mpm) {
    let backends = Backend::named(["a", "b"]);
    let mut httpd = server(mpm, &backends, "LuaBalancerDecisions size=40 sample=100%").start();
    let path = |at: usize| json!(format!("/app/{at}"));
    for at in 0..30 {
        httpd.client().get(&format!("/app/{at}"));
    }
    assert_eq!(kept(&httpd, 30)[29]["path"], path(29));
    httpd.graceful();
    assert_eq!(kept(&httpd, 30)[0]["path"], path(0));
    // Another table, with room for more.
    httpd.edit_config("size=40", "size=60");
    httpd.graceful();
    assert_eq!(kept(&httpd, 30)[0]["path"], path(0));
    for at in 30..100 {
        httpd.client().get(&format!("/app/{at}"));
    }
    let all = kept(&httpd, 60);
    assert_eq!((&all[0]["path"], &all[59]["path"]), (&path(40), &path(99)));
    httpd.edit_config("size=60 sample=100%", "off");
    httpd.graceful();
    httpd.client().get("/app/off");
    httpd.client().get("/empty/off");
    assert_eq!(kept(&httpd, 60)[59]["path"], path(99));
    httpd.assert_no_crash();
}

#[test]
fn a_sample_is_a_share_of_the_requests() {
    let backends = Backend::named(["a", "b"]);
    let httpd = server(Mpm::Event, &backends, "LuaBalancerDecisions size=2000 sample=25%").start();
    let mut client = httpd.client();
    for _ in 0..1000 {
        client.get("/app/");
    }
    // Five standard deviations on either side.
    let count = decisions(&httpd, "").len();
    assert!((180..=320).contains(&count), "{count} of 1000");
}

#[test]
fn targets_are_told_by_their_url_and_paths_as_the_client_has_sent_them() {
    let backend = Backend::new("t");
    let target = backend.url();
    let script = format!(
        "function select(r)\n  r.handler = 'proxy:{target}'\n  r.filename = r.uri\n  r.uri = '/else?where=1'\n  return apache2.OK\nend"
    );
    let backends = Backend::named(["a", "b"]);
    let httpd = server(Mpm::Event, &backends, "LuaBalancerDecisions sample=100% always=none")
        .file("t.lua", &script)
        .config("<Location /t>\n  LuaHookSelect t.lua\n</Location>")
        .module("rewrite")
        .config("RewriteEngine On\nRewriteRule ^/old/(.*) /app/new/$1 [PT,QSA]")
        .start();
    httpd.client().get("/app/%ff%3Cb%3E");
    httpd.client().get("/t?q=1");
    httpd.client().get("/old/%41?q=1");
    let all = kept(&httpd, 3);
    assert_eq!(all[0]["path"], "/app/%ff%3Cb%3E", "{}", all[0]);
    assert_eq!((&all[1]["pool"], &all[1]["path"]), (&Value::Null, &json!("/t")), "{}", all[1]);
    assert_eq!(all[2]["path"], "/old/%41", "{}", all[2]);
    let whole = (&all[1]["member"], &all[1]["attempts"]);
    assert_eq!(whole, (&json!(target), &json!([{"member": null, "outcome": "ok"}])), "{}", all[1]);
    let handler = httpd.client().get("/lb/api/v1/decisions");
    assert_eq!(handler.text(), httpd.socket().get("/api/v1/decisions").text());
    let twice = httpd.socket().get("/api/v1/decisions?pool=a&pool=b");
    assert_eq!(twice.status, 422, "{}", twice.text());
}

#[test]
fn a_request_whose_script_has_failed_is_kept_with_its_reason() {
    let backends = Backend::named(["a", "b"]);
    let bad = "function hook(r) error('bad on purpose') end\nfunction wrong(r) return 7.5 end";
    let httpd = server(Mpm::Event, &backends, "LuaBalancerDecisions sample=0%")
        .file("bad.lua", bad)
        .config("<Location /translate>\n  LuaHookTranslate bad.lua hook\n</Location>")
        .config("<Location /select>\n  LuaHookSelect bad.lua hook\n</Location>")
        .config("<Location /wrong>\n  LuaHookSelect bad.lua wrong\n</Location>")
        .config(
            "<Location /pool>\n  LuaHookTranslate bad.lua hook\n  LuaBalancerOnError pool:app\n</Location>",
        )
        .start();
    let paths = ["/translate", "/select", "/wrong"];
    for path in paths {
        assert_eq!(httpd.client().get(&format!("{path}?q=1")).status, 500, "{path}");
    }
    // The script's failure is not the request's end there.
    assert_eq!(httpd.client().get("/pool").status, 200);
    let all = kept(&httpd, 3);
    for (decision, path) in all.iter().zip(paths) {
        let told = ["reason", "status", "path", "pool", "member", "attempts"].map(|key| &decision[key]);
        let expected = [json!("script"), json!(500), json!(path), Value::Null, Value::Null, json!([])];
        assert_eq!(told, expected.each_ref(), "{decision}");
        assert!(!decision["at"].is_null(), "{decision}");
    }
    assert_eq!(decisions(&httpd, "?reason=script").len(), 3);
    httpd.assert_no_crash();
}
