// SPDX-License-Identifier: Apache-2.0
//! `httpd -t -D DUMP_LUA_BALANCER`, and what `lbctl check --httpd` makes of it.

use std::path::Path;
use std::process::Command;

use server_tests::httpd::installed;
use server_tests::{Backend, Ended, Httpd, ended, lbctl, lbctl_command};

use crate::serving;

const MORE: &str = "LuaBalancerDict counts 1M\nLuaHookTranslate s.lua translate\n\
                    <LuaBalancerPool far>\n\
                    LuaBalancerMember ajp://10.0.0.1 name=z secret=sesame zone=eu weight=2.5 meta.version=2\n\
                    LuaBalancerDiscovery file:lists/far.json\n\
                    </LuaBalancerPool>";

fn dumped(httpd: &Httpd, defines: &[&str]) -> Ended {
    let mut command = Command::new(&installed().program);
    command.arg("-t").args(defines).arg("-f").arg(httpd.dir().join("httpd.conf"));
    ended(&mut command)
}

fn started() -> Httpd {
    let [a, b] = Backend::named(["a", "b"]);
    let builder = serving(&a, &b).module("proxy_ajp").file("s.lua", "function translate(r) end\n");
    builder.config(MORE).start()
}

/// The first line that has a word.
fn line_of(httpd: &Httpd, word: &str) -> usize {
    let text = std::fs::read_to_string(httpd.dir().join("httpd.conf")).expect("read the configuration");
    text.lines().position(|line| line.contains(word)).expect("its line") + 1
}

#[test]
fn a_configuration_is_shown_with_file_and_line_and_without_secrets() {
    let httpd = started();
    let said = dumped(&httpd, &["-D", "DUMP_LUA_BALANCER"]).done();
    let line_of = |word: &str| line_of(&httpd, word);
    let squeezed: String = said.out.split_whitespace().collect();
    for wanted in [
        format!("\"line\":{}", line_of("ajp://")),
        "\"name\":\"counts\",\"size\":1048576".to_owned(),
        "\"meta\":{\"version\":\"2\"}".to_owned(),
        "\"directive\":\"LuaHookTranslate\"".to_owned(),
        "\"discovery\":[{\"name\":\"file-1\",\"source\":\"file:lists/far.json\"}]".to_owned(),
        "\"function\":\"translate\"".to_owned(),
        "\"weight\":2.5".to_owned(),
        format!("\"line\":{}", line_of("<LuaBalancerPool far>")),
    ] {
        assert!(squeezed.contains(&wanted), "no {wanted} in {}", said.out);
    }
    assert!(!said.out.contains("sesame"), "{}", said.out);
    let plain = dumped(&httpd, &[]).done();
    assert!(!plain.out.contains("pools"), "{plain:?}");
}

#[test]
fn a_check_asks_httpd_and_names_what_only_httpd_sees() {
    let httpd = started();
    let program = installed().program.display().to_string();
    let file = httpd.dir().join("httpd.conf").display().to_string();
    let check = |file: &str| lbctl(&["check", file, "--httpd", &program]);
    let said = check(&file);
    assert!(!said.out.contains("only httpd sees") && !said.out.contains("LoadModule"), "{said:?}");
    httpd.edit_config("<LuaBalancerPool far>", "<LuaBalancerPool broken");
    let said = check(&file);
    let wrong = format!("httpd.conf:{}: error: ", line_of(&httpd, "<LuaBalancerPool broken"));
    assert!(said.code == 1 && said.out.contains(&wrong), "{wrong}: {said:?}");
    assert_eq!(lbctl(&["check", &file, "--httpd", "/nowhere"]).code, 4);
    let stock = Path::new(&file).with_file_name("stock.conf");
    let dir = httpd.dir().display();
    let without =
        format!("ServerRoot {dir}\nErrorLog {dir}/x.log\nListen 127.0.0.1:1\nServerName localhost\n");
    let mpm = installed().load_line("mpm_event");
    std::fs::write(&stock, format!("{without}{mpm}")).expect("write a configuration");
    let said = check(&stock.display().to_string());
    assert!(said.code == 1 && said.out.contains("LoadModule lua_balancer_module"), "{said:?}");
}

/// A pool and a hook that mod_macro makes, used twice.
const MACRO: &str = "<Macro Site $name $weight>
<LuaBalancerPool $name>
LuaBalancerMember http://127.0.0.1:8081 name=a weight=$weight
LuaBalancerMember http://127.0.0.1:8082 name=b weight=$weight
LuaBalancerHealthCheck http interval=1s timeout=3s header=\"X-Password: sesame\"
LuaBalancerSticky cookie=SRV
</LuaBalancerPool>
<Location /$name>
LuaHookTranslate idle.lua translate
</Location>
ProxyPass /to/$name lb://$name
</Macro>
<Macro Found $name>
<LuaBalancerPool $name>
LuaBalancerDiscovery file:/nowhere/$name.json
</LuaBalancerPool>
</Macro>
Use Found three
Use Site one 1
Use Site two 0
ProxyPass /one lb://one";

#[test]
fn pools_and_scripts_that_only_httpd_sees_are_looked_at_as_httpd_has_expanded_them() {
    let builder = Httpd::builder().module("macro").file("idle.lua", "function translate(r) return nil end\n");
    let httpd = builder.config(MACRO).start();
    let program = installed().program.display().to_string();
    let file = httpd.dir().join("httpd.conf").display().to_string();
    let said = lbctl(&["check", &file, "--httpd", &program]);
    let remarks: Vec<&str> = said.out.lines().filter_map(|line| line.strip_prefix(&file)).collect();
    let pool = line_of(&httpd, "<LuaBalancerPool $name>");
    let idle = httpd.dir().join("idle.lua");
    assert_eq!(
        remarks,
        [
            format!(
                ":{pool}: warning: pool one: a check may take 3000 ms and comes every 1000 ms: expected timeout= below interval="
            ),
            format!(":{pool}: warning: pool two: all weights are 0, so that nobody gets new requests"),
            format!(
                ":{pool}: warning: pool two: a check may take 3000 ms and comes every 1000 ms: expected timeout= below interval="
            ),
            format!(
                ":{pool}: warning: pool two has the cookie SRV of pool one on the same path: each overwrites the other's"
            ),
            format!(
                ":{}: warning: {} names neither a pool nor a backend: it never returns a member",
                line_of(&httpd, "LuaHookTranslate idle.lua"),
                idle.display()
            ),
        ],
        "{said:?}"
    );
    assert_eq!(said.code, 1);
    let dump = dumped(&httpd, &["-D", "DUMP_LUA_BALANCER"]).done().out;
    assert!(!dump.contains("sesame"), "{dump}");
}

#[test]
fn httpd_is_found_on_path_and_has_nothing_against_the_readmes_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    let lines = readme.split("```apache\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines");
    let script = std::fs::read_to_string(root.join("lua/balancer.lua")).expect("its script");
    let builder = Httpd::builder().file("lua/balancer.lua", &script).config(lines);
    let httpd = builder.start();
    let bin = httpd.dir().join("bin");
    std::fs::create_dir(&bin).expect("make a folder");
    std::os::unix::fs::symlink(&installed().program, bin.join("httpd")).expect("link httpd");
    let file = httpd.dir().join("httpd.conf").display().to_string();
    let said = ended(lbctl_command(&["check", &file]).env("PATH", &bin)).done();
    assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
}
