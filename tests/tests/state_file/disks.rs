// SPDX-License-Identifier: Apache-2.0
//! Disks that take nothing, for a while or for good.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use server_tests::{Backend, Httpd, Mpm, assert_says, on_every_mpm, wait_until};

use super::{SOON, file, is_not_root, kept, patch, read, wait_for_file};

const WARNING: &str = "lua_balancer:warn.*(cannot be written|is not kept)";

/// A file system in memory, in a server's folder.
struct Disk(PathBuf);

/// Dropped in this order: nothing of a mounted folder can be removed.
struct Server {
    disk: Disk,
    httpd: Httpd,
}

impl Disk {
    /// None, with a line that says so, where the tests may mount nothing.
    fn mounted(folder: &Path) -> Option<Self> {
        fs::create_dir(folder).expect("a folder");
        let mounted = mount(&["-t", "tmpfs", "-o", "size=128k,mode=0777", "none"], folder);
        if let Err(error) = &mounted {
            eprintln!("SKIPPED: a disk of its own (nothing can be mounted: {error})");
        }
        mounted.ok().map(|()| Disk(folder.to_owned()))
    }

    /// A disk of blocks, which can be frozen.
    fn of_blocks(folder: &Path) -> Option<Self> {
        let image = folder.with_extension("image");
        fs::create_dir(folder).expect("a folder");
        let grown = fs::File::create(&image).and_then(|file| file.set_len(16 << 20));
        let made = grown.map_err(|error| error.to_string()).and_then(|()| run("mkfs.ext4", &["-q"], &image));
        let mounted = made.and_then(|()| mount(&["-o", "loop", &image.display().to_string()], folder));
        if let Err(error) = &mounted {
            eprintln!("SKIPPED: a disk that can be frozen (nothing can be mounted: {error})");
        }
        let disk = mounted.ok().map(|()| Disk(folder.to_owned()))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("open the folder");
        Some(disk)
    }

    fn fill(&self) {
        let error = fs::write(self.0.join("filler"), vec![0; 1 << 20]).expect_err("more than fits");
        assert_eq!(error.raw_os_error(), Some(28), "{error}");
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("remove the filler");
    }

    fn remount(&self, how: &str) {
        mount(&["-o", &format!("remount,{how}")], &self.0).expect("mount it again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("fsfreeze", &["-u"], &self.0);
        let _ = run("umount", &["-l"], &self.0);
    }
}

fn mount(options: &[&str], folder: &Path) -> Result<(), String> {
    run("mount", options, folder)
}

fn run(program: &str, options: &[&str], path: &Path) -> Result<(), String> {
    let output = Command::new(program).args(options).arg(path).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or(said)
}

/// A server with a drained member, whose state is on a disk of its own.
fn on_a_disk(mpm: Mpm) -> Option<(Server, [Backend; 2])> {
    on(mpm, Disk::mounted)
}

fn on(mpm: Mpm, make: impl Fn(&Path) -> Option<Disk>) -> Option<(Server, [Backend; 2])> {
    let backends = ["a", "b"].map(Backend::new);
    let builder = kept(&backends[0], &backends[1]).mpm(mpm);
    let disk = make(&builder.dir().join("kept"))?;
    let server = Server { disk, httpd: builder.start() };
    patch(&server.httpd, r#"{"admin":"drain","note":"first"}"#);
    wait_for_file(&server.httpd, "first");
    Some((server, backends))
}

fn is_warned(httpd: &Httpd) -> bool {
    httpd.socket().get("/api/v1/status").text().contains(r#""code":"state_file""#)
}

/// One warning in the log, one in the status, and a server that serves.
fn meets_trouble(httpd: &Httpd, why: &str) {
    httpd.wait_for_log(WARNING);
    assert_says(&httpd.error_log(), &[why]);
    assert!(is_warned(httpd));
    assert_eq!(httpd.client().get("/app/").status, 200);
}

fn gets_over_it(httpd: &Httpd) {
    httpd.wait_for_log("lua_balancer:notice.*the state file .* is written again");
    wait_until("no warning", SOON, || !is_warned(httpd));
    wait_for_file(httpd, "second");
}

/// No second warning, and the next start has what was written last.
fn ends_without_a_word(httpd: &mut Httpd, warnings: usize) {
    httpd.stop();
    assert_eq!(httpd.count_log(WARNING), warnings, "{}", httpd.error_log());
    assert_eq!(httpd.count_log("lua_balancer:error"), 0, "{}", httpd.error_log());
    httpd.start_again();
    assert_says(&read(httpd), &["draining", "second"]);
    httpd.assert_no_crash();
}

on_every_mpm!(a_full_disk_is_one_warning_until_there_is_room);
fn a_full_disk_is_one_warning_until_there_is_room(mpm: Mpm) {
    let Some((mut server, _backends)) = on_a_disk(mpm) else { return };
    server.disk.fill();
    patch(&server.httpd, r#"{"admin":"drain","note":"second"}"#);
    meets_trouble(&server.httpd, "No space left on device");
    server.disk.free();
    gets_over_it(&server.httpd);
    server.disk.fill();
    patch(&server.httpd, r#"{"admin":"drain","note":"third"}"#);
    server.httpd.wait_for_log_lines(WARNING, 2);
    ends_without_a_word(&mut server.httpd, 2);
}

#[test]
fn a_disk_that_is_read_only_is_one_warning_until_it_is_not() {
    let Some((mut server, _backends)) = on_a_disk(Mpm::Event) else { return };
    server.disk.remount("ro");
    patch(&server.httpd, r#"{"admin":"drain","note":"second"}"#);
    meets_trouble(&server.httpd, "Read-only file system");
    server.disk.remount("rw");
    gets_over_it(&server.httpd);
    server.disk.remount("ro");
    patch(&server.httpd, r#"{"admin":"drain","note":"third"}"#);
    server.httpd.wait_for_log_lines(WARNING, 2);
    // The next server reads it, and can write it no more than this one.
    ends_without_a_word(&mut server.httpd, 2);
    patch(&server.httpd, r#"{"weight":2}"#);
    meets_trouble(&server.httpd, "Read-only file system");
}

#[test]
fn a_disk_that_hangs_holds_up_nothing_and_is_one_warning() {
    let Some((server, _backends)) = on(Mpm::Event, Disk::of_blocks) else { return };
    let httpd = &server.httpd;
    run("fsfreeze", &["-f"], &server.disk.0).expect("freeze the disk");
    patch(httpd, r#"{"admin":"drain","note":"second"}"#);
    // It is told after half a minute; the lead stays where it is.
    wait_until("a warning", Duration::from_secs(60), || {
        assert_eq!(httpd.client().get("/app/").status, 200);
        httpd.count_log(WARNING) > 0
    });
    meets_trouble(httpd, "it takes longer than 30 s");
    assert_eq!(httpd.count_log("leads: it runs checks"), 1, "{}", httpd.error_log());
    run("fsfreeze", &["-u"], &server.disk.0).expect("thaw the disk");
    gets_over_it(httpd);
    assert_eq!(httpd.count_log(WARNING), 1, "{}", httpd.error_log());
}

#[test]
fn a_disk_that_is_full_at_the_stop_alone_is_one_warning() {
    let Some((mut server, _backends)) = on_a_disk(Mpm::Event) else { return };
    patch(&server.httpd, r#"{"admin":"drain","note":"second"}"#);
    wait_for_file(&server.httpd, "second");
    server.disk.fill();
    ends_without_a_word(&mut server.httpd, 1);
}

#[test]
fn a_folder_that_the_account_of_children_cannot_write_to_is_one_warning() {
    if is_not_root("a folder of root's") {
        return;
    }
    let [a, b] = ["a", "b"].map(Backend::new);
    let builder = kept(&a, &b);
    fs::create_dir(builder.dir().join("kept")).expect("root's folder");
    let mut httpd = builder.start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    meets_trouble(&httpd, "Permission denied");
    httpd.stop();
    assert_eq!(httpd.count_log(WARNING), 1, "{}", httpd.error_log());
}

#[test]
fn a_folder_that_is_gone_for_a_while_is_one_warning_without_root_as_well() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let builder = kept(&a, &b);
    let httpd = if is_not_root("httpd as another account") { builder } else { builder.without_root() };
    let httpd = httpd.start();
    patch(&httpd, r#"{"admin":"drain"}"#);
    wait_for_file(&httpd, "drain");
    let folder = file(&httpd).parent().expect("its folder").to_owned();
    let moved = httpd.dir().join("elsewhere");
    fs::rename(&folder, &moved).expect("move the folder away");
    patch(&httpd, r#"{"admin":"drain","note":"second"}"#);
    meets_trouble(&httpd, "No such file or directory");
    fs::rename(&moved, &folder).expect("bring it back");
    gets_over_it(&httpd);
    assert_eq!(httpd.count_log(WARNING), 1, "{}", httpd.error_log());
}
