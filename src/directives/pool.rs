//! `<LuaBalancerPool>` and what stands in it.

use balance::member::MemberSpec;
use balance::settings::{Method, PoolSettings};

use super::{Context, belongs_in_pool, words};
use crate::app::config::{PoolConfig, PoolScript, check_pool_name};
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
    if let Some(other) = context.global.pools.iter().find(|pool| pool.name == *name) {
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
        scripts: Vec::new(),
    });
    context.global.open_pool = Some(context.global.pools.len() - 1);
    let command = context.command;
    let walked = command.walk();
    context.global.open_pool = None;
    walked
}

fn open<'c>(context: &'c mut Context<'_>) -> Result<&'c mut PoolConfig, String> {
    let name = context.name;
    let index =
        context.global.open_pool.ok_or_else(|| format!("{name} belongs inside <LuaBalancerPool name>"))?;
    context.global.pools.get_mut(index).ok_or_else(|| "internal error: the pool is gone".to_owned())
}

pub(super) fn member(context: &mut Context<'_>, args: &str) -> Result<(), String> {
    let all = words(args)?;
    let (url, keys) = all
        .split_first()
        .ok_or("expected a URL, for example LuaBalancerMember http://10.0.0.1:8080 weight=2")?;
    let spec = MemberSpec::parse(url, keys).map_err(|error| error.to_string())?;
    let pool = open(context)?;
    if pool.members.iter().any(|other| other.name == spec.name) {
        return Err(format!(
            "pool {} already has a member named {}: give one of them another name=",
            pool.name, spec.name
        ));
    }
    pool.members.push(spec);
    Ok(())
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
        let path = super::server::script_path(context, &written)?;
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
