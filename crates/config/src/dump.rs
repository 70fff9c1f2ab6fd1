// SPDX-License-Identifier: Apache-2.0
//! A configuration as a document, for programs that look at it from outside. There are no secrets
//! in it: of a member's connection keys, none is shown.

use balance::member::MemberSpec;
use balance::settings::{HealthCheck, Set};
use balance::status::Status;
use balance::units;
use serde_json::{Value, json};

use crate::parts::{Dict, Pool};
use crate::place::Position;
use crate::plan::{Config, Naming, Planned, Script};

impl Config {
    /// Pools, members, hooks, scripts and dictionaries, each with file and line.
    pub fn dump(&self) -> String {
        let document = json!({
            "pools": self.pools.iter().map(|one| pool(self, one)).collect::<Vec<_>>(),
            "hooks": self.named.iter().map(|naming| hook(self, naming)).collect::<Vec<_>>(),
            "scripts": self.scripts.iter().map(script).collect::<Vec<_>>(),
            "dicts": self.dicts.iter().map(dict).collect::<Vec<_>>(),
        });
        format!("{document:#}")
    }
}

fn pool(config: &Config, pool: &Pool) -> Value {
    let members = pool.members.iter().zip(&pool.member_places);
    let scripts = pool.scripts.iter().map(|script| {
        let (path, function) = (&script.path, &script.function);
        json!({ "script": path, "function": function, "file": script.place.file, "line": script.place.line })
    });
    let discovery = pool.settings.discovery.iter().map(|one| {
        let source = format!("{}:{}", one.source.kind(), one.source.address());
        json!({ "name": one.name, "source": source })
    });
    json!({
        "name": pool.name,
        "file": pool.place.file,
        "line": pool.place.line,
        "method": pool.settings.method.name(),
        "key": pool.settings.key,
        "check": pool.settings.health.as_ref().map(check),
        "sticky": pool.settings.sticky.as_ref().map(|sticky| json!({ "cookie": sticky.cookie, "path": sticky.path })),
        "set": set(&pool.settings.set),
        "share": config.store.of_pool(&pool.settings).to_words(),
        "members": members.map(|(spec, place)| member(spec, place)).collect::<Vec<_>>(),
        "discovery": discovery.collect::<Vec<_>>(),
        "scripts": scripts.collect::<Vec<_>>(),
    })
}

/// Without its headers, which may hold a password.
fn check(check: &HealthCheck) -> Value {
    json!({ "interval_ms": check.interval_ms, "timeout_ms": check.timeout_ms })
}

fn set(set: &Set) -> Value {
    json!({ "zone": set.zone, "queue_ms": set.queue_ms, "on_empty": set.on_empty })
}

/// The letters of `status=`.
fn letters(flags: u64) -> String {
    const ALL: [(u64, char); 7] = [
        (Status::DISABLED, 'D'),
        (Status::STOPPED, 'S'),
        (Status::IGNORE_ERRORS, 'I'),
        (Status::STANDBY, 'H'),
        (Status::SPARE, 'R'),
        (Status::DRAINING, 'N'),
        (Status::FORCED_ERROR, 'E'),
    ];
    ALL.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, letter)| *letter).collect()
}

fn member(spec: &MemberSpec, place: &Position) -> Value {
    let meta: serde_json::Map<String, Value> =
        spec.meta.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    json!({
        "name": spec.name,
        "url": spec.url.to_string(),
        "weight": units::write_weight(spec.weight).parse::<f64>().ok(),
        "zone": spec.zone,
        "route": spec.route,
        "lbset": spec.lbset,
        "status": letters(spec.flags),
        "max_inflight": spec.max_inflight,
        "meta": meta,
        "file": place.file,
        "line": place.line,
    })
}

fn hook(config: &Config, naming: &Naming) -> Value {
    let (function, place) = (&naming.function, &naming.place);
    let script = config.scripts.get(function.script).map(|planned| label(&planned.script));
    json!({
        "directive": naming.directive,
        "script": script,
        "function": function.function,
        "file": place.file,
        "line": place.line,
    })
}

fn script(planned: &Planned) -> Value {
    json!({
        "script": label(&planned.script),
        "functions": planned.needs,
        "shadow": planned.shadow.is_some(),
        "file": planned.place.file,
        "line": planned.place.line,
    })
}

/// The path of a file; the name of what stands in the configuration.
fn label(script: &Script) -> &str {
    match script {
        Script::File(path) => path,
        Script::Inline { name, .. } => name,
    }
}

fn dict(dict: &Dict) -> Value {
    json!({ "name": dict.name, "size": dict.size, "file": dict.place.file, "line": dict.place.line })
}
