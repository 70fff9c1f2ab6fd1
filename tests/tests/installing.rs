//! `make install`, then Debian's own tools on a copy of its stock configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use server_tests::module::shared_object;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lua-balancer-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("create a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command; panics with its output unless it succeeds.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

fn file_below(folder: &Path, name: &str) -> PathBuf {
    let found = run(Command::new("find").arg(folder).args(["-name", name]));
    found.lines().next().map(PathBuf::from).unwrap_or_else(|| panic!("no {name} below {}", folder.display()))
}

/// Debian's command on this configuration folder.
fn debian(program: &str, folder: &Path, state: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("APACHE_CONFDIR", folder.join("apache2")).env("APACHE_STATE_DIRECTORY", state);
    command
}

#[test]
fn after_make_install_and_a2enmod_configtest_passes_on_a_stock_debian_configuration() {
    if !Path::new("/usr/sbin/a2enmod").exists() {
        eprintln!("not a Debian system: nothing to show");
        return;
    }
    let (folder, root) = (Folder::new("conf"), Folder::new("root"));
    run(Command::new("cp").args(["-a", "/etc/apache2"]).arg(&folder.0));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    run(Command::new("make")
        .current_dir(workspace)
        .arg("install")
        .arg(format!("DESTDIR={}", root.0.display()))
        .arg(format!("MODULE={}", shared_object().display())));

    // What a package would put in place, under the folder that stands for the root.
    let available = folder.0.join("apache2/mods-available");
    let load = fs::read_to_string(file_below(&root.0, "lua_balancer.load")).expect("read the .load file");
    let module = file_below(&root.0, "mod_lua_balancer.so");
    let wanted = module.strip_prefix(&root.0).expect("below the root").display().to_string();
    assert!(load.contains(&format!("LoadModule lua_balancer_module /{wanted}")), "{load}");
    assert!(load.starts_with("# Depends: proxy proxy_http"), "{load}");
    fs::write(
        available.join("lua_balancer.load"),
        load.replace(&format!("/{wanted}"), &module.display().to_string()),
    )
    .expect("write the .load file");
    fs::copy(file_below(&root.0, "lua_balancer.conf"), available.join("lua_balancer.conf")).expect("copy");
    assert!(file_below(&root.0, "balancer.lua").exists());

    let state = root.0.join("state");
    let said = run(debian("a2enmod", &folder.0, &state).arg("lua_balancer"));
    assert!(said.contains("Enabling module lua_balancer"), "{said}");
    for name in ["proxy", "proxy_http", "lua_balancer"] {
        let link = folder.0.join(format!("apache2/mods-enabled/{name}.load"));
        assert!(link.exists(), "a2enmod has not enabled {name}:\n{said}");
    }
    let said = run(debian("apachectl", &folder.0, &state).arg("configtest"));
    assert!(said.contains("Syntax OK"), "{said}");
}
