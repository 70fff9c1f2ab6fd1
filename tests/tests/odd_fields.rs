// SPDX-License-Identifier: Apache-2.0
//! Odd values that a script gives to a request's fields beside those of wedging: handlers of all
//! modules, paths without a file.

use std::time::{Duration, Instant};

use nix::sys::stat::Mode as FileMode;
use server_tests::httpd::installed;
use server_tests::{Builder, Httpd, Mpm, Request, on_every_mpm};

const MODULES: [&str; 18] = [
    "mime",
    "negotiation",
    "asis",
    "imagemap",
    "dir",
    "autoindex",
    "actions",
    "cgid",
    "include",
    "info",
    "cache",
    "dav",
    "dav_fs",
    "dav_lock",
    "proxy_fcgi",
    "slotmem_shm",
    "proxy_balancer",
    "reflector",
];

const HANDLERS: [&str; 28] = [
    "",
    "type-map",
    "proxy-server",
    "default-handler",
    "send-as-is",
    "server-status",
    "server-info",
    "imap-file",
    "cgi-script",
    "dav-handler",
    "ldap-status",
    "balancer-manager",
    "redirect-handler",
    "form-login-handler",
    "form-logout-handler",
    "httpd/unix-directory",
    "application/x-httpd-cgi",
    "server-parsed",
    "cache",
    "reflector",
    "httpd/send-as-is",
    "proxy:",
    "proxy:x",
    "proxy:http://127.0.0.1:1",
    "lua-balancer",
    "lua-script",
    "x",
    "text/html",
];

/// `r.handler`, or the type that httpd takes for a handler where there is none.
const SCRIPT: &str = "local function act(r)\n\
    local name = r:unescape(r.headers_in.X)\n\
    if r.headers_in.Y == 'type' then r.handler = nil r.content_type = name .. '; x=y' else r.handler = name end\n\
    if r.headers_in.F then r.filename = r.document_root .. r.headers_in.F return apache2.OK end\n\
    end\n\
    function pick(r) if r.headers_in.P == 't' then return act(r) end end\n\
    function select(r) if r.headers_in.P == 'f' then return act(r) end end";

fn server(mpm: Mpm) -> Builder {
    let builder = Httpd::builder().mpm(mpm).children(1).threads(if mpm == Mpm::Prefork { 1 } else { 4 });
    let builder = MODULES.into_iter().filter(|name| installed().has(name)).fold(builder, Builder::module);
    let run = builder.open_folder("locks").display().to_string();
    builder
        .file("mime.types", "")
        .config("TypesConfig mime.types")
        .config(&format!("<IfModule mod_dav.c>\nDavLockDB {run}/dav\n</IfModule>"))
        .config(&format!("<IfModule mod_cgid.c>\nScriptSock {run}/cgid\n</IfModule>"))
        .file("htdocs/f", "a file")
        .file("pick.lua", SCRIPT)
        .log_level("emerg lua_balancer:error")
        .config("LuaHookTranslate pick.lua pick\nLuaHookSelect pick.lua select")
}

on_every_mpm!(no_handler_that_a_script_names_ends_a_child);

fn no_handler_that_a_script_names_ends_a_child(mpm: Mpm) {
    let httpd = server(mpm).start();
    let children = httpd.wait_for_children(1);
    let mut client = httpd.client().timeout(Duration::from_secs(10));
    for name in HANDLERS {
        for method in ["GET", "OPTIONS", "PROPFIND"] {
            for (phase, field, file) in [("t", "", ""), ("t", "type", "/f"), ("f", "", ""), ("f", "type", "")]
            {
                let request =
                    Request::new(method, "/f").header("X", name).header("P", phase).header("Y", field);
                let request = if file.is_empty() { request } else { request.header("F", file) };
                let what = format!("{name:?} as {field:?} for {method} in {phase}");
                let answer = client.try_send(&request);
                let status = answer.unwrap_or_else(|error| panic!("{what}: {error:?}")).status;
                assert!((200..600).contains(&status), "{what}: {status}");
                if name == "dav-handler" {
                    assert_eq!(status, 500, "{what}");
                }
            }
        }
    }
    assert_eq!(httpd.children(), children, "no child has died");
    httpd.assert_no_crash();
    httpd.wait_for_log("'dav-handler' is set by mod_dav itself");
}

on_every_mpm!(a_fifo_that_a_script_chooses_holds_no_thread);

fn a_fifo_that_a_script_chooses_holds_no_thread(mpm: Mpm) {
    let builder = server(mpm);
    let fifo = builder.dir().join("htdocs/fifo");
    nix::unistd::mkfifo(&fifo, FileMode::from_bits_truncate(0o644)).expect("a fifo");
    let socket =
        std::os::unix::net::UnixListener::bind(builder.dir().join("htdocs/socket")).expect("a socket");
    let httpd = builder.start();
    let mut client = httpd.client().timeout(Duration::from_secs(10));
    let start = Instant::now();
    for name in ["/fifo", "/socket", "/../../../dev/tty", "/../../../dev/zero"] {
        for _ in 0..5 {
            let request =
                Request::get("/x").header("X", "default-handler").header("P", "t").header("F", name);
            assert_eq!(client.send(&request).status, 500, "{name}");
        }
    }
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    httpd.wait_for_log("a fifo, a socket or a device");
    let request = Request::get("/x").header("X", "default-handler").header("P", "t").header("F", "/f");
    assert_eq!(client.send(&request).text(), "a file");
    drop(socket);
}
