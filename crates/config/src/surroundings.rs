// SPDX-License-Identifier: Apache-2.0
//! The facts that only the server knows while the configuration is read.

use std::path::{Path, PathBuf};

/// The server around the directives.
pub trait Surroundings {
    /// A path under ServerRoot when it is relative. None: no path.
    fn under_root(&self, path: &str) -> Option<String>;

    /// A path under DefaultRuntimeDir when it is relative. None: no path.
    fn under_runtime(&self, path: &str) -> Option<String>;

    /// Folder of the installed scripts.
    fn installed(&self) -> PathBuf;

    /// Whether there is anything at a path.
    fn exists(&self, path: &Path) -> bool;

    /// Whether there is a file at a path.
    fn is_file(&self, path: &Path) -> bool;

    /// The arguments of every directive of this name, of any module.
    fn lines(&self, directive: &str) -> Vec<String>;

    /// Looks at a file of certificates as written, unless the server has to go on.
    fn check_ca(&self, written: &str) -> Result<(), String>;

    /// The number of a group of the system. None: there is none of this name.
    fn group(&self, name: &str) -> Option<u32>;

    /// Parses an expression for a hash key, and keeps it.
    fn keep_expression(&self, text: &str) -> Result<(), String>;
}

/// The file that a script's name means: under ServerRoot, or else in the folder of the installed
/// scripts, where `require` looks as well. There it is found with and without that folder's own
/// name, `lua/`.
pub(crate) fn script_file(world: &dyn Surroundings, written: &str) -> Result<String, String> {
    let own = world.under_root(written).ok_or_else(|| format!("'{written}' is not the path of a file"))?;
    if Path::new(written).is_absolute() || world.exists(Path::new(&own)) {
        return Ok(own);
    }
    let installed = world.installed();
    let named = installed.parent().map(|parent| parent.join(written));
    let named = named.filter(|path| path.starts_with(&installed));
    let found = [Some(installed.join(written)), named].into_iter().flatten().find(|path| world.is_file(path));
    Ok(found.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or(own))
}

/// The path of a unix socket may be relative, as mod_proxy takes it.
pub(crate) fn whole_socket(world: &dyn Surroundings, url: &str) -> String {
    let parts = url.split_at_checked("unix:".len()).and_then(|(start, rest)| {
        let (path, rest) = rest.split_once('|')?;
        let is_relative = start.eq_ignore_ascii_case("unix:") && !path.is_empty() && !path.starts_with('/');
        is_relative.then_some((path, rest))
    });
    let full = parts.and_then(|(path, rest)| Some((world.under_runtime(path)?, rest)));
    full.map_or_else(|| url.to_owned(), |(path, rest)| format!("unix:{path}|{rest}"))
}
