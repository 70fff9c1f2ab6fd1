// SPDX-License-Identifier: Apache-2.0
//! `<Proxy balancer://…>` of mod_proxy_balancer.

use std::path::Path;

use balance::words;

use super::pool::{Converted, PoolBlock, commented};
use crate::conf::text::{self, Node};

/// Converts a configuration and all that it includes.
pub fn convert(file: &Path) -> Result<Converted, String> {
    let text = text::read(file, &[])?;
    let mut converted = Converted::default();
    let mut found = Found::default();
    walk(&text.nodes, None, &mut found);
    for node in found.sections {
        let name = name_of(&node.args).map_or("", |(name, _)| name);
        // httpd takes sections of one name for one balancer.
        match converted.find(name).filter(|_| !name.is_empty()) {
            Some(pool) => section(pool, node),
            None => {
                let mut pool = PoolBlock::new(name);
                // mod_proxy_balancer's default.
                pool.set("LuaBalancerMethod", &["round_robin"], "lbmethod=byrequests");
                section(&mut pool, node);
                converted.add(pool);
            }
        }
    }
    for (node, outer) in found.passes {
        pass(node, outer, &mut converted);
    }
    for (node, what) in found.others {
        let text = format!("{} {} ({}): {what}", node.name, node.args, node.place);
        converted.lines.push(commented(&text));
    }
    Ok(converted)
}

#[derive(Default)]
struct Found<'n> {
    sections: Vec<&'n Node>,
    /// Lines, and the sections that hold them.
    passes: Vec<(&'n Node, Option<&'n Node>)>,
    others: Vec<(&'n Node, &'static str)>,
}

fn walk<'n>(nodes: &'n [Node], outer: Option<&'n Node>, found: &mut Found<'n>) {
    for node in nodes {
        let names = node.args.contains("balancer://");
        match (&node.inside, node.name.to_ascii_lowercase().as_str()) {
            (Some(_), "proxy") if names => found.sections.push(node),
            (Some(inside), _) => walk(inside, Some(node), found),
            (None, "proxypass" | "proxypassmatch" | "proxypassreverse") if names => {
                found.passes.push((node, outer));
            }
            (None, "rewriterule" | "sethandler") if names => {
                found.others.push((node, "write lb:// for balancer://"));
            }
            (None, "proxyset" | "balancermember") if names => {
                found.others.push((node, "outside of its section: write it into the pool"));
            }
            (None, "balancergrowth") => {
                found
                    .others
                    .push((node, "LuaBalancerMaxMembers is the room for members added while running"));
            }
            (None, "balancerinherit" | "balancerpersist") => found.others.push((node, "no counterpart")),
            _ => {}
        }
    }
}

/// `balancer://name/…` as name and rest.
fn name_of(url: &str) -> Option<(&str, &str)> {
    let rest = url.trim_matches(['"', '\'']).strip_prefix("balancer://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    Some(rest.split_at(at))
}

fn words_of(node: &Node) -> Vec<String> {
    words::split(&node.args).unwrap_or_else(|_| node.args.split_whitespace().map(str::to_owned).collect())
}

fn section(pool: &mut PoolBlock, node: &Node) {
    for line in node.inside.iter().flatten() {
        let all = words_of(line);
        if line.is("BalancerMember") {
            let urls: Vec<&String> = all.iter().filter(|word| !is_pair(word)).collect();
            let keys: Vec<(String, String)> =
                all.iter().filter(|word| is_pair(word)).filter_map(|w| pair(w)).collect();
            match urls.first() {
                Some(url) => pool.member(url, &keys, &format!("BalancerMember {}", line.args)),
                None => pool.comment(&format!("BalancerMember {}: there is no URL", line.args)),
            }
        } else if line.is("ProxySet") {
            all.iter().filter_map(|word| pair(word)).for_each(|(key, value)| set(pool, &key, &value));
        } else {
            let what = if line.inside.is_some() {
                format!("<{} {}>", line.name, line.args)
            } else {
                format!("{} {}", line.name, line.args)
            };
            pool.comment(&format!("{what} has no place in a pool: it may stand in a <Location>"));
        }
    }
}

fn is_pair(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, _)| !key.contains([':', '/']))
}

fn pair(word: &str) -> Option<(String, String)> {
    let (key, value) = word.split_once('=')?;
    Some((key.to_ascii_lowercase(), value.to_owned()))
}

/// A parameter of a balancer.
fn set(pool: &mut PoolBlock, key: &str, value: &str) {
    let from = format!("{key}={value}");
    match key {
        "lbmethod" => match value {
            "byrequests" => pool.set("LuaBalancerMethod", &["round_robin"], &from),
            "bybusyness" => pool.set("LuaBalancerMethod", &["least_connections"], &from),
            other => pool.comment(&format!("lbmethod={other} has no counterpart: round_robin in its place")),
        },
        "stickysession" => {
            let (cookie, param) = value.split_once('|').unwrap_or((value, value));
            pool.set("LuaBalancerSticky", &[&format!("cookie={cookie}"), &format!("param={param}")], &from);
            pool.comment("the pool sets the session's cookie itself where the application does not");
        }
        "nofailover" if value.eq_ignore_ascii_case("on") => {
            pool.comment("nofailover=On: write force=on into the line LuaBalancerSticky");
        }
        "maxattempts" => pool.set("LuaBalancerSet", &[&format!("retries={value}")], &from),
        "failonstatus" => {
            pool.set(
                "LuaBalancerOutlier",
                &["on", "failures=1", &format!("count=connect,reset,timeout,{value}")],
                &from,
            );
        }
        "failontimeout" if value.eq_ignore_ascii_case("on") => {
            pool.comment("failontimeout=On: a timeout counts as a failure anyway (LuaBalancerOutlier)");
        }
        "nofailover" | "failontimeout" => {}
        _ => pool.comment(&format!("{from} has no counterpart")),
    }
}

fn pass(node: &Node, outer: Option<&Node>, converted: &mut Converted) {
    let all = words_of(node);
    let said = format!("{} {}", node.name, node.args);
    if node.is("ProxyPassReverse") {
        let text =
            "not needed: the pool maps answers back itself (LuaBalancerSet reverse=off switches that off)";
        converted.lines.push(commented(&format!("{said}: {text}")));
        return;
    }
    let (mut places, mut keys) = (Vec::new(), Vec::new());
    let mut named = None;
    for word in &all {
        match name_of(word) {
            Some((name, path)) => named = Some((name.to_owned(), path.to_owned())),
            None if is_pair(word) && !word.starts_with('/') => keys.extend(pair(word)),
            None => places.push(word.clone()),
        }
    }
    let Some((name, path)) = named else { return };
    let Some(pool) = converted.find(&name) else {
        converted.lines.push(commented(&format!("{said}: there is no section of this name")));
        return;
    };
    keys.iter().for_each(|(key, value)| set(pool, key, value));
    let target = format!("lb://{}{path}", pool.name());
    let within = outer.filter(|outer| outer.name.to_ascii_lowercase().starts_with("location"));
    match (places.as_slice(), within) {
        ([place], _) => converted.pass(&node.name, place, &target),
        ([], Some(outer)) => {
            let Node { name, args, .. } = outer;
            converted.lines.push(format!("<{name} {args}>\n    {} \"{target}\"\n</{name}>", node.name));
        }
        _ => converted.lines.push(commented(&format!("{said}: expected a path and a balancer"))),
    }
}
