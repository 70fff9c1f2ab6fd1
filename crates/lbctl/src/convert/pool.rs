// SPDX-License-Identifier: Apache-2.0
//! A pool while it is put together. Lines that the module would refuse become comments.

use balance::error::ParseError;
use balance::member::MemberSpec;
use balance::names;
use balance::settings::PoolSettings;
use balance::words;

use crate::clean;

/// The result of a converter.
#[derive(Debug, Default)]
pub struct Converted {
    /// The pools, each of a name of its own.
    pub pools: Vec<PoolBlock>,
    /// Lines behind them.
    pub lines: Vec<String>,
}

impl Converted {
    /// One more pool. A name that another one has gets a number.
    pub fn add(&mut self, mut pool: PoolBlock) {
        let is_taken = |name: &str| self.pools.iter().any(|known| known.name.eq_ignore_ascii_case(name));
        if is_taken(&pool.name) {
            let stem: String = pool.name.chars().take(names::MAX - 4).collect();
            let numbered = (2..).map(|number| format!("{stem}-{number}")).find(|name| !is_taken(name));
            let first = std::mem::replace(&mut pool.name, numbered.unwrap_or_default());
            pool.comment(&format!("another pool before it is called {first}"));
        }
        self.pools.push(pool);
    }

    /// The pool of a section that was called so; the first of several.
    pub fn find(&mut self, written: &str) -> Option<&mut PoolBlock> {
        self.pools.iter_mut().find(|pool| pool.written == written)
    }

    /// A line that sends a path somewhere. The first one of a path has it.
    pub fn pass(&mut self, directive: &str, path: &str, target: &str) {
        let start = format!("{directive} \"{path}\" ");
        let line = format!("{start}\"{target}\"");
        // A quoted word ends at a quote, and a backslash means itself but before one of the two.
        let is_odd =
            |word: &str| word.contains(['"', '\n', '\r']) || word.contains(r"\\") || word.ends_with('\\');
        let odd = [path, target].into_iter().any(is_odd);
        let is_taken = self.lines.iter().any(|known| known.starts_with(&start));
        let line = match () {
            () if odd => commented(&format!("{directive} {path} {target}: write it by hand")),
            () if self.lines.contains(&line) => return,
            () if is_taken => commented(&format!(
                "{line}: a line before has this path; it may belong in another <VirtualHost>"
            )),
            () => line,
        };
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct PoolBlock {
    name: String,
    /// The section's name, as it was written.
    written: String,
    names: Vec<String>,
    lines: Vec<String>,
    members: Vec<String>,
    settings: PoolSettings,
    seen: Vec<String>,
}

/// A comment of one line, which takes no other line in.
pub fn commented(text: &str) -> String {
    let line = clean::text(&text.replace(['\n', '\r', '\t'], " "));
    // httpd goes on with the next line, in comments as well.
    format!("# {}{}", line, if line.ends_with('\\') { " (a backslash)" } else { "" })
}

impl PoolBlock {
    // A quoted word ends at a quote; a backslash means itself, but before one of the two.
    pub fn new(name: &str) -> Self {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
        let own: String =
            name.chars().map(|letter| if fits(letter) { letter } else { '-' }).take(names::MAX).collect();
        let own = if names::is_name(&own) { own } else { "unnamed".to_owned() };
        let mut pool = PoolBlock { name: own, written: name.to_owned(), ..PoolBlock::default() };
        match name {
            "" => pool.comment("it had no name"),
            name if pool.name != name => pool.comment(&format!("was called {name}")),
            _ => {}
        }
        pool
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Something that has no counterpart.
    pub fn comment(&mut self, text: &str) {
        let line = commented(text);
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
            if key == "name" && self.names.contains(value) {
                self.comment(&format!("{from}: another member has the name {value}: this one gets another"));
                continue;
            }
            let quoted = value.contains([' ', '"', '\'', '\\']) || value.is_empty();
            let word = if quoted {
                format!("{key}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
            } else {
                format!("{key}={value}")
            };
            let longer = format!("{line} {word}");
            match MemberSpec::from_line(&longer) {
                Ok(_) => {
                    line = longer;
                    self.names.extend((key == "name").then(|| value.clone()));
                }
                Err(_) => self.comment(&format!("{url}: {key}={value} has no counterpart")),
            }
        }
        self.members.push(format!("LuaBalancerMember {line}"));
    }

    /// A directive of the pool; `from` is what it comes from.
    pub fn set(&mut self, directive: &str, words: &[&str], from: &str) {
        let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let word = |word: &&str| match word.split_once('=') {
            Some((key, value)) if value.contains([' ', '"']) => {
                format!("{key}=\"{}\"", value.replace('"', "\\\""))
            }
            _ => (*word).to_owned(),
        };
        let written = words.iter().map(word).collect::<Vec<_>>().join(" ");
        if let Err(error) = self.put(directive, &owned, &written) {
            self.comment(&format!("{from}: {error}"));
        }
    }

    /// The directives that differ from the defaults in these settings. Err: one that a line cannot
    /// say.
    pub fn settle(&mut self, settings: &PoolSettings) -> Result<(), ParseError> {
        for line in settings.to_text().lines() {
            let Some((directive, written)) = line.split_once(' ') else { continue };
            self.put(directive, &words::split(written)?, written)?;
        }
        Ok(())
    }

    fn put(&mut self, directive: &str, all: &[String], written: &str) -> Result<(), ParseError> {
        self.settings.set_directive(directive, all)?;
        let start = format!("{directive} ");
        self.lines.retain(|known| !known.starts_with(&start) || directive == "LuaBalancerSet");
        self.lines.push(start + written);
        Ok(())
    }

    /// As the configuration has it.
    pub fn text(&self) -> String {
        let inside = self.members.iter().chain(&self.lines);
        let lines: Vec<String> = inside.map(|line| format!("    {line}")).collect();
        format!("<LuaBalancerPool {}>\n{}\n</LuaBalancerPool>", self.name, lines.join("\n"))
    }
}
