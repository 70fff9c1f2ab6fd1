// SPDX-License-Identifier: Apache-2.0
//! `demo-backend PORT NAME`: answers `NAME path` on a loopback port, for `make run` and `make
//! demo`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, name] = arguments.as_slice() else {
        eprintln!("usage: demo-backend PORT NAME, for example: demo-backend 9001 a");
        return ExitCode::FAILURE;
    };
    let listener = match port.parse().map(|port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port))) {
        Ok(Ok(listener)) => listener,
        Ok(Err(error)) => {
            eprintln!("demo-backend: cannot listen on 127.0.0.1:{port}: {error}");
            return ExitCode::FAILURE;
        }
        Err(_) => {
            eprintln!("demo-backend: {port:?} is not a port; expected 1 to 65535");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        let name = name.clone();
        thread::spawn(move || serve(&stream, &name));
    }
    ExitCode::SUCCESS
}

/// Requests of one connection; bodies are skipped by their length.
fn serve(mut stream: &TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let length = body_length(&mut reader)?;
        io::copy(&mut io::Read::take(&mut reader, length), &mut io::sink())?;
        let path = line.split(' ').nth(1).unwrap_or("/");
        let body = format!("{name} {path}\n");
        let head = format!("HTTP/1.1 200 OK\r\nX-Backend: {name}\r\nContent-Type: text/plain\r\n");
        let body_follows = if line.starts_with("HEAD ") { "" } else { &body };
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body_follows}", body.len()).as_bytes())?;
    }
}

fn body_length(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok(length);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
}
