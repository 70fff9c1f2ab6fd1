// SPDX-License-Identifier: Apache-2.0
use super::{Reader, Stand};
use crate::{CodeCache, HookKind, Limit, OnError};

/// Reads lines in the main server until one is refused.
fn refused(lines: &[&str]) -> String {
    let mut reader = Reader::default();
    for line in lines {
        if let Err(text) = reader.read(Stand::Main, line) {
            return text;
        }
    }
    panic!("nothing of {lines:?} is refused");
}

fn in_pool(line: &str) -> String {
    refused(&["<LuaBalancerPool app>", "LuaBalancerMember http://127.0.0.1:9 name=good", line])
}

#[test]
fn a_wrong_line_is_refused_with_the_directive_and_what_was_expected() {
    let cases: &[(&str, &str)] = &[
        (
            "<LuaBalancerPool app",
            "LuaBalancerPool: expected '>' at the end, for example <LuaBalancerPool app>",
        ),
        ("<LuaBalancerPool a b>", "expected one name, for example <LuaBalancerPool app>, found 2 words"),
        ("<LuaBalancerPool a/b>", "'a/b' cannot name a pool: expected 1 to 63 letters"),
        (
            "LuaHookTranslate",
            "expected a script and a function or a registered name, found 0 words; for example \
                             LuaHookTranslate lua/balancer.lua translate",
        ),
        ("LuaHookSelect a.lua b c", "for example LuaHookSelect lua/balancer.lua select"),
        (
            "LuaHookFinish a.lua 1b",
            "'1b' cannot name a Lua function: expected a name such as select, or - for",
        ),
        ("LuaBalancerTimer a.lua", "every= is missing, for example LuaBalancerTimer"),
        ("LuaBalancerTimer a.lua every=0", "every=0 would run it without end: expected at least 1ms"),
        ("LuaBalancerTimer a.lua every=1s every=2s", "every= is given twice"),
        ("LuaBalancerTimer a.lua evry=1s", "unknown key in 'evry=1s': expected every="),
        ("LuaBalancerTimer every=1s", "found 0 words; for example LuaBalancerTimer lua/balancer.lua timer"),
        ("LuaBalancerShadow", "found 0 words; for example LuaBalancerShadow lua/balancer.lua select"),
        (
            "LuaBalancerShadow a.lua sample=101%",
            "sample=101% is not a percentage: expected a number from 0 to 100",
        ),
        (
            "LuaBalancerShadow a.lua sample=1 sample=2",
            "sample= is given twice, for example LuaBalancerShadow",
        ),
        (
            "LuaBalancerRollout percent=10% percent=20%",
            "percent= is given twice, for example LuaBalancerRoll",
        ),
        ("LuaBalancerScriptLimit time=1s time=2s", "time= is given twice, for example time=50ms"),
        ("LuaBalancerShadow a.lua every=1s", "unknown key in 'every=1s': expected sample="),
        (
            "LuaRegisterFunc pick",
            "expected a name and a script or a function, for example: LuaRegisterFunc pick",
        ),
        ("LuaRegisterFunc 1 a.lua", "'1' cannot name a Lua function"),
        ("LuaRegisterFunc pick a b c", "expected a script and a function, found 3 words after the name"),
        ("LuaBalancerPackagePath", "expected one path, for example LuaBalancerPackagePath"),
        ("LuaBalancerPackagePath /lua/?.lua;/lua", "'/lua' has no '?' for the module's name"),
        ("LuaBalancerCodeCache sometimes", "expected stat or forever or never, found 'sometimes'"),
        ("LuaBalancerScriptLimit", "expected time= or memory=, for example LuaBalancerScriptLimit time=50ms"),
        ("LuaBalancerScriptLimit speed=1", "unknown key in 'speed=1': expected time= or memory="),
        ("LuaBalancerScriptLimit time=0", "time=0 would stop every script: expected at least 1ms"),
        ("LuaBalancerScriptLimit time=soon", "time=: "),
        ("LuaBalancerScriptLimit memory=1K", "memory=1K is too little for a Lua state: expected at least 1M"),
        ("LuaBalancerOnError explode", "expected error, decline or pool:NAME, found 'explode'"),
        ("LuaBalancerOnError pool:", "'' cannot name a pool"),
        ("LuaBalancerSandbox maybe", "expected on or off, found 'maybe'"),
        ("LuaBalancerGeoIP", "expected one or more MaxMind databases, for example LuaBalancerGeoIP"),
        ("LuaBalancerGeoIP \"a\0b\"", "is not the path of a file"),
        (
            "LuaBalancerDict",
            "expected a name and a size, found 0 words; for example LuaBalancerDict sessions 1M",
        ),
        ("LuaBalancerDict a/b 1M", "'a/b' cannot name a dictionary: expected 1 to 63 letters"),
        ("LuaBalancerDict d lots", "size of d: "),
        (
            "LuaBalancerDict d 1K",
            "1K is not a size of a dictionary: expected 32K to 65536M, for example \
                                 LuaBalancerDict d 1M",
        ),
        ("LuaBalancerMaxMembers 1000001", "expected a number from 0 to 1000000, found '1000001'"),
        ("LuaBalancerMaxMembers -1", "expected a number from 0 to 1000000, found '-1'"),
        ("LuaBalancerMember http://127.0.0.1:1", "LuaBalancerMember belongs inside <LuaBalancerPool name>"),
        ("LuaBalancerSet retries=1", "LuaBalancerSet belongs inside <LuaBalancerPool name>"),
        ("LuaHookSelect \"a", "expected a closing \""),
    ];
    for (line, expected) in cases {
        let text = refused(&[line]);
        assert!(text.contains(expected), "{line}\n{text}");
        let name = line.trim_start_matches('<').split(' ').next().unwrap_or_default();
        assert!(text.starts_with(name), "{line}\n{text}");
    }
}

#[test]
fn a_wrong_line_of_a_pool_is_refused() {
    let cases: &[(&str, &str)] = &[
        ("LuaBalancerMember", "expected a URL, for example LuaBalancerMember http://10.0.0.1:8080 weight=2"),
        ("LuaBalancerMember http://127.0.0.1:1 colour=red", "colour"),
        ("LuaBalancerMember http://127.0.0.1:1 name=good", "pool app already has a member named good"),
        ("LuaBalancerMember http://127.0.0.1:1 hctemplate=none", "none"),
        ("LuaBalancerMethod fastest", "fastest"),
        ("LuaBalancerMethod hash key=\"%{OPEN\"", "key=\"%{OPEN\" is not an expression: Unclosed variable"),
        ("LuaBalancerHealthCheck http intervall=5s", "interval"),
        ("LuaBalancerOutlier maybe", "maybe"),
        ("LuaBalancerSticky ttl=1", "cookie"),
        ("LuaBalancerSet retry=2", "retries"),
        ("<LuaBalancerPool other>", "pools cannot stand inside one another"),
    ];
    for (line, expected) in cases {
        let text = in_pool(line);
        assert!(text.contains(expected), "{line}\n{text}");
    }
}

#[test]
fn a_name_of_a_pool_is_taken_once_whatever_its_case() {
    let text = refused(&["<LuaBalancerPool app>", "</LuaBalancerPool>", "<LuaBalancerPool APP>"]);
    assert_eq!(text, "LuaBalancerPool: pool APP is defined already, at line 1 of test.conf");
}

#[test]
fn only_the_directives_of_a_pool_stand_inside_it() {
    let mut reader = Reader::default();
    let mut open = |name: &str| reader.draft.open_pool("app", Default::default(), &[(name.to_owned(), 7)]);
    for name in ["LuaHookSelect", "ProxySet", "<LuaBalancerPool", "BalancerMember"] {
        assert_eq!(
            open(name),
            Err(format!(
                "{name} (line 7) cannot stand inside <LuaBalancerPool>: expected LuaBalancerMember, \
                 LuaBalancerDiscovery, LuaBalancerMethod, LuaBalancerHealthCheck, LuaBalancerOutlier, \
                 LuaBalancerSticky, LuaBalancerSet or LuaBalancerShare"
            ))
        );
    }
    assert_eq!(open("luabalancermember"), Ok(()));
}

#[test]
fn directives_for_the_server_as_a_whole_stand_outside_of_virtual_hosts() {
    for line in [
        "LuaBalancerTimer a.lua every=1s",
        "LuaBalancerSandbox on",
        "LuaBalancerGeoIP a.mmdb",
        "LuaBalancerDict d 1M",
        "LuaBalancerMaxMembers 1",
    ] {
        let text = Reader::default().read(Stand::Host, line).unwrap_err();
        assert!(
            text.ends_with(": holds for the server as a whole: write it outside of <VirtualHost>"),
            "{text}"
        );
    }
    for stand in [Stand::Host, Stand::Section] {
        let text = Reader::default().read(stand, "<LuaBalancerPool app>").unwrap_err();
        assert!(text.contains("write it outside of <VirtualHost> and <Location>"), "{text}");
    }
}

#[test]
fn a_dictionary_has_a_name_of_its_own_and_there_are_not_too_many() {
    let text = refused(&["LuaBalancerDict d 1M", "LuaBalancerDict d 2M"]);
    assert_eq!(text, "LuaBalancerDict: dictionary d is defined already, on line 1 of test.conf");
    let lines: Vec<String> = (0..=crate::MOST_DICTS).map(|at| format!("LuaBalancerDict d{at} 32K")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(refused(&lines), "LuaBalancerDict: there may be 256 dictionaries, d256 is one more");
}

#[test]
fn every_directive_is_read() {
    let mut reader = Reader::default();
    reader.main(&[
        "<LuaBalancerPool \"app\">",
        "LuaBalancerMember http://127.0.0.1:9 weight=2",
        "LuaBalancerMember unix:app.sock|http://localhost",
        "LuaBalancerMethod hash key=\"%{REMOTE_ADDR}\"",
        "LuaBalancerMethod lua lua/pick.lua pick",
        "LuaBalancerHealthCheck https ca=ca.pem",
        "LuaBalancerHealthCheck lua script=check.lua",
        "LuaBalancerOutlier off",
        "LuaBalancerSticky cookie=ROUTE",
        "LuaBalancerSet retries=3",
        "</LuaBalancerPool>",
        "LuaHookTranslate a.lua",
        "LuaHookSelect a.lua -",
        "LuaHookFinish a.lua done.well",
        "LuaBalancerTimer a.lua tick every=1500ms",
        "LuaRegisterFunc pick \"function(r) return \\\"x\\\" end\"",
        "LuaBalancerPackagePath lua/?.lua;/abs/?.lua",
        "LuaBalancerCodeCache Never",
        "LuaBalancerScriptLimit time=1s",
        "LuaBalancerScriptLimit memory=2M",
        "LuaBalancerOnError pool:app",
        "LuaBalancerSandbox OFF",
        "LuaBalancerGeoIP a.mmdb /b.mmdb a.mmdb",
        "LuaBalancerDict d 64K",
        "LuaBalancerMaxMembers 0",
    ]);
    assert_eq!(*reader.world.expressions.borrow(), ["%{REMOTE_ADDR}"]);
    let main = reader.main;
    let config = reader.config();
    let [pool] = config.pools.as_slice() else { panic!("{:?}", config.pools) };
    assert_eq!((pool.name.as_str(), pool.place.line, pool.members.len()), ("app", 1, 2));
    assert!(pool.members[1].to_line().contains("unix:/run/app.sock|http://localhost"));
    assert_eq!(pool.member_places[1].line, 3);
    let scripts: Vec<&str> = pool.scripts.iter().map(|script| script.path.as_str()).collect();
    assert_eq!(scripts, ["/root/lua/pick.lua", "/root/check.lua"]);
    assert_eq!((config.max_members, config.sandbox, config.members()), (0, false, 2));
    let files: Vec<_> = config.geo_files.iter().map(|file| file.path.to_str()).collect();
    assert_eq!(files, [Some("/root/a.mmdb"), Some("/b.mmdb")]);
    assert_eq!((config.dicts[0].name.as_str(), config.dicts[0].size), ("d", 64 << 10));
    assert_eq!(config.timers[0].every_ms, 1500);
    let first = &config.scripts[0];
    assert_eq!((first.cache, first.limit), (CodeCache::Never, Limit { time_ms: 1000, memory: 2 << 20 }));
    assert_eq!(first.package_path, ["/root/lua/?.lua", "/abs/?.lua"]);
    assert_eq!(config.on_error(main.on_error.unwrap()), &OnError::Pool("app".into()));
    assert_eq!(config.fallbacks().map(|(name, place)| (name, place.line)).collect::<Vec<_>>(), [("app", 21)]);
    for kind in [HookKind::Translate, HookKind::Select, HookKind::Finish] {
        assert!(config.has_hooks(kind));
    }
    assert_eq!(config.hooks(main.finish.unwrap())[0].function, "done.well");
}

#[test]
fn nothing_said_is_the_documented_default() {
    let config = Reader::default().config();
    assert_eq!((config.max_members, config.sandbox), (1024, true));
    assert!(!config.has_hooks(HookKind::Translate) && config.scripts.is_empty());
    let mut reader = Reader::default();
    reader.main(&["LuaHookSelect a.lua"]);
    let config = reader.config();
    assert_eq!(config.scripts[0].limit, Limit { time_ms: 50, memory: 16 << 20 });
    assert_eq!(config.scripts[0].cache, CodeCache::Stat);
}

#[test]
fn members_take_the_lines_of_mod_proxy_hcheck() {
    let mut reader = Reader::default();
    reader.world.lines = vec![
        ("ProxyHCTemplate", "tcp5 hcmethod=TCP hcinterval=5"),
        ("proxyhcexpr", "ok234 {%{REQUEST_STATUS} =~ /^[234]/}"),
    ];
    reader.main(&[
        "<LuaBalancerPool app>",
        "LuaBalancerMember http://127.0.0.1:1 hctemplate=tcp5",
        "LuaBalancerMember http://127.0.0.1:2 hctemplate=TCP5",
        "</LuaBalancerPool>",
    ]);
    let config = reader.config();
    let check = config.pools[0].settings.health.as_ref().unwrap();
    assert_eq!(check.interval_ms, 5000);

    let mut reader = Reader::default();
    reader.main(&[
        "<LuaBalancerPool app>",
        "LuaBalancerMember http://127.0.0.1:1 hcmethod=TCP",
        "LuaBalancerMember http://127.0.0.1:2",
    ]);
    let text = reader.read(Stand::Main, "</LuaBalancerPool>").unwrap_err();
    assert!(text.contains("of test.conf: LuaBalancerMember: "), "{text}");
}

#[test]
fn a_file_of_certificates_is_looked_at() {
    let mut reader = Reader::default();
    reader.world.broken_ca = true;
    reader.main(&["<LuaBalancerPool app>", "LuaBalancerHealthCheck https", "LuaBalancerSet retries=1"]);
    let text = reader.read(Stand::Main, "LuaBalancerHealthCheck https ca=ca.pem").unwrap_err();
    assert_eq!(text, "LuaBalancerHealthCheck: ca.pem: no certificate");
}

#[test]
fn a_script_is_under_server_root_or_else_installed() {
    let found = |written: &str, files: &[&str]| {
        let mut reader = Reader::default();
        reader.world.files = files.iter().map(|file| (*file).to_owned()).collect();
        reader.main(&[&format!("LuaHookSelect {written}")]);
        match &reader.config().scripts[0].script {
            crate::Script::File(path) => path.clone(),
            other => panic!("{other:?}"),
        }
    };
    let installed = &["/installed/lua/balancer.lua", "/installed/secret.lua"];
    assert_eq!(found("balancer.lua", installed), "/installed/lua/balancer.lua");
    assert_eq!(found("lua/balancer.lua", installed), "/installed/lua/balancer.lua");
    assert_eq!(found("/x/balancer.lua", installed), "/x/balancer.lua");
    assert_eq!(found("secret.lua", installed), "/root/secret.lua");
    assert_eq!(found("other.lua", installed), "/root/other.lua");
    let both = &["/installed/lua/balancer.lua", "/root/balancer.lua"];
    assert_eq!(found("balancer.lua", both), "/root/balancer.lua");
}
