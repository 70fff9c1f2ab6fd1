// SPDX-License-Identifier: Apache-2.0
//! `queue=`: requests that find every member at `max_inflight` wait for a place, first come, first
//! served.

mod departures;
mod turns;

use nix::sys::signal::Signal;
use server_tests::certificate::self_signed;
use server_tests::client::ClientError;
use server_tests::{Backend, Builder, Client, Httpd, Load, Mpm, on_every_mpm, patience, pool, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(15);

const QUEUED_SCRIPT: &str = r#"
function queued(r)
  r.subprocess_env["QUEUED"] = tostring(lb.pool(r.uri:match("^/%-%-queued/([^/]+)")).queued)
  return 204
end
"#;

/// A server of one child (unless more are asked for) whose pool `app` has a queue.
fn serving(members: &[(&Backend, &str)], queue: &str) -> Builder {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerSet queue={queue}");
    Httpd::builder()
        .threads(32)
        .with_member_states()
        .file("queued.lua", QUEUED_SCRIPT)
        .config("<Location /--queued>\n  LuaHookTranslate queued.lua queued\n  Header always set X-Queued \"%{QUEUED}e\"\n</Location>")
        .config("Header always set X-Reason \"%{LB_REASON}e\"")
        .config(&pool("app", members, &lines))
        .config("ProxyPass /app lb://app")
}

fn queued(httpd: &Httpd) -> usize {
    queued_by(&mut httpd.client())
}

fn queued_by(client: &mut Client) -> usize {
    let response = client.get("/--queued/app");
    let header = response.header("X-Queued").unwrap_or_else(|| panic!("no X-Queued in {response:?}"));
    header.parse().expect("a number")
}

fn wait_for_queue(httpd: &Httpd, n: usize) {
    wait_until(&format!("{n} in the queue"), SOON, || queued(httpd) == n);
}

fn patient(httpd: &Httpd) -> Client {
    httpd.client().timeout(Duration::from_secs(60))
}

/// Sends a request that is answered whenever there is a place.
fn ask(httpd: &Httpd, target: &str) -> thread::JoinHandle<u16> {
    let (mut client, target) = (patient(httpd), target.to_owned());
    thread::spawn(move || client.get(&target).status)
}

/// Sends requests one after the other, each once the one before is in the queue; their statuses, in
/// any order.
fn line_up(httpd: &Httpd, targets: &[&str]) -> Receiver<u16> {
    let (sender, answers) = channel();
    let before = queued(httpd);
    for (nth, target) in targets.iter().enumerate() {
        let (mut client, sender, target) = (patient(httpd), sender.clone(), (*target).to_owned());
        thread::spawn(move || sender.send(client.get(&target).status));
        wait_for_queue(httpd, before + nth + 1);
    }
    answers
}

fn uris(backend: &Backend) -> Vec<String> {
    backend.recorded().into_iter().map(|request| request.uri).collect()
}

/// How often the threads of a process went to sleep.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    tasks.flatten().map(of).sum()
}

/// A request that is answered by a certain child.
fn ask_in(httpd: &Httpd, child: u32, target: &'static str) -> thread::JoinHandle<Result<u16, ClientError>> {
    let mut clients = httpd.clients_in_children(2, "/--queued/app");
    ask_with(clients.remove(&child).unwrap_or_else(|| panic!("no client in {child}")), target)
}

fn ask_with(client: Client, target: &'static str) -> thread::JoinHandle<Result<u16, ClientError>> {
    let mut client = client.timeout(Duration::from_secs(60)).strict();
    thread::spawn(move || client.try_get(target).map(|answer| answer.status))
}

fn two_children(httpd: &Httpd) -> [u32; 2] {
    let clients = httpd.clients_in_children(2, "/--queued/app");
    let children: Vec<u32> = clients.keys().copied().collect();
    children.try_into().expect("two children")
}

fn processor_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // Ticks of 10 ms, of user and system.
    (ticks(11) + ticks(12)) * 10
}

/// Bytes of a client that does as it likes.
fn raw(httpd: &Httpd, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(bytes.as_ref()).expect("send");
    stream
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Says at once that it has gone, and has.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

/// A server of one place, which a request has, and the request.
fn taken(httpd: Builder, a: &Backend) -> (Httpd, thread::JoinHandle<u16>) {
    let httpd = httpd.start();
    let held = ask(&httpd, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    (httpd, held)
}

/// All that wait still wait after many looks.
fn assert_goes_on_waiting(httpd: &Httpd, n: usize) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(queued(httpd), n);
    }
}

/// The place of one that has gone is another's at once, and nothing tells of it but the log.
fn assert_gave_up(httpd: &Httpd, a: &Backend, target: &str, held: thread::JoinHandle<u16>) {
    let line = httpd.wait_for_access(target);
    let fields = ["LB_REASON", "LB_ATTEMPTS", "LB_MEMBER"].map(|name| line.env[name].as_str());
    assert_eq!(fields, ["aborted", "0", "-"], "{line:?}");
    assert_eq!((httpd.inflight("app"), queued(httpd)), (1, 0));
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);
    assert_eq!(uris(a), ["/held"]);
    assert_eq!(httpd.member("app", "a").state, "up");
    httpd.assert_no_crash();
}

/// The beginning of an HTTP/2 connection, and a GET of this path as its stream 1.
fn http2_get(path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    // GET and http are entries 2 and 6 of the static table, path and authority 4 and 1.
    let block = [vec![0x82, 0x86], literal(4, path), literal(1, "localhost")].concat();
    let headers = [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1], block.as_slice()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0], &headers].concat()
}

/// A request that waits in a child that nothing else keeps from ending, and a client of another
/// one.
fn one_waits_in_a_child_of_its_own(
    httpd: &Httpd,
    a: &Backend,
) -> (thread::JoinHandle<Result<u16, ClientError>>, u32, Client) {
    let [mut all, more] = [(); 2].map(|()| httpd.clients_in_children(2, "/--queued/app"));
    let [(_, holds), (two, waits)] = [(); 2].map(|()| all.pop_first().expect("two children"));
    // httpd may crash when it closes connections that are just ending (close_worker_sockets), so
    // this one stays; and a thread that waits for the next request of a connection may sleep on
    // when it is closed, so it is at another child.
    let (_, mut probe) = more.into_iter().find(|(pid, _)| *pid != two).expect("a client of another child");
    ask_with(holds, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let waits = ask_with(waits, "/app/waits");
    wait_until("one in the queue", SOON, || queued_by(&mut probe) == 1);
    (waits, two, probe)
}
