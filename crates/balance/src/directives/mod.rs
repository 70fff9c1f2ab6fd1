// SPDX-License-Identifier: Apache-2.0
//! The directives inside `<LuaBalancerPool>`, read into [`PoolSettings`] and written back, and the
//! same settings as a script's pool definition names them.

pub(crate) mod consul_source;
pub(crate) mod discovery;
pub(crate) mod dns_source;
pub(crate) mod etcd_source;
mod failures;
pub(crate) mod health;
pub(crate) mod http_source;
pub(crate) mod kubernetes_source;
pub(crate) mod lua_source;
pub(crate) mod method;
pub(crate) mod outlier;
pub(crate) mod set;
mod share;
pub(crate) mod source_place;
pub(crate) mod sticky;
#[cfg(test)]
mod tests;
mod values;

use crate::error::ParseError;
use crate::settings::PoolSettings;
use crate::stock::parameters;
use crate::words;

const DIRECTIVES: [&str; 7] = [
    method::DIRECTIVE,
    health::DIRECTIVE,
    outlier::DIRECTIVE,
    sticky::DIRECTIVE,
    set::DIRECTIVE,
    discovery::DIRECTIVE,
    share::DIRECTIVE,
];
/// Keys of a script's pool definition that stand outside of its groups.
const OPTIONS: [&str; 11] = [
    "method",
    "key",
    "balance_factor",
    "retries",
    "retry_on",
    "zone",
    "panic",
    "slow_start",
    "on_empty",
    "reverse",
    "queue",
];

impl PoolSettings {
    /// Takes one directive with its arguments, as [`words::split`] makes them. On an error nothing
    /// is changed.
    pub fn set_directive(&mut self, directive: &str, words: &[String]) -> Result<(), ParseError> {
        self.take(directive, words, false)
    }

    /// All settings as directives, one a line; defaults are left out. [`PoolSettings::from_text`]
    /// reads it back exactly.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(method::write(&self.method, self.key.as_deref()));
        lines.extend(self.health.as_ref().map(health::write));
        lines.extend(outlier::write(&self.outlier));
        lines.extend(self.sticky.as_ref().map(sticky::write));
        lines.extend(set::write(&self.set));
        lines.extend(self.discovery.iter().map(discovery::write));
        lines.extend(self.share.as_ref().map(share::write));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Reads what [`PoolSettings::to_text`] wrote.
    pub fn from_text(text: &str) -> Result<Self, ParseError> {
        let mut settings = PoolSettings::default();
        for line in text.lines() {
            let line = words::split(line)?;
            if let Some((directive, words)) = line.split_first() {
                settings.take(directive, words, true)?;
            }
        }
        Ok(settings)
    }

    /// Takes one setting of a script's pool definition: `group` is `""`, `health`, `outlier` or
    /// `sticky`. `method` comes before `balance_factor`, `type` before the other keys of `health`;
    /// [`PoolSettings::check`] comes after the last.
    pub fn set_option(&mut self, group: &str, key: &str, value: &str) -> Result<(), ParseError> {
        match (group, key) {
            ("", "method") => {
                let words = words::split(value)?;
                let (method, hash_key) = method::read(&words, false)?;
                self.method = method;
                if hash_key.is_some() {
                    self.key = hash_key;
                }
                Ok(())
            }
            ("", "key") => {
                self.key = Some(values::line(key, value)?);
                Ok(())
            }
            ("", "balance_factor") => method::set_balance_factor(&mut self.method, value),
            ("", key) if OPTIONS.contains(&key) => set::set(&mut self.set, key, value),
            ("", key) => Err(ParseError::unknown_key(key, &OPTIONS)),
            ("health", "type") => {
                self.health = health::of_type(value)?;
                Ok(())
            }
            ("health", key) => match &mut self.health {
                Some(check) => health::set(check, key, value),
                None => Err(ParseError::word(
                    key,
                    "the check's type before its other keys, for example type=http",
                )),
            },
            ("outlier", "on") => {
                self.outlier.on = values::switch(key, value)?;
                Ok(())
            }
            ("outlier", key) => outlier::set(&mut self.outlier, key, value),
            ("sticky", key) => {
                let mut sticky = self.sticky.take().unwrap_or_default();
                let done = sticky::set(&mut sticky, key, value);
                self.sticky = Some(sticky);
                done
            }
            (group, _) => Err(ParseError::word(group, "a group of settings: health, outlier or sticky")),
        }
    }

    /// Whether the settings fit together: what [`PoolSettings::set_option`] cannot see while they
    /// come one by one.
    pub fn check(&self) -> Result<(), ParseError> {
        if let Some(check) = &self.health {
            health::check(check)?;
        }
        if let Some(sticky) = &self.sticky {
            sticky::check(sticky)?;
        }
        outlier::check(&self.outlier)
    }

    fn take(&mut self, directive: &str, words: &[String], own: bool) -> Result<(), ParseError> {
        let is = |name: &str| directive.eq_ignore_ascii_case(name);
        if is(method::DIRECTIVE) {
            (self.method, self.key) = method::read(words, own)?;
        } else if is(health::DIRECTIVE) {
            self.health = health::read(words)?;
        } else if is(outlier::DIRECTIVE) {
            self.outlier = outlier::read(words)?;
        } else if is(sticky::DIRECTIVE) {
            self.sticky = Some(sticky::read(words)?);
        } else if is(discovery::DIRECTIVE) {
            self.discovery.push(discovery::read(&self.discovery, words)?);
        } else if is(share::DIRECTIVE) {
            self.share = Some(share::read(words)?);
        } else if is(set::DIRECTIVE) {
            // More than one of them add up, but each is taken whole or not at all.
            let mut now = self.clone();
            let rest = if own { words.to_vec() } else { parameters::take(&mut now, words)? };
            if !rest.is_empty() || words.is_empty() {
                now.set = set::read(now.set, &rest)?;
            }
            *self = now;
        } else {
            return Err(ParseError::word(directive, format!("one of {}", DIRECTIVES.join(", "))));
        }
        Ok(())
    }
}
