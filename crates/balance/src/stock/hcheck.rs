// SPDX-License-Identifier: Apache-2.0
//! The keys of mod_proxy_hcheck at a member's line. A pool has one check for all its members, so
//! they are taken where they say one thing.

use super::hcexpr;
use crate::directives::health;
use crate::error::ParseError;
use crate::settings::{CheckKind, HealthCheck};
use crate::units;
use crate::url::MemberUrl;

/// The keys of mod_proxy_hcheck.
pub const KEYS: &[&str] = &["hcmethod", "hcuri", "hcinterval", "hcpasses", "hcfails", "hcexpr", "hctemplate"];
/// mod_proxy_hcheck's own default.
const INTERVAL_MS: u64 = 30_000;
/// Templates may name templates.
const DEEPEST: u32 = 8;

/// mod_proxy_hcheck's own lines beside the members.
#[derive(Clone, Copy)]
pub struct Known<'t> {
    /// Finds the `key=value` words of a `ProxyHCTemplate` by its name.
    pub template: &'t dyn Fn(&str) -> Option<Vec<String>>,
    /// Finds the text of a `ProxyHCExpr` by its name.
    pub expression: &'t dyn Fn(&str) -> Option<String>,
}

/// The keys of a member. The default is mod_proxy_hcheck's: no check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    method: Method,
    uri: String,
    interval_ms: u64,
    passes: u32,
    fails: u32,
    /// Name and text.
    expr: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    None,
    Tcp,
    Options,
    Head,
    Get,
    Cping,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            method: Method::None,
            uri: String::new(),
            interval_ms: INTERVAL_MS,
            passes: 1,
            fails: 1,
            expr: None,
        }
    }
}

/// Whether a `key=value` word has one of these keys.
pub fn is_key(word: &str) -> bool {
    word.split_once('=').is_some_and(|(key, _)| KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)))
}

impl Keys {
    /// Reads `key=value` words, as mod_proxy_hcheck reads them: one after the other.
    pub fn read(words: &[String], known: Known<'_>) -> Result<Self, ParseError> {
        let mut keys = Keys::default();
        keys.read_all(words, known, 0)?;
        Ok(keys)
    }

    fn read_all(&mut self, words: &[String], known: Known<'_>, depth: u32) -> Result<(), ParseError> {
        for word in words {
            let (key, value) =
                word.split_once('=').ok_or_else(|| ParseError::word(word, "hcmethod=HEAD or its like"))?;
            match key.to_ascii_lowercase().as_str() {
                "hctemplate" => {
                    let found = (known.template)(value).filter(|_| depth < DEEPEST);
                    let words = found
                        .ok_or_else(|| ParseError::value(key, value, "the name of a ProxyHCTemplate"))?;
                    // A template's own default is a check of the connection.
                    *self = Keys { method: Method::Tcp, ..Keys::default() };
                    self.read_all(&words, known, depth + 1)?;
                }
                "hcexpr" => {
                    let text = (known.expression)(value);
                    let text =
                        text.ok_or_else(|| ParseError::value(key, value, "the name of a ProxyHCExpr"))?;
                    self.expr = Some((value.to_owned(), text));
                }
                lower => self.set(lower, value)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ParseError> {
        let count = || {
            let number = units::digits_only(value).filter(|number| *number <= 1000);
            number
                .map(|number| (number as u32).max(1))
                .ok_or_else(|| ParseError::value(key, value, "a number of 1 to 1000"))
        };
        match key {
            "hcmethod" => self.method = method(key, value)?,
            "hcuri" => value.clone_into(&mut self.uri),
            "hcinterval" => {
                let ms = units::duration_ms(value).ok().filter(|ms| *ms >= 100);
                self.interval_ms =
                    ms.ok_or_else(|| ParseError::value(key, value, "at least 100ms, for example 10s"))?;
            }
            "hcpasses" => self.passes = count()?,
            "hcfails" => self.fails = count()?,
            _ => return Err(ParseError::unknown_key(key, KEYS)),
        }
        Ok(())
    }

    /// The pool's check that does the same for this member; None for no check. Err: why there is
    /// none, and the line to write.
    fn check(&self, member: &MemberUrl) -> Result<Option<HealthCheck>, String> {
        let Some(mut check) = self.nearest(member) else { return Ok(None) };
        let line = health::write(&check);
        let wanted = self.expr.as_ref().filter(|_| check.kind != CheckKind::Tcp);
        let wanted = wanted.map(|(name, text)| (name, text, hcexpr::read(text)));
        if let Some((name, text, None)) = wanted {
            return Err(format!(
                "hcexpr={name} ({text}) has no like here: expected {line} with expect= for statuses, as in expect=200-399, or \
                 body=\"regex\" or not_body=\"regex\", in the pool"
            ));
        }
        if let Some((_, _, Some(wanted))) = wanted {
            (check.expect, check.body, check.not_body) = (wanted.expect, wanted.body, wanted.not_body);
        }
        let line = health::write(&check);
        match self.method {
            Method::Cping => Err(format!("hcmethod=CPING has no like here: expected {line} in the pool")),
            Method::Options | Method::Head | Method::Get if member.is_secure() => Err(format!(
                "here such a check looks at the certificate, whatever SSLProxyVerify says: expected {line} in the pool, with \
                 verify=off or ca=FILE where the system's own authorities do not know it"
            )),
            Method::Options | Method::Head | Method::Get if !member.speaks_http() => {
                Err(format!("{} backends speak no HTTP: expected {line} in the pool", member.scheme))
            }
            _ => Ok(Some(check)),
        }
    }

    fn nearest(&self, member: &MemberUrl) -> Option<HealthCheck> {
        let asks = matches!(self.method, Method::Options | Method::Head | Method::Get);
        let kind = match self.method {
            Method::None => return None,
            _ if !asks || !member.speaks_http() => CheckKind::Tcp,
            _ if member.is_secure() => CheckKind::Https,
            _ => CheckKind::Http,
        };
        let mut check = HealthCheck::new(kind);
        (check.interval_ms, check.rise, check.fall) = (self.interval_ms, self.passes, self.fails);
        if kind != CheckKind::Tcp {
            self.method.word().clone_into(&mut check.method);
            check.uri = match self.method {
                Method::Options => "*".to_owned(),
                _ => format!("/{}", self.uri.strip_prefix('/').unwrap_or(&self.uri)),
            };
        }
        Some(check)
    }
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Method::Options => "OPTIONS",
            Method::Head => "HEAD",
            _ => "GET",
        }
    }
}

fn method(key: &str, value: &str) -> Result<Method, ParseError> {
    Ok(match value.to_ascii_uppercase().as_str() {
        "NONE" => Method::None,
        "TCP" => Method::Tcp,
        "OPTIONS" | "OPTIONS11" => Method::Options,
        "HEAD" | "HEAD11" => Method::Head,
        "GET" | "GET11" => Method::Get,
        "CPING" => Method::Cping,
        _ => {
            return Err(ParseError::value(
                key,
                value,
                "TCP, OPTIONS, HEAD, GET, OPTIONS11, HEAD11, GET11 or none",
            ));
        }
    })
}

/// The one check that the members' keys say; `own`: the pool has a check already. Err: the number
/// of the member whose line is wrong, and why.
pub fn of_pool(members: &[(Keys, &MemberUrl)], own: bool) -> Result<Option<HealthCheck>, (usize, String)> {
    let mut all = Vec::with_capacity(members.len());
    for (at, (keys, url)) in members.iter().enumerate() {
        if own && keys.method != Method::None {
            let what =
                "the pool's LuaBalancerHealthCheck says it: expected no hcmethod= and its like beside it";
            return Err((at, what.to_owned()));
        }
        all.push(keys.check(url).map_err(|why| (at, why))?);
    }
    let Some(first) = all.iter().flatten().next() else { return Ok(None) };
    if let Some(other) = all.iter().position(|check| check.as_ref() != Some(first)) {
        let line = health::write(first);
        let what = format!(
            "its hcmethod= and the like differ from those of the pool's other members, and a pool has one check for all: \
             expected {line} in the pool instead"
        );
        return Err((other, what));
    }
    Ok(Some(first.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    fn template(name: &str) -> Option<Vec<String>> {
        let line = match name {
            "tcp5" => "hcinterval=5",
            "head" => "hcmethod=HEAD hcuri=/ok hcpasses=2 hcfails=4",
            "twice" => "hctemplate=head hcfails=7",
            "itself" => "hctemplate=itself",
            _ => return None,
        };
        words::split(line).ok()
    }

    fn expression(name: &str) -> Option<String> {
        let text = match name {
            "ok" => "%{REQUEST_STATUS} =~ /^[234]/",
            "maintained" => "hc('body') !~ /Under maintenance/",
            "odd" => "%{HTTP:X-Up} == 'yes'",
            _ => return None,
        };
        Some(text.to_owned())
    }

    const KNOWN: Known<'static> = Known { template: &template, expression: &expression };

    fn pool(members: &[(&str, &str)], own: bool) -> Result<Option<String>, (usize, String)> {
        let parsed: Vec<(Keys, MemberUrl)> = members
            .iter()
            .map(|(url, line)| {
                let keys = Keys::read(&words::split(line).unwrap(), KNOWN).unwrap();
                (keys, MemberUrl::parse(url).unwrap())
            })
            .collect();
        let lent: Vec<(Keys, &MemberUrl)> = parsed.iter().map(|(keys, url)| (keys.clone(), url)).collect();
        of_pool(&lent, own).map(|check| check.map(|check| health::write(&check)))
    }

    #[test]
    fn keys_with_one_meaning_are_the_pools_check() {
        for (line, check) in [
            ("hcmethod=TCP", "LuaBalancerHealthCheck tcp interval=30s rise=1 fall=1"),
            ("hcMethod=tcp hcinterval=500ms", "LuaBalancerHealthCheck tcp interval=500ms rise=1 fall=1"),
            ("hctemplate=tcp5", "LuaBalancerHealthCheck tcp rise=1 fall=1"),
            (
                "hcmethod=HEAD hcuri=/health hcinterval=10 hcpasses=2 hcfails=3",
                "LuaBalancerHealthCheck http interval=10s uri=/health method=HEAD",
            ),
            ("hcmethod=GET11 hcuri=ok", "LuaBalancerHealthCheck http interval=30s rise=1 fall=1 uri=/ok"),
            (
                "hcmethod=GET hcexpr=ok hcinterval=5",
                "LuaBalancerHealthCheck http rise=1 fall=1 expect=200-499",
            ),
            (
                "hcmethod=GET hcexpr=maintained hcinterval=5",
                "LuaBalancerHealthCheck http rise=1 fall=1 expect=100-599 not_body=\"Under maintenance\"",
            ),
            ("hcmethod=TCP hcexpr=odd hcinterval=5", "LuaBalancerHealthCheck tcp rise=1 fall=1"),
            ("hctemplate=twice hcinterval=5", "LuaBalancerHealthCheck http fall=7 uri=/ok method=HEAD"),
        ] {
            let found = pool(&[("http://h:1/a", line), ("http://h:2/b", line)], false);
            assert_eq!(found, Ok(Some(check.to_owned())), "{line}");
        }
        let options = pool(&[("http://h", "hcmethod=OPTIONS hcinterval=5 hcpasses=2 hcfails=3")], false);
        assert_eq!(options, Ok(Some("LuaBalancerHealthCheck http uri=* method=OPTIONS".to_owned())));
        assert_eq!(pool(&[("http://h", "hcinterval=5"), ("http://i", "")], false), Ok(None));
        assert_eq!(
            pool(&[("https://h", "hcmethod=TCP hcinterval=5 hcpasses=2 hcfails=3")], false)
                .map(|check| check.is_some()),
            Ok(true)
        );
    }

    #[test]
    fn keys_with_another_meaning_name_the_line_to_write() {
        let line = "LuaBalancerHealthCheck http";
        for (members, at, parts) in [
            (vec![("http://h", "hcmethod=GET"), ("http://i", "")], 1, [line, "one check"]),
            (vec![("http://h", ""), ("http://i", "hcmethod=GET")], 0, [line, "one check"]),
            (vec![("http://h", "hcmethod=GET"), ("http://i", "hcmethod=GET hcfails=2")], 1, [line, "differ"]),
            (vec![("http://h", "hcmethod=GET hcexpr=odd")], 0, [line, "expect="]),
            (vec![("https://h", "hcmethod=GET hcuri=/x")], 0, ["LuaBalancerHealthCheck https", "verify=off"]),
            (vec![("ajp://h", "hcmethod=CPING")], 0, ["CPING", "LuaBalancerHealthCheck tcp"]),
            (vec![("fcgi://h", "hcmethod=GET")], 0, ["no HTTP", "LuaBalancerHealthCheck tcp"]),
        ] {
            let (found, why) = pool(&members, false).expect_err("refused");
            assert_eq!(found, at, "{members:?}: {why}");
            assert!(parts.iter().all(|part| why.contains(part)), "{members:?}: {why}");
        }
        assert!(pool(&[("http://h", "hcmethod=GET")], true).is_err());
        for line in [
            "hcmethod=PING",
            "hcinterval=fast",
            "hcpasses=x",
            "hctemplate=none",
            "hcexpr=none",
            "hctemplate=itself",
            "hcx=1",
        ] {
            let words = words::split(line).unwrap();
            let error = Keys::read(&words, KNOWN).expect_err(line).to_string();
            assert!(error.contains("expected"), "{line}: {error}");
        }
    }
}
