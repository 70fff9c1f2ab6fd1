// SPDX-License-Identifier: Apache-2.0
//! Another version of the module takes the place of the one that serves: what was changed while
//! running goes on.
//!
//! `LUA_BALANCER_MOVED_SO` names a build whose shared table has another layout (`scripts/moved`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use server_tests::{Backend, Httpd, Mpm, module, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// Puts a build in the place of the one that a server loads, as `make install` does.
fn install(build: &Path, place: &Path) {
    let new = place.with_extension("new");
    fs::copy(build, &new).expect("copy the module");
    fs::rename(&new, place).expect("rename the module into place");
}

/// The two builds, one way and the other; None without a build of another layout.
fn ways() -> Option<[(PathBuf, PathBuf); 2]> {
    let moved = module::with_moved_table()?;
    let own = module::shared_object().to_owned();
    Some([(own.clone(), moved.clone()), (moved, own)])
}

/// Requests of the pool and attempts at members that ended well, as they are counted.
fn answered(httpd: &Httpd) -> Vec<u64> {
    let text = httpd.snapshot();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("pool_counts app ") || line.starts_with("member_counts app/"));
    let ok = |line: &str| line.split(" ok=").nth(1)?.split(' ').next()?.parse().ok();
    lines.map(|line| ok(line).unwrap_or_else(|| panic!("no count in {line}"))).collect()
}

on_every_mpm!(an_upgrade_with_another_layout_keeps_what_was_changed_while_running);

fn an_upgrade_with_another_layout_keeps_what_was_changed_while_running(mpm: Mpm) {
    let Some(ways) = ways() else {
        eprintln!("skipped: LUA_BALANCER_MOVED_SO names no build");
        return;
    };
    for (from, to) in ways {
        let [a, b, c, d] = Backend::named(["a", "b", "c", "d"]);
        let builder = Httpd::builder().mpm(mpm).with_acts().with_member_states();
        let place = builder.dir().join("mod_under_upgrade.so");
        install(&from, &place);
        let scripted = format!(
            "lb.define_pool('scripted', {{ method = 'round_robin', {{ url = '{}', name = 'a' }}, {{ url = '{}', name = 'b' }} }})\n\
             function translate(r) return nil end",
            a.url(),
            b.url()
        );
        let mut httpd = builder
            .with_module(&place)
            .file("pools.lua", &scripted)
            .config("LuaHookTranslate pools.lua")
            .config(&pool("app", &[(&a, ""), (&b, ""), (&c, "weight=2")], ""))
            .config("ProxyPass /app lb://app")
            .start();
        httpd.act("app/drain/a");
        httpd.act("app/disable/b");
        httpd.act("app/set_weight/c/7");
        httpd.act(&format!("app/add/late/{}", d.port()));
        httpd.act("app/set_weight/late/3");
        httpd.act("scripted/drain/a");
        let before = (httpd.members("app"), httpd.members("scripted"));
        for _ in 0..10 {
            assert_eq!(httpd.client().get("/app/x").status, 200);
        }
        wait_until("the requests to be counted", SOON, || answered(&httpd)[0] == 10);
        let counted = answered(&httpd);
        install(&to, &place);
        httpd.graceful();
        wait_until("the new children alone", SOON, || httpd.count_log("configured, 1 pools") >= 2);
        assert_eq!(answered(&httpd), counted, "{} to {}", from.display(), to.display());
        assert_eq!(
            (httpd.members("app"), httpd.members("scripted")),
            before,
            "{} to {}",
            from.display(),
            to.display()
        );
        httpd.wait_for_log("another version: 6 members go on");
        for _ in 0..10 {
            let response = httpd.client().get("/app/x");
            assert!(["c", "d"].contains(&response.backend()), "{response:?} of a drained or disabled member");
        }
        httpd.act("app/enable/a");
        httpd.restart();
        assert_eq!(httpd.member("app", "a").state, "up");
        assert_eq!(httpd.member("app", "b").state, "disabled");
        assert_eq!(httpd.member("app", "late").weight, 3);
        httpd.assert_no_crash();
    }
}

#[test]
fn an_upgrade_follows_the_new_configuration_and_what_checks_said() {
    let Some([(from, to), _]) = ways() else {
        eprintln!("skipped: LUA_BALANCER_MOVED_SO names no build");
        return;
    };
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let builder = Httpd::builder().with_acts().with_member_states();
    let place = builder.dir().join("mod_under_upgrade.so");
    install(&from, &place);
    // One check a minute: the new children have not asked again when the test looks.
    let check = "LuaBalancerHealthCheck http uri=/health interval=1m rise=2 fall=1 initial=down";
    c.health_status(500);
    let mut httpd = builder
        .with_module(&place)
        .config(&pool("app", &[(&a, "weight=2"), (&b, "")], ""))
        .config(&pool("checked", &[(&c, "")], check))
        .config("ProxyPass /app lb://app")
        .start();
    wait_until("c to be checked", SOON, || httpd.member("checked", "c").state == "down");
    httpd.act("app/drain/a");
    httpd.act("app/set_weight/a/5");
    httpd.edit_config("weight=2", "weight=4");
    install(&to, &place);
    httpd.graceful();
    wait_until("the new weight", SOON, || httpd.member("app", "a").weight == 4);
    assert_eq!(httpd.member("app", "a").state, "draining", "the line changed the weight only");
    assert_eq!(httpd.member("checked", "c").state, "down");
    httpd.assert_no_crash();
}
