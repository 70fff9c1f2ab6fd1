// SPDX-License-Identifier: Apache-2.0
//! `make install`, then Debian's own tools on a copy of its stock configuration.

use std::fs;
use std::net::TcpListener;
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

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// `make`, with `root` for the root of the system.
fn make(goal: &str, sources: &Path, root: &Path) -> Command {
    let mut command = Command::new("make");
    command.current_dir(sources).arg("-s").arg(goal).arg(format!("DESTDIR={}", root.display()));
    command.arg(format!("MODULE={}", shared_object().display()));
    command
}

/// A copy of what `make install` needs: another version, once a file of it is changed.
fn next_version() -> Folder {
    let folder = Folder::new("sources");
    let parts = ["Makefile", "lua", "apache-conf", "man", "scripts"].map(|name| workspace().join(name));
    run(Command::new("cp").arg("-a").args(parts).arg(&folder.0));
    folder
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn an_upgrade_keeps_edited_files_and_renews_the_others() {
    let (root, next) = (Folder::new("upgraded"), next_version());
    run(&mut make("install", &workspace(), &root.0));
    let edited = file_below(&root.0, "canary.lua");
    let untouched = file_below(&root.0, "weighted.lua");
    let config = file_below(&root.0, "lua_balancer.conf");
    let own = edited.with_file_name("own.lua");
    fs::write(&edited, "-- mine").expect("edit a script");
    fs::write(&config, "LuaBalancerMaxMembers 77").expect("edit the configuration");
    fs::write(&own, "-- my own").expect("write a script");

    let said = run(&mut make("install", &workspace(), &root.0));
    assert_eq!((text(&edited).as_str(), said.as_str()), ("-- mine", ""), "the same version again");

    fs::write(next.0.join("lua/canary.lua"), "-- canary 2").expect("write the next version");
    fs::write(next.0.join("lua/weighted.lua"), "-- weighted 2").expect("write the next version");
    for round in 1..=2 {
        let said = run(&mut make("install", &next.0, &root.0));
        assert_eq!(text(&edited), "-- mine", "round {round}");
        assert_eq!(text(&edited.with_file_name("canary.lua.new")), "-- canary 2");
        assert_eq!(text(&untouched), "-- weighted 2");
        assert_eq!(text(&config), "LuaBalancerMaxMembers 77");
        assert_eq!(text(&own), "-- my own");
        assert_eq!(said.contains("canary.lua; the new one is"), round == 1, "said once: {said}");
    }
    fs::rename(edited.with_file_name("canary.lua.new"), &edited).expect("take the new one");
    fs::write(next.0.join("lua/canary.lua"), "-- canary 3").expect("write the version after");
    run(&mut make("install", &next.0, &root.0));
    assert_eq!(text(&edited), "-- canary 3", "no longer edited");

    fs::write(&edited, "-- mine again").expect("edit a script");
    let said = run(&mut make("uninstall", &next.0, &root.0));
    assert!(said.contains("kept, since it was edited:") && said.contains("canary.lua"), "{said}");
    assert_eq!((text(&edited).as_str(), text(&own).as_str()), ("-- mine again", "-- my own"));
    assert!(!untouched.exists());
}

#[test]
fn after_a2enmod_and_make_uninstall_httpd_still_starts() {
    if !Path::new("/usr/sbin/a2enmod").exists() {
        eprintln!("not a Debian system: nothing to show");
        return;
    }
    let root = Folder::new("uninstalled");
    let (etc, state) = (root.0.join("etc"), root.0.join("state"));
    fs::create_dir(&etc).expect("create a folder");
    run(Command::new("cp").args(["-a", "/etc/apache2"]).arg(&etc));
    run(&mut make("install", &workspace(), &root.0));
    run(debian("a2enmod", &etc, &state).arg("lua_balancer"));
    run(debian("a2enconf", &etc, &state).arg("lua_balancer-example"));

    // With a site that needs it, it stays.
    let site = etc.join("apache2/sites-enabled/shop.conf");
    let available = etc.join("apache2/sites-available/shop.conf");
    fs::write(&available, "<VirtualHost *>\n  luabalancersandbox on\n</VirtualHost>\n")
        .expect("write a site");
    std::os::unix::fs::symlink("../sites-available/shop.conf", &site).expect("enable the site");
    let refused = make("uninstall", &workspace(), &root.0).output().expect("run make");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("sites-enabled/shop.conf"), "{said}");
    assert!(file_below(&root.0, "mod_lua_balancer.so").exists());

    fs::remove_file(&site).expect("remove the site");
    run(&mut make("uninstall", &workspace(), &root.0));
    let said = run(debian("apachectl", &etc, &state).arg("configtest"));
    assert!(said.contains("Syntax OK"), "{said}");
    let left = run(Command::new("find").arg(&root.0).args([
        "-name",
        "*lua_balancer*",
        "-not",
        "-path",
        "*/state/*",
    ]));
    assert_eq!(left, "", "left behind");
}

/// A program that answers as the apxs of an httpd with its configuration in `conf` does.
fn other_apxs(folder: &Path, conf: &str, modules: &str) -> PathBuf {
    let path = folder.join("apxs");
    let answers =
        format!("SYSCONFDIR) echo {conf} ;;\nLIBEXECDIR) echo {modules} ;;\nPROGNAME) echo httpd ;;");
    fs::write(&path, format!("#!/bin/sh\ncase $2 in\n{answers}\nesac\n")).expect("write a stand-in");
    run(Command::new("chmod").arg("755").arg(&path));
    path
}

/// The files below a folder but scripts and manual pages, in order.
fn own_files(root: &Path) -> Vec<String> {
    let mut find = Command::new("find");
    find.arg(root).args(["-type", "f", "-name", "*lua_balancer*", "-not", "-path", "*/man*/*"]);
    let found = run(find.args(["-printf", "/%P\n"]));
    let mut files: Vec<String> = found.lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn files_go_where_the_httpd_of_that_apxs_looks_for_them_and_uninstall_takes_them_away() {
    let source = ["/conf/extra/lua_balancer-example.conf", "/conf/extra/lua_balancer.conf"];
    let source = [source[0], source[1], "/conf/extra/lua_balancer.load", "/modules/mod_lua_balancer.so"];
    let fedora = ["/conf.d/lua_balancer.conf", "/conf.modules.d/20-lua_balancer.conf"];
    let fedora =
        [fedora[0], fedora[1], "/lua/examples/lua_balancer-example.conf", "/modules/mod_lua_balancer.so"];
    for (layout, expected, include) in
        [("source", source, "conf/httpd.conf"), ("fedora", fedora, "conf.d/shop.conf")]
    {
        let root = Folder::new(layout);
        let server = root.0.join("server");
        for name in ["conf", if layout == "fedora" { "conf.modules.d" } else { "conf/extra" }] {
            fs::create_dir_all(server.join(name)).expect("create a folder");
        }
        let place = |name: &str| format!("{}/{name}", server.display());
        let apxs = other_apxs(&root.0, &place("conf"), &place("modules"));
        let made = |goal: &str| {
            let mut command = make(goal, &workspace(), Path::new(""));
            let here = ["LUADIR", "STATEDIR", "BINDIR", "MANDIR"].map(|name| (name, name.to_lowercase()));
            command
                .args(here.map(|(name, folder)| format!("{name}={}", place(folder.trim_end_matches("dir")))));
            command.arg(format!("APXS={}", apxs.display()));
            command
        };
        let said = run(&mut made("install"));
        assert_eq!(own_files(&server), expected, "{layout}");
        assert_eq!(said.contains("Include"), layout == "source", "{said}");
        let load = text(&server.join(&expected[if layout == "fedora" { 1 } else { 2 }][1..]));
        assert!(load.contains(&format!("LoadModule lua_balancer_module {}", place("modules/"))), "{load}");

        let line = format!("Include {}\n", place("conf/extra/lua_balancer.load"));
        let used =
            if layout == "source" { line } else { "<LuaBalancerPool shop>\n</LuaBalancerPool>\n".into() };
        fs::write(server.join(include), used).expect("write a configuration");
        let refused = made("uninstall").output().expect("run make");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(include), "{layout}: {said}");

        fs::remove_file(server.join(include)).expect("remove the configuration");
        run(&mut made("uninstall"));
        assert_eq!(own_files(&server), [""; 0], "{layout}: left behind");
    }
}

/// A copy of Debian's stock configuration after README's install; None on other systems. The module
/// is the one below `root`.
fn installed(root: &Folder, folder: &Folder) -> Option<String> {
    if !Path::new("/usr/sbin/a2enmod").exists() {
        eprintln!("not a Debian system: nothing to show");
        return None;
    }
    run(Command::new("cp").args(["-a", "/etc/apache2"]).arg(&folder.0));
    run(&mut make("install", &workspace(), &root.0));

    // The files that a package would put in place, under the folder that stands for the root.
    let available = folder.0.join("apache2/mods-available");
    let load = text(&file_below(&root.0, "lua_balancer.load"));
    let module = file_below(&root.0, "mod_lua_balancer.so");
    let wanted = module.strip_prefix(&root.0).expect("below the root").display().to_string();
    assert!(load.contains(&format!("LoadModule lua_balancer_module /{wanted}")), "{load}");
    assert!(load.starts_with("# Depends: proxy proxy_http"), "{load}");
    let load = load.replace(&format!("/{wanted}"), &module.display().to_string());
    fs::write(available.join("lua_balancer.load"), load).expect("write the .load file");
    fs::copy(file_below(&root.0, "lua_balancer.conf"), available.join("lua_balancer.conf")).expect("copy");
    Some(run(debian("a2enmod", &folder.0, &root.0.join("state")).arg("lua_balancer")))
}

#[test]
fn after_make_install_and_a2enmod_configtest_passes_on_a_stock_debian_configuration() {
    let (folder, root) = (Folder::new("conf"), Folder::new("root"));
    let Some(said) = installed(&root, &folder) else { return };
    assert!(file_below(&root.0, "balancer.lua").exists());
    assert!(file_below(&root.0, "mod_lua_balancer.8").exists());
    assert!(said.contains("Enabling module lua_balancer"), "{said}");
    for name in ["proxy", "proxy_http", "lua_balancer"] {
        let link = folder.0.join(format!("apache2/mods-enabled/{name}.load"));
        assert!(link.exists(), "a2enmod has not enabled {name}:\n{said}");
    }
    let said = run(debian("apachectl", &folder.0, &root.0.join("state")).arg("configtest"));
    assert!(said.contains("Syntax OK"), "{said}");
}

#[test]
fn each_configuration_of_the_readmes_passes_configtest_after_the_readmes_install() {
    let (folder, root) = (Folder::new("readme-conf"), Folder::new("readme-root"));
    if installed(&root, &folder).is_none() {
        return;
    }
    let scripts = file_below(&root.0, "balancer.lua");
    let scripts = scripts.parent().expect("the folder of scripts");
    for readme in ["README.md", "README.zh-CN.md"] {
        let readme = text(&workspace().join(readme));
        let blocks: Vec<_> =
            readme.split("```apache\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(blocks.len(), 3, "configurations in the README");
        for block in blocks {
            fs::write(folder.0.join("apache2/conf-enabled/readme.conf"), block)
                .expect("write the configuration");
            let mut configtest = debian("apachectl", &folder.0, &root.0.join("state"));
            let said = run(configtest.arg("configtest").env("LUA_BALANCER_LUADIR", scripts));
            assert!(said.contains("Syntax OK"), "{block}\n{said}");
        }
    }
}

/// Programs that say that they were called, in place of those that would change this system; and
/// what they said.
fn stand_ins(folder: &Path, programs: &[(&str, &str)]) -> PathBuf {
    let said = folder.join("said");
    for (name, body) in programs {
        let path = folder.join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >> {}\n{body}\n", said.display());
        fs::write(&path, text).expect("write a stand-in");
        run(Command::new("chmod").arg("755").arg(&path));
    }
    said
}

fn with_stand_ins(command: &mut Command, folder: &Path) -> String {
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).env_remove("CARGO").output().expect("run a script");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn faults_that_no_package_can_mend_are_told_before_anything_is_installed() {
    let folder = Folder::new("first");
    let old = ("cargo", "echo cargo 1.63.0");
    let said = stand_ins(&folder.0, &[old, ("dpkg-query", "exit 1"), ("apt-get", "")]);
    let goals = ["build", "run", "deps", "deps-test"];
    for goal in goals {
        let words = with_stand_ins(
            Command::new("make").current_dir(workspace()).args(["-s", goal, "SUDO="]),
            &folder.0,
        );
        assert!(words.contains("cargo is 1.63.0: this needs Rust 1.88 or newer"), "{goal}: {words}");
    }
    assert!(!text(&said).contains("apt-get"), "{}", text(&said));

    stand_ins(&folder.0, &[("cargo", "echo cargo 1.88.0")]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let mut make = Command::new("make");
    make.current_dir(workspace()).args(["-s", "run"]).env("PORT", port.to_string());
    let words = with_stand_ins(&mut make, &folder.0);
    assert!(words.contains(&format!("port {port} is in use")), "{words}");
    assert!(!text(&said).contains("apt-get"), "{}", text(&said));
}

#[test]
fn a_server_that_is_installed_for_building_does_not_start_with_the_system() {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        eprintln!("not a Debian system: nothing to show");
        return;
    }
    let folder = Folder::new("deps");
    let there = "case \"$*\" in *apache2-dev*|*lua-check*) ;; *apache2*|*nginx*) exit 1 ;; esac; echo install ok installed";
    let programs = [("dpkg-query", there), ("apt-get", ""), ("systemctl", ""), ("sudo", "exec \"$@\"")];
    let said = stand_ins(&folder.0, &programs);
    let mut deps = Command::new(workspace().join("scripts/deps"));
    deps.arg("test").env("POLICY", folder.0.join("policy"));
    let words = with_stand_ins(&mut deps, &folder.0);
    for server in ["apache2", "nginx"] {
        assert!(text(&said).contains(&format!("systemctl disable {server}")), "{words}{}", text(&said));
    }
}
