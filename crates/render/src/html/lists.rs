// SPDX-License-Identifier: Apache-2.0
//! Scripts, dictionaries and children, below the pools.

use std::fmt::Write;

use super::escape::escape;
use crate::Shown;

/// Writes all lists that have something in them.
pub(super) fn write(out: &mut String, view: &Shown<'_>) {
    let scripts = view.scripts().scripts.into_iter().map(|script| {
        let error = script.last_error.unwrap_or_default();
        let shadow = script.shadow.map_or(String::new(), |shadow| {
            format!("{} agree, {} differ, {} failed", shadow.agree, shadow.differ, shadow.failed)
        });
        let calls = format!("{} ok, {} failed", script.calls.ok, script.calls.error);
        vec![
            script.name.to_owned(),
            script.verdict.to_owned(),
            script.version.to_string(),
            calls,
            shadow,
            error.to_owned(),
        ]
    });
    list(out, "Scripts", &["Name", "Verdict", "Version", "Calls", "As a shadow", "Last error"], scripts);
    let dicts = view.dicts().dicts.into_iter();
    let dicts = dicts.map(|dict| {
        let error = dict.last_error.unwrap_or_default().to_owned();
        let [size, free] = [dict.size, dict.free].map(|bytes| bytes.to_string());
        vec![dict.name.to_owned(), size, free, dict.evictions.to_string(), error]
    });
    list(out, "Dictionaries", &["Name", "Bytes", "Free", "Evictions", "Last error"], dicts);
    let children = view.children().children.into_iter();
    let children = children.map(|child| {
        let leads = if child.leads { "yes" } else { "no" };
        let error = child.last_error.unwrap_or_default().to_owned();
        vec![child.pid.to_string(), child.generation.to_string(), leads.to_owned(), error]
    });
    list(out, "Children", &["Process", "Generation", "Leads", "Last error"], children);
}

fn list(out: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    // Writing into a String cannot fail.
    let _ = writeln!(
        out,
        "<section class=\"more\"><h2>{title}</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\"><table class=\"list\">"
    );
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let _ = writeln!(out, "<thead><tr>{heads}</tr></thead>\n<tbody>");
    for row in rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</tbody></table></div></section>\n");
}
