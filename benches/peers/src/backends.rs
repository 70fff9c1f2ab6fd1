// SPDX-License-Identifier: Apache-2.0
//! The backends behind the servers under test: one fast nginx at many addresses, or members that
//! take their time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::config::address;
use crate::process::{Folder, Process, listens};
use server_tests::ports::ReservedPort;

/// A fast backend: nginx, which answers `ok` at the addresses of all members.
#[derive(Debug)]
pub struct Fast {
    _process: Process,
    port: ReservedPort,
}

impl Fast {
    /// Starts it for so many members.
    pub fn start(members: usize) -> Result<Self, String> {
        Self::listening(1, |port| {
            (0..members).map(|index| format!("listen {}:{port} backlog=1024;\n", address(index))).collect()
        })
    }

    /// Starts it at every loopback address. Thousands of members that share one address would
    /// share its ports too: the kernel searches them at each new connection. Two processes share
    /// the connections, of which one may have no more than files.
    pub fn everywhere() -> Result<Self, String> {
        Self::listening(2, |port| format!("listen 0.0.0.0:{port} backlog=1024;\n"))
    }

    /// With so many processes, and a port's lines of `listen`.
    fn listening(workers: usize, lines: impl FnOnce(u16) -> String) -> Result<Self, String> {
        let port = ReservedPort::new();
        let folder = Folder::new();
        let number = port.port();
        let listen = lines(number);
        let config = format!(
            "worker_processes {workers}; pid {dir}/pid; error_log {dir}/error.log; daemon off;\n\
             events {{ worker_connections 16384; }}\nhttp {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1200s;\n\
             {temporary}server {{ {listen} location / {{ return 200 \"ok\\n\"; }} }} }}\n",
            dir = folder.path().display(),
            temporary = nginx_folders(&folder),
        );
        let file = folder.write("nginx.conf", &config);
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-p").arg(folder.path());
        let process = Process::start(command, folder, || listens(&address(0), number))?;
        Ok(Self { _process: process, port })
    }

    /// Its port, the same at every address.
    pub fn port(&self) -> u16 {
        self.port.port()
    }
}

/// The directives that keep nginx's temporary files in a folder.
pub fn nginx_folders(folder: &Folder) -> String {
    let names = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    names.map(|name| format!("{name}_temp_path {}/{name};\n", folder.path().display())).concat()
}

/// Members that wait before each answer, a thread for each connection: exact to a tenth of a
/// millisecond, which nginx's timers are not. The first is the slow one and says so in its body.
#[derive(Debug)]
pub struct Slow {
    ended: Arc<AtomicBool>,
    port: ReservedPort,
    members: usize,
}

/// The body of the slow member's answers.
pub const SLOW_BODY: &str = "slow\n";

impl Slow {
    /// So many members; the first answers after `slow`, the others after `usual`.
    pub fn start(members: usize, usual: Duration, slow: Duration) -> Result<Self, String> {
        let backend = Self { ended: Arc::default(), port: ReservedPort::new(), members };
        for index in 0..members {
            let listener = listen(&address(index), backend.port()).map_err(|error| error.to_string())?;
            let (delay, body) = if index == 0 { (slow, SLOW_BODY) } else { (usual, "fast\n") };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let ended = Arc::clone(&backend.ended);
            thread::spawn(move || accept(&listener, &ended, delay, &Arc::from(answer.as_bytes())));
        }
        Ok(backend)
    }

    /// Its port, the same at every address.
    pub fn port(&self) -> u16 {
        self.port.port()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        for index in 0..self.members {
            let _ = TcpStream::connect((address(index), self.port()));
        }
    }
}

fn listen(address: &str, port: u16) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    let address: std::net::SocketAddr = format!("{address}:{port}").parse().map_err(std::io::Error::other)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, ended: &AtomicBool, delay: Duration, answer: &Arc<[u8]>) {
    while let Ok((stream, _)) = listener.accept() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let answer = Arc::clone(answer);
        let small = thread::Builder::new().stack_size(64 * 1024);
        let _ = small.spawn(move || serve(stream, delay, &answer));
    }
}

/// Requests without a body, one after the other, until the peer ends the connection.
fn serve(mut stream: TcpStream, delay: Duration, answer: &[u8]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 8192];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        filled += read;
        if read == 0 {
            return Ok(());
        }
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            thread::sleep(delay);
            stream.write_all(answer)?;
        }
    }
}
