// SPDX-License-Identifier: Apache-2.0
//! `lbctl explain`.

use insta::assert_snapshot;

use crate::{Folder, root};

const CONF: &str = "\
<LuaBalancerPool app>
  LuaBalancerMember http://192.0.2.1:8080 name=a weight=5
  LuaBalancerMember http://192.0.2.2:8080 name=b status=+D
  LuaBalancerMember http://192.0.2.3:8080 name=c meta.version=2
  LuaBalancerMember http://192.0.2.4:8080 name=d lbset=1
  LuaBalancerMethod least_connections
</LuaBalancerPool>
<LuaBalancerPool api>
  LuaBalancerMember http://192.0.2.20:8080 name=x
  LuaBalancerMember http://192.0.2.21:8080 name=y
  LuaBalancerMethod consistent_hash key=%{req:X-Key}
  LuaBalancerSticky cookie=SRV
</LuaBalancerPool>
<LuaBalancerPool odd>
  LuaBalancerMember http://192.0.2.30:8080 name=o
  LuaBalancerMethod maglev key=%{ODD_VARIABLE}
</LuaBalancerPool>
ProxyPass /own !
ProxyPass /plain lb://app/
ProxyPass /odd lb://odd/
<If \"%{HTTP_HOST} == 'x'\">
  ProxyPass /never lb://app/
</If>
";

fn folder() -> Folder {
    let folder = Folder::with(&[("pools.conf", CONF)]);
    for name in ["balancer.lua", "hash_by_user.lua", "blue_green.lua"] {
        folder.write(name, std::fs::read(root().join("lua").join(name)).unwrap());
    }
    folder
}

fn told(arguments: &[&str]) -> String {
    let folder = folder();
    folder.lbctl(&[&["explain", "--config", "pools.conf"], arguments].concat()).whole()
}

#[test]
fn a_decision_is_told_in_words() {
    assert_snapshot!("by_script", told(&["--script", "balancer.lua", "-H", "Cookie: beta=1", "/"]));
    assert_snapshot!("by_line", told(&["http://www.example.org/plain/x"]));
    assert_snapshot!("a_pool", told(&["--script", "balancer.lua", "-H", "X-Key: 7", "/api/orders"]));
    assert_snapshot!(
        "a_session",
        told(&["--script", "balancer.lua", "-H", "Cookie: SRV=.y", "-X", "POST", "/api/orders"])
    );
    assert_snapshot!("not_ours", told(&["--script", "balancer.lua", "/static/a.css"]));
    assert_snapshot!("a_user", told(&["--script", "hash_by_user.lua:select", "--user", "ada", "/"]));
}

#[test]
fn nobody_is_told_with_the_reason() {
    assert_snapshot!("nobody", told(&["--script", "blue_green.lua", "/"]));
}

#[test]
fn a_decision_is_a_document() {
    assert_snapshot!(
        "document",
        told(&["--script", "balancer.lua", "-H", "Cookie: beta=1", "--json", "http://www.example.org/x?y=z"])
    );
    assert_snapshot!("document_of_nobody", told(&["-o", "json", "/elsewhere"]));
}

#[test]
fn facts_that_only_httpd_knows_are_named() {
    assert_snapshot!("unknown_key", told(&["/odd"]));
}

#[test]
fn wrong_calls_are_told() {
    let folder = folder();
    folder.write("broken.conf", "<LuaBalancerPool app>\n  LuaBalancerMember htp:/a\n</LuaBalancerPool>\n");
    folder.write("loop.conf", "Include loop.conf\n");
    folder.write("open.conf", "<Location /x>\n");
    let mut all = String::new();
    for arguments in [
        &["explain", "--config", "pools.conf", "--socket", "x.sock", "/"][..],
        &["explain", "--socket", "x.sock", "nonsense"],
        &["explain", "--config", "gone.conf", "/"],
        &["explain", "--config", "broken.conf", "/"],
        &["explain", "--config", "loop.conf", "/"],
        &["explain", "--config", "open.conf", "/"],
        &["explain", "--config", "pools.conf", "nonsense"],
        &["explain", "--config", "pools.conf", "-H", "nonsense", "/"],
        &["explain", "--script", "balancer.lua:gone", "/"],
    ] {
        all += &format!("$ lbctl {}\n{}\n", arguments.join(" "), folder.lbctl(arguments).whole());
    }
    assert_snapshot!("wrong_calls", all);
}

#[test]
fn configurations_of_httpd_are_read_whole() {
    let folder = Folder::with(&[
        ("httpd.conf", "ServerRoot \"DIR\"\nIncludeOptional mods/*.conf\nInclude sites\n"),
        ("mods/a.conf", "<IfModule !lua_balancer_module>\n  nonsense\n</IfModule>\n"),
        ("mods/b.txt", "nonsense\n"),
        (
            "sites/x.conf",
            "<IfDefine EXTRA>\n<LuaBalancerPool app>\n  LuaBalancerMember \\\n    http://a:1 name=extra\n</LuaBalancerPool>\n\
             </IfDefine>\n<IfDefine !EXTRA>\n<LuaBalancerPool app>\n  LuaBalancerMember http://a:1 name=usual\n\
             </LuaBalancerPool>\n</IfDefine>\n<LocationMatch \"^/[ab]/\">\n  ProxyPass lb://app/\n</LocationMatch>\n",
        ),
    ]);
    folder.write("httpd.conf", folder.read("httpd.conf").replace("DIR", &folder.0.to_string_lossy()));
    let usual = folder.lbctl(&["explain", "--config", "httpd.conf", "/a/x"]).done();
    assert!(usual.out.contains("goes to usual of pool app"), "{}", usual.out);
    let extra = folder.lbctl(&["explain", "--config", "httpd.conf", "-D", "EXTRA", "/b/"]).done();
    assert!(extra.out.contains("goes to extra of pool app"), "{}", extra.out);
    let other = folder.lbctl(&["explain", "--config", "httpd.conf", "/c/"]).done();
    assert!(other.out.contains("not ours"), "{}", other.out);
}
