// SPDX-License-Identifier: Apache-2.0
//! When the socket is there.

use super::*;

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
    let (stop, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failed = thread::scope(|scope| {
        let (mut client, stop, calls) = (httpd.socket(), &stop, &calls);
        let poller = scope.spawn(move || {
            let mut failed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                client.disconnect();
                match client.try_send(&server_tests::Request::get("/")) {
                    Ok(response) if response.status == 200 => drop(calls.fetch_add(1, Ordering::Relaxed)),
                    other => failed.push(format!("call {calls:?}: {other:?}")),
                }
                thread::sleep(Duration::from_millis(50));
            }
            failed
        });
        for round in 0..100 {
            let before = calls.load(Ordering::Relaxed);
            httpd.graceful();
            if round % 4 == 0 {
                wait_until("a call", SOON, || calls.load(Ordering::Relaxed) > before);
            }
        }
        stop.store(true, Ordering::Relaxed);
        poller.join().expect("a poller")
    });
    assert_eq!(failed, Vec::<String>::new(), "of {calls:?} calls");
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
fn a_file_that_is_not_a_socket_is_left_alone() {
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
fn a_path_that_cannot_be_had_at_a_restart_leaves_the_socket_as_it_was() {
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

#[test]
fn a_socket_that_was_removed_is_missed_in_one_line_and_is_back_after_a_graceful_restart() {
    for line in ["", "LuaBalancerSocket lua_balancer.sock mode=0640"] {
        let mut httpd = plain().config(line).start();
        let path = httpd.socket_path();
        let mode = |path: &Path| fs::symlink_metadata(path).expect("a socket").permissions().mode() & 0o777;
        let before = mode(&path);
        let missed =
            r"lua_balancer:warn.*socket has gone from .*lua_balancer\.sock: it was removed; a graceful";
        fs::remove_file(&path).expect("remove the socket");
        wait_until("the line", SOON * 4, || httpd.count_log(missed) == 1);
        httpd.graceful();
        assert_eq!(mode(&path), before);
        assert_eq!(httpd.socket().get("/").status, 200);
        assert_eq!(httpd.count_log("socket has gone"), 1, "{}", httpd.error_log());

        // Another server's is not taken over, and not removed.
        fs::remove_file(&path).expect("remove the socket");
        let other = UnixListener::bind(&path).expect("bind");
        let anothers = file_number(&path);
        httpd.graceful();
        assert_eq!(file_number(&path), anothers);
        wait_until("the line", SOON * 4, || httpd.count_log("something else is there") == 1);
        drop(other);
        httpd.graceful();
        assert_eq!(httpd.socket().get("/").status, 200, "a leftover by now");
        let (_, status) = httpd.stop();
        assert!(status.success());
        assert!(!path.exists(), "the socket's file is left");
    }
}
