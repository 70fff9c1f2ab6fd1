// SPDX-License-Identifier: Apache-2.0
//! The ways to a server: its socket, its handler with a user, over TLS; several at once.

use std::fs;

use server_tests::certificate::signed;
use server_tests::{Backend, Builder, Httpd, ended, lbctl, lbctl_command};

use crate::serving;

/// Made with `htpasswd -bns alice secret`.
const USERS: &str = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

fn with_handler(builder: Builder) -> Builder {
    builder.file("users", USERS).config(
        "<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on\nAuthType Basic\nAuthName lb\n\
         AuthUserFile users\nRequire valid-user\n</Location>\n\
         <Location /open>\nSetHandler lua-balancer\n</Location>",
    )
}

fn url(httpd: &Httpd, place: &str) -> String {
    format!("http://127.0.0.1:{}{place}", httpd.port())
}

#[test]
fn the_handler_is_as_good_as_the_socket_for_who_has_a_name_there() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = with_handler(serving(&a, &b)).start();
    for place in ["/lb", "/lb/"] {
        let url = url(&httpd, place);
        let words = ["weight", "app/a", "3", "--user", "alice:secret", "--url", &url];
        assert!(lbctl(&words).done().out.starts_with("app/a: weight "));
    }
    assert_eq!(httpd.member("app", "a").weight, 3);
    let place = url(&httpd, "/lb");
    for (words, code, word) in [
        (&["status", "--url", &place][..], 3, "--user"),
        (&["status", "--url", &place, "--user", "alice:wrong"], 3, "--user"),
        (&["status", "--url", &url(&httpd, "/elsewhere")], 3, "SetHandler"),
        (&["enable", "app/a", "--url", &url(&httpd, "/open")], 3, "LuaBalancerAdmin"),
    ] {
        let said = lbctl(words);
        assert!(said.code == code && said.err.contains(word), "{words:?}: {said:?}");
    }
    let netrc = httpd.dir().join("netrc");
    fs::write(&netrc, "machine 127.0.0.1\nlogin alice\npassword secret\n").expect("write a .netrc");
    let flag = format!("--netrc={}", netrc.display());
    lbctl(&["drain", "app/a", "--url", &place, &flag]).done();
    lbctl(&["status", "--url", &place.replace("http://", "http://alice:secret@")]).done();
    let mut set = lbctl_command(&["enable", "app/a", "--url", &place, "--user", "alice"]);
    ended(set.env("LBCTL_PASSWORD", "secret")).done();
    assert_eq!(httpd.member("app", "a").state, "up");
}

#[test]
fn tls_is_verified_by_the_authority_that_is_named() {
    let [a, b] = Backend::named(["a", "b"]);
    let builder = with_handler(serving(&a, &b)).module("ssl");
    signed(builder.dir());
    let ca = builder.dir().join("ca.pem");
    let httpd =
        builder.config("SSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile key.pem").start();
    let url = format!("https://localhost:{}/open", httpd.port());
    let ca = ca.display().to_string();
    lbctl(&["status", "--url", &url, "--ca", &ca]).done();
    let stranger = lbctl(&["status", "--url", &url]);
    assert_eq!(stranger.code, 4, "{stranger:?}");
    let elsewhere = url.replace("localhost", "127.0.0.1");
    assert_eq!(lbctl(&["status", "--url", &elsewhere, "--ca", &ca]).code, 4);
    assert_eq!(lbctl(&["status", "--url", &url, "--ca", "/nowhere"]).code, 2);
}

#[test]
fn several_servers_are_changed_together_and_compared() {
    let [a, b] = Backend::named(["a", "b"]);
    let one = with_handler(serving(&a, &b)).start();
    let two = with_handler(serving(&a, &b)).start();
    let urls = [url(&one, "/lb"), url(&two, "/lb")];
    let both = ["--url", urls[0].as_str(), "--url", urls[1].as_str(), "--user", "alice:secret"];
    let call = |words: &[&str]| lbctl(&[words, &both[..]].concat());
    call(&["drain", "app/a"]).done();
    assert_eq!([one.member("app", "a").state, two.member("app", "a").state], ["draining", "draining"]);
    assert!(!call(&["status"]).done().out.contains("differ"));
    two.lbctl(&["weight", "app/b", "7"]).done();
    let said = call(&["members", "app"]).done().out;
    assert!(said.contains("app/b weight:") && said.contains(" 7"), "{said}");
    drop(two);
    let said = call(&["members", "app"]);
    assert!(said.code == 4 && said.out.contains("draining") && !said.err.is_empty(), "{said:?}");
    let said = call(&["enable", "app/a"]);
    assert_eq!((said.code, one.member("app", "a").state.as_str()), (4, "draining"), "{said:?}");
}
