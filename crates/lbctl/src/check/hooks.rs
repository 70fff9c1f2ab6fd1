// SPDX-License-Identifier: Apache-2.0
//! Scripts that never return a member.

use config::Script;

use super::findings::Remark;
use crate::files;
use crate::world::setup::Setup;

/// Words by which a script reaches a pool or backend.
const REACHES: [&str; 7] =
    ["lb.pool", "lb.define_pool", "lb.pools", "ngx.balancer", "proxy:", "http", "require"];
/// Words by which it sends a request without returning anything.
const SENDS: [&str; 4] = ["filename", "handler", "set_current_peer", "internalRedirect"];
/// Directives whose functions say where requests go.
const DECIDE: [&str; 2] = ["LuaHookTranslate", "LuaHookSelect"];

/// Scripts that send nothing anywhere: they name neither a pool nor a backend, or return nothing
/// that could be one.
pub fn idle(setup: &Setup, found: &mut Vec<Remark>) {
    let config = &setup.config;
    for (number, planned) in config.scripts.iter().enumerate() {
        let Script::File(path) = &planned.script else { continue };
        let decides =
            |naming: &&config::Naming| naming.function.script == number && DECIDE.contains(&naming.directive);
        let Some(naming) = config.named.iter().find(decides) else { continue };
        let Some(text) = files::text(path.as_ref()).ok() else { continue };
        let code = without_comments(&text);
        let says = |words: &[&str]| words.iter().any(|word| code.contains(word));
        let why = match () {
            () if !says(&REACHES) => "names neither a pool nor a backend",
            () if !says(&SENDS) && !returns_something(&code) => "returns neither a pool nor a backend",
            () => continue,
        };
        found.push(Remark::warning(&naming.place, format!("{path} {why}: it never returns a member")));
    }
}

/// Whether any `return` has a value that may be a member or pool: neither nothing, nor nil, a
/// number, a boolean or a constant of apache2.
fn returns_something(code: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    code.match_indices("return").any(|(at, word)| {
        let (before, after) = (&code[..at], &code[at + word.len()..]);
        if before.ends_with(is_word) || after.starts_with(is_word) {
            return false;
        }
        let value = after.trim_start();
        let first: String = value.chars().take_while(|letter| is_word(*letter)).collect();
        let is_nothing = matches!(
            first.as_str(),
            "end" | "else" | "elseif" | "until" | "nil" | "false" | "true" | "apache2"
        );
        let is_number = first.starts_with(|letter: char| letter.is_ascii_digit());
        !(is_nothing || is_number || value.is_empty() || value.starts_with(';'))
    })
}

/// A script without its comments; texts that hold two dashes may lose their rest.
fn without_comments(text: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("--") {
        code.push_str(before);
        let level =
            after.strip_prefix('[').map(|after| after.bytes().take_while(|byte| *byte == b'=').count());
        let long = level.filter(|level| after[1 + level..].starts_with('['));
        rest = match long {
            Some(level) => {
                let end = format!("]{}]", "=".repeat(level));
                after.split_once(&end).map_or("", |(_, rest)| rest)
            }
            None => after.find('\n').map_or("", |end| &after[end..]),
        };
    }
    code + rest
}

#[cfg(test)]
mod tests {
    use super::{returns_something, without_comments};

    #[test]
    fn a_return_of_nothing_is_none() {
        for code in [
            "function s(r) lb.pool('a'):pick() end",
            "if x then return end",
            "return nil",
            "return apache2.DECLINED",
            "return 503",
            "return",
            "returned = pool",
        ] {
            assert!(!returns_something(code), "{code}");
        }
        for code in
            ["return pool", "return(pool)", "return { a, b }", "return lb.pool('app')", "return 'http://a'"]
        {
            assert!(returns_something(code), "{code}");
        }
    }

    #[test]
    fn comments_are_left_out() {
        let text = "a --[==[ return x\n ]] return y ]==] b -- return z\nc --[ return\nd --[[ open";
        assert_eq!(without_comments(text), "a  b \nc \nd ");
    }
}
