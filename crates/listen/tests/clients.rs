// SPDX-License-Identifier: Apache-2.0
//! The answers that clients get, and that none of them can keep others from theirs.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use listen::{
    AnswerWhen, Answerer, ConnectionLimits, DoorKeeper, Ender, Entrance, Incoming, Listener, Outgoing,
    Parked, RemoteEnd,
};

const SHORT: ConnectionLimits = ConnectionLimits {
    connections: 8,
    head: Duration::from_millis(400),
    body: Duration::from_millis(400),
    answer: Duration::from_millis(600),
    most_body: 1000,
};

/// A server on a thread of its own.
struct Running {
    path: PathBuf,
    address: SocketAddr,
    ender: Ender,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ender.end();
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(limits: ConnectionLimits) -> Running {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("listen-{}-{number}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).expect("bind a path");
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let address = tcp.local_addr().expect("an address");
    let ender = Ender::default();
    let own = ender.clone();
    let thread = thread::spawn(move || {
        let answer: Answerer = Rc::new(reply);
        let door = |listener| Entrance {
            listener,
            limits,
            refuse: Rc::new(refuse),
            answer: answer.clone(),
            aside: Some(Arc::new(aside)),
        };
        let doors = vec![door(Listener::Unix(unix)), door(Listener::Tcp(tcp))];
        DoorKeeper::new(doors, own).expect("a server").run(|| ());
    });
    Running { path, address, ender, thread: Some(thread) }
}

/// Says what was asked; of `/park` once a second has passed, of `/park/long` a minute, or at once
/// when the file that the query names is there.
fn reply(request: Incoming) -> AnswerWhen {
    let wait = match &*request.path {
        "/park" => Duration::from_secs(1),
        "/park/long" => Duration::from_secs(60),
        _ => return echo(request).into(),
    };
    let path = PathBuf::from(request.query.clone().unwrap_or_default());
    let said = |text: &str| Outgoing { status: 200, headers: Vec::new(), body: text.into() };
    AnswerWhen::Later(Parked {
        wait,
        look: Box::new(move || path.exists().then(|| said("there"))),
        give_up: Box::new(move || said("nothing")),
    })
}

/// Refuses what is not to be read.
fn refuse(request: &Incoming) -> Option<Outgoing> {
    let refused = || Outgoing { status: 403, headers: Vec::new(), body: b"no".to_vec() };
    (request.path == "/refused").then(refused)
}

/// Says what was asked.
fn echo(request: Incoming) -> Outgoing {
    assert!(request.path != "/panic", "as told");
    let peer = match request.peer {
        RemoteEnd::User(number) => format!("user {number}"),
        RemoteEnd::Address(address) => format!("address {address}"),
        RemoteEnd::Unknown => "nobody".into(),
    };
    let query = request.query.unwrap_or_default();
    let body = match request.path.strip_prefix("/big") {
        Some(_) => "x".repeat(8 << 20),
        None => format!("{} {} {query} {} {peer}", request.method, request.path, request.body.len()),
    };
    Outgoing { status: 200, headers: vec![("x-own", "yes".into())], body: body.into_bytes() }
}

/// The same, after a while where that is asked for.
fn aside(request: Incoming) -> Outgoing {
    if request.path == "/long" {
        thread::sleep(Duration::from_millis(500));
    }
    echo(request)
}

impl Running {
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream
    }

    fn ask(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).expect("send");
        all(stream)
    }
}

/// Everything until the other end closes.
fn all(mut stream: impl Read) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// One answer, whose body is short.
fn one(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).expect("a head");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
    stream.read_exact(&mut body).expect("a body");
    head + &String::from_utf8_lossy(&body)
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";

#[test]
fn a_request_is_answered_at_both_kinds_of_sockets_with_who_asked() {
    let server = serve(ConnectionLimits::default());
    let text = server.ask(&format!("POST /a%20b?c=d HTTP/1.1\r\n{CLOSE}Content-Length: 5\r\n\r\nhello"));
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("/proc"));
    assert!(text.starts_with("HTTP/1.1 200 OK\r\nx-own: yes\r\n"), "{text}");
    assert!(text.ends_with(&format!("POST /a%20b c=d 5 user {own}")), "{text}");
    let mut stream = TcpStream::connect(server.address).expect("connect");
    stream.write_all(format!("GET http://h/x HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).expect("send");
    assert!(all(stream).ends_with("GET /x  0 address 127.0.0.1"));
}

#[test]
fn a_socket_of_ipv6_is_one() {
    let Ok(tcp) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let address = tcp.local_addr().expect("an address");
    let ender = Ender::default();
    let own = ender.clone();
    let thread = thread::spawn(move || {
        let door = Entrance {
            listener: Listener::Tcp(tcp),
            limits: SHORT,
            refuse: Rc::new(refuse),
            answer: Rc::new(reply),
            aside: None,
        };
        DoorKeeper::new(vec![door], own).expect("a server").run(|| ());
    });
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.write_all(format!("GET / HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).expect("send");
    assert!(all(stream).ends_with("address ::1"));
    ender.end();
    thread.join().expect("the server's end");
}

#[test]
fn a_connection_carries_many_requests_also_sent_at_once() {
    let server = serve(ConnectionLimits::default());
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
        assert!(one(&mut stream).contains("GET /1"));
    }
    stream.write_all("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3).as_bytes()).expect("send");
    (0..3).for_each(|_| assert!(one(&mut stream).contains("GET /2")));
    stream.write_all(b"HEAD /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("send");
    let text = all(stream);
    assert!(text.contains("content-length: ") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn a_half_closed_connection_gets_its_answer() {
    let server = serve(ConnectionLimits::default());
    let mut stream = server.connect();
    stream.write_all(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    stream.shutdown(Shutdown::Write).expect("shut down");
    assert!(all(stream).contains("GET /half"));
}

#[test]
fn of_a_large_body_only_the_beginning_is_kept_and_the_answer_comes_through() {
    let server = serve(SHORT);
    for (length, kept) in [(999, 999), (1000, 1000), (1001, 1000), (3 << 20, 1000)] {
        let head = format!("POST /body HTTP/1.1\r\n{CLOSE}Content-Length: {length}\r\n\r\n");
        let text = server.ask(&(head + &"x".repeat(length)));
        assert!(text.contains(&format!("POST /body  {kept} user")), "{length}: {text}");
    }
}

#[test]
fn wrong_requests_are_refused() {
    let server = serve(SHORT);
    let long = format!("GET /{} HTTP/1.1\r\n{CLOSE}\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(500));
    for (bytes, status) in [
        ("BAD\r\n\r\n", "400"),
        ("GET / HTTP/9.9\r\n\r\n", "400"),
        ("\0\x01\x02 nothing at all\r\n\r\n", "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
        (&long, "4"),
        (&many, "431"),
    ] {
        let text = server.ask(bytes);
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:.60}: {text}");
    }
}

#[test]
fn a_head_that_is_refused_is_answered_before_its_body() {
    let server = serve(ConnectionLimits::default());
    for length in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        for expect in ["", "Expect: 100-continue\r\n"] {
            let start = Instant::now();
            let head = format!("PUT /refused HTTP/1.1\r\nHost: x\r\n{expect}{length}\r\n\r\n");
            let text = server.ask(&head);
            assert!(
                text.starts_with("HTTP/1.1 403") && text.ends_with("\r\n\r\nno"),
                "{length} {expect}: {text}"
            );
            assert!(text.contains("connection: close"), "{text}");
            // A client that waits for the end waits as long as a body may be on its way.
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
    }
    let told = server
        .ask(&format!("PUT /taken HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx"));
    assert!(told.starts_with("HTTP/1.1 100") && told.contains("PUT /taken  1"), "{told}");
}

#[test]
fn a_client_whose_body_is_refused_gets_the_answer_all_the_same() {
    let server = serve(ConnectionLimits::default());
    let mut stream = TcpStream::connect(server.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let body = vec![b'x'; 4 << 20];
    let head = format!("PUT /refused HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).expect("send");
    stream.write_all(&body).expect("the body is taken");
    let text = all(stream);
    assert!(text.starts_with("HTTP/1.1 403") && text.ends_with("no"), "{text}");
}

#[test]
fn a_head_a_body_and_an_answer_have_so_much_time() {
    let server = serve(SHORT);
    let took = |bytes: &str| {
        let start = Instant::now();
        let text = server.ask(bytes);
        (text, start.elapsed())
    };
    for bytes in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nA: "] {
        let (text, time) = took(bytes);
        assert!(text.is_empty() && time >= SHORT.head && time < SHORT.head * 4, "{bytes}: {text} {time:?}");
    }
    let (text, time) = took("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
    assert!(text.starts_with("HTTP/1.1 408") && time < SHORT.body * 4, "{text} {time:?}");
    let (text, time) = took("GET /kept HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text.contains("GET /kept") && time >= SHORT.head && time < SHORT.head * 4, "{text} {time:?}");
    // Nobody takes this answer.
    let mut stream = server.connect();
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    thread::sleep(SHORT.answer * 3);
    assert!(all(stream).len() < 8 << 20, "the answer was kept for a client that does not take it");
}

#[test]
fn trickling_clients_hold_up_nobody() {
    let server = serve(SHORT);
    let stop = Instant::now() + Duration::from_secs(1);
    let trickling: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = server.connect();
            thread::spawn(move || {
                while Instant::now() < stop && stream.write_all(b"G").is_ok() {
                    thread::sleep(Duration::from_millis(50));
                }
            })
        })
        .collect();
    while Instant::now() < stop {
        let start = Instant::now();
        assert!(server.ask(&format!("GET /fast HTTP/1.1\r\n{CLOSE}\r\n")).contains("GET /fast"));
        assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    }
    trickling.into_iter().for_each(|one| one.join().expect("a client"));
}

#[test]
fn two_hundred_at_once_are_all_answered() {
    let server = serve(ConnectionLimits::default());
    let mut streams: Vec<UnixStream> = (0..200).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(format!("GET /one HTTP/1.1\r\n{CLOSE}\r\n").as_bytes()).expect("send");
    }
    for stream in streams {
        assert!(all(stream).contains("GET /one"));
    }
}

#[test]
fn one_too_many_takes_the_place_of_who_waits_for_longest() {
    let limits =
        ConnectionLimits { head: Duration::from_secs(60), connections: 8, ..ConnectionLimits::default() };
    let server = serve(limits);
    let mut silent: Vec<UnixStream> = (0..8).map(|_| server.connect()).collect();
    let start = Instant::now();
    assert!(server.ask(&format!("GET /new HTTP/1.1\r\n{CLOSE}\r\n")).contains("GET /new"));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(silent.remove(0).read(&mut [0]).expect("an end"), 0, "the oldest is still there");
    let last = silent.last_mut().expect("the newest");
    last.write_all(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    assert!(one(last).contains("GET /late"));
}

#[test]
fn a_panic_costs_its_connection_alone() {
    let server = serve(ConnectionLimits::default());
    assert_eq!(server.ask(&format!("GET /panic HTTP/1.1\r\n{CLOSE}\r\n")), "");
    assert!(server.ask(&format!("GET /next HTTP/1.1\r\n{CLOSE}\r\n")).contains("GET /next"));
}

#[test]
fn a_server_that_leaves_says_so_and_one_that_has_closed_takes_nobody() {
    let server = serve(ConnectionLimits::default());
    let mut kept = server.connect();
    kept.write_all(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    assert!(!one(&mut kept).contains("connection: close"));
    server.ender.leave();
    let text = server.ask("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text.contains("connection: close") && text.contains("GET /2"), "{text}");
    server.ender.close();
    let until = Instant::now() + Duration::from_secs(5);
    while UnixStream::connect(&server.path).is_ok() {
        assert!(Instant::now() < until, "the socket is still open");
        thread::sleep(Duration::from_millis(5));
    }
    kept.write_all(b"GET /3 HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    let text = all(kept);
    assert!(text.contains("connection: close") && text.contains("GET /3"), "{text}");
}

#[test]
fn the_end_comes_soon_and_after_what_has_begun() {
    let mut server = serve(ConnectionLimits::default());
    let mut half = server.connect();
    half.write_all(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha").expect("send");
    let mut kept = server.connect();
    kept.write_all(b"GET /kept HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    assert!(one(&mut kept).contains("GET /kept"));
    let silent = server.connect();
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    server.ender.end();
    thread::sleep(Duration::from_millis(50));
    // A moment later than it should be, as it happens.
    kept.write_all(b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    assert!(all(kept).contains("GET /last"));
    half.write_all(b"lf").expect("send");
    assert!(all(half).contains("POST /half  4"));
    server.thread.take().expect("a thread").join().expect("the server's end");
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    drop(silent);
}

#[test]
fn somebody_who_does_not_go_on_holds_up_the_end_for_a_second_at_most() {
    let mut server = serve(ConnectionLimits::default());
    let mut half = server.connect();
    half.write_all(b"POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nha").expect("send");
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    server.ender.end();
    server.thread.take().expect("a thread").join().expect("the server's end");
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_was_told_to_end_before_it_began_takes_nobody() {
    let path = std::env::temp_dir().join(format!("listen-{}-never.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).expect("bind a path");
    let other = unix.try_clone().expect("another descriptor");
    let mut client = UnixStream::connect(&path).expect("connect");
    let ender = Ender::default();
    ender.end();
    let door = Entrance {
        listener: Listener::Unix(unix),
        limits: SHORT,
        refuse: Rc::new(refuse),
        answer: Rc::new(reply),
        aside: None,
    };
    DoorKeeper::new(vec![door], ender).expect("a server").run(|| ());
    // Another process that has the socket takes the connection.
    let (mut taken, _) = other.accept().expect("the connection");
    taken.write_all(b"here").expect("send");
    let mut text = [0; 4];
    client.read_exact(&mut text).expect("an answer");
    assert_eq!(&text, b"here");
    let _ = std::fs::remove_file(&path);
}

#[test]
fn a_change_that_takes_long_holds_up_no_reader() {
    let server = serve(ConnectionLimits::default());
    let mut long = server.connect();
    long.write_all(format!("PUT /long HTTP/1.1\r\n{CLOSE}Content-Length: 1\r\n\r\nx").as_bytes())
        .expect("send");
    thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    assert!(server.ask(&format!("GET /fast HTTP/1.1\r\n{CLOSE}\r\n")).contains("GET /fast"));
    assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    assert!(all(long).contains("PUT /long  1"));
}

#[test]
fn a_parked_answer_waits_for_what_it_waits_for_and_holds_up_nobody() {
    let running = serve(SHORT);
    let flag = running.path.with_extension("flag");
    let mut parked = running.connect();
    let start = Instant::now();
    write!(parked, "GET /park?{} HTTP/1.1\r\nHost: x\r\n\r\n", flag.display()).expect("send");
    for _ in 0..20 {
        assert!(running.ask("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").contains("GET /x"));
    }
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    std::fs::write(&flag, "").expect("a flag");
    let raised = Instant::now();
    let answer = one(&mut parked);
    assert!(raised.elapsed() < Duration::from_millis(100), "{:?}", raised.elapsed());
    std::fs::remove_file(&flag).expect("the flag");
    assert!(answer.ends_with("there"), "{answer}");
    // The connection is kept, and the next answer waits for its whole time: longer than the client
    // of another request may take.
    let start = Instant::now();
    write!(parked, "GET /park?{} HTTP/1.1\r\nHost: x\r\n\r\n", flag.display()).expect("send");
    let answer = one(&mut parked);
    assert!(answer.ends_with("nothing") && !answer.contains("close"), "{answer}");
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn a_parked_answer_is_given_when_the_server_is_told_to_end() {
    for end in [Ender::leave, Ender::close, Ender::end] {
        let running = serve(SHORT);
        let mut parked = running.connect();
        write!(parked, "GET /park?/nowhere HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
        assert!(running.ask("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").contains("GET /x"));
        let start = Instant::now();
        end(&running.ender);
        let answer = one(&mut parked);
        assert!(answer.contains("connection: close") && answer.ends_with("nothing"), "{answer}");
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}

#[test]
fn parked_answers_leave_half_of_the_places_to_others() {
    let limits =
        ConnectionLimits { head: Duration::from_secs(60), connections: 8, ..ConnectionLimits::default() };
    let server = serve(limits);
    let park = || {
        let mut stream = server.connect();
        write!(stream, "GET /park HTTP/1.1\r\n{CLOSE}\r\n").expect("send");
        stream
    };
    let parked = [(); 5].map(|()| park());
    // One of them would take a place that is for others: it has its answer before theirs.
    let answered = || {
        let has_come = |mut stream: &UnixStream| {
            stream.set_nonblocking(true).expect("not blocking");
            let has_come = stream.read(&mut [0]).is_ok();
            stream.set_nonblocking(false).expect("blocking");
            has_come
        };
        parked.iter().filter(|stream| has_come(stream)).count()
    };
    while answered() == 0 {
        thread::yield_now();
    }
    // The rest of the early answer is there, or its end.
    assert!(answered() <= 1, "the others go on waiting");
    for stream in parked {
        assert!(all(stream).ends_with("nothing"), "each has its answer");
    }
}

#[test]
fn a_client_that_hangs_up_gives_its_place_back_at_once() {
    let limits = ConnectionLimits { head: Duration::from_secs(60), connections: 4, ..SHORT };
    let long = format!("GET /park/long HTTP/1.1\r\n{CLOSE}\r\n");
    for over_tcp in [false, true] {
        let server = serve(limits);
        let park = || {
            let mut stream: Box<dyn ReadWithin> = match over_tcp {
                true => Box::new(TcpStream::connect(server.address).expect("connect")),
                false => Box::new(server.connect()),
            };
            stream.within(Duration::from_millis(150));
            stream.write_all(long.as_bytes()).expect("send");
            let read = stream.read(&mut [0]);
            read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock).then_some(stream)
        };
        let parked = [park(), park()];
        assert!(parked.iter().all(Option::is_some) && park().is_none(), "two have places");
        drop(parked);
        let start = Instant::now();
        while park().is_none() {
            assert!(start.elapsed() < Duration::from_secs(10), "the places are not given back");
        }
    }
}

/// A connection whose answers are waited for so long only.
trait ReadWithin: Read + Write {
    fn within(&self, time: Duration);
}

impl ReadWithin for UnixStream {
    fn within(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("a timeout");
    }
}

impl ReadWithin for TcpStream {
    fn within(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("a timeout");
    }
}

#[test]
fn a_client_that_sends_no_more_is_waited_for_at_the_unix_socket() {
    let server = serve(SHORT);
    let flag = server.path.with_extension("half");
    let mut parked = server.connect();
    write!(parked, "GET /park/long?{} HTTP/1.1\r\n{CLOSE}\r\n", flag.display()).expect("send");
    parked.shutdown(Shutdown::Write).expect("an end");
    thread::sleep(Duration::from_millis(150));
    std::fs::write(&flag, "").expect("a flag");
    let answer = all(parked);
    std::fs::remove_file(&flag).expect("the flag");
    assert!(answer.ends_with("there"), "{answer}");
}
