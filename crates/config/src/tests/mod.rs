// SPDX-License-Identifier: Apache-2.0
//! The promises of the directives, without httpd.

mod directives;
mod doors;
mod manual;
mod plan;
mod reference;
mod script_lines;
mod sections;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::{At, Config, DIRECTIVES, Directive, Draft, Position, Section, Standing, Statement, Surroundings};

/// A server that is made up: ServerRoot is `/root`, scripts are installed under `/installed/lua`.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) files: HashSet<String>,
    pub(crate) lines: Vec<(&'static str, &'static str)>,
    pub(crate) expressions: RefCell<Vec<String>>,
    pub(crate) broken_ca: bool,
}

impl Surroundings for World {
    fn under_root(&self, path: &str) -> Option<String> {
        let is_path = !path.contains('\0');
        is_path.then(|| if path.starts_with('/') { path.to_owned() } else { format!("/root/{path}") })
    }

    fn under_runtime(&self, path: &str) -> Option<String> {
        Some(if path.starts_with('/') { path.to_owned() } else { format!("/run/{path}") })
    }

    fn installed(&self) -> PathBuf {
        "/installed/lua".into()
    }

    fn exists(&self, path: &Path) -> bool {
        self.is_file(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|path| self.files.contains(path))
    }

    fn lines(&self, directive: &str) -> Vec<String> {
        let own = self.lines.iter().filter(|(name, _)| name.eq_ignore_ascii_case(directive));
        own.map(|(_, args)| (*args).to_owned()).collect()
    }

    fn check_ca(&self, written: &str) -> Result<(), String> {
        if self.broken_ca { Err(format!("{written}: no certificate")) } else { Ok(()) }
    }

    fn group(&self, name: &str) -> Option<u32> {
        (name == "admins").then_some(77)
    }

    fn keep_expression(&self, text: &str) -> Result<(), String> {
        if text.contains("%{") && !text.contains('}') {
            return Err("Unclosed variable".into());
        }
        self.expressions.borrow_mut().push(text.to_owned());
        Ok(())
    }
}

/// Where a line of a test stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// In the main server.
    Main,
    /// In the only virtual host.
    Host,
    /// In the only section of the main server.
    Section,
}

/// A configuration that is being read, line by line.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) draft: Draft,
    pub(crate) world: World,
    pub(crate) main: Section<'static>,
    pub(crate) host: Section<'static>,
    pub(crate) section: Section<'static>,
    host_number: Option<usize>,
    line: u32,
}

impl Reader {
    pub(crate) fn read(&mut self, stand: Stand, line: &str) -> Result<(), String> {
        self.line += 1;
        let place = Position { file: "test.conf".into(), line: self.line };
        if line == "</LuaBalancerPool>" {
            return self.draft.close_pool(Ok(()));
        }
        let (name, args) = line.split_once(' ').unwrap_or((line, ""));
        let directive = find(name);
        let standing =
            Standing { in_virtual_host: stand == Stand::Host, in_section: stand == Stand::Section };
        let statement = directive.read(standing, args)?;
        if let Statement::Pool(name) = statement {
            return self.draft.open_pool(&name, place, &[]).map_err(|text| directive.named(&text));
        }
        let (server, section) = match stand {
            Stand::Main => (0, &mut self.main),
            Stand::Section => (0, &mut self.section),
            Stand::Host => {
                let number = *self.host_number.get_or_insert_with(|| self.draft.new_server());
                (number, &mut self.host)
            }
        };
        let mut at = At { directive, place, server, section };
        self.draft.apply(statement, &mut at, &self.world)
    }

    /// Reads lines of the main server that are right.
    pub(crate) fn main(&mut self, lines: &[&str]) -> &mut Self {
        for line in lines {
            assert_eq!(self.read(Stand::Main, line), Ok(()), "{line}");
        }
        self
    }

    pub(crate) fn at(&mut self, stand: Stand, lines: &[&str]) -> &mut Self {
        for line in lines {
            assert_eq!(self.read(stand, line), Ok(()), "{line}");
        }
        self
    }

    pub(crate) fn finish(self) -> Result<Config, String> {
        self.draft.finish()
    }

    pub(crate) fn config(self) -> Config {
        self.finish().unwrap_or_else(|error| panic!("{error}"))
    }
}

pub(crate) fn find(name: &str) -> &'static Directive {
    let own = |known: &&Directive| known.c_name().to_str() == Ok(name);
    DIRECTIVES.iter().find(own).unwrap_or_else(|| panic!("no directive {name}"))
}
