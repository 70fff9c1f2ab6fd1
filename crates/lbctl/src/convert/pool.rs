// SPDX-License-Identifier: Apache-2.0
//! A pool while it is put together. Lines that the module would refuse become comments.

use balance::member::MemberSpec;
use balance::settings::PoolSettings;

/// The result of a converter.
#[derive(Debug, Default)]
pub struct Converted {
    /// The pools.
    pub pools: Vec<PoolBlock>,
    /// Lines behind them.
    pub lines: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct PoolBlock {
    name: String,
    lines: Vec<String>,
    members: Vec<String>,
    settings: PoolSettings,
    seen: Vec<String>,
}

impl PoolBlock {
    /// An empty one. Letters that no name may have become `-`.
    pub fn new(name: &str) -> Self {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
        let own: String =
            name.chars().map(|letter| if fits(letter) { letter } else { '-' }).take(63).collect();
        let mut pool = PoolBlock { name: own, ..PoolBlock::default() };
        if pool.name != name {
            pool.comment(&format!("was called {name}"));
        }
        pool
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Something that has no counterpart.
    pub fn comment(&mut self, text: &str) {
        let line = format!("# {}", text.replace('\n', " "));
        if !self.seen.contains(&line) {
            self.seen.push(line.clone());
            self.lines.push(line);
        }
    }

    /// A member with keys as `LuaBalancerMember` has them; `from` is how it was written.
    pub fn member(&mut self, url: &str, keys: &[(String, String)], from: &str) {
        if let Err(error) = MemberSpec::from_line(url) {
            return self.comment(&format!("{from}: {error}"));
        }
        let mut line = url.to_owned();
        for (key, value) in keys {
            let quoted = value.contains([' ', '"', '\'', '\\']) || value.is_empty();
            let word = if quoted {
                format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
            } else {
                format!("{key}={value}")
            };
            let longer = format!("{line} {word}");
            match MemberSpec::from_line(&longer) {
                Ok(_) => line = longer,
                Err(_) => self.comment(&format!("{url}: {key}={value} has no counterpart")),
            }
        }
        self.members.push(format!("LuaBalancerMember {line}"));
    }

    /// A directive of the pool; `from` is what it comes from.
    pub fn set(&mut self, directive: &str, words: &[&str], from: &str) {
        let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match self.settings.set_directive(directive, &owned) {
            Ok(()) => {
                let word = |word: &&str| match word.split_once('=') {
                    Some((key, value)) if value.contains([' ', '"']) => {
                        format!("{key}=\"{}\"", value.replace('"', "\\\""))
                    }
                    _ => (*word).to_owned(),
                };
                let line = format!("{directive} {}", words.iter().map(word).collect::<Vec<_>>().join(" "));
                self.lines.retain(|known| {
                    !known.starts_with(&format!("{directive} ")) || directive == "LuaBalancerSet"
                });
                self.lines.push(line);
            }
            Err(error) => self.comment(&format!("{from}: {error}")),
        }
    }

    /// As the configuration has it.
    pub fn text(&self) -> String {
        let inside = self.members.iter().chain(&self.lines);
        let lines: Vec<String> = inside.map(|line| format!("    {line}")).collect();
        format!("<LuaBalancerPool {}>\n{}\n</LuaBalancerPool>", self.name, lines.join("\n"))
    }
}
