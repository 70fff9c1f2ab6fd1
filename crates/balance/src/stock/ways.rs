// SPDX-License-Identifier: Apache-2.0
//! Ways into a pool that directives of other modules open: what they name, and what of them would
//! do nothing.

use super::parameters::home_of;
use super::{SCHEME, is_ours};
use crate::error::hint;
use crate::words;

/// A line of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Line<'t> {
    /// The directive as written, sections with their `<`.
    pub directive: &'t str,
    /// The text behind it.
    pub args: &'t str,
    /// The section that it stands in: the same two of that one.
    pub section: Option<(&'t str, &'t str)>,
}

/// The pool that a line names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// Its name, or how that begins.
    name: String,
    /// Whether the name is written out: a request cannot make it another one.
    whole: bool,
    /// Whether anything follows the name.
    bare: bool,
}

/// Why nobody can come in by this line: it names a pool that is not among `known`.
pub fn unknown_pool(line: Line<'_>, known: &[&str]) -> Option<String> {
    let Named { name, whole, .. } = named(target_of(line)?);
    let fits = |pool: &&&str| match whole {
        true => pool.eq_ignore_ascii_case(&name),
        false => pool.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(&name)),
    };
    if known.iter().any(|pool| fits(&pool)) {
        return None;
    }
    let others = if known.is_empty() { "there is none yet".to_owned() } else { hint(&name, known) };
    let directive = line.directive.trim_start_matches('<');
    Some(format!(
        "{directive} names pool {name}, which nobody defines: expected <LuaBalancerPool {name}> or lb.define_pool(\"{name}\", ...) in \
         a script; {others}"
    ))
}

/// The problem of a line that would do nothing, or something else than it seems to.
pub fn problem(line: Line<'_>) -> Option<String> {
    let is = |name: &str| line.directive.eq_ignore_ascii_case(name);
    let in_own_proxy = line.section.filter(|(section, args)| {
        section.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("<Proxy"))
            && first_word(args).is_some_and(|word| is_ours(&word))
    });
    if is("ProxyPass") || is("ProxyPassMatch") {
        return idle_parameters(line).or_else(|| missing_slash(line));
    }
    if is("ProxySet") {
        let words = words::split(line.args).ok()?;
        let target = match in_own_proxy {
            Some((_, args)) => first_word(args)?,
            None => words.first().filter(|word| is_ours(word))?.clone(),
        };
        let keys = words.iter().filter(|word| !is_ours(word));
        return Some(idle("ProxySet", &named(&target).name, keys));
    }
    let (_, args) = in_own_proxy.filter(|_| is("BalancerMember"))?;
    let name = named(&first_word(args)?).name;
    Some(format!(
        "BalancerMember adds nobody to a pool: expected LuaBalancerMember inside <LuaBalancerPool {name}>"
    ))
}

/// The part that a `RewriteRule` to a pool lacks: mod_rewrite knows `balancer://` for a URL, and
/// sends a client there; `lb://` it takes for a path, which no client gets an answer for.
pub fn unproxied(line: Line<'_>) -> Option<String> {
    if !line.directive.eq_ignore_ascii_case("RewriteRule") {
        return None;
    }
    let target = target_of(line)?;
    let (_, flags) = line.args.split_once(target)?;
    let mut flags = flags.split(|c: char| "[], \t\"'".contains(c));
    let hands_on = |flag: &str| {
        let flag = flag.to_ascii_lowercase();
        matches!(flag.as_str(), "p" | "proxy") || flag.starts_with("h=") || flag.starts_with("handler=")
    };
    (!flags.any(hands_on)).then(|| format!("RewriteRule to {target} reaches nobody: expected the flag [P]"))
}

/// Whether a client's words may become a target in `lb://` by this line of ProxyPass, which does
/// not write `lb://` itself.
pub fn is_open(line: Line<'_>) -> bool {
    let is = |name: &str| line.directive.eq_ignore_ascii_case(name);
    let mut words = line.args.split([' ', '\t']).map(|word| word.trim_matches(['"', '\'']));
    (is("ProxyPass") || is("ProxyPassMatch")) && words.any(|word| may_begin_ours(word.as_bytes()))
}

/// Whether a target may begin with `lb://` once something is put in, or behind it.
pub fn may_begin_ours(target: &[u8]) -> bool {
    let end = target.iter().position(|byte| *byte == b'$').unwrap_or(target.len());
    let literal = &target[..end];
    let begins = SCHEME.as_bytes().get(..literal.len()).is_some_and(|own| own.eq_ignore_ascii_case(literal));
    begins && end < SCHEME.len() && !target.is_empty()
}

/// A pattern's target with its `$0` to `$9` put in.
pub fn filled(target: &[u8], groups: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len());
    let mut bytes = target.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let number = bytes.next_if(|next| byte == b'$' && next.is_ascii_digit());
        match number {
            Some(number) => {
                out.extend_from_slice(groups.get(usize::from(number - b'0')).copied().unwrap_or_default());
            }
            None if byte == b'\\' => out.extend(bytes.next()),
            None => out.push(byte),
        }
    }
    out
}

/// How much of a path a line's own path takes up, as mod_proxy compares them: slashes count once,
/// and the last piece is a whole one. None: it does not hold for the path.
pub fn taken(front: &[u8], path: &[u8]) -> Option<usize> {
    let slashes = |text: &[u8]| text.iter().take_while(|byte| **byte == b'/').count();
    let (mut own, mut at) = (front, 0);
    while let Some(first) = own.first() {
        let step = match first {
            b'/' => (slashes(own), slashes(&path[at..])),
            first => (1, usize::from(path.get(at) == Some(first))),
        };
        if step.1 == 0 {
            return None;
        }
        (own, at) = (&own[step.0..], at + step.1);
    }
    let is_whole = front.ends_with(b"/") || matches!(path.get(at), None | Some(b'/'));
    is_whole.then_some(at)
}

/// `key=value` behind the target: mod_proxy keeps it for a worker of its own that nobody uses.
fn idle_parameters(line: Line<'_>) -> Option<String> {
    let words = words::split(line.args).ok()?;
    let at = words.iter().take(3).position(|word| is_ours(word))?;
    let mut keys = words[at + 1..]
        .iter()
        .filter(|word| word.split_once('=').is_some_and(|(key, _)| !key.eq_ignore_ascii_case("mapping")))
        .peekable();
    keys.peek()?;
    Some(idle(line.directive, &named(&words[at]).name, keys))
}

fn idle<'w>(directive: &str, pool: &str, keys: impl Iterator<Item = &'w String>) -> String {
    let (mut written, mut homes) = (Vec::new(), Vec::new());
    for word in keys {
        written.push(word.as_str());
        let key = word.split_once('=').map_or(word.as_str(), |(key, _)| key);
        let home = match home_of(key) {
            Some("LuaBalancerMember") => "at the LuaBalancerMember lines",
            Some(_) => "at LuaBalancerSet",
            None => continue,
        };
        let text = format!("{key}= {home}");
        if !homes.contains(&text) {
            homes.push(text);
        }
    }
    let homes = if homes.is_empty() { "none of this".to_owned() } else { homes.join(", ") };
    format!(
        "{directive} with {} has no effect on a pool: expected {homes} inside <LuaBalancerPool {pool}>",
        written.join(" ")
    )
}

/// `ProxyPass / lb://pool`: what follows the `/` of a request is put right behind the pool's name.
fn missing_slash(line: Line<'_>) -> Option<String> {
    if !line.directive.eq_ignore_ascii_case("ProxyPass") {
        return None;
    }
    let words = words::split(line.args).ok()?;
    let (path, target) = match words.as_slice() {
        [target, ..] if is_ours(target) => {
            let (section, args) = line.section?;
            if !section.eq_ignore_ascii_case("<Location") {
                return None;
            }
            (first_word(args)?, target)
        }
        [path, target, ..] if is_ours(target) => (path.clone(), target),
        _ => return None,
    };
    let Named { name, whole, bare } = named(target);
    (whole && bare && path.starts_with('/') && path.ends_with('/')).then(|| {
        format!(
            "{target} needs a slash at its end as {path} has one: expected {target}/, since a request for {path}x would ask for \
             a pool named {name}x"
        )
    })
}

/// The `lb://…` of a line, whatever may open a way to it.
fn target_of(line: Line<'_>) -> Option<&str> {
    // Looked for in the text, since httpd's own splitting allows what `words` does not.
    let (directive, args) = (line.directive.to_ascii_lowercase(), line.args);
    let words = args.split([' ', '\t']).map(|word| word.trim_matches(['"', '\'', '>']));
    let mut words = words.filter(|word| !word.is_empty());
    match directive.as_str() {
        "proxypass" | "proxypassmatch" | "proxypassreverse" => words.take(3).find(|word| is_ours(word)),
        "rewriterule" => words.skip(1).find(|word| is_ours(word)),
        "sethandler" | "addhandler" => {
            words.next().and_then(|word| word.strip_prefix("proxy:")).filter(|word| is_ours(word))
        }
        "<proxy" | "proxyset" => words.next().filter(|word| is_ours(word)),
        _ => None,
    }
}

fn first_word(args: &str) -> Option<String> {
    let args = args.trim_end().strip_suffix('>').unwrap_or(args);
    words::split(args).ok()?.into_iter().next()
}

/// Up to what a request or a wildcard puts in.
fn named(target: &str) -> Named {
    let rest = &target[SCHEME.len()..];
    let open = |c: char| "$%{*[(\\".contains(c);
    let end = rest.find(|c| open(c) || "/?".contains(c)).unwrap_or(rest.len());
    Named { name: rest[..end].to_owned(), whole: !rest[end..].starts_with(open), bare: end == rest.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lines_path_takes_whole_pieces_of_a_path() {
        for (front, path, taken_up) in [
            ("/", "/x", Some(1)),
            ("/a", "/a", Some(2)),
            ("/a", "/a/b", Some(2)),
            ("/a", "/ab", None),
            ("/a/", "/a", None),
            ("/a/", "/a//b", Some(4)),
            ("/a//b", "/a/b", Some(4)),
            ("/a", "", None),
            ("", "/x", Some(0)),
        ] {
            assert_eq!(taken(front.as_bytes(), path.as_bytes()), taken_up, "{front} {path}");
        }
    }

    const POOLS: [&str; 2] = ["App", "api"];

    fn line<'t>(text: &'t str, section: Option<(&'t str, &'t str)>) -> Line<'t> {
        let (directive, args) = text.split_once(' ').unwrap();
        Line { directive, args, section }
    }

    #[test]
    fn pools_that_nobody_defines_are_found() {
        for text in [
            "ProxyPass / lb://nix/",
            "ProxyPass / \"lb://nix/\" nocanon",
            "proxypass / LB://nix/",
            "ProxyPass ~ ^/x lb://nix/",
            "ProxyPass lb://nix",
            "ProxyPassMatch ^/(.*)$ lb://nix/$1",
            "ProxyPassMatch ^(/.*)$ lb://nix$1",
            "ProxyPassReverse / lb://nix/",
            "RewriteRule ^/x lb://nix/x [P]",
            "RewriteRule ^/x lb://nix? [P]",
            "SetHandler \"proxy:lb://nix\"",
            "AddHandler proxy:lb://nix .php",
            "<Proxy \"lb://nix\">",
            "<Proxy lb://nix/x>",
            "ProxySet lb://nix timeout=1",
            "ProxyPass / lb://app:80/",
            "ProxyPass / lb:///x",
        ] {
            let found = unknown_pool(line(text, None), &POOLS);
            let found = found.unwrap_or_else(|| panic!("{text}: nothing found"));
            assert!(found.contains("LuaBalancerPool") && found.contains("expected"), "{text}: {found}");
        }
        assert!(unknown_pool(line("ProxyPass / lb://ap/", None), &POOLS).unwrap().contains("did you mean"));
    }

    #[test]
    fn a_rule_that_hands_nothing_on_is_found() {
        for text in [
            "RewriteRule ^ lb://app/x",
            "RewriteRule ^ \"lb://app/x\" [R,L]",
            "rewriterule ^ lb://app/$1 [E=p:1]",
        ] {
            assert!(unproxied(line(text, None)).is_some_and(|text| text.contains("[P]")), "{text}");
        }
        for text in [
            "RewriteRule ^ lb://app/x [P]",
            "RewriteRule ^ lb://app/x [NE,p,L]",
            "RewriteRule ^ \"lb://app/x\" \"[L, proxy]\"",
            "RewriteRule ^ lb://app/x [H=proxy-server]",
            "RewriteRule ^ http://h/lb://app/x",
            "ProxyPass / lb://app/",
        ] {
            assert_eq!(unproxied(line(text, None)), None, "{text}");
        }
    }

    #[test]
    fn pools_that_are_there_or_may_be_are_left_alone() {
        for text in [
            "ProxyPass / lb://app/",
            "ProxyPass / lb://APP",
            "ProxyPass / balancer://nix/",
            "ProxyPass / !",
            "ProxyPassMatch ^/(app|api)/ lb://$1/",
            "ProxyPassMatch ^(/.*)$ lb://a$1",
            "RewriteRule lb://nix http://x/ [P]",
            "RewriteRule ^/(.*) lb://%{ENV:pool}/$1 [P]",
            "RewriteRule ^/(.*) lb://${map:$1}/$1 [P]",
            "RewriteCond %{REQUEST_URI} lb://nix",
            "SetHandler proxy:http://lb://nix",
            "<Proxy \"lb://*\">",
            "<ProxyMatch \"lb://nix\">",
            "LuaRegisterFunc x function(r) r.filename = \"proxy:lb://nix/\" end",
        ] {
            assert_eq!(unknown_pool(line(text, None), &POOLS), None, "{text}");
        }
    }

    #[test]
    fn targets_are_filled_as_httpd_fills_them() {
        let groups: [&[u8]; 3] = [b"/x/lb/p", b"lb", b"p"];
        for (target, text) in [
            ("$1://$2", "lb://p"),
            ("l$9b:$2$", "lb:p$"),
            ("\\$1$$1", "$1$lb"),
            ("$0\\", "/x/lb/p"),
            ("", ""),
        ] {
            assert_eq!(filled(target.as_bytes(), &groups), text.as_bytes(), "{target}");
        }
    }

    #[test]
    fn lines_that_a_client_may_fill_are_found() {
        for text in [
            "ProxyPassMatch ^/(.*)$ $1",
            "ProxyPassMatch \"^/(.*)$\" \"$1\" nocanon",
            "ProxyPassMatch ^/(..)/(.*)$ $1://$2",
            "ProxyPassMatch ^/.(.*)$ L$1",
            "ProxyPass $1",
            "ProxyPass /x lb:",
            "ProxyPass /x ${TARGET} interpolate",
        ] {
            assert!(is_open(line(text, None)), "{text}");
        }
        for text in [
            "ProxyPassMatch ^/(.*)$ lb://$1",
            "ProxyPassMatch ^/(.*)$ http://h/$1",
            "ProxyPass /x LB://app/",
            "ProxyPass /x !",
            "ProxyPass /x http://${HOST}/ interpolate",
            "RewriteRule ^/(.*) $1 [P]",
        ] {
            assert!(!is_open(line(text, None)), "{text}");
        }
    }

    #[test]
    fn parameters_that_do_nothing_are_found() {
        let own = Some(("<Proxy", "\"lb://app\">"));
        for (text, section, parts) in [
            ("ProxyPass / lb://app/ timeout=1", None, ["timeout=1", "timeout= at the LuaBalancerMember"]),
            ("ProxyPass / lb://app/ nocanon upgrade=websocket", None, ["upgrade=", "LuaBalancerMember"]),
            ("ProxyPass / lb://app/ stickysession=A|a", None, ["stickysession= at LuaBalancerSet", "app>"]),
            ("ProxyPassMatch ^/ lb://app/ retry=0", None, ["retry=0", "LuaBalancerMember"]),
            ("ProxyPass lb://app/ hcmethod=GET", Some(("<Location", "/>")), ["hcmethod=", "Member"]),
            ("ProxySet timeout=1", own, ["ProxySet with timeout=1", "LuaBalancerMember"]),
            ("ProxySet lb://app failonstatus=500", None, ["failonstatus", "at LuaBalancerSet"]),
            ("ProxySet bogus=1", own, ["bogus=1", "none of this"]),
            ("BalancerMember http://h", own, ["LuaBalancerMember", "<LuaBalancerPool app>"]),
        ] {
            let found = problem(line(text, section));
            let found = found.unwrap_or_else(|| panic!("{text}: nothing found"));
            assert!(parts.iter().all(|part| found.contains(part)), "{text}: {found}");
        }
        for (text, section) in [
            ("ProxyPass /x lb://app/ nocanon noquery interpolate mapping=encoded", None),
            ("ProxyPass /x http://h/ timeout=1", None),
            ("ProxySet timeout=1", Some(("<Proxy", "\"balancer://app\">"))),
            ("ProxySet balancer://app timeout=1", None),
            ("Require all granted", own),
        ] {
            assert_eq!(problem(line(text, section)), None, "{text}");
        }
    }

    #[test]
    fn a_missing_slash_is_found() {
        let location = |path| Some(("<Location", path));
        for (text, section) in [
            ("ProxyPass / lb://app", None),
            ("ProxyPass /x/ \"lb://app\" nocanon", None),
            ("ProxyPass lb://app", location("\"/\">")),
        ] {
            assert!(problem(line(text, section)).is_some_and(|found| found.contains("lb://app/")), "{text}");
        }
        for (text, section) in [
            ("ProxyPass / lb://app/", None),
            ("ProxyPass /x lb://app", None),
            ("ProxyPass lb://app", location("/x>")),
            ("ProxyPass lb://app", Some(("<LocationMatch", "/>"))),
            ("ProxyPassMatch / lb://app", None),
        ] {
            assert_eq!(problem(line(text, section)), None, "{text}");
        }
    }
}
