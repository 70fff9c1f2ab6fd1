// SPDX-License-Identifier: Apache-2.0
//! Processes that are killed while the file is written.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::{Backend, Httpd, eventually, patience, wait_until};

use super::{SOON, file, kept, patch, read, wait_for_file};

/// So many servers die so many times each.
const SERVERS: u64 = 8;
const DEATHS: u64 = 25;

/// The process that dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    Leader,
    Parent,
    All,
}

#[test]
fn two_hundred_kills_in_the_middle_of_writing_leave_the_old_or_the_new_file() {
    let caught = AtomicUsize::new(0);
    thread::scope(|scope| {
        for server in 0..SERVERS {
            let caught = &caught;
            scope.spawn(move || die_again_and_again(server, caught));
        }
    });
    let caught = caught.load(Ordering::Relaxed);
    eprintln!("{caught} of {} kills left a file that was being written", SERVERS * DEATHS);
}

fn die_again_and_again(server: u64, caught: &AtomicUsize) {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).children(2).threads(4).start();
    // Some pages of file.
    let members: Vec<String> =
        (0..200).map(|n| format!(r#"{{"url":"http://127.0.0.1:9/{n}","name":"x{n}"}}"#)).collect();
    let listed = members
        .iter()
        .map(|member| format!(r#"{{"method":"POST","path":"/api/v1/pools/app/members","body":{member}}}"#));
    let batch = format!("[{}]", listed.collect::<Vec<_>>().join(","));
    let added = httpd.order("POST", "/api/v1/batch", &batch);
    assert_eq!(added.status, 200, "{}", added.text());
    note(&httpd, 0);
    wait_for_file(&httpd, "\"n0\"");
    for round in 1..=DEATHS {
        let leader = leader(&httpd);
        note(&httpd, round);
        await_writing(&httpd, &format!("\"n{round}\""));
        // Sooner or later in it.
        let (moment, later) = (Instant::now(), Duration::from_micros((round * 37 + server * 11) * 41 % 3000));
        while moment.elapsed() < later {
            std::hint::spin_loop();
        }
        let death = [Death::Leader, Death::Parent, Death::All][(round % 3) as usize];
        match death {
            Death::Leader => httpd.signal(leader, Signal::SIGKILL),
            Death::Parent => httpd.signal(httpd.pid(), Signal::SIGKILL),
            Death::All => {}
        }
        if !matches!(death, Death::Leader) {
            end(&mut httpd);
        }
        caught.fetch_add(usize::from(half_written(&httpd) > 0), Ordering::Relaxed);
        let text = fs::read_to_string(file(&httpd)).expect("a file");
        let found = [round - 1, round].into_iter().find(|n| text.contains(&format!("\"n{n}\"")));
        let found = found.unwrap_or_else(|| panic!("neither the old nor the new one: {text}"));
        if !matches!(death, Death::Leader) {
            httpd.start_again();
            assert!(read(&httpd).contains(&format!("\"n{found}\"")), "{}", read(&httpd));
            note(&httpd, round);
        }
        wait_for_file(&httpd, &format!("\"n{round}\""));
        wait_until("what is left to be swept", SOON, || half_written(&httpd) == 0);
        assert_eq!(httpd.count_log("lua_balancer:(error|warn)"), 0, "{}", httpd.error_log());
        let total = httpd.socket().get("/api/v1/pools/app").text().matches("\"name\":\"x").count();
        assert_eq!(total, 200, "{death:?}");
    }
}

#[test]
fn a_helper_of_another_module_does_not_keep_the_file_from_the_next_server() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let builder = kept(&a, &b).module("cgid");
    let script_socket = builder.dir().join("run/cgid");
    let mut httpd = builder.config(&format!("ScriptSock {}", script_socket.display())).start();
    // Its daemon is made anew then, by a parent that has the lock.
    httpd.graceful();
    note(&httpd, 1);
    wait_for_file(&httpd, "\"n1\"");
    let lock = file(&httpd).with_file_name("state.json.lock");
    let holders = || {
        let all = fs::read_dir("/proc").expect("the processes").flatten();
        let opened = all.filter_map(|process| {
            let opened = fs::read_dir(process.path().join("fd")).ok()?.flatten();
            let mut leads = opened.filter_map(|one| fs::read_link(one.path()).ok());
            leads.any(|path| path == lock).then(|| process.file_name().to_string_lossy().into_owned())
        });
        opened.collect::<Vec<String>>()
    };
    wait_until("the parent to hold it alone", SOON, || holders() == [httpd.pid().to_string()]);
    end(&mut httpd);
    httpd.start_again();
    assert!(read(&httpd).contains("\"n1\""), "{}", httpd.error_log());
}

fn note(httpd: &Httpd, n: u64) {
    patch(httpd, &format!(r#"{{"admin":"drain","note":"n{n}"}}"#));
}

fn leader(httpd: &Httpd) -> u32 {
    eventually("a leader", SOON, || {
        let status = httpd.socket().get("/api/v1/status").text();
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["leader"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    })
}

/// Waits, without a pause, until the file is being written, or has been: it may be too quick.
pub fn await_writing(httpd: &Httpd, part: &str) {
    let (start, path) = (Instant::now(), file(httpd));
    while half_written(httpd) == 0 {
        let is_written = fs::read_to_string(&path).is_ok_and(|text| text.contains(part));
        if is_written {
            return;
        }
        assert!(start.elapsed() < patience(SOON), "{part} is not written:\n{}", httpd.error_log());
    }
}

pub fn half_written(httpd: &Httpd) -> usize {
    let folder = fs::read_dir(httpd.dir().join("kept")).expect("the folder");
    folder.filter(|entry| entry.as_ref().is_ok_and(|entry| is_new(&entry.path()))).count()
}

fn is_new(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "new")
}

/// All of the server is gone when this returns, the children of a dead parent too.
fn end(httpd: &mut Httpd) {
    let group = httpd.pid();
    httpd.kill();
    wait_until("the children to go", SOON, || !is_there(group));
}

/// Whether a group has a process that has not ended: one that is a zombie may have threads that a
/// disk keeps.
fn is_there(group: u32) -> bool {
    let mut all = fs::read_dir("/proc").expect("the processes").flatten().map(|entry| entry.path());
    all.any(|process| {
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let [state, _, of, ..] = fields.as_slice() else { return false };
        let threads = || fs::read_dir(process.join("task")).map_or(0, Iterator::count);
        of.parse() == Ok(group) && (*state != "Z" || threads() > 1)
    })
}
