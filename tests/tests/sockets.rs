// SPDX-License-Identifier: Apache-2.0
//! The socket of the control plane, from its start to its end.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::socket::{connect, file_number};
use server_tests::{Backend, Builder, Httpd, Mpm, SocketClient, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// Where a listening Unix socket is in the descriptors of a process: as `/proc` names it.
fn names_of_sockets(path: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").expect("read /proc/net/unix");
    let own = |line: &&str| line.ends_with(&format!(" {}", path.display()));
    let numbers = table.lines().filter(own).filter_map(|line| line.split_whitespace().nth(6));
    numbers.map(|number| format!("socket:[{number}]")).collect()
}

/// Whether a process has a listening socket of this path open.
fn has_open(pid: u32, names: &[String]) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| names.iter().any(|name| target.as_os_str() == name.as_str()))
}

fn is_ok(client: &mut SocketClient) -> bool {
    client.try_send(&server_tests::Request::get("/")).is_ok_and(|response| response.status == 200)
}

fn plain() -> Builder {
    Httpd::builder()
}

fn the_socket_is_there_without_a_word_and_gone_after_a_stop(mpm: Mpm) {
    let mut httpd = plain().mpm(mpm).start();
    let path = httpd.socket_path();
    let found = fs::symlink_metadata(&path).expect("a socket");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(httpd.socket().get("/").status, 200);
    let (_, status) = httpd.stop();
    assert!(status.success());
    assert!(!path.exists(), "the socket's file is left");
    httpd.assert_no_crash();
}

on_every_mpm!(the_socket_is_there_without_a_word_and_gone_after_a_stop);

fn a_restart_keeps_the_socket_and_no_call_fails(mpm: Mpm) {
    let mut httpd = plain().mpm(mpm).start();
    let before = file_number(&httpd.socket_path());
    let stop = AtomicBool::new(false);
    let calls = AtomicUsize::new(0);
    let failed = thread::scope(|scope| {
        // One connection a call, and one kept as long as the server keeps it.
        let pollers = [true, false].map(|keeps| {
            let (mut client, stop, calls) = (httpd.socket(), &stop, &calls);
            scope.spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let call = calls.fetch_add(1, Ordering::Relaxed);
                    match client.try_send(&server_tests::Request::get("/")) {
                        Ok(response) if response.status == 200 => {}
                        other => failed.push(format!("call {call}: {other:?}")),
                    }
                    if !keeps {
                        client.disconnect();
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                failed
            })
        });
        for round in 0..6 {
            let before = calls.load(Ordering::Relaxed);
            wait_until("some calls", SOON, || calls.load(Ordering::Relaxed) > before + 4);
            if round % 3 == 2 { httpd.restart() } else { httpd.graceful() }
        }
        stop.store(true, Ordering::Relaxed);
        pollers.map(|poller| poller.join().expect("a poller"))
    });
    assert_eq!(failed, [Vec::<String>::new(), Vec::new()]);
    assert_eq!(file_number(&httpd.socket_path()), before, "the socket was bound anew");
    httpd.assert_no_crash();
}

on_every_mpm!(a_restart_keeps_the_socket_and_no_call_fails);

#[test]
fn a_hundred_graceful_restarts_cost_no_call() {
    let mut httpd = plain().children(1).threads(2).start();
    let stop = AtomicBool::new(false);
    let (calls, failed) = thread::scope(|scope| {
        let (mut client, stop) = (httpd.socket(), &stop);
        let poller = scope.spawn(move || {
            let (mut calls, mut failed) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                client.disconnect();
                match client.try_send(&server_tests::Request::get("/")) {
                    Ok(response) if response.status == 200 => calls += 1,
                    other => failed.push(format!("call {calls}: {other:?}")),
                }
                thread::sleep(Duration::from_millis(50));
            }
            (calls, failed)
        });
        for _ in 0..100 {
            httpd.graceful();
        }
        stop.store(true, Ordering::Relaxed);
        poller.join().expect("a poller")
    });
    assert!(calls > 20 && failed.is_empty(), "{calls} calls, failed: {failed:?}");
    httpd.assert_no_crash();
}

#[test]
fn a_test_of_the_configuration_binds_nothing_and_takes_nothing_away() {
    let test = plain().config("LuaBalancerSocket own.sock");
    let folder = test.dir().to_owned();
    let watch = thread::spawn(move || {
        // The folder goes with the test: whatever is in it until then is looked at.
        let until = Instant::now() + Duration::from_secs(1);
        let mut seen = Vec::new();
        while Instant::now() < until {
            let files = fs::read_dir(folder.join("run")).into_iter().flatten().flatten();
            seen.extend(files.map(|file| file.file_name()));
        }
        seen
    });
    let result = test.configtest();
    assert!(result.ok, "{}", result.output);
    assert_eq!(watch.join().expect("a watcher"), Vec::<std::ffi::OsString>::new());

    let httpd = plain().start();
    let before = file_number(&httpd.socket_path());
    assert!(httpd.configtest().ok);
    assert_eq!(file_number(&httpd.socket_path()), before);
    assert_eq!(httpd.socket().get("/").status, 200);
}

#[test]
fn a_socket_that_an_ended_server_has_left_is_replaced() {
    let builder = plain();
    let path = builder.dir().join("run/lua_balancer.sock");
    drop(UnixListener::bind(&path).expect("bind"));
    assert!(path.exists(), "a leftover");
    let httpd = builder.start();
    assert_eq!(httpd.socket().get("/").status, 200);
    assert_eq!(httpd.count_log("no socket"), 0);
}

#[test]
fn a_path_where_another_server_answers_refuses_the_start_in_words() {
    let builder = plain().config("LuaBalancerSocket own.sock");
    let path = builder.dir().join("run/own.sock");
    let other = UnixListener::bind(&path).expect("bind");
    let log = builder.try_start().expect_err("the path is in use");
    assert!(log.contains(&format!("another server answers at {}", path.display())), "{log}");
    assert!(log.contains("LuaBalancerSocket, line"), "{log}");
    assert!(other.local_addr().is_ok());
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let builder = plain().config("LuaBalancerSocket own.sock").file("run/own.sock", "precious");
    let path = builder.dir().join("run/own.sock");
    let dir = builder.dir().to_owned();
    let log = builder.try_start().expect_err("a file is there");
    assert!(log.contains(&format!("there is something else at {}", path.display())), "{log}");
    assert!(
        dir.join("httpd.conf").exists() || !path.exists() || fs::read_to_string(&path).unwrap() == "precious"
    );
}

#[test]
fn a_default_socket_that_cannot_be_had_is_one_warning() {
    let builder = plain();
    let path = builder.dir().join("run/lua_balancer.sock");
    let other = UnixListener::bind(&path).expect("bind");
    let mut httpd = builder.start();
    let warning = r"lua_balancer:warn.*no socket for the control plane: another server answers at .*LuaBalancerSocket names";
    assert_eq!(httpd.count_log(warning), 1, "{}", httpd.error_log());
    httpd.graceful();
    assert_eq!(httpd.count_log("no socket for the control plane"), 1, "{}", httpd.error_log());
    let (_, status) = httpd.stop();
    assert!(status.success());
    assert!(path.exists(), "the other server's file is gone");
    drop(other);
}

#[test]
fn a_configured_socket_without_a_folder_refuses_the_start() {
    let log = plain().config("LuaBalancerSocket none/own.sock").try_start().expect_err("no folder");
    assert!(log.contains("none/own.sock cannot be bound: No such file or directory"), "{log}");
}

#[test]
fn none_is_none() {
    let httpd = plain().config("LuaBalancerSocket none").start();
    assert_eq!(fs::read_dir(httpd.dir().join("run")).expect("the folder").count(), 0);
}

#[test]
fn mode_and_group_are_those_of_the_line_and_a_change_binds_anew() {
    let mut httpd = plain().config("LuaBalancerSocket own.sock mode=0640").start();
    let path = httpd.dir().join("run/own.sock");
    let mode = || fs::symlink_metadata(&path).map(|found| found.permissions().mode() & 0o777).ok();
    assert_eq!(mode(), Some(0o640));
    let before = file_number(&path);
    let group = nix::unistd::Group::from_gid(nix::unistd::getegid()).expect("groups").expect("a group");
    httpd.edit_config("own.sock mode=0640", &format!("own.sock group={}", group.name));
    httpd.graceful();
    assert_eq!(mode(), Some(0o660));
    assert_eq!(fs::symlink_metadata(&path).expect("the socket").gid(), group.gid.as_raw());
    assert_ne!(file_number(&path), before);
    assert_eq!(SocketClient::new(&path).get("/").status, 200);
    assert!(!httpd.dir().join("run/own.sock~").exists());

    httpd.edit_config("LuaBalancerSocket own.sock", "LuaBalancerSocket other.sock");
    httpd.graceful();
    assert!(!path.exists(), "the old file is left");
    assert_eq!(SocketClient::new(&httpd.dir().join("run/other.sock")).get("/").status, 200);

    httpd.edit_config("LuaBalancerSocket other.sock", "LuaBalancerSocket none #");
    httpd.edit_config(" #", "\n#");
    httpd.graceful();
    assert!(!httpd.dir().join("run/other.sock").exists());
}

#[test]
fn what_cannot_be_had_at_a_restart_leaves_the_socket_as_it_was() {
    let mut httpd = plain().config("LuaBalancerSocket own.sock").start();
    let path = httpd.dir().join("run/own.sock");
    let other = httpd.dir().join("run/other.sock");
    let taken = UnixListener::bind(&other).expect("bind");
    httpd.edit_config("LuaBalancerSocket own.sock", "LuaBalancerSocket other.sock");
    httpd.graceful();
    let line = r"lua_balancer:error.*another server answers at .*other\.sock.*stays as it is";
    assert_eq!(httpd.count_log(line), 1, "{}", httpd.error_log());
    assert_eq!(SocketClient::new(&path).get("/").status, 200);
    drop(taken);
    httpd.graceful();
    assert_eq!(SocketClient::new(&other).get("/").status, 200, "a leftover by now");
    assert!(!path.exists());
}

#[test]
fn a_stop_leaves_a_file_that_is_anothers_by_now() {
    let mut httpd = plain().start();
    let path = httpd.socket_path();
    fs::remove_file(&path).expect("remove the socket");
    let other = UnixListener::bind(&path).expect("bind");
    let (_, status) = httpd.stop();
    assert!(status.success());
    assert!(path.exists(), "the other server's file is gone");
    drop(other);
}

fn no_program_inherits_the_socket(mpm: Mpm) {
    let script =
        "#!/bin/sh\necho 'Content-Type: text/plain'\necho\nfor fd in /proc/$$/fd/*; do readlink $fd; done\n";
    let pipe = "#!/bin/sh\nfor fd in /proc/$$/fd/*; do readlink $fd; done > \"$1\"\ncat > /dev/null\n";
    let listen = server_tests::ports::ReservedPort::new();
    let builder = plain().mpm(mpm).module("cgid").file("cgi/fds", script).file("piped", pipe);
    let dir = builder.dir().to_owned();
    let out = builder.open_folder("out").join("fds");
    for program in ["cgi/fds", "piped"] {
        fs::set_permissions(dir.join(program), fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let mut httpd = builder
        .config(&format!(
            "ScriptAlias /cgi/ {}/cgi/\n<Directory {0}/cgi>\nRequire all granted\n</Directory>",
            dir.display()
        ))
        .config(&format!("ScriptSock {}/run/cgid.sock", dir.display()))
        .config(&format!("CustomLog \"|{}/piped {}\" test", dir.display(), out.display()))
        .config(&format!("LuaBalancerMetrics listen=127.0.0.1:{}", listen.port()))
        .start();
    httpd.graceful();
    let names = names_of_sockets(&httpd.socket_path());
    assert!(!names.is_empty() && has_open(httpd.pid(), &names), "{names:?}");
    let seen = httpd.client().get("/cgi/fds");
    assert_eq!(seen.status, 200, "{}", seen.text());
    for name in &names {
        assert!(!seen.text().contains(name.as_str()), "{name} in {}", seen.text());
        let piped = fs::read_to_string(&out).expect("what the piped log has open");
        assert!(!piped.contains(name.as_str()), "{name} in {piped}");
    }
}

on_every_mpm!(no_program_inherits_the_socket);

fn an_old_child_that_is_still_busy_has_no_socket_any_more(mpm: Mpm) {
    let backend = Backend::new("slow");
    backend.slow(Duration::from_secs(7));
    let mut httpd = plain()
        .mpm(mpm)
        .config(&pool("app", &[(&backend, "")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    let mut client = httpd.client();
    let names = names_of_sockets(&httpd.socket_path());
    let before = httpd.children();
    thread::scope(|scope| {
        let slow = scope.spawn(move || client.get("/app/").status);
        wait_until("the request to be at the backend", SOON, || backend.in_flight() > 0);
        httpd.graceful();
        // Once there are new ones: the MPM takes its time where old ones have all the threads.
        wait_until("old children to close the socket", SOON, || {
            before.iter().all(|pid| !has_open(*pid, &names))
        });
        assert_eq!(httpd.socket().get("/").status, 200);
        assert!(!slow.is_finished(), "the old child had nothing to do any more");
        assert_eq!(slow.join().expect("a client"), 200);
    });
    httpd.assert_no_crash();
}

on_every_mpm!(an_old_child_that_is_still_busy_has_no_socket_any_more);

/// All workers are held by slow requests; the leader is killed.
fn the_socket_answers_while_all_workers_are_held(mpm: Mpm) {
    let backend = Backend::new("slow");
    backend.slow(Duration::from_secs(5));
    let httpd = plain()
        .mpm(mpm)
        .children(2)
        .threads(2)
        .config(&pool("app", &[(&backend, "")], "LuaBalancerSet retries=0"))
        .config("ProxyPass /app lb://app\n<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .start();
    let held: Vec<_> = (0..8)
        .map(|_| {
            let port = httpd.port();
            thread::spawn(move || drop(server_tests::Client::new(port).strict().try_get("/app/")))
        })
        .collect();
    wait_until("all workers to be held", SOON, || backend.in_flight() >= 4);
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(httpd.socket().get("/").status, 200);
            start.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
    let leader = httpd.wait_for_log(r"child \d+ leads");
    let leader = leader.split("child ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a pid");
    httpd.signal(leader.parse().expect("a pid"), Signal::SIGKILL);
    let start = Instant::now();
    let mut client = httpd.socket();
    assert!(is_ok(&mut client), "no answer after the leader's end");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop(httpd);
    held.into_iter().for_each(|held| drop(held.join()));
}

on_every_mpm!(the_socket_answers_while_all_workers_are_held);

/// Of one child, which is busy, so that none ends soon; and of two, one of which does.
fn a_graceful_stop_leaves_nobody_waiting_at_the_socket(mpm: Mpm) {
    for children in [1, 2] {
        gracefully_stopped(mpm, children);
    }
}

on_every_mpm!(a_graceful_stop_leaves_nobody_waiting_at_the_socket);

fn gracefully_stopped(mpm: Mpm, children: usize) {
    let backend = Backend::new("slow");
    backend.slow(Duration::from_secs(3));
    let mut httpd = plain()
        .mpm(mpm)
        .children(children)
        .config(&pool("app", &[(&backend, "")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    let path = httpd.socket_path();
    assert_eq!(httpd.socket().get("/").status, 200);
    let mut client = httpd.client();
    thread::scope(|scope| {
        let slow = scope.spawn(move || client.get("/app/").status);
        wait_until("the request to be at the backend", SOON, || backend.in_flight() > 0);
        let poller = scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(2);
            let mut longest = Duration::ZERO;
            while Instant::now() < until {
                let start = Instant::now();
                // Answered, or refused at once: both are clear.
                if let Ok(mut stream) = connect(&path) {
                    use std::io::{Read, Write};
                    drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
                    drop(stream.read(&mut [0; 64]));
                }
                longest = longest.max(start.elapsed());
                thread::sleep(Duration::from_millis(20));
            }
            longest
        });
        let (_, status) = httpd.graceful_stop();
        assert!(status.success());
        assert_eq!(slow.join().expect("a client"), 200);
        let longest = poller.join().expect("a poller");
        assert!(longest < Duration::from_secs(1), "somebody waited for {longest:?}");
    });
    assert!(!path.exists());
}

#[test]
fn the_leaders_end_in_the_middle_of_a_large_change_leaves_a_whole_table() {
    let httpd = plain()
        .config("<LuaBalancerPool app>\n</LuaBalancerPool>\nLuaBalancerMaxMembers 3000")
        .children(3)
        .start();
    let list = |count: usize| {
        let member = |at: usize| format!("{{\"url\":\"http://127.0.0.1:{}\",\"name\":\"m{at}\"}}", 1000 + at);
        format!("[{}]", (0..count).map(member).collect::<Vec<_>>().join(","))
    };
    let put = |count: usize| {
        let request = server_tests::Request::post("/api/v1/pools/app/members", list(count));
        request.with_method("PUT").header("Content-Type", "application/json")
    };
    let count = |httpd: &Httpd| {
        let text = httpd.socket().get("/api/v1/pools/app?fields=members.name").text();
        text.matches("\"name\"").count()
    };
    assert_eq!(httpd.socket().send(&put(10)).status, 200);
    for round in 0..6 {
        let mut client = httpd.socket();
        let request = put(if round % 2 == 0 { 1000 } else { 10 });
        let change = thread::spawn(move || client.try_send(&request).map(|response| response.status));
        thread::sleep(Duration::from_millis(5 + 15 * round));
        let start = Instant::now();
        for pid in httpd.children() {
            httpd.signal(pid, Signal::SIGKILL);
        }
        assert_eq!(httpd.socket().get("/api/v1/pools").status, 200);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        drop(change.join().expect("a client"));
        let seen = count(&httpd);
        assert!((10..=1000).contains(&seen), "{seen} members");
        assert_eq!(httpd.socket().send(&put(20 + round as usize)).status, 200, "the table takes no change");
        assert_eq!(count(&httpd), 20 + round as usize);
        assert_eq!(httpd.socket().send(&put(10)).status, 200);
    }
}

#[test]
fn two_hundred_connections_at_once_get_their_answers() {
    let httpd = plain().children(1).start();
    let path = httpd.socket_path();
    let mut streams: Vec<_> = (0..200).map(|_| connect(&path).expect("connect")).collect();
    for stream in &mut streams {
        std::io::Write::write_all(
            stream,
            b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .expect("send");
    }
    for mut stream in streams {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).expect("an answer");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
}

#[test]
fn a_large_change_holds_up_no_reader() {
    let builder = plain().children(1).config("LuaBalancerMaxMembers 2000");
    let httpd = builder.config("<LuaBalancerPool app>\n</LuaBalancerPool>").start();
    let member = |at: usize| format!("{{\"url\":\"http://127.0.0.1:{}\",\"name\":\"m{at}\"}}", 1000 + at);
    let list = format!("[{}]", (0..600).map(member).collect::<Vec<_>>().join(","));
    let request = server_tests::Request::post("/api/v1/pools/app/members", list);
    let request = request.with_method("PUT").header("Content-Type", "application/json");
    let mut client = httpd.socket();
    let change = thread::spawn(move || client.send(&request).status);
    let mut times = Vec::new();
    while !change.is_finished() {
        let start = Instant::now();
        assert_eq!(httpd.socket().get("/api/v1/status").status, 200);
        times.push(start.elapsed());
    }
    assert_eq!(change.join().expect("a client"), 200);
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    assert!(median < Duration::from_millis(100), "{times:?}");
}
