// SPDX-License-Identifier: Apache-2.0
//! The page. All its content stands in it without a script, which then takes its place
//! (`page/*.js`). Every text from elsewhere goes through [`escape()`].

mod assets;
mod escape;
mod lists;
mod pools;

use std::fmt::Write;

pub use assets::{Asset, MOST_SCRIPT, asset, assets};
pub use escape::escape;

use crate::Shown;

/// A balance, as it stands beside the page's name.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
                    %3Crect width='16' height='16' rx='4' fill='%231f55c4'/%3E\
                    %3Cpath d='M3 8h4l5-4M7 8l5 4' stroke='%23fff' stroke-width='1.6' fill='none'/%3E%3C/svg%3E";

/// The page. Its links are relative to it.
pub fn page(view: &Shown<'_>) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Balancer</title>\n");
    let [style, script] = assets();
    // Writing into a String cannot fail, here and below.
    let _ = writeln!(out, "<link rel=\"icon\" href=\"{ICON}\">");
    let _ = writeln!(out, "<link rel=\"stylesheet\" href=\"assets/{}\">", style.name);
    let _ = writeln!(out, "<script defer src=\"assets/{}\"></script>", script.name);
    out.push_str("</head>\n<body>\n<a class=\"skip\" href=\"#main\">To the pools</a>\n");
    let facts = view.facts;
    let _ = writeln!(
        out,
        "<header id=\"top\"><h1>Balancer</h1>\n<p>mod_lua_balancer {} · {} · Lua {}</p>\n\
         <p><a href=\"api/v1/\">API</a> · <a href=\"metrics\">Metrics</a></p></header>",
        escape(facts.version),
        escape(&facts.httpd),
        escape(facts.lua)
    );
    out.push_str("<main id=\"main\" class=\"static\">\n<ul id=\"warnings\" aria-label=\"Warnings\">\n");
    for warning in view.warnings() {
        let since = warning.since.map(|since| format!("<span class=\"sub\">since {since}</span>"));
        let since = since.unwrap_or_default();
        let _ = writeln!(out, "<li class=\"warning\"><span>{}</span>{since}</li>", escape(&warning.message));
    }
    out.push_str("</ul>\n");
    pools::write(&mut out, view);
    lists::write(&mut out, view);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_asks_nobody_else() {
        let [style, script] = assets();
        assert!(script.text.len() <= MOST_SCRIPT, "{} bytes", script.text.len());
        for asset in [style, script] {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "@import"]
            {
                assert!(!asset.text.contains(word), "{}: {word}", asset.name);
            }
            let foreign = asset.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("//"), "{}: an address, or a comment", asset.name);
        }
        assert!(asset(&script.name).is_some() && asset("page.js").is_none());
    }
}
