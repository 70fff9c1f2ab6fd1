// SPDX-License-Identifier: Apache-2.0
//! A script that fails costs its request what `LuaBalancerOnError` says, and costs the thread
//! nothing.

use std::time::{Duration, Instant};

use server_tests::{Backend, Httpd, Mpm, on_every_mpm, patience, pool};

const FAILURES: [(&str, &str); 20] = [
    ("raises", "error('on purpose')"),
    ("raises_table", "error({ code = 1 })"),
    ("raises_nil", "error(nil)"),
    ("indexes_nil", "local t = nil; return t.field"),
    ("unknown_pool", "return lb.pool('nowhere')"),
    ("loops", "while true do end"),
    ("loops_in_pcall", "while true do pcall(function() while true do end end) end"),
    ("loops_in_coroutine", "coroutine.wrap(function() while true do end end)()"),
    ("loops_in_nested_coroutines", "local function f() coroutine.wrap(f)() end while true do pcall(f) end"),
    (
        "loops_in_xpcall",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
    ),
    ("allocates", "local t = {} while true do t[#t + 1] = ('x'):rep(1024) .. #t end"),
    (
        "allocates_in_pcall",
        "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(65536) .. #t end) end",
    ),
    ("allocates_at_once", "return ('x'):rep(1 << 40)"),
    ("recurses", "local function f() return 1 + f() end return f()"),
    ("recurses_in_pcall", "local function f() return pcall(f) and f() end while true do f() end"),
    ("returns_boolean", "return true"),
    ("returns_function", "return print"),
    ("returns_bad_number", "return 9999"),
    ("returns_bad_url", "return 'not a url'"),
    ("returns_bad_scheme", "return 'ftp://127.0.0.1:1'"),
];

fn scripts() -> String {
    FAILURES.iter().map(|(name, body)| format!("function {name}(r)\n  {body}\nend\n")).collect()
}

/// `/POLICY/FAILURE` runs one failing function under one policy; `/good` runs one that works.
fn stage(mpm: Mpm, a: &Backend, spare: &Backend) -> Httpd {
    let mut config = [pool("app", &[(a, "")], ""), pool("spare", &[(spare, "")], "")].concat();
    config.push_str("LuaBalancerScriptLimit time=50ms memory=16M\nProxyPass /decline lb://app\n");
    for (policy, word) in [("error", "error"), ("decline", "decline"), ("pool", "pool:spare")] {
        for (name, _) in FAILURES {
            config.push_str(&format!(
                "<Location /{policy}/{name}>\n  LuaHookTranslate bad.lua {name}\n  LuaBalancerOnError {word}\n</Location>\n"
            ));
        }
    }
    Httpd::builder()
        .mpm(mpm)
        .children(1)
        .threads(4)
        .file("bad.lua", &scripts())
        .file("good.lua", "function translate(r) return lb.pool('app') end")
        .config(&config)
        .config("<Location /good>\n  LuaHookTranslate good.lua\n</Location>")
        .start()
}

on_every_mpm!(every_failure_gets_what_on_error_says_and_the_thread_lives);

fn every_failure_gets_what_on_error_says_and_the_thread_lives(mpm: Mpm) {
    let [a, spare] = Backend::named(["a", "spare"]);
    let httpd = stage(mpm, &a, &spare);
    let children = httpd.wait_for_children(1);
    let mut wrong = Vec::new();
    for (name, _) in FAILURES {
        for (policy, expected) in [("error", (500, "")), ("decline", (200, "a")), ("pool", (200, "spare"))] {
            let start = Instant::now();
            let mut client = httpd.client();
            match client.try_get(&format!("/{policy}/{name}")) {
                Ok(response) if (response.status, response.backend()) == expected => {}
                Ok(response) => {
                    wrong.push(format!("{policy}/{name}: {} {:?}", response.status, response.backend()))
                }
                Err(error) => wrong.push(format!("{policy}/{name}: {error}")),
            }
            if start.elapsed() > patience(Duration::from_secs(2)) {
                wrong.push(format!("{policy}/{name}: took {:?}", start.elapsed()));
            }
            assert_eq!(client.get("/good/").backend(), "a", "after {policy}/{name}; before: {wrong:#?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    httpd.assert_no_crash();
    assert!(children.iter().all(|pid| httpd.children().contains(pid)), "a child was replaced");
}

#[test]
fn a_failure_is_one_error_line_with_the_place() {
    let [a, spare] = Backend::named(["a", "spare"]);
    let httpd = stage(Mpm::Event, &a, &spare);
    httpd.client().get("/error/raises");
    httpd.wait_for_log(r"\[lua_balancer:error\].*bad\.lua:2: on purpose");
    assert_eq!(httpd.count_log("on purpose"), 1);
    assert_eq!(httpd.count_log("traceback"), 0);
}

#[test]
fn debug_level_adds_a_traceback() {
    let httpd = Httpd::builder()
        .log_level("notice lua_balancer:debug")
        .file("bad.lua", "local function inner() error('on purpose') end\nfunction translate(r) inner() end")
        .config("LuaHookTranslate bad.lua")
        .start();
    httpd.client().get("/");
    httpd.wait_for_log("traceback");
}

#[test]
fn failures_under_load_leave_every_thread_alive() {
    let [a, spare] = Backend::named(["a", "spare"]);
    let httpd = stage(Mpm::Event, &a, &spare);
    let loops = server_tests::Load::start(httpd.port(), "/error/loops_in_pcall", 4);
    loops.wait_for(20);
    let tally = loops.stop();
    assert_eq!(tally.statuses.keys().collect::<Vec<_>>(), [&500], "{tally:?}");
    let good = server_tests::Load::start(httpd.port(), "/good/", 4);
    good.wait_for(100);
    good.stop().assert_all_ok();
}

#[test]
fn the_sandbox_keeps_the_system_out() {
    let checks = [
        "os.execute",
        "os.exit",
        "os.remove",
        "os.rename",
        "os.tmpname",
        "os.setlocale",
        "io",
        "debug",
        "package.loadlib",
    ];
    let rows: String =
        checks.iter().map(|name| format!("check({name:?}, function() return {name} end)\n")).collect();
    let script = format!(
        "local left = {{}}\nlocal function check(name, f) local ok, v = pcall(f) if ok and v ~= nil then left[#left+1] = name end end\n\
         {rows}\nif pcall(function() return assert(load(string.dump(function() return 1 end))) end) then left[#left+1] = 'byte code' end\n\
         function translate(r) r.subprocess_env['LEFT'] = 'left:' .. table.concat(left, ' ') return 204 end"
    );
    let left = |sandbox: &str| {
        let httpd = Httpd::builder()
            .file("pick.lua", &script)
            .config(sandbox)
            .config("LuaHookTranslate pick.lua\nHeader always set X-Left \"%{LEFT}e\"")
            .start();
        httpd.client().get("/").header("X-Left").expect("X-Left").to_owned()
    };
    assert_eq!(left(""), "left:");
    let open = left("LuaBalancerSandbox off");
    assert!(open.contains("io") && open.contains("os.execute"), "{open}");
    assert!(!open.contains("debug") && !open.contains("byte code"), "{open}");
}
