// SPDX-License-Identifier: Apache-2.0
//! Hooks and rules that a restart adds or takes away. Requests look for them only where the
//! configuration has any at all.

use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool};

const SCRIPT: &str = "function translate(r) return lb.pool('app') end\n\
                      select = translate\n\
                      function finish(r) r:warn('finished ' .. r.uri) end";

/// Where a configuration gets more.
const NOTHING: &str = "# nothing more";

/// Each way to a backend, and what makes it one.
const WAYS: [(&str, &str); 3] = [
    ("/translate", "<Location /translate>\n  LuaHookTranslate pick.lua\n</Location>"),
    ("/select", "<Location /select>\n  LuaHookSelect pick.lua\n</Location>"),
    ("/rule", "RewriteEngine on\nRewriteRule ^/rule lb://app/x [P]"),
];

const FINISH: &str = "LuaHookFinish pick.lua finish";

on_every_mpm!(hooks_and_rules_that_a_restart_brings_are_heard, a_rule_of_htaccess_alone_is_heard_at_once);

fn statuses(httpd: &Httpd) -> Vec<u16> {
    WAYS.iter().map(|(path, _)| httpd.client().get(path).status).collect()
}

fn hooks_and_rules_that_a_restart_brings_are_heard(mpm: Mpm) {
    let backend = Backend::new("a");
    let builder = Httpd::builder().mpm(mpm).file("pick.lua", SCRIPT);
    let mut httpd = builder
        .config(&pool("app", &[(&backend, "")], ""))
        .config("ProxyPass /app lb://app")
        .config(NOTHING)
        .start();
    assert_eq!(statuses(&httpd), [404, 404, 404], "{}", httpd.error_log());
    for (nth, (path, directives)) in WAYS.iter().enumerate() {
        httpd.edit_config(NOTHING, directives);
        httpd.graceful();
        let now = statuses(&httpd);
        assert_eq!(now[nth], 200, "{path}\n{}", httpd.error_log());
        assert_eq!(now.iter().filter(|status| **status == 200).count(), 1, "{path}: {now:?}");
        httpd.edit_config(directives, NOTHING);
        httpd.restart();
        assert_eq!(statuses(&httpd), [404, 404, 404], "{path}\n{}", httpd.error_log());
    }
    httpd.edit_config(NOTHING, FINISH);
    httpd.graceful();
    assert_eq!(httpd.client().get("/app/heard").status, 200);
    httpd.wait_for_log("finished /app/heard");
    httpd.edit_config(FINISH, NOTHING);
    httpd.restart();
    assert_eq!(httpd.client().get("/app/unheard").status, 200);
    httpd.wait_for_access("/app/unheard");
    assert_eq!(httpd.count_log("finished /app/unheard"), 0, "{}", httpd.error_log());
    httpd.assert_no_crash();
}

/// The first request of every child meets the rule as it reads it.
fn a_rule_of_htaccess_alone_is_heard_at_once(mpm: Mpm) {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .mpm(mpm)
        .config(&pool("app", &[(&backend, "")], ""))
        .config("<Directory />\nAllowOverride All\nRequire all granted\n</Directory>")
        .file("htdocs/by/.htaccess", "RewriteEngine on\nRewriteRule ^(.*)$ lb://app/$1 [P]")
        .start();
    for nth in 0..20 {
        let answer = httpd.client().get(&format!("/by/{nth}"));
        assert_eq!((answer.status, answer.backend()), (200, "a"), "{nth}\n{}", httpd.error_log());
        assert_eq!(answer.header("X-Uri"), Some(format!("/{nth}").as_str()));
    }
    // A client's path that looks like such a target is left alone.
    let foreign = httpd.client().get("/lb://app/x");
    assert_eq!(foreign.status, 404, "{}", httpd.error_log());
    httpd.assert_no_crash();
}
