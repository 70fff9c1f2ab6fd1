// SPDX-License-Identifier: Apache-2.0
//! The module loads anywhere in the configuration, beside anything, and says what it lacks.

use std::process::Command;

use server_tests::httpd::{Builder, installed};
use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool};

const SCRIPT: &str = "function translate(r) return lb.pool('app') end";

fn balanced(builder: Builder, backend: &Backend) -> Builder {
    builder
        .file("pick.lua", SCRIPT)
        .config(&pool("app", &[(backend, "")], ""))
        .config("ProxyPass /app lb://app")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>")
}

fn assert_serves(httpd: &Httpd) {
    for path in ["/app/x", "/script/x"] {
        let response = httpd.client().get(path);
        assert_eq!((response.status, response.backend()), (200, "a"), "{path}");
    }
    httpd.assert_no_crash();
}

on_every_mpm!(it_loads_in_any_order, it_serves_after_restarts);

fn it_loads_in_any_order(mpm: Mpm) {
    let backend = Backend::new("a");
    let builder = || balanced(Httpd::builder().mpm(mpm), &backend);
    assert_serves(&builder().balancer_first().start());
    assert_serves(&builder().balancer_after("alias").start());
    assert_serves(&builder().balancer_after("proxy").start());
    assert_serves(&builder().start());
}

fn it_serves_after_restarts(mpm: Mpm) {
    let backend = Backend::new("a");
    let mut httpd = balanced(Httpd::builder().mpm(mpm), &backend).balancer_first().start();
    assert_serves(&httpd);
    httpd.graceful();
    assert_serves(&httpd);
    httpd.restart();
    assert_serves(&httpd);
    assert!(httpd.stop().1.success());
}

#[test]
fn it_lives_beside_mod_lua() {
    let backend = Backend::new("a");
    for first in [true, false] {
        let builder = balanced(Httpd::builder(), &backend).module("lua");
        let handler = format!("LuaMapHandler ^/handler$ {}/handler.lua", builder.dir().display());
        let builder = builder
            .file("handler.lua", "function handle(r) r:puts(_VERSION) return apache2.OK end")
            .config(&handler);
        let httpd = if first { builder.balancer_first() } else { builder }.start();
        assert_serves(&httpd);
        assert!(httpd.client().get("/handler").text().starts_with("Lua 5."));
        assert_serves(&httpd);
    }
}

#[test]
fn it_lives_beside_mod_security() {
    if !installed().has("security2") {
        eprintln!("skipped: mod_security2 is not installed");
        return;
    }
    let backend = Backend::new("a");
    for first in [true, false] {
        let builder = balanced(Httpd::builder(), &backend)
            .module("unique_id")
            .module("security2")
            .file("rule.lua", "function main() return nil end")
            .config("SecRuleEngine On\nSecRuleScript rule.lua \"id:2,phase:1,deny\"")
            .config("SecRule ARGS \"@contains evil\" \"id:1,phase:1,deny,status:406\"");
        let httpd = if first { builder.balancer_first() } else { builder }.start();
        assert_serves(&httpd);
        assert_eq!(httpd.client().get("/app/?q=evil").status, 406);
    }
}

#[test]
fn without_mod_proxy_one_line_says_so() {
    for builder in [Httpd::builder(), Httpd::builder().balancer_first()] {
        let test = builder.without("proxy_http").without("proxy").configtest();
        assert!(!test.ok, "{}", test.output);
        assert!(!test.says("undefined symbol"), "{}", test.output);
        let lines = test.output.lines().filter(|line| line.contains("mod_proxy")).count();
        assert_eq!(lines, 1, "{}", test.output);
        assert!(test.says("a2enmod|LoadModule"), "{}", test.output);
    }
}

/// The words in front of httpd that give it another module magic number: a library that is loaded
/// before it.
fn httpd_of_minor(builder: &Builder, minor: u32) -> String {
    let (source, library) = (builder.dir().join("minor.c"), builder.dir().join("minor.so"));
    let text = format!(
        "extern int core_module[];\n__attribute__((constructor)) static void f(void) {{ core_module[1] = {minor}; }}\n"
    );
    std::fs::write(&source, text).expect("write the source");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.expect("run cc").success(), "{}", source.display());
    format!("env LD_PRELOAD={}", library.display())
}

#[test]
fn a_module_that_was_built_for_a_newer_httpd_says_so_in_one_line_and_does_not_load() {
    let builder = balanced(Httpd::builder(), &Backend::new("a"));
    let older = httpd_of_minor(&builder, 1);
    let said = builder.under(&older).try_start().expect_err("it starts");
    let own: Vec<&str> = said.lines().filter(|line| line.contains("mod_lua_balancer was built")).collect();
    let [line] = own[..] else { panic!("{said}") };
    assert!(line.contains("module magic number 20120211:") && line.contains("(20120211:1)"), "{line}");
    assert!(said.contains("lua_balancer.c\" is not compatible"), "{said}");
}

#[test]
fn a_module_that_was_built_for_an_httpd_of_minor_serves() {
    let backend = Backend::new("a");
    let builder = balanced(Httpd::builder(), &backend);
    let newer = httpd_of_minor(&builder, 9999);
    assert_serves(&builder.under(&newer).start());
}

#[test]
fn every_configtest_of_a_good_configuration_passes() {
    let backend = Backend::new("a");
    let test = balanced(Httpd::builder(), &backend).configtest();
    assert!(test.ok, "{}", test.output);
    let httpd = balanced(Httpd::builder(), &backend).start();
    assert!(httpd.configtest().ok);
    assert_serves(&httpd);
}
