// SPDX-License-Identifier: Apache-2.0
//! Requests of every sort, the same ones in every run.

use server_tests::Dice;

use super::mirror::KINDS;

/// One request, but for the Host.
pub struct Generated {
    method: &'static str,
    /// As it stands on the request line; `{host}` is to be filled in.
    pub target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    chunked: bool,
    /// Its answer has no body.
    pub is_head: bool,
}

impl Generated {
    /// The bytes for the wire. `{member}` in a header is the member's port.
    pub fn bytes(&self, host: &str, member: u16) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target.replace("{host}", host));
        out.push_str(&format!("Host: {host}:80\r\n"));
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {}\r\n", value.replace("{member}", &member.to_string())));
        }
        let mut out = out.into_bytes();
        match (self.chunked, self.body.is_empty()) {
            (_, true) => out.extend_from_slice(b"\r\n"),
            (true, false) => {
                out.extend_from_slice(
                    format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", self.body.len()).as_bytes(),
                );
                out.extend_from_slice(&self.body);
                out.extend_from_slice(b"\r\n0\r\n\r\n");
            }
            (false, false) => {
                out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
                out.extend_from_slice(&self.body);
            }
        }
        out
    }
}

const METHODS: [&str; 14] = [
    "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH",
    "PROPFIND", "ODD",
];
const PIECES: [&str; 40] = [
    "x",
    "a",
    "b",
    "A",
    "index.php",
    "index.html",
    "x.php",
    "%20",
    "%3F",
    "%23",
    "%25",
    "%2520",
    "%ff",
    "%C3%A9",
    "%2e",
    "..",
    ".",
    "%2F",
    "%5C",
    "+",
    "~",
    "&",
    "=",
    ";p=1",
    ":",
    "@",
    "!$'()*,",
    "%0d%0a",
    "%01",
    "%7F",
    "[x]",
    "%5Bx%5D",
    "%22",
    "%7C",
    "|",
    "^",
    "%00",
    "%3f%61",
    "http:",
    "é",
];
const QUERIES: [&str; 18] = [
    "",
    "",
    "",
    "?",
    "?q=1",
    "?q=1&r=2",
    "?a=%20b",
    "?a=+b",
    "?a=%3F",
    "??",
    "?a?b",
    "?%ff",
    "?u=http://h/p",
    "?[x]={y}",
    "?a=1#f",
    "?%",
    "?a=1&&",
    "?a='\"",
];

fn path(dice: &mut Dice) -> String {
    let mut path = String::from(dice.of(&["/a/", "/a/", "/a/", "/b/", "/", "/a", "/A/", "//a/", "/a//"]));
    for _ in 0..dice.below(5) {
        path.push_str(dice.of(&PIECES));
        if dice.sometimes(2) {
            path.push('/');
        }
    }
    path
}

fn headers(dice: &mut Dice) -> Vec<(&'static str, String)> {
    let choices: [(&'static str, &str); 24] = [
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, br"),
        ("Authorization", "Basic eDp5"),
        ("Cookie", "a=b; LB=x.y; c=\"d\""),
        ("Referer", "http://other.example/x"),
        ("Range", "bytes=0-4"),
        ("If-None-Match", "\"x\""),
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("X-Forwarded-For", "192.0.2.1, 192.0.2.2"),
        ("X-Forwarded-Host", "other.example"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("TE", "trailers"),
        ("Max-Forwards", "3"),
        ("Destination", "http://127.0.0.1:{member}/there"),
        ("Upgrade", "h2c"),
        ("Via", "1.1 client"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Cache-Control", "no-cache"),
        ("Origin", "null"),
        ("X-Empty", ""),
        ("Depth", "1"),
        ("Content-Type", "text/x-odd; charset=x"),
    ];
    let mut out: Vec<(&'static str, String)> = Vec::new();
    for _ in 0..dice.below(6) {
        let (name, value) = dice.of(&choices);
        if out.iter().all(|(other, _)| *other != name) {
            out.push((name, value.to_owned()));
        }
    }
    out.push(("X-Answer", dice.below(KINDS).to_string()));
    out
}

/// That many requests, always the same.
pub fn requests(count: usize) -> impl Iterator<Item = Generated> {
    let mut dice = Dice(20_260_715);
    (0..count).map(move |number| {
        let method = if number % 100 == 99 { "OPTIONS" } else { dice.of(&METHODS) };
        let mut target = format!("{}{}", path(&mut dice), dice.of(&QUERIES));
        if number % 100 == 99 {
            target = "*".into();
        } else if dice.sometimes(12) {
            target = format!("http://{{host}}:80{target}");
        }
        let has_body = matches!(method, "POST" | "PUT" | "PATCH") || dice.sometimes(15);
        let length = if has_body { dice.of(&[1, 10, 100, 9000, 70_000]) } else { 0 };
        let body = (0..length).map(|at| b'a' + (at % 23) as u8).collect();
        let (headers, chunked) = (headers(&mut dice), dice.sometimes(3));
        Generated { method, target, headers, body, chunked, is_head: method == "HEAD" }
    })
}
