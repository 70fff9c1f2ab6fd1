// SPDX-License-Identifier: Apache-2.0
//! The pools as mod_status shows them: a table in its page, and lines in `?auto`, among them those
//! that programs know from mod_proxy.

use balance::snapshot::Extent;
use std::fmt::Write;

use balance::snapshot::{Flag, MemberState, PoolState};

use crate::httpd::request::Request;
use crate::serve::child;
use crate::serve::snapshot;

/// mod_proxy counts its own balancers from 0.
const FIRST: usize = 1000;

/// Adds to the page. `short`: of lines.
pub fn show(request: Request<'_>, short: bool) {
    let Some(child) = child::get() else { return };
    let pools = snapshot::of(child, Extent::All).pools;
    if pools.is_empty() {
        return;
    }
    request.write(if short { lines(&pools) } else { tables(&pools) }.as_bytes());
}

fn lines(pools: &[PoolState]) -> String {
    let mut text = String::new();
    for (at, pool) in pools.iter().enumerate() {
        let name = format!("LuaBalancerPool[{at}]");
        let numbers = [
            ("Members", pool.members.len()),
            ("Usable", pool.usable),
            ("InFlight", pool.inflight as usize),
            ("Queued", pool.queued as usize),
            ("Panic", usize::from(pool.panic)),
        ];
        put(&mut text, format_args!("{name}Name: {}\n", pool.name));
        for (key, value) in numbers {
            put(&mut text, format_args!("{name}{key}: {value}\n"));
        }
        for (number, member) in pool.members.iter().enumerate() {
            let name = format!("{name}Member[{number}]");
            put(&mut text, format_args!("{name}Name: {}\n", member.spec.name));
            put(&mut text, format_args!("{name}State: {}\n", member.state));
            put(&mut text, format_args!("{name}InFlight: {}\n", member.inflight));
            put(&mut text, format_args!("{name}Requests: {}\n", member.requests));
            put(&mut text, format_args!("{name}Failures: {}\n", member.failures));
        }
    }
    for (at, pool) in pools.iter().enumerate() {
        as_mod_proxy(&mut text, FIRST + at, pool);
    }
    text
}

/// The lines that mod_proxy has for a balancer.
fn as_mod_proxy(text: &mut String, at: usize, pool: &PoolState) {
    put(text, format_args!("ProxyBalancer[{at}]Name: lb://{}\n", pool.name));
    for (number, member) in pool.members.iter().enumerate() {
        let name = format!("ProxyBalancer[{at}]Worker[{number}]");
        put(text, format_args!("{name}Name: {}\n", member.spec.url));
        put(text, format_args!("{name}Status: {}\n", words(member)));
        put(text, format_args!("{name}Elected: {}\n", member.requests));
        put(text, format_args!("{name}Busy: {}\n", member.inflight));
        put(text, format_args!("{name}Sent: {}K\n", member.counts.sent_bytes >> 10));
        put(text, format_args!("{name}Rcvd: {}K\n", member.counts.received_bytes >> 10));
    }
}

/// A state in mod_proxy's words.
fn words(member: &MemberState) -> String {
    let has = |flag: Flag| member.why.iter().any(|cause| cause.flag == flag);
    let known = [
        (has(Flag::Disabled), "Dis "),
        (has(Flag::Stopped) || has(Flag::AgentMaint), "Stop "),
        (has(Flag::Ejected) || has(Flag::ForcedError), "Err "),
        (has(Flag::CheckDown), "HcFl "),
    ];
    let out: String = known.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    let draining = has(Flag::Draining) || has(Flag::AgentDrain) || has(Flag::NoWeight);
    let drain = if draining { "Drn " } else { "" };
    let end = if out.is_empty() { "Ok " } else { &out };
    format!("Init {drain}{end}")
}

fn tables(pools: &[PoolState]) -> String {
    let mut text = String::new();
    for pool in pools {
        put(&mut text, format_args!("<hr />\n<h1>Lua balancer pool {}</h1>\n", Marked(&pool.name)));
        put(
            &mut text,
            format_args!(
                "<p>{} of {} members usable, {} requests in flight, {} queued{}</p>\n",
                pool.usable,
                pool.members.len(),
                pool.inflight,
                pool.queued,
                if pool.panic { ", health is ignored: too few are healthy" } else { "" }
            ),
        );
        text.push_str(HEAD);
        for member in &pool.members {
            row(&mut text, member);
        }
        text.push_str("</table>\n");
    }
    text
}

const HEAD: &str = "<table border=\"0\"><tr><th>Member</th><th>URL</th><th>State</th><th>Weight</th><th>Set</th>\
                    <th>Busy</th><th>Acc</th><th>Fail</th><th>Wr</th><th>Rd</th></tr>\n";

fn row(text: &mut String, member: &MemberState) {
    let url = member.spec.url.to_string();
    let weight = member.weights.ordered;
    put(
        text,
        format_args!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}.{:02}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}K</td><td>{}K</td></tr>\n",
            Marked(&member.spec.name),
            Marked(&url),
            member.state,
            weight / 100,
            weight % 100,
            member.lbset,
            member.inflight,
            member.requests,
            member.failures,
            member.counts.sent_bytes >> 10,
            member.counts.received_bytes >> 10,
        ),
    );
}

fn put(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Text takes everything.
    let _ = text.write_fmt(more);
}

/// Text within markup.
struct Marked<'t>(&'t str);

impl std::fmt::Display for Marked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
