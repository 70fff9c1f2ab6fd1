// SPDX-License-Identifier: Apache-2.0
//! Metrics of the server, its scripts and its dictionaries.

use balance::snapshot::ScriptVerdict;

use super::options::Extent;
use super::write::{Writer, labels, with};
use crate::Shown;

pub(super) fn write(view: &Shown<'_>, extent: Extent, to: &mut Writer) {
    let facts = view.facts;
    if to.begin("build_info") {
        let build = [("version", facts.version), ("httpd", &facts.httpd), ("lua", facts.lua)];
        to.count("build_info", &labels(&build), 1);
    }
    if to.begin("children") {
        to.count("children", "", view.all.children.len() as u64);
    }
    if let Some(fill) = &view.all.fill
        && to.begin("table_members")
    {
        to.count("table_members", "kind=\"used\"", fill.members.used as u64);
        to.count("table_members", "kind=\"room\"", fill.members.of as u64);
    }
    if let Some(changes) = facts.lead_changes
        && to.begin("lead_changes_total")
    {
        to.count("lead_changes_total", "", changes);
    }
    if let Some((is_there, _)) = facts.store
        && to.begin("store_up")
    {
        to.count("store_up", "", u64::from(is_there));
    }
    if let Some(fronts) = facts.fronts
        && to.begin("fronts")
    {
        to.count("fronts", "", fronts);
    }
    if to.begin("metrics_reduced") {
        to.count("metrics_reduced", "", u64::from(extent.reduced));
    }
}

pub(super) fn write_scripts(view: &Shown<'_>, to: &mut Writer) {
    let scripts: Vec<_> =
        view.all.scripts.iter().map(|one| (labels(&[("script", &one.label)]), one)).collect();
    if scripts.is_empty() {
        return;
    }
    if to.begin("script_calls_total") {
        for (labels, script) in &scripts {
            for (result, count) in script.counts.by_result() {
                to.count("script_calls_total", &with(labels, "result", result), count);
            }
        }
    }
    if to.begin("script_duration_seconds") {
        for (labels, script) in &scripts {
            let count = script.counts.calls();
            to.sum("script_duration_seconds", labels, (script.counts.sum_us, count));
        }
    }
    if to.begin("script_last_reload_successful") {
        for (labels, script) in &scripts {
            let serves = script.verdict == ScriptVerdict::Serves;
            to.count("script_last_reload_successful", labels, u64::from(serves));
        }
    }
    let shadows = scripts.iter().filter_map(|(labels, script)| Some((labels, script.shadow.as_ref()?)));
    let mut shadows = shadows.peekable();
    if shadows.peek().is_some() && to.begin("shadow_requests_total") {
        for (labels, shadow) in shadows {
            for (result, count) in shadow.counts.by_result() {
                to.count("shadow_requests_total", &with(labels, "result", result), count);
            }
        }
    }
    if to.begin("script_reloads_total") {
        for (labels, script) in &scripts {
            for (result, count) in script.counts.reloads_by_result() {
                to.count("script_reloads_total", &with(labels, "result", result), count);
            }
        }
    }
}

pub(super) fn write_dicts(view: &Shown<'_>, to: &mut Writer) {
    let dicts: Vec<_> = view.all.dicts.iter().map(|one| (labels(&[("dict", &one.name)]), one)).collect();
    if dicts.is_empty() {
        return;
    }
    if to.begin("dict_size_bytes") {
        dicts.iter().for_each(|(labels, dict)| to.count("dict_size_bytes", labels, dict.size as u64));
    }
    if to.begin("dict_free_bytes") {
        dicts.iter().for_each(|(labels, dict)| to.count("dict_free_bytes", labels, dict.free as u64));
    }
    if to.begin("dict_evictions_total") {
        dicts.iter().for_each(|(labels, dict)| to.count("dict_evictions_total", labels, dict.evictions));
    }
}
