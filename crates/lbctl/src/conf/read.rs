// SPDX-License-Identifier: Apache-2.0
//! Our directives and mod_proxy's, by the crate that the module reads its own with.

use std::path::Path;

use balance::words;
use config::{At, Config, DIRECTIVES, Directive, Draft, Section, Standing, Statement, Surroundings};
use regex::Regex;

use super::patterns;
use super::site::{Host, Pass, Paths, Site, Spot};
use super::surroundings::Around;
use super::text::{self, Node, Text};

/// A configuration that was read.
#[derive(Debug, Clone)]
pub struct Read {
    /// The configuration that our directives make.
    pub config: Config,
    /// The settings by place.
    pub site: Site,
    /// The conditions that only httpd knows.
    pub unknown: Vec<String>,
}

/// Reads a configuration file.
pub fn read(file: &Path, defines: &[String]) -> Result<Read, String> {
    of_text(text::read(file, defines)?)
}

/// Reads a configuration that is in no file yet.
pub fn read_text(lines: &str) -> Result<Read, String> {
    of_text(text::of_lines(lines)?)
}

fn of_text(text: Text) -> Result<Read, String> {
    let mut reader = Reader { text: &text, draft: Draft::default(), unknown: text.unknown.clone() };
    let mut site = Site::default();
    reader.server(&text.nodes, (0, false), &mut site.main, &mut site.hosts)?;
    let mut unknown = reader.unknown;
    let config = reader.draft.finish()?;
    let unread = config.geo_files.iter().filter(|file| !file.path.is_file());
    unknown.extend(unread.map(|file| format!("LuaBalancerGeoIP of {}", file.place)));
    unknown.extend(keys_of_environment(&Around(&text)));
    Ok(Read { config, site, unknown })
}

struct Reader<'t> {
    text: &'t Text,
    draft: Draft,
    unknown: Vec<String>,
}

/// Ours, by name.
fn ours(name: &str) -> Option<&'static Directive> {
    DIRECTIVES.iter().find(|known| known.name().eq_ignore_ascii_case(name))
}

impl Reader<'_> {
    fn server(
        &mut self,
        nodes: &[Node],
        (number, virtual_host): (usize, bool),
        host: &mut Host,
        hosts: &mut Vec<Host>,
    ) -> Result<(), String> {
        let standing = Standing { in_virtual_host: virtual_host, in_section: false };
        for node in nodes {
            match (&node.inside, node.name.to_ascii_lowercase().as_str()) {
                (Some(inside), "virtualhost") => {
                    let addresses = words_of(&node.args);
                    let number = self.draft.new_server();
                    let mut own = Host { addresses, ..Host::default() };
                    self.server(inside, (number, true), &mut own, &mut Vec::new())?;
                    hosts.push(own);
                }
                (Some(inside), "luabalancerpool") => self.pool(node, inside, standing)?,
                (Some(inside), _) => self.spot(node, inside, (number, virtual_host), host)?,
                (None, "servername" | "serveralias") => {
                    let bare = |name: String| bare_name(&name);
                    host.names.extend(words_of(&node.args).into_iter().map(bare));
                }
                (None, name @ ("proxypass" | "proxypassmatch")) => {
                    host.passes.extend(pass(node, name.ends_with("match")));
                }
                (None, "rewriterule") if node.args.contains("lb://") => self.leave(node),
                (None, _) => self.ours(node, standing, (number, &mut host.section))?,
            }
        }
        Ok(())
    }

    fn leave(&mut self, node: &Node) {
        self.unknown.push(format!("{} {} of {}", node.name, node.args, node.place));
    }

    fn ours(
        &mut self,
        node: &Node,
        standing: Standing,
        (server, section): (usize, &mut Section<'static>),
    ) -> Result<(), String> {
        let Some(directive) = ours(&node.name) else {
            return if node.name.to_ascii_lowercase().starts_with("luabalancer") {
                Err(format!("{}: there is no directive {}", node.place, node.name))
            } else {
                Ok(())
            };
        };
        let wrong = |text: String| format!("{}: {text}", node.place);
        let statement = directive.read(standing, &node.args).map_err(wrong)?;
        let mut at = At { directive, place: node.place.clone(), server, section };
        self.draft.apply(statement, &mut at, &Around(self.text)).map_err(wrong)
    }

    fn pool(&mut self, node: &Node, inside: &[Node], standing: Standing) -> Result<(), String> {
        let wrong = |text: String| format!("{}: {text}", node.place);
        let directive = ours("LuaBalancerPool").ok_or("there is no directive of pools")?;
        let statement = directive.read(standing, &format!("{}>", node.args)).map_err(wrong)?;
        let Statement::Pool(name) = statement else { return Ok(()) };
        let names: Vec<(String, u32)> =
            inside.iter().map(|node| (node.name.clone(), node.place.line)).collect();
        let opened = self.draft.open_pool(&name, node.place.clone(), &names);
        opened.map_err(|text| wrong(directive.named(&text)))?;
        let mut section = Section::default();
        for line in inside.iter().filter(|line| ours(&line.name).is_some_and(Directive::is_of_pools)) {
            self.ours(line, standing, (0, &mut section))?;
        }
        self.draft.close_pool(Ok(())).map_err(wrong)
    }

    fn spot(
        &mut self,
        node: &Node,
        inside: &[Node],
        (server, in_virtual_host): (usize, bool),
        host: &mut Host,
    ) -> Result<(), String> {
        let mut spot = Spot {
            written: format!("<{} {}>", node.name, node.args),
            paths: paths(node),
            section: Section::default(),
            target: None,
        };
        let standing = Standing { in_virtual_host, in_section: true };
        for line in inside {
            match (&line.inside, line.name.to_ascii_lowercase().as_str()) {
                (Some(_), "luabalancerpool") => {
                    return Err(format!(
                        "{}: <{}> belongs outside of <{}>",
                        line.place, line.name, node.name
                    ));
                }
                (Some(more), _) => self.spot(line, more, (server, in_virtual_host), host)?,
                (None, "sethandler") => {
                    let handler = words_of(&line.args).into_iter().next().unwrap_or_default();
                    spot.target = handler.strip_prefix("proxy:").map(str::to_owned);
                }
                (None, "proxypass" | "proxypassmatch") => {
                    spot.target = words_of(&line.args).into_iter().next().filter(|target| target != "!");
                }
                (None, "rewriterule") if line.args.contains("lb://") => self.leave(line),
                (None, _) => self.ours(line, standing, (server, &mut spot.section))?,
            }
        }
        let says = spot.target.is_some()
            || [spot.section.translate, spot.section.select, spot.section.finish].iter().any(Option::is_some);
        if says && matches!(spot.paths, Paths::Unknown) {
            self.unknown.push(format!("{} of {}", spot.written, node.place));
        }
        host.spots.push(spot);
        Ok(())
    }
}

/// Lines that set variables which keys of methods are made of.
fn keys_of_environment(around: &Around<'_>) -> Vec<String> {
    let methods = around.lines("LuaBalancerMethod").join(" ").to_ascii_lowercase();
    let is_key = |word: &String| {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        methods.contains(&format!("env:{}}}", name.to_ascii_lowercase()))
    };
    let lines = around.lines("SetEnvIfExpr").into_iter();
    let of_keys = lines.filter(|line| words_of(line).iter().skip(1).any(is_key));
    of_keys.map(|line| format!("SetEnvIfExpr {line}")).collect()
}

fn words_of(args: &str) -> Vec<String> {
    words::split(args).unwrap_or_else(|_| args.split_whitespace().map(str::to_owned).collect())
}

/// A ServerName without scheme and port.
fn bare_name(name: &str) -> String {
    let name = name.rsplit("://").next().unwrap_or(name);
    name.split_once(':').map_or(name, |(bare, _)| bare).to_ascii_lowercase()
}

fn matching(pattern: &str) -> Paths {
    Regex::new(pattern).map_or(Paths::Unknown, Paths::Match)
}

fn paths(node: &Node) -> Paths {
    let all = words_of(&node.args);
    match (node.name.to_ascii_lowercase().as_str(), all.as_slice()) {
        ("location", [tilde, pattern]) if tilde == "~" => matching(pattern),
        ("locationmatch", [pattern]) => matching(pattern),
        ("location", [path]) if patterns::has_wildcards(path) => {
            patterns::wildcard(path).map_or(Paths::Unknown, Paths::Match)
        }
        ("location", [path]) => Paths::Below(path.clone()),
        _ => Paths::Unknown,
    }
}

fn pass(node: &Node, by_pattern: bool) -> Option<Pass> {
    let all = words_of(&node.args);
    let [path, target, ..] = all.as_slice() else { return None };
    let paths = if by_pattern { matching(path) } else { Paths::Start(path.clone()) };
    let written = format!("{} {path} {target}", node.name);
    Some(Pass { paths, target: target.clone(), written })
}
