//! `<LuaBalancerPool>` and what stands in it.

use balance::member::MemberSpec;
use balance::settings::{Method, PoolSettings};
use balance::stock::hcheck;

use super::{Context, belongs_in_pool, script_file, words};
use crate::app::config::{PoolConfig, PoolScript, check_pool_name};
use crate::httpd::config::Line;
use crate::httpd::mpm::{self, Phase};

pub(super) fn section(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let inside = args.trim_end();
    let inside =
        inside.strip_suffix('>').ok_or("expected '>' at the end, for example <LuaBalancerPool app>")?;
    let names = words(inside)?;
    let [name] = names.as_slice() else {
        return Err(format!(
            "expected one name, for example <LuaBalancerPool app>, found {} words",
            names.len()
        ));
    };
    if context.command.in_virtual_host() || context.command.in_section() {
        return Err(
            "a pool belongs to the server as a whole: write it outside of <VirtualHost> and <Location>"
                .into(),
        );
    }
    if context.global.open_pool.is_some() {
        return Err("pools cannot stand inside one another".into());
    }
    check_pool_name(name)?;
    if let Some(other) = context.global.pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(name)) {
        return Err(format!("pool {name} is defined already, at {}", other.place));
    }
    for (child, line) in context.command.children() {
        if !belongs_in_pool(&child) {
            return Err(format!(
                "{child} (line {line}) cannot stand inside <LuaBalancerPool>: expected LuaBalancerMember, LuaBalancerMethod, \
                 LuaBalancerHealthCheck, LuaBalancerOutlier, LuaBalancerSticky or LuaBalancerSet"
            ));
        }
    }
    let place = context.place();
    context.global.pools.push(PoolConfig {
        name: name.clone(),
        place,
        settings: PoolSettings::default(),
        members: Vec::new(),
        member_places: Vec::new(),
        member_checks: Vec::new(),
        scripts: Vec::new(),
    });
    context.global.open_pool = Some(context.global.pools.len() - 1);
    let command = context.command;
    let walked = command.walk();
    let index = context.global.open_pool.take();
    walked?;
    match index.and_then(|index| context.global.pools.get_mut(index)) {
        Some(pool) => settle_check(pool),
        None => Ok(()),
    }
}

/// What the members say in mod_proxy_hcheck's words becomes the pool's check.
fn settle_check(pool: &mut PoolConfig) -> Result<(), String> {
    let said: Vec<_> =
        pool.member_checks.iter().cloned().zip(pool.members.iter().map(|member| &member.url)).collect();
    match hcheck::of_pool(&said, pool.settings.health.is_some()) {
        Ok(None) => Ok(()),
        Ok(check) => {
            pool.settings.health = check;
            Ok(())
        }
        Err((at, why)) => {
            let place = pool.member_places.get(at).map(|place| format!("{place}: ")).unwrap_or_default();
            Err(format!("{place}LuaBalancerMember: {why}"))
        }
    }
}

fn open<'c>(context: &'c mut Context<'_>) -> Result<&'c mut PoolConfig, String> {
    let name = context.name;
    let index =
        context.global.open_pool.ok_or_else(|| format!("{name} belongs inside <LuaBalancerPool name>"))?;
    context.global.pools.get_mut(index).ok_or_else(|| "internal error: the pool is gone".to_owned())
}

pub(super) fn member(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let (checks, all): (Vec<String>, Vec<String>) =
        words(args)?.into_iter().partition(|word| hcheck::is_key(word));
    let (url, keys) = all
        .split_first()
        .ok_or("expected a URL, for example LuaBalancerMember http://10.0.0.1:8080 weight=2")?;
    let url = whole_socket(context, url);
    let lines = crate::httpd::config::lines;
    let known = hcheck::Known {
        template: &|name| template(&lines(), name),
        expression: &|name| expression(&lines(), name),
    };
    let checks = hcheck::Keys::read(&checks, known);
    let checks = checks.map_err(|error| error.to_string())?;
    let place = context.place();
    let pool = open(context)?;
    let taken = |name: &str| pool.members.iter().any(|other| other.name == name);
    let spec = MemberSpec::parse_beside(&url, keys, taken).map_err(|error| error.to_string())?;
    if taken(&spec.name) {
        return Err(format!(
            "pool {} already has a member named {}: give one of them another name=",
            pool.name, spec.name
        ));
    }
    pool.members.push(spec);
    pool.member_places.push(place);
    pool.member_checks.push(checks);
    Ok(())
}

/// The path of a unix socket may be relative, as mod_proxy takes it.
fn whole_socket(context: &Context<'_>, url: &str) -> String {
    let parts = url.split_at_checked("unix:".len()).and_then(|(start, rest)| {
        let (path, rest) = rest.split_once('|')?;
        (start.eq_ignore_ascii_case("unix:") && !path.is_empty() && !path.starts_with('/'))
            .then_some((path, rest))
    });
    let full = parts.and_then(|(path, rest)| Some((context.command.runtime_relative(path)?, rest)));
    full.map_or_else(|| url.to_owned(), |(path, rest)| format!("unix:{path}|{rest}"))
}

/// The words of a `ProxyHCTemplate`.
fn template(lines: &[Line], name: &str) -> Option<Vec<String>> {
    let templates = lines.iter().filter(|line| line.directive.eq_ignore_ascii_case("ProxyHCTemplate"));
    templates.filter_map(|line| words(&line.args).ok()).find_map(|words| {
        let (own, keys) = words.split_first()?;
        own.eq_ignore_ascii_case(name).then(|| keys.to_vec())
    })
}

/// The text of a `ProxyHCExpr`, which stands in braces or quotes.
fn expression(lines: &[Line], name: &str) -> Option<String> {
    let expressions = lines.iter().filter(|line| line.directive.eq_ignore_ascii_case("ProxyHCExpr"));
    expressions.filter_map(|line| line.args.trim().split_once([' ', '\t'])).find_map(|(own, text)| {
        let text = text.trim();
        let inside = [('{', '}'), ('"', '"'), ('\'', '\'')]
            .iter()
            .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
        let own = own.trim_matches(['"', '\'']);
        own.eq_ignore_ascii_case(name).then(|| inside.unwrap_or(text).trim().to_owned())
    })
}

pub(super) fn setting(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let all = words(args)?;
    let name = context.name;
    let pool = open(context)?;
    pool.settings.set_directive(name, &all).map_err(|error| error.to_string())?;
    let named = match (name, &pool.settings.method, &pool.settings.health) {
        ("LuaBalancerMethod", Method::Lua { script, function }, _) => {
            Some((script.clone(), function.clone()))
        }
        ("LuaBalancerHealthCheck", _, Some(check)) => check.script.clone(),
        _ => None,
    };
    let ca = pool.settings.health.as_ref().and_then(|check| check.ca.clone());
    let key = pool.settings.key.clone();
    // A restart has to go on; there the file is looked at when it is used.
    if let Some(ca) = ca.filter(|_| name == "LuaBalancerHealthCheck" && mpm::phase() != Phase::Running) {
        let path =
            context.command.server_relative(&ca).ok_or_else(|| format!("'{ca}' is no path of a file"))?;
        probe::check_ca(&path)?;
    }
    if let Some((written, function)) = named {
        let path = script_file(context, &written)?;
        let place = context.place();
        open(context)?.scripts.push(PoolScript { written, path, function, place });
    }
    if let Some(key) = key {
        let known = context.global.expressions.iter().any(|(text, _)| *text == key);
        if !known {
            let parsed = context
                .command
                .expression(&key)
                .map_err(|error| format!("key=\"{key}\" is not an expression: {error}"))?;
            context.global.expressions.push((key, parsed));
        }
    }
    Ok(())
}
