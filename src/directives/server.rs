//! Directives about scripts.

use std::sync::OnceLock;

use super::{Context, script_file, words};
use crate::app::config::{
    self, CodeCache, DEFAULT_LIMIT, DictConfig, DirConfig, GeoFile, Hook, OnError, ServerConfig, Source,
    TimerConfig,
};
use crate::httpd::pool::Pool;

type ServerHooks = fn(&mut ServerConfig) -> &mut Vec<&'static Hook>;
type SectionHooks = fn(&mut DirConfig) -> &mut Option<&'static [&'static Hook]>;

/// Keeps a value as long as the configuration: until the parent reads a new one, which is after the last use.
fn keep<T>(context: &Context<'_>, value: T) -> Result<&'static T, String> {
    #[allow(unsafe_code)]
    // SAFETY: the configuration's pool outlives every request that can see this configuration, and the value is reached
    // through the configuration alone; 'static stands for that life.
    let pool: Pool<'static> =
        unsafe { Pool::from_ptr(context.command.pool()) }.ok_or("internal error: no pool")?;
    Ok(pool.keep(value))
}

fn file_source(context: &Context<'_>, path: &str, function: String) -> Result<Source, String> {
    let path = script_file(context, path)?;
    Ok(Source::File { path, function })
}

fn new_hook(context: &mut Context<'_>, source: Source) -> Result<&'static Hook, String> {
    let hook =
        Hook { source, place: context.place(), server: context.server_index, resolved: OnceLock::new() };
    let hook = keep(context, hook)?;
    context.global.hooks.push(hook);
    Ok(hook)
}

/// `script.lua [function]`, or a registered name when it is one word that does not look like a file.
fn parse_hook(
    context: &mut Context<'_>,
    args: &str,
    default_function: &str,
) -> Result<&'static Hook, String> {
    let all = words(args)?;
    hook_of_words(context, &all, default_function)
}

fn hook_of_words(
    context: &mut Context<'_>,
    all: &[String],
    default_function: &str,
) -> Result<&'static Hook, String> {
    let source = match all {
        [one] if !one.contains('/') && !one.ends_with(".lua") => Source::Registered(one.clone()),
        [path] => file_source(context, path, default_function.to_owned())?,
        [path, function] => {
            check_function(function)?;
            file_source(context, path, function.clone())?
        }
        _ => {
            return Err(format!(
                "expected a script and a function or a registered name, found {} words; for example {} lua/balancer.lua {}",
                all.len(),
                context.name,
                default_function
            ));
        }
    };
    new_hook(context, source)
}

fn check_function(name: &str) -> Result<(), String> {
    let mut bytes = name.bytes();
    let ok = name == "-"
        || bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
    if ok {
        Ok(())
    } else {
        Err(format!(
            "'{name}' cannot name a Lua function: expected a name such as select, or - for the file as a whole"
        ))
    }
}

fn add_hook(
    context: &mut Context<'_>,
    args: &str,
    default: &str,
    server: ServerHooks,
    section: SectionHooks,
) -> Result<(), String> {
    let hook = parse_hook(context, args, default)?;
    let before = match &context.section {
        Some(dir) => {
            let mut copy = **dir;
            Some(section(&mut copy).unwrap_or_default().to_vec())
        }
        None => None,
    };
    match before {
        None => server(context.server).push(hook),
        Some(mut list) => {
            list.push(hook);
            let kept: &'static Vec<&'static Hook> = keep(context, list)?;
            if let Some(dir) = &mut context.section {
                *section(dir) = Some(kept.as_slice());
            }
        }
    }
    Ok(())
}

pub(super) fn hook_translate(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    if let Some(section) = context.command.section_of_files() {
        return Err(format!(
            "inside {section}> it would never run, since httpd looks at that section after translate_name; expected in the \
             server, a <VirtualHost> or a <Location>, or LuaHookSelect, which runs here"
        ));
    }
    config::TRANSLATE.note();
    add_hook(context, args, "translate", |s| &mut s.translate, |d| &mut d.translate)
}

pub(super) fn hook_select(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    config::SELECT.note();
    add_hook(context, args, "select", |s| &mut s.select, |d| &mut d.select)
}

pub(super) fn hook_finish(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    config::FINISH.note();
    add_hook(context, args, "finish", |s| &mut s.finish, |d| &mut d.finish)
}

pub(super) fn timer(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    main_server_only(context)?;
    let example = "for example LuaBalancerTimer lua/weights.lua adjust every=10s";
    let (keys, words): (Vec<String>, Vec<String>) =
        words(args)?.into_iter().partition(|word| word.contains('='));
    let mut every_ms = None;
    for word in &keys {
        match word.split_once('=') {
            Some(("every", _)) if every_ms.is_some() => {
                return Err(format!("every= is given twice, {example}"));
            }
            Some(("every", value)) => {
                every_ms =
                    Some(balance::units::duration_ms(value).map_err(|error| format!("every=: {error}"))?);
            }
            _ => return Err(format!("unknown key in '{word}': expected every=, {example}")),
        }
    }
    let every_ms = every_ms.ok_or_else(|| format!("every= is missing, {example}"))?;
    if every_ms == 0 {
        return Err(format!("every=0 would run it without end: expected at least 1ms, {example}"));
    }
    let hook = hook_of_words(context, &words, "timer")?;
    context.global.timers.push(TimerConfig { hook, every_ms });
    Ok(())
}

pub(super) fn register_func(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let args = args.trim();
    let (name, rest) = args
        .split_once(char::is_whitespace)
        .ok_or("expected a name and a script or a function, for example: LuaRegisterFunc pick function(r) return lb.pool(\"app\") end")?;
    let name = name.trim_matches('"').to_owned();
    check_function(&name)?;
    let rest = rest.trim();
    let source = if looks_inline(rest) {
        let beside = context.command.server_relative("?.lua").ok_or("there is no ServerRoot")?;
        Source::Inline { code: unquoted(rest), name: name.clone(), beside }
    } else {
        match words(rest)?.as_slice() {
            [path] => file_source(context, path, name.clone())?,
            [path, function] => {
                check_function(function)?;
                file_source(context, path, function.clone())?
            }
            more => {
                return Err(format!(
                    "expected a script and a function, found {} words after the name",
                    more.len()
                ));
            }
        }
    };
    if context.server.registered.iter().any(|(known, _)| *known == name) {
        return Err(format!("{name} is registered already"));
    }
    let hook = new_hook(context, source)?;
    context.server.registered.push((name, hook));
    Ok(())
}

fn looks_inline(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'']).trim_start();
    text.strip_prefix("function").is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Inline Lua without the quotes around it. Inside double quotes, `\"` and `\\` stand for themselves.
fn unquoted(text: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)) {
            return inner.replace(&format!("\\{quote}"), &quote.to_string()).replace("\\\\", "\\");
        }
    }
    text.to_owned()
}

pub(super) fn package_path(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let all = words(args)?;
    let [path] = all.as_slice() else {
        return Err("expected one path, for example LuaBalancerPackagePath /etc/apache2/lua/?.lua".into());
    };
    for part in path.split(';').filter(|part| !part.is_empty()) {
        if !part.contains('?') {
            return Err(format!(
                "'{part}' has no '?' for the module's name: expected a pattern such as /etc/apache2/lua/?.lua"
            ));
        }
        let full = context.command.server_relative(part).ok_or_else(|| format!("'{part}' is no path"))?;
        context.server.package_path.push(full);
    }
    Ok(())
}

fn one_of<T: Copy>(args: &str, choices: &[(&str, T)]) -> Result<T, String> {
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

pub(super) fn code_cache(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let value = one_of(
        args,
        &[("stat", CodeCache::Stat), ("forever", CodeCache::Forever), ("never", CodeCache::Never)],
    )?;
    context.server.code_cache = Some(value);
    Ok(())
}

pub(super) fn script_limit(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let mut limit = context.server.limit.unwrap_or(DEFAULT_LIMIT);
    let all = words(args)?;
    if all.is_empty() {
        return Err(
            "expected time= or memory=, for example LuaBalancerScriptLimit time=50ms memory=16M".into()
        );
    }
    for word in &all {
        match word.split_once('=') {
            Some(("time", value)) => {
                limit.time_ms =
                    balance::units::duration_ms(value).map_err(|error| format!("time=: {error}"))?;
                if limit.time_ms == 0 {
                    return Err("time=0 would stop every script: expected at least 1ms".into());
                }
            }
            Some(("memory", value)) => {
                limit.memory = balance::units::size(value).map_err(|error| format!("memory=: {error}"))?;
                if limit.memory < 1 << 20 {
                    return Err(format!(
                        "memory={value} is too little for a Lua state: expected at least 1M"
                    ));
                }
            }
            _ => {
                return Err(format!(
                    "unknown key in '{word}': expected time= or memory=, for example time=50ms memory=16M"
                ));
            }
        }
    }
    context.server.limit = Some(limit);
    Ok(())
}

pub(super) fn on_error(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let all = words(args)?;
    let value = match all.as_slice() {
        [word] if word.eq_ignore_ascii_case("error") => OnError::Error,
        [word] if word.eq_ignore_ascii_case("decline") => OnError::Decline,
        [word] if word.starts_with("pool:") => {
            let name = word["pool:".len()..].to_owned();
            crate::app::config::check_pool_name(&name)?;
            let place = context.place();
            context.global.fallbacks.push((name.clone(), place));
            OnError::Pool(name)
        }
        _ => return Err(format!("expected error, decline or pool:NAME, found '{}'", args.trim())),
    };
    let value = keep(context, value)?;
    match &mut context.section {
        Some(dir) => dir.on_error = Some(value),
        None => context.server.on_error = Some(value),
    }
    Ok(())
}

fn main_server_only(context: &Context<'_>) -> Result<(), String> {
    if context.command.in_virtual_host() {
        return Err("holds for the server as a whole: write it outside of <VirtualHost>".into());
    }
    Ok(())
}

pub(super) fn sandbox(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    main_server_only(context)?;
    context.global.sandbox = one_of(args, &[("on", true), ("off", false)])?;
    Ok(())
}

pub(super) fn geoip(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    main_server_only(context)?;
    let all = words(args)?;
    if all.is_empty() {
        return Err("expected one or more MaxMind databases, for example \
                    LuaBalancerGeoIP /var/lib/GeoIP/GeoLite2-City.mmdb /var/lib/GeoIP/GeoLite2-ASN.mmdb"
            .into());
    }
    for written in &all {
        let path = context
            .command
            .server_relative(written)
            .ok_or_else(|| format!("'{written}' is no path of a file"))?;
        let file = GeoFile { path: path.into(), place: context.place() };
        // Named twice it knows no more than once.
        if !context.global.geo_files.iter().any(|known| known.path == file.path) {
            context.global.geo_files.push(file);
        }
    }
    Ok(())
}

pub(super) fn max_members(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    main_server_only(context)?;
    context.global.max_members = args
        .trim()
        .parse()
        .ok()
        .filter(|n| *n <= 1_000_000)
        .ok_or_else(|| format!("expected a number from 0 to 1000000, found '{}'", args.trim()))?;
    Ok(())
}

pub(super) fn dict(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    main_server_only(context)?;
    let all = words(args)?;
    let [name, size] = all.as_slice() else {
        return Err(format!(
            "expected a name and a size, found {} words; for example LuaBalancerDict sessions 1M",
            all.len()
        ));
    };
    crate::app::config::check_dict_name(name)?;
    let bytes = balance::units::size(size).map_err(|error| format!("size of {name}: {error}"))?;
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (least, most) = (table::dict::MIN_SIZE, table::dict::MAX_SIZE);
    if !(least..=most).contains(&bytes) {
        return Err(format!(
            "{size} is no size of a dictionary: expected {}K to {}M, for example LuaBalancerDict {name} 1M",
            least >> 10,
            most >> 20
        ));
    }
    if let Some(known) = context.global.dicts.iter().find(|known| known.name == *name) {
        return Err(format!("dictionary {name} is defined already, on {}", known.place));
    }
    let most = crate::keep::dicts::MOST;
    if context.global.dicts.len() == most {
        return Err(format!("there may be {most} dictionaries, {name} is one more"));
    }
    let place = context.place();
    context.global.dicts.push(DictConfig { name: name.clone(), size: bytes, place });
    Ok(())
}
