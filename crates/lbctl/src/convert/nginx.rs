// SPDX-License-Identifier: Apache-2.0
//! `upstream {}` of nginx, and the locations that pass to it.

use super::pool::{Converted, PoolBlock, commented};

/// `$request_uri`. No variable of httpd has it: `%{REQUEST_URI}` is decoded and without the query.
const REQUEST_URI: &str = "%{reqenv:NGINX_REQUEST_URI}";
/// The lines that give it its value: the target as the client wrote it, without scheme and host.
const SETS_REQUEST_URI: [&str; 2] = [
    "# $request_uri, as the client has written it; needs mod_setenvif",
    r#"SetEnvIfExpr "%{THE_REQUEST} =~ m#^[^ ]+ (?:[A-Za-z]+://[^/? ]+)?([^ ]+)#" NGINX_REQUEST_URI=$1"#,
];

/// Blocks within one another: more than any real configuration has.
const DEEPEST: usize = 64;

/// A directive, or a block.
#[derive(Debug)]
struct Node {
    words: Vec<String>,
    inside: Option<Vec<Node>>,
}

/// Converts a configuration.
pub fn convert(text: &str) -> Result<Converted, String> {
    let nodes = parse(text)?;
    let (mut upstreams, mut passes, mut others) = (Vec::new(), Vec::new(), Vec::new());
    walk(&nodes, None, &mut |node, location| match node.words.first().map(String::as_str) {
        Some("upstream") => upstreams.push(node),
        Some("proxy_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass") => {
            passes.push((node, location.map(str::to_owned)));
        }
        Some(name) if name.starts_with("proxy_next_upstream") => others.push(node),
        _ => {}
    });
    let mut converted = Converted::default();
    for node in upstreams {
        let name = node.words.get(1).map_or("", String::as_str);
        let scheme = passes.iter().find_map(|(pass, _)| scheme_of(pass, name)).unwrap_or("http");
        converted.add(upstream(name, scheme, node.inside.as_deref().unwrap_or_default()));
    }
    if converted.pools.iter().any(|pool| pool.text().contains(REQUEST_URI)) {
        converted.lines.extend(SETS_REQUEST_URI.map(str::to_owned));
    }
    for (pass, location) in &passes {
        pass_on(pass, location.as_deref(), &mut converted);
    }
    for node in others {
        let words = node.words.join(" ");
        converted.lines.push(commented(&format!("{words}: see LuaBalancerSet retries= and retry_on=")));
    }
    Ok(converted)
}

fn walk<'n>(nodes: &'n [Node], location: Option<&str>, see: &mut dyn FnMut(&'n Node, Option<&str>)) {
    for node in nodes {
        see(node, location);
        if let Some(inside) = &node.inside {
            let is_location = node.words.first().is_some_and(|word| word == "location");
            let own = is_location.then(|| node.words[1..].join(" "));
            walk(inside, own.as_deref().or(location), see);
        }
    }
}

/// Words, `;` and braces. Quotes hold words together.
fn parse(text: &str) -> Result<Vec<Node>, String> {
    let mut stack: Vec<Vec<Node>> = vec![Vec::new()];
    // Their words, and how much of the text is left behind them.
    let mut heads: Vec<(Vec<String>, usize)> = Vec::new();
    let line = |left: usize| text[..text.len() - left].matches('\n').count() + 1;
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let ends = letter.is_whitespace() || matches!(letter, ';' | '{' | '}') || letter == '#' && !begun;
        // `${name}` is a part of a word.
        let variable = letter == '{' && word.ends_with('$');
        if !ends || variable {
            begun = true;
            match letter {
                '"' | '\'' => word.extend(letters.by_ref().take_while(|next| *next != letter)),
                '\\' if letters.as_str().starts_with(['"', '\'', '\\']) => {
                    word.extend(letters.next());
                }
                '{' => {
                    word.push('{');
                    word.extend(letters.by_ref().take_while(|next| *next != '}'));
                    word.push('}');
                }
                other => word.push(other),
            }
            continue;
        }
        if begun {
            words.push(std::mem::take(&mut word));
            begun = false;
        }
        match letter {
            '#' => while letters.next().is_some_and(|next| next != '\n') {},
            ';' => {
                let node = Node { words: std::mem::take(&mut words), inside: None };
                stack.last_mut().ok_or("a } without a {")?.push(node);
            }
            '{' if heads.len() >= DEEPEST => {
                let line = line(letters.as_str().len());
                return Err(format!("{line}: more than {DEEPEST} blocks stand within one another"));
            }
            '{' => {
                heads.push((std::mem::take(&mut words), letters.as_str().len()));
                stack.push(Vec::new());
            }
            '}' => {
                let none = || format!("{}: a }} without a {{", line(letters.as_str().len()));
                let (words, _) = heads.pop().ok_or_else(none)?;
                let inside = stack.pop();
                stack.last_mut().ok_or_else(none)?.push(Node { words, inside });
            }
            _ => {}
        }
    }
    if let Some((head, left)) = heads.last() {
        return Err(format!("{}: the {{ of {} has no end", line(*left), head.join(" ")));
    }
    Ok(stack.pop().unwrap_or_default())
}

/// The scheme by which a directive passes to an upstream.
fn scheme_of(pass: &Node, name: &str) -> Option<&'static str> {
    let target = pass.words.get(1)?;
    let (scheme, rest) = target.split_once("://").unwrap_or(("", target));
    let host = rest.split('/').next()?;
    if host != name {
        return None;
    }
    match (pass.words[0].as_str(), scheme) {
        ("proxy_pass", "https") => Some("https"),
        ("fastcgi_pass", _) => Some("fcgi"),
        ("uwsgi_pass", _) => Some("uwsgi"),
        ("scgi_pass", _) => Some("scgi"),
        ("grpc_pass", "grpcs") => Some("h2"),
        ("grpc_pass", _) => Some("h2c"),
        _ => Some("http"),
    }
}

fn upstream(name: &str, scheme: &str, lines: &[Node]) -> PoolBlock {
    let mut pool = PoolBlock::new(name);
    pool.set("LuaBalancerMethod", &["round_robin"], "upstream");
    let mut failures: Vec<(String, String)> = Vec::new();
    for Node { words, .. } in lines {
        let said = words.join(" ");
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        match all.as_slice() {
            ["server", address, parameters @ ..] => {
                failures.push(server(&mut pool, scheme, address, parameters));
            }
            ["least_conn"] => pool.set("LuaBalancerMethod", &["least_connections"], &said),
            ["ip_hash"] => {
                pool.set("LuaBalancerMethod", &["consistent_hash", "key=%{REMOTE_ADDR}"], &said);
                pool.comment(
                    "ip_hash takes the first three numbers of an IPv4 address, this the whole address",
                );
            }
            ["hash", key, rest @ ..] => {
                let method = if rest.contains(&"consistent") { "consistent_hash" } else { "hash" };
                match expression(key) {
                    Ok(key) => pool.set("LuaBalancerMethod", &[method, &format!("key={key}")], &said),
                    Err(variable) => pool.comment(&format!("{said}: {variable} has no counterpart in key=")),
                }
            }
            ["random", "two", ..] => pool.set("LuaBalancerMethod", &["power_of_two"], &said),
            ["random", ..] => pool.set("LuaBalancerMethod", &["random"], &said),
            ["sticky", "cookie", cookie, rest @ ..] => {
                let mut keys = vec![format!("cookie={cookie}")];
                for key in rest {
                    match key.split_once('=') {
                        Some(("expires", value)) => keys.push(format!("ttl={value}")),
                        Some(("domain" | "path", _)) => keys.push((*key).to_owned()),
                        Some(("httponly" | "secure" | "samesite", _)) => keys.push((*key).to_owned()),
                        _ if *key == "httponly" || *key == "secure" => keys.push(format!("{key}=on")),
                        _ => pool.comment(&format!("sticky cookie {key} has no counterpart")),
                    }
                }
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                pool.set("LuaBalancerSticky", &keys, &said);
            }
            ["keepalive" | "keepalive_timeout" | "keepalive_requests" | "keepalive_time", ..] => {
                pool.comment(&format!(
                    "{said}: connections are kept by default; max= and ttl= of a member bound them"
                ));
            }
            ["zone", ..] => pool.comment(&format!("{said}: members are shared by all children anyway")),
            ["queue", _, rest @ ..] => {
                let timeout = rest.iter().find_map(|word| word.strip_prefix("timeout=")).unwrap_or("60s");
                pool.set("LuaBalancerSet", &[&format!("queue={timeout}")], &said);
            }
            _ => pool.comment(&format!("{said} has no counterpart")),
        }
    }
    outlier(&mut pool, &failures);
    pool
}

/// `max_fails` and `fail_timeout` are a server's in nginx, and a pool's here.
fn outlier(pool: &mut PoolBlock, failures: &[(String, String)]) {
    let Some((fails, timeout)) = failures.first() else { return };
    if failures.iter().any(|other| other != &failures[0]) {
        pool.comment(
            "max_fails and fail_timeout differ from server to server: those of the first hold for all",
        );
    }
    if fails == "0" {
        return pool.set("LuaBalancerOutlier", &["off"], "max_fails=0");
    }
    let words = [&format!("failures={fails}"), &format!("ejection={timeout}")];
    pool.set("LuaBalancerOutlier", &["on", words[0], words[1]], "max_fails");
}

/// A member; gives its `max_fails` and `fail_timeout`.
fn server(pool: &mut PoolBlock, scheme: &str, address: &str, parameters: &[&str]) -> (String, String) {
    let url = match address.strip_prefix("unix:") {
        Some(path) => format!("unix:{path}|{scheme}://localhost"),
        // The port is 80 whatever is spoken there.
        None if scheme != "http" && !has_port(address) => format!("{scheme}://{address}:80"),
        None => format!("{scheme}://{address}"),
    };
    let (mut keys, mut fails, mut timeout) = (Vec::new(), "1".to_owned(), "10s".to_owned());
    let mut key = |name: &str, value: &str| keys.push((name.to_owned(), value.to_owned()));
    for parameter in parameters {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("weight", value) => key("weight", value),
            ("max_conns", value) => key("max_inflight", value),
            ("slow_start", value) => key("slow_start", value),
            ("route", value) => key("route", value),
            ("backup", _) => key("status", "+H"),
            ("down", _) => key("status", "+D"),
            ("drain", _) => key("status", "+N"),
            ("max_fails", value) => fails = value.to_owned(),
            ("fail_timeout", value) => timeout = value.to_owned(),
            _ => pool.comment(&format!("server {address}: {parameter} has no counterpart")),
        }
    }
    pool.member(&url, &keys, &format!("server {address}"));
    (fails, timeout)
}

fn has_port(address: &str) -> bool {
    let port = address.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// nginx's variables in httpd's words. Err: one that has none.
fn expression(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let after = after.strip_prefix('{').unwrap_or(after);
        let end = after
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(after.len());
        let (name, behind) = after.split_at(end);
        out += &match name {
            "remote_addr" | "binary_remote_addr" => "%{REMOTE_ADDR}".into(),
            "remote_user" => "%{REMOTE_USER}".into(),
            "uri" | "document_uri" => "%{REQUEST_URI}".into(),
            "request_uri" => REQUEST_URI.into(),
            "args" | "query_string" => "%{QUERY_STRING}".into(),
            "host" | "http_host" => "%{HTTP_HOST}".into(),
            "scheme" => "%{REQUEST_SCHEME}".into(),
            "request_method" => "%{REQUEST_METHOD}".into(),
            "server_name" => "%{SERVER_NAME}".into(),
            name => match name.strip_prefix("http_") {
                Some(header) => format!("%{{req:{}}}", header.replace('_', "-")),
                None => return Err(format!("${name}")),
            },
        };
        rest = behind.strip_prefix('}').unwrap_or(behind);
    }
    Ok(out + rest)
}

/// The line of a `proxy_pass` to one of the pools.
fn pass_on(pass: &Node, location: Option<&str>, converted: &mut Converted) -> Option<()> {
    let target = pass.words.get(1)?;
    let rest = target.split_once("://").map_or(target.as_str(), |(_, rest)| rest);
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    let pool = format!("lb://{}", converted.find(host)?.name());
    let location = location.unwrap_or("/");
    if location.starts_with(['~', '=', '^', '@']) || location.contains(' ') || !location.starts_with('/') {
        let text = format!("location {location}: ProxyPassMatch, or a <LocationMatch>, to {pool}");
        converted.lines.push(commented(&text));
        return None;
    }
    // Without a path nginx sends the location's own along.
    let path = if path.is_empty() { location } else { path };
    converted.pass("ProxyPass", location, &format!("{pool}{path}"));
    Some(())
}
