// SPDX-License-Identifier: Apache-2.0
//! `<Proxy balancer://…>` of mod_proxy_balancer.

use std::path::Path;

use balance::stock::hcheck;
use balance::words;

use super::pool::{Converted, PoolBlock, commented};
use super::stock::{Gathered, NamedChecks};
use crate::conf::text::{self, Node};

/// Converts a configuration and all that it includes.
pub fn convert(file: &Path) -> Result<Converted, String> {
    let text = text::read(file, &[])?;
    let mut converted = Converted::default();
    // One for each pool.
    let mut all: Vec<Gathered<'_>> = Vec::new();
    let mut found = Found::default();
    walk(&text.nodes, Within::default(), &mut found);
    for (node, host) in found.sections {
        let name = name_of(&node.args).map_or("", |(name, _)| name);
        // httpd takes sections of one name for one balancer, in each virtual host for itself.
        let known = all.iter().position(|known| known.is_of(name, host)).filter(|_| !name.is_empty());
        let at = known.unwrap_or_else(|| {
            let mut pool = PoolBlock::new(name);
            // mod_proxy_balancer's default.
            pool.set("LuaBalancerMethod", &["round_robin"], "lbmethod=byrequests");
            if let Some(host) = host {
                pool.comment(&format!("it was in <{} {}> ({})", host.name, host.args, host.place));
            }
            converted.add(pool);
            all.push(Gathered::new(name, host));
            all.len() - 1
        });
        section(&mut converted.pools[at], &mut all[at], node);
    }
    for (node, within) in found.outside {
        if outside(node, within, (&mut converted, &mut all)).is_none() {
            found.others.push((node, "there is no section of this name: write it into the pool"));
        }
    }
    for (node, within) in found.passes {
        pass(node, within, (&mut converted, &mut all));
    }
    let named = NamedChecks::of(&text);
    for (pool, gathered) in converted.pools.iter_mut().zip(&all) {
        gathered.settle(&named, pool);
    }
    for (node, what) in found.others {
        let text = format!("{} {} ({}): {what}", node.name, node.args, node.place);
        converted.lines.push(commented(&text));
    }
    Ok(converted)
}

#[derive(Default)]
struct Found<'n> {
    /// Sections, and the virtual hosts that hold them.
    sections: Vec<(&'n Node, Option<&'n Node>)>,
    /// Lines, and the sections that hold them.
    passes: Vec<(&'n Node, Within<'n>)>,
    /// Lines that name a balancer outside of its section.
    outside: Vec<(&'n Node, Within<'n>)>,
    others: Vec<(&'n Node, &'static str)>,
}

/// The sections around a line.
#[derive(Clone, Copy, Default)]
struct Within<'n> {
    nearest: Option<&'n Node>,
    virtual_host: Option<&'n Node>,
}

fn walk<'n>(nodes: &'n [Node], within: Within<'n>, found: &mut Found<'n>) {
    for node in nodes {
        let names = node.args.contains("balancer://");
        match (&node.inside, node.name.to_ascii_lowercase().as_str()) {
            (Some(_), "proxy") if names => found.sections.push((node, within.virtual_host)),
            (Some(inside), name) => {
                let virtual_host = if name == "virtualhost" { Some(node) } else { within.virtual_host };
                walk(inside, Within { nearest: Some(node), virtual_host }, found);
            }
            (None, "proxypass" | "proxypassmatch" | "proxypassreverse") if names => {
                found.passes.push((node, within));
            }
            (None, "proxyset" | "balancermember") if names => found.outside.push((node, within)),
            (None, name) => found.others.extend(remark(name, node).map(|what| (node, what))),
        }
    }
}

/// The words about a line that is written by hand, or not at all.
fn remark(name: &str, node: &Node) -> Option<&'static str> {
    let names = node.args.contains("balancer://");
    let has = |text: &str| node.args.to_ascii_lowercase().contains(text);
    Some(match name {
        "rewriterule" | "sethandler" if names => "write lb:// for balancer://",
        "sethandler" if has("balancer-manager") => {
            "write SetHandler lua-balancer, with LuaBalancerAdmin on where it may change things"
        }
        "header" if has("set-cookie") => {
            "LuaBalancerSticky sets the session's cookie itself: a line that sets the route is not needed"
        }
        "header" | "requestheader" if has("balancer_") => "it may stay: these variables are set here too",
        "balancergrowth" => "LuaBalancerMaxMembers is the room for members added while running",
        "balancerpersist" if has("on") => {
            "write LuaBalancerStateFile and a path where it is not the default; over graceful and restart \
             nothing is needed"
        }
        "balancerpersist" => "nothing is kept over a stop with LuaBalancerStateFile none",
        "balancerinherit" => "no counterpart: a pool is one state for all virtual hosts",
        "proxyhctemplate" | "proxyhcexpr" => {
            "not needed where LuaBalancerHealthCheck stands in the place of the keys that name it"
        }
        _ => return None,
    })
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

fn section(pool: &mut PoolBlock, gathered: &mut Gathered<'_>, node: &Node) {
    for line in node.inside.iter().flatten() {
        let all = words_of(line);
        if line.is("BalancerMember") || line.is("ProxySet") {
            said(pool, gathered, (line, &all));
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

/// A member or a parameter of the balancer, in these words of a line.
fn said(pool: &mut PoolBlock, gathered: &mut Gathered<'_>, (line, all): (&Node, &[String])) {
    let pairs = all.iter().filter(|word| is_pair(word)).filter_map(|word| pair(word));
    if line.is("ProxySet") {
        return pairs.for_each(|(key, value)| gathered.parameter(&key, &value));
    }
    let (checks, keys): (Vec<_>, Vec<_>) = pairs.partition(|(key, _)| hcheck::KEYS.contains(&key.as_str()));
    match all.iter().find(|word| !is_pair(word)) {
        Some(url) => {
            pool.member(url, &keys, &format!("BalancerMember {}", line.args));
            gathered.member(url, &checks);
        }
        None => pool.comment(&format!("BalancerMember {}: there is no URL", line.args)),
    }
}

fn is_pair(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, _)| !key.contains([':', '/']))
}

fn pair(word: &str) -> Option<(String, String)> {
    let (key, value) = word.split_once('=')?;
    Some((key.to_ascii_lowercase(), value.to_owned()))
}

/// A line of a balancer that it names. None: there is no such balancer.
fn outside(
    node: &Node,
    within: Within<'_>,
    (converted, gathered): (&mut Converted, &mut [Gathered<'_>]),
) -> Option<()> {
    let all = words_of(node);
    let (name, rest) = all.split_first()?;
    let (name, _) = name_of(name)?;
    // In a virtual host it is the host's own balancer alone.
    let at = gathered.iter().position(|known| known.is_of(name, within.virtual_host))?;
    said(&mut converted.pools[at], &mut gathered[at], (node, rest));
    Some(())
}

/// The place of a balancer that a line names. One of the virtual host goes before the server's own.
fn place_of(all: &[Gathered<'_>], name: &str, within: Within<'_>) -> Option<usize> {
    let at = |host| all.iter().position(|known| known.is_of(name, host));
    at(within.virtual_host).or_else(|| at(None))
}

fn pass(node: &Node, within: Within<'_>, (converted, gathered): (&mut Converted, &mut [Gathered<'_>])) {
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
    let Some(at) = place_of(gathered, &name, within) else {
        converted.lines.push(commented(&format!("{said}: there is no section of this name")));
        return;
    };
    keys.iter().for_each(|(key, value)| gathered[at].parameter(key, value));
    let target = format!("lb://{}{path}", converted.pools[at].name());
    if let Some(host) = within.virtual_host {
        let (place, host) = (&host.place, format!("<{} {}>", host.name, host.args));
        converted.lines.push(commented(&format!("{said} is of {host} ({place}): its line belongs there")));
    }
    let location = within.nearest.filter(|outer| outer.name.to_ascii_lowercase().starts_with("location"));
    match (places.as_slice(), location) {
        ([place], _) => converted.pass(&node.name, place, &target),
        ([], Some(outer)) => {
            let Node { name, args, .. } = outer;
            converted.lines.push(format!("<{name} {args}>\n    {} \"{target}\"\n</{name}>", node.name));
        }
        _ => converted.lines.push(commented(&format!("{said}: expected a path and a balancer"))),
    }
}
