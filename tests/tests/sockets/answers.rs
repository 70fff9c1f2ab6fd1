// SPDX-License-Identifier: Apache-2.0
//! Users of the socket, and its answers.

use super::*;

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

/// With one child, which is busy, so that none ends soon; and with two, one of which ends.
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
    let put = |count: usize| server_tests::Request::json("PUT", "/api/v1/pools/app/members", list(count));
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
    let request = server_tests::Request::json("PUT", "/api/v1/pools/app/members", list);
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
