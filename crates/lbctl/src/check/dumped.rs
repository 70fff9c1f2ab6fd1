// SPDX-License-Identifier: Apache-2.0
//! The configuration as httpd itself has read it (`httpd -t -D DUMP_LUA_BALANCER`): the parts that
//! only httpd sees come from here.

use std::path::Path;
use std::sync::LazyLock;

use balance::member::MemberSpec;
use balance::settings::{CheckKind, HealthCheck, PoolSettings, Sticky};
use config::{Config, DIRECTIVES, Naming, Pool, Position, Resolved};
use regex::Regex;
use serde::Deserialize;

use super::findings::Remark;
use crate::world::setup;

/// See the module. Keys that an older module does not have are None.
#[derive(Debug, Deserialize)]
pub struct Dump {
    pools: Vec<DumpedPool>,
    #[serde(default)]
    hooks: Vec<DumpedHook>,
}

#[derive(Debug, Deserialize)]
struct DumpedPool {
    name: String,
    file: String,
    line: u32,
    #[serde(default)]
    method: String,
    key: Option<String>,
    check: Option<DumpedCheck>,
    sticky: Option<DumpedSticky>,
    /// Of an older module: None.
    set: Option<DumpedSet>,
    #[serde(default)]
    members: Vec<DumpedMember>,
    #[serde(default)]
    discovery: Vec<DumpedSource>,
}

#[derive(Debug, Deserialize)]
struct DumpedSource {
    name: String,
}

#[derive(Debug, Deserialize)]
struct DumpedCheck {
    interval_ms: u64,
    timeout_ms: u64,
}

#[derive(Debug, Deserialize)]
struct DumpedSticky {
    cookie: String,
    path: String,
}

#[derive(Debug, Deserialize)]
struct DumpedSet {
    zone: Option<String>,
    queue_ms: u64,
    on_empty: u16,
}

#[derive(Debug, Deserialize)]
struct DumpedMember {
    name: String,
    url: String,
    weight: Option<f64>,
    zone: Option<String>,
    #[serde(default)]
    max_inflight: u32,
    #[serde(default)]
    status: String,
    file: String,
    line: u32,
}

#[derive(Debug, Deserialize)]
struct DumpedHook {
    directive: String,
    script: Option<String>,
    function: String,
    file: String,
    line: u32,
}

impl Dump {
    /// Reads httpd's output. The error: the module is not there, or older than this program.
    pub fn read(text: &str, file: &Path) -> Result<Self, Remark> {
        serde_json::from_str(text).map_err(|_| {
            let place = Position { file: file.display().to_string(), line: 1 };
            let text = "httpd takes it, without mod_lua_balancer or with one that is older than this lbctl: \
                        expected LoadModule lua_balancer_module";
            Remark::warning(&place, text.into())
        })
    }

    /// Adds pools and hooks that only httpd sees. Pools that an older module does not tell enough
    /// of are named instead.
    pub fn complete(&self, config: &mut Config) -> Vec<Remark> {
        let mut unseen = Vec::new();
        for pool in &self.pools {
            if config.pools.iter().any(|own| own.name.eq_ignore_ascii_case(&pool.name)) {
                continue;
            }
            match pool.read() {
                Some(pool) => config.pools.push(pool),
                None => {
                    let text = format!(
                        "pool {} is one that only httpd sees (mod_macro, or a condition that is not known \
                         here), and this module is older than lbctl: it is not looked at",
                        pool.name
                    );
                    unseen.push(Remark::warning(&place(&pool.file, pool.line), text));
                }
            }
        }
        self.hooks.iter().for_each(|hook| hook.complete(config));
        unseen
    }
}

impl DumpedPool {
    fn read(&self) -> Option<Pool> {
        let set = self.set.as_ref()?;
        let mut settings = PoolSettings::default();
        // A method that needs more words than its name stays the usual one: it draws no remark.
        settings.set_directive("LuaBalancerMethod", std::slice::from_ref(&self.method)).ok();
        settings.key.clone_from(&self.key);
        settings.set.zone.clone_from(&set.zone);
        (settings.set.queue_ms, settings.set.on_empty) = (set.queue_ms, set.on_empty);
        settings.health = self.check.as_ref().map(|check| HealthCheck {
            interval_ms: check.interval_ms,
            timeout_ms: check.timeout_ms,
            ..HealthCheck::new(CheckKind::Tcp)
        });
        settings.sticky = self.sticky.as_ref().map(|sticky| Sticky {
            cookie: sticky.cookie.clone(),
            path: sticky.path.clone(),
            ..Sticky::default()
        });
        for DumpedSource { name } in &self.discovery {
            // The source itself is not asked here.
            let words = ["file:/".to_owned(), format!("name={name}")];
            settings.set_directive("LuaBalancerDiscovery", &words).ok();
        }
        let members = self.members.iter().map(DumpedMember::read).collect::<Option<Vec<_>>>()?;
        Some(Pool {
            name: self.name.clone(),
            place: place(&self.file, self.line),
            settings,
            members,
            member_places: self.members.iter().map(|one| place(&one.file, one.line)).collect(),
            member_checks: Vec::new(),
            scripts: Vec::new(),
        })
    }
}

impl DumpedMember {
    fn read(&self) -> Option<MemberSpec> {
        let mut keys = vec![format!("name={}", self.name), format!("max_inflight={}", self.max_inflight)];
        keys.extend(self.weight.map(|weight| format!("weight={weight}")));
        keys.extend(self.zone.as_ref().map(|zone| format!("zone={zone}")));
        keys.extend(
            Some(&self.status).filter(|flags| !flags.is_empty()).map(|flags| format!("status=+{flags}")),
        );
        MemberSpec::parse_beside(&self.url, &keys, |_| false).ok()
    }
}

impl DumpedHook {
    /// Adds the script, should no line that was read here name it.
    fn complete(&self, config: &mut Config) {
        let Some(path) = self.script.as_ref().filter(|path| path.starts_with('/')) else { return };
        let directive = DIRECTIVES.iter().map(config::Directive::name).find(|name| *name == self.directive);
        let is_known = config.scripts.iter().any(|planned| setup::is_file(planned, path));
        let (Some(directive), false) = (directive, is_known) else { return };
        let place = place(&self.file, self.line);
        let function = Resolved { script: config.scripts.len(), function: self.function.clone() };
        config.scripts.push(setup::planned(path.clone(), place.clone()));
        config.named.push(Naming { directive, function, place });
    }
}

/// The place of a line, of one in a macro that where the macro has it.
fn place(file: &str, line: u32) -> Position {
    static MACRO: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"^macro '[^']*' \(defined on line (\d+) of "([^"]+)"\) used on"#).ok());
    let found = MACRO.as_ref().and_then(|pattern| pattern.captures(file));
    let defined = found.and_then(|found| Some((found[1].parse::<u32>().ok()?, found[2].to_owned())));
    match defined {
        Some((first, file)) => Position { file, line: first.saturating_add(line) },
        None => Position { file: file.to_owned(), line },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_macro_is_at_its_place_in_the_file() {
        let used = r#"macro 'pool' (defined on line 12 of "/x/a b.conf") used on line 20 of "/x/c.conf""#;
        assert_eq!(place(used, 2), Position { file: "/x/a b.conf".into(), line: 14 });
        assert_eq!(place("/x/c.conf", 2), Position { file: "/x/c.conf".into(), line: 2 });
    }

    #[test]
    fn a_pool_of_an_older_module_is_named() {
        let text = r#"{"pools":[{"name":"app","file":"/x","line":3,"method":"random","members":[]}]}"#;
        let mut config = config::Draft::default().finish().expect("an empty configuration");
        let found = Dump::read(text, Path::new("/x")).expect("a document").complete(&mut config);
        assert!(found[0].place == "/x:3" && found[0].text.contains("not looked at"), "{found:?}");
        assert!(Dump::read("Syntax OK", Path::new("/x")).is_err());
    }
}
