// SPDX-License-Identifier: Apache-2.0
//! The attacks of top levels on the process that vets them, and on the server by their definitions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Uid;
use server_tests::{Builder, Httpd, Mpm, on_every_mpm, patience, wait_until};

const SOON: Duration = Duration::from_secs(20);
/// The process that vets, as a program sees it that a top level has started: the parent of its
/// parent.
const ITS_SERVER: &str = "$(sed 's/.*) . //' /proc/$PPID/stat | cut -d' ' -f1)";

fn version(n: u16) -> String {
    format!("function translate(r) return {n} end\n")
}

/// A top level that sends this signal to the process that vets, and then waits.
fn signals(name: &str) -> String {
    format!("os.execute(\"kill -{name} {ITS_SERVER}\") while true do end\n{}", version(299))
}

/// A server whose `/NAME` answers as `NAME.lua` does; all answer 210.
fn scripted(builder: Builder, names: &[&str]) -> Builder {
    names.iter().fold(builder, |builder, name| {
        builder
            .file(&format!("{name}.lua"), &version(210))
            .config(&format!("<Location /{name}>\n  LuaHookTranslate {name}.lua\n</Location>"))
    })
}

fn answers(httpd: &Httpd, name: &str) -> u16 {
    httpd.client().get(&format!("/{name}")).status
}

on_every_mpm!(a_top_level_that_kills_the_process_that_vets_costs_no_other_script_and_no_later_save);

fn a_top_level_that_kills_the_process_that_vets_costs_no_other_script_and_no_later_save(mpm: Mpm) {
    let names = ["a", "b", "c", "d"];
    let mut httpd = scripted(Httpd::builder().mpm(mpm), &names)
        .config("LuaBalancerSandbox off\nLuaBalancerCodeCache forever")
        .start();
    httpd.write("b.lua", &signals("KILL"));
    for name in ["a", "c", "d"] {
        httpd.write(&format!("{name}.lua"), &version(211));
    }
    httpd.graceful();
    assert_eq!(names.map(|name| answers(&httpd, name)), [211, 210, 211, 211], "{}", httpd.error_log());
    assert_eq!(httpd.count_log(r"lua_balancer:error.*\.lua: "), 1, "one is refused: {}", httpd.error_log());
    assert_eq!(httpd.count_log(r"lua_balancer:error.*b\.lua: .*gave no answer"), 1);
    wait_until("a process that vets", SOON, || httpd.vetting_processes().len() == 1);
    httpd.write("b.lua", &version(212));
    httpd.graceful();
    assert_eq!(names.map(|name| answers(&httpd, name)), [211, 212, 211, 211]);
    httpd.assert_no_crash();
}

#[test]
fn a_saved_script_that_kills_the_process_that_vets_costs_none_that_is_saved_with_it() {
    let names = ["a", "b", "c", "d"];
    let httpd = scripted(Httpd::builder(), &names).config("LuaBalancerSandbox off").start();
    let children = httpd.children();
    children.iter().for_each(|pid| httpd.signal(*pid, Signal::SIGSTOP));
    httpd.write("b.lua", &signals("KILL"));
    for name in ["a", "c", "d"] {
        httpd.write(&format!("{name}.lua"), &version(211));
    }
    children.iter().for_each(|pid| httpd.signal(*pid, Signal::SIGCONT));
    wait_until("the other saves", SOON, || names.map(|name| answers(&httpd, name)) == [211, 210, 211, 211]);
    httpd.wait_for_log(r"lua_balancer:error.*b\.lua: .*gave no answer.*not taken");
    assert_eq!(httpd.count_log(r"lua_balancer:error.*/[acd]\.lua: "), 0, "{}", httpd.error_log());
    httpd.write("b.lua", &version(212));
    wait_until("its own next save", SOON, || answers(&httpd, "b") == 212);
}

#[test]
fn saves_are_taken_after_a_top_level_has_killed_or_stopped_the_process_that_vets() {
    for signal in ["KILL", "STOP"] {
        let mut httpd = scripted(Httpd::builder(), &["a"]).config("LuaBalancerSandbox off").start();
        // The restart is to be the first that sees it: children look several times a second.
        let children = httpd.children();
        children.iter().for_each(|pid| httpd.signal(*pid, Signal::SIGSTOP));
        httpd.write("a.lua", &signals(signal));
        httpd.signal(httpd.pid(), Signal::SIGUSR1);
        httpd.wait_for_log_lines("resuming normal operations", 2);
        httpd.write("a.lua", &version(211));
        children.iter().for_each(|pid| httpd.signal(*pid, Signal::SIGCONT));
        httpd.wait_for_log(r"lua_balancer:error.*a\.lua: (the process that vetted it|not finished)");
        wait_until("the save", SOON, || answers(&httpd, "a") == 211);
        let (took, status) = httpd.stop();
        assert!(status.success() && took < patience(Duration::from_secs(4)), "{took:?} {status}");
    }
}

on_every_mpm!(a_saved_script_that_stops_the_process_that_vets_holds_up_no_later_save);

fn a_saved_script_that_stops_the_process_that_vets_holds_up_no_later_save(mpm: Mpm) {
    let mut httpd = scripted(Httpd::builder().mpm(mpm), &["a", "b"]).config("LuaBalancerSandbox off").start();
    assert_eq!(["a", "b"].map(|name| answers(&httpd, name)), [210, 210]);
    httpd.write("a.lua", &signals("STOP"));
    httpd.wait_for_log("the process that vets saved scripts has ended, another one takes its place");
    httpd.write("b.lua", &version(211));
    wait_until("the other script's save", SOON, || answers(&httpd, "b") == 211);
    httpd.wait_for_log(r"lua_balancer:error.*a\.lua:.*not taken");
    httpd.write("a.lua", &version(212));
    wait_until("its own next save", SOON, || answers(&httpd, "a") == 212);
    assert_eq!(httpd.vetting_processes().len(), 1, "{}", httpd.error_log());
    let (took, status) = httpd.stop();
    assert!(status.success() && took < patience(Duration::from_secs(4)), "{took:?} {status}");
}

on_every_mpm!(a_version_whose_pools_find_no_room_is_not_taken);

fn a_version_whose_pools_find_no_room_is_not_taken(mpm: Mpm) {
    let pools = "for i = 1, 4000 do lb.define_pool('p' .. i, {{ host = '127.0.0.1', port = 80 }}) end\n";
    let members = "local t = {} for i = 1, 30000 do t[i] = { host = '127.0.0.1', port = i } end lb.define_pool('big', t)\n";
    let mut httpd = scripted(Httpd::builder().mpm(mpm).children(1), &["a"]).start();
    for (good, what, text) in [(210, "pool", pools), (211, "member", members)] {
        wait_until("the good version", SOON, || (0..8).all(|_| answers(&httpd, "a") == good));
        httpd.write("a.lua", &(text.to_owned() + &version(299)));
        httpd.wait_for_log(&format!(r"lua_balancer:error.*a\.lua: no room for another {what}.*not taken"));
        assert_eq!(answers(&httpd, "a"), good, "{}", httpd.error_log());
        httpd.graceful();
        httpd.wait_for_log(&format!(r"a\.lua: no room for another {what}.*last good version, if"));
        assert_eq!(answers(&httpd, "a"), good, "also in children born later: {}", httpd.error_log());
        let test = httpd.configtest();
        assert!(
            !test.ok && test.says(&format!(r"line \d+ of .*a\.lua: no room for another {what}")),
            "{test:?}"
        );
        httpd.write("a.lua", &version(good + 1));
    }
    wait_until("the last good version", SOON, || answers(&httpd, "a") == 212);
    assert_eq!(httpd.count_log("pool (p1|big): defined"), 0, "a refused version has changed pools");
}

/// Sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        })
        .count()
}

#[test]
fn many_saved_scripts_take_few_descriptors_of_a_child() {
    let names: Vec<String> = (0..60).map(|n| format!("s{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let httpd = scripted(Httpd::builder().children(1), &all).config("LuaBalancerSandbox off").start();
    let child = httpd.children()[0];
    let before = sockets(child);
    for name in &names {
        let text = format!("io.popen('exec sleep 61'):read('a')\n{}", version(211));
        httpd.write(&format!("{name}.lua"), &text);
    }
    wait_until("workers", SOON, || httpd.vetting_processes().len() > 8);
    for _ in 0..20 {
        let now = sockets(child);
        assert!(now <= before + 12, "{before} sockets before, {now} now");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(answers(&httpd, "s7"), 210);
}

#[test]
fn scripts_are_vetted_where_children_see_them_in_a_chroot() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: ChrootDir (the tests do not run as root)");
        return;
    }
    let builder = scripted(Httpd::builder(), &["a"]).config("LuaBalancerSandbox off");
    let (jail, dir) = (builder.dir().join("jail"), builder.dir().display().to_string());
    let builder = builder.config(&format!("ChrootDir {}", jail.display()));
    // A new root without anything but the script: no /dev, no /proc, no libraries.
    let inside = Path::new("jail").join(dir.trim_start_matches('/'));
    let script = |text: &str| {
        format!("lb.log('warn', io.open('{dir}/httpd.conf') and 'is outside' or 'is inside')\n{text}")
    };
    let name = inside.join("a.lua").display().to_string();
    let httpd = builder.file(&name, &script(&version(211))).file("a.lua", &script(&version(299)));
    open_folders(&jail);
    let mut httpd = httpd.start();
    assert_eq!(answers(&httpd, "a"), 211);
    httpd.write(&name, &script(&version(212)));
    wait_until("a save", SOON, || answers(&httpd, "a") == 212);
    httpd.write("a.lua", &script(&version(298)));
    httpd.graceful();
    assert_eq!(answers(&httpd, "a"), 212);
    httpd.wait_for_log("is inside");
    assert_eq!(httpd.count_log("is outside"), 0, "{}", httpd.error_log());
    assert_eq!(httpd.count_log("version [0-9]+ is in service"), 1, "{}", httpd.error_log());
}

/// Lets everybody enter.
fn open_folders(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a mode");
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            open_folders(&entry.path());
        }
    }
}
