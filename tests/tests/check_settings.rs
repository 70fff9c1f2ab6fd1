// SPDX-License-Identifier: Apache-2.0
//! Settings of checks: read early, named when they cannot be used, and never held against a member.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use server_tests::{Backend, Httpd, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn openssl(dir: &Path, args: &str) {
    let output =
        Command::new("openssl").current_dir(dir).args(args.split(' ')).output().expect("run openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A stock httpd that speaks TLS, and the certificate of the authority that signed its own.
fn signed_server() -> (Httpd, String) {
    let builder = Httpd::builder().stock().module("socache_shmcb").module("ssl");
    let dir = builder.dir().to_owned();
    fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").expect("write the names");
    openssl(&dir, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem");
    openssl(&dir, "req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem");
    openssl(
        &dir,
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    );
    let ca = fs::read_to_string(dir.join("ca.pem")).expect("read the authority's certificate");
    let config = "SSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile key.pem";
    (builder.config(config).start(), ca)
}

fn checked_over_tls(port: u16, ca: &str) -> String {
    format!(
        "<LuaBalancerPool app>\nLuaBalancerMember https://127.0.0.1:{port} name=tls\n\
         LuaBalancerHealthCheck https initial=down interval=100ms rise=1 expect=200-499 ca={ca}\n</LuaBalancerPool>"
    )
}

#[test]
fn a_relative_ca_file_is_under_server_root() {
    let (tls, ca) = signed_server();
    let httpd = Httpd::builder()
        .with_member_states()
        .module("socache_shmcb")
        .module("ssl")
        .file("certs/ca.pem", &ca)
        .config(&checked_over_tls(tls.port(), "certs/ca.pem"))
        .start();
    wait_until("the member to be up", SOON, || httpd.member("app", "tls").state == "up");
}

#[test]
fn configtest_reads_the_ca_file() {
    let test = Httpd::builder().config(&checked_over_tls(1, "certs/none.pem")).configtest();
    test.assert_error_at("ca=certs/none.pem", &["certs/none.pem: no such file"]);
    let test =
        Httpd::builder().file("bad.pem", "nothing").config(&checked_over_tls(1, "bad.pem")).configtest();
    test.assert_error_at("ca=bad.pem", &["no certificate found"]);
}

#[test]
fn a_check_that_cannot_be_made_is_said_and_takes_no_member_down() {
    let a = Backend::new("a");
    let script = format!(
        "lb.define_pool('app', {{ health = {{ type = 'https', ca = 'none.pem', interval = 0.1, fall = 1, port = {0} }},\n  \
         {{ host = '127.0.0.1', port = {0}, name = 'a' }} }})\nfunction translate(r) return lb.pool('app') end",
        a.port()
    );
    let httpd = Httpd::builder()
        .with_member_states()
        .file("define.lua", &script)
        .config("<Location /app>\n  LuaHookTranslate define.lua\n</Location>")
        .start();
    let line = httpd.wait_for_log("member a of pool app cannot be checked: ca=");
    assert!(line.contains(&*httpd.dir().join("none.pem").to_string_lossy()), "{line}");
    assert_eq!(httpd.client().get("/app/").backend(), "a");
    assert_eq!(httpd.member("app", "a").state, "up");
    assert_eq!(httpd.count_log("cannot be checked"), 1);
}

#[test]
fn on_empty_holds_for_a_list_of_members_that_are_all_out() {
    let [a, b] = Backend::named(["a", "b"]);
    let script =
        "function translate(r) local app = lb.pool('app') return {app:member('a'), app:member('b')} end";
    let httpd = Httpd::builder()
        .file("list.lua", script)
        .config(&pool("app", &[(&a, "status=+D"), (&b, "status=+S")], "LuaBalancerSet on_empty=504"))
        .config("<Location /app>\n  LuaHookTranslate list.lua\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/app/").status, 504);
    assert_eq!(httpd.wait_for_access("/app/").env["LB_POOL"], "app");
}
