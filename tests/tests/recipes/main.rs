// SPDX-License-Identifier: Apache-2.0
//! The recipes of docs/recipes as they stand, with other addresses and ports: each keeps its
//! page's promise.

mod applications;
mod clients;
mod first_hour;
mod members;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Request, Response};

const SOON: Duration = Duration::from_secs(15);

/// A recipe's configuration, its scripts with their names, and the modules that it enables.
struct Recipe {
    config: String,
    scripts: Vec<(String, String)>,
    modules: Vec<String>,
}

/// Modules that every recipe asks for, or that every server of the tests has.
const COMMON: [&str; 3] = ["proxy", "proxy_http", "lua_balancer"];
/// Modules of a test's server that Debian's httpd has only when they were enabled.
const NOT_ENABLED: [&str; 2] = ["headers", "rewrite"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes")
}

/// The blocks of a page. A script's first line is a comment with its name.
fn recipe(page: &str) -> Recipe {
    let text = fs::read_to_string(folder().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let fenced = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let (mut config, mut scripts, mut modules) = (String::new(), Vec::new(), Vec::new());
    for (language, block) in fenced {
        match language {
            "apache" => config.push_str(&format!("{block}\n")),
            "sh" => modules.extend(enabled(block)),
            "lua" => {
                let name = block.lines().next().and_then(|line| line.strip_prefix("-- "));
                let name = name.unwrap_or_else(|| panic!("{page}: a script without a name"));
                scripts.push((name.to_owned(), block.to_owned()));
            }
            _ => {}
        }
    }
    assert!(config.contains("<LuaBalancerPool"), "{page}: no pool");
    Recipe { config, scripts, modules }
}

/// The modules that commands enable, with those that Debian enables along.
fn enabled(commands: &str) -> Vec<String> {
    let lines = commands.lines().filter_map(|line| line.strip_prefix("sudo a2enmod "));
    let words = lines.flat_map(str::split_whitespace).filter(|word| !COMMON.contains(word));
    words
        .flat_map(|word| if word == "ssl" { vec!["socache_shmcb", "ssl"] } else { vec![word] })
        .map(str::to_owned)
        .collect()
}

impl Recipe {
    /// Another text in the place of one that the recipe has.
    fn put(mut self, from: &str, to: &str) -> Self {
        let texts = || self.scripts.iter().map(|(_, text)| text).chain([&self.config]);
        assert!(texts().any(|text| text.contains(from)), "no {from:?} in the recipe");
        self.config = self.config.replace(from, to);
        for (_, text) in &mut self.scripts {
            *text = text.replace(from, to);
        }
        self
    }

    /// A backend's address in the place of a member's.
    fn at(self, address: &str, backend: &Backend) -> Self {
        self.at_port(address, backend.port())
    }

    fn at_port(self, address: &str, port: u16) -> Self {
        self.put(address, &format!("127.0.0.1:{port}"))
    }

    /// Backends in the places of 192.168.1.10:8080 and its neighbours.
    fn with<const N: usize>(self, backends: [&Backend; N]) -> Self {
        backends.into_iter().enumerate().fold(self, |recipe, (index, backend)| {
            recipe.at(&format!("192.168.1.{}:8080", index + 10), backend)
        })
    }

    /// The recipe in a server's configuration, which has the modules of a fresh Debian and those
    /// that the page enables. No address of the page is left in a member's line.
    fn on(self, builder: Builder) -> Builder {
        let builder = NOT_ENABLED.into_iter().fold(builder, Builder::without);
        let builder = self.modules.iter().fold(builder, |builder, name| builder.module(name));
        let has_host = self.config.contains("*:80>");
        let own = if has_host { self.put("*:80>", &format!("*:{}>", builder.port())) } else { self };
        let members = own.config.lines().filter(|line| line.contains("LuaBalancerMember"));
        let left: Vec<_> =
            members.filter(|line| !line.contains("127.0.0.1") && !line.contains("localhost")).collect();
        assert!(left.is_empty(), "{left:?}");
        let builder = own.scripts.iter().fold(builder, |builder, (name, text)| builder.file(name, text));
        builder.config(&own.config)
    }

    fn start(self) -> Httpd {
        self.on(Httpd::builder()).start()
    }
}

/// A server whose clients say their address in `X-Forwarded-For`.
fn of_any_address() -> Builder {
    Httpd::builder()
        .module("remoteip")
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
}

fn from(httpd: &Httpd, address: &str, path: &str) -> Response {
    httpd.client().send(&Request::get(path).header("X-Forwarded-For", address))
}

/// The names of the recipes' pages.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("the recipes");
    let names = entries.map(|entry| entry.expect("a file").file_name().into_string().expect("a name"));
    let pages: Vec<_> = names.filter(|name| name != "README.md").collect();
    assert!(pages.len() >= 12, "{pages:?}");
    pages
}

/// A recipe without a test would be a promise of nobody.
#[test]
fn every_recipe_is_run_by_a_test() {
    let tests = ["applications.rs", "clients.rs", "members.rs"].map(|file| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes").join(file))
    });
    let tests = tests.map(|text| text.expect("a file of tests")).concat();
    for name in pages() {
        assert!(tests.contains(&format!("recipe(\"{name}\")")), "{name}: no test runs it");
    }
}

/// LuaHookTranslate runs before access is checked (docs/security.md).
#[test]
fn only_recipes_behind_access_control_change_members() {
    let changes = [":drain(", ":disable(", ":enable(", ":set_weight(", ":add{", ":add(", ":remove("];
    for name in pages() {
        let recipe = recipe(&name);
        let is_guarded = recipe.config.contains("LuaHookSelect") && recipe.config.contains("Require ");
        let is_safe = is_guarded && !recipe.config.contains("LuaHookTranslate");
        for (script, text) in recipe.scripts {
            let found: Vec<_> = changes.iter().filter(|change| text.contains(**change)).collect();
            assert!(is_safe || found.is_empty(), "{name}: {script} calls {found:?}");
        }
    }
}
