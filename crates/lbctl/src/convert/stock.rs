// SPDX-License-Identifier: Apache-2.0
//! Parameters of a balancer and checks of its members, which mod_proxy_balancer and
//! mod_proxy_hcheck take from several lines, as lines of a pool.

use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::stock::hcheck::{self, Keys, Known};
use balance::units;
use config::Surroundings as _;

use super::pool::PoolBlock;
use crate::conf::surroundings::Around;
use crate::conf::text::{Node, Text};

/// The lines of a balancer, gathered.
pub struct Gathered<'n> {
    name: String,
    /// The virtual host that it is in; None: the server as a whole.
    host: Option<&'n Node>,
    /// Keys and values, in order. The last one of a key holds.
    parameters: Vec<(String, String)>,
    members: Vec<Member>,
}

/// A member, and its words for mod_proxy_hcheck.
struct Member {
    spec: MemberSpec,
    url: String,
    words: Vec<String>,
}

/// The named checks of a configuration.
pub struct NamedChecks {
    templates: Vec<String>,
    expressions: Vec<String>,
}

impl NamedChecks {
    /// The named checks of a whole text.
    pub fn of(text: &Text) -> Self {
        let around = Around(text);
        NamedChecks { templates: around.lines("ProxyHCTemplate"), expressions: around.lines("ProxyHCExpr") }
    }
}

impl<'n> Gathered<'n> {
    /// Nothing yet, of a balancer of this name.
    pub fn new(name: &str, host: Option<&'n Node>) -> Self {
        Gathered { name: name.to_owned(), host, parameters: Vec::new(), members: Vec::new() }
    }

    /// Whether it is the balancer of this name in this virtual host.
    pub fn is_of(&self, name: &str, host: Option<&Node>) -> bool {
        let place = |node: &Node| node.place.clone();
        self.name == name && self.host.map(place) == host.map(place)
    }

    /// A parameter of the balancer, with its key in small letters.
    pub fn parameter(&mut self, key: &str, value: &str) {
        self.parameters.retain(|(known, _)| known != key);
        self.parameters.push((key.to_owned(), value.to_owned()));
    }

    /// A member, with those of its keys that are mod_proxy_hcheck's. A member whose URL
    /// cannot be read is left out.
    pub fn member(&mut self, url: &str, keys: &[(String, String)]) {
        let words = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if let Ok(spec) = MemberSpec::from_line(url) {
            self.members.push(Member { spec, url: url.to_owned(), words });
        }
    }

    /// Writes all of it into the pool.
    pub fn settle(&self, named: &NamedChecks, pool: &mut PoolBlock) {
        self.checks(named, pool);
        self.sticky(pool);
        self.failures(pool);
        for (key, value) in &self.parameters {
            parameter(pool, key, value);
        }
    }

    fn value(&self, wanted: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str())
    }

    /// The one check of the pool, as the module makes it of the same words at its member lines.
    fn checks(&self, named: &NamedChecks, pool: &mut PoolBlock) {
        let lost = |pool: &mut PoolBlock, why: &str| {
            for member in self.members.iter().filter(|member| !member.words.is_empty()) {
                pool.comment(&format!("{} {}: {why}", member.url, member.words.join(" ")));
            }
        };
        let known = Known {
            template: &|name| config::check_template(&named.templates, name),
            expression: &|name| config::check_expression(&named.expressions, name),
        };
        let mut read = Vec::with_capacity(self.members.len());
        for member in &self.members {
            match Keys::read(&member.words, known) {
                Ok(keys) => read.push((keys, &member.spec.url)),
                Err(error) => {
                    return lost(pool, &format!("no check is written, for {}: {error}", member.url));
                }
            }
        }
        match hcheck::of_pool(&read, false) {
            Ok(None) => lost(pool, "there is no check without hcmethod="),
            Ok(health) => {
                let settings = PoolSettings { health, ..PoolSettings::default() };
                if let Err(error) = pool.settle(&settings) {
                    lost(pool, &format!("no check is written: {error}"));
                }
            }
            Err((at, why)) => {
                let url = self.members.get(at).map_or("", |member| &member.url);
                lost(pool, &format!("no check is written, for {url}: {why}"));
            }
        }
    }

    fn sticky(&self, pool: &mut PoolBlock) {
        let forced = self.value("nofailover").and_then(units::switch).unwrap_or(false);
        let Some(value) = self.value("stickysession") else {
            if forced {
                pool.comment("nofailover=On has no meaning without stickysession=");
            }
            return;
        };
        let (cookie, param) = value.split_once('|').unwrap_or((value, value));
        let (cookie, param) = (format!("cookie={cookie}"), format!("param={param}"));
        let mut words = vec![cookie.as_str(), &param];
        words.extend(forced.then_some("force=on"));
        pool.set("LuaBalancerSticky", &words, &format!("stickysession={value}"));
        pool.comment("the pool sets the session's cookie itself where the application does not");
    }

    /// `failonstatus=` and `failontimeout=`, as the module reads the two at one line.
    fn failures(&self, pool: &mut PoolBlock) {
        let mut settings = PoolSettings::default();
        let mut said = Vec::new();
        for key in ["failonstatus", "failontimeout"] {
            let Some(value) = self.value(key) else { continue };
            let word = format!("{key}={value}");
            match PoolSettings::default().set_directive("LuaBalancerSet", std::slice::from_ref(&word)) {
                Ok(()) => said.push(word),
                Err(error) => pool.comment(&error.to_string()),
            }
        }
        let done = match said.is_empty() {
            true => Ok(()),
            false => settings.set_directive("LuaBalancerSet", &said).and_then(|()| pool.settle(&settings)),
        };
        match done {
            Ok(()) => {}
            Err(error) => pool.comment(&format!("{}: {error}", said.join(" "))),
        }
    }
}

/// A parameter that stands for itself.
fn parameter(pool: &mut PoolBlock, key: &str, value: &str) {
    let from = format!("{key}={value}");
    match (key, value.to_ascii_lowercase().as_str()) {
        ("stickysession" | "failonstatus" | "failontimeout", _) | ("nofailover", "on" | "off") => {}
        ("lbmethod", "byrequests") => pool.set("LuaBalancerMethod", &["round_robin"], &from),
        ("lbmethod", "bybusyness") => pool.set("LuaBalancerMethod", &["least_connections"], &from),
        ("lbmethod", "heartbeat") => pool.comment(
            "lbmethod=heartbeat has no counterpart: round_robin in its place; with LuaBalancerHealthCheck \
             agent a member says its own weight",
        ),
        ("lbmethod", _) => pool.comment(&format!(
            "{from} has no counterpart: round_robin in its place; least_connections and least_latency weigh \
             the work that members have now"
        )),
        ("maxattempts", _) => pool.set("LuaBalancerSet", &[&format!("retries={value}")], &from),
        ("timeout", _) => pool.set("LuaBalancerSet", &[&format!("queue={value}")], &from),
        ("stickysessionsep", "." | "off") => {}
        // The module refuses these, and says the line to write.
        _ => match PoolSettings::default().set_directive("LuaBalancerSet", std::slice::from_ref(&from)) {
            Ok(()) => pool.comment(&format!("{from} has no counterpart")),
            Err(error) => pool.comment(&error.to_string()),
        },
    }
}
