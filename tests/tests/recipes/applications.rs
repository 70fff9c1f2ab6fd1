// SPDX-License-Identifier: Apache-2.0
//! Recipes for application servers, FPM and Tomcat: small ones that speak FastCGI and AJP.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use server_tests::{Backend, Httpd, Request, wait_until};

use super::{SOON, recipe};

/// A server of connections that ends with the test; its port.
fn serving(name: &'static str, serve: fn(&mut TcpStream, &str) -> io::Result<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A check connects and says nothing.
            thread::spawn(move || serve(&mut stream, name));
        }
    });
    port
}

/// FastCGI's kinds of records.
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a short record").to_be_bytes();
    [&[1, kind, 0, 1, length[0], length[1], 0, 0], content].concat()
}

/// Answers one request with the script's file and the body.
fn fastcgi(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    let (mut params, mut body) = (Vec::new(), Vec::new());
    loop {
        // Version, kind, request (2), length of the content (2), padding, unused.
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]]))];
        stream.read_exact(&mut content)?;
        stream.read_exact(&mut vec![0; usize::from(head[6])])?;
        match head[1] {
            PARAMS => params.extend(content),
            STDIN if content.is_empty() => break,
            STDIN => body.extend(content),
            _ => {}
        }
    }
    let said = format!(
        "Status: 200 OK\r\nContent-Type: text/plain\r\nX-Backend: {name}\r\n\r\n{}|{}",
        file_of(&param(&params, "SCRIPT_FILENAME")),
        String::from_utf8_lossy(&body)
    );
    let answer = [record(STDOUT, said.as_bytes()), record(STDOUT, b""), record(END, &[0; 8])].concat();
    stream.write_all(&answer)
}

/// A script's file as FPM finds it: mod_proxy_fcgi leaves the address before it to FPM.
fn file_of(name: &str) -> &str {
    name.strip_prefix("proxy:fcgi://").and_then(|rest| rest.find('/').map(|at| &rest[at..])).unwrap_or(name)
}

/// A parameter's value; each is two lengths, the name and the value.
fn param(mut params: &[u8], wanted: &str) -> String {
    let length = |params: &mut &[u8]| {
        let (size, first) = (if params[0] & 0x80 == 0 { 1 } else { 4 }, params[0] & 0x7f);
        let length =
            params[1..size].iter().fold(usize::from(first), |sum, byte| sum << 8 | usize::from(*byte));
        *params = &params[size..];
        length
    };
    while !params.is_empty() {
        let (name, value) = (length(&mut params), length(&mut params));
        if &params[..name] == wanted.as_bytes() {
            return String::from_utf8_lossy(&params[name..name + value]).into_owned();
        }
        params = &params[name + value..];
    }
    String::new()
}

#[test]
fn php_goes_to_fpm_and_files_come_from_the_disk() {
    let ports = [serving("first", fastcgi), serving("second", fastcgi)];
    let start = |ports: [u16; 2]| {
        let builder = Httpd::builder()
            .module("dir")
            .file("htdocs/index.php", "<?php secret();")
            .file("htdocs/style.css", "plain");
        let root = builder.dir().join("htdocs");
        let recipe = recipe("php-fpm.md")
            .at_port("192.168.1.10:9000", ports[0])
            .at_port("192.168.1.11:9000", ports[1])
            .put("/var/www/html", root.to_str().expect("a path"));
        recipe.on(builder).start()
    };
    let httpd = start(ports);
    let script = httpd.dir().join("htdocs/index.php").display().to_string();
    for path in ["/", "/index.php", "/index.php?x=1"] {
        let response = httpd.client().get(path);
        assert_eq!((response.status, response.text()), (200, format!("{script}|")), "{path}");
    }
    let mut client = httpd.client();
    let both: BTreeSet<_> = (0..6).map(|_| client.get("/index.php").backend().to_owned()).collect();
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(httpd.client().get("/style.css").text(), "plain");
    // One of the two refuses: its requests go to the other one with their bodies.
    let refusing = Backend::refusing("nobody");
    let httpd = start([refusing.port(), ports[1]]);
    let script = httpd.dir().join("htdocs/index.php").display().to_string();
    for _ in 0..4 {
        let response = httpd.client().send(&Request::post("/index.php", "a body"));
        assert_eq!((response.status, response.text()), (200, format!("{script}|a body")));
    }
    // Nobody runs it: then nobody reads it either.
    let second = Backend::refusing("nobody");
    let httpd = start([refusing.port(), second.port()]);
    for path in [
        "/",
        "/index.php",
        "/index.php/",
        "/index.php/x.css",
        "/index.php%2e",
        "/INDEX.PHP",
        "/style.css/x.php",
    ] {
        let response = httpd.client().get(path);
        assert!(!response.text().contains("secret"), "{path}: {response:?}");
        assert!(path.contains("PHP") || response.status >= 400, "{path}: {response:?}");
    }
}

fn packet(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short packet").to_be_bytes();
    [b"AB", &length[..], body].concat()
}

/// Answers each request of a connection with its name, or 403 without the secret.
fn ajp(stream: &mut TcpStream, name: &str) -> io::Result<()> {
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let mut request = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        stream.read_exact(&mut request)?;
        let knows = request.windows(11).any(|part| part == b"CHANGE-THIS");
        let status = if knows { *b"\x00\xc8" } else { *b"\x01\x93" };
        let length = u16::try_from(name.len()).expect("a short name").to_be_bytes();
        let head = [b"\x04", &status[..], b"\x00\x00\x00\x00\x00"].concat();
        let body = [b"\x03", &length[..], name.as_bytes(), b"\x00"].concat();
        stream.write_all(&[packet(&head), packet(&body), packet(b"\x05\x01")].concat())?;
    }
}

#[test]
fn tomcat_is_asked_with_the_secret_and_keeps_its_sessions() {
    let ports = [serving("one", ajp), serving("two", ajp)];
    let recipe =
        recipe("ajp.md").at_port("192.168.1.10:8009", ports[0]).at_port("192.168.1.11:8009", ports[1]);
    let httpd = recipe.on(Httpd::builder().with_member_states()).start();
    let mut client = httpd.client();
    let both: BTreeSet<_> = (0..6)
        .map(|_| {
            let response = client.get("/");
            assert_eq!(response.status, 200, "the secret came along");
            response.text()
        })
        .collect();
    assert_eq!(both.len(), 2, "{both:?}");
    for name in ["one", "two"] {
        let of = |request: Request| httpd.client().send(&request);
        let cookie = format!("JSESSIONID=4711.{name}");
        for _ in 0..3 {
            let response = of(Request::get("/").header("Cookie", &cookie));
            assert_eq!((response.text(), response.header("Set-Cookie")), (name.to_owned(), None));
            assert_eq!(of(Request::get(&format!("/a;jsessionid=4711.{name}"))).text(), name);
        }
    }
    wait_until("both to be checked", SOON, || {
        httpd.members("tomcat").values().all(|member| member.state == "up")
    });
}
