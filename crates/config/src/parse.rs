// SPDX-License-Identifier: Apache-2.0
//! The text of each directive, read into a [`Statement`]. The first argument is its name.

use std::collections::HashSet;

use balance::names;
use balance::stock::hcheck;
use balance::units;

use crate::statement::{Callee, CodeCache, HookKind, OnError, Statement};

/// Smallest dictionary, in bytes.
pub const MIN_DICT: usize = 32 << 10;
/// Largest dictionary, in bytes.
pub const MAX_DICT: usize = 64 << 30;
/// Most members that may be added while running.
const MAX_ADDED: u32 = 1_000_000;

type Read = Result<Statement, String>;

/// Words of a directive's arguments, as httpd would split them.
pub(crate) fn words(args: &str) -> Result<Vec<String>, String> {
    balance::words::split(args).map_err(|error| error.to_string())
}

/// The path that a line's words begin with (None for `none`), and the keys behind it. `known`: the
/// keys that may stand there; `nothing`: why they may not stand behind `none`.
pub(crate) fn path_or_none<'w>(
    all: &'w [String],
    known: [&str; 2],
    (nothing, example): (&str, &str),
) -> Result<(Option<String>, &'w [String]), String> {
    let (path, keys) = all.split_first().ok_or_else(|| format!("expected a path or none, {example}"))?;
    let is_key = path.split_once('=').is_some_and(|(key, _)| known.contains(&key));
    if path.is_empty() || is_key {
        return Err(format!("expected a path or none first, found '{path}', {example}"));
    }
    let path = (!path.eq_ignore_ascii_case("none")).then(|| path.clone());
    if path.is_none() && !keys.is_empty() {
        return Err(format!("none takes no keys: {nothing}"));
    }
    Ok((path, keys))
}

/// Refuses words of which two have one key. `example` ends the message.
pub(crate) fn each_key_once(words: &[String], example: &str) -> Result<(), String> {
    let key = |word: &String| word.split_once('=').map(|(key, _)| key.to_owned());
    let mut seen = HashSet::new();
    match words.iter().filter_map(key).find(|key| !seen.insert(key.clone())) {
        Some(key) => Err(format!("{key}= is given twice, {example}")),
        None => Ok(()),
    }
}

/// Whether a pool name is one.
pub fn check_pool_name(name: &str) -> Result<(), String> {
    check_name(name, "pool", "<LuaBalancerPool app>")
}

/// Whether a dictionary's name is one.
pub fn check_dict_name(name: &str) -> Result<(), String> {
    check_name(name, "dictionary", "LuaBalancerDict sessions 1M")
}

fn check_name(name: &str, of: &str, example: &str) -> Result<(), String> {
    if names::is_name(name) {
        return Ok(());
    }
    let expected = names::EXPECTED;
    Err(format!("'{name}' cannot name a {of}: expected {expected}, for example {example}"))
}

pub(crate) fn pool(_: &str, args: &str) -> Read {
    let inside = args.trim_end();
    let inside =
        inside.strip_suffix('>').ok_or("expected '>' at the end, for example <LuaBalancerPool app>")?;
    let names = words(inside)?;
    let [name] = names.as_slice() else {
        let count = names.len();
        return Err(format!("expected one name, for example <LuaBalancerPool app>, found {count} words"));
    };
    check_pool_name(name)?;
    Ok(Statement::Pool(name.clone()))
}

pub(crate) fn member(_: &str, args: &str) -> Read {
    let (checks, mut keys): (Vec<String>, Vec<String>) =
        words(args)?.into_iter().partition(|word| hcheck::is_key(word));
    if keys.is_empty() {
        return Err("expected a URL, for example LuaBalancerMember http://10.0.0.1:8080 weight=2".into());
    }
    let url = keys.remove(0);
    Ok(Statement::Member { url, checks, keys })
}

pub(crate) fn setting(_: &str, args: &str) -> Read {
    Ok(Statement::Setting(words(args)?))
}

pub(crate) fn hook_translate(directive: &str, args: &str) -> Read {
    hook(directive, args, HookKind::Translate, "translate")
}

pub(crate) fn hook_select(directive: &str, args: &str) -> Read {
    hook(directive, args, HookKind::Select, "select")
}

pub(crate) fn hook_finish(directive: &str, args: &str) -> Read {
    hook(directive, args, HookKind::Finish, "finish")
}

fn hook(directive: &str, args: &str, kind: HookKind, default: &str) -> Read {
    Ok(Statement::Hook(kind, callee(directive, &words(args)?, default)?))
}

/// `script.lua [function]`, or a registered name: one word that does not look like a file.
pub(crate) fn callee(directive: &str, all: &[String], default: &str) -> Result<Callee, String> {
    match all {
        [one] if !one.contains('/') && !one.ends_with(".lua") => Ok(Callee::Registered(one.clone())),
        [path] => Ok(Callee::File { path: path.clone(), function: default.to_owned() }),
        [path, function] => file(path, function),
        _ => Err(format!(
            "expected a script and a function or a registered name, found {} words; for example \
             {directive} lua/balancer.lua {default}",
            all.len(),
        )),
    }
}

fn file(path: &str, function: &str) -> Result<Callee, String> {
    check_function(function)?;
    Ok(Callee::File { path: path.to_owned(), function: function.to_owned() })
}

fn check_function(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let ok = name == "-"
        || bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
    if ok {
        return Ok(());
    }
    Err(format!(
        "'{name}' cannot name a Lua function: expected a name such as select, or - for the file as a whole"
    ))
}

pub(crate) fn timer(directive: &str, args: &str) -> Read {
    const EXAMPLE: &str = "for example LuaBalancerTimer lua/weights.lua adjust every=10s";
    let (keys, words): (Vec<String>, Vec<String>) =
        words(args)?.into_iter().partition(|word| word.contains('='));
    let mut every_ms = None;
    for word in &keys {
        match word.split_once('=') {
            Some(("every", _)) if every_ms.is_some() => {
                return Err(format!("every= is given twice, {EXAMPLE}"));
            }
            Some(("every", value)) => {
                every_ms = Some(units::duration_ms(value).map_err(|error| format!("every=: {error}"))?);
            }
            _ => return Err(format!("unknown key in '{word}': expected every=, {EXAMPLE}")),
        }
    }
    let every_ms = every_ms.ok_or_else(|| format!("every= is missing, {EXAMPLE}"))?;
    if every_ms == 0 {
        return Err(format!("every=0 would run it without end: expected at least 1ms, {EXAMPLE}"));
    }
    Ok(Statement::Timer { callee: callee(directive, &words, "timer")?, every_ms })
}

pub(crate) fn register_func(_: &str, args: &str) -> Read {
    let (name, rest) = args.trim().split_once(char::is_whitespace).ok_or(
        "expected a name and a script or a function, for example: LuaRegisterFunc pick function(r) return \
         lb.pool(\"app\") end",
    )?;
    let name = name.trim_matches('"').to_owned();
    check_function(&name)?;
    let rest = rest.trim();
    if looks_inline(rest) {
        return Ok(Statement::Register { name, callee: Callee::Inline(unquoted(rest)) });
    }
    let callee = match words(rest)?.as_slice() {
        [path] => Callee::File { path: path.clone(), function: name.clone() },
        [path, function] => file(path, function)?,
        more => {
            let count = more.len();
            return Err(format!("expected a script and a function, found {count} words after the name"));
        }
    };
    Ok(Statement::Register { name, callee })
}

fn looks_inline(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'']).trim_start();
    text.strip_prefix("function").is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Inline Lua without the quotes around it. Inside them, `\` stands before the quote and itself.
fn unquoted(text: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner.replace(&format!("\\{quote}"), &quote.to_string()).replace("\\\\", "\\");
        }
    }
    text.to_owned()
}

pub(crate) fn package_path(_: &str, args: &str) -> Read {
    let all = words(args)?;
    let [path] = all.as_slice() else {
        return Err("expected one path, for example LuaBalancerPackagePath /etc/apache2/lua/?.lua".into());
    };
    let parts: Vec<String> = path.split(';').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    match parts.iter().find(|part| !part.contains('?')) {
        None => Ok(Statement::PackagePath(parts)),
        Some(part) => Err(format!(
            "'{part}' has no '?' for the module's name: expected a pattern such as /etc/apache2/lua/?.lua"
        )),
    }
}

pub(crate) fn one_of<T: Copy>(args: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let all = words(args)?;
    let found = match all.as_slice() {
        [word] => choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)),
        _ => None,
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("expected {}, found '{}'", names.join(" or "), args.trim())
    })
}

pub(crate) fn code_cache(_: &str, args: &str) -> Read {
    let choices = [("stat", CodeCache::Stat), ("forever", CodeCache::Forever), ("never", CodeCache::Never)];
    one_of(args, &choices).map(Statement::CodeCache)
}

pub(crate) fn sandbox(_: &str, args: &str) -> Read {
    one_of(args, &[("on", true), ("off", false)]).map(Statement::Sandbox)
}

pub(crate) fn script_limit(_: &str, args: &str) -> Read {
    let all = words(args)?;
    if all.is_empty() {
        return Err(
            "expected time= or memory=, for example LuaBalancerScriptLimit time=50ms memory=16M".into()
        );
    }
    each_key_once(&all, "for example time=50ms memory=16M")?;
    let (mut time_ms, mut memory) = (None, None);
    for word in &all {
        match word.split_once('=') {
            Some(("time", value)) => time_ms = Some(limit_time(value)?),
            Some(("memory", value)) => memory = Some(limit_memory(value)?),
            _ => {
                return Err(format!(
                    "unknown key in '{word}': expected time= or memory=, for example time=50ms memory=16M"
                ));
            }
        }
    }
    Ok(Statement::ScriptLimit { time_ms, memory })
}

fn limit_time(value: &str) -> Result<u64, String> {
    match units::duration_ms(value).map_err(|error| format!("time=: {error}"))? {
        0 => Err("time=0 would stop every script: expected at least 1ms".into()),
        ms => Ok(ms),
    }
}

fn limit_memory(value: &str) -> Result<u64, String> {
    let bytes = units::size(value).map_err(|error| format!("memory=: {error}"))?;
    if bytes >= 1 << 20 {
        return Ok(bytes);
    }
    Err(format!("memory={value} is too little for a Lua state: expected at least 1M"))
}

pub(crate) fn on_error(_: &str, args: &str) -> Read {
    let all = words(args)?;
    let rule = match all.as_slice() {
        [word] if word.eq_ignore_ascii_case("error") => OnError::Error,
        [word] if word.eq_ignore_ascii_case("decline") => OnError::Decline,
        [word] if word.starts_with("pool:") => {
            let name = &word["pool:".len()..];
            check_pool_name(name)?;
            OnError::Pool(name.to_owned())
        }
        _ => return Err(format!("expected error, decline or pool:NAME, found '{}'", args.trim())),
    };
    Ok(Statement::OnError(rule))
}

pub(crate) fn geoip(_: &str, args: &str) -> Read {
    let all = words(args)?;
    if all.is_empty() {
        return Err("expected one or more MaxMind databases, for example \
                    LuaBalancerGeoIP /var/lib/GeoIP/GeoLite2-City.mmdb /var/lib/GeoIP/GeoLite2-ASN.mmdb"
            .into());
    }
    Ok(Statement::GeoIp(all))
}

pub(crate) fn max_members(_: &str, args: &str) -> Read {
    let number = args.trim().parse().ok().filter(|number| *number <= MAX_ADDED);
    let number =
        number.ok_or_else(|| format!("expected a number from 0 to {MAX_ADDED}, found '{}'", args.trim()));
    number.map(Statement::MaxMembers)
}

pub(crate) fn dict(_: &str, args: &str) -> Read {
    let all = words(args)?;
    let [name, size] = all.as_slice() else {
        let count = all.len();
        return Err(format!(
            "expected a name and a size, found {count} words; for example LuaBalancerDict sessions 1M"
        ));
    };
    check_dict_name(name)?;
    let bytes = units::size(size).map_err(|error| format!("size of {name}: {error}"))?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    if !(MIN_DICT..=MAX_DICT).contains(&bytes) {
        return Err(format!(
            "{size} is not a size of a dictionary: expected {}K to {}M, for example LuaBalancerDict {name} 1M",
            MIN_DICT >> 10,
            MAX_DICT >> 20
        ));
    }
    Ok(Statement::Dict { name: name.clone(), size: bytes })
}
