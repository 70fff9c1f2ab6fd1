// SPDX-License-Identifier: Apache-2.0
//! The API held against its own description by schemathesis, through a real httpd: `make test-api`,
//! which knows where schemathesis is.

use std::io::copy;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use server_tests::{Backend, Builder, Httpd, pool};

fn server(backends: &[Backend; 3]) -> Builder {
    let [a, b, c] = backends;
    Httpd::builder()
        .config(&pool("app", &[(a, ""), (b, ""), (c, "")], "LuaBalancerHealthCheck tcp"))
        .config("<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\n</Location>")
}

/// Every operation of the description, with values that fit it and values that do not. An answer
/// has to be no error of the server, and of a status, type, headers and schema that are described.
fn is_as_described(httpd: &Httpd, url: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("api");
    let program = std::env::var_os("SCHEMATHESIS").unwrap_or_else(|| "schemathesis".into());
    let ended = Command::new(program)
        .current_dir(httpd.dir())
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .args(["run", &format!("{url}/api/v1/openapi.json"), "--url", url])
        .args(["--seed", "1", "--max-examples", "25", "--workers", "1", "--request-timeout", "40"])
        .args(["--generation-database", "none", "--warnings", "off", "--no-color"])
        .output()
        .expect("schemathesis runs: make test-api");
    let [out, err] = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    println!("{out}");
    assert!(ended.status.success(), "{}\n{out}\n{err}", ended.status);
    httpd.assert_no_crash();
}

#[test]
#[ignore = "needs schemathesis: make test-api"]
fn every_answer_of_the_handler_is_as_described() {
    let httpd = server(&Backend::named(["a", "b", "c"])).start();
    is_as_described(&httpd, &format!("http://127.0.0.1:{}/lb", httpd.port()));
}

#[test]
#[ignore = "needs schemathesis: make test-api"]
fn every_answer_at_the_socket_is_as_described() {
    let httpd = server(&Backend::named(["a", "b", "c"])).start();
    is_as_described(&httpd, &format!("http://127.0.0.1:{}", relay(httpd.socket_path())));
}

/// A port that leads to a Unix socket, until the test's end.
fn relay(path: PathBuf) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let path = path.clone();
            thread::spawn(move || carry(client, &path));
        }
    });
    port
}

fn carry(mut client: TcpStream, path: &Path) {
    let Ok(mut server) = UnixStream::connect(path) else { return };
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else { return };
    thread::spawn(move || {
        drop(copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    drop(copy(&mut server, &mut client));
    drop(client.shutdown(Shutdown::Both));
}
