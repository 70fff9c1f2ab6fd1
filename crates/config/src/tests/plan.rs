// SPDX-License-Identifier: Apache-2.0
use super::{Reader, Stand};
use crate::{CodeCache, Resolved, Script};

fn resolved(script: usize, function: &str) -> Resolved {
    Resolved { script, function: function.to_owned() }
}

#[test]
fn one_file_is_one_script_however_often_it_is_named() {
    let mut reader = Reader::default();
    reader.main(&["LuaHookTranslate a.lua", "LuaHookSelect a.lua pick", "LuaHookFinish a.lua pick"]);
    reader.main(&["<LuaBalancerPool app>", "LuaBalancerMethod lua a.lua choose", "</LuaBalancerPool>"]);
    let main = reader.main;
    let config = reader.config();
    let [script] = config.scripts.as_slice() else { panic!("{:?}", config.scripts) };
    assert_eq!(script.script, Script::File("/root/a.lua".into()));
    assert_eq!(script.needs, ["translate", "pick", "choose"]);
    assert_eq!(script.place.line, 1);
    assert_eq!(config.hooks(main.select.unwrap()), [resolved(0, "pick")]);
    assert_eq!(config.method_scripts, [("a.lua".to_owned(), 0)]);
    assert_eq!(config.uses, 3);
}

#[test]
fn a_virtual_host_has_its_own_settings_and_else_those_of_the_main_server() {
    let mut reader = Reader::default();
    reader.main(&["LuaHookSelect a.lua"]);
    reader.at(
        Stand::Host,
        &["LuaHookSelect a.lua", "LuaBalancerPackagePath /host/?.lua", "LuaBalancerScriptLimit memory=4M"],
    );
    // A line behind a hook holds for it too.
    reader.main(&["LuaBalancerPackagePath /main/?.lua", "LuaBalancerCodeCache forever"]);
    reader.main(&["LuaBalancerScriptLimit time=7ms"]);
    let (main, host) = (reader.main, reader.host);
    let config = reader.config();
    assert_eq!(config.hooks(main.select.unwrap()), [resolved(0, "select")]);
    assert_eq!(config.hooks(host.select.unwrap()), [resolved(1, "select")]);
    let [of_main, of_host] = config.scripts.as_slice() else { panic!("{:?}", config.scripts) };
    assert_eq!(of_main.package_path, ["/main/?.lua"]);
    assert_eq!(of_host.package_path, ["/host/?.lua", "/main/?.lua"]);
    assert_eq!((of_main.cache, of_host.cache), (CodeCache::Forever, CodeCache::Forever));
    assert_eq!((of_main.limit.time_ms, of_main.limit.memory), (7, 16 << 20));
    // A key that the virtual host's line leaves out is the main server's.
    assert_eq!((of_host.limit.time_ms, of_host.limit.memory), (7, 4 << 20));
}

#[test]
fn a_registered_name_is_looked_up_in_its_host_and_then_in_the_main_server() {
    let mut reader = Reader::default();
    reader.at(Stand::Host, &["LuaHookTranslate pick", "LuaHookSelect only_main"]);
    reader.main(&["LuaRegisterFunc pick main.lua", "LuaRegisterFunc only_main main.lua f"]);
    reader.at(Stand::Host, &["LuaRegisterFunc pick host.lua"]);
    reader.main(&["LuaHookTranslate pick"]);
    let (main, host) = (reader.main, reader.host);
    let config = reader.config();
    let file = |one: &Resolved| match &config.scripts[one.script].script {
        Script::File(path) => (path.clone(), one.function.clone()),
        other => panic!("{other:?}"),
    };
    let first = |hooks| file(&config.hooks(hooks)[0]);
    assert_eq!(first(main.translate.unwrap()), ("/root/main.lua".into(), "pick".into()));
    assert_eq!(first(host.translate.unwrap()), ("/root/host.lua".into(), "pick".into()));
    assert_eq!(first(host.select.unwrap()), ("/root/main.lua".into(), "f".into()));
}

#[test]
fn a_name_that_nobody_registered_is_refused_with_its_place() {
    let mut reader = Reader::default();
    reader.at(Stand::Host, &["LuaRegisterFunc pick host.lua"]);
    reader.main(&["LuaHookTranslate pick"]);
    let text = reader.finish().unwrap_err();
    assert!(
        text.starts_with("line 2 of test.conf: no function named pick is registered: expected a script"),
        "{text}"
    );
}

#[test]
fn a_name_is_registered_once_in_a_server() {
    let mut reader = Reader::default();
    reader.main(&["LuaRegisterFunc pick a.lua"]);
    let text = reader.read(Stand::Main, "LuaRegisterFunc pick b.lua").unwrap_err();
    assert_eq!(text, "LuaRegisterFunc: pick is registered already");
    reader.at(Stand::Host, &["LuaRegisterFunc pick b.lua"]);
}

#[test]
fn lua_in_the_configuration_is_a_script_of_its_own() {
    let mut reader = Reader::default();
    reader.main(&[
        "LuaRegisterFunc one 'function(r) return \"a\\\\b\" end'",
        "LuaRegisterFunc two function (r) return nil end",
        "LuaBalancerPackagePath /lua/?.lua",
        "LuaHookTranslate one",
        "LuaHookSelect one",
        "LuaBalancerTimer two every=1s",
    ]);
    let main = reader.main;
    let config = reader.config();
    let [one, two] = config.scripts.as_slice() else { panic!("{:?}", config.scripts) };
    let code = "function(r) return \"a\\b\" end".to_owned();
    assert_eq!(one.script, Script::Inline { name: "one".into(), code });
    assert_eq!(one.package_path, ["/root/?.lua", "/lua/?.lua"]);
    assert_eq!(two.place.line, 2);
    assert_eq!(config.hooks(main.translate.unwrap()), config.hooks(main.select.unwrap()));
    assert_eq!(config.timers[0].function, resolved(1, "two"));
}

#[test]
fn the_dump_says_what_each_pool_shares() {
    let mut reader = Reader::default();
    reader.main(&["LuaBalancerStore etcd:http://127.0.0.1:2379/lb", "LuaBalancerShare orders health"]);
    reader.main(&["<LuaBalancerPool app>", "</LuaBalancerPool>"]);
    reader.main(&["<LuaBalancerPool own>", "LuaBalancerShare none", "</LuaBalancerPool>"]);
    let dump: serde_json::Value = serde_json::from_str(&reader.config().dump()).unwrap();
    let shared: Vec<&serde_json::Value> =
        dump["pools"].as_array().unwrap().iter().map(|pool| &pool["share"]).collect();
    assert_eq!(shared, ["orders health", "none"]);
}
