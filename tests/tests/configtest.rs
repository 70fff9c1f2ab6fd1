// SPDX-License-Identifier: Apache-2.0
//! Every wrong name, key or value stops `apachectl configtest` with the file, the line and what was
//! expected.

use std::os::unix::fs::PermissionsExt as _;

use server_tests::Httpd;
use server_tests::httpd::ConfigTest;

fn inside_pool(line: &str) -> ConfigTest {
    let member = "LuaBalancerMember http://127.0.0.1:9 name=good";
    Httpd::builder()
        .config(&format!("<LuaBalancerPool app>\n{member}\n{line}\n</LuaBalancerPool>"))
        .configtest()
}

fn assert_all_refused(lines: &[(&str, &[&str])], test: impl Fn(&str) -> ConfigTest) {
    for (line, patterns) in lines {
        test(line).assert_error_at(line, patterns);
    }
}

#[test]
fn a_wrong_member_line_is_refused() {
    assert_all_refused(
        &[
            ("LuaBalancerMember http://127.0.0.1:1 colour=red", &["colour", "weight"]),
            ("LuaBalancerMember http://127.0.0.1:1 weight=70000", &["70000", "65535"]),
            ("LuaBalancerMember http://127.0.0.1:1 weight=-1", &["-1", "65535"]),
            ("LuaBalancerMember http://127.0.0.1:1 weight=heavy", &["heavy", "65535"]),
            ("LuaBalancerMember http://127.0.0.1:1 max_inflight=many", &["many"]),
            ("LuaBalancerMember http://127.0.0.1:1 slow_start=soon", &["soon"]),
            ("LuaBalancerMember http://127.0.0.1:1 status=+X", &["X"]),
            ("LuaBalancerMember http://127.0.0.1:1 timeout=never", &["never"]),
            ("LuaBalancerMember http://127.0.0.1:1 weight", &["key=value"]),
            ("LuaBalancerMember not-a-url", &["not-a-url", "http://"]),
            ("LuaBalancerMember ftp://127.0.0.1:1", &["ftp", "http"]),
            ("LuaBalancerMember http:///x", &["http://"]),
            ("LuaBalancerMember http://127.0.0.1:99999", &["99999"]),
            ("LuaBalancerMember http://127.0.0.1:1 name=good", &["good"]),
        ],
        inside_pool,
    );
    let long = format!("LuaBalancerMember http://127.0.0.1:1/{}", "x".repeat(384));
    inside_pool(&long).assert_error_at(&long, &["384|383"]);
}

#[test]
fn a_wrong_pool_line_is_refused() {
    assert_all_refused(
        &[
            ("LuaBalancerMethod fastest", &["fastest", "round_robin"]),
            ("LuaBalancerMethod lua missing.lua", &["missing.lua"]),
            ("LuaBalancerDiscovery lua:missing.lua", &["missing.lua"]),
            ("LuaBalancerDiscovery consul:http://127.0.0.1:8500", &["consul:URL/SERVICE"]),
            ("LuaBalancerDiscovery kubernetes:app:http", &["kubernetes:NAMESPACE/SERVICE:PORT"]),
            ("LuaBalancerDiscovery dns:app:80 resolver=::1:53", &["resolver=::1:53", "expected an address"]),
            ("LuaBalancerHealthCheck telepathy", &["telepathy", "tcp"]),
            ("LuaBalancerHealthCheck http intervall=5s", &["intervall", "interval"]),
            ("LuaBalancerHealthCheck http interval=often", &["often"]),
            ("LuaBalancerHealthCheck http expect=good", &["good", "200"]),
            ("LuaBalancerHealthCheck http body=\"(\"", &["body"]),
            ("LuaBalancerHealthCheck http initial=sideways", &["sideways", "up"]),
            ("LuaBalancerHealthCheck http rise=0", &["rise"]),
            ("LuaBalancerOutlier maybe", &["maybe", "on"]),
            ("LuaBalancerOutlier on failure=3", &["failure", "failures"]),
            ("LuaBalancerOutlier on max_percent=101", &["101", "100"]),
            ("LuaBalancerOutlier on count=bananas", &["bananas", "connect"]),
            ("LuaBalancerSet retry=2", &["retry", "retries"]),
            ("LuaBalancerSet retries=x", &["retries", "x"]),
            ("LuaBalancerSet retry_on=bananas", &["bananas", "connect"]),
            ("LuaBalancerSet on_empty=99", &["99"]),
            ("LuaBalancerSet reverse=maybe", &["maybe", "on"]),
        ],
        inside_pool,
    );
}

#[test]
fn a_wrong_server_line_is_refused() {
    let server = |line: &str| Httpd::builder().config(line).configtest();
    assert_all_refused(
        &[
            ("LuaBalancerMember http://127.0.0.1:1", &["LuaBalancerPool"]),
            ("LuaBalancerMethod round_robin", &["LuaBalancerPool"]),
            ("LuaBalancerScriptLimit time=soon", &["soon"]),
            ("LuaBalancerScriptLimit speed=1", &["speed", "time"]),
            ("LuaBalancerScriptLimit memory=lots", &["lots"]),
            ("LuaBalancerCodeCache sometimes", &["sometimes", "stat"]),
            ("LuaBalancerOnError explode", &["explode", "decline"]),
            ("LuaBalancerMaxMembers lots", &["lots"]),
            ("LuaBalancerSandbox maybe", &["maybe", "on"]),
            ("LuaRegisterFunc broken function(r) return +* end", &["broken|LuaRegisterFunc|inline"]),
        ],
        server,
    );
}

#[test]
fn a_wrong_pool_section_is_refused() {
    let member = "LuaBalancerMember http://127.0.0.1:1";
    let section = |name: &str| {
        Httpd::builder()
            .config(&format!("<LuaBalancerPool {name}>\n{member}\n</LuaBalancerPool>"))
            .configtest()
    };
    for name in ["a/b", "a b", "\u{fc}", &"x".repeat(64)] {
        section(name).assert_error_at("<LuaBalancerPool", &["name|argument"]);
    }
    assert!(section("A-1_b.c").ok);
    assert!(section(&"x".repeat(63)).ok);
    let twice = format!(
        "<LuaBalancerPool app>\n{member}\n</LuaBalancerPool>\n<LuaBalancerPool \"app\">\n{member}\n</LuaBalancerPool>"
    );
    Httpd::builder().config(&twice).configtest().assert_error_at("<LuaBalancerPool \"app\">", &["app"]);
    let host =
        format!("<VirtualHost *>\n<LuaBalancerPool app>\n{member}\n</LuaBalancerPool>\n</VirtualHost>");
    Httpd::builder().config(&host).configtest().assert_error_at("<LuaBalancerPool", &["LuaBalancerPool"]);
}

#[test]
fn a_wrong_script_is_refused_with_file_and_line() {
    let missing = Httpd::builder().config("LuaHookTranslate missing.lua").configtest();
    assert!(!missing.ok && missing.says("missing\\.lua"), "{}", missing.output);

    let broken = Httpd::builder()
        .file("broken.lua", "local a = 1\nfunction translate(r)\n  return +*\nend\n")
        .config("LuaHookTranslate broken.lua")
        .configtest();
    assert!(!broken.ok && broken.says("broken\\.lua:3"), "{}", broken.output);

    let nameless = Httpd::builder()
        .file("nameless.lua", "function other(r) return nil end")
        .config("LuaHookTranslate nameless.lua pick")
        .configtest();
    assert!(
        !nameless.ok && nameless.says("nameless\\.lua.*pick|pick.*nameless\\.lua"),
        "{}",
        nameless.output
    );

    let unknown = Httpd::builder().config("LuaHookTranslate nobody-registered-this").configtest();
    assert!(!unknown.ok && unknown.says("nobody-registered-this"), "{}", unknown.output);

    let both = Httpd::builder()
        .file(
            "both.lua",
            "lb.define_pool('app', { { host = '127.0.0.1', port = 9 } })\nfunction translate(r) end",
        )
        .config("<LuaBalancerPool app>\n  LuaBalancerMember http://127.0.0.1:9\n</LuaBalancerPool>")
        .config("LuaHookTranslate both.lua")
        .configtest();
    assert!(!both.ok && both.says("both\\.lua:1.*app.*LuaBalancerPool"), "{}", both.output);

    let pool = Httpd::builder()
        .file("good.lua", "function translate(r) return nil end")
        .config("LuaHookTranslate good.lua\nLuaBalancerOnError pool:nowhere")
        .configtest();
    assert!(!pool.ok && pool.says("nowhere"), "{}", pool.output);
}

#[test]
fn every_documented_key_is_accepted() {
    let config = r#"
<LuaBalancerPool app>
  LuaBalancerMember http://127.0.0.1:9/path name=a weight=5 zone=eu max_inflight=10 slow_start=1s meta.version=2
  LuaBalancerMember http://127.0.0.1:10 loadfactor=1.5 route=r2 redirect=a lbset=1 status=+D retry=5
  LuaBalancerMember http://127.0.0.1:11 max=10 smax=5 min=0 ttl=60 acquire=100ms timeout=5 connectiontimeout=2 ping=1
  LuaBalancerMember http://127.0.0.1:12 keepalive=on disablereuse=off flushpackets=auto flushwait=10 addressttl=30
  LuaBalancerMember http://127.0.0.1:13 enablereuse=on iobuffersize=8192 receivebuffersize=0 responsefieldsize=8192
  LuaBalancerMember http://127.0.0.1:14 upgrade=websocket status=-D
  LuaBalancerMember unix:/run/app.sock|http://localhost name=sock
  LuaBalancerMethod power_of_two
  LuaBalancerHealthCheck http interval=5s timeout=2s rise=2 fall=3 initial=up jitter=10% port=99 uri=/h method=HEAD host=x header="A: b" header="C: d" expect=200-299,401 body="ok|fine" follow=no
  LuaBalancerOutlier on failures=3 ejection=10s max_ejection=5m max_percent=50 count=connect,reset,timeout,5xx,429
  LuaBalancerSet retries=2 retry_on=connect,reset,timeout on_empty=503 reverse=on
</LuaBalancerPool>
<LuaBalancerPool ajp>
  LuaBalancerMember ajp://127.0.0.1:16 secret=geheim
  LuaBalancerMember https://127.0.0.1:15
  LuaBalancerHealthCheck tcp
</LuaBalancerPool>
<LuaBalancerPool tls>
  LuaBalancerMember https://127.0.0.1:9
  LuaBalancerHealthCheck https verify=off sni=example.org
</LuaBalancerPool>
LuaBalancerPackagePath lua/?.lua
LuaBalancerCodeCache stat
LuaBalancerScriptLimit time=50ms memory=16M
LuaBalancerOnError pool:app
LuaBalancerSandbox on
LuaBalancerMaxMembers 1024
LuaBalancerDict sessions 1M
LuaBalancerDict other-1 64K
LuaRegisterFunc named function(r) return nil end
LuaRegisterFunc quoted "function(r) return nil end"
LuaHookTranslate named
"#;
    let modules = ["socache_shmcb", "ssl", "proxy_ajp"];
    let builder = modules.iter().fold(Httpd::builder(), |builder, name| builder.module(name));
    let test = builder.config(config).configtest();
    assert!(test.ok, "{}", test.output);
    for method in ["round_robin", "random", "least_connections", "power_of_two", "first"] {
        let test = inside_pool(&format!("LuaBalancerMethod {method}"));
        assert!(test.ok, "{}", test.output);
    }
}

#[test]
fn a_translate_hook_in_a_section_that_is_chosen_by_files_is_refused_with_a_hint() {
    let line = "LuaHookTranslate good.lua";
    let test = |open: &str, hook: &str, close: &str| {
        let config = format!("{open}\n{hook}\n{close}");
        let script = "function translate(r) end function select(r) end function finish(r) end";
        Httpd::builder().file("good.lua", script).config(&config).configtest()
    };
    for section in
        ["Directory /", "directory /", "DirectoryMatch .", "Files x", "FilesMatch x", "If true", "Proxy *"]
    {
        let (name, _) = section.split_once(' ').unwrap_or_default();
        let (open, close) = (format!("<{section}>"), format!("</{name}>"));
        let known = name.replace("dir", "Dir");
        test(&open, line, &close).assert_error_at(line, &[&format!("<{known}>"), "LuaHookSelect"]);
        for hook in ["LuaHookSelect good.lua", "LuaHookFinish good.lua"] {
            let found = test(&open, hook, &close);
            assert!(found.ok, "{section} {hook}: {}", found.output);
        }
    }
    let inside = ("<Location /x>\n<If true>", "</If>\n</Location>");
    test(inside.0, line, inside.1).assert_error_at(line, &["<If>", "LuaHookSelect"]);
    for (open, close) in [
        ("<Location />", "</Location>"),
        ("<LocationMatch .>", "</LocationMatch>"),
        ("<VirtualHost *>", "</VirtualHost>"),
    ] {
        let found = test(open, line, close);
        assert!(found.ok, "{open}: {}", found.output);
    }
}
/// Each of these may be meant, so that httpd starts, and hardly ever is.
#[test]
fn lines_that_are_hardly_meant_are_told() {
    let member = "LuaBalancerMember http://127.0.0.1:9";
    let section = |lines: &str| {
        Httpd::builder().config(&format!("<LuaBalancerPool app>\n{lines}\n</LuaBalancerPool>")).configtest()
    };
    for (lines, pattern) in [
        (
            "LuaBalancerSet on_empty=504",
            "<LuaBalancerPool app> has neither LuaBalancerMember nor LuaBalancerDiscovery: .*requests get 504",
        ),
        (
            "LuaBalancerMember http://127.0.0.1:9\nLuaBalancerMethod consistent_hash",
            "<LuaBalancerPool app>: LuaBalancerMethod consistent_hash without key=",
        ),
        ("LuaBalancerMember http://127.0.0.1:9\nLuaBalancerMethod maglev", "maglev without key="),
    ] {
        let test = section(lines);
        let place = format!("line {} of {}", test.line_of("<LuaBalancerPool app>"), test.file.display());
        assert!(test.ok && test.says(pattern) && test.output.contains(&place), "{lines}\n{}", test.output);
    }
    let rule = |flags: &str| {
        let pool = format!("<LuaBalancerPool app>\n{member}\n</LuaBalancerPool>");
        Httpd::builder()
            .config(&format!("{pool}\nRewriteEngine on\nRewriteRule ^/x lb://app/x {flags}"))
            .configtest()
    };
    let test = rule("[R]");
    assert!(
        test.ok && test.says("RewriteRule to lb://app/x reaches nobody: expected the flag .P."),
        "{}",
        test.output
    );
    assert!(!rule("[P]").says("reaches nobody"));
    for method in ["round_robin", "consistent_hash key=\"%{REMOTE_ADDR}\""] {
        let test = section(&format!("{member}\nLuaBalancerMethod {method}"));
        assert!(test.ok && !test.says("LuaBalancerPool app"), "{}", test.output);
    }
}

#[test]
fn a_message_names_what_was_expected_once() {
    for line in [
        "LuaBalancerMethod colourful",
        "LuaBalancerMethod round_robbin",
        "LuaBalancerHealthCheck telepathy",
        "LuaBalancerHealthCheck htp",
        "LuaBalancerSet colour=red",
    ] {
        let test = inside_pool(line);
        let lines: Vec<&str> = test.output.lines().filter(|line| line.contains("xpected")).collect();
        let [found] = lines.as_slice() else { panic!("{line}\n{}", test.output) };
        assert_eq!(found.to_lowercase().matches("expected").count(), 1, "{found}");
    }
}

#[test]
fn a_missing_script_names_the_folders_where_it_was_looked_for() {
    let test = Httpd::builder().config("LuaHookTranslate missing.lua").configtest();
    let own = regex::escape(&test.file.parent().expect("a folder").display().to_string());
    assert!(!test.ok && test.says(&format!("{own}/missing\\.lua")), "{}", test.output);
    assert!(test.says("missing\\.lua.*a relative name is looked for in \\S+/lua as well"), "{}", test.output);
}

#[test]
fn a_file_that_a_source_needs_and_nobody_can_read_is_refused_at_its_line() {
    let folder = Httpd::builder().file("token", "t-secret\n").file("empty", "\n").file("ca.pem", "none\n");
    let dir = folder.dir().to_owned();
    let test = |line: &str| {
        let pool = format!("<LuaBalancerPool app>\n{line}\n</LuaBalancerPool>");
        Httpd::builder().config(&pool).configtest()
    };
    let line = |keys: &str| {
        let keys = keys.replace("DIR", &dir.to_string_lossy());
        format!("LuaBalancerDiscovery http:https://127.0.0.1:1/ {keys}")
    };
    for (keys, says) in [
        ("bearer_file=DIR/none", "bearer_file=.*/none: No such file"),
        ("bearer_file=DIR/empty", "bearer_file=.*/empty: it is empty"),
        ("bearer_file=DIR", "bearer_file=.*: it is not a regular file"),
        ("ca=DIR/none.pem", "ca=.*/none.pem: No such file"),
        ("ca=DIR/ca.pem", "ca=.*/ca.pem: no certificate found"),
    ] {
        let line = line(keys);
        test(&line).assert_error_at(&line, &[says, "looked at as "]);
    }
    let good = line("bearer_file=DIR/token");
    assert!(test(&good).ok);
    let is_root = nix::unistd::Uid::effective().is_root();
    std::fs::set_permissions(dir.join("token"), std::fs::Permissions::from_mode(0o600)).expect("changed");
    let refused = test(&good);
    assert_eq!(refused.ok, !is_root, "root reads what httpd's children cannot: {}", refused.output);
    assert!(!is_root || refused.says("bearer_file=.*/token: Permission denied"), "{}", refused.output);
    assert!(!refused.says("t-secret"), "{}", refused.output);
}
