// SPDX-License-Identifier: Apache-2.0
//! The installed httpd: where its program and modules are, as apxs says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Paths and built-in modules of the httpd under test.
#[derive(Debug)]
pub struct Installed {
    /// The httpd program.
    pub program: PathBuf,
    modules: PathBuf,
    built_in: Vec<String>,
}

/// The answers of apxs, asked once: env `APXS`, then `apxs2`, then `apxs`.
pub fn installed() -> &'static Installed {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let program = Path::new(&apxs("SBINDIR")).join(apxs("PROGNAME"));
        let built_in = built_in_modules(&program);
        Installed { program, modules: apxs("LIBEXECDIR").into(), built_in }
    })
}

impl Installed {
    /// The `LoadModule` line of `name` (as in `mod_NAME.so`); empty for a built-in module. Panics
    /// when there is no such module.
    pub fn load_line(&self, name: &str) -> String {
        let file = self.modules.join(format!("mod_{name}.so"));
        if file.exists() {
            return format!("LoadModule {name}_module {}\n", file.display());
        }
        assert!(self.built_in.iter().any(|other| other == name), "no module {name} in {:?}", self.modules);
        String::new()
    }

    /// Whether `mod_NAME.so` is installed.
    pub fn has(&self, name: &str) -> bool {
        self.modules.join(format!("mod_{name}.so")).exists()
    }
}

fn apxs(variable: &str) -> String {
    let named = std::env::var("APXS").ok();
    let candidates = named.iter().map(String::as_str).chain(["apxs2", "apxs"]);
    for program in candidates {
        let Ok(output) = Command::new(program).args(["-q", variable]).output() else { continue };
        let value = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !value.is_empty() {
            return value;
        }
    }
    panic!("apxs does not say {variable}; install apache2-dev or set APXS");
}

fn built_in_modules(program: &Path) -> Vec<String> {
    let output = Command::new(program).arg("-l").output().expect("run httpd -l");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = listing.lines().map(|line| line.trim().trim_end_matches(".c").trim_start_matches("mod_"));
    names.map(str::to_owned).collect()
}
