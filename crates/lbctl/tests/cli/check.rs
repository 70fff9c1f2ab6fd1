// SPDX-License-Identifier: Apache-2.0
//! `lbctl check`.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::{Folder, root};

fn checked(conf: &str) -> String {
    let folder = Folder::with(&[
        ("httpd.conf", conf),
        ("good.lua", "function select(r) return lb.pool('app') end\n"),
        ("idle.lua", "function select(r) return nil end\n"),
        ("broken.lua", "function select(r) return end end\n"),
        ("forgetful.lua", "-- return lb.pool('app')\nfunction select(r)\n  lb.pool('app'):pick()\nend\n"),
        (
            "defines.lua",
            "lb.define_pool('made', { { url = 'http://a:1' } })\nfunction select(r) return lb.pool('made') end\n",
        ),
    ]);
    folder.lbctl(&["check", "--without-httpd", "httpd.conf"]).whole()
}

fn pool(name: &str, lines: &str) -> String {
    format!("<LuaBalancerPool {name}>\n{lines}\n</LuaBalancerPool>\n")
}

const APP: &str = "  LuaBalancerMember http://a:1 name=a\n  LuaBalancerMember http://b:2 name=b";

#[test]
fn the_readmes_configuration_has_nothing_wrong() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.split("```apache\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = Folder::with(&[("httpd.conf", lines)]);
    folder.write("lua/balancer.lua", std::fs::read(root().join("lua/balancer.lua")).unwrap());
    let said = folder.lbctl(&["check", "--without-httpd", "httpd.conf"]).done();
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
}

#[test]
fn legal_lines_that_are_probably_wrong_are_told_with_their_place() {
    let cases = [
        pool("app", "") + "ProxyPass / lb://app/\n",
        pool("app", APP) + "ProxyPass / lb://ap/\n",
        pool("app", APP) + "<Location /x>\n  SetHandler proxy:lb://other\n</Location>\n",
        pool("app", APP) + "LuaHookTranslate good.lua select\nLuaBalancerOnError pool:spare\n",
        pool("app", "  LuaBalancerMember http://a:1 name=a\n  LuaBalancerMember http://a:1 name=b"),
        pool("app", "  LuaBalancerMember http://a:1 weight=0\n  LuaBalancerMember http://b:1 weight=0"),
        pool("app", &format!("{APP}\n  LuaBalancerSet zone=eu")),
        pool(
            "app",
            "  LuaBalancerMember http://a:1 max_inflight=5\n  LuaBalancerMember http://b:1 max_inflight=5",
        ),
        pool("app", &format!("{APP}\n  LuaBalancerHealthCheck tcp interval=1s timeout=3s")),
        pool("app", &format!("{APP}\n  LuaBalancerSticky cookie=S"))
            + &pool("two", &format!("{APP}\n  LuaBalancerSticky cookie=S")),
        pool("app", &format!("{APP}\n  LuaBalancerMethod maglev")),
        pool("app", "  LuaBalancerMember http://a:1 status=+D"),
        pool("app", APP) + "LuaHookTranslate idle.lua select\n",
        pool("app", APP) + "LuaHookTranslate forgetful.lua select\n",
        // And what the server itself would refuse.
        pool("app", APP) + "LuaHookTranslate broken.lua select\n",
        pool("app", APP) + "LuaHookTranslate gone.lua select\n",
        pool("app", APP) + "LuaHookTranslate good.lua choose\n",
        pool("app", "  LuaBalancerMember http://a:1 wieght=3"),
        pool("app", "  LuaBalancerMember htp:/a"),
        pool("app", &format!("{APP}\n  LuaBalancerMethod best")),
        pool("app", &format!("{APP}\n  LuaBalancerMember http://a:1 name=a")),
        pool("app", APP) + &pool("APP", APP),
        pool("a/b", APP),
        pool("app", &format!("{APP}\n  ProxyPass / lb://x/")),
        format!("<VirtualHost *:80>\n{}</VirtualHost>\n", pool("app", APP)),
        "LuaBalancerMember http://a:1\n".into(),
        "LuaBalancerPoll app\n".into(),
        "LuaBalancerDict sessions 1K\n".into(),
        "LuaBalancerScriptLimit time=0\n".into(),
        "LuaBalancerCodeCache sometimes\n".into(),
        "<Location /x>\n".into(),
        "</Location>\n".into(),
        "Include gone.conf\n".into(),
    ];
    let mut all = String::new();
    for (number, case) in cases.iter().enumerate() {
        let said = checked(case);
        assert!(said.starts_with("--- exit 1\n"), "nothing is wrong with\n{case}\n{said}");
        all += &format!("{}. {}\n", number + 1, said.trim_start_matches("--- exit 1\n").trim_end());
    }
    assert_snapshot!("wrong_configurations", all);
}

#[test]
fn members_that_take_no_connection_are_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    let conf = pool(
        "app",
        &format!(
            "  LuaBalancerMember http://127.0.0.1:{open} name=a\n  LuaBalancerMember http://127.0.0.1:1 name=b"
        ),
    );
    let folder = Folder::with(&[("httpd.conf", &conf)]);
    folder.lbctl(&["check", "--without-httpd", "httpd.conf"]).done();
    let said = folder.lbctl(&["check", "--without-httpd", "httpd.conf", "--reach", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, document["findings"].as_array().map(Vec::len)), (1, Some(1)), "{}", said.out);
    assert!(
        document["findings"][0]["text"]
            .as_str()
            .unwrap()
            .contains("b (http://127.0.0.1:1) takes no connection")
    );
    assert_eq!(folder.lbctl(&["check", "--httpd", "/nowhere/httpd", "httpd.conf"]).code, 4);
    assert_eq!(folder.lbctl(&["check", "gone.conf"]).code, 2);
}

#[test]
fn pools_that_a_script_defines_are_there() {
    let said = checked("LuaHookTranslate defines.lua select\nProxyPass /x lb://made/\n");
    assert_eq!(said, "--- exit 0\n");
}

#[test]
fn a_pool_whose_members_are_found_later_is_not_an_empty_one() {
    let said = checked(&pool("app", "  LuaBalancerDiscovery file:/etc/lb/app.json"));
    assert_eq!(said, "--- exit 0\n");
}

/// A program that stands for httpd: what it writes, and how it ends.
fn httpd(folder: &Folder, name: &str, script: &str) {
    folder.write(name, format!("#!/bin/sh\n{script}\n"));
    let path = folder.0.join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_httpd_of_the_system_is_asked_about_the_whole_path() {
    let folder = Folder::with(&[("httpd.conf", &pool("app", APP))]);
    let dump = r#"echo "$@" >> bin/asked; echo '{"pools":[]}'"#;
    httpd(&folder, "bin/httpd", dump);
    httpd(&folder, "bin/apachectl", "exit 9");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lbctl"));
    let output = command
        .args(["check", "-D", "EXTRA", "httpd.conf"])
        .current_dir(&folder.0)
        .env("PATH", folder.0.join("bin"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let whole = folder.0.join("httpd.conf");
    assert_eq!(
        folder.read("bin/asked"),
        format!("-t -D DUMP_LUA_BALANCER -D EXTRA -f {}\n", whole.display())
    );
}

#[test]
fn lines_that_httpd_refuses_are_told_once_with_their_place() {
    let folder = Folder::with(&[("httpd.conf", &pool("app", "  LuaBalancerMember htp:/a"))]);
    let line = format!("AH00526: Syntax error on line 2 of {}/httpd.conf:", folder.0.display());
    httpd(&folder, "httpd", &format!("echo '{line}\nLuaBalancerMember: no such URL' >&2\nexit 1"));
    let said = folder.lbctl(&["check", "httpd.conf", "--httpd", "./httpd"]);
    assert_eq!(said.whole(), "--- exit 1\nDIR/httpd.conf:2: error: LuaBalancerMember: no such URL\n");
    httpd(&folder, "httpd", "kill -9 $$");
    let said = folder.lbctl(&["check", "httpd.conf", "--httpd", "./httpd"]);
    assert!(said.code == 1 && said.out.contains("signal: 9"), "{}", said.whole());
}

#[test]
fn no_httpd_is_four_beside_what_the_file_itself_shows() {
    let folder = Folder::with(&[("httpd.conf", &pool("app", ""))]);
    let said = folder.lbctl(&["check", "httpd.conf", "--httpd", "/nowhere/httpd"]);
    assert!(said.code == 4 && said.out.contains("has no members"), "{}", said.whole());
    assert!(said.err.contains("expected httpd"), "{}", said.whole());
}
