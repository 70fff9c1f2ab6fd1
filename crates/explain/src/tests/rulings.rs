// SPDX-License-Identifier: Apache-2.0
//! Hooks, their answers, and mod_proxy's lines behind them.

use super::*;

#[test]
fn each_answer_of_a_hook_has_its_ruling() {
    let rows = [
        ("return lb.pool('app')", "app a first 200 ok"),
        ("return lb.pool('app'):member('b')", "app b script 200 ok"),
        ("return lb.pool('app'):pick(r)", "app a first 200 ok"),
        ("return lb.pool('app'):random()", "app b random 200 ok"),
        ("return {lb.pool('app'):member('b'), lb.pool('app'):member('a')}", "app b script 200 ok"),
        (
            "return {lb.pool('app'):where{zone = 'nowhere'}, lb.pool('app'):member('b')}",
            "app b script 200 ok",
        ),
        ("return 'http://127.0.0.1:9/x'", "http://127.0.0.1:9 script 200 ok"),
        ("return 404", "404"),
        ("return nil", "declined"),
        ("return apache2.DECLINED", "declined"),
        ("return apache2.OK", "declined"),
        ("return apache2.DONE", "200"),
        ("r.status = 410 return apache2.DONE", "410"),
        ("return nil, 'closed for today'", "503 no member closed for today"),
        ("error('no idea')", "500 script"),
        ("return 'ftp://127.0.0.1/'", "500 script"),
    ];
    for (body, expected) in rows {
        assert_eq!(Stage::answering(body).said("translate"), expected, "{body}");
    }
}

/// mod_lua's manner: a file name or a handler says where a request goes.
#[test]
fn a_proxy_file_name_or_handler_is_a_ruling() {
    let rows = [
        ("r.filename = 'proxy:lb://app/x' return apache2.OK", "app a first 200 ok"),
        ("r.filename = 'proxy:lb://app?q=1' return apache2.OK", "app a first 200 ok"),
        ("r.filename = 'proxy:http://127.0.0.1:9/x' return apache2.OK", "http://127.0.0.1:9 script 200 ok"),
        ("r.filename = 'proxy:balancer://other/x' return apache2.OK", "declined"),
        ("r.filename = 'proxy:lb://none/x' return apache2.OK", "503 no member there is no pool none"),
        ("r.filename = '/a/file' return apache2.OK", "declined"),
        // A declined request goes by its file name only where somebody made it a proxy's.
        ("r.filename = 'proxy:lb://app/x' return nil", "declined"),
        ("r.handler = 'proxy:lb://app/' return nil", "app a first 200 ok"),
        ("r.handler = 'server-status' return nil", "declined"),
    ];
    for (body, expected) in rows {
        assert_eq!(Stage::answering(body).said("translate"), expected, "{body}");
    }
}

#[test]
fn a_member_that_was_removed_meanwhile_is_nobody() {
    let stage = Stage::answering("local b = lb.pool('app'):member('b') lb.pool('app'):remove('b') return b");
    assert_eq!(stage.said("translate"), "503 no member member b was removed");
    let stage = Stage::answering(
        "local p = lb.pool('app') local b = p:member('b') p:remove('b') return {b, p:member('a')}",
    );
    assert_eq!(stage.said("translate"), "app a script 200 ok");
}

#[test]
fn a_failed_script_has_the_consequence_that_is_configured() {
    let pool = |name: &str| OnError::Pool(name.to_owned());
    let rows = [
        (OnError::Error, "500 script", 1),
        (OnError::Decline, "declined", 1),
        (pool("app"), "app a first 200 ok", 1),
        (pool("none"), "500 script", 2),
    ];
    for (on_error, expected, errors) in rows {
        let stage = Stage::answering("error('no idea')");
        let told = stage.told("translate", &on_error);
        assert_eq!(stage.line_of(&told), expected, "{on_error:?}");
        let said = stage.errors();
        assert!(said.contains("script failed") && said.contains("no idea"), "{said}");
        assert_eq!(said.split("; ").count(), errors, "{said}");
    }
}

/// Translate hooks in order, then mod_proxy's line, then select hooks.
#[test]
fn the_first_that_decides_early_is_overruled_by_the_first_that_decides_late() {
    const HOOKS: &str = "local app = lb.pool('app')\n\
        function declines(r) return nil end\n\
        function chooses_a(r) return app:member('a') end\n\
        function chooses_b(r) return app:member('b') end\n\
        function answers(r) return 403 end";
    let line = || Some(("lb://app/".to_owned(), "ProxyPass / lb://app/".to_owned()));
    let other = || Some(("http://elsewhere/".to_owned(), "ProxyPass / http://elsewhere/".to_owned()));
    let none = || None;
    type Names = &'static [&'static str];
    type Line<'l> = &'l dyn Fn() -> Option<(String, String)>;
    type Row<'l> = (Names, Line<'l>, Names, &'static str, &'static str, bool);
    let rows: [Row<'_>; 9] = [
        (
            &["declines", "chooses_b", "answers"],
            &line,
            &[],
            "declines chooses_b",
            "app b script 200 ok",
            false,
        ),
        (&["declines"], &line, &[], "declines", "app a first 200 ok", true),
        (&["declines"], &other, &[], "declines", "declined", false),
        (&[], &line, &[], "", "app a first 200 ok", true),
        (&[], &none, &[], "", "declined", false),
        (&[], &line, &["chooses_b"], "chooses_b", "app b script 200 ok", false),
        (
            &["chooses_a"],
            &none,
            &["declines", "chooses_b"],
            "chooses_a declines chooses_b",
            "app b script 200 ok",
            false,
        ),
        (&["chooses_b"], &none, &["declines"], "chooses_b declines", "app b script 200 ok", false),
        (&["answers"], &line, &["chooses_b"], "answers", "403", false),
    ];
    for (early, line, late, asked, expected, by_line) in rows {
        let stage = Stage::new(APP, HOOKS);
        let hooks = |names: &[&str], phase| names.iter().map(|name| stage.hook(name, phase)).collect();
        let place = HookPlace {
            early: hooks(early, Phase::Translate),
            line,
            late: hooks(late, Phase::Select),
            on_error: &OnError::Error,
        };
        let told = stage.told_at(&place);
        let names: Vec<&str> = told.visited.hooks.iter().map(|call| call.hook.function.as_str()).collect();
        assert_eq!(names.join(" "), asked, "{early:?} {late:?}");
        assert_eq!(stage.line_of(&told), expected, "{early:?} {late:?}");
        assert_eq!(told.visited.by_line.is_some(), by_line, "{early:?} {late:?}");
    }
}

#[test]
fn a_full_pool_is_waited_for_only_where_it_has_a_queue() {
    for (queue, sends) in [("", false), ("LuaBalancerSet queue=5s\n", true)] {
        let pools = format!(
            "<LuaBalancerPool app>\nLuaBalancerMember http://127.0.0.1:1 name=a max_inflight=1\n\
             LuaBalancerMethod first\n{queue}</LuaBalancerPool>\n"
        );
        let stage = Stage::new(&pools, "function translate(r) return lb.pool('app'):pick(r) end");
        stage.first_has(1);
        let told = stage.told("translate", &OnError::Error);
        let Ruling::Send(plan) = &told.visited.verdict else { panic!("{:?}", told.visited.verdict) };
        let waits = matches!(plan.decision, balance::choosing::Decision::Pool { first: None, .. });
        assert_eq!(waits, sends, "{queue:?}: {:?}", plan.decision);
        assert!(told.ended.member.is_none(), "a full member is passed over");
    }
}

#[test]
fn the_name_of_a_pool_ends_with_the_path_or_the_query() {
    for (url, pool) in [
        ("lb://app/", Some("app")),
        ("lb://app", Some("app")),
        ("lb://app?x=/y", Some("app")),
        ("lb:///x", Some("")),
        ("LB://app/", None),
        ("http://app/", None),
    ] {
        assert_eq!(crate::visit::pool_in(url), pool, "{url}");
    }
}
