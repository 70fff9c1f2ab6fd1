// SPDX-License-Identifier: Apache-2.0
//! httpd's answers while directives are read.

use std::path::{Path, PathBuf};

use config::Surroundings;

use super::text::{Node, Text};

/// The folder of the installed scripts, as the module has it.
pub fn installed() -> PathBuf {
    const BUILT: &str = match option_env!("LUA_BALANCER_LUADIR") {
        Some(folder) => folder,
        None => "/usr/share/mod_lua_balancer/lua",
    };
    std::env::var_os("LUA_BALANCER_LUADIR").map_or_else(|| BUILT.into(), PathBuf::from)
}

/// A text's own.
pub struct Around<'t>(pub &'t Text);

impl Surroundings for Around<'_> {
    fn under_root(&self, path: &str) -> Option<String> {
        let is_path = !path.contains('\0');
        is_path.then(|| self.0.root.join(path).to_string_lossy().into_owned())
    }

    fn under_runtime(&self, path: &str) -> Option<String> {
        let folder = self.lines("DefaultRuntimeDir").pop().unwrap_or_else(|| "logs".into());
        self.under_root(&format!("{}/{path}", folder.trim_matches('"')))
    }

    fn installed(&self) -> PathBuf {
        installed()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn lines(&self, directive: &str) -> Vec<String> {
        let mut found = Vec::new();
        gather(&self.0.nodes, directive, &mut found);
        found
    }

    /// The server looks at it when it starts.
    fn check_ca(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    /// The server looks for it when it starts: any name may be a group there.
    fn group(&self, _: &str) -> Option<u32> {
        Some(0)
    }

    /// Evaluated for each request, as far as it can be without httpd.
    fn keep_expression(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// The numbers of directives that have one each, in order.
pub fn numbers(text: &Text, directives: &[&str]) -> Vec<u32> {
    let around = Around(text);
    let lines = directives.iter().flat_map(|directive| around.lines(directive));
    lines.filter_map(|args| args.trim().parse().ok()).collect()
}

fn gather(nodes: &[Node], directive: &str, into: &mut Vec<String>) {
    for node in nodes {
        match &node.inside {
            Some(inside) => gather(inside, directive, into),
            None if node.is(directive) => into.push(node.args.clone()),
            None => {}
        }
    }
}
