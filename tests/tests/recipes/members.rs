// SPDX-License-Identifier: Apache-2.0
//! Recipes whose members speak something else than plain HTTP.

use std::io::{Read, Write};
use std::process::Command;

use server_tests::certificate::{self_signed, signed};
use server_tests::{Backend, Builder, Httpd, Request, wait_until};

use super::{SOON, recipe};

/// A server of stock httpd that answers 204 with its name and the protocol that it was asked by.
fn stock(builder: Builder, name: &str) -> Httpd {
    builder
        .stock()
        .config(&format!("Header always set X-Backend {name}"))
        .config("Header always set X-Protocol \"expr=%{SERVER_PROTOCOL}\"")
        .config("RewriteEngine on\nRewriteRule ^ - [R=204]")
        .start()
}

fn with_certificate(name: &str, make: fn(&std::path::Path)) -> Httpd {
    let builder = Httpd::builder().module("socache_shmcb").module("ssl");
    make(builder.dir());
    stock(builder.config("SSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile key.pem"), name)
}

#[test]
fn a_websocket_stays_at_its_member_and_counts_there() {
    let [a, b] = Backend::named(["a", "b"]);
    let recipe = recipe("websocket.md").with([&a, &b]);
    let httpd = recipe.on(Httpd::builder().with_member_states()).start();
    let upgrade = Request::get("/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut open: Vec<_> = (0..4).map(|_| httpd.client()).collect();
    let mut at = Vec::new();
    for client in &mut open {
        let response = client.send(&upgrade);
        assert_eq!(response.status, 101);
        at.push(response.backend().to_owned());
    }
    at.sort();
    assert_eq!(at, ["a", "a", "b", "b"], "new connections go where fewer are open");
    for client in &mut open {
        let stream = client.stream();
        stream.get_mut().write_all(b"ping").expect("send through the connection");
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).expect("an echo");
        assert_eq!(&echo, b"ping");
    }
    assert_eq!(httpd.client().get("/page").status, 200, "everything else goes the same way");
    wait_until("the page's request to end", SOON, || httpd.inflight("chat") == 4);
    drop(open);
    wait_until("the connections to end", SOON, || httpd.inflight("chat") == 0);
}

#[test]
fn a_member_with_an_unknown_certificate_gets_no_request() {
    let (one, two) = (with_certificate("one", signed), with_certificate("two", self_signed));
    let builder = Httpd::builder().with_member_states();
    std::fs::copy(one.dir().join("ca.pem"), builder.dir().join("ca.pem")).expect("copy the authority");
    let authority = builder.dir().join("ca.pem");
    let recipe = recipe("tls-members.md")
        .put("one.example.org:8443", &format!("localhost:{}", one.port()))
        .put("two.example.org:8443", &format!("localhost:{}", two.port()))
        .put("/etc/ssl/example-ca.pem", authority.to_str().expect("a path"));
    let httpd = recipe.on(builder).start();
    for _ in 0..6 {
        let response = httpd.client().get("/");
        assert!(response.backend() != "two", "{response:?}");
    }
    wait_until("the check to find the certificate", SOON, || httpd.member("app", "two").state == "down");
    assert_eq!(httpd.client().shares("/", 6)["one"], 6);
    let asked = two.access_log().into_iter().filter(|line| line.status == 204).count();
    assert_eq!(asked, 0, "requests at the member with an unknown certificate");
}

#[test]
fn clients_and_members_speak_http2() {
    let [one, two] = ["one", "two"].map(|name| {
        let builder = Httpd::builder().module("http2").config("Protocols h2c http/1.1");
        stock(builder, name)
    });
    let recipe =
        recipe("http2.md").at_port("192.168.1.10:8080", one.port()).at_port("192.168.1.11:8080", two.port());
    let httpd = recipe.start();
    let mut client = httpd.client();
    let mut met: Vec<_> = (0..2)
        .map(|_| {
            let response = client.get("/");
            assert_eq!((response.status, response.header("X-Protocol")), (204, Some("HTTP/2.0")));
            response.backend().to_owned()
        })
        .collect();
    met.sort();
    assert_eq!(met, ["one", "two"]);
    let url = format!("http://127.0.0.1:{}/", httpd.port());
    let asked =
        ["-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", &url];
    let output = Command::new("curl").args(asked).output().expect("run curl");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 204");
}
