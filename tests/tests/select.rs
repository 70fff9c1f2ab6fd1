// SPDX-License-Identifier: Apache-2.0
//! `LuaHookSelect`: after authentication, with the user known, and the ways in which mod_lua's
//! larger proxies name a backend.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use server_tests::{Backend, Builder, Httpd, Mpm, Request, Response, on_every_mpm, pool};

/// Counts its runs where all children see them, and routes by user.
const BY_USER: &str = r#"
local app = lb.pool("app")
function select(r)
  lb.dict("seen"):incr("runs", 1, 0)
  r.subprocess_env["SAW"] = tostring(r.user)
  return app:member(r.user == "ann" and "a" or "b")
end
function deeper(r)
  lb.dict("seen"):incr("deeper", 1, 0)
  return app:member("b")
end
function told(r)
  local seen = lb.dict("seen")
  r.subprocess_env["RUNS"] = ("%d/%d"):format(seen:get("runs") or 0, seen:get("deeper") or 0)
  return 204
end
"#;

/// The passwords are `pw`.
const USERS: &str = "ann:{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=\nbob:{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=\n";
const ANN: &str = "Basic YW5uOnB3";
const BOB: &str = "Basic Ym9iOnB3";
const ANN_WRONG: &str = "Basic YW5uOndyb25n";
const NOBODY: &str = "Basic bm9ib2R5OnB3";

const AUTH: &str = "AuthType Basic\nAuthName x\nAuthUserFile users\nRequire valid-user";

fn protected(mpm: Mpm, a: &Backend, b: &Backend) -> Builder {
    Httpd::builder()
        .mpm(mpm)
        .file("users", USERS)
        .file("select.lua", BY_USER)
        .config("LuaBalancerDict seen 64K")
        .config(&pool("app", &[(a, ""), (b, "")], ""))
        .config("<Location /--runs>\nLuaHookTranslate select.lua told\n</Location>")
        .config("Header always set X-Saw \"%{SAW}e\" \"expr=reqenv('SAW') != ''\"")
        .config("Header always set X-Runs \"%{RUNS}e\" \"expr=reqenv('RUNS') != ''\"")
}

fn ask(httpd: &Httpd, path: &str, credentials: Option<&str>) -> Response {
    let request = Request::get(path);
    let request = match credentials {
        Some(credentials) => request.header("Authorization", credentials),
        None => request,
    };
    httpd.client().send(&request)
}

fn runs(httpd: &Httpd) -> String {
    httpd.client().get("/--runs").header("X-Runs").expect("X-Runs").to_owned()
}

on_every_mpm!(a_refused_client_never_runs_the_script_and_a_user_is_known);

fn a_refused_client_never_runs_the_script_and_a_user_is_known(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = protected(mpm, &a, &b)
        .config("LuaHookSelect select.lua")
        .config(&format!("<Location /private>\n{AUTH}\n</Location>"))
        .config("<Location /private/ann>\nRequire user ann\n</Location>")
        .config(&format!(
            "<Location /private/deep>\nLuaHookSelect select.lua deeper\n{AUTH}\n</Location>\n\
             <Location /denied>\nRequire all denied\n</Location>"
        ))
        .start();
    for _ in 0..4 {
        for path in ["/private/x", "/private/deep/x"] {
            for credentials in [None, Some(ANN_WRONG), Some(NOBODY), Some("Basic %%%"), Some("Bearer x")] {
                assert_eq!(ask(&httpd, path, credentials).status, 401, "{path} {credentials:?}");
            }
        }
        assert_eq!(ask(&httpd, "/private/ann/x", Some(BOB)).status, 401);
        assert_eq!(ask(&httpd, "/denied/x", Some(ANN)).status, 403);
    }
    assert_eq!(runs(&httpd), "0/0", "a script ran for a request that was refused");
    assert_eq!(a.requests() + b.requests(), 0);
    for (path, credentials, user, backend) in [
        ("/private/x", Some(ANN), "ann", "a"),
        ("/private/x", Some(BOB), "bob", "b"),
        ("/private/ann/x", Some(ANN), "ann", "a"),
        ("/open", None, "nil", "b"),
        ("/open", Some(ANN), "nil", "b"),
    ] {
        let response = ask(&httpd, path, credentials);
        assert_eq!((response.status, response.backend()), (200, backend), "{path} {credentials:?}");
        assert_eq!(response.header("X-Saw"), Some(user), "{path} {credentials:?}");
    }
    assert_eq!(runs(&httpd), "5/0");
    assert_eq!(ask(&httpd, "/private/deep/x", Some(ANN)).backend(), "b", "the innermost place counts");
    assert_eq!(runs(&httpd), "5/1");
    httpd.assert_no_crash();
}

#[test]
fn a_translated_target_is_protected_by_the_clients_path() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = format!(
        "function translate(r)\n  if r.uri == '/private/text' then return '{0}/elsewhere' end\n  \
         r.handler, r.proxyreq, r.filename = 'proxy-server', apache2.PROXYREQ_REVERSE, 'proxy:{0}/elsewhere'\n  \
         return apache2.OK\nend",
        a.url()
    );
    let httpd = protected(Mpm::Event, &a, &b)
        .file("pick.lua", &script)
        .config("LuaHookTranslate pick.lua")
        .config(&format!("<Location /private>\n{AUTH}\n</Location>"))
        .start();
    for path in ["/private/text", "/private/filename"] {
        assert_eq!(ask(&httpd, path, None).status, 401, "{path}");
        assert_eq!(ask(&httpd, path, Some(ANN)).status, 200, "{path}");
        assert_eq!(a.last().expect("a request").uri, "/elsewhere");
    }
    assert_eq!(a.requests(), 2);
}

/// Passes the connections of a unix socket on to a backend.
struct Socket {
    path: PathBuf,
    connections: Arc<AtomicUsize>,
}

impl Socket {
    fn new(dir: &Path, backend: &Backend) -> Self {
        let path = dir.join("app.sock");
        let listener = UnixListener::bind(&path).expect("a unix socket");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("an open socket");
        let (connections, port) = (Arc::<AtomicUsize>::default(), backend.port());
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                if let Ok(far) = TcpStream::connect(("127.0.0.1", port)) {
                    pass_on(near, far).expect("two copies of two streams");
                }
            }
        });
        Socket { path, connections }
    }
}

fn pass_on(near: UnixStream, far: TcpStream) -> io::Result<()> {
    let (mut from_near, mut to_near) = (near.try_clone()?, near);
    let (mut from_far, mut to_far) = (far.try_clone()?, far);
    thread::spawn(move || {
        let _ = io::copy(&mut from_near, &mut to_far);
        let _ = to_far.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let _ = io::copy(&mut from_far, &mut to_near);
        let _ = to_near.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// The way of the larger proxies: an authenticated user, a handler with the user's socket or node,
/// a path in the file name.
const HANDLERS: &str = r#"
function select(r)
  local form, rest = r.uri:match("^/([a-z_]+)(.*)$")
  if form:find("socket") then
    r.handler = "proxy:unix:" .. SOCKET .. "|http://localhost"
  else
    r.handler = "proxy:" .. NODE
  end
  if form:find("path") then r.filename = rest end
  r.headers_in["X-Forwarded-User"] = r.user or ""
  if form:find("ok") then return apache2.OK end
  if form:find("declined") then return apache2.DECLINED end
end
"#;

#[test]
fn handlers_that_name_a_socket_or_a_host_are_pooled_targets() {
    let node = Backend::new("node");
    let builder = Httpd::builder();
    let socket = Socket::new(builder.dir(), &node);
    let script = HANDLERS
        .replace("SOCKET", &format!("{:?}", socket.path.display().to_string()))
        .replace("NODE", &format!("{:?}", node.url()));
    let httpd = builder
        .file("users", USERS)
        .file("select.lua", &script)
        .config(&format!("<Location />\nLuaHookSelect select.lua\n{AUTH}\n</Location>"))
        .start();
    for to in ["socket", "host"] {
        for ending in ["ok", "declined", "nothing"] {
            for (form, path, seen) in [
                ("path", "/a%20b/c%3Fd%23e?x=1&y=%20", "/a%20b/c%3Fd%23e?x=1&y=%20"),
                ("path", "/plain", "/plain"),
                ("whole", "/a%20b?x=1", "/WHOLE/a%20b?x=1"),
            ] {
                let target = format!("/{to}_{form}_{ending}{path}");
                let response = ask(&httpd, &target, Some(ANN));
                assert_eq!(response.status, 200, "{target}: {}", httpd.error_log());
                let seen = seen.replace("/WHOLE", &format!("/{to}_{form}_{ending}"));
                assert_eq!(response.header("X-Uri"), Some(seen.as_str()), "{target}");
                let last = node.last().expect("a request");
                assert_eq!(last.headers.get("X-Forwarded-User"), Some("ann"), "{target}");
                let host =
                    if to == "socket" { "localhost".to_owned() } else { node.url().replace("http://", "") };
                assert_eq!(response.header("X-Host"), Some(host.as_str()), "{target}");
            }
        }
    }
    for target in ["/socket_path_ok/x", "/host_path_declined/x"] {
        let before = node.connections();
        let mut client = httpd.client();
        let request = Request::get(target).header("Authorization", ANN);
        for _ in 0..100 {
            assert_eq!(client.send(&request).status, 200);
        }
        let opened = node.connections() - before;
        assert!(opened <= 3, "{target}: 100 requests opened {opened} connections");
    }
    assert!((1..=6).contains(&socket.connections.load(Ordering::SeqCst)));
    assert_eq!(ask(&httpd, "/socket_path_ok/x", None).status, 401);
}

#[test]
fn a_handler_can_name_a_pool_a_path_and_a_tunnel() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = format!(
        "function select(r)\n  local form = r.uri:match('^/(%a+)')\n  \
         if form == 'pool' then r.handler, r.filename = 'proxy:lb://app', '/in/pool' end\n  \
         if form == 'below' then r.handler, r.filename = 'proxy:{0}/base/', '/x' end\n  \
         if form == 'tunnel' then r.handler, r.filename = 'proxy:{1}', '/ws' end\nend",
        b.url(),
        b.url().replace("http:", "ws:")
    );
    let httpd = Httpd::builder()
        .file("select.lua", &script)
        .file("htdocs/other", "a file")
        .config(&pool("app", &[(&a, "")], ""))
        .config("LuaHookSelect select.lua")
        .start();
    let seen = |path: &str| {
        let response = httpd.client().get(path);
        (response.backend().to_owned(), response.header("X-Uri").unwrap_or_default().to_owned())
    };
    assert_eq!(seen("/pool?q"), ("a".into(), "/in/pool?q".into()));
    assert_eq!(seen("/below"), ("b".into(), "/base/x".into()));
    assert_eq!(httpd.client().get("/other").text(), "a file");
    let mut client = httpd.client();
    let upgrade = Request::get("/tunnel").header("Connection", "Upgrade").header("Upgrade", "websocket");
    assert_eq!(client.send(&upgrade).status, 101, "{}", httpd.error_log());
    let stream = client.stream();
    stream.get_mut().write_all(b"ping").expect("send through the tunnel");
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).expect("an echo");
    assert_eq!(&echo, b"ping");
}

const NONSENSE: [&str; 14] = [
    "proxy:",
    "proxy:nonsense",
    "proxy:http://",
    "proxy:http:///x",
    "proxy:ftp://127.0.0.1:1",
    "proxy:http://user@127.0.0.1:1",
    "proxy:http://127.0.0.1:0",
    "proxy:http://127.0.0.1:99999",
    "proxy:http://127.0.0.1:1\\r\\nX: y",
    "proxy:http://two words:1",
    "proxy:unix:relative.sock|http://localhost",
    "proxy:unix:/sock",
    "proxy:unix:/sock|",
    "proxy:unix:/sock|/path",
];

#[test]
fn a_handler_that_is_no_url_is_one_clear_line() {
    let a = Backend::new("a");
    let rows: String = NONSENSE.iter().map(|text| format!("\"{text}\",\n")).collect();
    let script = format!(
        "local forms = {{\n{rows}}}\nfunction select(r)\n  r.handler = forms[tonumber(r.uri:match('%d+$'))]\n  \
         r.filename = '/x'\n  return r.uri:find('ok') and apache2.OK or nil\nend"
    );
    let httpd = Httpd::builder()
        .file("select.lua", &script)
        .config(&pool("spare", &[(&a, "")], ""))
        .config("<Location /error>\nLuaHookSelect select.lua\n</Location>")
        .config("<Location /decline>\nLuaHookSelect select.lua\nLuaBalancerOnError decline\n</Location>")
        .config("ProxyPass /decline lb://spare\nProxyPass /good lb://spare")
        .start();
    let mut wrong = Vec::new();
    for (at, form) in NONSENSE.iter().enumerate() {
        for (place, expected) in [("error", 500), ("error/ok", 500), ("decline", 200), ("decline/ok", 200)] {
            let before = httpd.count_log("script failed");
            let response = httpd.client().get(&format!("/{place}/{}", at + 1));
            let lines = httpd.count_log("script failed") - before;
            if (response.status, lines) != (expected, 1) {
                wrong.push(format!("{place} {form:?}: {} and {lines} lines", response.status));
            }
        }
        assert_eq!(httpd.client().get("/good/").backend(), "a");
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", httpd.error_log());
    assert!(httpd.error_log().lines().all(|line| line.starts_with('[')), "a line end reached the log");
    httpd.assert_no_crash();
}

#[test]
fn values_that_a_script_set_before_it_failed_are_taken_back_when_httpd_goes_on() {
    let [a, decoy] = Backend::named(["a", "decoy"]);
    let script = format!(
        "function by_handler(r)\n  r.handler, r.filename = 'proxy:{0}', '/x'\n  error('too late')\nend\n\
         function by_filename(r)\n  r.handler, r.proxyreq, r.filename = 'proxy-server', apache2.PROXYREQ_REVERSE, 'proxy:{0}/x'\n  \
         error('too late')\nend",
        decoy.url()
    );
    let place = |name: &str, hook: &str| {
        format!(
            "<Location /{name}/{hook}>\nLuaHook{hook} select.lua {name}\nLuaBalancerOnError decline\n</Location>\n"
        )
    };
    let places: String = ["by_handler", "by_filename"]
        .iter()
        .flat_map(|name| [place(name, "Select"), place(name, "Translate")])
        .collect();
    let httpd = Httpd::builder()
        .file("select.lua", &script)
        .config(&places)
        .config(&pool("app", &[(&a, "")], ""))
        .config("ProxyPass / lb://app/")
        .start();
    for name in ["by_handler", "by_filename"] {
        for hook in ["Select", "Translate"] {
            assert_eq!(httpd.client().get(&format!("/{name}/{hook}")).backend(), "a", "{name} {hook}");
        }
    }
    assert_eq!((httpd.count_log("too late"), decoy.connections()), (4, 0));
}

#[test]
fn a_path_never_becomes_a_host() {
    let [a, decoy] = Backend::named(["a", "decoy"]);
    let script = format!(
        "function select(r)\n  r.handler = 'proxy:{}'\n  r.filename = r.uri:match('^/x/(.*)')\n  return apache2.OK\nend",
        a.url()
    );
    let httpd = Httpd::builder()
        .file("select.lua", &script)
        .config("<Location /x>\nLuaHookSelect select.lua\n</Location>")
        .start();
    let own = format!("@127.0.0.1:{}/", decoy.port());
    for path in [own.as_str(), "", "/", "//127.0.0.1/", ".example.org/", "0/x", "proxy:x", "%5c%5chost%5cx"] {
        let response = httpd.client().get(&format!("/x/{path}"));
        assert!(response.backend() == "a" || response.status >= 400, "{path}: {response:?}");
    }
    assert!(a.requests() >= 6, "{} requests", a.requests());
    assert_eq!(decoy.connections(), 0);
}
