// SPDX-License-Identifier: Apache-2.0
//! httpd, as the configuration asks it while directives are read.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use config::Surroundings;

use crate::httpd::accounts;
use crate::httpd::config::{Command, Expression, lines};
use crate::httpd::mpm::{self, RunState};
use crate::serve::generation::shipped;

/// One directive's surroundings.
pub struct CommandSurroundings<'c> {
    /// httpd's record of the directive.
    pub command: Command,
    /// Expressions that have been parsed.
    pub expressions: &'c RefCell<Vec<(String, Expression)>>,
}

impl Surroundings for CommandSurroundings<'_> {
    fn under_root(&self, path: &str) -> Option<String> {
        self.command.server_relative(path)
    }

    fn under_runtime(&self, path: &str) -> Option<String> {
        self.command.runtime_relative(path)
    }

    fn installed(&self) -> PathBuf {
        shipped()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn lines(&self, directive: &str) -> Vec<String> {
        let all = lines().into_iter().filter(|line| line.directive.eq_ignore_ascii_case(directive));
        all.map(|line| line.args).collect()
    }

    /// A restart has to go on; there the file is looked at when it is used.
    fn check_ca(&self, written: &str) -> Result<(), String> {
        if mpm::run_state() == RunState::Running {
            return Ok(());
        }
        let path =
            self.under_root(written).ok_or_else(|| format!("'{written}' is not the path of a file"))?;
        probe::check_ca(&path)
    }

    fn group(&self, name: &str) -> Option<u32> {
        accounts::group(name)
    }

    fn keep_expression(&self, text: &str) -> Result<(), String> {
        let parsed = self.command.expression(text)?;
        self.expressions.borrow_mut().push((text.to_owned(), parsed));
        Ok(())
    }
}
