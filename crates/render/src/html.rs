// SPDX-License-Identifier: Apache-2.0
//! The page: what there is to read, without a script. Every text from elsewhere goes through
//! [`escape`].

use std::fmt::Write;
use std::sync::OnceLock;

use balance::event::weight_text;
use balance::snapshot::{MemberState, PoolState};

use crate::Shown;
use crate::member::state_word;
use crate::text;
use crate::time::Time;

/// The style sheet of the page.
pub const STYLE: &str = include_str!("page.css");

/// The style sheet's name, which changes with what is in it.
pub fn style_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| format!("page-{:016x}.css", xxhash_rust::xxh64::xxh64(STYLE.as_bytes(), 0)))
}

/// A text as it may stand in an element or in an attribute's quotes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// The page. Its links are relative to it.
pub fn page(view: &Shown<'_>) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Writing into a String cannot fail, here and below.
    let _ =
        writeln!(out, "<title>Balancer</title>\n<link rel=\"stylesheet\" href=\"assets/{}\">", style_name());
    out.push_str("</head>\n<body>\n<main>\n<h1>Balancer</h1>\n");
    let facts = view.facts;
    let _ = writeln!(
        out,
        "<p>mod_lua_balancer {}, {}, {}. <a href=\"api/v1/\">API</a>, <a href=\"metrics\">metrics</a>.</p>",
        escape(facts.version),
        escape(&facts.httpd),
        escape(facts.lua)
    );
    for warning in view.warnings() {
        let _ = writeln!(out, "<p class=\"warning\" role=\"status\">{}</p>", escape(&warning.message));
    }
    view.all.pools.iter().for_each(|pool| write_pool(&mut out, pool));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn write_pool(out: &mut String, pool: &PoolState) {
    let _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(&pool.name));
    let _ = writeln!(
        out,
        "<p>{}: {} of {} usable, {} in flight, {} queued</p>",
        pool.settings.method.name(),
        pool.usable,
        pool.members.len(),
        pool.inflight,
        pool.queued
    );
    if !pool.members.is_empty() {
        out.push_str("<table>\n<thead><tr><th scope=\"col\">Member</th><th scope=\"col\">State</th>");
        out.push_str("<th scope=\"col\">Since</th><th scope=\"col\">Why</th>");
        for head in ["Weight", "In flight", "Requests", "Failed"] {
            let _ = write!(out, "<th scope=\"col\" class=\"number\">{head}</th>");
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        pool.members.iter().for_each(|member| write_member(out, member));
        out.push_str("</tbody>\n</table>\n");
    }
    out.push_str("</section>\n");
}

fn write_member(out: &mut String, member: &MemberState) {
    let state = state_word(member.state);
    let since = Time::noted(member.since).map_or_else(String::new, |time| time.to_string());
    let _ = write!(
        out,
        "<tr><th scope=\"row\" title=\"{}\">{}</th><td class=\"{state}\">{state}</td><td>{since}</td><td>{}</td>",
        escape(&member.spec.url.to_string()),
        escape(&member.spec.name),
        escape(&text::why(member))
    );
    let numbers = [
        weight_text(member.weights.ordered),
        member.inflight.to_string(),
        member.requests.to_string(),
        member.failures.to_string(),
    ];
    for number in numbers {
        let _ = write!(out, "<td class=\"number\">{number}</td>");
    }
    out.push_str("</tr>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text() {
        assert_eq!(
            escape("<b a=\"1\" c='2'>&\u{1b}"),
            "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}"
        );
    }
}
