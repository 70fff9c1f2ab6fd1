// SPDX-License-Identifier: Apache-2.0
//! Addresses come and go for weeks: what a child has made for former members is freed, and never
//! serves another one.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use server_tests::{Backend, Client, Httpd, Mpm, Request, on_every_mpm, slower, wait_until};
use socket2::{Domain, Socket, Type};

/// Longer than all of it takes.
const LONG: Duration = Duration::from_secs(1200);
/// Each client has so many members, the last ones that it has added.
const EACH: usize = 20;

/// A request adds a member with an address that nobody had, goes there, and has the oldest one of
/// its client removed.
const SCRIPT: &str = r#"
local function name(client, n) return "c" .. client .. "-" .. n % EACH end
function translate(r)
  local app = lb.pool("app")
  local client, n, address = r.uri:match("^/add/(%d+)/(%d+)/([%d.]+)")
  local name = name(client, tonumber(n))
  if app:member(name) then app:remove(name) end
  return app:add{url = "http://" .. address .. ":" .. PORT, name = name}
end
function slow(r)
  return lb.pool("app"):add{url = "http://127.2.0.1:" .. PORT, name = "slow", timeout = 1200}
end
function gone(r)
  lb.pool("app"):remove("slow")
  r.status = 204
  return apache2.DONE
end
"#;

/// A server at every address of this machine, which answers with the one that it was asked at, and
/// keeps its connections. A request for `/slow` gets the first byte of the answer at once, and the
/// others when it is let go.
struct Everywhere {
    port: u16,
    asked: Receiver<Sender<()>>,
}

impl Everywhere {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a TCP socket");
        // All addresses, and nobody but this machine.
        socket.bind_device(Some(b"lo")).expect("bind to the loopback device");
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).expect("bind");
        socket.listen(1024).expect("listen");
        let listener: TcpListener = socket.into();
        let port = listener.local_addr().expect("an address").port();
        let (tell, asked) = channel();
        let tell = Arc::new(Mutex::new(tell));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let tell = tell.clone();
                let serve = thread::Builder::new().stack_size(64 << 10);
                let _ = serve.spawn(move || answer(&stream, &tell));
            }
        });
        Everywhere { port, asked }
    }
}

fn answer(mut stream: &TcpStream, tell: &Mutex<Sender<Sender<()>>>) -> Option<()> {
    let address = stream.local_addr().ok()?.ip().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", address.len());
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
        if first.contains("/slow") {
            let (go, wait) = channel();
            stream.write_all(&[head.as_bytes(), &address.as_bytes()[..1]].concat()).ok()?;
            tell.lock().ok()?.send(go).ok()?;
            let _ = wait.recv();
            stream.write_all(&address.as_bytes()[1..]).ok()?;
        } else {
            stream.write_all(&[head.as_bytes(), address.as_bytes()].concat()).ok()?;
        }
    }
    Some(())
}

fn httpd(mpm: Mpm, port: u16) -> Httpd {
    Httpd::builder()
        .mpm(mpm)
        .children(1)
        .threads(if mpm == Mpm::Prefork { 1 } else { 8 })
        .without_access_log()
        .file("add.lua", &format!("local PORT, EACH = {port}, {EACH}\n{SCRIPT}"))
        .config("LuaBalancerMaxMembers 256\nLogLevel lua_balancer:error\nMaxRequestsPerChild 0")
        .config("<LuaBalancerPool app>\n</LuaBalancerPool>")
        .config("<Location /add>\n  LuaHookTranslate add.lua\n</Location>")
        .config("<Location /slow>\n  LuaHookTranslate add.lua slow\n</Location>")
        .config("<Location /gone>\n  LuaHookTranslate add.lua gone\n</Location>")
        .start()
}

/// A client's requests, each at an address of its own: true to the address that was asked for.
fn churn(client: &mut Client, number: usize, from: usize, count: usize) {
    for n in from..from + count {
        let address = Ipv4Addr::from(0x7f10_0000 + (number * 0x4_0000 + n) as u32 + 1).to_string();
        let response = client.get(&format!("/add/{number}/{n}/{address}"));
        assert_eq!((response.status, response.text()), (200, address), "request {n} of client {number}");
    }
}

/// How many addresses a child meets; `ADDRESSES=600` makes it short.
fn addresses(mpm: Mpm) -> usize {
    let said = std::env::var("ADDRESSES").ok().and_then(|text| text.parse().ok());
    said.unwrap_or(if mpm == Mpm::Event { 100_000 } else { 6_000 })
}

/// The memory that a process has written to, in KiB, and how many files it has open.
fn held(pid: u32) -> (usize, usize) {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("read smaps_rollup");
    let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).expect("a line");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    (kib, fs::read_dir(format!("/proc/{pid}/fd")).expect("its files").count())
}

fn in_turns(httpd: &Httpd, clients: usize, from: usize, count: usize) {
    thread::scope(|scope| {
        for number in 0..clients {
            scope.spawn(move || churn(&mut httpd.client(), number, from, count));
        }
    });
}

fn no_worker_of_a_former_member_stays_or_serves_another(mpm: Mpm) {
    let backend = Everywhere::new();
    let httpd = httpd(mpm, backend.port);
    let clients = if mpm == Mpm::Prefork { 1 } else { 4 };
    // Its member goes away at once; what was made for it is kept as long as it is asked.
    let mut client = httpd.client().timeout(LONG);
    let (pid, all) = (httpd.children()[0], addresses(mpm));
    let slow = (mpm != Mpm::Prefork).then(|| {
        let slow = thread::spawn(move || client.get("/slow"));
        let go = backend.asked.recv().expect("it is asked");
        assert_eq!(httpd.client().get("/gone").status, 204);
        (slow, go)
    });
    let first = all.min(6_000) / 2 / clients;
    in_turns(&httpd, clients, 0, first);
    let (kib, files) = held(pid);
    in_turns(&httpd, clients, first, all / clients - first);
    let (kib_now, files_now) = held(pid);
    eprintln!(
        "{all} addresses: {kib} KiB and {files} files at first, {kib_now} KiB and {files_now} at the end"
    );
    assert_eq!(httpd.children(), [pid], "the child goes on");
    assert_eq!(httpd.count_log("workers for members"), 0);
    assert!(files_now < 400, "{files_now} files");
    assert!(slower() > 1 || kib_now < kib + 4096, "{kib_now} KiB after {kib} KiB");
    if let Some((slow, go)) = slow {
        go.send(()).expect("it waits");
        let answer = slow.join().expect("all of the answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "127.2.0.1"));
    }
    httpd.assert_no_crash();
}

on_every_mpm!(no_worker_of_a_former_member_stays_or_serves_another);

#[test]
fn connections_to_members_that_are_gone_are_closed_though_nobody_new_comes() {
    let backend = Everywhere::new();
    let httpd = httpd(Mpm::Event, backend.port);
    let (clients, pid) = (8, httpd.children()[0]);
    in_turns(&httpd, clients, 0, EACH);
    let (_, before) = held(pid);
    let none = Request::json("PUT", "/api/v1/pools/app/members", "[]");
    assert_eq!(httpd.socket().send(&none).status, 200);
    // So few are kept in any case.
    let most = before - (clients * EACH - 64);
    wait_until("connections are closed", Duration::from_secs(30), || held(pid).1 <= most);
    httpd.assert_no_crash();
}

#[test]
fn keys_of_connections_that_change_in_place_hold_for_the_next_request() {
    let backend = Backend::new("slow");
    backend.slow(Duration::from_millis(1500));
    let builder = Httpd::builder().children(1);
    let list = builder.open_folder("list").join("app.txt");
    let write = |timeout: &str| {
        fs::write(list.with_extension("new"), format!("{} timeout={timeout}\n", backend.url()))
            .expect("write");
        fs::rename(list.with_extension("new"), &list).expect("rename");
    };
    write("500ms");
    let source = format!("LuaBalancerDiscovery file:{}", list.display());
    let httpd = builder
        .config(&format!("<LuaBalancerPool app>\n{source}\nLuaBalancerSet retries=0\n</LuaBalancerPool>"))
        .config("ProxyPass /app lb://app")
        .start();
    assert_eq!(httpd.client().get("/app/").status, 502);
    write("60s");
    wait_until("the longer time holds", Duration::from_secs(20), || {
        httpd.client().get("/app/").status == 200
    });
    httpd.assert_no_crash();
}
