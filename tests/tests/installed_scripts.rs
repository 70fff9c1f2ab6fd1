// SPDX-License-Identifier: Apache-2.0
//! A relative script that is not under ServerRoot is looked for in the folder of the installed
//! ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use server_tests::{Builder, Httpd};

/// Gives the server a `/usr/share` of its own, with one installed script in it, and becomes the
/// rest of the words.
const WITH_INSTALLED: &str = r#"#!/bin/sh
set -e
folder=$(dirname "$0")
mount -t tmpfs none /usr/share
mkdir -p /usr/share/mod_lua_balancer/lua/more
cp "$folder/installed.lua" /usr/share/mod_lua_balancer/lua/shipped.lua
cp "$folder/installed.lua" /usr/share/mod_lua_balancer/lua/more/shipped.lua
chmod -R a+rX /usr/share/mod_lua_balancer
exec "$@"
"#;

/// A server with that folder; None where nobody may mount.
fn builder() -> Option<Builder> {
    let may = Command::new("unshare").args(["--mount", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("no mount namespace here: nothing to show");
        return None;
    }
    let builder = Httpd::builder()
        .file("with-installed.sh", WITH_INSTALLED)
        .file("installed.lua", "function translate(r) return 204 end\nfunction check(m) return true end")
        .file("own.lua", "function translate(r) return 403 end");
    let script = builder.dir().join("with-installed.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let wrapper = format!("unshare --mount {}", script.display());
    Some(builder.under(&wrapper))
}

#[test]
fn a_relative_script_is_found_in_the_installed_folder_unless_server_root_has_it() {
    for name in ["shipped.lua", "lua/shipped.lua", "more/shipped.lua", "lua/more/shipped.lua"] {
        let Some(builder) = builder() else { return };
        let httpd = builder.config(&format!("LuaHookTranslate {name}")).start();
        assert_eq!(httpd.client().get("/x").status, 204, "{name}");
    }
    let Some(builder) = builder() else { return };
    fs::copy(builder.dir().join("own.lua"), builder.dir().join("shipped.lua")).expect("copy");
    let httpd = builder.config("LuaHookTranslate shipped.lua").start();
    assert_eq!(httpd.client().get("/x").status, 403);
}

#[test]
fn every_directive_that_takes_a_script_looks_there() {
    let Some(builder) = builder() else { return };
    let pool = |name: &str, line: &str| {
        format!("<LuaBalancerPool {name}>\nLuaBalancerMember http://127.0.0.1:9\n{line}\n</LuaBalancerPool>")
    };
    let httpd = builder
        .config(&pool("app", "LuaBalancerHealthCheck lua script=shipped.lua"))
        .config(&pool("by", "LuaBalancerMethod lua shipped.lua translate"))
        .config("LuaRegisterFunc named shipped.lua translate\nLuaHookTranslate named")
        .config("<Location /finish>\nLuaHookFinish shipped.lua translate\n</Location>")
        .config("LuaBalancerTimer shipped.lua translate every=1h")
        .start();
    assert_eq!(httpd.client().get("/x").status, 204);
    httpd.assert_no_crash();
}
