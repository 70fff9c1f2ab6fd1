// SPDX-License-Identifier: Apache-2.0
//! The selection of members: `POOL/MEMBER`, with wildcards, or all at an address.

use balance::url::MemberUrl;
use regex::Regex;

use super::args::Which;
use super::model::{SeenMember, SeenPool};
use crate::out::{Exit, Failure};

/// A text with `*` and `?`, or one that is meant as it is.
#[derive(Debug, Clone)]
enum Name {
    Exact(String),
    Pattern(Regex),
}

/// One argument that selects members.
#[derive(Debug, Clone)]
pub enum Selection {
    /// `POOL/MEMBER`, or `POOL` for all of it; as written.
    Named {
        /// As written.
        written: String,
        /// The pool.
        pool: Pattern,
        /// The member.
        member: Option<Pattern>,
    },
    /// All at a host, and a port.
    At(String, Option<u16>),
}

/// A name, or a pattern of names.
#[derive(Debug, Clone)]
pub struct Pattern(Name);

impl Pattern {
    /// Reads a pattern. Names of pools are the same in any case.
    pub fn new(text: &str, any_case: bool) -> Self {
        let case = if any_case { "(?i)" } else { "" };
        if !text.contains(['*', '?']) {
            return Pattern(Name::Exact(if any_case { text.to_lowercase() } else { text.to_owned() }));
        }
        let inner = regex::escape(text).replace("\\*", ".*").replace("\\?", ".");
        let regex = Regex::new(&format!("(?s){case}^{inner}$"));
        Pattern(regex.map_or_else(|_| Name::Exact(text.to_owned()), Name::Pattern))
    }

    fn fits(&self, name: &str, any_case: bool) -> bool {
        match &self.0 {
            Name::Exact(own) if any_case => *own == name.to_lowercase(),
            Name::Exact(own) => own == name,
            Name::Pattern(regex) => regex.is_match(name),
        }
    }
}

impl Selection {
    /// `POOL/MEMBER`; the first slash parts them.
    pub fn member(text: &str) -> Result<Self, Failure> {
        match text.split_once('/') {
            Some((pool, member)) if !pool.is_empty() && !member.is_empty() => {
                Ok(Self::named(text, pool, Some(member)))
            }
            _ => Err(Failure::usage(format!(
                "'{text}': expected POOL/MEMBER, for example app/a, 'app/*' or '*/a'"
            ))),
        }
    }

    /// `POOL` or `POOL/MEMBER`.
    pub fn pool_or_member(text: &str) -> Result<Self, Failure> {
        if text.contains('/') { Self::member(text) } else { Ok(Self::named(text, text, None)) }
    }

    fn named(written: &str, pool: &str, member: Option<&str>) -> Self {
        Selection::Named {
            written: written.to_owned(),
            pool: Pattern::new(pool, true),
            member: member.map(|member| Pattern::new(member, false)),
        }
    }

    /// `HOST[:PORT]`.
    pub fn address(text: &str) -> Result<Self, Failure> {
        let wrong = || Failure::usage(format!("--address {text}: expected HOST or HOST:PORT"));
        let port = |port: &str| port.parse::<u16>().map_err(|_| wrong());
        let plain = |host: &str| host.trim_matches(['[', ']']).to_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, digits)) if !host.contains(':') || host.ends_with(']') => (host, Some(port(digits)?)),
            _ => (text, None),
        };
        if host.is_empty() { Err(wrong()) } else { Ok(Selection::At(plain(host), port)) }
    }

    /// All that the command line names.
    pub fn all(which: &Which) -> Result<Vec<Self>, Failure> {
        match &which.address {
            Some(address) => Ok(vec![Self::address(address)?]),
            None => which.members.iter().map(|text| Self::member(text)).collect(),
        }
    }

    /// Whether the pool fits.
    pub fn has_pool(&self, pool: &SeenPool) -> bool {
        match self {
            Selection::Named { pool: pattern, .. } => pattern.fits(&pool.name, true),
            Selection::At(..) => true,
        }
    }

    /// Whether the member of a pool that fits is meant.
    pub fn has_member(&self, member: &SeenMember) -> bool {
        match self {
            Selection::Named { member: pattern, .. } => {
                pattern.as_ref().is_none_or(|pattern| pattern.fits(&member.name, false))
            }
            Selection::At(host, port) => MemberUrl::parse(&member.url).is_ok_and(|url| {
                url.socket.is_none() && url.host == *host && port.is_none_or(|port| port == url.port)
            }),
        }
    }

    /// The members that are meant, each once and in order of the pools.
    pub fn members<'p>(
        all: &[Self],
        pools: &'p [SeenPool],
        server: &str,
    ) -> Result<Vec<&'p SeenMember>, Failure> {
        for one in all {
            one.vet(pools, server)?;
        }
        let meant = |pool: &SeenPool, member: &SeenMember| {
            all.iter().any(|one| one.has_pool(pool) && one.has_member(member))
        };
        let of_pool = |pool: &'p SeenPool| pool.members.iter().filter(move |member| meant(pool, member));
        Ok(pools.iter().flat_map(of_pool).collect())
    }

    /// Whether there is something of it.
    pub fn vet(&self, pools: &[SeenPool], server: &str) -> Result<(), Failure> {
        let known: Vec<&SeenPool> = pools.iter().filter(|pool| self.has_pool(pool)).collect();
        let none = |text: String| Err(Failure { exit: Exit::Refused, text: format!("{server}: {text}") });
        match self {
            Selection::Named { written, .. } if known.is_empty() => {
                let name = written.split('/').next().unwrap_or_default();
                none(format!("no pool {name}{}", list(pools.iter().map(|pool| pool.name.as_str()))))
            }
            Selection::Named { member: None, .. } => Ok(()),
            Selection::Named { written, .. } => {
                let all = || known.iter().flat_map(|pool| &pool.members);
                if all().any(|member| self.has_member(member)) {
                    return Ok(());
                }
                let known: Vec<String> = all().map(SeenMember::full).collect();
                none(format!("no member {written}{}", list(known.iter().map(String::as_str))))
            }
            Selection::At(host, port) => {
                if known.iter().flat_map(|pool| &pool.members).any(|member| self.has_member(member)) {
                    return Ok(());
                }
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                none(format!("no member at {host}{port}"))
            }
        }
    }
}

/// Some of the names that there are.
fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = names.collect();
    let more = names.len() > 12;
    names.truncate(12);
    if names.is_empty() {
        return "; there is none at all".into();
    }
    format!(
        "; there {} {}{}",
        if names.len() == 1 { "is" } else { "are" },
        names.join(", "),
        if more { ", …" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::Selection;
    use crate::live::model::{SeenMember, SeenPool};

    fn pools() -> Vec<SeenPool> {
        let member = |pool: &str, name: &str, url: &str| SeenMember {
            pool: pool.into(),
            name: name.into(),
            url: url.into(),
            ..SeenMember::default()
        };
        let pool = |name: &str, members: Vec<SeenMember>| SeenPool {
            name: name.into(),
            members,
            ..SeenPool::default()
        };
        vec![
            pool(
                "app",
                vec![member("app", "a", "http://10.0.0.1"), member("app", "[::1]:80", "http://[::1]")],
            ),
            pool(
                "Api",
                vec![member("Api", "a", "http://10.0.0.1:8080"), member("Api", "b", "http://B.example")],
            ),
        ]
    }

    fn meant(selection: Result<Selection, crate::out::Failure>) -> Vec<String> {
        let pools = pools();
        let found = selection.and_then(|one| {
            Ok(Selection::members(&[one], &pools, "lb")?.into_iter().map(SeenMember::full).collect())
        });
        found.unwrap_or_else(|failure| vec![failure.text])
    }

    #[test]
    fn members_are_found_by_names_patterns_and_addresses() {
        let named = |text: &str| meant(Selection::member(text));
        assert_eq!(named("app/a"), ["app/a"]);
        assert_eq!(named("API/b"), ["Api/b"]);
        assert_eq!(named("*/a"), ["app/a", "Api/a"]);
        assert_eq!(named("a??/*"), ["app/a", "app/[::1]:80", "Api/a", "Api/b"]);
        assert_eq!(named("app/[::1]:80"), ["app/[::1]:80"]);
        assert_eq!(named("app/A"), ["lb: no member app/A; there are app/a, app/[::1]:80"]);
        assert_eq!(named("x/a"), ["lb: no pool x; there are app, Api"]);
        assert!(Selection::member("app").is_err() && Selection::member("/a").is_err());
        let at = |text: &str| meant(Selection::address(text));
        assert_eq!(at("10.0.0.1"), ["app/a", "Api/a"]);
        assert_eq!(at("10.0.0.1:8080"), ["Api/a"]);
        assert_eq!(at("b.EXAMPLE"), ["Api/b"]);
        assert_eq!(at("[::1]:80"), ["app/[::1]:80"]);
        assert_eq!(at("::1"), ["app/[::1]:80"]);
        assert!(Selection::address("10.0.0.1:x").is_err() && Selection::address("").is_err());
    }
}
