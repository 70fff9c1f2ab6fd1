// SPDX-License-Identifier: Apache-2.0
//! The text of a configuration as lines and sections, included files among them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use config::Position;

use super::patterns;
use crate::files;

/// Files that include one another, and sections within one another: deeper than any real
/// configuration.
const DEEPEST: usize = 32;

/// A directive, or a section with what is in it.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name, of a section without the `<`.
    pub name: String,
    /// The rest of its line, of a section without the `>`.
    pub args: String,
    /// Its place in the configuration.
    pub place: Position,
    /// The lines in it; None: it is not a section.
    pub inside: Option<Vec<Node>>,
}

impl Node {
    /// Whether it is of this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A text that was read.
#[derive(Debug, Default)]
pub struct Text {
    /// Directives in order.
    pub nodes: Vec<Node>,
    /// ServerRoot.
    pub root: PathBuf,
    /// The lines that were left out, since only httpd knows whether they hold.
    pub unknown: Vec<String>,
}

/// Reads a file and all that it includes. `defines`: as httpd's `-D`.
pub fn read(file: &Path, defines: &[String]) -> Result<Text, String> {
    let path = fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let root = path.parent().unwrap_or(Path::new("/")).to_owned();
    let defined = defines.iter().map(|name| (name.clone(), String::new())).collect();
    let mut reader = Reader { text: Text { root, ..Text::default() }, defined, files: Vec::new() };
    let mut nodes = Vec::new();
    reader.file(&path, &mut nodes)?;
    reader.text.nodes = nodes;
    Ok(reader.text)
}

/// Reads lines that are in no file yet.
pub fn of_lines(lines: &str) -> Result<Text, String> {
    let text = Text { root: PathBuf::from("/"), ..Text::default() };
    let mut reader = Reader { text, defined: BTreeMap::new(), files: Vec::new() };
    let mut nodes = Vec::new();
    reader.lines("the result", lines, &mut nodes)?;
    reader.text.nodes = nodes;
    Ok(reader.text)
}

struct Reader {
    text: Text,
    /// Names of `Define` and `-D`.
    defined: BTreeMap<String, String>,
    /// Files that are being read.
    files: Vec<PathBuf>,
}

/// A section whose end has not come yet.
struct Open {
    name: String,
    place: Position,
    node: Option<Node>,
    /// The lines in it do not count.
    skipped: bool,
}

impl Reader {
    fn file(&mut self, path: &Path, into: &mut Vec<Node>) -> Result<(), String> {
        let shown = path.display().to_string();
        if self.files.len() >= DEEPEST || self.files.iter().any(|known| known == path) {
            return Err(format!("{shown}: it includes itself"));
        }
        let bytes = files::bytes(path)?;
        not_text(&bytes).map_or(Ok(()), |(line, why)| {
            Err(format!("{}: {why}", Position { file: shown.clone(), line }))
        })?;
        self.files.push(path.to_owned());
        self.lines(&shown, &String::from_utf8_lossy(&bytes), into)?;
        self.files.pop();
        Ok(())
    }

    fn lines(&mut self, shown: &str, text: &str, into: &mut Vec<Node>) -> Result<(), String> {
        let mut open: Vec<Open> = Vec::new();
        for (line, number) in whole_lines(text) {
            let place = Position { file: shown.to_owned(), line: number };
            self.line(&line, place, &mut open, into)?;
        }
        match open.pop() {
            None => Ok(()),
            Some(section) => Err(format!("{}: <{}> has no end", section.place, section.name)),
        }
    }

    fn line(
        &mut self,
        line: &str,
        place: Position,
        open: &mut Vec<Open>,
        into: &mut Vec<Node>,
    ) -> Result<(), String> {
        if let Some(name) = line.strip_prefix("</") {
            return close(name.trim_end_matches('>').trim(), &place, open, into);
        }
        let skipped = open.last().is_some_and(|section| section.skipped);
        let (name, args) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if let Some(name) = name.strip_prefix('<') {
            if open.len() >= DEEPEST {
                return Err(format!("{place}: more than {DEEPEST} sections stand within one another"));
            }
            let name = name.trim_end_matches('>');
            let args = if skipped { String::new() } else { self.filled(args.trim()) };
            open.push(self.open(name, args, place, skipped));
            return Ok(());
        }
        if skipped {
            return Ok(());
        }
        if name.contains(|letter: char| !letter.is_ascii_graphic()) {
            return Err(format!("{place}: '{}' is not the name of a directive", name.escape_debug()));
        }
        // The Lua text of a line has none of its variables.
        let inline = name.eq_ignore_ascii_case("LuaRegisterFunc");
        let args = if inline { args.trim().to_owned() } else { self.filled(args.trim()) };
        let into =
            open.iter_mut().rev().find_map(|section| section.node.as_mut()?.inside.as_mut()).unwrap_or(into);
        match name.to_ascii_lowercase().as_str() {
            "define" => self.define(&args),
            "undefine" => drop(self.defined.remove(args.trim())),
            "serverroot" => self.text.root = PathBuf::from(args.trim_matches(['"', '\''])),
            "include" => return self.include(&args, &place, (false, into)),
            "includeoptional" => return self.include(&args, &place, (true, into)),
            _ => into.push(Node { name: name.to_owned(), args, place, inside: None }),
        }
        Ok(())
    }

    fn define(&mut self, args: &str) {
        let (name, value) = args.split_once(char::is_whitespace).unwrap_or((args, ""));
        let value = value.trim().trim_matches(['"', '\'']);
        self.defined.insert(name.to_owned(), value.to_owned());
    }

    /// A section begins. Sections that ask something of httpd are looked through, as if it had
    /// every module and every file.
    fn open(&mut self, name: &str, args: String, place: Position, skipped: bool) -> Open {
        let lower = name.to_ascii_lowercase();
        let args = args.trim_end_matches('>').trim().to_owned();
        let (negated, what) = args.strip_prefix('!').map_or((false, &*args), |rest| (true, rest));
        let holds = match lower.as_str() {
            "ifdefine" => Some(self.defined.contains_key(what) != negated),
            "ifmodule" | "iffile" | "ifdirective" | "ifsection" | "ifversion" => Some(!negated),
            _ => None,
        };
        let unknowable = matches!(lower.as_str(), "if" | "elseif" | "else" | "macro");
        if unknowable && !skipped {
            self.text.unknown.push(format!("<{name} {args}> of {place}"));
        }
        let skipped = skipped || unknowable || holds == Some(false);
        let is_node = !skipped && holds.is_none();
        let node = is_node.then(|| Node {
            name: name.to_owned(),
            args,
            place: place.clone(),
            inside: Some(Vec::new()),
        });
        Open { name: name.to_owned(), place, node, skipped }
    }

    fn include(
        &mut self,
        args: &str,
        place: &Position,
        (optional, into): (bool, &mut Vec<Node>),
    ) -> Result<(), String> {
        let written = args.trim_matches(['"', '\'']);
        let pattern = self.text.root.join(written);
        let found = patterns::files(&pattern);
        if found.is_empty() && !optional && !written.contains(['*', '?', '[']) {
            return Err(format!("{place}: Include {written}: there is no such file"));
        }
        found.iter().try_for_each(|path| self.file(path, into))
    }

    /// `${NAME}` by `Define`, or the environment.
    fn filled(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                out.push_str("${");
                rest = after;
                continue;
            };
            match self.defined.get(name).cloned().or_else(|| std::env::var(name).ok()) {
                Some(value) => out.push_str(&value),
                None => out.push_str(&format!("${{{name}}}")),
            }
            rest = after;
        }
        out + rest
    }
}

/// The line from which on a file is not text as httpd reads it, and why.
fn not_text(bytes: &[u8]) -> Option<(u32, &'static str)> {
    const WIDE: &str = "found UTF-16, expected UTF-8 or ASCII";
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some((1, WIDE)),
        [0xef, 0xbb, 0xbf, ..] => {
            return Some((1, "found a byte order mark, which httpd takes for a part of the first line"));
        }
        _ => {}
    }
    let at = bytes.iter().position(|byte| *byte == 0)?;
    let lines = bytes.iter().take(at).filter(|byte| **byte == b'\n').count();
    Some((lines as u32 + 1, "found a byte of 0, expected text"))
}

fn close(name: &str, place: &Position, open: &mut Vec<Open>, into: &mut Vec<Node>) -> Result<(), String> {
    let section = open.pop().filter(|section| section.name.eq_ignore_ascii_case(name));
    let section = section.ok_or_else(|| format!("{place}: </{name}> ends nothing"))?;
    if let Some(node) = section.node {
        let outer = open.iter_mut().rev().find_map(|section| section.node.as_mut()?.inside.as_mut());
        outer.unwrap_or(into).push(node);
    }
    Ok(())
}

/// Lines with the numbers of their beginnings: without comments and empty ones, those that end in a
/// backslash joined.
fn whole_lines(text: &str) -> Vec<(String, u32)> {
    let mut all: Vec<(String, u32)> = Vec::new();
    let mut begun: Option<(String, u32)> = None;
    for (line, number) in text.lines().zip(1..) {
        let (mut whole, first) = begun.take().unwrap_or((String::new(), number));
        match line.strip_suffix('\\') {
            Some(part) => begun = Some((whole + part, first)),
            None => {
                whole.push_str(line);
                all.push((whole, first));
            }
        }
    }
    all.extend(begun);
    all.iter_mut().for_each(|(line, _)| *line = line.trim().to_owned());
    all.retain(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    all
}
