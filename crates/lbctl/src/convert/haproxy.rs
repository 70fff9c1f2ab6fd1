// SPDX-License-Identifier: Apache-2.0
//! `backend` and `listen` of HAProxy.

use super::pool::{Converted, PoolBlock, commented};

/// A section: its words, and its lines.
struct Section<'t> {
    kind: &'t str,
    name: &'t str,
    lines: Vec<Vec<&'t str>>,
}

const KINDS: [&str; 14] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "resolvers",
    "peers",
    "userlist",
    "cache",
    "mailers",
    "program",
    "ring",
    "http-errors",
    "fcgi-app",
];

/// Converts a configuration.
pub fn convert(text: &str) -> Converted {
    let sections = sections(text);
    let mut converted = Converted::default();
    let mut defaults: Vec<Vec<&str>> = Vec::new();
    for section in &sections {
        match section.kind {
            "defaults" => defaults.clone_from(&section.lines),
            "backend" | "listen" => converted.add(pool(section, &defaults)),
            _ => {}
        }
        if section.kind == "listen"
            && let Some(target) = converted.pools.last().map(|pool| format!("lb://{}/", pool.name()))
        {
            converted.pass("ProxyPass", "/", &target);
        }
    }
    sections
        .iter()
        .filter(|section| section.kind == "frontend")
        .for_each(|one| frontend(one, &mut converted));
    converted
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let mut all: Vec<Section<'_>> = Vec::new();
    for line in text.lines() {
        // A mark within quotes or behind a backslash is rare enough to be looked at by people.
        let line = line.split(" #").next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first().filter(|first| !first.starts_with('#')) else { continue };
        if KINDS.contains(first) {
            all.push(Section { kind: first, name: words.get(1).copied().unwrap_or(""), lines: Vec::new() });
        } else if let Some(section) = all.last_mut() {
            section.lines.push(words);
        }
    }
    all
}

fn frontend(section: &Section<'_>, converted: &mut Converted) {
    let named = |text: &str| commented(&format!("frontend {}: {text}", section.name));
    for words in &section.lines {
        let said = words.join(" ");
        match words.as_slice() {
            ["default_backend", name] => {
                match converted.find(name).map(|pool| format!("lb://{}/", pool.name())) {
                    Some(target) => converted.pass("ProxyPass", "/", &target),
                    None => converted.lines.push(named(&format!("{said}: there is no backend of this name"))),
                }
            }
            ["use_backend", ..] => {
                converted
                    .lines
                    .push(named(&format!("{said}: a ProxyPass, a <Location> or a script decides")));
            }
            _ => {}
        }
    }
    converted.lines.push(named("listening, TLS, ACLs and rules are httpd's own"));
}

/// The settings of a backend that its members need.
#[derive(Default)]
struct About<'t> {
    balance: Vec<&'t str>,
    consistent: bool,
    check: Vec<String>,
    expect: Option<String>,
    checks: bool,
    tcp: bool,
    member_keys: Vec<(String, String)>,
    default_server: Vec<&'t str>,
}

fn pool(section: &Section<'_>, defaults: &[Vec<&str>]) -> PoolBlock {
    let mut pool = PoolBlock::new(section.name);
    let mut about = About::default();
    for words in defaults {
        about_line(&mut pool, &mut about, words, false);
    }
    for words in &section.lines {
        about_line(&mut pool, &mut about, words, true);
    }
    let mut timing: Vec<(String, String)> = Vec::new();
    for words in section.lines.iter().filter(|words| words.first() == Some(&"server")) {
        server(&mut pool, &mut about, words, &mut timing);
    }
    method(&mut pool, &about);
    if about.tcp {
        pool.comment("mode tcp: this module speaks HTTP and the schemes of mod_proxy, not plain TCP");
    }
    if about.checks {
        check(&mut pool, &about, &timing);
    }
    pool
}

fn about_line<'t>(pool: &mut PoolBlock, about: &mut About<'t>, words: &[&'t str], own: bool) {
    let said = words.join(" ");
    match words {
        ["balance", rest @ ..] => about.balance = rest.to_vec(),
        ["hash-type", rest @ ..] => about.consistent = rest.contains(&"consistent"),
        ["mode", mode] => about.tcp = *mode == "tcp",
        ["option", "httpchk", rest @ ..] => {
            about.check = rest.iter().map(|word| (*word).to_owned()).collect();
            about.check.insert(0, "http".into());
        }
        ["http-check", "expect", "status", status] => about.expect = Some((*status).to_owned()),
        ["http-check", "send", rest @ ..] => {
            let value = |key: &str| rest.iter().position(|word| *word == key).and_then(|at| rest.get(at + 1));
            let method = value("meth").copied().unwrap_or("GET");
            about.check = vec!["http".into(), method.into(), value("uri").copied().unwrap_or("/").into()];
        }
        ["cookie", name, rest @ ..] => {
            let mut keys = vec![format!("cookie={name}")];
            if let Some(at) = rest.iter().position(|word| *word == "maxlife") {
                keys.extend(rest.get(at + 1).map(|life| format!("ttl={life}")));
            }
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            pool.set("LuaBalancerSticky", &keys, &said);
            if !rest.contains(&"insert") {
                pool.comment(&format!(
                    "{said}: the pool sets the cookie itself where the application does not"
                ));
            }
        }
        ["retries", number] => pool.set("LuaBalancerSet", &[&format!("retries={number}")], &said),
        ["timeout", "connect", time] => key(about, "connectiontimeout", time),
        ["timeout", "server", time] => key(about, "timeout", time),
        ["timeout", "queue", time] => pool.set("LuaBalancerSet", &[&format!("queue={}", timed(time))], &said),
        ["default-server", rest @ ..] => about.default_server = rest.to_vec(),
        // They say what holds here anyway, or are the front's.
        ["option", "redispatch" | "http-keep-alive" | "http-server-close" | "forwardfor" | "httplog", ..]
        | ["server" | "log" | "maxconn" | "bind" | "timeout", ..] => {}
        _ if own => pool.comment(&format!("{said} has no counterpart")),
        _ => {}
    }
}

fn key(about: &mut About<'_>, name: &str, time: &str) {
    about.member_keys.retain(|(known, _)| known != name);
    about.member_keys.push((name.to_owned(), timed(time)));
}

/// HAProxy's times without a unit are milliseconds.
fn timed(time: &str) -> String {
    if time.bytes().all(|byte| byte.is_ascii_digit()) { format!("{time}ms") } else { time.to_owned() }
}

fn method(pool: &mut PoolBlock, about: &About<'_>) {
    let said = format!("balance {}", about.balance.join(" "));
    let hash = if about.consistent { "consistent_hash" } else { "hash" };
    let mut by_key = |key: &str| pool.set("LuaBalancerMethod", &[hash, &format!("key={key}")], &said);
    match about.balance.as_slice() {
        [] | ["roundrobin" | "static-rr"] => pool.set("LuaBalancerMethod", &["round_robin"], &said),
        ["leastconn"] => pool.set("LuaBalancerMethod", &["least_connections"], &said),
        ["first"] => pool.set("LuaBalancerMethod", &["first"], &said),
        ["source"] => by_key("%{REMOTE_ADDR}"),
        ["uri", "whole"] => by_key("%{REQUEST_URI}?%{QUERY_STRING}"),
        ["uri", rest @ ..] => {
            by_key("%{REQUEST_URI}");
            if !rest.is_empty() {
                pool.comment(&format!("{said}: the whole path is the key"));
            }
        }
        [one] if one.starts_with("random") => {
            let method = if *one == "random(1)" { "random" } else { "power_of_two" };
            pool.set("LuaBalancerMethod", &[method], &said);
        }
        [header, ..] if header.starts_with("hdr(") => {
            let name = header.trim_start_matches("hdr(").trim_end_matches(')');
            by_key(&format!("%{{req:{name}}}"));
        }
        _ => {
            pool.set("LuaBalancerMethod", &["round_robin"], &said);
            pool.comment(&format!("{said} has no counterpart: round_robin in its place, or a script"));
        }
    }
}

fn server(pool: &mut PoolBlock, about: &mut About<'_>, words: &[&str], timing: &mut Vec<(String, String)>) {
    let [_, name, address, own @ ..] = words else {
        return pool.comment(&format!("{}: there is no address", words.join(" ")));
    };
    let mut keys = vec![("name".to_owned(), (*name).to_owned())];
    keys.extend(about.member_keys.iter().cloned());
    let (mut tls, mut flags) = (false, String::new());
    let all: Vec<&str> = about.default_server.iter().chain(own).copied().collect();
    let mut rest = all.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().copied().unwrap_or_default();
        match *word {
            "weight" => keys.push(("weight".into(), value().into())),
            "maxconn" => keys.push(("max_inflight".into(), value().into())),
            "cookie" => keys.push(("route".into(), value().into())),
            "slowstart" => keys.push(("slow_start".into(), timed(value()))),
            "backup" => flags += "+H",
            "disabled" => flags += "+D",
            "ssl" => tls = true,
            "check" => about.checks = true,
            "inter" => timing.push(("interval".into(), timed(value()))),
            "rise" => timing.push(("rise".into(), value().into())),
            "fall" => timing.push(("fall".into(), value().into())),
            "port" => timing.push(("port".into(), value().into())),
            "verify" | "ca-file" | "sni" | "crt" | "alpn" => {
                let text =
                    format!("{word} {}: TLS to members is configured by SSLProxy… of mod_ssl", value());
                pool.comment(&text);
            }
            other => pool.comment(&format!("server {name}: {other} has no counterpart")),
        }
    }
    if !flags.is_empty() {
        keys.push(("status".into(), flags));
    }
    let scheme = if tls { "https" } else { "http" };
    let url = match address.strip_prefix("unix@").or_else(|| address.starts_with('/').then_some(address)) {
        Some(path) => format!("unix:{path}|{scheme}://localhost"),
        None => format!("{scheme}://{}", address.trim_start_matches("ipv4@").trim_start_matches("ipv6@")),
    };
    // The last of a key holds, and a line that wants it but once.
    let mut last: Vec<(String, String)> = Vec::new();
    for (key, value) in keys {
        last.retain(|(known, _)| *known != key);
        last.push((key, value));
    }
    pool.member(&url, &last, &words.join(" "));
}

fn check(pool: &mut PoolBlock, about: &About<'_>, timing: &[(String, String)]) {
    let mut words: Vec<String> = match about.check.as_slice() {
        [] => vec!["tcp".into()],
        [kind] => vec![kind.clone()],
        [kind, uri] => vec![kind.clone(), format!("uri={uri}")],
        [kind, method, uri, ..] => vec![kind.clone(), format!("method={method}"), format!("uri={uri}")],
    };
    if let Some(expect) = about.expect.as_ref().filter(|_| words[0] == "http") {
        words.push(format!("expect={expect}"));
    }
    for (key, value) in timing {
        let word = format!("{key}={value}");
        let given = words.iter().find(|known| known.starts_with(&format!("{key}=")));
        match given {
            None => words.push(word),
            Some(given) if *given == word => {}
            Some(_) => {
                let text = format!("{key} differs from server to server: that of the first holds for all");
                pool.comment(&text);
            }
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    pool.set("LuaBalancerHealthCheck", &words, "check");
}
