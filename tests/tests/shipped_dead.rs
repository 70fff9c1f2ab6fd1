// SPDX-License-Identifier: Apache-2.0
//! Every script of the folder `lua/` with members that refuse connections and that no check has
//! found yet: what each script says about its members holds then, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use server_tests::{Backend, Httpd, Request, pool};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../lua")
}

/// A request: its path and one header.
type Ask = (&'static str, (&'static str, &'static str));

/// One script with its members, each with its pool and keys.
struct Script {
    name: &'static str,
    hooks: &'static str,
    members: &'static [(&'static str, &'static str, &'static str)],
    /// The dead backends, the request, and the backends that may answer it (or the status).
    cases: &'static [(&'static [&'static str], Ask, &'static [&'static str])],
}

const PLAIN: (&str, &str) = ("X-Nothing", "1");

const SCRIPTS: &[Script] = &[
    Script {
        name: "balancer",
        hooks: "LuaHookTranslate lua/balancer.lua select",
        members: &[
            ("one", "app", "meta.version=1"),
            ("two", "app", "meta.version=2"),
            ("more", "app", "meta.version=2"),
            ("api", "api", ""),
        ],
        cases: &[
            (&["one"], ("/x", PLAIN), &["two", "more"]),
            (&["two"], ("/x", ("Cookie", "beta=1")), &["more"]),
            (&["two", "more"], ("/x", ("Cookie", "beta=1")), &["503"]),
            (&["api"], ("/api/x", PLAIN), &["503"]),
        ],
    },
    Script {
        name: "weighted",
        hooks: "LuaHookTranslate lua/weighted.lua select",
        members: &[("one", "app", "")],
        cases: &[(&[], ("/x", PLAIN), &["503"])],
    },
    Script {
        name: "by_path",
        hooks: "LuaHookTranslate lua/by_path.lua select",
        members: &[("api", "api", ""), ("static", "static", ""), ("app", "app", ""), ("app2", "app", "")],
        cases: &[(&["app"], ("/app/x", PLAIN), &["app2"]), (&["static"], ("/css/x", PLAIN), &["503"])],
    },
    Script {
        name: "least_connections",
        hooks: "LuaHookTranslate lua/least_connections.lua select",
        members: &[("near", "app", "zone=eu"), ("near2", "app", "zone=eu"), ("far", "app", "zone=us")],
        cases: &[
            (&["near"], ("/x", ("X-Zone", "eu")), &["near2"]),
            (&["near", "near2"], ("/x", ("X-Zone", "eu")), &["far"]),
            (&["far"], ("/x", PLAIN), &["near", "near2"]),
        ],
    },
    Script {
        name: "canary",
        hooks: "LuaHookTranslate lua/canary.lua select",
        members: &[("stable", "app", "meta.track=stable"), ("canary", "app", "meta.track=canary")],
        cases: &[
            (&["canary"], ("/x", ("Cookie", "track=canary")), &["stable"]),
            (&["stable"], ("/x", ("Cookie", "track=stable")), &["canary"]),
            (&["stable", "canary"], ("/x", PLAIN), &["503"]),
        ],
    },
    Script {
        name: "sticky_canary",
        hooks: "LuaHookTranslate lua/sticky_canary.lua select",
        members: &[("stable", "app", "meta.track=stable"), ("canary", "app", "meta.track=canary")],
        cases: &[
            (&["canary"], ("/x", ("Cookie", "canary=1")), &["stable"]),
            (&["stable"], ("/x", PLAIN), &["canary"]),
        ],
    },
    Script {
        name: "geo",
        hooks: "LuaHookTranslate lua/geo.lua select",
        members: &[("china", "app", "zone=china"), ("usa", "app", "zone=usa"), ("rest", "app", "zone=rest")],
        cases: &[
            (&["china"], ("/x", ("X-Forwarded-For", "175.16.199.1")), &["usa", "rest"]),
            (&["rest"], ("/x", PLAIN), &["usa", "china"]),
        ],
    },
    Script {
        name: "by_header",
        hooks: "LuaHookTranslate lua/by_header.lua select",
        members: &[
            ("one", "app", "meta.version=1"),
            ("two", "app", "meta.version=2"),
            ("more", "app", "meta.version=2"),
        ],
        cases: &[
            (&["two"], ("/x", ("X-App-Version", "2")), &["more"]),
            (&["two", "more"], ("/x", ("X-App-Version", "2")), &["503"]),
        ],
    },
    Script {
        name: "blue_green",
        hooks: "LuaHookTranslate lua/blue_green.lua select",
        members: &[
            ("blue", "app", "meta.colour=blue"),
            ("azure", "app", "meta.colour=blue"),
            ("green", "app", "meta.colour=green"),
        ],
        cases: &[(&["blue"], ("/x", PLAIN), &["azure"]), (&["blue", "azure"], ("/x", PLAIN), &["503"])],
    },
    Script {
        name: "hash_by_user",
        hooks: "LuaHookSelect lua/hash_by_user.lua select",
        members: &[("one", "app", ""), ("two", "app", ""), ("three", "app", "")],
        cases: &[(&["one", "two"], ("/x", ("X-Api-Key", "k")), &["three"])],
    },
    Script {
        name: "tenants",
        hooks: "LuaHookTranslate lua/tenants.lua select",
        members: &[("acme", "acme", ""), ("acme2", "acme", ""), ("globex", "globex", "")],
        cases: &[
            (&["acme"], ("/x", ("Host", "acme.example.org")), &["acme2"]),
            (&["acme", "acme2"], ("/x", ("Host", "acme.example.org")), &["503"]),
        ],
    },
    Script {
        name: "time_of_day",
        hooks: "LuaHookTranslate lua/time_of_day.lua select",
        members: &[("day", "day", ""), ("day2", "day", ""), ("night", "night", ""), ("night2", "night", "")],
        cases: &[(&["day", "night"], ("/x", PLAIN), &["day2", "night2"])],
    },
    Script {
        name: "shedding",
        hooks: "LuaHookTranslate lua/shedding.lua select",
        members: &[("one", "app", ""), ("two", "app", "")],
        cases: &[(&["one"], ("/x", ("X-Priority", "low")), &["two"])],
    },
    Script {
        name: "shadow",
        hooks: "LuaHookTranslate lua/shadow.lua select\nLuaHookFinish lua/shadow.lua finish",
        members: &[("one", "app", ""), ("two", "app", "")],
        cases: &[(&["one"], ("/x", PLAIN), &["two"]), (&["two"], ("/x", PLAIN), &["one"])],
    },
];

fn start(script: &Script, dead: &[&str]) -> (Httpd, Vec<Backend>) {
    let backends: Vec<Backend> = script.members.iter().map(|(name, ..)| Backend::new(name)).collect();
    backends.iter().filter(|backend| dead.contains(&backend.name())).for_each(Backend::refuse);
    let pools: BTreeSet<&str> = script.members.iter().map(|(_, pool, _)| *pool).collect();
    let text = fs::read_to_string(folder().join(format!("{}.lua", script.name))).expect("a shipped script");
    // Nobody listens at the addresses of an example.
    let text = text.replace("192.168.1.1", "127.0.0.1").replace("8080", "1");
    let database = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/geo/tests/data/GeoIP2-City-Test.mmdb");
    let mut builder = Httpd::builder()
        .module("remoteip")
        .config("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1")
        .config(&format!("LuaBalancerGeoIP {database}"))
        .config(script.hooks)
        .file(&format!("lua/{}.lua", script.name), &text);
    for name in pools {
        let members: Vec<(&Backend, &str)> = script
            .members
            .iter()
            .zip(&backends)
            .filter(|((_, pool, _), _)| *pool == name)
            .map(|((_, _, keys), backend)| (backend, *keys))
            .collect();
        builder = builder.config(&pool(name, &members, "LuaBalancerOutlier off"));
    }
    (builder.start(), backends)
}

#[test]
fn every_shipped_script_is_here() {
    for entry in fs::read_dir(folder()).expect("the folder lua").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        if let Some(name) = name.strip_suffix(".lua").filter(|name| !name.ends_with("_test")) {
            assert!(SCRIPTS.iter().any(|script| script.name == name), "{name} has no test with dead members");
        }
    }
}

#[test]
fn shipped_scripts_keep_their_word_when_members_are_dead() {
    for script in SCRIPTS {
        for (dead, (path, (key, value)), want) in script.cases {
            let (httpd, _backends) = start(script, dead);
            for _ in 0..6 {
                let answer = httpd.client().send(&Request::get(path).header(key, value));
                let seen = if answer.status == 200 {
                    answer.backend().to_owned()
                } else {
                    answer.status.to_string()
                };
                let name = script.name;
                assert!(
                    want.contains(&&*seen),
                    "{name}, dead {dead:?}, {key}: {value}: {seen}\n{}",
                    httpd.error_log()
                );
            }
        }
    }
}
